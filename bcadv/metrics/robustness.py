"""Predictions table -> one row of metrics per BatchNorm variant and condition."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bcadv.errors import BcadvError
from bcadv.metrics import clinical
from bcadv.metrics.clinical import Floats, Integers, Mask
from bcadv.metrics.intervals import (
    Interval,
    Resamples,
    auroc_score_interval,
    bootstrap_interval,
    mean_interval,
    pick_interval,
    wilson,
)
from bcadv.metrics.patients import RECOGNITION, recognition
from bcadv.results.condition import CLEAN, Condition
from bcadv.results.schema import Measure, Row

KEYS = ["batchnorm", "condition"]
"""What names a row of the summary."""


@dataclass(frozen=True)
class _Answers:
    """The model's answers on n images under one perturbation.

    ``patient`` numbers the patients, -1 where unknown. ``group`` numbers the unit of resampling;
    ``unit`` is ``patient`` where patients are known.
    """

    target: Integers
    prediction: Integers
    clean: Integers
    probability: Floats
    patient: Integers
    group: Integers
    unit: str
    n_patients: int | None


def summarise(
    predictions: pd.DataFrame | Iterable[tuple[str, str, pd.DataFrame]],
    conditions: Sequence[Condition],
    classes: Sequence[str],
    positive: Sequence[int],
    *,
    n_boot: int = 1000,
    seed: int = 0,
) -> list[Row]:
    """Measures accuracy, its clinical parts and its loss under perturbation, with intervals.

    Intervals are at 95 %. Where patients are known, `ci_low` and `ci_high` come from resampling
    patients (an image without a patient counts as a patient of its own) and rates also carry the
    Wilson interval; where none is known, rates carry the Wilson interval and the other metrics
    come from resampling images. Degenerate bootstraps give way to the wider of bootstrap and
    formula (`intervals.pick_interval`), and `ci_kind` says so.

    Args:
        predictions: a row per image, BatchNorm variant and condition, with columns image_id,
            patient, target, batchnorm, condition (its id), prediction, p_0 ... p_{K-1}. Every
            variant needs its clean rows. Or pieces of such a table, one per variant and
            condition, that need not all be in memory: (variant, condition, rows), clean first.
        conditions: that the table may be about; rows of others are refused.
        classes: names of the K classes.
        positive: indices of the classes that count as positive (malignant).
        n_boot: number of resamples.
        seed: of the resampling; the order of the rows does not matter.

    Returns:
        A row per variant and condition, in the order of the conditions, with these metrics:

        - accuracy: right under this perturbation.
        - robust_accuracy: right when clean and under the perturbation; never above clean accuracy.
        - patient_recognition_rate: mean over the known patients of the share of a patient's images
            that are right; ``n`` counts patients, and the interval is that of
            `patients.recognition_interval`.
        - sensitivity: share of positive images predicted into any positive class; undefined where
            every class or none is positive.
        - specificity: share of negative images predicted into any negative class; likewise.
        - accuracy_positive: share of positive images predicted into exactly their class.
        - balanced_accuracy: mean recall over the classes that occur.
        - auroc: of the summed probability of the positive classes.
        - auroc_macro: mean one-versus-rest AUROC over the classes that occur; K > 2 only.
        - ece: expected calibration error, top label, 15 bins.
        - attack_success: of the images right when clean, the share now wrong.
        - flip_rate: share of images whose prediction differs from the clean one.

    Raises:
        BcadvError: if columns or clean rows are missing, an image occurs twice in one row of the
            summary, or a class index has no class.
    """
    known = {condition.id: condition for condition in conditions}
    if isinstance(predictions, pd.DataFrame):
        _check(predictions, known, classes, positive)
        predictions = _parts(predictions, list(known))
    rows: list[Row] = []
    of: str | None = None
    clean = pd.Series(dtype=np.int64)
    for variant, name, unsorted in predictions:
        _check(unsorted, known, classes, positive)
        part = unsorted.sort_values("image_id", kind="stable")
        if variant != of:
            of, clean = variant, pd.Series(dtype=np.int64)
        if name == CLEAN.id:
            clean = part.set_index("image_id")["prediction"]
        missing = ~part["image_id"].isin(clean.index)
        if missing.any():
            raise BcadvError(
                f"Image {part.loc[missing, 'image_id'].min()!r} has predictions under {name!r} but "
                f"none when clean (batchnorm {variant!r}); predict every image when clean first."
            )
        answers = _answers(part, clean, len(classes))
        rows.append(
            Row(
                batchnorm=variant,
                condition=name,
                n=len(part),
                n_patients=answers.n_patients,
                metrics=_metrics(answers, classes, positive, n_boot, seed),
            )
        )
    return rows


def _parts(table: pd.DataFrame, order: Sequence[str]) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """A table as one piece per variant and condition, clean first."""
    for variant, of_variant in table.groupby("batchnorm", sort=True):
        parts = {str(name): part for name, part in of_variant.groupby("condition", sort=False)}
        for name in sorted(parts, key=order.index):
            yield str(variant), name, parts[name]


def _check(
    predictions: pd.DataFrame,
    conditions: Container[str],
    classes: Sequence[str],
    positive: Sequence[int],
) -> None:
    probabilities = [f"p_{c}" for c in range(len(classes))]
    needed = ["image_id", "patient", "target", "prediction", *KEYS, *probabilities]
    absent = [name for name in needed if name not in predictions.columns]
    if absent:
        raise BcadvError(
            f"The predictions table lacks the column(s) {', '.join(absent)}; "
            f"{len(classes)} classes need p_0 to p_{len(classes) - 1}."
        )
    holes = [name for name in [*KEYS, "image_id"] if predictions[name].isna().any()]
    if holes:
        raise BcadvError(
            f"Column {holes[0]!r} of the predictions table has empty cells; every row needs one."
        )
    twice = predictions[predictions.duplicated([*KEYS, "image_id"])]
    if len(twice):
        first = twice.iloc[0]
        raise BcadvError(
            f"Image {first['image_id']!r} occurs twice under {first['condition']!r} "
            f"(batchnorm {first['batchnorm']!r}); image_id must be unique."
        )
    strangers = [name for name in predictions["condition"].unique() if name not in conditions]
    if strangers:
        raise BcadvError(
            f"The predictions table has rows under {strangers[0]!r}, which is none of the "
            "conditions it was to be about."
        )
    for name, numbers in [
        ("target", predictions["target"]),
        ("prediction", predictions["prediction"]),
        ("positive", positive),
    ]:
        strange = sorted({int(c) for c in numbers} - set(range(len(classes))))
        if strange:
            raise BcadvError(
                f"{name} holds class {strange[0]}, but there are {len(classes)} classes, "
                f"numbered from 0: {', '.join(classes)}."
            )


def _answers(part: pd.DataFrame, clean: pd.Series[int], n_classes: int) -> _Answers:
    known = part["patient"].notna().to_numpy(dtype=bool)
    codes = pd.factorize(part["patient"], sort=True)[0]
    # An image of unknown patient is its own group, numbered after the real ones.
    group = np.where(known, codes, len(part) + np.arange(len(part))).astype(np.int64)
    return _Answers(
        target=part["target"].to_numpy(dtype=np.int64),
        prediction=part["prediction"].to_numpy(dtype=np.int64),
        clean=np.asarray(clean.loc[part["image_id"]], dtype=np.int64),
        probability=part[[f"p_{c}" for c in range(n_classes)]].to_numpy(dtype=np.float64),
        patient=codes.astype(np.int64),
        group=group,
        unit="patient" if known.any() else "image",
        n_patients=len(np.unique(codes[known])) if known.any() else None,
    )


def _metrics(
    a: _Answers, classes: Sequence[str], positive: Sequence[int], n_boot: int, seed: int
) -> dict[str, Measure]:
    is_positive = np.isin(a.target, positive)
    weights = Resamples(a.group, n_boot, seed)
    entries = _rates(a, is_positive, np.isin(a.prediction, positive), weights)
    if not 0 < len(positive) < len(classes):
        # Whatever the model answers, none of them could be missed, or called in vain.
        reason = f"{'every' if positive else 'no'} class counts as positive"
        entries |= dict.fromkeys(("sensitivity", "specificity"), _undefined(0, reason))

    def add(
        name: str,
        statistic: Callable[[Floats], Floats],
        strata: list[Mask],
        *,
        undefined: str | None = None,
        formula: Callable[[float], Interval] | None = None,
        formula_name: str = "",
        centred: bool = False,
    ) -> None:
        if undefined is not None:
            entries[name] = _undefined(len(a.target), undefined)
            return
        value = float(statistic(np.ones((1, len(a.target))))[0])
        lower, upper = bootstrap_interval(statistic, weights, centre=value if centred else None)
        low, high, kind = pick_interval(
            value,
            (float(lower), float(upper)),
            None if formula is None else formula(value),
            unit=a.unit,
            formula_name=formula_name,
            clusters=min(len(np.unique(a.group[stratum])) for stratum in strata),
        )
        entries[name] = Measure(
            value=value,
            n=len(a.target),
            ci_low=_finite(low),
            ci_high=_finite(high),
            ci_kind=kind,
        )

    present = [a.target == c for c in np.unique(a.target)]
    right = a.prediction == a.target
    entries[RECOGNITION] = recognition(right, a.patient)
    add(
        "balanced_accuracy",
        lambda w: clinical.balanced_accuracy(a.target, a.prediction, w),
        present,
        formula=lambda _: mean_interval(
            [wilson(int(right[members].sum()), int(members.sum())) for members in present]
        ),
        formula_name="mean of wilson",
    )

    broken = None
    if not np.isfinite(a.probability).all():
        broken = "some probabilities are not finite"
    n_positive, n_negative = int(is_positive.sum()), int((~is_positive).sum())
    one_sided = None
    if n_positive == 0 or n_negative == 0:
        one_sided = f"no {'positive' if n_positive == 0 else 'negative'} images"
    score = a.probability[:, list(positive)].sum(axis=1)
    add(
        "auroc",
        lambda w: clinical.auroc(score, is_positive, w),
        [is_positive, ~is_positive],
        undefined=broken or one_sided,
        formula=lambda value: auroc_score_interval(value, n_positive, n_negative),
        formula_name="score",
    )
    if len(classes) > 2:
        add(
            "auroc_macro",
            lambda w: clinical.macro_auroc(a.probability, a.target, w),
            present,
            undefined=broken or ("images of one class only" if len(present) < 2 else None),
            formula=lambda _: _macro_score_interval(a, present),
            formula_name="mean of score",
        )
    add(
        "ece",
        lambda w: clinical.calibration_error(a.probability.max(axis=1), right, w),
        [np.ones(len(a.target), dtype=bool)],
        undefined=broken,
        centred=True,
    )
    return entries


def _rates(
    a: _Answers, is_positive: Mask, called_positive: Mask, weights: Resamples
) -> dict[str, Measure]:
    """The metrics that are k of n images."""
    everyone = np.ones(len(a.target), dtype=bool)
    right, right_clean = a.prediction == a.target, a.clean == a.target
    # name: (counted, out of, why there may be none)
    rates: dict[str, tuple[Mask, Mask, str]] = {
        "accuracy": (right, everyone, "no images"),
        "robust_accuracy": (right & right_clean, everyone, "no images"),
        "sensitivity": (called_positive, is_positive, "no positive images"),
        "specificity": (~called_positive, ~is_positive, "no negative images"),
        "accuracy_positive": (right, is_positive, "no positive images"),
        "attack_success": (~right, right_clean, "no image was right when clean"),
        "flip_rate": (a.prediction != a.clean, everyone, "no images"),
    }
    counted = np.stack([hit & base for hit, base, _ in rates.values()], axis=1).astype(np.float64)
    out_of = np.stack([base for _, base, _ in rates.values()], axis=1).astype(np.float64)
    by_patient = a.unit == "patient"
    if by_patient:
        lows, highs = bootstrap_interval(lambda w: clinical.share(w @ counted, w @ out_of), weights)
    entries: dict[str, Measure] = {}
    for j, (name, (hit, base, reason)) in enumerate(rates.items()):
        k, n = int((hit & base).sum()), int(base.sum())
        if n == 0:
            entries[name] = _undefined(0, reason)
            continue
        formula = wilson(k, n)
        low, high, kind = (*formula, "wilson")
        if by_patient:
            low, high, kind = pick_interval(
                k / n,
                (float(lows[j]), float(highs[j])),
                formula,
                unit="patient",
                formula_name="wilson",
                clusters=len(np.unique(a.group[base])),
                events=min(k, n - k),
            )
        ends = formula if by_patient else (None, None)
        entries[name] = Measure(
            value=k / n,
            n=n,
            k=k,
            ci_low=low,
            ci_high=high,
            ci_kind=kind,
            wilson_low=ends[0],
            wilson_high=ends[1],
        )
    return entries


def _macro_score_interval(a: _Answers, present: list[Mask]) -> Interval:
    once = np.ones((1, len(a.target)))
    intervals = []
    for members in present:
        score = a.probability[:, a.target[members][0]]
        value = float(clinical.auroc(score, members, once)[0])
        intervals.append(auroc_score_interval(value, int(members.sum()), int((~members).sum())))
    return mean_interval(intervals)


def _undefined(n: int, reason: str) -> Measure:
    return Measure(value=None, n=n, ci_low=None, ci_high=None, ci_kind=None, reason=reason)


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else value
