"""Tables beside the paper's: counts, clean accuracy, malignant images, calibration of epsilon."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from bcadv.report import paper
from bcadv.study.arms import Arm
from bcadv.report.calibration import METRIC, Calibration, calibrations, papers_attack
from bcadv.report.facts import unknown_patients
from bcadv.study.jobs import Job
from bcadv.study.measures import DESCRIBED, described
from bcadv.study.numbers import Number, Series, positive_of, rate, several_seeds
from bcadv.study.prose import listed
from bcadv.study.study import Study
from bcadv.report.table import UNDEFINED
from bcadv.report.tabular import Table, table_of
from bcadv.results.schema import CLEAN, Condition

_PARTS = {"train": "training", "val": "validation", "test": "test"}
_INTERVALS = "In per cent, [95 % interval]; the paper's intervals are Wilson's, from its counts."
_SEEDS = (
    "Of several seeds: the mean, with the interval of the mean for these models; counts are sums "
    "over the seeds, in which the same image may stand several times."
)


def counts(study: Study) -> Table:
    """Table 1: images per class and part."""
    data: dict[str, list[Job]] = {}
    for job in study.jobs:
        data.setdefault(_data_name(job), []).append(job)
    classes = dict.fromkeys(name for job in study.jobs for name in job.classes)
    records, shown = [], []
    for name in classes:
        for part, word in _PARTS.items():
            line = {"images": f"{name}, {word}"}
            for heading, jobs in data.items():
                numbers = sorted({_count(job, part, name) for job in jobs})
                line[heading if len(data) > 1 else "this study"] = _span(numbers)
                records.append(
                    {
                        "data": heading,
                        "class": name,
                        "part": part,
                        "images_min": numbers[0],
                        "images_max": numbers[-1],
                        "paper": paper.COUNTS[part].get(name),
                    }
                )
            papers = paper.COUNTS[part].get(name)
            line["paper"] = UNDEFINED if papers is None else str(papers)
            shown.append(line)
    notes = [*paper.unlike_the_papers_data(study.jobs)]
    if any("–" in text for line in shown for key, text in line.items() if key != "paper"):
        notes.append("From–to: the number differs between seeds or settings.")
    if not notes:
        notes.append("The numbers are the paper's.")
    frame = pd.DataFrame(records).astype({"paper": "Int64"})
    return table_of("table1_counts", "Table 1. Images per class and part", frame, shown, notes)


def _count(job: Job, part: str, name: str) -> int:
    return int(job.result.data.counts.get(part, {}).get(name, 0))


def _span(numbers: Sequence[int]) -> str:
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}"


def _data_name(job: Job) -> str:
    data = job.result.data
    sort = {"paper": "by image"}.get(data.split, f"split {data.split}")
    fold = f", fold {data.fold}" if data.fold else ""
    extra = "" if data.tumours else f" {'/'.join(job.classes)}"
    return f"{data.label or data.source}{extra}, {sort}{fold}"


def clean(study: Study) -> Table:
    """Table 2: accuracy on the test images as they are, beside 98.72 and 98.08 %."""
    numbers = study.numbers
    records, shown = [], []
    for arm in study.arms:
        number = numbers.get((arm.name, CLEAN, "accuracy"))
        if number is None:
            continue
        papers = _papers(arm, paper.ORIGINAL_CLEAN, paper.DEFENCE_CLEAN)
        records.append(_record(arm, CLEAN, number, papers))
        line = {
            "model": arm.name,
            "accuracy": number.rate,
            "right/images": number.counts,
            "patients": _patients(number, arm),
        }
        if several_seeds(study.arms):
            line["by seed"] = by_seed(study, arm, CLEAN, "accuracy")
        line |= {"paper": _rate(papers), "paper's right/images": _fraction(papers)}
        shown.append(line)
    notes = [_INTERVALS, *_beside(study)]
    if several_seeds(study.arms):
        notes.insert(1, _SEEDS)
    return table_of(
        "table2_clean",
        "Table 2. Accuracy on clean test images",
        pd.DataFrame(records),
        shown,
        notes,
    )


def malignant(study: Study) -> Table | None:
    """Table 3: the positive test images only, without attack and under FGSM."""
    numbers = study.numbers
    attack = papers_attack(study)
    records, shown = [], []
    for arm in study.arms:
        line = {"model": arm.name}
        without = numbers.get((arm.name, CLEAN, METRIC))
        if without is None:
            continue
        line["positive images"] = str(without.n)
        line["no attack"] = without.rate
        papers = _papers(arm, paper.ORIGINAL_MALIGNANT, paper.DEFENCE_MALIGNANT)
        records.append(_record(arm, CLEAN, without, papers))
        line["no attack, paper"] = _rate(papers)
        for key in () if attack is None else attack.conditions:
            number = numbers.get((arm.name, key, METRIC))
            line[key.text] = UNDEFINED if number is None else number.rate
            if number is not None:
                records.append(_record(arm, key, number, None))
        attacked = _papers(arm, paper.ORIGINAL_ATTACKED, paper.DEFENCE_ATTACKED)
        line["FGSM, paper (ε not stated)"] = _rate(attacked)
        shown.append(line)
    if not shown or all(line["no attack"] == UNDEFINED for line in shown):
        return None
    positive = " or ".join(dict.fromkeys(positive_of(job) for job in study.jobs))
    notes = [
        _INTERVALS,
        f"Share of the {positive} test images that the model calls {positive} too; the "
        "paper's Table 3 holds these images only, so a model that calls everything malignant "
        "scores 100 % in it.",
        f"The paper's figures: {_spelled(paper.ORIGINAL_MALIGNANT)} and "
        f"{_spelled(paper.DEFENCE_MALIGNANT)} without attack, {_spelled(paper.ORIGINAL_ATTACKED)} "
        f"and {_spelled(paper.DEFENCE_ATTACKED)} under FGSM (original model and defence).",
        *([] if attack is not None else ["FGSM in the maximum norm, the paper's, was not tried."]),
        *_beside_the_papers(study, attack),
        *([_SEEDS] if several_seeds(study.arms) else []),
        *_beside(study),
    ]
    title = f"Table 3. The {positive} test images only, without attack and attacked"
    return table_of("table3_malignant", title, pd.DataFrame(records), shown, notes)


def _beside_the_papers(study: Study, attack: Series | None) -> list[str]:
    others = [each.label for each in study.attacks if attack is None or each.name != attack.name]
    if not others:
        return []
    return [f"The paper tried FGSM alone; for {listed(others)} see the table of all metrics."]


def _spelled(papers: paper.Reported) -> str:
    return f"{100 * papers.value:.2f} % ({papers.k}/{papers.n})"


def calibration(study: Study) -> Table | None:
    """The smallest epsilon at which the undefended model does as badly as the paper's."""
    numbers = study.numbers
    records, shown, notes = [], [], [_INTERVALS]
    for found in calibrations(study):
        notes.append(calibration_sentence(study, found))
        for key in found.shown:
            for arm in (found.arm, *found.followers):
                number = numbers.get((arm.name, key, METRIC))
                if number is None:
                    continue
                attacked = (paper.ORIGINAL_ATTACKED, paper.DEFENCE_ATTACKED)
                without = (paper.ORIGINAL_MALIGNANT, paper.DEFENCE_MALIGNANT)
                papers = _papers(arm, *(without if key.clean else attacked))
                records.append(_record(arm, key, number, papers))
                specificity = numbers.get((arm.name, key, "specificity"))
                line = {
                    "model and image": f"{arm.name}: {key.text}",
                    "positive right": number.rate,
                    "right/images": number.counts,
                    "negative right": UNDEFINED if specificity is None else specificity.rate,
                }
                if several_seeds(study.arms):
                    line["by seed"] = by_seed(study, arm, key, METRIC)
                shown.append(line | {"positive right, paper": _rate(papers)})
    if not shown:
        return None
    if several_seeds(study.arms):
        notes.append(_SEEDS)
    notes.append(
        "A model that calls more of everything positive has more positive images right, attacked "
        "or not: read the two columns together. The paper has no figure for negative images."
    )
    title = "Calibration. Positive test images where the undefended model does as the paper's"
    return table_of("calibration", title, pd.DataFrame(records), shown, [*notes, *_beside(study)])


