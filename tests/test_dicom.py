"""DICOM files by closed forms, and all that pydicom brings along."""

from __future__ import annotations

import hashlib
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.data
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, SecondaryCaptureImageStorage

from bcadv.data.sources.folder import find
from bcadv.dicom import patient_of
from bcadv.pixels import Decoded, UnreadableImageError, decode, header

NAME, NUMBER = "Doe^Jane", "MRN-4711"
REAL = Path(pydicom.data.__file__).parent


def write(path: Path, values: Any, **options: Any) -> Path:
    """A file of grey of 16 bits, unless options say otherwise."""
    values = np.asarray(values)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    dataset.PatientName, dataset.PatientID = NAME, NUMBER
    colours = values.ndim == 3
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 3 if colours else 1
    if colours:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = "RGB" if colours else "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * values.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes()
    for name, value in options.items():
        setattr(dataset, name, value)
    if "BitsStored" in options:
        dataset.HighBit = dataset.BitsStored - 1
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path)
    return path


def grey(path: Path, **options: Any) -> list[int]:
    decoded = decode(path, **options)
    assert (decoded.values == decoded.values[..., :1]).all()
    found: list[int] = decoded.values[0, :, 0].tolist()
    return found


STORED = np.array([[0, 1024, 2048, 4095]], np.uint16)


def test_without_a_window_the_stored_bits_are_the_range(tmp_path: Path) -> None:
    path = write(tmp_path / "it.dcm", STORED, BitsStored=12)
    decoded, said = decode(path), header(path)
    assert grey(path) == [round(v * 65535 / 4095) for v in STORED[0].tolist()]
    assert (decoded.bits, decoded.white, decoded.low, decoded.top) == (16, 4095, 0, 1)
    assert "no window" in decoded.said
    assert (said.width, said.height, said.bits) == (4, 1, 16)


def test_signed_values_begin_at_the_lowest(tmp_path: Path) -> None:
    values = np.array([[-2048, 0, 2047]], np.int16)
    path = write(tmp_path / "it.dcm", values, BitsStored=12, RescaleSlope=1, RescaleIntercept=-9)
    assert grey(path) == [0, round(2048 * 65535 / 4095), 65535]
    assert decode(path).white is None


@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2, -1000), (0.5, 100)])
def test_a_window_by_its_formula(tmp_path: Path, slope: float, intercept: float) -> None:
    """PS3.3 C.11.2.1.2.1, of the values behind the rescale."""
    centre, width = 1200.0, 1600.0
    path = write(
        tmp_path / "it.dcm",
        STORED,
        BitsStored=12,
        RescaleSlope=slope,
        RescaleIntercept=intercept,
        WindowCenter=[centre, 50],
        WindowWidth=[width, 10],
    )
    x = STORED[0].astype(float) * slope + intercept
    share = ((x - (centre - 0.5)) / (width - 1) + 0.5).clip(0, 1)
    np.testing.assert_allclose(grey(path), share * 65535, atol=1)
    decoded = decode(path)
    assert "first window" in decoded.said
    assert decoded.white is None


def test_a_table_counts_before_a_window(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor = [4, 0, 16]
    table.LUTData = np.array([65535, 30000, 10, 0], np.uint16).tobytes()
    values = np.array([[0, 1, 2, 3, 9]], np.uint16)
    path = write(
        tmp_path / "it.dcm",
        values,
        BitsStored=12,
        VOILUTSequence=[table],
        WindowCenter=2,
        WindowWidth=4,
    )
    assert grey(path) == [65535, 30000, 10, 0, 0]
    assert "VOI LUT" in decode(path).said


def test_a_modality_table_is_looked_up(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor = [3, 0, 16]
    table.LUTData = np.array([100, 65535, 0], np.uint16).tobytes()
    path = write(tmp_path / "it.dcm", np.array([[0, 1, 2]], np.uint16), ModalityLUTSequence=[table])
    assert grey(path) == [100, 65535, 0]


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 2000, "WindowWidth": 900}])
def test_monochrome1_is_the_inverse_of_monochrome2(tmp_path: Path, window: dict[str, int]) -> None:
    plain = write(tmp_path / "2.dcm", STORED, BitsStored=12, **window)
    other = write(
        tmp_path / "1.dcm",
        STORED,
        BitsStored=12,
        PhotometricInterpretation="MONOCHROME1",
        **window,
    )
    np.testing.assert_array_equal(decode(other).values, 65535 - decode(plain).values)


def test_a_rescale_that_falls_turns_dark_and_bright(tmp_path: Path) -> None:
    path = write(tmp_path / "it.dcm", STORED, BitsStored=12, RescaleSlope=-1, RescaleIntercept=4095)
    assert grey(path)[0] == 65535
    assert grey(path)[-1] == 0


