"""DICOM files: stored values to a picture by the rules of the standard (PS3.3 C.7.6.3, C.11).

No value of the header is ever told: names and numbers of patients stand in it. pydicom's own
messages may quote them, so they are kept back.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

from bcadv.raster import Raw

if TYPE_CHECKING:
    from pydicom import Dataset

Numbers: TypeAlias = npt.NDArray[Any]


class NoPictureError(ValueError):
    """Why a file has no picture that can be read, in words that quote no header."""


_GREY = ("MONOCHROME1", "MONOCHROME2")
_WINDOW = "DICOM: grey values pass through the first window of the header"
_TABLE = "DICOM: grey values pass through the first table (VOI LUT) of the header"
_FULL = "DICOM: the header has no window, so all values that the stored bits can hold count"
_WHITE = "DICOM: data.white counts, and no window of the header"
_EXTRA = "pip install 'bcadv[dicom]' reads most kinds"


def read(content: bytes, frame: int | None = None, *, windowed: bool = True) -> Raw:
    """The picture in a DICOM file.

    Stored values pass through the modality table or rescale, then the first VOI table or window of
    the header; without either, the range of the stored bits is the range from black to white.
    MONOCHROME1 is inverted, a palette looked up, YBR brought to RGB.

    Args:
        content: of the file.
        frame: which of several, from 0; ``None``: the file has one.
        windowed: whether tables and windows of the header count. Otherwise the values are those
            behind the rescale, in the file's own units.

    Raises:
        NoPictureError: it cannot be read, or holds several.
    """
    dataset = _opened(BytesIO(content))
    try:
        _check(dataset)
        index = _frame(dataset, frame)
        try:
            stored = _pydicom().pixels.pixel_array(dataset, index=index)
        except Exception as error:  # pydicom and its decoders raise anything
            raise NoPictureError(_undecoded(dataset, error)) from None
        return _picture(dataset, stored, windowed=windowed)
    except NoPictureError:
        raise
    except Exception as error:
        raise _contradicts(error) from None


def size_of(path: Path) -> tuple[int, int, int]:
    """Width and height of the picture, and the bits that it is kept in.

    Raises:
        NoPictureError: it has none.
    """
    with path.open("rb") as file:
        dataset = _opened(file, pixels=False)
    try:
        _check(dataset, pixels=False)
        return int(dataset.Columns), int(dataset.Rows), _bits(dataset)
    except NoPictureError:
        raise
    except Exception as error:
        raise _contradicts(error) from None


def patient_of(path: Path) -> str | None:
    """A short digest of the patient's number; ``None`` where the header names none.

    It tells patients apart and names none of them. Who knows a number can find its digest.
    """
    try:
        with path.open("rb") as file:
            dataset = _opened(file, pixels=False)
        number = str(dataset.get("PatientID") or "").strip()
    except Exception:
        return None  # it is told when the picture is decoded
    return hashlib.sha256(number.encode()).hexdigest()[:12] if number else None


@cache
def _pydicom() -> Any:
    """pydicom, made to keep to itself what it would quote from a header."""
    import pydicom
    import pydicom.config
    import pydicom.pixels

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    return pydicom


def _opened(file: BinaryIO, *, pixels: bool = True) -> Dataset:
    pydicom = _pydicom()
    warnings.filterwarnings("ignore", module=r"pydicom|bcadv\.dicom")
    try:
        try:
            dataset: Dataset = pydicom.dcmread(file, stop_before_pixels=not pixels)
        except pydicom.errors.InvalidDicomError:
            # Some files lack the preamble; anything else makes no sense when it is read so.
            file.seek(0)
            dataset = pydicom.dcmread(file, stop_before_pixels=not pixels, force=True)
            if "Rows" not in dataset and "SOPClassUID" not in dataset:
                raise NoPictureError("it is called like a DICOM file and is none") from None
        meta = dataset.file_meta
        if "TransferSyntaxUID" not in meta and len(dataset):
            implicit, little = dataset.original_encoding
            uid = pydicom.uid
            meta.TransferSyntaxUID = (
                uid.ImplicitVRLittleEndian
                if implicit
                else uid.ExplicitVRLittleEndian
                if little
                else uid.ExplicitVRBigEndian
            )
    except NoPictureError:
        raise
    except Exception as error:
        raise NoPictureError(
            f"it is a DICOM file that is damaged or cut off ({type(error).__name__})"
        ) from None
    return dataset


def _check(dataset: Dataset, *, pixels: bool = True) -> None:
    """Refuses what is no picture.

    Raises:
        NoPictureError: there are no pixels.
    """
    meta = dataset.get("file_meta") or getattr(dataset, "file_meta", {})
    storage = getattr(meta, "MediaStorageSOPClassUID", None) or dataset.get("SOPClassUID")
    what = getattr(storage, "name", "")
    if "DirectoryRecordSequence" in dataset or "Directory" in str(what):
        raise NoPictureError("it is a DICOMDIR, which lists other files and has no picture itself")
    kind = f" of the kind {what}" if what and not str(what)[0].isdigit() else ""
    if any(name in dataset for name in ("FloatPixelData", "DoubleFloatPixelData")):
        raise NoPictureError(
            f"it is a DICOM file{kind} whose pixels are fractions, which is not read"
        )
    sized = all(dataset.get(name) for name in ("Rows", "Columns"))
    if not sized or (pixels and "PixelData" not in dataset):
        raise NoPictureError(f"it is a DICOM file{kind} without a picture")
    for name in ("BitsStored", "BitsAllocated", "PhotometricInterpretation"):
        if not dataset.get(name):
            raise NoPictureError(f"it is a DICOM file{kind} whose header lacks {name}")


def _frame(dataset: Dataset, frame: int | None) -> int:
    count = int(dataset.get("NumberOfFrames") or 1)
    if frame is None and count > 1:
        raise NoPictureError(
            f"it is a DICOM file of {count} frames: save the one that is meant as a file of its own"
        )
    if frame is not None and not 0 <= frame < count:
        raise NoPictureError(f"it holds {count} picture(s), numbered from 0, and none is {frame}")
    return frame or 0


def _contradicts(error: Exception) -> NoPictureError:
    """The message of an error may quote the header; its name does not."""
    return NoPictureError(
        f"it is a DICOM file whose header is damaged or contradicts itself ({type(error).__name__})"
    )


def _undecoded(dataset: Dataset, error: Exception) -> str:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is not None and syntax.is_compressed:
        decoder = _pydicom().pixels.get_decoder
        try:
            there = bool(decoder(syntax).is_available)
        except NotImplementedError:
            return f"it is a DICOM file compressed as {syntax.name}, which is not read"
        if not there:
            return (
                f"it is a DICOM file compressed as {syntax.name}, for which nothing is installed: "
                f"{_EXTRA}"
            )
        return (
            f"it is a DICOM file compressed as {syntax.name} whose pixels are damaged or of a kind "
            f"that is not read ({type(error).__name__})"
        )
    return f"it is a DICOM file whose pixels are cut off or damaged ({type(error).__name__})"


def _bits(dataset: Dataset) -> int:
    """8 or 16, in which the picture is kept."""
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        descriptor = dataset.get("RedPaletteColorLookupTableDescriptor")
        return 16 if descriptor is not None and descriptor[2] > 8 else 8
    return 16 if dataset.BitsStored > 8 else 8


def _picture(dataset: Dataset, stored: Numbers, *, windowed: bool) -> Raw:
    pixels = _pydicom().pixels
    bits, photometric = _bits(dataset), str(dataset.PhotometricInterpretation)
    if photometric == "PALETTE COLOR":
        colours = pixels.apply_color_lut(stored, dataset)[..., :3]
        return Raw(colours, float(np.iinfo(colours.dtype).max), bits, own=False)
    if stored.ndim == 3:
        return Raw(stored, float(2**dataset.BitsStored - 1), bits)
    if photometric not in _GREY:
        raise NoPictureError("it is a DICOM file of a kind of colours that is not read")
    inverted = photometric == "MONOCHROME1"
    values = pixels.apply_modality_lut(stored, dataset)
    if not windowed:
        return Raw(values, None, bits, inverted, said=_WHITE)
    table, window = _has_table(dataset), _has_window(dataset)
    if not (table or window):
        return _full_range(dataset, stored, bits, inverted)
    if table:
        # A table is looked up with whole numbers.
        values = np.rint(values).astype(np.int64)
        low, high = 0.0, float(2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1)
        seen = pixels.apply_voi(values, dataset, index=0)
    else:
        try:
            seen = pixels.apply_windowing(values, dataset, index=0)
            # Far beyond the window lie black and white of pydicom's scale.
            far = pixels.apply_windowing(np.array([-1e15, 1e15]), dataset, index=0)
        except (ValueError, ZeroDivisionError):
            raise NoPictureError("it is a DICOM file whose window makes no sense") from None
        low, high = sorted(map(float, far))
    full = float(2**bits - 1)
    shares = (seen.astype(np.float64) - low) / (high - low)
    said = _TABLE if table else _WINDOW
    return Raw(shares.clip(0, 1) * full, full, bits, inverted, own=False, said=said)


def _full_range(dataset: Dataset, stored: Numbers, bits: int, inverted: bool) -> Raw:
    """Black is the least value that the stored bits can hold, white the greatest."""
    span = float(2 ** int(dataset.BitsStored) - 1)
    signed = dataset.get("PixelRepresentation") == 1
    table = dataset.get("ModalityLUTSequence")
    if table:
        values = _pydicom().pixels.apply_modality_lut(stored, dataset)
        top = float(2 ** int(table[0].LUTDescriptor[2]) - 1)
        return Raw(values, top, bits, inverted, own=False, said=_FULL)
    # A rescale with a negative slope turns dark and bright.
    inverted ^= float(dataset.get("RescaleSlope") or 1) < 0
    values = stored.astype(np.float64) + (span + 1) / 2 if signed else stored
    plain = not signed and float(dataset.get("RescaleSlope") or 1) == 1
    plain = plain and float(dataset.get("RescaleIntercept") or 0) == 0
    return Raw(values, span, bits, inverted, own=plain, said=_FULL)


def _has_table(dataset: Dataset) -> bool:
    tables = dataset.get("VOILUTSequence")
    return bool(tables) and tables[0].get("LUTData") is not None


def _has_window(dataset: Dataset) -> bool:
    names = ("WindowCenter", "WindowWidth")
    return all(dataset.get(name) not in (None, "", []) for name in names)