def calibration_sentence(study: Study, found: Calibration) -> str:
    """Where the undefended model meets the paper's 6.1–19.1 %, or why not."""
    low, high = paper.ORIGINAL_ATTACKED.interval
    papers = f"the paper's interval, {100 * low:.1f}–{100 * high:.1f} %"
    numbers = study.numbers

    def at(key: Condition) -> str:
        where = "without attack" if key.clean else f"at ε={key.amount}"
        return f"{numbers[found.arm.name, key, METRIC].rate} % {where}"

    name = found.attack.label
    who = f"The model “{found.arm.name}”"
    if found.inside is not None:
        return f"{who} first falls into {papers}: {at(found.inside)} ({name})."
    if found.above is None and found.below is None:
        return f"{who} has no positive image, so epsilon cannot be calibrated."
    if found.below is None:
        assert found.above is not None
        return f"{who} never falls into {papers}: it still has {at(found.above)} ({name})."
    if found.above is None:
        return f"{who} is as low as {papers}, or lower, already: {at(found.below)}."
    return (
        f"{who} jumps over {papers}: {at(found.above)}, {at(found.below)} ({name}). A finer grid "
        "of epsilon between the two would meet it."
    )


def by_seed(study: Study, arm: Arm, key: Condition, metric: str) -> str:
    """The values of the seeds in per cent, in their order."""
    rows = study.measures
    rows = rows[
        (rows["arm"] == arm.name)
        & (rows["metric"] == metric)
        & (rows["condition"] == key.id)
        & rows["seed"].notna()
    ]
    values = [f"{100 * value:.1f}" for value in rows.sort_values("seed")["value"].dropna()]
    return " / ".join(values) or UNDEFINED


