"""A training that is asked to stop ends between two steps, with its checkpoint written."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopAsked:
    """Whether somebody has asked."""

    def __init__(self) -> None:
        self.asked = False

    def __bool__(self) -> bool:
        return self.asked


@contextmanager
def stopping_between_steps(alone: bool) -> Iterator[StopAsked]:
    """While this holds, the first SIGINT or SIGTERM is only noted; a second one interrupts at once.

    Signals reach a process's main thread alone. Elsewhere, and where several processes train together (one
    that stops by itself would leave the others waiting), they do what they did before.

    Args:
        alone: whether no other process trains along.
    """
    stop = StopAsked()
    if not alone or threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            # None stands for one that was not set from Python: it can't be named, so the default comes back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
