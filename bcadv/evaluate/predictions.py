"""Predictions on their way to disk: a part per batch, then one table, never all of it in memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bcadv.errors import BcadvError
from bcadv.files import beside, write_atomically
from bcadv.metrics.fall import Fall, ends
from bcadv.results.condition import CLEAN, Condition

if TYPE_CHECKING:
    from bcadv.callbacks.evaluate import Cost

KEY = "key.json"
COST = {
    "gradients": pa.int64(),
    "queries": pa.int64(),
    "distance": pa.float64(),
    "broken_by": pa.string(),
    "broken_after": pa.int64(),
}
"""Columns of what a perturbation says of its work."""

ROWS = 1 << 16
"""Rows of a row group of the finished table, and so what a reader holds at a time."""


class Answered(Protocol):
    """What a model says about the n images of a batch under one condition."""

    @property
    def condition(self) -> Condition: ...
    @property
    def index(self) -> npt.NDArray[np.int64]: ...
    @property
    def target(self) -> npt.NDArray[np.int64]: ...
    @property
    def prediction(self) -> npt.NDArray[np.int64]: ...
    @property
    def size(self) -> npt.NDArray[np.float64]: ...
    @property
    def probability(self) -> npt.NDArray[np.float64]: ...
    @property
    def cost(self) -> Cost: ...


class PredictionParts:
    """The answers of an evaluation under way: a file per batch and process.

    A process that is killed loses the batch at hand; the next one finds the others.

    Args:
        folder: of the parts, shared by all processes of the job.
        key: names all that the answers depend on; parts of another key are not used.
        rank: number of this process.
        size: number of processes.
        pieces: files that the answers to a batch are written in, one after the other.
    """

    def __init__(
        self, folder: Path, key: str, rank: int = 0, size: int = 1, pieces: int = 1
    ) -> None:
        self.folder, self.key, self.rank, self.size = folder, key, rank, size
        self.pieces = pieces

    def begin(self) -> None:
        """Makes the folder, and removes what another evaluation left there; for one process."""
        wanted = {"key": self.key, "processes": self.size, "pieces": self.pieces}
        try:
            found = json.loads((self.folder / KEY).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if found != wanted:
            self.remove()
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(".*.tmp"):
            left.unlink()
        if found != wanted:
            write_atomically(self.folder / KEY, json.dumps(wanted))

    def answered(self, variant: str, batch: int) -> bool:
        """Whether this process's part of a batch is there, whole or not."""
        pieces = range(self.pieces)
        return all(self.place(variant, batch, self.rank, piece).is_file() for piece in pieces)

    def has(self, variant: str, batch: int, piece: int = 0) -> bool:
        """Whether a piece of this process's part of a batch is there, whole and unharmed."""
        path = self.place(variant, batch, self.rank, piece)
        if not path.is_file():
            return False
        try:
            _read(path)
        except (OSError, ValueError, pa.ArrowException):
            path.unlink()
            return False
        return True

    def write(self, variant: str, batch: int, answers: Sequence[Answered], piece: int = 0) -> None:
        """Keeps a piece of the answers of a batch, whole or not at all."""
        table = pa.concat_tables([_table(answer) for answer in answers])
        path = self.place(variant, batch, self.rank, piece)
        with beside(path) as place:
            pq.write_table(table, place, write_page_checksum=True)

    def seen(self, variant: str, batches: int) -> pd.DataFrame:
        """What this process's images were answered: index, target, condition, prediction.

        Args:
            variant: choice of BatchNorm statistics; all its batches have been answered.
            batches: of it.
        """
        columns = ["index", "target", "condition", "prediction"]
        places = [
            self.place(variant, batch, self.rank, piece)
            for batch in range(batches)
            for piece in range(self.pieces)
        ]
        tables = [_read(place).select(columns) for place in places]
        frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
        return frame

    def finish(
        self,
        target: Path,
        *,
        variants: Sequence[str],
        batches: int,
        conditions: Sequence[str],
        names: Callable[[int], tuple[str, str | None]],
    ) -> None:
        """Makes one table of all parts; for one process, when all have ended.

        The table has columns image_id, index, patient, target, batchnorm, condition, prediction,
        size, p_0 ... p_{K-1}, and what the perturbation says of its work: gradients, queries,
        distance, broken_by, broken_after (see `bcadv.callbacks.evaluate.Cost`; empty where unknown,
        broken_after also where an image stands). Each row group is about one variant and
        condition, in their order.

        Args:
            target: the ``.parquet`` file.
            variants: choices of BatchNorm statistics.
            batches: of each variant.
            conditions: ids, in the order of the table.
            names: number of an image -> its name and patient.

        Raises:
            BcadvError: a part is missing, or an image is not there exactly once.
        """
        with ExitStack() as stack:
            spill = self.folder / "sorted"
            shutil.rmtree(spill, ignore_errors=True)
            spill.mkdir()
            stack.callback(shutil.rmtree, spill, ignore_errors=True)
            place = stack.enter_context(beside(target))
            self._write_all(place, spill, variants, batches, conditions, names)

    def _write_all(
        self,
        place: Path,
        spill: Path,
        variants: Sequence[str],
        batches: int,
        conditions: Sequence[str],
        names: Callable[[int], tuple[str, str | None]],
    ) -> None:
        writer: pq.ParquetWriter | None = None
        try:
            for variant in variants:
                self._sort(spill, variant, batches, conditions)
                images: npt.NDArray[np.int64] | None = None
                for condition in conditions:
                    seen = []
                    for piece in _pieces(spill / f"{condition}.arrow"):
                        table = _named(piece, variant, condition, names)
                        if writer is None:
                            writer = pq.ParquetWriter(place, table.schema)
                        writer.write_table(table, row_group_size=ROWS)
                        seen.append(piece.column("index").to_numpy())
                    found = np.concatenate(seen) if seen else np.zeros(0, np.int64)
                    images = found if images is None else images
                    if len(np.unique(found)) < len(found) or not np.array_equal(found, images):
                        raise BcadvError(
                            f"{self.folder} does not hold every image once under {condition} "
                            f"(BatchNorm {variant}): remove it and run again."
                        )
        finally:
            if writer is not None:
                writer.close()

    def _sort(self, spill: Path, variant: str, batches: int, conditions: Sequence[str]) -> None:
        """One file per condition, in one pass over the parts."""
        writers: dict[str, pa.RecordBatchStreamWriter] = {}
        with ExitStack() as stack:
            for batch, rank, number in product(
                range(batches), range(self.size), range(self.pieces)
            ):
                path = self.place(variant, batch, rank, number)
                try:
                    table = _read(path)
                except (OSError, ValueError, pa.ArrowException) as error:
                    raise BcadvError(
                        f"{path} is missing or damaged: run again, which does it anew."
                    ) from error
                codes = table.column("condition").to_pylist()
                start = 0
                for name, run in groupby(codes):
                    length = len(list(run))
                    piece = table.slice(start, length).drop_columns(["condition"])
                    start += length
                    if name not in writers:
                        if name not in conditions:
                            raise BcadvError(f"{path} is about {name}: remove it and run again.")
                        writers[name] = stack.enter_context(
                            pa.ipc.new_stream(spill / f"{name}.arrow", piece.schema)
                        )
                    writers[name].write_table(piece)

    def remove(self) -> None:
        """Removes the parts, when the table and the numbers are written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def place(self, variant: str, batch: int, rank: int, piece: int = 0) -> Path:
        """The file of a piece of a process's answers to a batch."""
        return self.folder / f"{variant}-{batch:07d}-{rank}-{piece}.parquet"


