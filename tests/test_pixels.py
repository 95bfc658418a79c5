"""Images of any mode as RGB of 8 or 16 bits, turned as a viewer shows them."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from bcadv.pixels import (
    UnreadableImageError,
    decode,
    header,
    of_image,
    resized,
    shortened,
    why_unreadable,
)

RAMP = np.arange(0, 256, dtype=np.uint8).reshape(16, 16)
RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "RGBX", "CMYK"])
def test_every_mode_of_8_bits_becomes_rgb(mode: str) -> None:
    grey = Image.fromarray(RAMP)
    start = grey.convert("P") if mode == "PA" else grey
    image = (start if mode in ("P", "PA") else grey.convert("RGB")).convert(mode)
    expected = np.asarray(image.convert("L")) if mode == "1" else RAMP
    if mode == "RGBA":
        image.putalpha(0)
    decoded = of_image(image)
    assert decoded.bits == 8
    assert (decoded.white, decoded.low, decoded.top) == (255, 0, 1)
    np.testing.assert_array_equal(decoded.values, np.repeat(expected[..., None], 3, axis=2))


def test_colour_that_is_not_rgb_is_converted() -> None:
    for mode, pixel, expected in (
        ("YCbCr", (76, 85, 255), (254, 0, 0)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("LAB", (255, 128, 128), (255, 255, 255)),
    ):
        found = of_image(Image.new(mode, (2, 2), pixel)).values[0, 0].astype(int)
        assert np.abs(found - expected).max() <= 2, mode


def png(values: np.ndarray[Any, Any], kind: int, *, interlaced: bool = False) -> bytes:
    """A PNG of 16 bits, which Pillow writes of grey alone; colour type 0, 2, 4 or 6."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    shape = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, int(interlaced))
    body = chunk(b"IHDR", shape) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(
    values: np.ndarray[Any, Any],
    *,
    photometric: int = 1,
    planar: int = 1,
    order: str = "<",
    packed: bool = False,
) -> bytes:
    """A TIFF of one strip, of any kind of numbers (TIFF 6.0, sections 2 and 8)."""
    height, width = values.shape[:2]
    channels = values.shape[2] if values.ndim == 3 else 1
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    strip = values.astype(values.dtype.newbyteorder(order)).tobytes()
    strip = zlib.compress(strip) if packed else strip
    tags = {256: width, 257: height, 258: 8 * values.itemsize, 259: 8 if packed else 1}
    tags |= {262: photometric, 273: None, 277: channels, 278: height, 279: len(strip)}
    tags |= {284: planar, 339: kind}
    behind = 8 + 2 + 12 * len(tags) + 4
    lists = b""
    entries = b""
    for tag, value in tags.items():
        if tag in (258, 339) and channels > 1:
            place = behind + len(lists)
            lists += struct.pack(f"{order}{channels}H", *[value] * channels)
            entries += struct.pack(f"{order}HHII", tag, 3, channels, place)
        elif tag == 273:
            entries += struct.pack(
                f"{order}HHII", tag, 4, 1, behind + 4 * channels * (channels > 1)
            )
        else:
            entries += struct.pack(f"{order}HHII", tag, 4, 1, value)
    lists = lists.ljust(4 * channels * (channels > 1), b"\0")
    begin = b"II" if order == "<" else b"MM"
    head = begin + struct.pack(f"{order}HIH", 42, 8, len(tags))
    return head + entries + struct.pack(f"{order}I", 0) + lists + strip


GREY = RANDOM.integers(0, 65536, (5, 7), np.uint16)
COLOUR = RANDOM.integers(0, 65536, (5, 7, 3), np.uint16)
ALPHA = RANDOM.integers(0, 65536, (5, 7, 4), np.uint16)

DEEP = {
    "grey png": (png(GREY, 0), GREY),
    "colour png": (png(COLOUR, 2), COLOUR),
    "grey png with alpha": (png(ALPHA[..., :2], 4), ALPHA[..., 0]),
    "colour png with alpha": (png(ALPHA, 6), ALPHA[..., :3]),
    "grey tiff": (tiff(GREY), GREY),
    "grey tiff, packed": (tiff(GREY, packed=True), GREY),
    "grey tiff, white is zero": (tiff(GREY, photometric=0), 65535 - GREY),
    "colour tiff": (tiff(COLOUR, photometric=2), COLOUR),
    "colour tiff, big end first": (tiff(COLOUR, photometric=2, order=">"), COLOUR),
    "colour tiff, packed": (tiff(COLOUR, photometric=2, packed=True), COLOUR),
    "pgm": (b"P5 7 5 65535\n" + GREY.astype(">u2").tobytes(), GREY),
}
"""Files of 16 bits and their values. Of those of several colours Pillow alone hands out 8 bits."""


