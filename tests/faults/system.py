"""What a full disk, a read-only folder and too little memory are made of: the real things, for one child.

Every function here changes the process that calls it and nothing else.
"""

import ctypes
import os
import resource
from pathlib import Path

_NEW_MOUNTS = 0x20000
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 32, 4096, 16384, 1 << 18
_NOBODY = 65534


class NotHere(Exception):
    """This system does not let the test make the fault; the words say why."""


def _libc(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        raise NotHere(f"{name}: {os.strerror(ctypes.get_errno())}")


def _mount(what: str, where: Path, kind: str | None, flags: int, options: str | None = None) -> None:
    texts = [None if text is None else text.encode() for text in (what, str(where), kind, options)]
    _libc("mount", texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3])


def own_mounts() -> None:
    """What is mounted from now on is seen by this process and its children alone."""
    _libc("unshare", _NEW_MOUNTS)
    _mount("none", Path("/"), None, _RECURSIVE | _PRIVATE)


def small_disk(folder: Path, kib: int) -> None:
    """A disk of so many KiB."""
    _mount("none", folder, "tmpfs", 0, f"size={kib}k")


def larger_disk(folder: Path, kib: int) -> None:
    """The same disk with more room."""
    _mount("none", folder, None, _REMOUNT, f"size={kib}k")


def read_only(folder: Path) -> None:
    """The folder on a file system that can't be written."""
    _mount(str(folder), folder, None, _BIND)
    _mount("none", folder, None, _REMOUNT | _BIND | _READ_ONLY)


def as_nobody() -> None:
    """No more rights than the modes of files give to others; who is not root has no more anyway."""
    if os.geteuid() == 0:
        os.seteuid(_NOBODY)


def largest_file(size: int) -> None:
    """No file may grow beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def memory_left(mib: int) -> None:
    """This process may take so many MiB more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + mib * 1024**2
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def children() -> list[int]:
    """Process ids of this process's children."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
