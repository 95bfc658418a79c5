"""`python -m tests.metrics.coverage`: how often bcadv's 95 % intervals hold the truth.

Patients are drawn with several images each, which resemble each other, and with them a test set
whose truth is known. `--write` puts the tables into docs/coverage.md.
"""

from __future__ import annotations

import argparse
import math
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bcadv.metrics.clustered import rate_interval
from bcadv.metrics.paired import holm, paired_gap
from bcadv.study.differences import ALPHA
from tests.metrics.simulated import (
    Measured,
    Patients,
    answers,
    balanced,
    compared,
    miscalibrated,
    of_seeds,
    of_the_right,
    one_sided,
    ranked,
    recognised,
    share,
)

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"

PATIENTS = (
    Patients(8, 3, 12),
    Patients(16, 3, 12),
    Patients(30, 3, 12),
    Patients(30, 1, 30),
    Patients(54, 2, 5),
    Patients(80, 10, 40),
)
"""So many patients with so many images each."""

ALONE = (Patients(30, 1, 1), Patients(100, 1, 1), Patients(400, 1, 1))
"""Images each of a patient of its own: as where no patient is known."""

MEASURES: Mapping[str, Measured] = {
    **{
        f"share {rate:g}, alike {alike:g}": share(rate, alike)
        for rate in (0.05, 0.5, 0.8, 0.95)
        for alike in (0.0, 0.2, 0.5)
    },
    "share of the ill (half) 0.8, alike 0.2": one_sided(0.8, 0.2, 0.5),
    "share of the ill (a third) 0.9, alike 0.3": one_sided(0.9, 0.3, 1 / 3),
    "attack success 0.6, alike 0.2": of_the_right(0.6, 0.2),
    "patient recognition rate 0.8, alike 0.2": recognised(0.8, 0.2),
    "patient recognition rate 0.95, alike 0.5": recognised(0.95, 0.5),
    "balanced accuracy of 0.8 and 0.9, alike 0.2": balanced((0.8, 0.9), 0.2),
    "AUROC 0.7, alike 0.3": ranked(0.7, 0.3),
    "AUROC 0.85, alike 0.3": ranked(0.85, 0.3),
    "AUROC 0.95, alike 0": ranked(0.95, 0.0),
    "AUROC 0.95, alike 0.6": ranked(0.95, 0.6),
    "AUROC 0.9, a third ill, alike 0.3": ranked(0.9, 0.3, 1 / 3),
    "difference of 0.8 and 0.8, alike 0.3": compared((0.8, 0.8), 0.3),
    "difference of 0.8 and 0.6, alike 0.3": compared((0.8, 0.6), 0.3),
    "difference of 0.9 and 0.3, alike 0.3": compared((0.9, 0.3), 0.3),
    "difference of 0.95 and 0.9, alike 0.6": compared((0.95, 0.9), 0.6),
    "mean of three seeds 0.8, alike 0.3": of_seeds(0.8, 0.3),
    "calibration error 0, alike 0.3": miscalibrated(1.0, 0.3),
    "calibration error 0.06, alike 0.3": miscalibrated(1.5, 0.3),
    "calibration error 0.15, alike 0.3": miscalibrated(3.0, 0.3),
}

OF_IMAGES: Mapping[str, Measured] = {
    **{f"share {rate:g}": share(rate, 0.0) for rate in (0.05, 0.5, 0.8, 0.95)},
    **{f"AUROC {value:g}": ranked(value, 0.0) for value in (0.7, 0.85, 0.95, 0.99)},
    "difference of 0.8 and 0.8": compared((0.8, 0.8), 0.0),
    "difference of 0.9 and 0.3": compared((0.9, 0.3), 0.0),
    "difference of 0.95 and 0.9": compared((0.95, 0.9), 0.0),
    "calibration error 0": miscalibrated(1.0, 0.0),
    "calibration error 0.06": miscalibrated(1.5, 0.0),
}


@dataclass(frozen=True)
class Held:
    """How often intervals held the truth, in [0, 1].

    Attributes:
        now: of bcadv.
        before: of a percentile bootstrap over patients; ``None`` where there is none to compare.
        width: mean width of those of bcadv.
    """

    now: float
    before: float | None
    width: float

    @property
    def text(self) -> str:
        """In per cent, that of the bootstrap in parentheses."""
        beside = "" if self.before is None else f" ({100 * self.before:.1f})"
        return f"{100 * self.now:.1f}{beside}"


