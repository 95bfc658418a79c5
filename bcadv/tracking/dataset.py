"""The images of a job as MLflow's data sets: the parts that it was trained and tested on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcadv.results.schema import Result
from bcadv.text import shown

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

PARTS = {"train": "training", "val": "validation", "test": "testing"}
"""Part of the split -> the context that MLflow shows beside its data set."""

# MLflow takes 36 characters, and the pages show all of them.
_DIGITS = 12


def inputs_of(result: Result, params: Mapping[str, Any]) -> list[DatasetInput]:
    """A data set for each part whose content the results know.

    Equal digests mean the same images in the same classes, wherever they lie and however many jobs
    read them.

    Args:
        result: the content of ``results.json``.
        params: the settings by dotted name.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    root = params.get("data.root")
    source = {"uri": str(root)} if root else {"tags": {"mlflow.source.name": result.data.words}}
    crop = result.model.crop
    images = {"dtype": "uint8", "shape": [-1, crop, crop, 3]}
    features = json.dumps([{"type": "tensor", "name": "image", "tensor-spec": images}])
    schema = {"mlflow_tensorspec": {"features": features, "targets": None}}
    found = []
    for part, context in PARTS.items():
        if part not in result.data.digests:
            continue
        counts = result.data.counts.get(part, {})
        profile = {"num_rows": sum(counts.values()), "images_per_class": dict(counts)}
        dataset = Dataset(
            name=f"{data_name(result, root)} {part}",
            digest=result.data.digests[part][:_DIGITS],
            source_type="local" if root else "code",
            source=json.dumps(source),
            schema=json.dumps(schema),
            profile=json.dumps(profile),
        )
        found.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
    return found


def data_name(result: Result, root: object) -> str:
    """The source's name, with that of the images' folder where it says more."""
    source = result.data.source
    folder = shown(Path(str(root)).name) if root else ""
    return source if folder.lower() in ("", source) else f"{source} {folder}"