def test_8_bits_stay_8_bits(tmp_path: Path) -> None:
    path = write(tmp_path / "it.dcm", np.array([[0, 7, 255]], np.uint8))
    assert grey(path) == [0, 7, 255]
    assert decode(path).bits == header(path).bits == 8


def test_white_that_is_told_counts_before_the_header(tmp_path: Path) -> None:
    path = write(
        tmp_path / "it.dcm",
        STORED,
        BitsStored=12,
        RescaleSlope=2,
        RescaleIntercept=0,
        WindowCenter=5,
        WindowWidth=3,
    )
    assert grey(path, white=8190) == [round(v * 65535 / 4095) for v in STORED[0].tolist()]
    with pytest.raises(UnreadableImageError, match=r"value 8190, and white is 4095"):
        decode(path, white=4095)
    path = write(tmp_path / "it.dcm", np.array([[-5, 9]], np.int16))
    with pytest.raises(UnreadableImageError, match=r"value -5, and black is 0"):
        decode(path, white=100)


@pytest.mark.parametrize("planar", [0, 1])
def test_colours_are_rgb(tmp_path: Path, planar: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    stored = np.moveaxis(values, -1, 0) if planar else values
    path = write(
        tmp_path / "it.dcm", values, PlanarConfiguration=planar, PixelData=stored.tobytes()
    )
    np.testing.assert_array_equal(decode(path).values, values)


def test_ybr_becomes_rgb(tmp_path: Path) -> None:
    red = np.full((2, 2, 3), (76, 85, 255), np.uint8)
    path = write(tmp_path / "it.dcm", red, PhotometricInterpretation="YBR_FULL")
    assert np.abs(decode(path).values.astype(int) - (254, 0, 0)).max() <= 2


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    tables: dict[str, Any] = {}
    for colour, entries in (("Red", [0, 65535]), ("Green", [257, 0]), ("Blue", [514, 32768])):
        tables[f"{colour}PaletteColorLookupTableDescriptor"] = [2, 0, 16]
        tables[f"{colour}PaletteColorLookupTableData"] = np.array(entries, np.uint16).tobytes()
    path = write(
        tmp_path / "it.dcm",
        np.array([[0, 1]], np.uint8),
        PhotometricInterpretation="PALETTE COLOR",
        **tables,
    )
    assert decode(path).values[0].tolist() == [[0, 257, 514], [65535, 0, 32768]]
    assert header(path).bits == 16


def test_one_frame_of_several_is_named_or_refused(tmp_path: Path) -> None:
    frames = np.arange(24, dtype=np.uint8).reshape(3, 2, 4)
    path = write(tmp_path / "it.dcm", frames[0], NumberOfFrames=3, PixelData=frames.tobytes())
    with pytest.raises(UnreadableImageError, match=r"DICOM file of 3 frames.*file of its own"):
        decode(path)
    for i in range(3):
        np.testing.assert_array_equal(decode(path, i).values[..., 1], frames[i])
    with pytest.raises(UnreadableImageError, match="numbered from 0, and none is 3"):
        decode(path, 3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"PixelData": b"\0\0"}, "cut off or damaged"),
        ({"Rows": 0}, "without a picture"),
        ({"PhotometricInterpretation": "CMYK"}, "not read"),
        ({"BitsStored": 12, "WindowCenter": 5, "WindowWidth": 0}, "window makes no sense"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(UnreadableImageError, match=said) as refused:
        decode(write(tmp_path / "it.dcm", STORED, **change))
    assert "Doe" not in str(refused.value)


def test_what_is_compressed_beyond_reach_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "it.dcm", STORED)
    content = path.read_bytes().replace(
        ExplicitVRLittleEndian.encode(), JPEG2000Lossless.encode()[: len(ExplicitVRLittleEndian)]
    )
    assert content != path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"DICOM"):
        decode(path)


def test_what_is_only_called_dicom_is_told(tmp_path: Path) -> None:
    for content in (b"", b"<html></html>" * 30, bytes(range(256)) * 4):
        (tmp_path / "it.dcm").write_bytes(content)
        with pytest.raises(UnreadableImageError, match="DICOM"):
            decode(tmp_path / "it.dcm")


def test_a_picture_is_told_by_its_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "it.png", np.array([[0, 7, 255]], np.uint8))
    assert grey(path) == [0, 7, 255]


def pictures() -> list[Path]:
    files = sorted(file for file in REAL.rglob("*") if file.is_file())
    return [
        file for file in files if file.suffix == ".dcm" or file.read_bytes()[128:132] == b"DICM"
    ]


