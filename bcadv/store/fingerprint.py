"""What shapes a trained model, and its fingerprint.

Every option counts unless it is named here as one that training never sees: an option that is
added later then makes a new model, at worst one too many, and never passes for another's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bcadv.config import Config
from bcadv.defend.catalog import OBJECTIVES
from bcadv.store.code import PACKAGE, Symbol, version_of_use

TRAINING: tuple[Symbol, ...] = (
    ("trainer", "fit"),
    ("build", "build_model"),
    ("build", "build_injection"),
    ("data.datamodule", "ImageDataModule"),
)
"""Where a training begins; all that these use shapes it."""

STATISTICS: tuple[Symbol, ...] = (("recalibrate", "recalibrate"),)
"""Where BatchNorm statistics are estimated, beside what the training used."""

_CONTENT = "what it chooses counts by its content, see `ImageDataModule.training_content`"
NOT_FOLLOWED = {
    "config": "options count by their values",
    "data.catalog": _CONTENT,
    "models.catalog": "the chosen network is a root",
    "defend.catalog": "the chosen objective is a root",
    "perturb.catalog": "an attack that an objective uses is followed by its class",
    "errors": "words",
    "mistakes": "words",
    "section": "options count by their values",
    "sections": "options count by their values",
    "fetch": "weights count by their checksum",
    "console": "words",
    "progress": "shows how far it is",
    "callbacks.progress": "shows how far it is",
    "text": "words",
    "hardware": "precision counts by its name, and devices give the same model up to rounding",
    "world": "processes share the very batches of one",
    "store": "keeps what is trained",
    "results": "is written afterwards",
    "data.sources": _CONTENT,
    "data.records.BreakhisName": _CONTENT,
    "data.records.image_files": _CONTENT,
    "data.records._checked": _CONTENT,
    "data.records.parse_name": _CONTENT,
    "data.splits": _CONTENT,
    "data.deal": _CONTENT,
    "data.findings": _CONTENT,
    "data.audit": "tells, and changes nothing",
    "data.parts": _CONTENT,
    "data.ranges": "tells, and changes nothing",
}
"""Modules and definitions that a training uses and that do not name it, and why."""

NOT_TRAINING = frozenset(
    {
        # Names and places. What lies in a place counts by its content.
        "experiment",
        "tracking",
        "paths",
        "data.root",
        "data.folds_dir",
        "data.folds",  # which images a fold trains on counts by their content
        "data.table",
        "data.metadata",
        "data.lists",
        "model.weights_url",
        # Which job to go on with, and how to come by a model.
        "resume",
        "reuse",
        # What is done to the model afterwards.
        "attacks",
        "attack",
        "corruptions",
        "eps_px",
        "eps_l2",
        "eps_l1",
        "eps_l0",
        "aim",
        "accept",
        "batchnorm",
        "evaluation",
        "trainer.checkpoint",
        "data.positive",
        # How the work is done: the same model up to rounding.
        "trainer.accelerator",
        "trainer.threads",
        "trainer.devices",
        "trainer.nodes",
        "data.workers",
        # Unreadable images that are left out are missing from the content.
        "data.on_bad_image",
    }
)
"""Options, or whole sections of them, that training never sees."""

_NOISE = ("injection.perturbation", "injection.probability", "sigma")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings -> dotted names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, name)
        else:
            flat[name] = value
    return flat


def describe(config: Config, *, content: str, precision: str) -> dict[str, Any]:
    """Everything that shapes the trained model, by name.

    Noise of strength 0, or on no image, is the same training as none; the three options of noise
    are then ``None``, so that a grid's 0 is the undefended model.

    Args:
        config: of the job.
        content: digest of the training and validation images, see
            `ImageDataModule.training_content`.
        precision: of training on this hardware, as Lightning names it.

    Returns:
        Dotted option -> plain value; also ``code``, ``torch``, ``lightning``, ``data.content``.
    """
    shape = {
        name: value
        for name, value in flatten(config.model_dump(mode="json")).items()
        if not any(name == left_out or name.startswith(f"{left_out}.") for left_out in NOT_TRAINING)
    }
    # A table counts by what it puts into the parts.
    shape["data.split"] = config.data.split_rule
    del shape["objective"]
    shape = {k: v for k, v in shape.items() if not k.startswith("objective_options")}
    row = OBJECTIVES[config.objective]
    shape |= {
        "objective": row.name,
        "objective.options": row.settings(config.objective_options.get(row.name, {})),
    }
    if not config.trains_on_noise:
        shape |= dict.fromkeys(_NOISE)
    return shape | {
        "trainer.precision": precision,
        "data.content": content,
        "code": training_code(chosen(config)),
        "torch": version("torch"),
        "lightning": version("pytorch-lightning"),
    }


def fingerprint(shape: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that name what `describe` returned."""
    return digest(shape)[:16]


def digest(value: Any) -> str:
    """SHA-256 of a plain value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def chosen(config: Config) -> tuple[Symbol, ...]:
    """The classes of the network and the objective, which their catalogs name in texts."""
    places = (config.model.place, OBJECTIVES[config.objective].place)
    named = [place.partition(":") for place in places if place is not None]
    return tuple(
        (module.removeprefix(f"{PACKAGE.name}."), name)
        for module, _, name in named
        if module.startswith(f"{PACKAGE.name}.")
    )


@lru_cache
def training_code(used: tuple[Symbol, ...] = (), package: Path = PACKAGE) -> str:
    """Names the code that a training uses.

    Args:
        used: what `chosen` says.
        package: folder of the sources.
    """
    return version_of_use((*TRAINING, *used), tuple(NOT_FOLLOWED), package)


@lru_cache
def statistics_code(used: tuple[Symbol, ...] = (), package: Path = PACKAGE) -> str:
    """Names the code that BatchNorm statistics are estimated with; as `training_code`."""
    return version_of_use((*TRAINING, *STATISTICS, *used), tuple(NOT_FOLLOWED), package)


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names under which two descriptions differ."""
    return sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
