"""Predictions table -> one row of metrics per BatchNorm variant and condition."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bcadv.errors import BcadvError
from bcadv.metrics import clinical
from bcadv.metrics.calibration import calibration_intervals, gaps
from bcadv.metrics.clinical import Floats, Integers, Mask
from bcadv.metrics.clustered import mean_of_parts, rate_interval
from bcadv.metrics.intervals import Interval, wilson
from bcadv.metrics.patients import RECOGNITION, recognition
from bcadv.metrics.ranking import Ranking, auroc_interval, ranking
from bcadv.results.condition import CLEAN, Condition
from bcadv.results.schema import Measure, Row

KEYS = ["batchnorm", "condition"]
"""What names a row of the summary."""


@dataclass(frozen=True)
class _Answers:
    """The model's answers on n images under one perturbation.

    ``patient`` numbers the patients, -1 where unknown. ``group`` numbers what counts as
    independent, from 0 to ``n_groups`` - 1; ``unit`` is ``patient`` where patients are known.
    """

    target: Integers
    prediction: Integers
    clean: Integers
    probability: Floats
    patient: Integers
    group: Integers
    n_groups: int
    unit: str
    n_patients: int | None

    @property
    def prefix(self) -> str:
        """Of the kind of an interval."""
        return "patient " if self.unit == "patient" else ""


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

    Intervals are at 95 %, and `ci_kind` says which they are. Where patients are known, they allow
    for the likeness of a patient's images (an image without a patient counts as a patient of its
    own): rates have Wilson's interval on the effective number of images (``patient wilson``,
    `clustered.share_interval`), beside that of independent images; the AUROC has a score interval
    (``patient score``, `ranking.auroc_interval`); means over classes combine those of the classes
    (``mean of ...``, `clustered.mean_of_parts`). Where no patient is known each image stands for
    itself (``wilson``, ``score``). The calibration error resamples patients, or images
    (``patient bootstrap``, `calibration.calibration_intervals`).

    Args:
        predictions: a row per image, BatchNorm variant and condition, with columns image_id,
            patient, target, batchnorm, condition (its id), prediction, p_0 ... p_{K-1}. Every
            variant needs its clean rows. Or pieces of such a table, one per variant and
            condition, that need not all be in memory: (variant, condition, rows), clean first.
        conditions: that the table may be about; rows of others are refused.
        classes: names of the K classes.
        positive: indices of the classes that count as positive (malignant).
        n_boot: number of resamples behind the interval of the calibration error.
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
    group = np.where(known, codes, len(part) + np.arange(len(part)))
    names, group = np.unique(group, return_inverse=True)
    return _Answers(
        target=part["target"].to_numpy(dtype=np.int64),
        prediction=part["prediction"].to_numpy(dtype=np.int64),
        clean=np.asarray(clean.loc[part["image_id"]], dtype=np.int64),
        probability=part[[f"p_{c}" for c in range(n_classes)]].to_numpy(dtype=np.float64),
        patient=codes.astype(np.int64),
        group=group.astype(np.int64),
        n_groups=len(names),
        unit="patient" if known.any() else "image",
        n_patients=len(np.unique(codes[known])) if known.any() else None,
    )


def _metrics(
    a: _Answers, classes: Sequence[str], positive: Sequence[int], n_boot: int, seed: int
) -> dict[str, Measure]:
    is_positive = np.isin(a.target, positive)
    entries = _rates(a, is_positive, np.isin(a.prediction, positive))
    if not 0 < len(positive) < len(classes):
        # Whatever the model answers, none of them could be missed, or called in vain.
        reason = f"{'every' if positive else 'no'} class counts as positive"
        entries |= dict.fromkeys(("sensitivity", "specificity"), _undefined(0, reason))

    n = len(a.target)
    present = [a.target == c for c in np.unique(a.target)]
    right = a.prediction == a.target
    entries[RECOGNITION] = recognition(right, a.patient)
    entries["balanced_accuracy"] = _mean(a, [_recall(a, right, of) for of in present], "wilson")

    broken = None
    if not np.isfinite(a.probability).all():
        broken = "some probabilities are not finite"
    one_sided = broken
    if broken is None and not 0 < is_positive.sum() < n:
        one_sided = f"no {'negative' if is_positive.any() else 'positive'} images"
    if one_sided is not None:
        entries["auroc"] = _undefined(n, one_sided)
    else:
        score = a.probability[:, list(positive)].sum(axis=1)
        ends, part = _auroc(a, score, is_positive)
        entries["auroc"] = _measured(part.value, n, ends, f"{a.prefix}score")
    if len(classes) > 2:
        alone = broken or ("images of one class only" if len(present) < 2 else None)
        entries["auroc_macro"] = (
            _undefined(n, alone)
            if alone is not None
            else _mean(a, [_one_versus_rest(a, of) for of in present], "score")
        )
    entries["ece"] = _undefined(n, broken) if broken is not None else _ece(a, right, n_boot, seed)
    return entries


@dataclass(frozen=True)
class _Part:
    """An estimate that a mean is taken of: its interval, and the influence of each patient."""

    value: float
    ends: Interval
    influence: Floats


def _mean(a: _Answers, parts: Sequence[_Part], of: str) -> Measure:
    """The mean of estimates, one per class."""
    values = [part.value for part in parts]
    ends = mean_of_parts(
        values, [part.ends for part in parts], np.array([part.influence for part in parts])
    )
    return _measured(float(np.mean(values)), len(a.target), ends, f"mean of {a.prefix}{of}")


def _recall(a: _Answers, right: Mask, members: Mask) -> _Part:
    hit, group = right[members], a.group[members]
    value = float(hit.mean())
    influence = np.bincount(group, (hit - value) / len(hit), a.n_groups).astype(np.float64)
    return _Part(value, _share_interval(a, hit, group), influence)


def _one_versus_rest(a: _Answers, members: Mask) -> _Part:
    ends, of = _auroc(a, a.probability[:, a.target[members][0]], members)
    return _Part(of.value, ends, of.influence.sum(axis=0))


def _auroc(a: _Answers, score: Floats, positive: Mask) -> tuple[Interval, Ranking]:
    of = ranking(score, positive, a.group, a.n_groups)
    return auroc_interval(of), of


def _ece(a: _Answers, right: Mask, n_boot: int, seed: int) -> Measure:
    confidence = a.probability.max(axis=1)
    once = np.ones((1, len(right)))
    value = float(clinical.calibration_error(confidence, right, once)[0])
    found = gaps(confidence[:, None], right[:, None], a.group, a.n_groups)
    [(low, high)] = calibration_intervals([found], n_boot, seed)
    ends = min(low, value), max(high, value)
    return _measured(value, len(right), ends, f"{a.unit} bootstrap")


def _share_interval(a: _Answers, hit: Mask, group: Integers) -> Interval:
    """Wilson's: of images by patients where these are known, else of images."""
    if a.unit == "patient":
        return rate_interval(hit, group)
    return wilson(int(hit.sum()), len(hit))


def _rates(a: _Answers, is_positive: Mask, called_positive: Mask) -> dict[str, Measure]:
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
    entries: dict[str, Measure] = {}
    for name, (hit, base, reason) in rates.items():
        k, n = int((hit & base).sum()), int(base.sum())
        if n == 0:
            entries[name] = _undefined(0, reason)
            continue
        low, high = _share_interval(a, hit[base], a.group[base])
        independent = wilson(k, n) if a.unit == "patient" else (None, None)
        entries[name] = Measure(
            value=k / n,
            n=n,
            k=k,
            ci_low=low,
            ci_high=high,
            ci_kind=f"{a.prefix}wilson",
            wilson_low=independent[0],
            wilson_high=independent[1],
        )
    return entries


def _measured(value: float, n: int, ends: Interval, kind: str) -> Measure:
    return Measure(value=value, n=n, ci_low=ends[0], ci_high=ends[1], ci_kind=kind)


def _undefined(n: int, reason: str) -> Measure:
    return Measure(value=None, n=n, ci_low=None, ci_high=None, ci_kind=None, reason=reason)
