"""Training, once: a model that is stored under its fingerprint is loaded, any other is trained."""

from __future__ import annotations

import hashlib
import logging
import pickle
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
)
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn

from bcadv import distributed, hardware
from bcadv.callbacks.finite import FiniteWeights
from bcadv.callbacks.inject import NoiseInjection
from bcadv.callbacks.progress import TrainingProgress
from bcadv.callbacks.record import History
from bcadv.config import Config
from bcadv.data.datamodule import ImageDataModule
from bcadv.errors import BcadvError
from bcadv.files import sha256_of
from bcadv.models.classifier import Classifier
from bcadv.models.sync import WholeBatchNorm
from bcadv.progress import Meter
from bcadv.store.fingerprint import differences
from bcadv.store.models import Entry, Store, read, save, slim

log = logging.getLogger(__name__)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that are there whole or not at all, whenever process or machine stop."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Writes beside the place and moves into it."""
        save(checkpoint, Path(path))


class Checkpoint(ModelCheckpoint):
    """Knows the best epoch again, also where the output folder was moved since."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the state of a checkpoint, with its files in the present folder."""
        here = Path(str(self.dirpath))

        def moved(path: str) -> str:
            return str(here / Path(path).name) if path else path

        paths = ("best_model_path", "last_model_path", "kth_best_model_path")
        super().load_state_dict(
            {
                **state_dict,
                **{name: moved(state_dict[name]) for name in paths},
                "best_k_models": {moved(p): s for p, s in state_dict["best_k_models"].items()},
                "dirpath": self.dirpath,
            }
        )


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
    say(f"Model {name} is already trained: {entry.folder}. For a new one: reuse=false.")
    return _trained(entry, reused=True)


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
        f"The stored model {path} cannot be read ({_reason(error)}): remove the folder "
        f"{entry.folder} and run again, which trains it anew."
    )


def _reason(error: Exception) -> str:
    """Why a file is no checkpoint, without torch's advice on how to load it nevertheless."""
    if isinstance(error, FileNotFoundError):
        return "it is missing"
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    said = _first_line(error)
    if isinstance(error, pickle.UnpicklingError) or "weights_only" in said or "Weights" in said:
        return "it is damaged, or holds more than weights"
    return said[:200]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


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


def fit(
    config: Config,
    folder: Path,
    model: Classifier,
    data: ImageDataModule,
    *,
    callbacks: Sequence[Callback],
) -> None:
    """Runs the Trainer.

    Args:
        config: epochs, precision and options of training.
        folder: gets ``best.ckpt`` (lowest validation loss) and ``last.ckpt``.
        model: is trained in place.
        data: prepared or not.
        callbacks: run before the checkpoints are written.

    Raises:
        BcadvError: the training diverged.
        KeyboardInterrupt: stopped by a person.
    """
    common: dict[str, Any] = {
        "dirpath": folder,
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
    }
    gpu = hardware.use_gpu(config.trainer.accelerator)
    precision = hardware.training_precision(config.trainer.precision, gpu)
    remedy = f"lower optimizer.lr={config.optimizer.lr}"
    if precision != "32-true":
        remedy += ", or set trainer.precision=32"
    every: list[Callback] = [
        FiniteWeights(remedy),
        *callbacks,
        Checkpoint(filename="best", monitor="val_loss", save_top_k=1, **common),
        # Separate from the best one: a job goes on from the newest epoch, not from the best.
        Checkpoint(filename="last", save_top_k=1, **common),
    ]
    if config.trainer.early_stopping:
        every.append(EarlyStopping("val_loss", patience=config.trainer.early_stopping))
    if config.trainer.weight_averaging:
        every.append(EMAWeightAveraging(decay=config.trainer.weight_averaging))
    if config.model.compile:
        _compile(model, config)
    # The leader shows how far it is; the others are as far.
    meter = (
        Meter(at_most=config.trainer.early_stopping is not None)
        if distributed.rank() == 0
        else None
    )
    if meter is not None:
        every.append(TrainingProgress(meter))
    runner = trainer(
        config,
        every,
        max_epochs=config.trainer.max_epochs,
        precision=precision,
        plugins=[AtomicCheckpointIO()],
    )
    checkpoint = _to_go_on_from(folder / "last.ckpt", model, config.trainer.max_epochs)
    try:
        with nullcontext() if meter is None else meter:
            runner.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:  # how Lightning ends after Ctrl-C
        raise KeyboardInterrupt from None


def _to_go_on_from(last: Path, model: Classifier, epochs: int) -> Path | None:
    """The checkpoint of the last finished epoch, if it can be used."""
    if not last.is_file():
        return None
    why = ""
    try:
        whole = read(last)
        shapes = {name: value.shape for name, value in model.state_dict().items()}
        if "optimizer_states" not in whole:
            why = "the optimizer's state was taken out of it"
        elif {name: value.shape for name, value in whole["state_dict"].items()} != shapes:
            why = "its weights are those of another network"
    except Exception as error:  # damage shows itself in many ways
        why = _reason(error)
    if not why:
        log.info("Training goes on after epoch %d of %d.", int(whole["epoch"]) + 1, epochs)
        return last
    log.warning("One cannot go on from %s (%s); training starts at its first epoch.", last, why)
    last.unlink(missing_ok=True)
    return None


def trainer(
    config: Config,
    callbacks: Sequence[Callback],
    plugins: Sequence[Any] = (),
    **options: Any,
) -> pl.Trainer:
    """Lightning's Trainer as every job uses it, alone or with the processes that have joined."""
    gpu = hardware.use_gpu(config.trainer.accelerator)
    if distributed.active():
        # The loaders share out the batches, without the duplicates of Lightning's own sampler.
        options |= {
            "devices": config.trainer.devices,
            "num_nodes": config.trainer.nodes,
            "strategy": DDPStrategy(),
            "use_distributed_sampler": False,
        }
        plugins = [*plugins, TorchElasticEnvironment(), WholeBatchNorm()]
    else:
        options["devices"] = 1
    return pl.Trainer(
        callbacks=list(callbacks),
        enable_progress_bar=False,
        plugins=list(plugins),
        accelerator="gpu" if gpu else "cpu",
        logger=False,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        **options,
    )


def _compile(model: Classifier, config: Config) -> None:
    """Compiles the network, or says why not and goes on without."""
    probe = torch.zeros(2, 3, config.data.crop, config.data.crop)
    try:
        model.net.compile()
        with torch.no_grad():
            model.net.eval()(probe)
    except Exception as error:
        model.net._compiled_call_impl = None
        reason = _first_line(error)
        log.warning("model.compile=true: cannot compile here (%s); going on without.", reason)
    finally:
        model.net.train()
