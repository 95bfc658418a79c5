"""A web server on the loopback interface that misbehaves on request."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """One file and how the server treats requests for it.

    Attributes:
        content: the whole file.
        etag: entity tag; ``None`` sends none.
        modified: ``Last-Modified`` header; ``None`` sends none.
        cuts: for each request in turn the number of body bytes after which the connection is
            dropped (``None``: not at all); the last one holds for all that follow.
        ranges: whether ``Range`` is understood.
        if_range: whether ``If-Range`` is understood; without it a changed file is continued.
        statuses: for each request in turn a status that is answered instead; then none.
        stall: number of body bytes after which the server waits for ``Server.release``.
    """

    content: bytes
    etag: str | None = '"v1"'
    modified: str | None = None
    cuts: list[int | None] = field(default_factory=lambda: [None])
    ranges: bool = True
    if_range: bool = True
    statuses: list[int] = field(default_factory=list)
    stall: int | None = None


@dataclass
class Seen:
    """One request as the server saw it; ``sent`` counts the body bytes written."""

    path: str
    range: str | None
    if_range: str | None
    status: int = 0
    sent: int = 0


class Server:
    """The files on offer and the requests that came in."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.files: dict[str, Served] = {}
        self.requests: list[Seen] = []
        self.release = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def offer(self, path: str, served: Served) -> str:
        self.files[path] = served
        return self.url(path)


@contextmanager
def running_server() -> Iterator[Server]:
    """Serves on a free port of 127.0.0.1 until the block is left."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            del args

        def do_GET(self) -> None:
            seen = Seen(self.path, self.headers.get("Range"), self.headers.get("If-Range"))
            server.requests.append(seen)
            served = server.files.get(self.path)
            if served is None or served.statuses:
                seen.status = 404 if served is None else served.statuses.pop(0)
                self.send_error(seen.status)
                return
            start = _start_of(seen, served)
            seen.status = 200 if start is None else 206
            body = served.content[start or 0 :]
            self.send_response(seen.status)
            self.send_header("Content-Length", str(len(body)))
            if start is not None:
                total = len(served.content)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            if served.etag is not None:
                self.send_header("ETag", served.etag)
            if served.modified is not None:
                self.send_header("Last-Modified", served.modified)
            self.end_headers()
            cut = served.cuts.pop(0) if len(served.cuts) > 1 else served.cuts[0]
            with suppress(BrokenPipeError, ConnectionResetError):
                self._write(seen, served, body[:cut])
            self.close_connection = True

        def _write(self, seen: Seen, served: Served, body: bytes) -> None:
            stop = len(body) if served.stall is None else served.stall
            for piece in (body[:stop], body[stop:]):
                if seen.sent and piece:
                    server.release.wait(30)
                self.wfile.write(piece)
                seen.sent += len(piece)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        server = Server(web.server_port)
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.release.set()
            web.shutdown()
            thread.join()


def _start_of(seen: Seen, served: Served) -> int | None:
    wanted = re.fullmatch(r"bytes=(\d+)-", seen.range or "")
    if wanted is None or not served.ranges:
        return None
    current = {served.etag, served.modified} - {None}
    if served.if_range and seen.if_range is not None and seen.if_range not in current:
        return None
    return int(wanted[1])
