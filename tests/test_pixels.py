"""Images of any mode as 8-bit RGB."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bcadv.pixels import resized, to_rgb

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
