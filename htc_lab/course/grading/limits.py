"""Untrusted code under a time limit: it may be wrong, hang or crash, and the caller carries on.

Where the system can fork safely (Linux), the work is done in a child process: an endless loop is killed, even
inside C code, and a crash or an exit ends only the child. Elsewhere it is done in this process, and after the
time limit the main thread is interrupted: this stops Python loops, but neither a single C call that never
returns nor a crash of the interpreter.
"""

import _thread
import contextlib
import ctypes
import faulthandler
import io
import json
import os
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Work = Callable[[], dict[str, Any]]

CAN_FORK = sys.platform == "linux"

_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Ended:
    """How the work ended.

    Attributes:
        how: "done"; "late": stopped at the time limit; "died": the process ended or returned no result.
        value: what the work returned, if it is done.
        words: the cause, if it died.
    """

    how: Literal["done", "late", "died"]
    value: dict[str, Any] | None = None
    words: str = ""


def run_limited(work: Work, seconds: float, prepare: Callable[[], None] | None = None) -> Ended:
    """Do the work within a time limit.

    Args:
        work: returns something JSON can represent. What it prints is discarded.
        seconds: the time limit.
        prepare: called first in the child process, to give up rights; not called where there is no child.
    """
    return _in_child(work, seconds, prepare) if CAN_FORK else run_here(work, seconds)


def _in_child(work: Work, seconds: float, prepare: Callable[[], None] | None) -> Ended:
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python warns that forking a process with threads may deadlock; if it does, the time limit ends it.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(reader)
        _be_the_child(work, writer, prepare)
    os.close(writer)
    status: int | None = None
    try:
        data, late = _read(reader, time.monotonic() + seconds)
    finally:
        os.close(reader)
        # The child leads a process group of its own, so whatever it has started ends with it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if late:
        return Ended("late")
    try:
        value = json.loads(data)
    except ValueError:
        return Ended("died", words=_cause(status))
    return Ended("done", value) if isinstance(value, dict) else Ended("died", words=_cause(status))


def _be_the_child(work: Work, writer: int, prepare: Callable[[], None] | None) -> None:
    """Do the work, send the result, and exit without running any of the parent's clean-up."""
    try:
        os.setsid()
        _die_with_parent()
        faulthandler.disable()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.stdout = sys.stderr = io.StringIO()
        import torch

        # The parent's worker threads don't exist here, and waiting for them would take forever.
        torch.set_num_threads(1)
        if prepare is not None:
            prepare()
        data = json.dumps(work()).encode()
        while data:
            data = data[os.write(writer, data) :]
    except MemoryError:
        os._exit(_NO_MEMORY)
    except BaseException:
        os._exit(_RAISED)
    finally:
        os._exit(0)


_NO_MEMORY, _RAISED = 77, 78
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Have this process killed when its parent dies; a grandchild's group would not be ended otherwise."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _cause(status: int) -> str:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        return f"the process was ended by {signal.Signals(os.WTERMSIG(status)).name}"
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == _NO_MEMORY:
        return "it used more memory than it may"
    return "it ended the process"


def _read(reader: int, deadline: float) -> tuple[bytes, bool]:
    """Everything received until the other end is closed, and whether the time ran out first."""
    data = b""
    while len(data) <= _MOST_BYTES:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            return data, True
        part = os.read(reader, 1 << 16)
        if not part:
            break
        data += part
    return data, False


def run_here(work: Work, seconds: float) -> Ended:
    """Do the work in this process. Only the main thread can be interrupted; any other has no time limit."""
    fired = threading.Event()

    def stop() -> None:
        fired.set()
        _thread.interrupt_main()

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    main = threading.current_thread() is threading.main_thread()
    # A process may have been started with interrupts ignored, as a shell does for background jobs.
    before = signal.signal(signal.SIGINT, signal.default_int_handler) if main else None
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            if main:
                timer.start()
            value = work()
            timer.cancel()
        return Ended("done", value)
    except KeyboardInterrupt:
        if fired.is_set():
            return Ended("late")
        raise
    except SystemExit:
        return Ended("died", words="it ended the process")
    except MemoryError:
        return Ended("died", words="it used more memory than it may")
    finally:
        timer.cancel()
        if main:
            signal.signal(signal.SIGINT, before)
