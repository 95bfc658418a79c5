"""What an adversarial image has to survive: being saved, as a camera or an archive would."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from bcadv.errors import BcadvError
from bcadv.perturb.jpeg import through_jpeg

_JPEG = re.compile(r"jpeg\((100|[1-9]?\d)\)")


def saved(image: Tensor, how: str) -> Tensor:
    """Images as they come back after being saved; the gradient passes as if they had not been.

    A backward pass through the nearest differentiable function, the identity, is what breaks
    defences that only save the image (Athalye, Carlini and Wagner, "Obfuscated gradients give a
    false sense of security", ICML 2018, section 4.1).

    Args:
        image: in [0, 1], shape (batch, channels, height, width), one or three channels.
        how: ``float``: as it is; ``8bit``: 256 grey levels; ``jpeg(90)``: JPEG of this quality.

    Returns:
        Same shape; multiples of 1/255 unless ``float``.

    Raises:
        BcadvError: another way, or a JPEG of another number of channels.
    """
    if how == "float":
        return image
    quality = _JPEG.fullmatch(how)
    if quality is None and how != "8bit":
        raise BcadvError(f"accept={how} is no way to save an image: give float, 8bit or jpeg(90).")
    with torch.no_grad():
        if quality is None:
            after = (image * 255).round().clamp(0, 255) / 255
        elif image.shape[1] in (1, 3):
            after = torch.stack([through_jpeg(one, int(quality[1])) for one in image])
        else:
            raise BcadvError(
                f"accept={how} needs images of 1 or 3 channels, these have {image.shape[1]}: take "
                "accept=8bit."
            )
    # Adding a difference would round the saved pixels once more.
    result: Tensor = _PassThrough.apply(image, after)
    return result


class _PassThrough(torch.autograd.Function):
    """The second tensor, with the gradient of the first."""

    @staticmethod
    def forward(context: object, image: Tensor, after: Tensor) -> Tensor:
        return after.clone()

    @staticmethod
    def backward(context: object, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class Saved(nn.Module):
    """A model that sees images as they come back after being saved.

    An attack on it finds images that fool the model itself once they are saved.

    Args:
        model: images -> logits.
        how: see `saved`.
    """

    def __init__(self, model: nn.Module, how: str) -> None:
        super().__init__()
        self.model, self.how = model, how

    def forward(self, image: Tensor) -> Tensor:
        """Images -> the model's logits of the saved images."""
        logits: Tensor = self.model(saved(image, self.how))
        return logits
