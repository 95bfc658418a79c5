"""How much of their range images use, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from bcadv.data.ranges import InUse, Ranges, in_use, pixel_notes
from bcadv.evaluate.checks import pixel_finding


def used(
    tops: Sequence[float], white: float = 65535.0, lows: Sequence[float] | float = 0.0
) -> InUse:
    """Images whose values go to some tops, in their own units."""
    n = len(tops)
    low = np.broadcast_to(np.asarray(lows, float), n)
    bits = np.full(n, 16 if white > 255 else 8)
    return in_use(Ranges(bits, np.full(n, white), low / white, np.asarray(tops) / white))


def test_12_bits_in_16_are_found_with_their_remedy() -> None:
    pixels = used([4080, 4000, 3900])
    finding = pixel_finding(pixels)
    assert finding.outcome == "failed"
    assert "3 of 3 images use under a quarter" in finding.evidence
    assert "0-4080 of 65535" in finding.evidence
    assert "data.white=4095" in finding.evidence
    assert any("0-4080 of 65535" in note for note in pixel_notes({}, pixels))


@pytest.mark.parametrize(
    ("pixels", "outcome"),
    [
        (used([65535, 60000, 4000]), "ok"),
        (used([65535, 4000]), "ok"),
        (used([65535, 4000, 4000]), "failed"),
        (used([60, 30], 255), "failed"),
        (used([64], 255), "ok"),
        (used([255, 200], 255), "ok"),
        (used([200, 210], 255, lows=180), "failed"),
    ],
)
def test_it_fails_where_most_images_use_little(pixels: InUse, outcome: str) -> None:
    assert pixel_finding(pixels).outcome == outcome


@pytest.mark.parametrize(
    ("top", "white", "remedy"),
    [(15, 255, 15), (16, 255, 31), (1023, 65535, 1023), (1024, 65535, 2047), (0.2, 1.0, 1)],
)
def test_the_white_that_is_proposed_holds_every_value(
    top: float, white: float, remedy: float
) -> None:
    assert used([top], white).remedy == f"set data.white={remedy} if that is white"


def test_no_white_is_proposed_where_black_is_the_matter() -> None:
    assert "data.white" not in used([200], 255, lows=190).remedy


def test_strengths_are_said_in_the_units_of_the_files() -> None:
    [note] = pixel_notes({}, used([4095], 4095.0))
    assert "4/255 = 64.24 of 4095" in note
    assert pixel_notes({}, used([255], 255.0)) == []
    mixed = in_use(
        Ranges(np.array([8, 16]), np.array([255.0, np.nan]), np.zeros(2), np.array([1.0, 1.0]))
    )
    assert mixed.white is None
    assert "not one value" in pixel_notes({}, mixed)[0]


def test_how_files_were_read_is_said_with_their_number() -> None:
    assert pixel_notes({"so": 2}, used([255, 255, 255], 255.0)) == ["2 of 3 images: so."]
