"""A trained model under other BatchNorm statistics, which are estimated once and kept with it."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bcadv import distributed
from bcadv.callbacks.inject import NoiseInjection
from bcadv.config import BatchNormChoice, Config
from bcadv.data.datamodule import ImageDataModule
from bcadv.errors import BcadvError
from bcadv.models.batchnorm import reestimate
from bcadv.models.classifier import Classifier
from bcadv.models.sync import whole_batches
from bcadv.store.fingerprint import chosen, statistics_code
from bcadv.store.models import Entry
from bcadv.store.statistics import read_statistics, write_statistics

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
    code = statistics_code(chosen(config))
    if distributed.tell(kept is not None and _load(model, kept, code)):
        distributed.share_state(model)
        return
    batches = (
        data.transfer_batch_to_device(b, model.device, 0) for b in data.plain_train_dataloader()
    )
    with whole_batches(model):
        if variant == "noisy" and injection is not None:
            # The epoch after the last one is a draw that training has not seen.
            unseen = config.trainer.max_epochs
            reestimate(model, batches, lambda batch: injection.inject(model, batch, unseen))
        else:
            reestimate(model, batches)
    if kept is not None:
        write_statistics(_statistics(model), kept, code)


def _statistics(model: nn.Module) -> dict[str, Tensor]:
    """Names in the model's state -> buffers of its BatchNorm layers."""
    return {
        f"{place}.{name}": value
        for place, layer in model.named_modules()
        if isinstance(layer, _BatchNorm)
        for name, value in layer.named_buffers()
    }


def _load(model: nn.Module, path: Path, wanted: str) -> bool:
    """Takes statistics from a file.

    Args:
        model: gets them.
        path: of the file.
        wanted: the code that they must have been estimated with.

    Returns:
        Whether the file held all of them, unharmed.
    """
    if not path.is_file():
        return False
    try:
        statistics, code = read_statistics(path)
    except BcadvError as error:
        log.warning("%s That is done now.", error)
        return False
    if code != wanted:
        log.info("%s was estimated by other code; estimated anew.", path)
        return False
    shapes = {name: value.shape for name, value in _statistics(model).items()}
    if {name: value.shape for name, value in statistics.items()} != shapes:
        log.warning("%s cannot be used (it is of another network); estimated anew.", path)
        return False
    model.load_state_dict(statistics, strict=False)
    return True
