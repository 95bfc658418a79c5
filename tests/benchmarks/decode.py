"""The first decoding of a data set against bare Pillow in as many threads."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
from PIL import Image

from bcadv.data.cache import build
from bcadv.data.records import Record, image_files
from bcadv.pixels import decode
from tests.benchmarks.measure import REPOSITORY, Options, Row, alternate
from tests.benchmarks.stand_ins import write_image

IMAGES, SIDE = 2000, 224
"""Of the stand-ins, where the chest X-rays are not at hand."""


def run(options: Options) -> Iterator[Row]:
    """Measures images per second: of the decoder alone, and of all that a first job does."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shared = os.environ.get("BCADV_SHARED_DATA", REPOSITORY.parent / "shared" / "data")
        real = Path(shared) / "chest_xray_224"
        if real.is_dir() and not options.small:
            files, what = sorted(image_files(real, {".jpeg", ".jpg", ".png"})), "chest X-rays"
        else:
            files, what = _painted(folder / "images", 20 if options.small else IMAGES), "stand-ins"
        records = [Record(path, str(i), "a") for i, path in enumerate(files)]
        threads = os.cpu_count() or 1

        def ours() -> None:
            build(records, folder / "cache", workers=threads, progress=False)
            shutil.rmtree(folder / "cache")

        def decoded() -> None:
            with ThreadPoolExecutor(threads) as pool:
                for _ in pool.map(decode, files):
                    pass

        def bare() -> None:
            with ThreadPoolExecutor(threads) as pool:
                for _ in pool.map(_pillow, files):
                    pass

        sides = {"decoder": decoded, "cache": ours, "bare": bare}
        timed = alternate(sides, options.rounds, tell=options.tell)
        rates = {name: len(files) / side.median for name, side in timed.items()}
        for side, does, asked in (
            ("decoder", "decoding", ">= 0.9"),
            ("cache", "decoding, with names by content and the file of pixels", ""),
        ):
            yield Row(
                f"{does}: {len(files)} {what}, {threads} threads",
                f"{rates[side]:.0f} images/s",
                f"{rates['bare']:.0f} images/s (bare Pillow)",
                f"{rates[side] / rates['bare']:.2f} of its rate",
                asked,
            )


def _pillow(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _painted(folder: Path, count: int) -> list[Path]:
    rng = np.random.default_rng(0)
    files = [folder / f"{i}.jpeg" for i in range(count)]
    for path in files:
        write_image(path, rng, SIDE, SIDE)
    return files
