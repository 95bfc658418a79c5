"""The tables of Li & Liu 2023 beside this study's numbers, and the ε that theirs may have been."""

from __future__ import annotations

from functools import partial

import pandas as pd

from bcadv.report.document import Block, Bullets, Cell, Table, Text
from bcadv.report.draft import Draft
from bcadv.report.words import say
from bcadv.results.condition import CLEAN, Condition
from bcadv.study import paper
from bcadv.study.arms import Arm
from bcadv.study.calibration import METRIC, calibrations, papers_attack
from bcadv.study.measures import DESCRIBED, described
from bcadv.study.numbers import positive_of, rate


def blocks(draft: Draft) -> list[Block]:
    """Tables 1 to 3 and the calibration of ε; why they are not to be held against the paper's."""
    unlike = [
        *paper.unlike_the_papers_data(draft.study.jobs),
        *paper.unlike_the_papers_training(draft.study.jobs),
    ]
    made: list[Block] = []
    if unlike:
        made.append(Text("Not to be held against the paper's figures.", strong=True))
        made.append(Bullets(tuple(unlike)))
    made.append(_counts())
    made += _clean(draft)
    attack = papers_attack(draft.study)
    if attack is None:
        made.append(Text("FGSM in the maximum norm, the paper's, was not tried."))
    positive = " or ".join(dict.fromkeys(positive_of(job) for job in draft.study.jobs))
    table = draft.tables(
        f"Table 3. The {positive} test images only",
        [CLEAN, *(attack.conditions if attack else ())],
        draft.rates(METRIC),
        more=[
            ("paper, clean", partial(_papers, paper.MALIGNANT)),
            ("paper, FGSM", partial(_papers, paper.ATTACKED)),
        ],
    )
    if table:
        made += [*table, Text(say("malignant", positive=positive))]
    return [*made, *_calibration(draft)]


def _counts() -> Table:
    rows = [(part, tuple(Cell(str(n)) for n in of.values())) for part, of in paper.COUNTS.items()]
    head = ("part", *next(iter(paper.COUNTS.values())))
    return Table("Table 1. Images of the paper", head, tuple(rows))


def _clean(draft: Draft) -> list[Table]:
    """Table 2: accuracy on the test images as they are, with the seeds and the paper's."""
    more = [
        (
            "right/images",
            lambda arm: Cell(draft.facts.clean(arm).counts, mark=draft.mark(arm, CLEAN)),
        )
    ]
    if draft.seeds > 1:
        more.append(("seed by seed", partial(_by_seed, draft)))
    more.append(("paper", partial(_papers, paper.CLEAN)))
    title = "Table 2. Accuracy on clean test images"
    return draft.tables(title, [CLEAN], draft.rates("accuracy"), more=more)


def _by_seed(draft: Draft, arm: Arm) -> Cell:
    """The clean accuracies of the seeds in per cent, in their order."""
    rows = draft.study.measures
    rows = rows[(rows["arm"] == arm.name) & (rows["metric"] == "accuracy") & rows["seed"].notna()]
    values = rows[rows["condition"] == CLEAN.id].sort_values("seed")["value"]
    said = " / ".join(f"{100 * value:.1f}" for value in values)
    return Cell(said, mark=draft.mark(arm, CLEAN))


def _papers(figures: paper.Figures, arm: Arm) -> Cell:
    reported = _reported(figures, arm)
    if reported is None:
        return Cell("–")
    value, interval, _ = Cell.of(rate(reported.value, *reported.interval))
    return Cell(value, f"{interval} {reported.k}/{reported.n}")


def _reported(figures: paper.Figures, arm: Arm) -> paper.Reported | None:
    """The paper's figure for an arm, undefended or trained on noise, as it was trained."""
    kind = arm.defence.kind if arm.variant == "as_trained" else ""
    return {"none": figures.original, "noise": figures.defence}.get(kind)


def _calibration(draft: Draft) -> list[Block]:
    """The smallest ε at which an undefended model does as badly as the paper's."""

    def at(arm: Arm, key: Condition) -> str:
        rate = draft.study.numbers[arm.name, key, METRIC].rate
        return draft.notes.beside(rate, draft.study.suspect(arm.name, key))

    return [
        Text(
            say(
                "calibration",
                of=found.arm.name,
                inside=found.inside,
                above=found.above,
                below=found.below,
                interval=paper.ATTACKED.original.interval,
                at=partial(at, found.arm),
            )
        )
        for found in calibrations(draft.study)
    ]


def frames(draft: Draft) -> dict[str, pd.DataFrame]:
    """This study's numbers and the paper's, a row per model and condition of tables 2 and 3."""
    attack = papers_attack(draft.study)
    wanted = [("accuracy", CLEAN, paper.CLEAN), (METRIC, CLEAN, paper.MALIGNANT)]
    wanted += [(METRIC, key, paper.ATTACKED) for key in (attack.conditions if attack else ())]
    records = []
    for metric, condition, figures in wanted:
        for arm in draft.study.arms:
            number = draft.facts.number(arm, condition, metric)
            reported = _reported(figures, arm)
            if number is None:
                continue
            record: dict[str, object] = {"arm": arm.name, "metric": metric}
            record |= dict(zip(DESCRIBED, described(condition), strict=True))
            record |= {name: getattr(number, name) for name in ("value", "low", "high", "k", "n")}
            low, high = (None, None) if reported is None else reported.interval
            record["paper"] = None if reported is None else reported.value
            records.append(record | {"paper_low": low, "paper_high": high})
    return {"paper": pd.DataFrame(records)}
