"""The tables of Li & Liu 2023 beside this study's numbers, and the ε that theirs may have been."""

from __future__ import annotations

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
    made += draft.tables(
        f"Table 3. The {positive} test images only",
        [CLEAN, *(attack.conditions if attack else ())],
        draft.rates(METRIC),
        notes=[say("malignant", positive=positive)],
        more=[
            (
                "paper, clean",
                lambda arm: _papers(arm, paper.ORIGINAL_MALIGNANT, paper.DEFENCE_MALIGNANT),
            ),
            (
                "paper, FGSM",
                lambda arm: _papers(arm, paper.ORIGINAL_ATTACKED, paper.DEFENCE_ATTACKED),
            ),
        ],
    )
    return [*made, *_calibration(draft)]


def _counts() -> Table:
    rows = [(part, tuple(Cell(str(n)) for n in of.values())) for part, of in paper.COUNTS.items()]
    head = ("part", *next(iter(paper.COUNTS.values())))
    return Table("Table 1. Images of the paper", head, tuple(rows))


def _clean(draft: Draft) -> list[Table]:
    """Table 2: accuracy on the test images as they are, with the seeds and the paper's."""
    facts = draft.facts

    def counts(arm: Arm) -> Cell:
        number = facts.number(arm, CLEAN)
        return Cell("–" if number is None else number.counts)

    more = [("right/images", counts)]
    if draft.seeds > 1:
        more.append(("seed by seed", lambda arm: Cell(by_seed(draft, arm, CLEAN))))
    more.append(("paper", lambda arm: _papers(arm, paper.ORIGINAL_CLEAN, paper.DEFENCE_CLEAN)))
    title = "Table 2. Accuracy on clean test images"
    return draft.tables(title, [CLEAN], draft.rates("accuracy"), more=more)


def by_seed(draft: Draft, arm: Arm, key: Condition, metric: str = "accuracy") -> str:
    """The values of the seeds in per cent, in their order."""
    rows = draft.study.measures
    rows = rows[
        (rows["arm"] == arm.name)
        & (rows["metric"] == metric)
        & (rows["condition"] == key.id)
        & rows["seed"].notna()
    ]
    values = rows.sort_values("seed")["value"].dropna()
    return " / ".join(f"{100 * value:.1f}" for value in values) or "–"


def _papers(arm: Arm, original: paper.Reported, defence: paper.Reported) -> Cell:
    """The paper's figure for an arm, undefended or trained on noise, as it was trained."""
    reported = _reported(arm, original, defence)
    if reported is None:
        return Cell("–")
    value, _, interval = rate(reported.value, *reported.interval).partition(" ")
    return Cell(value, f"{interval} {reported.k}/{reported.n}")


def _reported(arm: Arm, original: paper.Reported, defence: paper.Reported) -> paper.Reported | None:
    if arm.variant != "as_trained":
        return None
    if arm.defence.none:
        return original
    return defence if arm.defence.kind == "noise" else None


def _calibration(draft: Draft) -> list[Block]:
    """The smallest ε at which an undefended model does as badly as the paper's."""
    return [
        Text(
            say(
                "calibration",
                of=found.arm.name,
                inside=found.inside,
                above=found.above,
                below=found.below,
                interval=paper.ORIGINAL_ATTACKED.interval,
                at=lambda key, arm=found.arm: draft.facts.study.numbers[arm.name, key, METRIC].rate,
            )
        )
        for found in calibrations(draft.study)
    ]


def frames(draft: Draft) -> dict[str, pd.DataFrame]:
    """This study's numbers and the paper's, a row per model and condition of tables 2 and 3."""
    attack = papers_attack(draft.study)
    wanted = [("accuracy", CLEAN, paper.ORIGINAL_CLEAN, paper.DEFENCE_CLEAN)]
    wanted.append((METRIC, CLEAN, paper.ORIGINAL_MALIGNANT, paper.DEFENCE_MALIGNANT))
    for condition in attack.conditions if attack else ():
        wanted.append((METRIC, condition, paper.ORIGINAL_ATTACKED, paper.DEFENCE_ATTACKED))
    records = []
    for metric, condition, original, defence in wanted:
        for arm in draft.study.arms:
            number = draft.facts.number(arm, condition, metric)
            reported = _reported(arm, original, defence)
            if number is None:
                continue
            record: dict[str, object] = {"arm": arm.name, "metric": metric}
            record |= dict(zip(DESCRIBED, described(condition), strict=True))
            record |= {name: getattr(number, name) for name in ("value", "low", "high", "k", "n")}
            low, high = (None, None) if reported is None else reported.interval
            record["paper"] = None if reported is None else reported.value
            records.append(record | {"paper_low": low, "paper_high": high})
    return {"paper": pd.DataFrame(records)}
