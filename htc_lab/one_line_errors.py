"""How programs end where something is wrong with what they were given, or with the machine: in one line."""

import errno
import os
import sys
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager

from htc_lab.errors import InputError, in_one_line


@contextmanager
def one_line() -> Iterator[None]:
    """Around a program: one line on stderr and exit code 2 for bad input, full disks and want of memory.

    What is a fault of the lab's own stays a traceback.
    """
    try:
        yield
    except BrokenPipeError:
        # Whoever read the output (head, less) has seen enough.
        _drop_output()
        sys.exit(1)
    except (InputError, OSError, RuntimeError, MemoryError) as error:
        reason = str(error) if isinstance(error, InputError) else _reason(error)
        if reason is None:
            raise
        print(f"error: {InputError(reason)}", file=sys.stderr)
        sys.exit(2)


def _drop_output() -> None:
    """What is left of the output must not be flushed at exit, where that fails again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _reason(error: Exception) -> str | None:
    """What went wrong with the machine and its mend; None for a fault of the lab's own."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; check the path, its permissions and the room there"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EIO):
        _drop_output()
        return f"the output cannot be written ({error.strerror}); free space, or send it elsewhere"
    if isinstance(error, BrokenExecutor):
        return (
            "a process that helps was killed, as the system does where memory is short; close other programs "
            "and give the same command again"
        )

    from htc_lab.train.out_of_memory import is_out_of_memory

    if not is_out_of_memory(error):
        return None
    return (
        f"out of memory ({in_one_line(error)}); close other programs, or give smaller pictures or a smaller "
        "model; what was saved stays"
    )