@pytest.mark.parametrize("name", DEEP)
def test_16_bits_stay_16_bits(tmp_path: Path, name: str) -> None:
    content, expected = DEEP[name]
    (tmp_path / "it").write_bytes(content)
    decoded, said = decode(tmp_path / "it"), header(tmp_path / "it")
    if expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, axis=2)
    assert (decoded.bits, decoded.white) == (16, 65535)
    assert decoded.said == ""
    np.testing.assert_array_equal(decoded.values, expected)
    assert (said.width, said.height, said.bits) == (7, 5, 16)


def test_white_is_where_one_says(tmp_path: Path) -> None:
    path = tmp_path / "it.png"
    Image.fromarray(np.array([[0, 1, 4095]], np.uint16)).save(path)
    plain, told = decode(path), decode(path, white=4095)
    assert plain.values[0, :, 0].tolist() == [0, 1, 4095]
    assert (plain.low, plain.top) == (0, 4095 / 65535)
    assert told.values[0, :, 0].tolist() == [0, 16, 65535]
    assert (told.white, told.top) == (4095, 1)
    with pytest.raises(UnreadableImageError, match=r"value 4095, and white is 4094.*data\.white"):
        decode(path, white=4094)


def test_8_bits_have_no_white_beyond_them(tmp_path: Path) -> None:
    Image.fromarray(RAMP // 2).save(tmp_path / "it.png")
    found = decode(tmp_path / "it.png", white=127).values[..., 0]
    np.testing.assert_array_equal(found, np.rint(RAMP // 2 * (255 / 127)))
    with pytest.raises(
        UnreadableImageError, match=r"8 bits, in which no value is data\.white=4095"
    ):
        decode(tmp_path / "it.png", white=4095)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint32, np.float32])
def test_what_has_no_range_is_read_with_one_that_is_told(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "it.tif"
    path.write_bytes(tiff(np.array([[0, 100, 1000]], dtype)))
    with pytest.raises(UnreadableImageError, match=r"-bit .*no agreed range.*data\.white=VALUE"):
        decode(path)
    assert decode(path, white=1000).values[0, :, 0].tolist() == [0, 6554, 65535]
    with pytest.raises(UnreadableImageError, match="value 1000, and white is 500"):
        decode(path, white=500)


@pytest.mark.parametrize("value", [-3, np.nan])
def test_what_is_below_black_is_refused(tmp_path: Path, value: float) -> None:
    dtype = np.float32 if np.isnan(value) else np.int16
    (tmp_path / "it.tif").write_bytes(tiff(np.array([[value, 10]], dtype)))
    with pytest.raises(UnreadableImageError, match=f"value {value}"):
        decode(tmp_path / "it.tif", white=1000)


def test_more_of_32_bits_than_fits_a_sign(tmp_path: Path) -> None:
    (tmp_path / "it.tif").write_bytes(tiff(np.array([[0, 4_000_000_000]], np.uint32)))
    assert decode(tmp_path / "it.tif", white=4e9).values[0, :, 0].tolist() == [0, 65535]


def test_16_bits_in_planes_are_refused_and_not_misread(tmp_path: Path) -> None:
    (tmp_path / "it.tif").write_bytes(tiff(COLOUR, photometric=2, planar=2))
    with pytest.raises(UnreadableImageError, match="plane for each colour"):
        decode(tmp_path / "it.tif")


def test_a_grey_map_has_the_white_of_its_header(tmp_path: Path) -> None:
    path = tmp_path / "it.pgm"
    path.write_bytes(b"P5 3 1 4095\n" + np.array([0, 100, 4095], ">u2").tobytes())
    decoded = decode(path)
    assert (decoded.white, decoded.bits) == (4095, 16)
    assert decoded.values[0, :, 0].tolist() == [0, 1600, 65535]
    assert decode(path, white=8190).values[0, :, 0].tolist() == [0, 800, 32768]


def test_bits_that_are_lost_are_told(tmp_path: Path) -> None:
    (tmp_path / "it.ppm").write_bytes(b"P6 1 1 4095\n" + np.array([0, 100, 4095], ">u2").tobytes())
    assert "upper 8 bits" in decode(tmp_path / "it.ppm").said
    Image.fromarray(RAMP).convert("RGB").save(tmp_path / "it.jp2")
    assert decode(tmp_path / "it.jp2").said == ""


def test_16_bits_are_resized_without_going_through_8() -> None:
    wide = np.repeat(RANDOM.integers(0, 65536, (40, 60, 1), np.uint16), 3, axis=2)
    small = shortened(wide, 10)
    assert small.shape == (10, 15, 3)
    assert small.dtype == np.uint16
    floats = Image.fromarray(wide[..., 0].astype(np.float32))
    expected = np.asarray(floats.resize((15, 10), Image.Resampling.LANCZOS))
    np.testing.assert_allclose(small[..., 1], expected, atol=0.51)
    edge = np.zeros((40, 40, 3), np.uint16)
    edge[:, 20:] = 65535
    assert set(np.unique(shortened(edge, 15)[:, [0, -1]])) == {0, 65535}, "nothing wraps around"


def test_the_shorter_side_gets_the_length() -> None:
    assert resized((700, 460), 115) == (175, 115)
    assert resized((460, 700), 115) == (115, 175)
    assert resized((700, 460), None) == (700, 460)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_a_viewer_shows_it(
    tmp_path: Path, form: str, orientation: int
) -> None:
    """By the table of the EXIF standard (CIPA DC-008, tag 274), written out."""
    seen = np.zeros((16, 24, 3), np.uint8)
    seen[:8, :12], seen[:8, 12:], seen[8:, :12] = 255, 160, 80
    turns = {
        1: seen,
        2: seen[:, ::-1],
        3: seen[::-1, ::-1],
        4: seen[::-1],
        5: seen.swapaxes(0, 1),
        6: seen.swapaxes(0, 1)[::-1],
        7: seen[::-1, ::-1].swapaxes(0, 1),
        8: seen.swapaxes(0, 1)[:, ::-1],
    }
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation]))
    exif = Image.Exif()
    exif[274] = orientation
    options = {"quality": 100} if form in ("JPEG", "WEBP") else {}
    stored.save(tmp_path / "it", form, exif=exif, **options)
    found = decode(tmp_path / "it").values.astype(int)
    said = header(tmp_path / "it")
    # Whether it is turned is left open where the size is read without opening the file.
    assert sorted((said.width, said.height)) == [16, 24]
    assert found.shape == seen.shape
    for row, column in ((3, 5), (3, 18), (12, 5), (12, 18)):
        assert abs(found[row, column, 0] - int(seen[row, column, 0])) < 40


