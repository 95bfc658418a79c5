"""A job's predictions table, read column by column and kept small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bcadv.errors import BcadvError
from bcadv.results.condition import CLEAN, Condition
from bcadv.results.files import PREDICTIONS
from bcadv.study.jobs import Job

_NAMED = ("batchnorm", "condition")
_TEXTS = ("image_id", "patient", *_NAMED)
_NUMBERS = ("target", "prediction")
_SPENT = ("queries", "broken_after")
"""Columns that older results lack."""


@dataclass(frozen=True)
class Images:
    """The n test images, in the order of their names.

    Attributes:
        image_id: names, (n,) of str.
        target: class indices, (n,).
        group: name of each image's patient, or of the image where its patient is unknown, with a
            word that keeps the two apart, (n,).
        of_known: whether the patient is known, (n,).
        positive: whether the class counts as positive, (n,).
        patients: names of the known patients.
    """

    image_id: NDArray[Any]
    target: NDArray[np.int16]
    group: NDArray[Any]
    of_known: NDArray[np.bool_]
    positive: NDArray[np.bool_]
    patients: frozenset[str]

    def same_as(self, other: Images) -> bool:
        """Whether both are the same images of the same classes."""
        return np.array_equal(self.image_id, other.image_id) and np.array_equal(
            self.target, other.target
        )


@dataclass(frozen=True)
class Spent:
    """What a black box spent on n images, at all its strengths together.

    Attributes:
        broken_after: queries of each image when it was known to be broken, -1: it stands, (n,).
        most: queries that an image cost.
    """

    broken_after: NDArray[np.int64]
    most: int


@dataclass(frozen=True)
class Answers:
    """What a model says about n images under one condition.

    Attributes:
        prediction: class indices, (n,).
        called_positive: whether the predicted class counts as positive, (n,).
        score: probability of the positive classes together, (n,).
        confidence: probability of the likeliest class, (n,).
        spent: of a black box, when it broke the images; ``None`` where that was not counted.
    """

    prediction: NDArray[np.int16]
    called_positive: NDArray[np.bool_]
    score: NDArray[np.float32]
    confidence: NDArray[np.float32]
    spent: Spent | None = None


def read_answers(job: Job) -> tuple[Images, dict[str, dict[Condition, Answers]]]:
    """Reads the predictions of a job.

    Returns:
        The images, and BatchNorm variant -> condition -> answers.

    Raises:
        BcadvError: if the file cannot be read, lacks a column, does not hold every image once under
            every condition, or disagrees with the job's ``results.json``.
    """
    path = job.unharmed(PREDICTIONS)
    classes = [f"p_{c}" for c in range(len(job.classes))]
    positive = np.array(job.result.task.positive, dtype=np.int16)
    try:
        spent = [name for name in _SPENT if name in pq.read_schema(path).names]
        columns = [*_TEXTS, *_NUMBERS, *spent, *classes]
        table = pq.read_table(path, columns=columns, use_threads=False, memory_map=True)
        absent = {*_TEXTS, *_NUMBERS, *classes} - set(table.column_names)
        if absent:
            raise BcadvError(f"{path} lacks the column(s) {', '.join(sorted(absent))}.")
        text = {name: _encoded(table.column(name)) for name in _TEXTS}
        target, prediction = (table.column(n).to_numpy().astype(np.int16) for n in _NUMBERS)
        probability = np.stack(
            [table.column(name).to_numpy().astype(np.float32) for name in classes], axis=1
        )
        counts = {name: _counts(table.column(name)) for name in spent}
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BcadvError(f"{path} cannot be read ({error}); run the job again.") from error

    image_code, image_id = text["image_id"]
    rank = np.argsort(np.argsort(image_id))[image_code]
    # One number per variant and condition: far quicker to sort than two columns.
    levels = [len(text[name][1]) for name in _NAMED]
    codes = np.ravel_multi_index([text[name][0] for name in _NAMED], levels)
    conditions, condition_code = np.unique(codes, return_inverse=True)
    order = np.lexsort((rank, condition_code))
    n, count = len(image_id), len(conditions)
    if len(order) != n * count or not np.array_equal(
        rank[order].reshape(count, n), np.broadcast_to(np.arange(n), (count, n))
    ):
        raise BcadvError(f"{path} does not hold every image once under every condition.")
    by_condition = order.reshape(count, n)
    first = by_condition[0]
    if not (target[by_condition] == target[first]).all():
        raise BcadvError(f"{path} gives an image different classes under different conditions.")

    names = np.sort(image_id)
    patient_code, patients = text["patient"]
    group = np.array(
        [
            f"image {name}" if code < 0 else f"patient {patients[code]}"
            for name, code in zip(names, patient_code[first], strict=True)
        ],
        dtype=object,
    )
    images = Images(
        names,
        target[first],
        group,
        patient_code[first] >= 0,
        np.isin(target[first], positive),
        frozenset(str(patients[code]) for code in patient_code[first] if code >= 0),
    )
    answers: dict[str, dict[Condition, Answers]] = {}
    named = zip(*np.unravel_index(conditions, levels), by_condition, strict=True)
    for batchnorm, condition, rows in named:
        name = str(text["condition"][1][condition])
        if name not in job.result.by_id:
            raise BcadvError(f"{path} is about {name}, which results.json does not know.")
        key = job.result.by_id[name]
        of_condition = probability[rows]
        answers.setdefault(text["batchnorm"][1][batchnorm], {})[key] = Answers(
            prediction[rows],
            np.isin(prediction[rows], positive),
            of_condition[:, positive].sum(axis=1),
            of_condition.max(axis=1),
            _spent(counts, rows) if key.black_box and key.strength > 0 else None,
        )
    _agree(job, images, answers)
    return images, answers


def _counts(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Whole numbers, -1 where there is none."""
    whole = column.cast(pa.int64(), safe=False).fill_null(-1)
    counts: NDArray[np.int64] = whole.to_numpy().astype(np.int64)
    return counts


def _spent(counts: Mapping[str, NDArray[np.int64]], rows: NDArray[np.intp]) -> Spent | None:
    """When images broke; ``None`` where a table does not say it, or nobody counted queries."""
    if len(counts) < len(_SPENT):
        return None
    queries, broken_after = (counts[name][rows] for name in _SPENT)
    most = int(queries.max(initial=0))
    return Spent(broken_after, most) if most > 0 else None


def _encoded(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Codes, -1 for what is missing, and the texts that they stand for."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, np.array(encoded.dictionary.to_pylist(), dtype=object)


def _agree(job: Job, images: Images, answers: Mapping[str, Mapping[Condition, Answers]]) -> None:
    for row in job.result.rows:
        condition = job.result.condition_of(row)
        given = answers.get(row.batchnorm, {}).get(condition)
        right = None if given is None else int((given.prediction == images.target).sum())
        if right != row.metrics["accuracy"].k:
            raise BcadvError(
                f"{job.folder}: {PREDICTIONS} and results.json disagree on {condition.text}, so "
                "they are not of one run; run the job again."
            )
    for variant in answers:
        if CLEAN not in answers[variant]:
            raise BcadvError(f"{job.folder / PREDICTIONS} has no clean rows; run the job again.")
