"""Only one process at a time trains in a run folder.

The lock is the operating system's, taken by ``filelock``: it ends with the process that holds it, however
that process ends, so a killed training never blocks the next one. A forked child (a process that reads
images) does not keep it. It works over NFS and other shared file systems as far as these have locks.
"""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor

from htc_lab.errors import InputError

LOCK = "run.lock"

# Seconds: a killed process may take a moment to end, and one whose run is finished only reads it briefly.
_PATIENCE = 2.0

_NO_RIGHT = (errno.EROFS, errno.EACCES, errno.EPERM)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def only_here(run: Path) -> Iterator[bool]:
    """Create the folder and hold its lock.

    Yields:
        Whether the lock is held. It isn't if this process may only read a run's folder (and so can't disturb
        it), or if the file system has no locks, which is reported on stderr.

    Raises:
        InputError: another process holds the lock, or the folder can't be created.
    """
    lock = FileLock(
        run / LOCK,
        timeout=_PATIENCE,
        thread_local=False,
        # A marker file, filelock's substitute where there are no locks, would outlive a killed process.
        fallback_to_soft=False,
        preserve_lock_file=True,
        on_acquired=lambda handle: _sign(handle, run),
    )
    held = False
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        held = True
    except Timeout:
        raise InputError(
            f"{run}: {_holder(run)} is training in it; wait for it, stop it, or choose another --run"
        ) from None
    except OSError as error:
        if error.errno in _NO_LOCKS:
            print(
                f"note: {run}: its file system has no locks ({error.strerror}); see that no other "
                "process trains in this folder",
                file=sys.stderr,
            )
        elif error.errno not in _NO_RIGHT or not (run / "config.json").is_file():
            raise InputError(f"{run}: cannot be written ({error.strerror}); choose another --run") from None
    try:
        yield held
    finally:
        lock.release()


@dataclass(frozen=True)
class Signature:
    """The process that took the lock last; :func:`is_held` says whether it is still held.

    Attributes:
        pid: the process.
        host: the machine it ran on.
        at: when, seconds since 1970.
    """

    pid: int
    host: str
    at: float


def _sign(handle: int, run: Path) -> None:
    """Write the holder's name into the lock file, after a first byte, which Windows lets nobody else read."""
    try:
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, f" {os.getpid()} {socket.gethostname()}\n".encode())
    except OSError as error:
        raise InputError(f"{run}: cannot be written ({error.strerror}); free space there") from None


def signature(run: Path) -> Signature | None:
    """The process that took the run's lock last; None if there is none or the file can't be read."""
    try:
        with (run / LOCK).open("rb", buffering=0) as file:
            file.seek(1 if sys.platform == "win32" else 0)
            pid, host = file.read().decode().split()
            at = os.fstat(file.fileno()).st_mtime
            return Signature(int(pid), host, at) if pid.isdecimal() else None
    except (OSError, ValueError):
        return None


def _holder(run: Path) -> str:
    signed = signature(run)
    return f"process {signed.pid} on {signed.host}" if signed else "another process"


def is_held(run: Path) -> bool:
    """Whether any process, including this one, is training in the folder now."""
    try:
        with (run / LOCK).open("r+b", buffering=0) as file:
            return not lock_descriptor(file.fileno(), blocking=False)
    except OSError:
        return False
