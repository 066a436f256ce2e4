"""A web server on this machine that misbehaves as it is told."""

import hashlib
import http.server
import io
import socket
import struct
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Page:
    """One file and the manners it is served with.

    Attributes:
        body: its bytes.
        drop_after: the connection is cut after so many bytes of each answer.
        drops: how many answers are cut; the rest are whole.
        ranges: answer Range requests with 206.
        tag: send an ETag (of the bytes at that time); without it there is no way to name a version.
        weak: the ETag is weak.
        lie: added to Content-Length.
        chunked: send no Content-Length.
        failures: status codes of the first answers.
        then: the bytes after the first answer, where the file changes.
        wrong_range: 206 answers begin at another byte than asked for.
    """

    body: bytes
    drop_after: int | None = None
    drops: int = 0
    ranges: bool = True
    tag: bool = True
    weak: bool = False
    lie: int = 0
    chunked: bool = False
    failures: list[int] = field(default_factory=list)
    then: bytes | None = None
    wrong_range: bool = False


class Server(http.server.ThreadingHTTPServer):
    """Serves ``pages`` (path -> Page) and keeps the ``asked`` (path, Range header)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append((self.path, asked))
        page = self.server.pages.get(self.path)
        self.close_connection = True
        if page is None:
            self.send_error(404)
            return
        if page.failures:
            self.send_error(page.failures.pop(0))
            return
        body = page.body
        if page.then is not None:
            page.body, page.then = page.then, None
        tag = f'"{hashlib.md5(body).hexdigest()}"'
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and page.ranges else 0
        if self.headers.get("If-Range", tag) != tag:
            start = 0
        if start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            start += page.wrong_range
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if page.tag:
            self.send_header("ETag", f"W/{tag}" if page.weak else tag)
        rest = body[start:]
        if page.chunked:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(rest) + page.lie))
        self.end_headers()
        if page.drop_after is not None and page.drops > 0:
            page.drops -= 1
            self.wfile.write(rest[: page.drop_after])
            self.wfile.flush()
            # A reset instead of a goodbye, as when a line breaks; every other one is a silent end.
            if page.drops % 2:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        self.wfile.write(rest)


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()
