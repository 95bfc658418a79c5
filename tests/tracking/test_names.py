"""Names of metrics: their order, and that MLflow takes them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bcadv.tracking.names import curve_group, main_name, point_name, strength_text
from tests.metrics.tables import fgsm, gaussian

STRENGTHS = st.integers(0, 120).map(float) | st.integers(0, 10**12).map(lambda n: n / 10**8)
LADDER = (0, 1e-7, 0.25, 0.255, 0.5, 1, 2, 4, 8, 9.99, 10, 16, 64, 99.5, 100, 128, 255, 1000, 10000)


def test_a_grid_of_strengths_stays_in_order() -> None:
    names = [strength_text(strength) for strength in LADDER]
    assert names == sorted(names)
    assert len(set(names)) == len(LADDER)


@given(STRENGTHS, STRENGTHS)
def test_the_alphabetical_order_is_the_order_of_strengths(one: float, other: float) -> None:
    one, other = float(f"{one:.9g}"), float(f"{other:.9g}")
    assert (one < other) == (strength_text(one) < strength_text(other))
    assert (one == other) == (strength_text(one) == strength_text(other))


def test_the_names_are_those_that_are_promised() -> None:
    assert [main_name("inf", eps) for eps in (0, 0.25, 2, 16)] == [
        "accuracy_at_00",
        "accuracy_at_00.25",
        "accuracy_at_02",
        "accuracy_at_16",
    ]
    assert main_name("2", 0.5) == "accuracy_l2_at_00.5"
    assert strength_text(0.12345678) == "00.12345678"
    assert point_name("clean", fgsm(2, "2"), "auroc") == "clean/fgsm_l2/auroc_at_02"
    assert curve_group(fgsm(2), 1000) == "fgsm_linf_by_1000_eps"
    assert curve_group(gaussian(0.1), None) == "gaussian_by_place_of_sigma"


def test_a_strength_next_to_nothing_has_a_name_that_mlflow_takes() -> None:
    names = [point_name("as_trained", fgsm(eps), "specificity") for eps in (1e-320, 1e-300, 1e-55)]
    assert len(set(names)) == 3
    assert max(map(len, names)) < 250
