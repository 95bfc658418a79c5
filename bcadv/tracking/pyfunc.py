"""What ``mlflow.pyfunc.load_model`` makes of a logged model: images in, probabilities out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from bcadv.errors import BcadvError
from bcadv.models.classifier import Classifier
from bcadv.pixels import resize_floats, resized, shortened
from bcadv.tracking.inputs import images_of
from bcadv.tracking.model import AS_TRAINED, INPUT, WEIGHTS

Floats: TypeAlias = npt.NDArray[np.float32]

PREDICTED = "predicted"
_BATCH = 32


class ImageClassifier:
    """A trained classifier that prepares images as its job did.

    Args:
        model: in evaluation mode.
        classes: their names in the order of the model's outputs.
        crop: side of the central square that the model sees, in pixels.
        resize: length that the shorter side is brought to before, in pixels; ``None``: as it is.
        white: the value of files that is white; ``None``: as their format says.
        statistics: BatchNorm choice -> its statistics by name; the first is the default. Of those
            as trained there need be none.
    """

    def __init__(
        self,
        model: Classifier,
        classes: Sequence[str],
        crop: int,
        resize: int | None,
        statistics: Mapping[str, Mapping[str, Tensor]] | None = None,
        white: float | None = None,
    ) -> None:
        self.model, self.classes, self.crop, self.resize = model, list(classes), crop, resize
        self.white = white
        self.statistics = dict(statistics or {AS_TRAINED: {}})
        trained = {name: value.clone() for name, value in model.state_dict().items()}
        self._states = {name: trained | dict(own) for name, own in self.statistics.items()}

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Classifies images.

        Args:
            model_input: an image or several of any sizes: paths, images of Pillow, arrays (RGB,
                whole numbers from 0 to 255, uint16 or floats in [0, 1]), a list or a column of
                them; see `bcadv.tracking.inputs.images_of`.
            params: ``batchnorm``: which BatchNorm statistics to answer with.

        Returns:
            A row per image: the probability of each class under its name, and the most probable
            class as ``predicted``.

        Raises:
            BcadvError: something that is no such image, or one smaller than the crop.
        """
        choice = (params or {}).get("batchnorm") or next(iter(self.statistics))
        if choice not in self._states:
            raise BcadvError(
                f"batchnorm={choice}: this model was kept with {', '.join(self._states)}."
            )
        self.model.load_state_dict(self._states[choice])
        crops = [
            self._prepared(image, i) for i, image in enumerate(images_of(model_input, self.white))
        ]
        rows = [np.empty((0, len(self.classes)))]
        called: list[int] = []
        task = self.model.task
        with torch.inference_mode():
            for begin in range(0, len(crops), _BATCH):
                batch = torch.from_numpy(np.stack(crops[begin : begin + _BATCH]))
                logits = self.model(batch.permute(0, 3, 1, 2))
                rows.append(task.probability(logits).numpy())
                called += task.decide(logits).tolist()
        probability = np.concatenate(rows)
        table = pd.DataFrame(probability, columns=pd.Index(self.classes))
        table[PREDICTED] = [self.classes[k] for k in called]
        return table

    def _prepared(self, image: npt.NDArray[Any], number: int) -> Floats:
        height, width = image.shape[:2]
        if self.resize is not None:
            image = _resized(image, self.resize)
            height, width = image.shape[:2]
        if min(height, width) < self.crop:
            raise BcadvError(
                f"image {number} is {width} x {height} pixels, and the model was trained on "
                f"squares of {self.crop}: give larger images."
            )
        top, left = (height - self.crop) // 2, (width - self.crop) // 2
        square = image[top : top + self.crop, left : left + self.crop]
        if square.dtype != np.float32:
            return square.astype(np.float32) / np.float32(np.iinfo(square.dtype).max)
        return np.ascontiguousarray(square, dtype=np.float32)


def _load_pyfunc(path: str) -> ImageClassifier:
    """MLflow's hook; the weights are read without executing code.

    Args:
        path: the model's data folder.
    """
    folder = Path(path)
    preparation = json.loads((folder / INPUT).read_text(encoding="utf-8"))
    model = Classifier.load_from_checkpoint(
        folder / WEIGHTS, map_location="cpu", weights_only=True
    ).eval()
    statistics: dict[str, Mapping[str, Tensor]] = {
        variant: {}
        if variant == AS_TRAINED
        else torch.load(folder / f"{variant}.pt", map_location="cpu", weights_only=True)
        for variant in preparation["batchnorm"]
    }
    return ImageClassifier(
        model,
        preparation["classes"],
        preparation["crop"],
        preparation["resize"],
        statistics,
        preparation.get("white"),
    )


def _resized(image: npt.NDArray[Any], short: int) -> npt.NDArray[Any]:
    """As the cache of decoded images does it; floats without rounding them to bytes."""
    if image.dtype != np.float32:
        return shortened(image, short)
    size = resized(image.shape[1::-1], short)
    return resize_floats(image, size).clip(0, 1)  # Lanczos overshoots at edges
