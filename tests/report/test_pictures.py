from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bcadv.report.pictures import adversarial_figure, noise_figure
from tests.metrics.tables import fgsm
from tests.report.jobs_on_disk import CLASSES, examples

KNOWN = {condition.id: condition for condition in map(fgsm, (0, 0.25, 0.5, 1, 2, 4))}


@pytest.fixture
def arrays() -> dict[str, Any]:
    return examples(list(KNOWN.values()), side=16)


def _pixels(axes: Any) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


def test_adversarial_shows_first_middle_and_last_epsilon_of_one_image_per_class(
    arrays: dict[str, Any],
) -> None:
    figure = adversarial_figure(arrays, KNOWN, CLASSES, "title", synthetic=True)
    assert len(figure.axes) == 2 * 7
    titles = [axes.get_title() for axes in figure.axes[:7]]
    assert titles[0] == "original: benign"
    assert titles[2::2] == [f"FGSM {e}/255" for e in ("0.25", "1", "4")]
    assert np.allclose(_pixels(figure.axes[0]), arrays["image"][0].transpose(1, 2, 0) / 255)
    assert np.allclose(_pixels(figure.axes[6]), arrays["adversarial"][5, 0].transpose(1, 2, 0))


def test_the_stated_scale_leads_back_to_the_perturbation(arrays: dict[str, Any]) -> None:
    figure = adversarial_figure(arrays, KNOWN, CLASSES, "title", synthetic=True)
    axes = figure.axes[5]
    scale = float(axes.get_title().removeprefix("change × "))
    delta = (arrays["adversarial"][5, 0] - arrays["image"][0] / 255).transpose(1, 2, 0)
    assert (_pixels(axes) - 0.5) / scale == pytest.approx(delta, rel=0.01, abs=1e-5)
    assert axes.get_xlabel() == "largest: 4/255"


def test_each_verdict_names_the_prediction_its_probability_and_whether_it_is_right(
    arrays: dict[str, Any],
) -> None:
    figure = adversarial_figure(arrays, KNOWN, CLASSES, "title", synthetic=True)
    assert figure.axes[0].get_xlabel() == "benign 0.953\nright"
    fooled = arrays["prob_adversarial"][5, 0, 1]
    assert figure.axes[6].get_xlabel() == f"malignant {fooled:.3f}\nWRONG"


def test_an_image_that_did_not_change_is_said_so(arrays: dict[str, Any]) -> None:
    arrays["adversarial"][:, 0] = arrays["image"][0] / 255
    arrays["image"] = arrays["image"].astype(np.float64)
    arrays["adversarial"] = arrays["adversarial"].astype(np.float64)
    arrays["adversarial"][:, 0] = arrays["image"][0] / 255
    figure = adversarial_figure(arrays, KNOWN, CLASSES, "title", synthetic=True)
    assert figure.axes[1].get_title() == "no change"
    assert (_pixels(figure.axes[1]) == 0.5).all()


def test_noise_stands_beside_the_original_with_the_same_cutout_enlarged(
    arrays: dict[str, Any],
) -> None:
    figure = noise_figure(arrays, CLASSES, "title", synthetic=False)
    panels = [axes for axes in figure.axes if axes.child_axes]
    assert len(panels) == 4
    assert panels[0].get_title() == "original: benign, no. 3"
    assert panels[1].get_title() == "noise of σ = 0.1 (25.5/255)"
    assert np.allclose(_pixels(panels[3]), arrays["noisy"][1].transpose(1, 2, 0))
    for panel in panels:
        whole, cutout = _pixels(panel), _pixels(panel.child_axes[0])
        assert np.array_equal(cutout, whole[6:10, 6:10])
