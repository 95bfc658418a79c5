"""Images that cost what photographs cost to decode, and mean nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

_PER_PATIENT = 20


def write_image(path: Path, rng: np.random.Generator, height: int, width: int) -> None:
    """Writes smooth blots under a little grain, so that the file compresses as a photograph."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = rng.integers(0, 256, (max(2, height // 16), max(2, width // 16), 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    grain = rng.integers(-6, 7, (height, width, 3), dtype=np.int16)
    pixels = np.clip(np.asarray(smooth, dtype=np.int16) + grain, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, compress_level=1)


def write_breakhis(root: Path, *, benign: int, malignant: int, height: int, width: int) -> None:
    """Writes a flat folder of images with BreakHis names, at 100X.

    Args:
        root: the folder.
        benign: number of adenosis images.
        malignant: number of ductal carcinoma images.
        height: rows of each image.
        width: columns of each image.
    """
    rng = np.random.default_rng(0)
    for kind, first_case, n in (("B_A", 91000, benign), ("M_DC", 92000, malignant)):
        for i in range(n):
            case, sequence = first_case + i // _PER_PATIENT, i % _PER_PATIENT + 1
            path = root / f"SOB_{kind}-14-{case}-100-{sequence:03d}.png"
            write_image(path, rng, height, width)


def write_parts(root: Path, *, train: int, test: int, side: int) -> None:
    """Writes train/CLASS and test/CLASS folders of square images, for two classes.

    Args:
        root: the folder.
        train: images per class.
        test: images per class.
        side: rows and columns of each image.
    """
    rng = np.random.default_rng(0)
    for part, n in (("train", train), ("test", test)):
        for label in ("benign", "malignant"):
            for i in range(n):
                write_image(root / part / label / f"{i:05d}.png", rng, side, side)
