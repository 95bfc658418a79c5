"""Resumable, checksummed download over HTTP. Imports neither torch nor anything else heavy."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3
from filelock import FileLock
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from bcadv.errors import BcadvError
from bcadv.files import sha256_of

CHUNK_BYTES = 64 * 1024
ATTEMPTS = 4
"""Attempts in a row that may gain less than one chunk before the download is given up."""
BACKOFF_S = 0.5
"""Pause before the second attempt, in seconds; it doubles with each further one."""

_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_logger = logging.getLogger(__name__)


class ChecksumError(BcadvError):
    """What was fetched is not the file that was asked for; nothing of it was kept."""


class DownloadError(BcadvError):
    """The file could not be fetched: no network, no such file, a server that breaks off."""


class _RetryError(Exception):
    """An attempt ended early for a reason that may pass; the message says which."""


@dataclass(frozen=True)
class _Remote:
    """Which version of which remote file the part on disk belongs to.

    Attributes:
        url: where the part came from.
        etag: strong entity tag, or ``None``; a weak one doesn't promise equal bytes.
        modified: the ``Last-Modified`` header, or ``None``.
        total: length of the whole file in bytes, or ``None`` where the server doesn't say.
    """

    url: str
    etag: str | None
    modified: str | None
    total: int | None

    @property
    def validator(self) -> str | None:
        """The value for ``If-Range`` (RFC 9110, section 13.1.5); ``None`` forbids resuming."""
        return self.etag or self.modified

    @classmethod
    def of(cls, url: str, headers: requests.structures.CaseInsensitiveDict[str]) -> _Remote:
        etag = headers.get("ETag")
        length = headers.get("Content-Length", "")
        return cls(
            url=url,
            etag=None if etag is None or etag.startswith("W/") else etag,
            modified=headers.get("Last-Modified"),
            total=int(length) if length.isdecimal() else None,
        )


@dataclass(frozen=True)
class _Part:
    """The unfinished file and the note that says what it is a part of."""

    path: Path
    note: Path

    @classmethod
    def beside(cls, target: Path) -> _Part:
        name = f"{target.name}.part"
        return cls(target.with_name(name), target.with_name(f"{name}.json"))

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def remote(self, url: str) -> _Remote | None:
        """What the part belongs to; ``None`` where it is of no use for ``url``."""
        if not self.path.exists():
            return None
        try:
            remote = _Remote(**json.loads(self.note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return remote if remote.url == url else None

    def begin(self, remote: _Remote) -> None:
        """Forgets the old part before the note names a new one, so a kill never mixes the two."""
        self.discard()
        fresh = self.note.with_name(f"{self.note.name}.new")
        fresh.write_text(json.dumps(asdict(remote)), encoding="utf-8")
        fresh.replace(self.note)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def become(self, target: Path) -> None:
        # Flushed before the rename: after a power cut a file under its final name is whole.
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(target)
        self.note.unlink(missing_ok=True)


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    size: int | None = None,
    progress: bool = True,
    timeout_s: float = 30.0,
) -> str:
    """Fetches a file once; a broken-off download goes on where it stopped.

    The bytes gather in ``<target>.part`` and take the name ``target`` only when they are complete
    and checked, so the process may be killed at any moment. ``<target>.part.json`` names the
    version of the remote file: a part is never continued with bytes of another version. A lock
    file lets parallel jobs ask for the same target.

    Args:
        url: an http or https address.
        target: where the file belongs; its folder is made. A file that is already there with the
            expected checksum and size is left alone and no request is made.
        sha256: expected checksum in hexadecimal digits; ``None`` where none is known.
        size: expected length in bytes; ``None`` where unknown.
        progress: whether to show a progress bar on standard error.
        timeout_s: seconds without a byte after which the server counts as silent.

    Returns:
        The sha256 of the file, in lower-case hexadecimal digits.

    Raises:
        ChecksumError: if the bytes are not those expected; they are removed.
        DownloadError: if the file can't be fetched; what arrived is kept for the next attempt.
        BcadvError: if ``url`` is not http or https, or ``target`` can't be written.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BcadvError(f"cannot fetch {url!r}: the address must begin with http:// or https://.")
    expected = None if sha256 is None else sha256.lower()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f"{target.name}.lock")):
            there = _digest_if_complete(target, expected, size)
            if there is not None:
                return there
            return _Download(url, target, expected, size, timeout_s).run(progress)
    except OSError as error:
        raise BcadvError(
            f"cannot write {target}: {error.strerror or error}; free the place or choose another."
        ) from error


def _digest_if_complete(target: Path, expected: str | None, size: int | None) -> str | None:
    if not target.is_file():
        return None
    digest = sha256_of(target)
    if expected in {None, digest} and size in {None, target.stat().st_size}:
        return digest
    _logger.warning("%s is not the expected file (sha256 %s); fetching it again", target, digest)
    return None


