"""What a logged model may be given -> images: files, Pillow's, arrays, lists, columns of these."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from bcadv.errors import BcadvError
from bcadv.pixels import UnreadableImageError, decode, loses_bits, of_image
from bcadv.raster import BAD_IMAGE
from bcadv.text import shown

Pixels: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]

_ONE = (str, os.PathLike, Image.Image)
_GIVE = (
    "give a path, a Pillow image, an array (height, width, 3) of uint8, of uint16 up to 65535 or "
    "of floats in [0, 1], or a list of them"
)


def images_of(given: Any, white: float | None = None) -> Iterator[Pixels]:
    """Each image as uint8, uint16 or as float32 in [0, 1], shape (height, width, 3), one by one.

    Args:
        given: one image or several. One is the path of a file, an image of Pillow in any mode, or
            an array (height, width, 3) or (3, height, width) of whole numbers from 0 to 255 or of
            floats in [0, 1]; uint16 goes to 65535. Several are a list, a batch in one array, or a
            table with one column.
        white: the value of files and of Pillow's images that is white; ``None``: as their format
            says.

    Raises:
        BcadvError: something else, with its place and the remedy.
    """
    for number, item in enumerate(_items(given)):
        yield _image(item, f"image {number}", white)


def _items(given: Any) -> Iterable[Any]:
    if isinstance(given, _ONE):
        return [given]
    if isinstance(given, pd.DataFrame):
        if len(given.columns) != 1:
            names = ", ".join(map(str, given.columns))
            raise BcadvError(
                f"a table of {len(given.columns)} columns ({names}) cannot be classified: give one "
                "column of paths."
            )
        return list(given.iloc[:, 0])
    if isinstance(given, list | tuple | pd.Series):
        return list(given)
    if isinstance(given, bytes | bytearray | dict) or not hasattr(given, "__array__"):
        raise BcadvError(f"{type(given).__name__} cannot be classified: {_GIVE}.")
    array = np.asarray(given)
    if array.ndim == 1 and array.dtype.kind in "OU":
        return list(array)
    if array.ndim == 3:
        return [array]
    if array.ndim == 4:
        # As a whole, since one shape goes for all of them.
        return array if len(array) == 0 else _upright(array, "the batch")
    raise BcadvError(
        f"an array of shape {array.shape} cannot be classified: give (height, width, 3) for one "
        "image, (n, height, width, 3) for several."
    )


def _image(item: Any, name: str, white: float | None) -> Pixels:
    if isinstance(item, str | os.PathLike):
        return _read(Path(item), name, white)
    if isinstance(item, Image.Image):
        return _decoded(item, name, white)
    if isinstance(item, bytes | bytearray | dict) or item is None or np.isscalar(item):
        raise BcadvError(f"{name} is of type {type(item).__name__}: {_GIVE}.")
    try:
        array = np.asarray(item)
    except ValueError:
        raise BcadvError(f"{name} is a list of unequal parts: {_GIVE}.") from None
    if array.ndim != 3:
        raise BcadvError(f"{name} has shape {array.shape}: give RGB images, (height, width, 3).")
    return _checked(_upright(array, name), name)


def _read(path: Path, name: str, white: float | None) -> Pixels:
    name = f"{name}, {shown(str(path))},"
    try:
        return decode(path, white=white).values
    except UnreadableImageError as error:
        raise BcadvError(f"{name} cannot be read: {error}. Or {_GIVE}.") from None


def _decoded(image: Image.Image, name: str, white: float | None) -> Pixels:
    if loses_bits(image):
        raise BcadvError(
            f"{name} has more bits than Pillow hands on, and the model is to see all of them: give "
            "the path of its file."
        )
    try:
        return of_image(image, white).values
    except BAD_IMAGE as error:
        raise BcadvError(f"{name} cannot be decoded: {error}.") from None


def _upright(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """With the three colours on the last axis; of one image, or of a batch."""
    first, last = array.shape[-3] == 3, array.shape[-1] == 3
    if first and last:
        raise BcadvError(
            f"{name} has shape {array.shape}, and its colours may stand on the first axis or on "
            "the last: give (height, width, 3)."
        )
    if not first and not last:
        raise BcadvError(f"{name} has shape {array.shape}: give RGB images, (height, width, 3).")
    return np.moveaxis(array, -3, -1) if first else array


def _checked(image: npt.NDArray[Any], name: str) -> Pixels:
    whole = np.issubdtype(image.dtype, np.integer)
    if not whole and not np.issubdtype(image.dtype, np.floating):
        raise BcadvError(f"{name} holds {image.dtype}: give uint8, or floats in [0, 1].")
    deep = image.dtype == np.uint16
    top = 65535 if deep else 255 if whole else 1
    # Written so that NaN, which compares with nothing, is refused as well.
    if image.size and not (image.min() >= 0 and image.max() <= top):
        raise BcadvError(
            f"{name} has values from {image.min()} to {image.max()}: give uint8, uint16, or floats "
            "in [0, 1]."
        )
    if deep and image.size and image.max() <= 255:
        raise BcadvError(
            f"{name} has values of uint16, whose white is 65535, that go to {image.max()} only: "
            "give uint8 if 255 is white, or floats in [0, 1]."
        )
    if deep:
        return image
    return image.astype(np.uint8) if whole else image.astype(np.float32)
