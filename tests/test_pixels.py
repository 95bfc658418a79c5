"""Images of any mode as 8-bit RGB."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from bcadv.pixels import resized, to_rgb, upright, why_unreadable

RAMP = np.arange(0, 256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I;16B"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    if mode.startswith("I;16"):
        order = ">u2" if mode.endswith("B") else "<u2"
        wide = (RAMP.astype(np.uint16) * 257).astype(order)
        image = Image.frombytes(mode, (16, 16), wide.tobytes())
        expected = RAMP
    else:
        grey = Image.fromarray(RAMP)
        image = (grey if mode == "P" else grey.convert("RGB")).convert(mode)
        expected = np.asarray(image.convert("L")) if mode == "1" else RAMP
    if mode == "RGBA":
        image.putalpha(0)
    rgb = to_rgb(image)
    assert rgb.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(rgb), np.repeat(expected[..., None], 3, axis=2))


def test_the_shorter_side_gets_the_length() -> None:
    assert resized((700, 460), 115) == (175, 115)
    assert resized((460, 700), 115) == (115, 175)
    assert resized((700, 460), None) == (700, 460)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_a_viewer_shows_it(form: str, orientation: int) -> None:
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
    file = BytesIO()
    options = {"quality": 100} if form in ("JPEG", "WEBP") else {}
    stored.save(file, form, exif=exif, **options)
    with Image.open(file) as image:
        size = upright(image)
        found = np.asarray(to_rgb(image)).astype(int)
    assert size == (24, 16)
    assert found.shape == seen.shape
    for row, column in ((3, 5), (3, 18), (12, 5), (12, 18)):
        assert abs(found[row, column, 0] - int(seen[row, column, 0])) < 40


def test_a_first_page_that_is_a_thumbnail_is_refused() -> None:
    small, large = Image.new("RGB", (8, 8)), Image.new("RGB", (32, 16), "white")
    for pages, fits in (([small, large], False), ([large, small], True), ([large, large], True)):
        file = BytesIO()
        pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
        with Image.open(file) as image:
            if fits:
                assert to_rgb(image).getpixel((0, 0)) == (255, 255, 255)
                continue
            with pytest.raises(ValueError, match="page 1 of 2 has 8 x 8 pixels and page 2 32 x 16"):
                to_rgb(image)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\n<!DOCTYPE html><html>404</html>", "HTML"),
        (b"\0" * 128 + b"DICM" + b"\0" * 9, "DICOM"),
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
