"""Downloads that survive a bad connection: resumed where they broke off, verified before they get their name.

A file grows as ``NAME.part``, with ``NAME.part.json`` saying which version of which address it is the
beginning of. Only a complete and verified file is renamed to ``NAME``.
"""

import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tqdm.auto import tqdm

from htc_lab.data.fetch.verify import Digest, file_fault, require_room
from htc_lab.errors import InputError
from htc_lab.files import write_json

_CHUNK = 1 << 20
_LONGEST_PAUSE = 60.0
# Errors that may go away later; any other refusal will be the same next time.
_PASSING = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Patience:
    """How long to try.

    Attributes:
        attempts: give up after this many failures in a row without progress.
        pause: seconds after the first failure; doubled after each further one, up to 60.
        timeout: seconds without a byte that count as a failure.
    """

    attempts: int = 7
    pause: float = 1.0
    timeout: float = 60.0


@dataclass
class _Part:
    """The beginning of a file: ``path`` holds it, ``note`` says which version it is."""

    path: Path
    url: str
    validator: str | None = None
    total: int | None = None
    note: Path = field(init=False)

    def __post_init__(self) -> None:
        self.note = self.path.with_name(self.path.name + ".json")

    def have(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def recall(self) -> None:
        """Take over what an earlier run left, or delete it if it is unknown what it is."""
        try:
            known = json.loads(self.note.read_text(encoding="utf-8"))
            fits = known["url"] == self.url and self.path.is_file()
            self.validator, self.total = known["validator"], known["total"]
        except (OSError, ValueError, KeyError, TypeError):
            fits = False
        if not fits:
            self.forget()

    def begin(self, validator: str | None, total: int | None) -> None:
        self.validator, self.total = validator, total
        try:
            self.path.write_bytes(b"")
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written ({error.strerror}); choose another folder"
            ) from None
        write_json(self.note, {"url": self.url, "validator": validator, "total": total})

    def forget(self) -> None:
        self.validator = self.total = None
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


class _Again(Exception):
    """This attempt failed, but another may succeed."""

    def __init__(self, what: str, after: float | None = None) -> None:
        super().__init__(what)
        self.after = after


def fetch(
    url: str,
    path: Path,
    *,
    size: int | None = None,
    digest: Digest | None = None,
    patience: Patience | None = None,
    progress: bool = True,
) -> Path:
    """Download ``url`` to ``path``; a file that exists and is as it should be is left alone.

    Args:
        url: http or https.
        path: the file to create; its folder is created too.
        size: bytes it must have, if known; otherwise the size that the server reports is used.
        digest: what it must hash to, if known.
        patience: how often and how long to try.
        progress: show a progress bar.

    Returns:
        ``path``.

    Raises:
        InputError: there is no such address, no connection or not enough space, or the bytes are not the ones
            expected; names the address or the file, and a fix.
    """
    path = Path(path)
    patience = patience or Patience()
    if urlsplit(url).scheme not in ("http", "https"):
        raise InputError(f"{url}: is not an http or https address; correct it")
    if path.exists():
        fault = file_fault(path, size, digest, progress)
        if fault:
            raise InputError(f"{path}: {fault}; delete it to download it again")
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{path.parent}: cannot be created ({error.strerror}); choose another folder"
        ) from None
    part = _Part(path.with_name(path.name + ".part"), url)
    part.recall()
    resumed = part.have() > 0
    bar: tqdm[Any] = tqdm(
        desc=path.name,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        initial=part.have(),
        disable=not progress,
    )
    with bar:
        resumed |= _persist(part, size, digest is not None, patience, bar)
        fault = file_fault(part.path, size, digest, progress)
        if fault and resumed:
            # The halves come from different files: only a complete download helps.
            part.forget()
            _persist(part, size, False, patience, bar)
            fault = file_fault(part.path, size, digest, progress)
    if fault:
        part.forget()
        raise InputError(f"{url}: what it serves {fault}; try again later or give another --mirror")
    os.replace(part.path, path)
    part.note.unlink(missing_ok=True)
    return path