def test_a_first_page_that_is_a_thumbnail_is_refused(tmp_path: Path) -> None:
    small, large = Image.new("RGB", (8, 8)), Image.new("RGB", (32, 16), "white")
    path = tmp_path / "it.tif"
    small.save(path, save_all=True, append_images=[large])
    with pytest.raises(
        UnreadableImageError, match="page 1 of 2 has 8 x 8 pixels and page 2 32 x 16"
    ):
        decode(path)
    large.save(path, save_all=True, append_images=[small])
    decoded = decode(path)
    assert decoded.values.min() == 255
    assert "smaller copies" in decoded.said


@pytest.mark.parametrize("form", ["TIFF", "GIF", "WEBP", "PNG"])
def test_one_picture_of_several_is_named_or_refused(tmp_path: Path, form: str) -> None:
    frames = [Image.new("RGB", (8, 8), (0, 100 * i, 0)) for i in range(3)]
    path = tmp_path / "it"
    options = {"lossless": True} if form == "WEBP" else {}
    frames[0].save(path, form, save_all=True, append_images=frames[1:], **options)
    with pytest.raises(UnreadableImageError, match=r"it holds 3 pictures.*file of its own"):
        decode(path)
    for i in range(3):
        assert abs(int(decode(path, i).values[4, 4, 1]) - 100 * i) < 3
    with pytest.raises(UnreadableImageError, match="numbered from 0, and none is 3"):
        decode(path, 3)


def test_an_unreadable_file_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "it.png").write_bytes(b"<html>not found</html>")
    with pytest.raises(UnreadableImageError, match="page of HTML"):
        decode(tmp_path / "it.png")
    with pytest.raises(UnreadableImageError, match="No such file"):
        decode(tmp_path / "other.png")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\n<!DOCTYPE html><html>404</html>", "HTML"),
        (b"II*\0" + b"\1" * 20, "a TIFF of a kind"),
        (b"PK\x03\x04....", "ZIP"),
        (b"\x93NUMPY...", "NumPy"),
        (b"Error: not found", "text, and begins with 'Error: not found'"),
        (b"\xfe\xed\xfa\xce" * 3, "the bytes fe ed fa ce"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
    ],
)
def test_what_is_no_image_is_named(content: bytes, said: str) -> None:
    with pytest.raises(UnidentifiedImageError) as raised:
        Image.open(BytesIO(content))
    assert said in why_unreadable(raised.value, content)
