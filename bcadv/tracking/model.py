"""The trained model as MLflow's: weights, how images are prepared, and the code that reads both."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import bcadv
from bcadv.store.models import slim
from bcadv.store.statistics import read_statistics
from bcadv.tracking.store import patiently

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import Model, ModelSignature

NAME = "model"
"""The model's folder among the run's artifacts."""

LOADER = "bcadv.tracking.pyfunc"
WEIGHTS = "weights.ckpt"
INPUT = "input.json"
AS_TRAINED = "as_trained"
"""The BatchNorm statistics that a checkpoint itself holds."""

# What the loader and all that it imports needs; bcadv's own code travels with the model.
_PACKAGES = (
    "filelock",
    "mlflow",
    "numpy",
    "pandas",
    "pillow",
    "pydantic",
    "pydantic_core",
    "pydicom",
    "pytorch-lightning",
    "sqlalchemy",
    "torch",
    "torchmetrics",
    "torchvision",
    "torchxrayvision",
)


def log_model(
    client: MlflowClient,
    run_id: str,
    checkpoint: Path,
    preparation: Mapping[str, Any],
    statistics: Mapping[str, Path] | None = None,
) -> str:
    """Logs a model that ``mlflow.pyfunc.load_model("runs:/RUN_ID/model")`` loads.

    It lies among the run's artifacts, where people look for the checkpoint and where it goes when
    the run is deleted. (What MLflow 3 calls a logged model lies beside the runs: the artifacts of
    its run show nothing of it.)

    Args:
        client: of the store.
        run_id: of the run.
        checkpoint: Lightning's; only its weights and hyperparameters are kept.
        preparation: ``classes`` (names in the order of the outputs), ``resize`` and ``crop``
            (pixels) and ``white`` (value of the files that is white, or ``None``) of the images
            that the model was trained on, and ``batchnorm``: the choices
            of BatchNorm statistics, of which the first that is still there is the default.
        statistics: choice -> file of its statistics, for those other than as trained.

    Returns:
        The choice that the model answers with unless it is told otherwise.
    """
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / NAME
        model = _write(folder, checkpoint, preparation, run_id, statistics or {})
        client.log_artifacts(run_id, str(folder), NAME)
    # By this the UI knows that the folder is a model, and shows how to load it.
    history = json.dumps([model.get_tags_dict()])
    patiently(lambda: client.set_tag(run_id, "mlflow.log-model.history", history))
    return str((model.metadata or {})["batchnorm_default"])


def _write(
    folder: Path,
    checkpoint: Path,
    preparation: Mapping[str, Any],
    run_id: str,
    statistics: Mapping[str, Path],
) -> Model:
    """An MLflow model folder, without the subprocess that mlflow guesses requirements with."""
    import mlflow.pyfunc
    from mlflow.models import Model

    data = folder.parent / "classifier"
    data.mkdir()
    slim(checkpoint, data / WEIGHTS)
    # A choice whose file was removed from the store since cannot be loaded, and is not promised.
    there = {variant: file for variant, file in statistics.items() if file.is_file()}
    for variant, file in there.items():
        read_statistics(file)  # what was changed or damaged is not logged
        shutil.copyfile(file, data / f"{variant}.pt")
    wanted = preparation.get("batchnorm", [AS_TRAINED])
    kept = [variant for variant in wanted if variant == AS_TRAINED or variant in there]
    kept = kept or [AS_TRAINED]
    preparation = {**preparation, "batchnorm": kept}
    (data / INPUT).write_text(json.dumps(preparation, indent=2) + "\n", encoding="utf-8")
    model = Model(artifact_path=NAME, run_id=run_id)
    with warnings.catch_warnings():
        # An example of the input would have mlflow run the model to see that it works.
        warnings.filterwarnings("ignore", ".*An input example was not provided.*")
        mlflow.pyfunc.save_model(
            folder,
            loader_module=LOADER,
            data_path=str(data),
            code_paths=[str(Path(bcadv.__file__).parent)],
            mlflow_model=model,
            pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in _PACKAGES],
            signature=_signature(preparation["classes"], kept[0]),
            metadata={"batchnorm": kept, "batchnorm_default": kept[0]},
        )
    return model


def _signature(classes: Sequence[str], batchnorm: str) -> ModelSignature:
    """What goes in and comes out, as MLflow shows it."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

    columns = [ColSpec("double", name) for name in classes]
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3), "image")]),
        outputs=Schema([*columns, ColSpec("string", "predicted")]),
        params=ParamSchema([ParamSpec("batchnorm", "string", batchnorm)]),
    )
    # The model judges its input itself: MLflow would refuse floats, files and lists, of which a
    # signature cannot speak. The mark is one of those that MLflow keeps in the model's folder.
    signature._is_signature_from_type_hint = True
    return signature
