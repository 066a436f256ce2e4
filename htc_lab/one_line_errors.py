"""How programs end if something is wrong with their input or with the machine: with one line."""

import errno
import os
import sys
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager

from htc_lab.errors import InputError, in_one_line


@contextmanager
def one_line() -> Iterator[None]:
    """Wrap a program: one line on stderr and exit code 2 for bad input, a full disk or too little memory.

    A bug in the lab itself still shows its traceback.
    """
    try:
        yield
    except BrokenPipeError:
        # The program that read the output (head, less) has seen enough.
        _drop_output()
        sys.exit(1)
    except (InputError, OSError, RuntimeError, MemoryError) as error:
        reason = str(error) if isinstance(error, InputError) else _reason(error)
        if reason is None:
            raise
        print(f"error: {InputError(reason)}", file=sys.stderr)
        sys.exit(2)


def _drop_output() -> None:
    """Discard the rest of the output, so that flushing it at exit can't fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _reason(error: Exception) -> str | None:
    """What went wrong with the machine and how to fix it; None for a bug in the lab itself."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; check the path, its permissions and the free space"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EIO):
        _drop_output()
        return f"the output cannot be written ({error.strerror}); free up space, or send it elsewhere"
    if isinstance(error, BrokenExecutor):
        return (
            "a worker process was killed, as the system does when memory is short; close other programs and "
            "run the same command again"
        )

    from htc_lab.train.out_of_memory import is_out_of_memory

    if not is_out_of_memory(error):
        return None
    return (
        f"out of memory ({in_one_line(error)}); close other programs, or use smaller pictures or a smaller "
        "model; what was saved is kept"
    )
