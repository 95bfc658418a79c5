"""Whether models that are built to deceive, and some that are not, get the verdict that is due.

``python -m tests.evaluate.verdicts`` asks about ten seeds; `test_verdicts` about two.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from bcadv.evaluate.probes import Budget
from bcadv.evaluate.verdict import Judged, verdict
from bcadv.perturb.attacks.pgd import PGD
from bcadv.perturb.threat import ThreatModel
from tests.evaluate import zoo

BUDGET = Budget(draws=10, steps=10, restarts=3, again=12)


@dataclass(frozen=True)
class Case:
    """A model and what has to be said of it.

    Attributes:
        made: seed -> the model.
        words: verdicts that are right.
        failed: checks that have to fail, whatever the verdict.
        sound: whether no check may fail.
    """

    made: Callable[[int], nn.Module]
    words: tuple[str, ...]
    failed: frozenset[str] = frozenset()
    sound: bool = False


CASES: Mapping[str, Case] = {
    "a plain copy": Case(zoo.trained, ("no better",), sound=True),
    "plainly trained anew": Case(lambda seed: zoo.trained(seed + 50), ("no better", "undecided")),
    "trained on PGD": Case(lambda seed: zoo.trained(seed, robust=True), ("robust",), sound=True),
    "quantised input": Case(
        lambda seed: zoo.Quantised(zoo.trained(seed)),
        ("masked",),
        frozenset({"zero_gradient", "unbounded", "transfer"}),
    ),
    # It falls as its undefended twin does: what breaks it proves that it is no better.
    "logits x 1000": Case(
        lambda seed: zoo.Times1000(zoo.trained(seed)), ("no better",), frozenset({"saturation"})
    ),
    "random outputs": Case(
        lambda seed: zoo.Drawn(zoo.trained(seed)), ("masked",), frozenset({"repeatable"})
    ),
    "a detached branch": Case(
        lambda seed: zoo.Detached(zoo.trained(seed)),
        ("masked",),
        frozenset({"unbounded", "transfer"}),
    ),
    "JPEG": Case(
        lambda seed: zoo.Jpeg(zoo.trained(seed)), ("masked",), frozenset({"gradient", "transfer"})
    ),
    "one class": Case(lambda seed: zoo.OneClass(zoo.trained(seed)), ("no better",)),
    "probabilities": Case(
        lambda seed: zoo.Outputs(zoo.trained(seed, robust=True)), ("masked",), frozenset({"logits"})
    ),
}


def judged(case: Case, seed: int) -> Judged:
    """What is said of a case."""
    test = zoo.images(150, seed)
    return verdict(
        case.made(seed),
        zoo.trained(seed),
        test.image,
        test.target,
        patients=test.patients,
        eps=zoo.EPS,
        attack=PGD(ThreatModel(0.0), steps=20, seed=seed),
        check_images=24,
        budget=BUDGET,
        batch_size=150,
        seed=seed,
    )


def faults(case: Case, found: Judged) -> list[str]:
    """What is not as it has to be."""
    word, failed = (
        found.decision.verdict,
        {f.id for f in found.findings if f.outcome == "failed"},
    )
    wrong = [] if word in case.words else [f"it is called {found.text}"]
    wrong += [f"{name} did not fail" for name in sorted(case.failed - failed)]
    evidence = [f"{f.id}: {f.evidence}" for f in found.findings if f.outcome == "failed"]
    return wrong + (evidence if case.sound else [])


def main(seeds: int = 10) -> int:
    """Prints a line per case, and what is wrong; returns how many are."""
    torch.set_num_threads(1)
    bad = 0
    for name, case in CASES.items():
        right = 0
        for seed in range(seeds):
            wrong = faults(case, judged(case, seed))
            right += not wrong
            for each in wrong:
                sys.stdout.write(f"  {name}, seed {seed}: {each}\n")
        sys.stdout.write(f"{name}: {right} of {seeds} named rightly\n")
        sys.stdout.flush()
        bad += seeds - right
    return bad


if __name__ == "__main__":
    sys.exit(bool(main()))
