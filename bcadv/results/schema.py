"""The content of ``results.json``: what was tested, under which conditions, with which numbers.

Writers build these models and readers get them back, so nobody guesses from the spelling of a name
whether something is an attack, which norm it has, in which unit its strength is, or whether a
model is defended.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import Field, ValidationError, model_validator

from bcadv.errors import BcadvError
from bcadv.results.base import Model
from bcadv.results.condition import CLEAN, Condition, Plain
from bcadv.results.effort import Effort
from bcadv.results.files import RESULTS

SCHEMA_VERSION = 4


class Measure(Model):
    """One metric with its 95 % interval.

    Attributes:
        value: the estimate; ``None`` where it is undefined.
        n: number of images it rests on; of patients, where patients are what is averaged over.
        k: number of those counted, for rates.
        ci_low: lower end of the interval.
        ci_high: upper end.
        ci_kind: how the interval was made.
        wilson_low: for rates where patients are known, the lower end were images independent.
        wilson_high: the same, upper end.
        reason: why the value is undefined.
    """

    value: float | None
    n: int = Field(ge=0)
    k: int | None = Field(default=None, ge=0)
    ci_low: float | None = None
    ci_high: float | None = None
    ci_kind: str | None = None
    wilson_low: float | None = None
    wilson_high: float | None = None
    reason: str = ""


class Row(Model):
    """A model under one choice of BatchNorm statistics and one condition.

    Attributes:
        batchnorm: ``as_trained``, ``clean`` or ``noisy``.
        condition: its id.
        n: number of images.
        n_patients: number of known patients; ``None`` where none is known.
        metrics: by name, see `bcadv.metrics.robustness.summarise`.
    """

    batchnorm: str
    condition: str
    n: int = Field(ge=1)
    n_patients: int | None = None
    metrics: Mapping[str, Measure]

    @model_validator(mode="after")
    def _numbers(self) -> Row:
        absent = [name for name in REQUIRED if name not in self.metrics]
        if absent:
            raise ValueError(f"{self.condition} lacks {', '.join(absent)}")
        if self.metrics["accuracy"].value is None:
            raise ValueError(f"{self.condition} has no accuracy")
        return self


class CorruptionError(Model):
    """What a model gets wrong under a corruption, or under all of them.

    Attributes:
        batchnorm: ``as_trained``, ``clean`` or ``noisy``.
        corruption: its series; ``None``: the mean over all corruptions (mCE, not normalised).
        label: what people call it.
        conditions: ids of what the mean is over: the severities.
        error: 1 minus the accuracy, the mean over the severities; of all, the mean of that.
    """

    batchnorm: str
    corruption: str | None
    label: str
    conditions: tuple[str, ...] = Field(min_length=1)
    error: Measure


REQUIRED = ("accuracy", "robust_accuracy", "sensitivity", "specificity", "auroc", "ece")
"""Metrics that every row has, if only to say why one is undefined."""


class Defence(Model):
    """What was done to make a model robust; ``none`` is the only undefended kind.

    Attributes:
        kind: ``none``, ``noise`` (Li & Liu 2023), or another way.
        settings: its options, e.g. ``{"sigma": 0.1, "probability": 1.0, "noise": "gaussian"}``.
        label: what people call it, e.g. ``noise σ=0.1``.
    """

    kind: str = Field(min_length=1)
    settings: Mapping[str, Plain] = Field(default_factory=dict)
    label: str

    @property
    def none(self) -> bool:
        """Whether the model is undefended."""
        return self.kind == "none"


UNDEFENDED = Defence(kind="none", label="undefended")


class TaskSection(Model):
    """What the outputs mean.

    Attributes:
        kind: one of K classes.
        classes: their names, in the order of the outputs.
        positive: numbers of the classes that count as the disease.
        positive_by: who chose them: the ``user``, the ``source``, or mere ``order`` of names.
    """

    kind: Literal["multiclass"]
    classes: tuple[str, ...] = Field(min_length=1)
    positive: tuple[int, ...]
    positive_by: Literal["user", "source", "order"]

    @model_validator(mode="after")
    def _known(self) -> TaskSection:
        if any(not 0 <= number < len(self.classes) for number in self.positive):
            raise ValueError(f"positive is {self.positive}, of {len(self.classes)} classes")
        return self

    @property
    def positive_name(self) -> str:
        """Names of the positive classes."""
        return ", ".join(self.classes[number] for number in self.positive)


class RunSection(Model):
    """The job itself: what was asked, when, by which code."""

    experiment: str
    name: str
    command: str
    overrides: tuple[str, ...] = ()
    key: str | None = None
    sweep: str | None = None
    job: int | None = None
    started: str
    finished: str = Field(min_length=1)
    seed: int
    git_commit: str | None = None


class DataSection(Model):
    """Which images, how they were split, and what the parts share.

    Attributes:
        source: its name on the command line.
        words: what the images are, for a sentence.
        label: the same in a word or two.
        synthetic: whether they are painted, so that nothing medical follows from them.
        tumours: whether a positive class is a cancer.
        content: digest of all images and their classes, whatever the split; ``None``: not known.
        split: the rule, or ``file``.
        fold: which fold was tested, where the split has folds.
        folds: how many there are in a cross-validation by patient.
        digests: part of the split -> digest of its images and their classes, wherever they lie.
        bits: that pixels are kept in, 8 or 16.
        white: the value of the files that is white; ``None`` where not one value goes for all.
    """

    source: str
    words: str = ""
    label: str = ""
    synthetic: bool
    tumours: bool = False
    content: str | None = None
    split: str
    fold: int | None = None
    folds: int | None = None
    counts: Mapping[str, Mapping[str, int]]
    patient_overlap: float | None = None
    overlap: Mapping[str, Any]
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    digests: Mapping[str, str] = Field(default_factory=dict)
    bits: Literal[8, 16] = 8
    white: float | None = None

    @model_validator(mode="after")
    def _tested(self) -> DataSection:
        if not self.counts.get("test"):
            raise ValueError("no test images are counted")
        return self


class ModelSection(Model):
    """The tested model.

    Attributes:
        architecture: name of the network.
        weights: digest of the tested weights.
        crop: side of the square that it sees, in pixels.
        resize: shorter side before the crop, in pixels; ``None``: as stored.
        defence: what was done to make it robust.
        settings: of the network.
        batchnorm: choices of BatchNorm statistics that were tested, the first one shown.
        has_batchnorm: whether the network has BatchNorm layers at all.
    """

    architecture: str
    weights: str
    crop: int
    resize: int | None
    defence: Defence
    settings: Mapping[str, Any] = Field(default_factory=dict)
    batchnorm: tuple[str, ...] = Field(min_length=1)
    has_batchnorm: bool = True


class TrainingSection(Model):
    """How the model was trained."""

    epochs: int
    seconds: float
    reused: bool
    fingerprint: str
    shape: Mapping[str, Any]
    checkpoint: str
    checkpoint_epoch: int
    precision: str
    injection: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    batch_size: int


class SurrogateSection(Model):
    """Another trained model that an attack was made on.

    Attributes:
        attack: the row of the catalog.
        fingerprint: of what shaped the model.
        architecture: name of its network.
        seed: that it was trained with; ``None``: not known.
        weights: digest of the weights that were used.
        checkpoint: which epoch's they are, ``best`` or ``last``.
    """

    attack: str
    fingerprint: str
    architecture: str
    seed: int | None
    weights: str
    checkpoint: str


class PicturesSection(Model):
    """What the pictures of the job show.

    Attributes:
        batchnorm: the choice of BatchNorm statistics.
        series: the attack whose images were kept; ``None`` where nothing was attacked.
    """

    batchnorm: str
    series: str | None = None


Outcome: TypeAlias = Literal["ok", "failed", "unknown"]


class Finding(Model):
    """What a check found.

    Attributes:
        id: of the check, e.g. ``strength_zero``.
        title: what ought to hold, as a phrase.
        outcome: whether it does.
        evidence: the numbers behind it.
        batchnorm: of the tested model; ``None``: of all.
        taints: ids of the conditions whose numbers a failure makes suspect; empty: all.
        value: what was measured.
        threshold: beyond which the check fails.
    """

    id: str
    title: str
    outcome: Outcome
    evidence: str
    batchnorm: str | None = None
    taints: tuple[str, ...] = ()
    value: float | None = None
    threshold: float | None = None


class Result(Model):
    """A finished job's ``results.json``.

    Attributes:
        conditions: everything that the model was measured under, clean first.
        rows: numbers, one row per choice of BatchNorm statistics and condition.
        efforts: what each attack achieved and cost, under each choice of statistics.
        corruption_errors: of each corruption and of all; empty where nothing was corrupted.
        surrogates: the other models that attacks were made on.
        findings: what the checks found.
        files: name -> SHA-256 of the files beside it that the numbers rest on.
    """

    schema_version: Literal[4] = 4
    run: RunSection
    task: TaskSection
    data: DataSection
    model: ModelSection
    training: TrainingSection
    pictures: PicturesSection
    conditions: tuple[Condition, ...]
    rows: tuple[Row, ...] = Field(min_length=1)
    efforts: tuple[Effort, ...] = ()
    corruption_errors: tuple[CorruptionError, ...] = ()
    surrogates: tuple[SurrogateSection, ...] = ()
    findings: tuple[Finding, ...] = ()
    files: Mapping[str, str] = Field(default_factory=dict)
    environment: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> Result:
        known = {condition.id for condition in self.conditions}
        if len(known) < len(self.conditions):
            raise ValueError("a condition stands twice")
        strange = [row.condition for row in self.rows if row.condition not in known]
        if strange:
            raise ValueError(f"a row is about {strange[0]}, which is no condition")
        lost = [i for of in self.corruption_errors for i in of.conditions if i not in known]
        if lost:
            raise ValueError(f"a corruption error is about {lost[0]}, which is no condition")
        keys = [(row.batchnorm, row.condition) for row in self.rows]
        if len(set(keys)) < len(keys):
            raise ValueError("a row stands twice")
        variants = {row.batchnorm for row in self.rows}
        lacking = [v for v in variants if (v, CLEAN.id) not in keys]
        if lacking:
            raise ValueError(f"there is no row of clean images under {lacking[0]}")
        return self

    @cached_property
    def by_id(self) -> dict[str, Condition]:
        """The conditions by their ids."""
        return {condition.id: condition for condition in self.conditions}

    def relabelled(self, labels: Mapping[str, str]) -> Result:
        """The same with other labels of its conditions.

        Args:
            labels: series -> label.
        """
        conditions = (
            c.model_copy(update={"label": labels.get(c.series, c.label)}) for c in self.conditions
        )
        parts = {name: getattr(self, name) for name in type(self).model_fields}
        return Result(**parts | {"conditions": tuple(conditions)})

    def condition_of(self, row: Row) -> Condition:
        """What a row was measured under."""
        return self.by_id[row.condition]

    def clean_rows(self) -> list[Row]:
        """The rows of clean images, one per choice of BatchNorm statistics."""
        return [row for row in self.rows if row.condition == CLEAN.id]

    def failed(self) -> list[Finding]:
        """The checks that failed."""
        return [finding for finding in self.findings if finding.outcome == "failed"]


def write_result(result: Result) -> str:
    """The file's text."""
    return json.dumps(result.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"


def read_result(path: Path) -> tuple[Result, bytes]:
    """Reads a ``results.json``.

    Args:
        path: the file, or the folder that holds it.

    Returns:
        The content, and the SHA-256 of the file.

    Raises:
        BcadvError: it is missing, damaged or of another schema version.
    """
    path = path / RESULTS if path.is_dir() else path
    try:
        content = path.read_bytes()
        raw = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise BcadvError(f"{path} cannot be read ({error}); run the job again.") from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA_VERSION:
        raise BcadvError(
            f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}; "
            "run the job again with this version."
        )
    try:
        return Result.model_validate(raw), hashlib.sha256(content).digest()
    except (ValidationError, RecursionError) as error:
        raise BcadvError(f"{path} is damaged: {_first(error)}; run the job again.") from error


def _first(error: Exception) -> str:
    """The first of pydantic's findings, with its place."""
    if not isinstance(error, ValidationError):
        return str(error)
    found = error.errors()[0]
    place = ".".join(map(str, found["loc"]))
    what = str(found["msg"]).removeprefix("Value error, ")
    return f"{place}: {what[0].lower()}{what[1:]}" if place else what
