"""Training, once: a model that is stored under its fingerprint is loaded, any other is trained."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor, nn

from bcadv import distributed, hardware
from bcadv.callbacks.inject import NoiseInjection
from bcadv.callbacks.record import History
from bcadv.config import Config
from bcadv.data.datamodule import ImageDataModule
from bcadv.errors import BcadvError
from bcadv.files import sha256_of
from bcadv.models.classifier import Classifier
from bcadv.store.fingerprint import differences
from bcadv.store.models import Entry, Store, read, slim
from bcadv.trainer import fit, why_unreadable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A trained model and how it was come by.

    Attributes:
        entry: where it lies.
        history: a row per epoch.
        reused: whether it was trained by another job.
        seconds: that its training took.
    """

    entry: Entry
    history: list[dict[str, float]]
    reused: bool
    seconds: float


def obtain(
    config: Config,
    shape: Mapping[str, Any],
    name: str,
    *,
    folder: Path,
    model: Classifier,
    data: ImageDataModule,
    injection: NoiseInjection | None,
    history: History,
    say: Callable[[str], None],
) -> Trained:
    """Trains a model, or takes it from the store where it has been trained before.

    Of several processes that want the same model one trains and the others wait; if it dies the
    next one goes on from its last finished epoch.

    Args:
        config: of the job.
        shape: from `bcadv.store.fingerprint.describe`.
        name: the fingerprint of ``shape``.
        folder: of the job; holds the model itself where ``reuse=false``.
        model: is trained in place; where the model is reused it stays as it is.
        data: prepared.
        injection: what is mixed into training, if anything.
        history: gets the epochs of this process's training.
        say: shows the user a sentence.

    Raises:
        BcadvError: the training diverged.
        KeyboardInterrupt: stopped by a person; the last finished epoch is saved.
    """
    if not config.reuse:
        entry = Entry(folder / "model")
        _clear_damage(entry, say)
        changed = differences(shape, entry.shape) if entry.shape else []
        if changed:
            say(f"The model in {entry.folder} had another {', '.join(changed)}; training anew.")
            shutil.rmtree(entry.folder)
        if entry.trained is None:
            _train(config, shape, entry, model=model, data=data, injection=injection, rows=history)
        else:
            distributed.tell(None)
        return _trained(entry, reused=False)
    store = Store(config.paths.outputs)
    entry = store.entry(name)
    if entry.trained is None:

        def on_wait() -> None:
            say(f"Another job is training the same model ({name}); waiting for it.")

        with store.claim(name, on_wait):
            if entry.trained is None:
                _clear_damage(entry, say)
                begun = entry.checkpoint("last").is_file()
                near = [] if begun else store.nearest(shape)
                if near:
                    log.info("No stored model fits; the nearest differs in %s.", ", ".join(near))
                _train(
                    config, shape, entry, model=model, data=data, injection=injection, rows=history
                )
                return _trained(entry, reused=False)
    distributed.tell(None)
    _name_classes(entry, data.classes)
    say(f"Model {name} is already trained: {entry.folder}. For a new one: reuse=false.")
    return _trained(entry, reused=True)


def _name_classes(entry: Entry, classes: Sequence[str]) -> None:
    """Writes down the classes of a model that was trained when records did not name them."""
    record = entry.trained
    if record is not None and "classes" not in record:
        entry.finish({**record, "classes": list(classes)})


def _clear_damage(entry: Entry, say: Callable[[str], None]) -> None:
    """Makes room for a model whose records vouch for it."""
    if entry.is_damaged:
        say(f"{entry.folder} holds a model without whole records; training anew.")
        shutil.rmtree(entry.folder)


def assist(
    config: Config, model: Classifier, data: ImageDataModule, injection: NoiseInjection | None
) -> None:
    """What `obtain` is in the processes that follow another one: training, if it says so.

    Args:
        config: of the job.
        model: is trained in place, if at all.
        data: prepared.
        injection: what is mixed into training, if anything.
    """
    place: Path | None = distributed.tell()
    if place is not None:
        rows = History(place / "history.csv")
        fit(config, place, model, data, callbacks=[rows, injection] if injection else [rows])


def load(model: Classifier, entry: Entry, which: str) -> int:
    """Loads the ``best`` or ``last`` weights without executing code.

    Returns:
        The epoch that they are from.

    Raises:
        BcadvError: the file is missing or damaged.
    """
    path = entry.checkpoint(which)
    try:
        state = read(path)
        model.load_state_dict(state["state_dict"])
        epoch = int(state["epoch"])
    except Exception as error:  # damage shows itself in many ways
        raise _unreadable(entry, path, error) from error
    record = entry.trained
    if record is not None and record["weights"][which] != digest(model, epoch):
        raise BcadvError(
            f"The stored model {path} is not the one that was trained: its weights were changed or "
            f"damaged. Remove the folder {entry.folder} and run again, which trains it anew."
        )
    return epoch


def _unreadable(entry: Entry, path: Path, error: Exception) -> BcadvError:
    return BcadvError(
        f"The stored model {path} cannot be read ({why_unreadable(error)}): remove the folder "
        f"{entry.folder} and run again, which trains it anew."
    )


def digest(model: nn.Module, epoch: int | None = None) -> str:
    """Names the weights of a model (and the epoch they are from): equal names, equal weights."""
    return _digest_of(model.state_dict(), epoch)


def _digest_of(state: Mapping[str, Tensor], epoch: int | None) -> str:
    found = hashlib.sha256(b"" if epoch is None else str(epoch).encode())
    for name, value in state.items():
        found.update(name.encode() + value.cpu().numpy().tobytes())
    return found.hexdigest()[:16]


def _trained(entry: Entry, *, reused: bool) -> Trained:
    record = entry.trained
    assert record is not None
    try:
        if sha256_of(entry.history) != record["history"]:
            raise ValueError("it was changed or damaged")
        rows = pd.read_csv(entry.history).to_dict("records")
        history = [
            {str(key): float(value) for key, value in row.items() if pd.notna(value)}
            for row in rows
        ]
    except (OSError, ValueError) as error:
        raise _unreadable(entry, entry.history, error) from error
    return Trained(entry, history, reused, float(record["seconds"]))


def _train(
    config: Config,
    shape: Mapping[str, Any],
    entry: Entry,
    *,
    model: Classifier,
    data: ImageDataModule,
    injection: NoiseInjection | None,
    rows: History,
) -> None:
    """Trains to the last epoch, from the last finished one where there is a checkpoint."""
    entry.begin(shape)
    rows.path = entry.history
    distributed.tell(entry.folder)
    fit(
        config,
        entry.folder,
        model,
        data,
        callbacks=[rows, injection] if injection else [rows],
    )
    weights = {}
    for which in ("best", "last"):
        try:
            state = read(entry.checkpoint(which))
            weights[which] = _digest_of(state["state_dict"], int(state["epoch"]))
        except Exception as error:  # damage shows itself in many ways
            raise _unreadable(entry, entry.checkpoint(which), error) from error
    entry.finish(
        {
            "weights": weights,
            "classes": list(data.classes),
            "history": sha256_of(entry.history),
            "epochs": len(rows.rows),
            "seconds": round(rows.seconds, 1),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "git_commit": hardware.git_commit(),
            "environment": hardware.environment(hardware.use_gpu(config.trainer.accelerator)),
        }
    )
    # After the mark: killed in between, the files are merely larger than they need be.
    for which in ("best", "last"):
        slim(entry.checkpoint(which), entry.checkpoint(which))
