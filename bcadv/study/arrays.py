"""Reading ``.npz`` files that may be damaged: everything about them is checked before its use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from bcadv.errors import BcadvError
from bcadv.text import brief

Arrays: TypeAlias = dict[str, NDArray[Any]]

_TYPES = {"u1": "uint8", "f": "floating point", "i": "integer", "b": "bool", "U": "text"}
_ROUNDING = 1e-3  # far less than is seen, more than float32 loses


@dataclass(frozen=True)
class Array:
    """What an array of a file must be.

    Attributes:
        shape: a number, or a letter that means the same size throughout the file.
        kind: ``u1``, ``f`` (integers pass), ``i``, ``b`` or ``U``; never objects.
        low: no value is lower.
        high: no value is higher.
    """

    shape: tuple[int | str, ...]
    kind: str
    low: float = -np.inf
    high: float = np.inf

    def fault(self, array: NDArray[Any], sizes: dict[str, int]) -> str:
        """What is wrong with an array; nothing where all is well.

        Args:
            array: as it was read.
            sizes: of the letters so far; gets those that are new.
        """
        if not self._is_of_kind(array.dtype):
            return f"is of type {array.dtype}, not {_TYPES[self.kind]}"
        fits = len(array.shape) == len(self.shape) and all(
            size == (sizes.setdefault(name, size) if isinstance(name, str) else name)
            for name, size in zip(self.shape, array.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join(str(sizes.get(str(name), name)) for name in self.shape)
            return f"has the shape {array.shape}, not ({wanted})"
        if self.kind in "fi" and array.size:
            if not np.isfinite(array).all():
                return "has values that are no numbers"
            least, most = float(array.min()), float(array.max())
            if least < self.low - _ROUNDING or most > self.high + _ROUNDING:
                return f"has values from {least:g} to {most:g}, outside {self._range()}"
        return ""

    def _is_of_kind(self, dtype: np.dtype[Any]) -> bool:
        if self.kind == "u1":
            return dtype == np.uint8
        return dtype.kind in {"f": "fiu", "i": "iu"}.get(self.kind, self.kind)

    def _range(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"


def load_arrays(
    path: Path, table: Mapping[str, Array], sizes: Mapping[str, int] | None = None
) -> Arrays:
    """Reads the arrays of an ``.npz`` file.

    Args:
        path: of the file.
        table: what it holds, name -> shape and type.
        sizes: letters of the shapes whose sizes are known.

    Raises:
        BcadvError: if the file cannot be read, holds pickled objects, lacks an array, or has one
            of another shape, type or range; in one sentence.
    """
    try:
        arrays = _read(path, table)
    except Exception as error:
        # A damaged archive raises errors of zipfile, zlib, struct, tokenize, numpy, ...
        raise BcadvError(f"{path} cannot be read ({_reason(error)}); run the job again.") from error
    absent = [name for name in table if name not in arrays]
    if absent:
        raise BcadvError(f"{path} lacks the array(s) {', '.join(absent)}; run the job again.")
    known = dict(sizes or {})
    for name, wanted in table.items():
        fault = wanted.fault(arrays[name], known)
        if fault:
            raise BcadvError(f"The array {name} of {path} {fault}; run the job again.")
    return arrays


def _read(path: Path, table: Mapping[str, Array]) -> Arrays:
    file = np.load(path, allow_pickle=False)
    if not isinstance(file, NpzFile):
        raise BadZipFile
    with file:
        return {name: file[name] for name in table if name in file}


def _reason(error: Exception) -> str:
    """In a few words; numpy's own advise to load what may run code."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, EOFError):
        return "it is empty or cut off"
    if "pickle" in str(error):
        return "it is no archive of plain arrays"
    return brief(" ".join(str(error).split()) or "it is no archive of arrays", 200)
