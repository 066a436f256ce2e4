"""Only one process at a time trains in a run folder.

The lock is the operating system's: it is released when the process that holds it ends, for whatever reason,
so a killed training never blocks the next. It works on NFS and other shared file systems that support locks.
"""

import errno
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from htc_lab.errors import InputError

LOCK = "run.lock"

# Seconds: a killed process may take a moment to end, and one whose run is finished only reads it briefly.
_PATIENCE = 2.0

_NO_RIGHT = (errno.EROFS, errno.EACCES, errno.EPERM)
_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)

# Open locks of this process.
_held: set[int] = set()

if sys.platform == "win32":
    import msvcrt

    def _try(handle: int) -> None:
        # On Windows, others can't read locked bytes; those that name the process must stay readable.
        os.lseek(handle, 1 << 20, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _let_go() -> None:
        for handle in _held:
            os.close(handle)
        _held.clear()

    # A forked child (a process that reads images) would otherwise hold the lock after its parent was killed.
    os.register_at_fork(after_in_child=_let_go)


@contextmanager
def only_here(run: Path) -> Iterator[bool]:
    """Create the folder and hold its lock.

    Yields:
        Whether the lock is held. It isn't if this process may only read a run's folder (and so can't disturb
        it), or if the file system has no locks, which is reported on stderr.

    Raises:
        InputError: another process holds the lock, or the folder can't be created.
    """
    path = run / LOCK
    try:
        run.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
    except OSError as error:
        if error.errno in _NO_RIGHT and (run / "config.json").is_file():
            yield False
            return
        raise InputError(f"{run}: cannot be written ({error.strerror}); choose another --run") from None
    _held.add(handle)
    try:
        yield _take(handle, run)
    finally:
        if handle in _held:
            _held.remove(handle)
            os.close(handle)


def _take(handle: int, run: Path) -> bool:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            _try(handle)
            break
        except OSError as error:
            if error.errno not in _TAKEN:
                print(
                    f"note: {run}: its file system has no locks ({error.strerror}); make sure that no other "
                    "process trains in this folder",
                    file=sys.stderr,
                )
                return False
            if time.monotonic() > end:
                raise InputError(
                    f"{run}: {_holder(run)} is training in it; wait for it, stop it, or choose another --run"
                ) from None
        time.sleep(0.05)
    try:
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, f"{os.getpid()} {socket.gethostname()}\n".encode())
    except OSError as error:
        raise InputError(f"{run}: cannot be written ({error.strerror}); free space there") from None
    return True


def _holder(run: Path) -> str:
    """The process that wrote the lock file, described in words."""
    try:
        number, host = (run / LOCK).read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return "another process"
    return f"process {number} on {host}"


def is_held(run: Path) -> bool:
    """Whether any process, including this one, is training in the folder now."""
    try:
        handle = os.open(run / LOCK, os.O_RDWR | getattr(os, "O_BINARY", 0))
    except OSError:
        return False
    try:
        _try(handle)
    except OSError as error:
        return error.errno in _TAKEN
    finally:
        os.close(handle)
    return False
