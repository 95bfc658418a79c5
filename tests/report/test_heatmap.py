from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from bcadv.report.heatmap import heat_maps, ink
from tests.report.studies import make_study, value_of


def test_every_cell_holds_its_number_in_colour_and_in_writing() -> None:
    sigmas = (None, 0.1, 0.4)
    study = make_study(sigmas, variants=("as_trained", "clean"), seeds=(0, 1))
    maps = heat_maps(study, study.attacks[0])
    assert list(maps) == ["as_trained", "clean"]
    for figure in maps.values():
        (axes,) = figure.axes
        expected = np.array(
            [[100 * value_of(s, None, e, "accuracy") for e in (0, 1, 4)] for s in sigmas]
        )
        assert np.asarray(axes.images[0].get_array()) == pytest.approx(expected)
        written = {text.get_position(): text.get_text() for text in axes.texts}
        assert written == {(j, i): f"{expected[i, j]:.0f}" for i, j in np.ndindex(expected.shape)}
        names = [label.get_text() for label in axes.get_yticklabels()]
        assert names == ["undefended", "noise σ=0.1", "noise σ=0.4"]
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "4"]


def test_writing_stands_out_from_every_colour() -> None:
    study = make_study((None, 0.1))
    (figure,) = heat_maps(study, study.attacks[0]).values()
    image = figure.axes[0].images[0]

    def luminance(color: Any) -> float:
        channel: np.ndarray = np.array(to_rgb(color))
        linear = np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for value in np.linspace(0, 100, 501):
        back = luminance(image.to_rgba(np.array([value]))[0, :3])
        fore = luminance(ink(value))
        contrast = (max(back, fore) + 0.05) / (min(back, fore) + 0.05)
        assert contrast > 4.5, value  # WCAG 2.1, level AA
    assert ink(float("nan")) == "black"


def test_what_was_not_measured_is_a_dash() -> None:
    study = make_study((None, 0.1, 0.4))
    measures = study.measures
    gone = (measures["arm"] == "noise σ=0.4, BN as trained") & (measures["strength"] == 4)
    study = replace(study, measures=measures[~gone])
    (figure,) = heat_maps(study, study.attacks[0]).values()
    assert {t.get_position(): t.get_text() for t in figure.axes[0].texts}[2, 2] == "–"


@pytest.mark.parametrize(
    ("sigmas", "eps_px"), [((None,), (0, 1, 4)), ((0.1,), (0, 1, 4)), ((None, 0.1), (0, 1))]
)
def test_one_row_or_one_epsilon_is_no_map(
    sigmas: tuple[float | None, ...], eps_px: tuple[float, ...]
) -> None:
    study = make_study(sigmas, eps_px=eps_px)
    assert heat_maps(study, study.attacks[0]) == {}
