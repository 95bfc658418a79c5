"""Lightning's Trainer as every job uses it, and the training that goes on from its last epoch."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

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

from bcadv import distributed, hardware
from bcadv.callbacks.finite import FiniteWeights
from bcadv.callbacks.progress import TrainingProgress
from bcadv.config import Config
from bcadv.data.datamodule import ImageDataModule
from bcadv.models.classifier import Classifier
from bcadv.models.sync import WholeBatchNorm
from bcadv.progress import Meter
from bcadv.store.models import read, save
from bcadv.text import first_line

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
        why = why_unreadable(error)
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
        reason = first_line(str(error)) or type(error).__name__
        log.warning("model.compile=true: cannot compile here (%s); going on without.", reason)
    finally:
        model.net.train()


def why_unreadable(error: Exception) -> str:
    """Why a file is no checkpoint, without torch's advice on how to load it nevertheless."""
    if isinstance(error, FileNotFoundError):
        return "it is missing"
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    said = first_line(str(error)) or type(error).__name__
    if isinstance(error, pickle.UnpicklingError) or "weights_only" in said or "Weights" in said:
        return "it is damaged, or holds more than weights"
    return said[:200]
