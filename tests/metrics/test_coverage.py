from __future__ import annotations

import pytest

from tests.metrics.coverage import (
    ALONE,
    MEASURES,
    OF_IMAGES,
    PAGE,
    PATIENTS,
    Held,
    coverage,
    false_claims,
    table,
)
from tests.metrics.simulated import Patients, compared, ranked, share

pytestmark = pytest.mark.long

COUNT = 400
# Four standard errors: 0.95 at its least is 0.906 of so many, a bootstrap's 0.85 at its most 0.92.
LEAST = 0.95 - 4 * (0.95 * 0.05 / COUNT) ** 0.5


@pytest.mark.parametrize("patients", PATIENTS[:5], ids=lambda of: of.name)
def test_a_rate_is_held_where_a_bootstrap_is_too_narrow(patients: Patients) -> None:
    found = coverage(share(0.8, 0.2), patients, COUNT)
    assert found.now > LEAST
    assert found.before is not None
    assert found.before < found.now
    # Nor is it safe by being useless.
    assert found.width < {8: 0.6, 16: 0.4, 30: 0.3, 54: 0.2}[patients.count]


def test_a_rate_that_few_patients_spoil_is_held() -> None:
    found = coverage(share(0.95, 0.5), PATIENTS[3], COUNT)
    assert found.now > LEAST
    assert found.before is not None
    assert found.before < 0.9


def test_differences_and_rankings_are_held() -> None:
    gap = coverage(compared((0.95, 0.9), 0.6), PATIENTS[1], COUNT)
    assert gap.now > LEAST
    assert gap.before is not None
    assert gap.before < 0.93
    assert coverage(ranked(0.95, 0.6), PATIENTS[2], COUNT).now > LEAST
    assert coverage(ranked(0.85, 0.0), ALONE[1], COUNT).now > LEAST


def test_of_many_strengths_none_is_certain_by_chance() -> None:
    fall, adjusted, alone = false_claims(PATIENTS[2], 100)
    assert fall < 0.1
    assert adjusted < 0.12
    assert alone > adjusted


def test_the_page_has_every_cell() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for measures, columns in ((MEASURES, PATIENTS), (OF_IMAGES, ALONE)):
        head = table([of.name for of in columns], []).splitlines()[0]
        assert head in text
        for name in measures:
            [line] = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
            assert line.count("|") == len(columns) + 2
    assert Held(0.951, 0.9, 0.1).text == "95.1 (90.0)"