class _Download:
    """One file on its way, over as many attempts as it takes."""

    def __init__(
        self, url: str, target: Path, sha256: str | None, size: int | None, timeout_s: float
    ) -> None:
        self.url = url
        self.target = target
        self.sha256 = sha256
        self.size = size
        self.timeout_s = timeout_s
        self.part = _Part.beside(target)

    def run(self, progress: bool) -> str:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True)
        with (
            requests.Session() as session,
            Progress(*columns, console=console, disable=not progress) as bar,
        ):
            self._until_complete(session, bar, bar.add_task(self.target.name, total=self.size))
        return self._accept()

    def _until_complete(self, session: requests.Session, bar: Progress, task: TaskID) -> None:
        fruitless = 0
        while True:
            before = self.part.size
            try:
                self._attempt(session, bar, task)
            except _RetryError as reason:
                fruitless = 1 if self.part.size - before >= CHUNK_BYTES else fruitless + 1
                if fruitless >= ATTEMPTS:
                    raise self._failed(f"{reason} ({ATTEMPTS} attempts)") from reason
                _logger.warning("%s: %s; trying again", self.url, reason)
                time.sleep(BACKOFF_S * 2 ** (fruitless - 1))
            else:
                return

    def _attempt(self, session: requests.Session, bar: Progress, task: TaskID) -> None:
        known = self.part.remote(self.url)
        have = self.part.size if known is not None else 0
        if known is not None and have == known.total:
            return
        # A compressed transfer would have other lengths and offsets than the file itself.
        headers = {"Accept-Encoding": "identity"}
        if known is not None and known.validator is not None and have > 0:
            headers |= {"Range": f"bytes={have}-", "If-Range": known.validator}
        try:
            with session.get(self.url, headers=headers, stream=True, timeout=self.timeout_s) as got:
                total = self._prepare(got, known, have)
                bar.update(task, completed=self.part.size, total=total)
                with self.part.path.open("ab") as file:
                    for chunk in got.raw.stream(CHUNK_BYTES, decode_content=False):
                        file.write(chunk)
                        bar.advance(task, len(chunk))
        except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
            raise _RetryError(f"no byte arrived within {self.timeout_s:g} s") from error
        except (
            requests.exceptions.InvalidURL,
            requests.exceptions.InvalidSchema,
            requests.TooManyRedirects,
        ) as error:
            raise self._failed(f"the address leads nowhere: {error}") from error
        except requests.ConnectionError as error:
            raise _RetryError(f"no connection to the server ({type(error).__name__})") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _RetryError(f"the connection broke off at byte {self.part.size}") from error
        # urllib3 before 2.0 takes a body that ends too soon for a whole one.
        if total is not None and self.part.size != total:
            raise _RetryError(f"{self.part.size} of {total} bytes arrived")

    def _prepare(self, got: requests.Response, known: _Remote | None, have: int) -> int | None:
        """Readies the part for the answer's bytes and returns the length of the whole file."""
        offered = _Remote.of(self.url, got.headers)
        if got.status_code == 206 and known is not None:
            span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", got.headers.get("Content-Range", ""))
            same = (offered.etag, offered.modified) == (known.etag, known.modified)
            if span is None or int(span[1]) != have or int(span[2]) != known.total or not same:
                self.part.discard()
                raise _RetryError("the file on the server changed, starting over")
            return known.total
        if got.status_code == 416:
            self.part.discard()
            raise _RetryError("the server refused to go on, starting over")
        if got.status_code in _TRANSIENT_STATUS:
            raise _RetryError(f"the server answered {got.status_code} {got.reason}")
        if got.status_code != 200:
            raise self._failed(f"the server answered {got.status_code} {got.reason}")
        if None not in {self.size, offered.total} and self.size != offered.total:
            self.part.discard()
            raise ChecksumError(
                f"{self.url} offers {offered.total} bytes where {self.size} were expected; "
                f"the address does not hold that file. {self._by_hand()}"
            )
        self.part.begin(offered)
        return offered.total

    def _accept(self) -> str:
        digest, length = sha256_of(self.part.path), self.part.size
        if self.sha256 not in {None, digest} or self.size not in {None, length}:
            self.part.discard()
            wanted = f"sha256 {self.sha256}" if self.sha256 else f"{self.size} bytes"
            raise ChecksumError(
                f"{self.url} delivered {length} bytes with sha256 {digest} where {wanted} was "
                f"expected; the file was removed. Run again, and if it stays so the address and "
                f"the checksum do not belong together. {self._by_hand()}"
            )
        self.part.become(self.target)
        return digest

    def _failed(self, reason: str) -> DownloadError:
        return DownloadError(f"cannot fetch {self.url}: {reason}. {self._by_hand()}")

    def _by_hand(self) -> str:
        checksum = f" (sha256 {self.sha256})" if self.sha256 else ""
        return (
            f"By hand: download {self.url} on another machine and put it at "
            f"{self.target}{checksum}."
        )