def _patients(number: Number, arm: Arm) -> str:
    if number.n_patients is None:
        return UNDEFINED
    known = " known" if any(unknown_patients(job, "test") for job in arm.jobs) else ""
    return f"{number.n_patients}{known}"


def _papers(arm: Arm, original: paper.Reported, defence: paper.Reported) -> paper.Reported | None:
    """The paper's figure for an arm, undefended or trained on noise, as it was trained."""
    if arm.variant != "as_trained":
        return None
    if arm.defence.none:
        return original
    return defence if arm.defence.kind == "noise" else None


def _rate(papers: paper.Reported | None) -> str:
    return UNDEFINED if papers is None else rate(papers.value, *papers.interval)


def _fraction(papers: paper.Reported | None) -> str:
    return UNDEFINED if papers is None else f"{papers.k}/{papers.n}"


def _record(
    arm: Arm, key: Condition, number: Number, papers: paper.Reported | None
) -> dict[str, object]:
    low, high = (None, None) if papers is None else papers.interval
    return {
        "arm": arm.name,
        **dict(zip(DESCRIBED, described(key), strict=True)),
        "value": number.value,
        "low": number.low,
        "high": number.high,
        "k": number.k,
        "n": number.n,
        "n_patients": number.n_patients,
        "paper": None if papers is None else papers.value,
        "paper_low": low,
        "paper_high": high,
    }


def _beside(study: Study) -> Iterable[str]:
    """Why a table cannot be held against the paper's."""
    data = paper.unlike_the_papers_data(study.jobs)
    training = paper.unlike_the_papers_training(study.jobs)
    if data:
        yield "Not to be held against the paper's figures. " + " ".join([*data, *training])
    elif training:
        yield " ".join(training)
