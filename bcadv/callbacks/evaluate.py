"""Perturbs test batches and writes down, image by image, what became of each prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional

from bcadv import distributed
from bcadv.perturb.base import CheckedPerturbation
from bcadv.perturb.threat import ThreatModel
from bcadv.typing import Batch, Logits


@dataclass(frozen=True)
class Trial:
    """A perturbation and the strengths to try it at.

    Attributes:
        perturbation: what is done to the images.
        strengths: eps or sigma, pixel values in [0, 1].
        norm: norm that the size of the perturbation is measured in.
        eps_px: the same strengths in grey levels of 255, as the user wrote them: the exact key
            that results of several runs are joined by.
    """

    perturbation: CheckedPerturbation
    strengths: tuple[float, ...]
    norm: float
    eps_px: tuple[float, ...]


@dataclass
class Examples:
    """The first test images of each class with all that was done to them, for the figures.

    Attributes:
        image: clean, shape (k, 3, height, width).
        target: classes, shape (k,).
        index: image numbers, shape (k,).
        perturbed: by trial and strength, shape (k, 3, height, width).
        probability: of the clean image and by trial and strength, shape (k, classes).
    """

    image: npt.NDArray[np.float32]
    target: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]
    perturbed: dict[tuple[str, float], npt.NDArray[np.float32]]
    probability: dict[tuple[str, float], npt.NDArray[np.float32]]


CLEAN = "none"
"""Name of the perturbation that does nothing."""


class RobustnessEvaluation(pl.Callback):
    """Measures a classifier on clean and on perturbed test images in one pass.

    Works under Lightning's default inference mode. After ``trainer.test`` the rows stand in
    :meth:`predictions`; where several processes shared the batches, in that of the leader.

    Args:
        trials: what to perturb the images with.
        keep: numbers of the images to keep for the figures.
    """

    computes_clean_logits = True

    def __init__(self, trials: Sequence[Trial], keep: Sequence[int] = ()) -> None:
        self.trials = tuple(trials)
        self.keep = frozenset(keep)
        # By batch, and within it by strength.
        self._rows: list[list[dict[str, Any]]] = []
        self._kept: list[dict[str, Any]] = []

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets an earlier pass."""
        self._rows, self._kept = [], []

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the shares of all processes together at the leader, in the order of one process."""
        found = distributed.collect((self._rows, self._kept))
        if found is None:
            return
        shares = zip(*(rows for rows, _ in found), strict=True)
        self._rows = [
            # A column without values has no type and would change that of the others.
            [row for strength in zip(*share, strict=True) for row in strength if row["index"]]
            for share in shares
        ]
        self._kept = [item for _, kept in found for item in kept]

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Attacks the batch whose clean logits the test step returned, or skipped."""
        self.measure(pl_module, batch, outputs)

    def measure(
        self, model: pl.LightningModule, batch: Batch, clean_logits: Logits | None = None
    ) -> None:
        """Perturbs one batch by every trial and records each prediction.

        Args:
            model: maps images to logits.
            batch: images in [0, 1].
            clean_logits: of the clean images, where they are known; a gradient attack computes
                them on its way, so that passing ``None`` costs nothing beside one.
        """
        sweeps = [
            trial.perturbation.sweep(
                model, batch.image, batch.target, trial.strengths, index=batch.index
            )
            for trial in self.trials
        ]
        self._rows.append([])
        known = (sweep.clean_logits for sweep in sweeps if sweep.clean_logits is not None)
        if clean_logits is None:
            clean_logits = next(known, None)
        with torch.inference_mode():
            clean = model(batch.image) if clean_logits is None else clean_logits
            self._record(
                batch,
                clean,
                batch.image,
                name=CLEAN,
                norm="-",
                eps=0.0,
                eps_px=0.0,
                size_norm=math.inf,
            )
            for trial, sweep in zip(self.trials, sweeps, strict=True):
                norm = f"{trial.norm:g}"
                for eps, px, image in zip(trial.strengths, trial.eps_px, sweep.images, strict=True):
                    # Strength 0 gives the same pixels, hence the same logits.
                    logits = clean if eps == 0 else model(image)
                    name = trial.perturbation.name
                    self._record(
                        batch,
                        logits,
                        image,
                        name=name,
                        norm=norm,
                        eps=eps,
                        eps_px=px,
                        size_norm=trial.norm,
                    )

    def _record(
        self,
        batch: Batch,
        logits: Logits,
        image: Tensor,
        *,
        name: str,
        norm: str,
        eps: float,
        eps_px: float,
        size_norm: float,
    ) -> None:
        probability = functional.softmax(logits.double(), dim=1).cpu().numpy()
        size = ThreatModel(eps, size_norm).size(image - batch.image)
        # Python's own numbers, not small arrays: those would lie between the large buffers of the
        # network on the C heap, and its freed memory could never be given back.
        self._rows[-1].append(
            {
                "index": batch.index.tolist(),
                "target": batch.target.tolist(),
                "perturbation": name,
                "norm": norm,
                "eps": eps,
                "eps_px": eps_px,
                "prediction": logits.argmax(1).tolist(),
                "size": size.double().tolist(),
                "probability": probability.T.tolist(),
            }
        )
        for position, number in enumerate(batch.index.tolist()):
            if number in self.keep:
                self._kept.append(
                    {
                        "index": number,
                        "target": int(batch.target[position]),
                        "key": (name, eps_px),
                        "image": image[position].float().cpu().numpy().copy(),
                        "probability": probability[position].astype(np.float32),
                    }
                )

    def predictions(self) -> pd.DataFrame:
        """A row per image x perturbation x strength.

        Returns:
            Columns ``index``, ``target``, ``perturbation``, ``norm``, ``eps`` (pixel values in
            [0, 1]), ``eps_px`` (grey levels of 255), ``prediction``, ``size`` (of the
            perturbation, in its norm) and ``p_0`` ... ``p_{K-1}`` (probabilities).
        """
        frames = []
        for row in chain.from_iterable(self._rows):
            columns = {key: value for key, value in row.items() if key != "probability"}
            for k, column in enumerate(row["probability"]):
                columns[f"p_{k}"] = column
            frames.append(pd.DataFrame(columns))
        return pd.concat(frames, ignore_index=True)

    def examples(self) -> Examples:
        """The images named by ``keep``, in the order of their numbers."""
        order = sorted({item["index"] for item in self._kept})

        def stack(key: tuple[str, float], field: str) -> npt.NDArray[np.float32]:
            found = {i["index"]: i[field] for i in self._kept if i["key"] == key}
            return np.stack([found[number] for number in order])

        keys = list(dict.fromkeys(item["key"] for item in self._kept))
        targets = {item["index"]: item["target"] for item in self._kept}
        return Examples(
            image=stack((CLEAN, 0.0), "image"),
            target=np.array([targets[number] for number in order], dtype=np.int64),
            index=np.array(order, dtype=np.int64),
            perturbed={key: stack(key, "image") for key in keys},
            probability={key: stack(key, "probability") for key in keys},
        )
