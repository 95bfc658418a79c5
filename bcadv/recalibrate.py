"""A trained model under other BatchNorm statistics, which are estimated once and kept with it."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bcadv import distributed
from bcadv.callbacks.inject import NoiseInjection
from bcadv.config import BatchNormChoice, Config
from bcadv.data.datamodule import ImageDataModule
from bcadv.errors import BcadvError
from bcadv.files import write_atomically
from bcadv.models.batchnorm import reestimate
from bcadv.models.classifier import Classifier
from bcadv.models.sync import whole_batches
from bcadv.results.files import digest as file_digest
from bcadv.store.fingerprint import statistics_code
from bcadv.store.models import Entry, write

log = logging.getLogger(__name__)


def recalibrate(
    variant: BatchNormChoice,
    config: Config,
    model: Classifier,
    data: ImageDataModule,
    *,
    injection: NoiseInjection | None,
    entry: Entry | None = None,
) -> None:
    """Gives a model the BatchNorm statistics that it is to be evaluated under.

    That is a pass over all training images, as long as the attack itself where few images are
    tested. What shaped the model shapes the statistics too, so they lie beside it for the jobs
    that follow.

    Args:
        variant: ``as_trained`` changes nothing.
        config: of the job.
        model: trained, with the statistics of its training; changed in place.
        data: prepared.
        injection: what was mixed into training, for ``noisy``.
        entry: of the model, in the leading process; ``None`` keeps nothing.
    """
    if variant == "as_trained":
        return
    kept = None if entry is None else entry.statistics(config.trainer.checkpoint, variant)
    if distributed.tell(kept is not None and _load(model, kept)):
        distributed.share_state(model)
        return
    batches = (
        data.on_after_batch_transfer(data.transfer_batch_to_device(b, model.device, 0), 0)
        for b in data.plain_train_dataloader()
    )
    with whole_batches(model):
        if variant == "noisy" and injection is not None:
            # The epoch after the last one is a draw that training has not seen.
            unseen = config.trainer.max_epochs
            reestimate(model, batches, lambda batch: injection.inject(model, batch, unseen))
        else:
            reestimate(model, batches)
    if kept is not None:
        _save(model, kept)


def load_statistics(model: nn.Module, path: Path) -> None:
    """Puts a model under statistics that `recalibrate` kept.

    Args:
        model: trained; changed in place.
        path: see `bcadv.store.models.Entry.statistics`.

    Raises:
        BcadvError: they are missing or of another network, or were changed or damaged.
    """
    statistics = read_statistics(path)
    try:
        _take(model, statistics)
    except ValueError as error:
        raise _unusable(path, error) from error


def read_statistics(path: Path) -> dict[str, Tensor]:
    """Statistics that `recalibrate` kept, by their names in the model's state.

    Raises:
        BcadvError: they are missing, or were changed or damaged.
    """
    try:
        return _unharmed(path, _record_of(path))
    except Exception as error:  # damage shows itself in many ways
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> BcadvError:
    return BcadvError(
        f"The BatchNorm statistics {path} cannot be used ({_reason(error)}): run the job again, "
        "which estimates them anew."
    )


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "the file or its record is missing"
    # What torch and json say of a damaged file helps nobody.
    return str(error) if type(error) is ValueError else "it was changed or damaged"


def _statistics(model: nn.Module) -> dict[str, Tensor]:
    """Names in the model's state -> buffers of its BatchNorm layers."""
    return {
        f"{place}.{name}": value
        for place, layer in model.named_modules()
        if isinstance(layer, _BatchNorm)
        for name, value in layer.named_buffers()
    }


def _load(model: nn.Module, path: Path) -> bool:
    """Takes statistics from a file; returns whether it held all of them, unharmed."""
    if not path.is_file():
        return False
    try:
        record = _record_of(path)
        if record["code"] != statistics_code():
            log.info("%s was estimated by other code; estimated anew.", path)
            return False
        _take(model, _unharmed(path, record))
    except Exception as error:  # damage shows itself in many ways
        log.warning("%s cannot be used (%s); estimated anew.", path, _reason(error))
        return False
    return True


def _record_of(path: Path) -> Mapping[str, object]:
    record: Mapping[str, object] = json.loads(_record(path).read_text(encoding="utf-8"))
    return record


def _unharmed(path: Path, record: Mapping[str, object]) -> dict[str, Tensor]:
    if record["sha256"] != file_digest(path):
        raise ValueError("it was changed or damaged")
    statistics: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return statistics


def _take(model: nn.Module, statistics: Mapping[str, Tensor]) -> None:
    wanted = {name: value.shape for name, value in _statistics(model).items()}
    if {name: value.shape for name, value in statistics.items()} != wanted:
        raise ValueError("it is of another network")
    model.load_state_dict(statistics, strict=False)


def _record(path: Path) -> Path:
    """Where the digest of a file of statistics stands, and the code that estimated them."""
    return path.with_suffix(".json")


def _save(model: nn.Module, path: Path) -> None:
    # Two jobs may have come here at once: each writes a file of its own and moves it into place.
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        write({name: value.cpu() for name, value in _statistics(model).items()}, part)
        record = {"sha256": file_digest(part), "code": statistics_code()}
        part.replace(path)
        write_atomically(_record(path), json.dumps(record) + "\n")
    finally:
        part.unlink(missing_ok=True)