def _table(answer: Answered) -> pa.Table:
    columns: dict[str, Any] = {
        "index": answer.index.astype(np.int64),
        "target": answer.target.astype(np.int64),
        "condition": pa.array([answer.condition.id] * len(answer.index), pa.string()),
        "prediction": answer.prediction.astype(np.int64),
        "size": answer.size.astype(np.float64),
    }
    for k in range(answer.probability.shape[1]):
        columns[f"p_{k}"] = np.ascontiguousarray(answer.probability[:, k], dtype=np.float64)
    for name, kind in COST.items():
        value = getattr(answer.cost, name)
        empty = pa.nulls(len(answer.index), kind)
        # An image that stands was broken after no number of queries.
        stands = value < 0 if name == "broken_after" and value is not None else None
        columns[name] = empty if value is None else pa.array(value, kind, mask=stands)
    return pa.table(columns)


def _read(path: Path) -> pa.Table:
    return pq.read_table(path, page_checksum_verification=True, use_threads=False)


def _pieces(path: Path) -> Iterator[pa.Table]:
    """A condition's rows, so many at a time."""
    if not path.is_file():
        return
    with pa.ipc.open_stream(path) as reader:
        waiting: list[pa.RecordBatch] = []
        rows = 0
        for batch in reader:
            waiting.append(batch)
            rows += len(batch)
            if rows >= ROWS:
                yield pa.Table.from_batches(waiting).combine_chunks()
                waiting, rows = [], 0
        if waiting:
            yield pa.Table.from_batches(waiting).combine_chunks()