def _persist(part: _Part, size: int | None, verifiable: bool, patience: Patience, bar: "tqdm[Any]") -> bool:
    """Try until the part is complete; whether anything was appended to an older beginning."""
    failures, furthest, resumed = 0, part.have(), False
    while True:
        # With neither a version nor a digest, a beginning can't be trusted to fit what follows.
        if part.have() and part.validator is None and not verifiable:
            part.forget()
        resumed |= part.have() > 0
        try:
            _attempt(part, size, patience.timeout, bar)
            return resumed
        except _Again as failure:
            if part.have() > furthest:
                failures, furthest = 0, part.have()
            failures += 1
            if failures >= patience.attempts:
                got = f"{part.have()} of {part.total or size or 'unknown'} bytes are there"
                raise InputError(
                    f"{part.url}: {failure} ({failures} times in a row; {got}); check the connection and run "
                    "it again (it resumes where it stopped), or give another --mirror"
                ) from None
            pause = min(patience.pause * 2 ** (failures - 1), _LONGEST_PAUSE)
            pause = max(pause, min(failure.after or 0.0, _LONGEST_PAUSE))
            tqdm.write(f"{part.url}: {failure}; resuming at byte {part.have()} in {pause:.0f} s")
            time.sleep(pause)


def _attempt(part: _Part, size: int | None, timeout: float, bar: "tqdm[Any]") -> None:
    """One request, appended to the part.

    Raises:
        _Again: the connection broke off, or the server was busy.
        InputError: trying again would not help.
    """
    position = part.have()
    if position and position == (part.total or size):
        return
    headers = {"Accept-Encoding": "identity", "User-Agent": "htc-lab"}
    if position:
        headers["Range"] = f"bytes={position}-"
        if part.validator:
            headers["If-Range"] = part.validator
    try:
        response = urllib.request.urlopen(urllib.request.Request(part.url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            # The server's file ends before ours: it has changed.
            part.forget()
            raise _Again("the file changed on the server") from None
        if error.code in _PASSING:
            raise _Again(f"the server answers {error.code} {error.reason}", _retry_after(error)) from None
        fix = "check the address or give another --mirror"
        raise InputError(f"{part.url}: the server answers {error.code} {error.reason}; {fix}") from None
    except (ValueError, http.client.InvalidURL) as error:
        raise InputError(f"{part.url}: is not a valid address ({error}); correct it") from None
    except (OSError, http.client.HTTPException) as error:
        if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
            raise InputError(
                f"{part.url}: {_say(error)}; correct the clock and certificates, or give another --mirror"
            ) from None
        raise _Again(_say(error)) from None
    with response:
        total = _accept(part, response.status, response.headers, position, size)
        bar.total = total
        bar.n = part.have()
        bar.refresh()
        require_room(part.path.parent, (total or 0) - part.have(), part.path.stem)
        _receive(part, response.read, total, bar)


def _accept(part: _Part, status: int, headers: Message, position: int, size: int | None) -> int | None:
    """Size of the whole file according to this answer; starts over unless the answer continues the part."""
    length = headers.get("Content-Length", "")
    body = int(length) if length.isdecimal() else None
    if status == 206 and position:
        span, _, whole = headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        total = int(whole) if whole.isdecimal() else None
        if not span.startswith(f"{position}-") or (part.total is not None and total != part.total):
            part.forget()
            raise _Again("the server continues a different file")
        return total
    if size is not None and body is not None and body != size:
        part.forget()
        raise InputError(
            f"{part.url}: the server says it has {body} bytes, but the file has {size}; give another --mirror"
        )
    etag = headers.get("ETag")
    # A weak tag doesn't guarantee equal bytes, so it can't be used to join two halves.
    version = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
    part.begin(version, body)
    return body


def _receive(part: _Part, read: Callable[[int], bytes], total: int | None, bar: "tqdm[Any]") -> None:
    with part.path.open("ab") as file:
        while True:
            try:
                block = read(_CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise _Again(_say(error)) from None
            if not block:
                break
            try:
                file.write(block)
            except OSError as error:
                raise InputError(
                    f"{part.path}: cannot be written ({error.strerror}); free space and run it again"
                ) from None
            bar.update(len(block))
        file.flush()
        os.fsync(file.fileno())
    have = part.have()
    if total is not None and have < total:
        raise _Again(f"the connection ended at byte {have} of {total}")
    if total is not None and have > total:
        part.forget()
        raise _Again(f"the server sent more than the {total} bytes it has")


def _say(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return f"no answer ({reason or type(error).__name__})"


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    text = error.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None
