"""Checks that would make the numbers suspect, each seen to fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcadv.data.audit import Audit, audit
from bcadv.data.records import Record
from bcadv.data.splits import Split
from bcadv.evaluate.checks import checks, data_findings
from bcadv.metrics.robustness import summarise
from bcadv.plan import Plan
from bcadv.results.condition import CLEAN, REPEATED, Condition, Series
from bcadv.results.schema import Finding, TaskSection
from tests.metrics.tables import fgsm, pgd

N = 60


def frame(
    rights: Mapping[Condition, Sequence[bool]], *, target: Sequence[int] | None = None
) -> pd.DataFrame:
    """Answers with exactly these images right."""
    truth = np.arange(N) % 2 if target is None else np.array(target)
    tables = []
    for condition, hits in rights.items():
        prediction = np.where(hits, truth, 1 - truth)
        tables.append(
            pd.DataFrame(
                {
                    "image_id": [f"image-{i:04d}" for i in range(N)],
                    "index": np.arange(N),
                    "patient": None,
                    "target": truth,
                    "batchnorm": "as_trained",
                    "condition": condition.id,
                    "prediction": prediction,
                    "size": condition.size,
                    "p_0": np.where(prediction == 0, 0.9, 0.1),
                    "p_1": np.where(prediction == 1, 0.9, 0.1),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def first(k: int) -> list[bool]:
    """The first k images are right."""
    return [i < k for i in range(N)]


def found(
    tmp_path: Path, table: pd.DataFrame, series: Sequence[Sequence[Condition]]
) -> list[Finding]:
    plan = Plan(tuple(Series(tuple(of)) for of in series))
    path = tmp_path / "predictions.parquet"
    # A row group per condition, as the evaluation writes them.
    groups = table.groupby("condition", sort=False)
    write_groups(path, [part for _, part in groups])
    return checks(path, plan, summarise(table, plan.conditions, ["a", "b"], [1], n_boot=20))


def write_groups(path: Path, parts: Sequence[pd.DataFrame]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.Table.from_pandas(parts[0], preserve_index=False).schema
    schema = schema.set(schema.get_field_index("patient"), pa.field("patient", pa.string()))
    with pq.ParquetWriter(path, schema) as writer:
        for part in parts:
            writer.write_table(pa.Table.from_pandas(part, schema=schema, preserve_index=False))


def one(findings: Sequence[Finding], name: str) -> Finding:
    [finding] = [f for f in findings if f.id == name]
    return finding


def test_sound_numbers_pass_every_check(tmp_path: Path) -> None:
    tried = [fgsm(0), fgsm(1), fgsm(4)]
    rights = {CLEAN: first(50), fgsm(0): first(50), fgsm(1): first(40), fgsm(4): first(20)}
    findings = found(tmp_path, frame(rights), [tried])
    assert {f.id: f.outcome for f in findings} == dict.fromkeys(
        ("same_answers", "moved", "monotone", "one_sided"), "ok"
    )


def other_class(table: pd.DataFrame) -> None:
    zero = table["condition"] == fgsm(0).id
    table.loc[zero & (table["index"] == 3), "prediction"] ^= 1


def other_probability(table: pd.DataFrame) -> None:
    zero = table["condition"] == fgsm(0).id
    table.loc[zero & (table["index"] == 3), "p_1"] += 0.001


def no_number(table: pd.DataFrame) -> None:
    table.loc[table["index"] == 3, ["p_0", "p_1"]] = np.nan


@pytest.mark.parametrize("spoil", [other_class, other_probability, no_number])
def test_other_answers_to_the_same_pixels_are_found(
    tmp_path: Path, spoil: Callable[[pd.DataFrame], None]
) -> None:
    table = frame({CLEAN: first(50), fgsm(0): first(50), fgsm(1): first(40)})
    spoil(table)
    finding = one(found(tmp_path, table, [[fgsm(0), fgsm(1)]]), "same_answers")
    assert finding.outcome == "failed"
    assert finding.taints == ()


def test_without_strength_zero_the_repeated_answers_are_compared(tmp_path: Path) -> None:
    table = frame({CLEAN: first(50), REPEATED: first(49), fgsm(1): first(40)})
    assert one(found(tmp_path, table, [[fgsm(1)]]), "same_answers").outcome == "failed"


def test_an_image_left_right_and_unmoved_is_found_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    table = frame({CLEAN: first(50), fgsm(0): first(50), fgsm(1): first(40), fgsm(4): first(20)})
    strong = table["condition"] == fgsm(4).id
    table.loc[strong & (table["index"] >= 20), "size"] = 0.0
    finding = one(found(tmp_path, table, [[fgsm(0), fgsm(1), fgsm(4)]]), "moved")
    assert (finding.outcome, finding.evidence) == ("ok", "none was left as it was, and right")
    table.loc[strong & (table["index"] == 7), "size"] = 0.0
    finding = one(found(tmp_path, table, [[fgsm(0), fgsm(1), fgsm(4)]]), "moved")
    assert finding.outcome == "failed"
    assert finding.taints == (fgsm(4).id,)
    assert "1 of 60" in finding.evidence


def test_an_attack_that_was_not_tried_is_not_called_sound(tmp_path: Path) -> None:
    findings = found(tmp_path, frame({CLEAN: first(50), fgsm(0): first(50)}), [[fgsm(0)]])
    for name, words in (("moved", "no strength above 0"), ("monotone", "only one strength")):
        assert one(findings, name).outcome == "unknown"
        assert words in one(findings, name).evidence


def test_one_image_that_turns_right_is_chance_and_twenty_are_not(tmp_path: Path) -> None:
    tried = [fgsm(1), fgsm(4)]
    few = frame({CLEAN: first(50), REPEATED: first(50), fgsm(1): first(40), fgsm(4): first(41)})
    assert one(found(tmp_path, few, [tried]), "monotone").outcome == "ok"
    many = frame({CLEAN: first(50), REPEATED: first(50), fgsm(1): first(30), fgsm(4): first(50)})
    finding = one(found(tmp_path, many, [tried]), "monotone")
    assert finding.outcome == "failed"
    assert finding.taints == (fgsm(4).id,)


def test_of_several_rises_one_is_chance_sooner(tmp_path: Path) -> None:
    rights = {CLEAN: first(50), REPEATED: first(50), fgsm(1): first(40), fgsm(2): first(45)}
    two = found(tmp_path, frame(rights), [[fgsm(1), fgsm(2)]])
    assert one(two, "monotone").outcome == "failed"
    three = found(tmp_path, frame(rights | {fgsm(4): first(45)}), [[fgsm(1), fgsm(2), fgsm(4)]])
    assert one(three, "monotone").outcome == "ok"


def test_another_class_is_worse_than_another_probability(tmp_path: Path) -> None:
    table = frame({CLEAN: first(50), fgsm(0): first(50), pgd(0): first(50)})
    other_class(table)
    table.loc[(table["condition"] == pgd(0).id) & (table["index"] == 3), "p_1"] += 0.05
    finding = one(found(tmp_path, table, [[fgsm(0)], [pgd(0)]]), "same_answers")
    assert "1 of 60 images get another class" in finding.evidence


def test_a_rise_is_looked_for_within_one_attack_in_one_norm(tmp_path: Path) -> None:
    rights = {CLEAN: first(60), REPEATED: first(60), fgsm(1): first(50), fgsm(2): first(20)}
    rights |= {fgsm(0.5, "2"): first(60), pgd(1): first(55), fgsm(1, "2"): first(40)}
    series = [[fgsm(1), fgsm(2)], [fgsm(0.5, "2"), fgsm(1, "2")], [pgd(1)]]
    findings = [f for f in found(tmp_path, frame(rights), series) if f.id == "monotone"]
    assert [f.outcome for f in findings] == ["ok", "ok", "unknown"]


def test_one_step_that_breaks_what_many_steps_left_is_found_image_by_image(tmp_path: Path) -> None:
    tried = [[fgsm(4)], [pgd(4)]]
    clean = {CLEAN: first(60), REPEATED: first(60)}
    # Two images and no more: the averages would hide them.
    worse = [2 <= i < 30 for i in range(N)]
    failed = one(
        found(tmp_path, frame({**clean, fgsm(4): worse, pgd(4): first(20)}), tried), "one_step"
    )
    assert (failed.outcome, failed.value, failed.taints) == ("failed", 2.0, (pgd(4).id,))
    for left in (first(30), [1 <= i < 30 for i in range(N)]):
        sound = found(tmp_path, frame({**clean, fgsm(4): left, pgd(4): first(20)}), tried)
        assert one(sound, "one_step").outcome == "ok"
    apart = found(
        tmp_path, frame({**clean, fgsm(4): worse, pgd(2): first(20)}), [[fgsm(4)], [pgd(2)]]
    )
    assert not [f for f in apart if f.id == "one_step"]


@pytest.mark.parametrize("access", ["black box, scores", "black box, decisions", "transfer"])
def test_a_black_box_that_breaks_what_the_white_box_left_is_found(
    tmp_path: Path, access: str
) -> None:
    other = fgsm(4).model_copy(update={"access": access})
    rights = {CLEAN: first(60), REPEATED: first(60), other: first(10), pgd(4): first(20)}
    finding = one(found(tmp_path, frame(rights), [[other], [pgd(4)]]), "black_box")
    assert (finding.outcome, finding.value, finding.taints) == ("failed", 10.0, (pgd(4).id,))


def test_an_image_that_stands_although_it_was_broken_on_the_way_is_found(tmp_path: Path) -> None:
    rights = {CLEAN: first(60), REPEATED: first(60), pgd(2): first(30), pgd(4): first(20)}
    table = frame(rights)
    table["distance"] = np.where(table["index"] < 20, np.inf, 3 / 255)
    assert one(found(tmp_path, table, [[pgd(2), pgd(4)]]), "best_found").outcome == "ok"
    table.loc[table["index"] == 5, "distance"] = 3 / 255
    finding = one(found(tmp_path, table, [[pgd(2), pgd(4)]]), "best_found")
    assert (finding.outcome, finding.taints) == ("failed", (pgd(4).id,))


def test_a_model_that_names_one_class_is_found(tmp_path: Path) -> None:
    truth = np.arange(N) % 2
    table = frame({CLEAN: truth == 1, REPEATED: truth == 1, fgsm(1): truth == 1})
    assert one(found(tmp_path, table, [[fgsm(1)]]), "one_sided").outcome == "failed"


@pytest.mark.parametrize(("by", "outcome"), [("user", "ok"), ("source", "ok"), ("order", "failed")])
def test_a_disease_chosen_by_alphabet_is_found(by: str, outcome: str) -> None:
    task = TaskSection.model_validate(
        {
            "kind": "multiclass",
            "classes": ("cancer", "healthy"),
            "positive": (1,),
            "positive_by": by,
        }
    )
    finding = one(data_findings(task, audited(["p", "q", "r"])), "positive_class")
    assert finding.outcome == outcome
    assert "healthy" in finding.evidence


def audited(patients: Sequence[str | None], digests: Sequence[str] = "abc") -> Audit:
    """One image each in training, validation and test."""
    records = [Record(Path(n), n, "a", patient=p) for n, p in zip("xyz", patients, strict=True)]
    return audit(records, Split((0,), (1,), (2,)), dict(zip("xyz", digests, strict=True)))


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (audited(["p", "q", "p"]), "failed"),
        (audited(["p", "q", "r"]), "ok"),
        (audited(["p", "q", "r"], "aba"), "failed"),
        (audited([None, "q", "r"]), "unknown"),
        (audited(["p", "q", None]), "unknown"),
        (replace(audited(["p", "q", "r"]), shared_images=("x",)), "failed"),
        (audited([None, None, None]), "unknown"),
    ],
)
def test_patients_and_copies_on_two_sides_are_found(found: Audit, outcome: str) -> None:
    task = TaskSection(kind="multiclass", classes=("a", "b"), positive=(1,), positive_by="user")
    finding = one(data_findings(task, found), "leakage")
    assert (finding.outcome, finding.threshold) == (outcome, 0)


@pytest.mark.parametrize(
    ("known", "unknown", "outcome"),
    [(9, 0, "failed"), (10, 0, "ok"), (9, 1, "ok"), (1, 0, "failed"), (0, 30, "unknown")],
)
def test_a_test_part_of_few_patients_is_found_with_its_remedy(
    known: int, unknown: int, outcome: str
) -> None:
    patients = ["a", "b", *(f"p{i}" for i in range(known)), *[None] * unknown]
    records = [Record(Path(str(i)), str(i), "a", patient=p) for i, p in enumerate(patients)]
    found = audit(records, Split((0,), (1,), tuple(range(2, len(records)))))
    task = TaskSection(kind="multiclass", classes=("a", "b"), positive=(1,), positive_by="user")
    finding = one(data_findings(task, found), "few_patients")
    assert finding.outcome == outcome
    assert ("+sweep=folds" in finding.evidence) == (outcome == "failed")