def test_all_files_of_pydicom_are_pictures_or_a_sentence(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, Decoded] = {}
    refused: dict[str, str] = {}
    names = set()
    with warnings.catch_warnings(record=True) as warned, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        for file in pictures():
            name = file.relative_to(REAL).as_posix()
            try:
                seen[name] = decode(file)
            except UnreadableImageError as error:
                refused[name] = str(error)
                continue
            said = header(file)
            shape = (said.height, said.width, 3)
            assert (seen[name].values.shape, seen[name].bits) == (shape, said.bits), name
            dataset = pydicom.dcmread(file)
            assert shape[:2] == (dataset.Rows, dataset.Columns)
            names.add(str(dataset.get("PatientName")))
    assert len(seen) >= 90
    assert len(refused) >= 60
    for name, why in refused.items():
        assert why.startswith("it is "), (name, why)
        assert "DICOM" in why
        assert "\n" not in why
        assert len(why) < 250
    spoken = " ".join([*refused.values(), *(d.said for d in seen.values())])
    assert not any(name and name in spoken for name in names)
    assert capsys.readouterr() == ("", "")
    assert "pydicom" not in {record.name for record in caplog.records}
    assert [str(one.message) for one in warned if "bcadv" in one.filename] == []
    for name, piece in {
        "test_files/rtplan.dcm": "RT Plan Storage without a picture",
        "test_files/test-SR.dcm": "Comprehensive SR Storage without a picture",
        "test_files/MR_truncated.dcm": "cut off or damaged",
        "test_files/dicomdirtests/DICOMDIR": "a DICOMDIR, which lists other files",
        "test_files/examples_ybr_color.dcm": "of 30 frames",
        "test_files/badVR.dcm": "damaged or contradicts itself",
    }.items():
        assert piece in refused[name]


@pytest.mark.parametrize(
    "other", ["RLE", "bigendian", "expb", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded"]
)
def test_however_it_is_packed_it_is_the_same_picture(other: str) -> None:
    folder = REAL / "test_files"
    one, two = decode(folder / "MR_small.dcm"), decode(folder / f"MR_small_{other}.dcm")
    np.testing.assert_array_equal(one.values, two.values)


def test_the_colour_bars_are_coloured() -> None:
    folder = REAL / "test_files"
    for name in (
        "SC_rgb_rle",
        "SC_rgb_rle_16bit",
        "SC_ybr_full_422_uncompressed",
        "SC_rgb_gdcm_KY",
    ):
        decoded = decode(folder / f"{name}.dcm")
        found = decoded.values[5, 50] / (2**decoded.bits - 1)
        np.testing.assert_allclose(found, (1, 0, 0), atol=0.02)


def test_patients_are_told_apart_and_not_named(tmp_path: Path) -> None:
    digest = hashlib.sha256(NUMBER.encode()).hexdigest()[:12]
    assert patient_of(write(tmp_path / "it.dcm", STORED)) == digest
    assert patient_of(write(tmp_path / "it.dcm", STORED, PatientID="")) is None
    (tmp_path / "it.dcm").write_bytes(b"nothing")
    assert patient_of(tmp_path / "it.dcm") is None


def test_a_folder_of_dicom_files(tmp_path: Path) -> None:
    """With an ending, with none, and with the identifiers that such files are often called by."""
    for k, label in enumerate(("ill", "well")):
        write(tmp_path / label / "one.dcm", STORED, PatientID=f"{label}1")
        write(tmp_path / label / "IM0001", STORED, PatientID=f"{label}1")
        for i in range(2):
            write(tmp_path / label / f"1.2.84.{k}.{i}", STORED, PatientID=f"{label}2")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "ill" / "LICENSE").write_bytes(b"text" * 99)
    chosen = find(tmp_path, positive=["ill"])
    assert chosen.found == {"ill": 4, "well": 4}
    assert {r.image_id for r in chosen.records} >= {"ill/one", "ill/IM0001", "ill/1.2.84.0.1"}
    patients = {r.patient for r in chosen.records}
    assert len(patients) == 4
    assert all(patient is not None and len(patient) == 12 for patient in patients)
    said = " ".join(chosen.notes)
    assert "8 DICOM files are told by the number in their headers" in said
    assert "DICOMDIR, which lists other files" in said
    assert not any(word in said for word in (NAME, "ill1", "Doe"))


def test_folders_and_names_count_before_the_header(tmp_path: Path) -> None:
    for label in "ab":
        write(tmp_path / label / f"p{label}_1.dcm", STORED)
    told = find(tmp_path, group_regex="(p.)_")
    assert {record.patient for record in told.records} == {"pa", "pb"}


def test_a_damaged_header_quotes_nothing(tmp_path: Path) -> None:
    content = write(tmp_path / "it.dcm", STORED, WindowCenter=3, WindowWidth=2).read_bytes()
    for end in range(132, len(content), 7):
        (tmp_path / "it.dcm").write_bytes(content[:end])
        with pytest.raises(UnreadableImageError) as refused:
            decode(tmp_path / "it.dcm")
        assert not any(word in str(refused.value) for word in ("Doe", "4711"))
