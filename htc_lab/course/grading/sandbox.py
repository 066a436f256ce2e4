"""What the system itself can forbid a process that is about to run untrusted code; Linux only, without root.

Two parts of the kernel do this, and either may be missing: a seccomp filter forbids starting processes,
opening sockets, inspecting or signalling other processes, and changing the permissions and times of files;
Landlock forbids access to all files except those named. The process can't undo any of this later.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER_MODE = 38, 22, 2
_ALLOW, _KILL, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _JUMP_EQUAL, _JUMP_ABOVE, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_CLONE_THREAD = 0x10000
_X32 = 0x40000000

# The kernel's number for each architecture, and its numbers for the calls that are refused there.
_CALLS: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        {
            **{"socket": 41, "socketpair": 53, "fork": 57, "vfork": 58, "execve": 59, "ptrace": 101},
            **{"mount": 165, "unshare": 272, "process_vm_readv": 310, "process_vm_writev": 311},
            **{"bpf": 321, "execveat": 322, "io_uring_setup": 425, "pidfd_send_signal": 424},
            **{"pidfd_open": 434, "pidfd_getfd": 438, "setns": 308, "prlimit64": 302, "rt_sigqueueinfo": 129},
            **{"truncate": 76, "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94},
            **{"utime": 132, "utimes": 235, "fchownat": 260, "futimesat": 261, "fchmodat": 268},
            **{"utimensat": 280, "fchmodat2": 452, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190},
            **{"kill": 62, "tgkill": 234, "tkill": 200, "clone": 56, "clone3": 435},
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            **{"socket": 198, "socketpair": 199, "execve": 221, "ptrace": 117, "mount": 40, "unshare": 97},
            **{"process_vm_readv": 270, "process_vm_writev": 271, "bpf": 280, "execveat": 281},
            **{"io_uring_setup": 425, "pidfd_send_signal": 424, "pidfd_open": 434, "pidfd_getfd": 438},
            **{"setns": 268, "prlimit64": 261, "rt_sigqueueinfo": 138},
            **{"truncate": 45, "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55, "utimensat": 88},
            **{"fchmodat2": 452, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7},
            **{"kill": 129, "tgkill": 131, "tkill": 130, "clone": 220, "clone3": 435},
        },
    ),
}
_OWN_ONLY = ("kill", "tgkill")
"""Allowed only towards the process itself: abort() and the time limits of libraries need them."""


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _filter(own: int) -> bytes | None:
    """The seccomp program for the process with the id ``own``; None on an unknown architecture."""
    known = _CALLS.get(platform.machine())
    if known is None or sys.byteorder != "little":
        return None
    architecture, calls = known
    refuse = _step(_RETURN, _FAIL | errno.EPERM)
    steps = [
        *(_step(_LOAD, _ARCHITECTURE), _step(_JUMP_EQUAL, architecture, 1, 0), _step(_RETURN, _KILL)),
        *(_step(_LOAD, _NUMBER), _step(_JUMP_ABOVE, _X32, 0, 1), refuse),
    ]
    for name, number in calls.items():
        if name == "clone":
            # Starting a thread is allowed.
            steps += [_step(_JUMP_EQUAL, number, 0, 4), _step(_LOAD, _FIRST_ARGUMENT)]
            steps += [_step(_JUMP_ANY_BIT, _CLONE_THREAD, 0, 1), _step(_RETURN, _ALLOW), refuse]
        elif name == "clone3":
            # A filter can't see its flags; told that the call doesn't exist, libraries fall back to clone.
            steps += [_step(_JUMP_EQUAL, number, 0, 1), _step(_RETURN, _FAIL | errno.ENOSYS)]
        elif name in _OWN_ONLY:
            steps += [_step(_JUMP_EQUAL, number, 0, 4), _step(_LOAD, _FIRST_ARGUMENT)]
            steps += [_step(_JUMP_EQUAL, own, 0, 1), _step(_RETURN, _ALLOW), refuse]
        else:
            steps += [_step(_JUMP_EQUAL, number, 0, 1), refuse]
    return b"".join([*steps, _step(_RETURN, _ALLOW)])


def _no_new_rights(libc: ctypes.CDLL) -> bool:
    return libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0


def forbid_calls() -> bool:
    """Forbid this process to start programs and processes, open sockets, and signal or read other processes.

    Threads are still allowed. Refused calls fail with EPERM.

    Returns:
        Whether this is in force now.
    """
    program = _filter(os.getpid()) if sys.platform == "linux" else None
    if program is None:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    return _no_new_rights(libc) and libc.prctl(_PR_SET_SECCOMP, _FILTER_MODE, header, 0, 0) == 0


_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_ONLY, _BENEATH = 1, 1
_EXECUTE, _WRITE, _READ_FILE, _READ_FOLDER = 1, 2, 4, 8
_RIGHTS = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 5: 0xFFFF}
"""By version of Landlock: everything it can forbid about files."""


def forbid_files(readable: Iterable[Path], writable: Iterable[Path]) -> bool:
    """Forbid this process all files and folders except these and what is in them.

    Files that are already open stay open.

    Returns:
        Whether this is in force now.
    """
    if sys.platform != "linux" or sys.byteorder != "little":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_ONLY)
    if version < 1:
        return False
    handled = _RIGHTS[max(v for v in _RIGHTS if v <= version)]
    attributes = struct.pack("=Q", handled)
    rules = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if rules < 0:
        return False
    try:
        for places, rights in ((readable, _READ_FILE | _READ_FOLDER | _EXECUTE), (writable, handled)):
            for place in places:
                if not _allow(libc, rules, place, rights & handled):
                    return False
        return _no_new_rights(libc) and libc.syscall(_RESTRICT_SELF, rules, 0) == 0
    finally:
        os.close(rules)


def _allow(libc: ctypes.CDLL, rules: int, place: Path, rights: int) -> bool:
    """Add a rule for a folder, or for a file, to which folder rights don't apply; skip what doesn't exist."""
    try:
        handle = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        if not place.is_dir():
            rights &= _READ_FILE | _WRITE | _EXECUTE
        attributes = struct.pack("=Qi", rights, handle)
        return libc.syscall(_ADD_RULE, rules, _BENEATH, attributes, 0) == 0
    finally:
        os.close(handle)


def library_folders() -> list[Path]:
    """What a process needs to read to import and run Python libraries, including the lab."""
    package = Path(__file__).resolve().parents[2]
    python = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values()]
    system = [
        "/usr",
        "/lib",
        "/lib32",
        "/lib64",
        "/bin",
        "/opt",
        "/sys/devices/system",
        "/proc/self",
        "/proc/cpuinfo",
    ]
    etc = ["ld.so.cache", "ld.so.conf", "localtime", "fonts", "ssl", "nsswitch.conf"]
    devices = ["null", "zero", "urandom", "random"]
    places = [package, *map(Path, python), *map(Path, system)]
    places += [Path("/etc") / name for name in etc] + [Path("/dev") / name for name in devices]
    return list(dict.fromkeys(place for place in places if place.exists()))
