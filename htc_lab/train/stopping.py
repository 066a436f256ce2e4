"""A training that is asked to stop ends between two steps, after writing its checkpoint."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopAsked:
    """Whether a stop has been asked for."""

    def __init__(self) -> None:
        self.asked = False

    def __bool__(self) -> bool:
        return self.asked


@contextmanager
def stopping_between_steps(alone: bool) -> Iterator[StopAsked]:
    """Inside this block, the first SIGINT or SIGTERM is only noted; a second one interrupts at once.

    Signals only reach a process's main thread. In other threads, and if several processes train together (one
    that stops by itself would leave the others waiting), they do what they did before.

    Args:
        alone: whether this is the only process of the training.
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
            # None means a handler that was not set from Python: it can't be restored, so use the default.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