def coverage(measured: Measured, patients: Patients, count: int, seed: int = 0) -> Held:
    """Simulates a measure on such patients so many times.

    Rounding may put an end on the wrong side of a truth that it equals.
    """
    random = np.random.default_rng(seed)
    found = [measured(patients, random) for _ in range(count)]
    low, high = np.array([each.ends for each in found]).T
    truth = np.array([each.truth for each in found])
    now = float(((low <= truth + 1e-9) & (truth <= high + 1e-9)).mean())
    ends = [(each.before, each.truth) for each in found if each.before is not None]
    before = [low <= truth <= high for (low, high), truth in ends]
    return Held(now, float(np.mean(before)) if before else None, float((high - low).mean()))


def false_claims(patients: Patients, count: int, strengths: int = 12) -> tuple[float, float, float]:
    """How often something is called certain that is nothing.

    A model is attacked in vain at so many strengths: its accuracy stays, image by image it varies.
    A defended model is no better and no worse at any of them.

    Returns:
        Shares of simulations with a certain fall, with a certain difference, and with one if p were
        not adjusted for the number of strengths.
    """
    random = np.random.default_rng(0)
    said = np.zeros(3)
    for _ in range(count):
        patient = patients.draw(random)
        n = len(patient)
        rates = (0.8,) * (1 + strengths)
        clean, *tried = answers(rates, 0.3, 0.6, patient, patients.count, random)
        low = rate_interval(clean, patient)[0]
        fell = any(rate_interval(right, patient)[1] < low for right in tried)
        images = np.bincount(patient, minlength=patients.count) / n
        p = np.array(
            [
                paired_gap(
                    np.bincount(patient, right & ~clean, patients.count) / n,
                    np.bincount(patient, clean & ~right, patients.count) / n,
                    images,
                ).p
                for right in tried
            ]
        )
        said += [fell, bool((holm(p) < ALPHA).any()), bool((p < ALPHA).any())]
    fall, adjusted, alone = (said / count).tolist()
    return fall, adjusted, alone


def rows(
    count: int, columns: Sequence[Patients], measures: Mapping[str, Measured]
) -> Iterator[tuple[str, list[Held]]]:
    """Every measure on every kind of patients, one measure after the other."""
    for name, measured in measures.items():
        seed = zlib.crc32(name.encode())
        yield name, [coverage(measured, patients, count, seed) for patients in columns]


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [["", *head], ["---", *["---:"] * len(head)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(count: int) -> str:
    """The tables with what they mean, in Markdown."""
    error = 100 * math.sqrt(0.95 * 0.05 / count)
    clustered = list(rows(count, PATIENTS, MEASURES))
    alone = list(rows(count, ALONE, OF_IMAGES))
    every = [held.now for _, of in [*clustered, *alone] for held in of]
    before = [held.before for _, of in clustered for held in of if held.before is not None]
    claims = []
    for of in PATIENTS:
        shares = false_claims(of, max(50, count // 4))
        claims.append([of.name, *(f"{100 * share:.1f}" for share in shares)])
    tables = [
        table([of.name for of in columns], [[name, *(h.text for h in of)] for name, of in body])
        for columns, body in ((PATIENTS, clustered), (ALONE, alone))
    ]
    return f"""# How often the intervals hold the truth

Of {count} simulations each, the share in per cent in which the 95 % interval held the truth
(standard error {error:.1f} at 95), in parentheses that of a percentile bootstrap over patients.
Over all cells: mean {100 * float(np.mean(every)):.1f}, lowest {100 * min(every):.1f}; of the
bootstrap: mean {100 * float(np.mean(before)):.1f}, lowest {100 * min(before):.1f}.

A column is so many patients with so many images each. “Alike” is the correlation between images of
one patient: patients' own rates are drawn from a beta distribution, scores and the answers of two
models from normal ones. With fewer than some twenty patients, and at rates of 0.05 and 0.95, the
intervals hold the truth more often than they need to: little is known there of how alike images
are, and they are wide rather than wrong. With 8 patients, 4 of them ill, hardly anything is shown.

{tables[0]}

The same with each image of a patient of its own. Where no patient is known images count so too, but
a rate has Wilson's own interval, with the normal quantile.

{tables[1]}

What is called certain though nothing is there, in per cent of {max(50, count // 4)} simulations: a
fall at one or more of 12 strengths; a difference between two models at one or more of them; and the
same if p were not adjusted for their number (Holm).

{table(["a fall", "a difference", "not adjusted"], claims)}

The forms are in `bcadv/metrics/clustered.py`, `ranking.py`, `paired.py` and `calibration.py`. To
make this page again, in some minutes: `python -m tests.metrics.coverage --write --count {count}`.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the page, or writes it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.metrics.coverage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=1000, help="simulations a cell (default 1000)")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    given = parser.parse_args(arguments)
    made = page(given.count)
    if given.write:
        PAGE.write_text(made, encoding="utf-8")
    else:
        sys.stdout.write(made)


if __name__ == "__main__":
    main()
