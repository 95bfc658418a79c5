from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bcadv.report.robustness import curves, groups, robustness_figure
from tests.report.studies import make_study, value_of


@pytest.mark.parametrize(("metric", "scale"), [("accuracy", 100), ("auroc", 1)])
def test_line_and_band_hold_the_numbers_of_all_seeds(metric: str, scale: float) -> None:
    study = make_study(seeds=(3, 5))
    (group,) = groups(study)
    (axes,) = robustness_figure(study, group, study.series[0], metric).axes
    labelled = {line.get_label(): line for line in axes.lines if line.get_marker() != "None"}
    assert list(labelled) == [arm.name for arm in study.arms]
    for band, arm in zip(axes.collections, study.arms, strict=True):
        expected = [scale * value_of(arm.sigma, None, e, metric) for e in (0, 1, 4)]
        line = labelled[arm.name]
        assert np.array_equal(line.get_xdata(), [0, 1, 2])
        assert line.get_ydata() == pytest.approx(expected)
        corners = np.asarray(band.get_paths()[0].vertices)[:, 1]
        assert corners.min() == pytest.approx(min(expected) - scale * 0.05)
        assert corners.max() == pytest.approx(max(expected) + scale * 0.1)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "4"]
    thin = [line for line in axes.lines if line.get_marker() == "None"]
    assert [list(np.asarray(line.get_ydata())) for line in thin] == [
        pytest.approx([scale * value_of(arm.sigma, seed, e, metric) for e in (0, 1, 4)])
        for arm in study.arms
        for seed in (3, 5)
    ]


def test_a_single_seed_is_drawn_once() -> None:
    study = make_study(seeds=(3,))
    (axes,) = robustness_figure(study, groups(study)[0], study.series[0], "ece").axes
    assert len(axes.lines) == 2
    assert axes.lines[0].get_ydata() == pytest.approx(
        [value_of(None, 3, e, "ece") for e in (0, 1, 4)]
    )


def test_undefined_values_leave_a_gap() -> None:
    study = make_study()
    study.measures.loc[study.measures["strength"] == 1, ["value", "low", "high"]] = None
    (axes,) = robustness_figure(study, groups(study)[0], study.series[0], "accuracy").axes
    assert list(np.isnan(np.asarray(axes.lines[0].get_ydata(), float))) == [False, True, False]


def test_many_arms_are_divided_by_variant_and_no_panel_has_more_than_six() -> None:
    sigmas = [None, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3]
    study = make_study(sigmas, variants=("as_trained", "clean"), seeds=(0, 1))
    divided = groups(study)
    assert [group.title for group in divided] == ["BN as trained", "BN on clean"]
    seen = set()
    for group, variant in zip(divided, ("as_trained", "clean"), strict=True):
        assert group.arms[0] is study.reference
        assert len(group.arms) == 6
        assert {arm.variant for arm in group.arms[1:]} == {variant}
        assert [group.arms[1].sigma, group.arms[-1].sigma] == [0.01, 0.3]
        assert len(group.hidden) == 2
        seen |= {arm.name for arm in (*group.arms, *group.hidden)}
        (axes,) = robustness_figure(study, group, study.series[0], "accuracy").axes
        assert len(axes.lines) == 6
        looks = {(str(line.get_color()), str(line.get_marker())) for line in axes.lines}
        assert len(looks) == 6
    assert seen == {arm.name for arm in study.arms}


def test_bars_of_many_arms_reach_from_low_to_high() -> None:
    study = make_study([None, 0.1, 0.2, 0.3])
    (group,) = groups(study)
    (axes,) = robustness_figure(study, group, study.series[0], "accuracy").axes
    for arm, bars in zip(group.arms, axes.collections, strict=True):
        for e, bar in zip((0, 1, 4), bars.get_paths(), strict=True):
            middle = 100 * value_of(arm.sigma, 0, e, "accuracy")
            assert np.asarray(bar.vertices)[:, 1] == pytest.approx([middle - 5, middle + 10])


def test_one_strength_makes_no_curve() -> None:
    assert curves(make_study(eps_px=(0, 1))) == []
    study = make_study(eps_px=(0, 1, 2))
    assert [series.name for series in curves(study)] == ["fgsm_linf"]
    # One strength of each arm, though not the same one, is no curve either.
    arms, sizes = study.measures["arm"], study.measures["strength"]
    undefended = arms == "undefended"
    kept = (sizes == 0) | (undefended & (sizes == 1)) | (~undefended & (sizes == 2))
    assert curves(replace(study, measures=study.measures[kept])) == []
