"""Downloads over a real socket: what is asked of the server, and what is left on disk."""

from __future__ import annotations

import hashlib
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bcadv import fetch
from bcadv.errors import BcadvError
from bcadv.fetch import CHUNK_BYTES, ChecksumError, DownloadError, download
from tests.http_server import Served, Server

CONTENT = random.Random(0).randbytes(5 * CHUNK_BYTES + 77)
OTHER = random.Random(1).randbytes(len(CONTENT))


def checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def get(url: str, target: Path, content: bytes | None = CONTENT, **options: float) -> str:
    expected = None if content is None else checksum(content)
    return download(url, target, sha256=expected, progress=False, **options)  # type: ignore[arg-type]


def leftovers(target: Path) -> list[str]:
    return sorted(p.name for p in target.parent.iterdir() if p != target and p.suffix != ".lock")


def test_a_file_arrives_whole_under_its_own_name(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "weights.pt"
    url = server.offer("/f", Served(CONTENT))
    assert get(url, target) == checksum(CONTENT)
    assert target.read_bytes() == CONTENT
    assert leftovers(target) == []


@pytest.mark.parametrize("content", [CONTENT, None])
def test_a_file_that_is_there_costs_no_request(
    server: Server, tmp_path: Path, content: bytes | None
) -> None:
    target = tmp_path / "f"
    url = server.offer("/f", Served(CONTENT))
    get(url, target)
    server.requests.clear()
    assert get(url, target, content, size=len(CONTENT)) == checksum(CONTENT)
    assert server.requests == []


def test_the_checksum_may_be_given_in_capitals(server: Server, tmp_path: Path) -> None:
    url = server.offer("/f", Served(CONTENT))
    assert download(url, tmp_path / "f", sha256=checksum(CONTENT).upper(), progress=False)


def test_another_file_under_the_name_is_replaced(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "f"
    target.write_bytes(OTHER)
    get(server.offer("/f", Served(CONTENT)), target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("etag", "modified"), [('"v1"', None), (None, "Wed, 01 Jan 2020 00:00:00 GMT")]
)
def test_a_dropped_connection_goes_on_where_it_stopped(
    server: Server, tmp_path: Path, etag: str | None, modified: str | None
) -> None:
    target = tmp_path / "f"
    cut = 2 * CHUNK_BYTES + 5
    served = Served(CONTENT, etag=etag, modified=modified, cuts=[cut, None])
    get(server.offer("/f", served), target)
    assert target.read_bytes() == CONTENT
    first, second = server.requests
    assert first.range is None
    start = int(str(second.range).removeprefix("bytes=").removesuffix("-"))
    assert cut - CHUNK_BYTES < start <= cut
    assert second.if_range == (etag or modified)
    assert (second.status, second.sent) == (206, len(CONTENT) - start)


def test_a_slow_start_does_not_use_up_the_attempts(server: Server, tmp_path: Path) -> None:
    cuts: list[int | None] = [CHUNK_BYTES + 1] * 5 + [None]
    get(server.offer("/f", Served(CONTENT, cuts=cuts)), tmp_path / "f")
    assert len(server.requests) == 6 > fetch.ATTEMPTS


def test_a_server_that_always_breaks_off_is_given_up(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "f"
    url = server.offer("/f", Served(CONTENT, cuts=[10]))
    with pytest.raises(DownloadError) as failure:
        get(url, target)
    assert len(server.requests) == fetch.ATTEMPTS
    for part in (url, str(target), checksum(CONTENT), "By hand"):
        assert part in str(failure.value)
    assert not target.exists()


def test_a_part_is_kept_for_the_next_call(server: Server, tmp_path: Path) -> None:
    served = Served(CONTENT, cuts=[2 * CHUNK_BYTES, 0, 0, 0, 0, None])
    url = server.offer("/f", served)
    with pytest.raises(DownloadError):
        get(url, tmp_path / "f")
    server.requests.clear()
    served.cuts = [None]
    get(url, tmp_path / "f")
    assert [seen.status for seen in server.requests] == [206]


@pytest.mark.parametrize("validators", [True, False])
def test_a_server_without_ranges_starts_over(
    server: Server, tmp_path: Path, validators: bool
) -> None:
    etag = '"v1"' if validators else None
    served = Served(CONTENT, etag=etag, ranges=not validators, cuts=[3 * CHUNK_BYTES, None])
    get(server.offer("/f", served), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert [seen.status for seen in server.requests] == [200, 200]
    # Without a validator nobody can tell whether the file changed in between.
    assert (server.requests[1].range is None) == (not validators)


@pytest.mark.parametrize("etag", ['"v1"', 'W/"v1"'])
@pytest.mark.parametrize("if_range", [True, False])
def test_a_changed_file_is_not_glued_to_an_old_part(
    server: Server, tmp_path: Path, if_range: bool, etag: str
) -> None:
    target = tmp_path / "f"
    url = server.offer("/f", Served(CONTENT, etag=etag, cuts=[3 * CHUNK_BYTES, 0]))
    with pytest.raises(DownloadError):
        get(url, target, None)
    server.offer("/f", Served(OTHER, etag='"v2"', if_range=if_range))
    assert get(url, target, None) == checksum(OTHER)


def test_a_weak_entity_tag_promises_nothing(server: Server, tmp_path: Path) -> None:
    cuts = [3 * CHUNK_BYTES, None]
    get(server.offer("/f", Served(CONTENT, etag='W/"v1"', cuts=cuts)), tmp_path / "f")
    assert [seen.range for seen in server.requests] == [None, None]


def test_a_part_of_another_address_is_not_continued(server: Server, tmp_path: Path) -> None:
    url = server.offer("/f", Served(CONTENT, cuts=[3 * CHUNK_BYTES, 0]))
    with pytest.raises(DownloadError):
        get(url, tmp_path / "f")
    assert get(server.offer("/g", Served(OTHER)), tmp_path / "f", OTHER)
    assert server.requests[-1].range is None


def test_a_part_without_its_note_is_not_continued(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(OTHER[:1000])
    (tmp_path / "f.part.json").write_text('{"url": ')
    assert get(server.offer("/f", Served(CONTENT)), tmp_path / "f")


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "f"
    url = server.offer("/f", Served(OTHER))
    with pytest.raises(ChecksumError) as failure:
        get(url, target)
    for part in (url, checksum(CONTENT), checksum(OTHER), "removed"):
        assert part in str(failure.value)
    assert not target.exists()
    assert leftovers(target) == []


def test_a_wrong_size_is_refused_before_the_bytes_are_fetched(
    server: Server, tmp_path: Path
) -> None:
    url = server.offer("/f", Served(CONTENT))
    with pytest.raises(ChecksumError, match=f"offers {len(CONTENT)} bytes where 12"):
        get(url, tmp_path / "f", size=12)
    assert leftovers(tmp_path / "f") == []


def test_a_missing_file_is_reported_at_once(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"404 Not Found.*By hand: download http"):
        get(server.url("/nowhere"), tmp_path / "f")
    assert len(server.requests) == 1


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    url = server.offer("/f", Served(CONTENT, statuses=[503, 429]))
    assert get(url, tmp_path / "f") == checksum(CONTENT)


def test_a_refused_range_starts_over(server: Server, tmp_path: Path) -> None:
    served = Served(CONTENT, cuts=[2 * CHUNK_BYTES, 0])
    url = server.offer("/f", served)
    with pytest.raises(DownloadError):
        get(url, tmp_path / "f")
    served.statuses, served.cuts = [416], [None]
    assert get(url, tmp_path / "f") == checksum(CONTENT)
    assert server.requests[-1].range is None


def test_a_silent_server_runs_into_the_time_limit(server: Server, tmp_path: Path) -> None:
    url = server.offer("/f", Served(CONTENT, stall=10))
    with pytest.raises(DownloadError, match=r"no byte arrived within 0\.05 s"):
        get(url, tmp_path / "f", timeout_s=0.05)


def test_a_closed_port_is_one_clear_sentence(server: Server, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(DownloadError, match="no connection to the server"):
            get(f"http://127.0.0.1:{port}/f", tmp_path / "f")


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://host/f", "host/f", "http:///f"])
def test_only_http_is_spoken(tmp_path: Path, url: str) -> None:
    with pytest.raises(BcadvError, match="http://"):
        get(url, tmp_path / "f")


def test_a_place_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BcadvError, match="cannot write"):
        get(server.offer("/f", Served(CONTENT)), tmp_path / "file" / "f")


@pytest.mark.parametrize("wait_for", [0, CHUNK_BYTES])
def test_a_killed_download_goes_on(server: Server, tmp_path: Path, wait_for: int) -> None:
    target = tmp_path / "f"
    served = Served(CONTENT, stall=3 * CHUNK_BYTES)
    url = server.offer("/f", served)
    code = (
        "import sys; from pathlib import Path; from bcadv.fetch import download; "
        "assert 'torch' not in sys.modules; "
        f"download({url!r}, Path({str(target)!r}), sha256=None, progress=False)"
    )
    part = target.with_name("f.part")
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        deadline = time.monotonic() + 20
        while not part.exists() or part.stat().st_size < wait_for:
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
    assert not target.exists()
    have = part.stat().st_size
    served.stall = None
    server.requests.clear()
    assert get(url, target) == checksum(CONTENT)
    assert [(seen.range, seen.sent) for seen in server.requests] == [
        (f"bytes={have}-" if have else None, len(CONTENT) - have)
    ]


def test_a_kill_between_the_last_byte_and_the_rename_costs_no_request(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    url = server.offer("/f", Served(CONTENT))
    with monkeypatch.context() as patch:
        patch.setattr(fetch._Part, "become", killed)
        with pytest.raises(KeyboardInterrupt):
            get(url, tmp_path / "f")
    server.requests.clear()
    assert get(url, tmp_path / "f") == checksum(CONTENT)
    assert server.requests == []


def test_parallel_jobs_fetch_a_file_once(server: Server, tmp_path: Path) -> None:
    url = server.offer("/f", Served(CONTENT, stall=CHUNK_BYTES))
    code = (
        "from pathlib import Path; from bcadv.fetch import download; print('ready', flush=True); "
        f"download({url!r}, Path({str(tmp_path / 'f')!r}), sha256={checksum(CONTENT)!r})"
    )
    command = [sys.executable, "-c", code]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    with children[0] as one, children[1] as two:
        for child in (one, two):
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        time.sleep(0.2)
        server.release.set()
    assert [child.returncode for child in children] == [0, 0]
    assert len(server.requests) == 1
