"""When memory runs out: what to lower, and how to continue the run."""

import errno
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from htc_lab.errors import InputError
from htc_lab.schedule import Schedule

# What torch, its libraries and its loader say where there is no exception class. oneDNN "could not create a
# primitive" if there is no memory for its code; if it doesn't support an operation, it says "descriptor".
_WORDS = re.compile(
    "can't allocate memory|Cannot allocate memory|out of memory|STATUS_ALLOC_FAILED|MemoryError|bad_alloc|"
    "Insufficient memory|could not create a primitive(?! descriptor)"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the CPU or a GPU, in this process or in one that reads images."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and _WORDS.search(str(error)) is not None


def lost_reader(error: BaseException) -> bool:
    """Whether a process that reads images was killed, or has no shared memory in which to pass images on."""
    # It was killed while an image was being passed on.
    if isinstance(error, ConnectionResetError | ConnectionRefusedError | EOFError):
        return True
    text = str(error)
    return (
        isinstance(error, RuntimeError)
        and "DataLoader worker" in text
        and ("killed by signal" in text or "exited unexpectedly" in text or "shared memory" in text)
    )


@contextmanager
def memory_explained(
    run: Path, schedule: Schedule, processes: int, workers: int, device: str
) -> Iterator[None]:
    """Wrap a training: running out of memory becomes one line.

    Args:
        run: the folder, whose last checkpoint is kept.
        schedule: of the run.
        processes: how many share a batch.
        workers: how many read images for each of these.
        device: where the model is.

    Raises:
        InputError: memory ran out; the message names what to lower.
    """
    try:
        yield
    except (RuntimeError, MemoryError, OSError, EOFError) as error:
        if workers and lost_reader(error):
            _hear_no_more_of_readers()
            raise InputError(
                f"{run}: a process that reads images was killed or had no memory ({_reason(error)}); "
                f"give fewer --workers (now {workers}; 0: none), or more shared memory (docker: --shm-size); "
                "the run goes on from its last checkpoint"
            ) from None
        if not is_out_of_memory(error):
            raise
        raise InputError(
            f"{run}: out of memory on {device} ({_reason(error)}); "
            f"{_advice(run, schedule, processes, workers)}"
        ) from None


def _hear_no_more_of_readers() -> None:
    """Stop torch from raising a reader's death wherever the program happens to be, even in its last words."""
    if hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _reason(error: BaseException) -> str:
    """The informative line of a message that may contain the whole traceback of another process."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if _WORDS.search(line)]
    return (telling or lines or [type(error).__name__])[0][:200]


def _advice(run: Path, schedule: Schedule, processes: int, workers: int) -> str:
    fewer = f"; fewer --workers (now {workers}) help too" if workers else ""
    own = schedule.batch // processes
    parts = [n for n in range(schedule.accumulate + 1, own + 1) if own % n == 0]
    if parts:
        return (
            f"start the same command with --accumulate {parts[0]}, which splits the {own} images of a step "
            f"into {parts[0]} parts, and the run goes on from its last checkpoint{fewer}"
        )
    return (
        "a step takes one image at a time already: close other programs, or start a new run with --amp (on a "
        f"GPU) or on smaller pictures (image.train_short of the preset) and --init {run}{fewer}"
    )
