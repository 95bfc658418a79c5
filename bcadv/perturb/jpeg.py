"""Through a JPEG file and back."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def through_jpeg(image: Tensor, quality: int) -> Tensor:
    """An image as it comes back from a JPEG file.

    Args:
        image: in [0, 1], one or three channels, shape (channels, height, width).
        quality: from 0 to 100.

    Returns:
        Multiples of 1/255, same shape, dtype and device.
    """
    levels = (image * 255).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    file = io.BytesIO()
    # Of one channel Pillow wants no axis.
    Image.fromarray(levels.squeeze(2) if len(image) == 1 else levels).save(
        file, "JPEG", quality=quality
    )
    stored = np.asarray(Image.open(file)).reshape(levels.shape)
    return torch.tensor(stored).permute(2, 0, 1).to(image) / 255