def _named(
    piece: pa.Table,
    variant: str,
    condition: str,
    names: Callable[[int], tuple[str, str | None]],
) -> pa.Table:
    known = [names(int(number)) for number in piece.column("index").to_numpy()]
    n = len(piece)
    columns: dict[str, Any] = {
        "image_id": pa.array([name for name, _ in known], pa.string()),
        "index": piece.column("index"),
        "patient": pa.array([patient for _, patient in known], pa.string()),
        "target": piece.column("target"),
        "batchnorm": pa.array([variant] * n, pa.string()),
        "condition": pa.array([condition] * n, pa.string()),
    }
    rest = piece.column_names
    columns |= {name: piece.column(name) for name in rest if name not in columns}
    return pa.table(columns)


@dataclass(frozen=True)
class Answers:
    """A model's answers on all images under one condition, in the order of their numbers.

    Attributes:
        distance: of the nearest adversarial image that the attack found, inf where none was, nan
            where none was looked for.
    """

    image_id: npt.NDArray[Any]
    index: npt.NDArray[np.int64]
    patient: npt.NDArray[Any]
    target: npt.NDArray[np.int64]
    prediction: npt.NDArray[np.int64]
    size: npt.NDArray[np.float64]
    probability: npt.NDArray[np.float64]
    distance: npt.NDArray[np.float64]


def read_conditions(path: Path) -> Iterator[tuple[str, str, Answers]]:
    """Reads a predictions table one variant and condition at a time."""
    for variant, condition, frame in read_frames(path):
        yield variant, condition, _answers(frame)


def _answers(frame: pd.DataFrame) -> Answers:
    classes = [name for name in frame if str(name).startswith("p_")]
    unknown = np.full(len(frame), np.nan)
    return Answers(
        frame["image_id"].to_numpy(),
        frame["index"].to_numpy(np.int64),
        frame["patient"].to_numpy(),
        frame["target"].to_numpy(np.int64),
        frame["prediction"].to_numpy(np.int64),
        frame["size"].to_numpy(np.float64),
        frame[classes].to_numpy(np.float64),
        frame["distance"].to_numpy(np.float64, na_value=np.nan) if "distance" in frame else unknown,
    )


def first_to_fall(
    path: Path, variant: str, conditions: Sequence[Condition]
) -> tuple[pd.DataFrame, int]:
    """The images that an attack turns first, and those that hold out longest.

    Args:
        path: of the predictions table; read one condition at a time.
        variant: choice of BatchNorm statistics.
        conditions: of one attack.

    Returns:
        As `bcadv.metrics.fall.order_of_fall`, of a few images; how many of them fell first.
    """
    attacked = {c.id: c for c in conditions if c.strength > 0}
    fall: Fall | None = None
    for of, name, answers in read_conditions(path):
        if of != variant:
            continue
        right = answers.prediction == answers.target
        if name == CLEAN.id:
            fall = Fall(answers.index[right], list(attacked.values()))
        elif name in attacked and fall is not None:
            true = answers.probability[np.arange(len(right)), answers.target]
            fall.see(attacked[name], answers.index, right, true)
        elif name in attacked:
            raise BcadvError(f"{path} does not hold the clean images of {variant!r} first.")
    if fall is None:
        raise BcadvError(f"{path} holds no clean images of {variant!r}.")
    order = fall.order()
    first, last = ends(len(order))
    return pd.concat([order.iloc[:first], order.iloc[len(order) - last :]]), first


def read_frames(path: Path) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """A predictions table as a frame per variant and condition, one at a time."""
    with pq.ParquetFile(path) as file:

        def groups() -> Iterator[tuple[tuple[str, str], pa.Table]]:
            for i in range(file.num_row_groups):
                table = file.read_row_group(i, use_threads=False)
                if len(table):
                    yield (str(table["batchnorm"][0]), str(table["condition"][0])), table

        for (variant, condition), parts in groupby(groups(), key=lambda pair: pair[0]):
            yield variant, condition, pa.concat_tables([table for _, table in parts]).to_pandas()
