"""The folder of trained models: one entry per fingerprint, trained by one process at a time."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bcadv.errors import BcadvError
from bcadv.files import write_atomically
from bcadv.store import NOT_JOBS
from bcadv.store.fingerprint import differences, digest

FOLDER = "models"
"""Name of the store below the output folder."""

REFERENCE = "model.json"
"""File by which a job folder refers to its model."""

SURROGATES = "surrogates"
"""Key in that file for the other models that the job's attacks are made on."""

_SHAPE = "shape.json"
_TRAINED = "trained.json"
_LOCKS = ".locks"
_USERS = ".users"
_SEAL = "sha256"
"""Key under which a record or a checkpoint keeps the digest of all else in it."""
_KEPT = ("state_dict", "hyper_parameters", "epoch", "global_step", "pytorch-lightning_version")


def job_folders(outputs: Path, files: Sequence[str]) -> list[Path]:
    """The folders below an output folder that hold one of these files of a job, sorted."""
    found = []
    for place, folders, names in os.walk(outputs):
        folders[:] = [f for f in folders if f not in NOT_JOBS and f[0] != "."]
        if not set(files).isdisjoint(names):
            found.append(Path(place))
    return sorted(found)


@dataclass(frozen=True)
class Entry:
    """A trained model, or one in the making.

    Attributes:
        folder: holds ``shape.json`` (what shaped it), ``last.ckpt``, ``best.ckpt``,
            ``history.csv`` and, once training has ended, ``trained.json``, later also
            BatchNorm statistics that the model was evaluated under, and what attacks were
            fitted to.
    """

    folder: Path

    @property
    def history(self) -> Path:
        """Losses and accuracies per epoch."""
        return self.folder / "history.csv"

    @property
    def shape(self) -> dict[str, Any]:
        """What shaped the model; empty where that was never written, or is damaged."""
        return _sealed(self.folder / _SHAPE, by_all_means=False) or {}

    @property
    def trained(self) -> dict[str, Any] | None:
        """What is known of the training once it has ended, else ``None``.

        A record that is damaged is none: what it would vouch for cannot be checked.
        """
        record = _sealed(self.folder / _TRAINED)
        return record if record is not None and _is_whole(record) else None

    @property
    def is_damaged(self) -> bool:
        """Whether its records are missing or cannot be believed."""
        return (self.folder.is_dir() and not self.shape) or (
            (self.folder / _TRAINED).exists() and self.trained is None
        )

    def checkpoint(self, which: str) -> Path:
        """Path of the ``best`` or ``last`` checkpoint."""
        return self.folder / f"{which}.ckpt"

    def statistics(self, which: str, variant: str) -> Path:
        """Path of a checkpoint's BatchNorm statistics on ``clean`` or ``noisy`` images."""
        return self.folder / f"{which}.{variant}.pt"

    def fitted(self, attack: str, name: str) -> Path:
        """Path of what an attack was fitted to on training images; see `bcadv.fitting`."""
        return self.folder / f"fitted.{attack}.{name}.pt"

    def estimated(self, which: str, variants: Sequence[str]) -> dict[str, Path]:
        """Choice -> file of a checkpoint's statistics, for the choices other than as trained."""
        return {v: self.statistics(which, v) for v in variants if v != "as_trained"}

    def begin(self, shape: Mapping[str, Any]) -> None:
        """Makes the folder and writes down what shapes the model."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _seal(shape, self.folder / _SHAPE)

    def finish(self, record: Mapping[str, Any]) -> None:
        """Marks the training as ended.

        Args:
            record: at least ``epochs``, ``seconds``, ``weights`` (digest of the ``best`` and of
                the ``last`` weights) and ``history`` (digest of its file); also ``classes``, their
                names in the order of the outputs.
        """
        _seal(record, self.folder / _TRAINED)

    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in self.folder.glob("*") if file.is_file())


class Store:
    """Trained models below an output folder.

    Args:
        outputs: the output folder.
    """

    def __init__(self, outputs: Path) -> None:
        self.outputs = outputs
        self.root = outputs / FOLDER

    def entry(self, fingerprint: str) -> Entry:
        """The entry of a fingerprint, whether it exists or not."""
        return Entry(self.root / fingerprint)

    def entries(self) -> list[Entry]:
        """All entries, the oldest first."""
        if not self.root.is_dir():
            return []
        folders = [f for f in self.root.iterdir() if f.is_dir() and f.name[0] != "."]
        return [Entry(folder) for folder in sorted(folders, key=lambda f: f.stat().st_mtime)]

    @contextmanager
    def claim(self, fingerprint: str, on_wait: Callable[[], None]) -> Iterator[Entry]:
        """Holds the right to train a model; waits while another process has it.

        The operating system frees the lock of a process that dies, so that a waiting one takes
        over.

        Args:
            fingerprint: names the model.
            on_wait: called once if there is something to wait for.

        Yields:
            The entry; it may have been trained while this process waited.
        """
        lock = self._lock(fingerprint)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait()
            lock.acquire(poll_interval=0.2)
        try:
            yield self.entry(fingerprint)
        finally:
            lock.release()

    def _lock(self, fingerprint: str) -> FileLock:
        folder = self.root / _LOCKS
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{fingerprint}.lock")

    def nearest(self, shape: Mapping[str, Any]) -> list[str]:
        """By what the most similar trained model differs; empty where there is none."""
        found = [differences(shape, e.shape) for e in self.entries() if e.trained is not None]
        return min(found, key=len, default=[])

    def references(self) -> dict[str, list[Path]]:
        """Fingerprint -> job folders that use the model.

        Raises:
            BcadvError: a job's reference is damaged, so that its model cannot be told from one that
                no job uses.
        """
        elsewhere = [
            Path(os.fsdecode(line))
            for file in self.root.glob(f"{_USERS}/*")
            for line in file.read_bytes().splitlines()
        ]
        found: dict[str, list[Path]] = {}
        for folder in [*job_folders(self.outputs, [REFERENCE]), *elsewhere]:
            reference = folder / REFERENCE
            if not reference.exists():  # the job elsewhere was removed
                continue
            record = _read(reference) or {}
            name, others = record.get("fingerprint"), record.get(SURROGATES, [])
            if not isinstance(name, str):
                raise BcadvError(
                    f"{reference} does not say which model its job uses: run that job again, or "
                    "remove its folder."
                )
            for used in (name, *others):
                if folder not in found.get(used, []):
                    found.setdefault(used, []).append(folder)
        return found

    def used_by(self, fingerprint: str, folder: Path) -> None:
        """Remembers a job folder that uses a model and lies outside the output folder."""
        if folder.resolve().is_relative_to(self.outputs.resolve()):
            return
        users = self.root / _USERS
        users.mkdir(parents=True, exist_ok=True)
        with (users / fingerprint).open("ab") as file:
            file.write(os.fsencode(folder.resolve()) + b"\n")

    def remove(self, entry: Entry) -> bool:
        """Removes an entry, unless a process is training it; returns whether it is gone."""
        lock = self._lock(entry.folder.name)
        try:
            with lock.acquire(timeout=0):
                shutil.rmtree(entry.folder)
        except Timeout:
            return False
        return True


def slim(checkpoint: Path, to: Path) -> None:
    """Copies a checkpoint without what only a training needs.

    Args:
        checkpoint: Lightning's, read without executing code.
        to: the copy; a third of the size, for the optimizer's state is twice the model.

    Raises:
        BcadvError: it is missing, or was changed or damaged since it was written.
    """
    try:
        whole = read(checkpoint)
    except Exception as error:  # damage shows itself in many ways
        raise BcadvError(
            f"The stored model {checkpoint} is missing, or was changed or damaged: remove the "
            f"folder {checkpoint.parent} and run its job again."
        ) from error
    save({key: whole[key] for key in _KEPT if key in whole}, to)


def save(content: Mapping[str, Any], path: Path) -> None:
    """Writes a checkpoint that is there whole or not at all, whenever process or machine stop.

    It carries a digest of all that is in it: torch itself reads a file with other bits in it.

    Raises:
        OSError: it cannot be written; names the file.
    """
    write({**content, _SEAL: digest_of(content)}, path)


def read(path: Path) -> dict[str, Any]:
    """Reads a checkpoint that `save` wrote, without executing code.

    Raises:
        OSError: there is none, or it cannot be read.
        ValueError: it was changed or damaged since. (Other damage raises what torch makes of it.)
    """
    import torch  # here, because the command line reads this module before it may be slow

    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or content.pop(_SEAL, "") != digest_of(content):
        raise ValueError("it was changed or damaged")
    return content


def digest_of(value: Any) -> str:
    """SHA-256 of tensors and plain values in plain containers, by their order and types."""
    import torch

    found = hashlib.sha256()

    def take(part: Any) -> None:
        if isinstance(part, torch.Tensor):
            numbers = part.detach().cpu().contiguous()
            found.update(f"tensor {numbers.dtype} {tuple(numbers.shape)}".encode())
            found.update(numbers.flatten().view(torch.uint8).numpy().data)
        elif isinstance(part, Mapping):
            found.update(f"mapping {len(part)}".encode())
            for key, inner in part.items():
                take(key)
                take(inner)
        elif isinstance(part, list | tuple):
            found.update(f"sequence {len(part)}".encode())
            for inner in part:
                take(inner)
        else:
            found.update(f"{part!r};".encode())

    take(value)
    return found.hexdigest()


def write(content: Mapping[str, Any], path: Path) -> None:
    """Writes what torch can save: whole, or not at all.

    Raises:
        OSError: it cannot be written; names the file.
    """
    import torch

    part = path.with_suffix(".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    # In memory first: on a full disk torch's own writer ends with a riddle instead of the reason.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    try:
        with part.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def _is_whole(record: Mapping[str, Any]) -> bool:
    """Whether a record of a training has all that others rely on."""
    weights = record.get("weights")
    return (
        isinstance(record.get("epochs"), int)
        and isinstance(record.get("seconds"), int | float)
        and isinstance(record.get("history"), str)
        and isinstance(weights, dict)
        and all(isinstance(weights.get(which), str) for which in ("best", "last"))
    )


def _seal(record: Mapping[str, Any], path: Path) -> None:
    sealed = {**record, _SEAL: digest(record)}
    write_atomically(path, json.dumps(sealed, indent=2) + "\n")


def _sealed(path: Path, *, by_all_means: bool = True) -> dict[str, Any] | None:
    """What `_seal` wrote, or nothing where it is not that.

    Args:
        path: the file.
        by_all_means: whether a file without a seal is nothing; earlier versions wrote such.
    """
    record = _read(path)
    if record is None:
        return None
    seal = record.pop(_SEAL, None)
    whole = seal == digest(record) or (seal is None and not by_all_means)
    return record if whole else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
