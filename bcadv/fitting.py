"""Attacks of a job that are fitted on its training images: once per model, kept beside it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from bcadv import distributed
from bcadv.callbacks.evaluate import Trial
from bcadv.config import Config
from bcadv.data.datamodule import ImageDataModule
from bcadv.errors import BcadvError
from bcadv.files import sha256_of
from bcadv.models.classifier import Classifier
from bcadv.perturb.accept import Saved
from bcadv.perturb.fitted import FittedAttack
from bcadv.store.code import PACKAGE, version_of_use
from bcadv.store.fingerprint import NOT_FOLLOWED, digest
from bcadv.store.models import Entry
from bcadv.store.statistics import read_statistics, write_statistics
from bcadv.train import digest as weights_of
from bcadv.typing import Batch

log = logging.getLogger(__name__)

_WHAT = "state of a fitted attack"


def fitted(
    trials: Sequence[Trial],
    config: Config,
    model: Classifier,
    data: ImageDataModule,
    variant: str,
    *,
    entry: Entry | None = None,
) -> list[Trial]:
    """The trials of an evaluation, those of attacks that are to be fitted with the state for it.

    The leading process fits, on all training images, and hands the state to the others.

    Args:
        trials: see `bcadv.build.build_trials`.
        config: of the job.
        model: trained, with the BatchNorm statistics that it is evaluated under.
        data: prepared; of its images those of the training are looked at, and no other.
        variant: name of those statistics.
        entry: of the model, in the leading process; ``None`` keeps nothing.
    """
    return [
        replace(trial, perturbation=_fitted(trial, attack, config, model, data, variant, entry))
        if isinstance(attack := trial.perturbation, FittedAttack)
        else trial
        for trial in trials
    ]


@dataclass(frozen=True)
class TrainingImages:
    """Batches of training images as the evaluation sees them, in a mixed order; each pass alike.

    Attributes:
        data: prepared.
        device: that they are wanted on.
        size: of a batch; the last one has what is left.
        seed: of the order.
        wanted: number of the class that an adversary is after, which then is the target of every
            image, and whose own images are left out; ``None``: it is not after one class.
    """

    data: ImageDataModule
    device: torch.device
    size: int
    seed: int
    wanted: int | None

    def __iter__(self) -> Iterator[Batch]:
        """Begins another pass."""
        order = np.random.default_rng(self.seed).permutation(self.data.split.train).tolist()
        for start in range(0, len(order), self.size):
            part = self.data.centre_crops(order[start : start + self.size])
            batch: Batch = self.data.transfer_batch_to_device(part, self.device, 0)
            if self.wanted is not None:
                rows = (batch.target != self.wanted).nonzero()[:, 0]
                target = torch.full_like(batch.target[rows], self.wanted)
                batch = Batch(batch.image[rows], target, batch.index[rows])
            if len(batch.target):
                yield batch

    def content(self) -> list[object]:
        """All that the batches depend on, as plain values."""
        data = self.data
        seen = [
            [i, int(data.targets[i]), data.digests[data.records[i].image_id]]
            for i in data.split.train
        ]
        return [data.config.crop, data.config.resize, self.size, self.seed, self.wanted, seen]


def _fitted(
    trial: Trial,
    attack: FittedAttack,
    config: Config,
    model: Classifier,
    data: ImageDataModule,
    variant: str,
    entry: Entry | None,
) -> FittedAttack:
    state = None
    if distributed.rank() == 0:
        # All of them, whatever share of a batch this process has in the evaluation.
        images = TrainingImages(
            data, model.device, config.evaluation.batch_size, config.seed, trial.wanted
        )
        acceptance = trial.conditions[0].acceptance
        sees: nn.Module = model if acceptance == "float" else Saved(model, acceptance)
        sizes = [condition.size for condition in trial.conditions]

        def fit() -> dict[str, Tensor]:
            log.info("%s is fitted on %d images.", attack.name, len(data.split.train))
            return attack.fit(sees, images, sizes)

        name = digest(
            {
                "weights": weights_of(model),  # BatchNorm statistics are among them
                "batchnorm": variant,
                "conditions": [[c.id, c.size, dict(c.settings)] for c in trial.conditions],
                "task": [attack.task.classes, attack.task.positive],
                "images": images.content(),
            }
        )
        path = None if entry is None else entry.fitted(attack.name, name[:16])
        state = fit() if path is None else _once(path, fitting_code(type(attack)), fit)
    state = distributed.tell(state)
    assert state is not None
    return attack.with_state({name: value.to(model.device) for name, value in state.items()})


def _once(path: Path, code: str, fit: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What a file keeps, or what is then kept in it; of several processes one fits."""
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("Another job fits the same attack (%s); waiting for it.", path)
        lock.acquire(poll_interval=0.2)
    try:
        if path.is_file():
            try:
                state, by = read_statistics(path, _WHAT)
            except BcadvError as error:
                log.warning("%s That is done now.", error)
            else:
                if by == code:
                    return state
                log.info("%s was made by other code; made anew.", path)
        state = fit()
        write_statistics(state, path, code)
        return state
    finally:
        lock.release()


def fitting_code(kind: type[FittedAttack]) -> str:
    """Names the code that an attack is fitted by: what its class uses, or a file from elsewhere."""
    root, _, module = kind.__module__.partition(".")
    mine = ("fitting", "fitted")
    if root == PACKAGE.name:
        return version_of_use(((module, kind.__name__), mine), tuple(NOT_FOLLOWED))
    file = inspect.getsourcefile(kind)
    outside = "" if file is None else sha256_of(Path(file))
    return f"{version_of_use((mine,), tuple(NOT_FOLLOWED))} {outside}"
