"""Threads that wait, and the cores they wait on.

torch splits an operation among threads, and a thread that is done with its part spins until the others are.
On a free machine that is the fastest way. Where another program keeps a core busy, one of the threads has
no core to run on, and the others keep theirs busy while they wait for it: a picture takes four times as long.

GNU OpenMP, which torch uses on Linux, has an answer built in. If a process has more OpenMP threads than there
are CPUs, they spin for a hundred turns instead of 300,000 and then sleep (GOMP_SPINCOUNT in the manual of
libgomp). So :class:`Sharing` watches how much of the machine other programs use. While that is more than the
lab can spare, it keeps enough additional threads parked for the rule to apply; once the cores are free again,
it lets them go. How work is split does not change, so every number stays the same to the last bit.

In a training, operations take too long for that to be enough. So a training looks once, before its first
step, and then computes on as many threads as there are free cores until its last (:func:`on_free_cores`).
"""

import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch

_PERIOD = 0.2
"""Seconds between two looks."""
_CROWDED = 0.4
"""Cores that other programs must use, on average over two looks, before threads should sleep.

A command that ends at once stays below it, and so does the inaccuracy of the clock."""
_QUIET_LOOKS = 4
"""How many looks in a row must find the cores free before threads spin again."""
_REMEMBERED_LOOKS = 10
"""The number of looks from which a training's number of threads is chosen: two seconds."""
_GRAIN = 32_768
"""Elements from which torch gives an operation to one more thread."""


@dataclass(frozen=True)
class Cores:
    """How much the cores this process may run on were used since some moment in the past.

    Attributes:
        at: time of the look, seconds.
        busy: seconds that these cores together were at work; of a virtual machine, also what its host took.
        own: seconds of processor time of this process.
        count: how many cores.
    """

    at: float
    busy: float
    own: float
    count: int


def look() -> Cores:
    """The cores now."""
    times = os.times()
    cores = psutil.cpu_times(percpu=True)
    if hasattr(os, "sched_getaffinity"):
        cores = [cores[i] for i in os.sched_getaffinity(0) if i < len(cores)] or cores
    # Time of guests is already counted as user time.
    idle = ("idle", "iowait", "guest", "guest_nice")
    busy = sum(sum(core) - sum(getattr(core, name, 0.0) for name in idle) for core in cores)
    return Cores(times.elapsed, busy, times.user + times.system, len(cores))


def taken_by_others(before: Cores, after: Cores) -> float:
    """How many cores other processes kept busy between two looks, on average."""
    passed = max(after.at - before.at, 1e-6)
    return max(0.0, (after.busy - before.busy - (after.own - before.own)) / passed)


class Sharing:
    """Watches the load, and has waiting threads sleep while others need the cores.

    Attributes:
        crowded: whether threads sleep at present.
        paused: leave threads as torch has them; for comparisons.
    """

    def __init__(self, look: Callable[[], Cores] = look, period: float = _PERIOD) -> None:
        self.crowded = self.paused = False
        self._look, self._period = look, period
        self._quiet = 0
        self._parked: list[tuple[threading.Thread, threading.Event]] = []
        self._last = look()
        self._taken: deque[float] = deque(maxlen=_REMEMBERED_LOOKS)

    def start(self) -> None:
        """Watch from now on, in a thread that ends with the process."""
        threading.Thread(target=self._watch, name="htc-lab-sharing", daemon=True).start()

    def update(self) -> None:
        """Look once, and park threads or let them go."""
        now = self._look()
        spare = max(0, now.count - torch.get_num_threads())
        self._taken.append(taken_by_others(self._last, now))
        self._last = now
        lately = list(self._taken)[-2:]
        self._quiet = self._quiet + 1 if sum(lately) / len(lately) - spare < _CROWDED else 0
        if self._quiet == 0 and not self.crowded and not self.paused:
            self._park(now.count)
        elif self.crowded and (self.paused or self._quiet >= _QUIET_LOOKS):
            self.let_go()

    def let_go(self) -> None:
        """Let the parked threads end, so that waiting threads spin again."""
        self.crowded = False
        while self._parked:
            thread, release = self._parked.pop()
            release.set()
            thread.join()

    def free_cores(self) -> int:
        """How many cores others left free in the last two seconds, at least 1; waits for a first look."""
        while not self._taken:
            time.sleep(self._period)
        taken = sum(self._taken) / len(self._taken)
        return max(1, self._last.count - math.ceil(taken - _CROWDED))

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._period):
            self.update()

    def _park(self, cores: int) -> None:
        threads = torch.get_num_threads()
        if threads < 2:
            return
        self.crowded = True
        # The first parallel operation of a thread makes a team of its own: the thread and workers beside it.
        for _ in range(math.ceil((cores + 1 - threads) / (threads - 1))):
            ready, release = threading.Event(), threading.Event()
            thread = threading.Thread(
                target=_wait_with_a_team,
                args=(threads, ready, release),
                name="htc-lab-parked",
                daemon=True,
            )
            thread.start()
            ready.wait()
            self._parked.append((thread, release))


def _wait_with_a_team(threads: int, ready: threading.Event, release: threading.Event) -> None:
    torch.zeros(threads * _GRAIN).add_(1.0)
    ready.set()
    release.wait()


def spins() -> bool:
    """Whether torch's threads are GNU OpenMP's, and nobody has said how they should wait."""
    said = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "HTC_LAB_SHARE_CORES")
    return (
        sys.platform.startswith("linux")
        and not any(os.environ.get(name) for name in said)
        and any("libgomp" in mapped.path for mapped in psutil.Process().memory_maps())
    )


_sharing: Sharing | None = None


def share_cores() -> Sharing | None:
    """Start :class:`Sharing` in this process, once; None where there is nothing to do.

    A person's own ``OMP_WAIT_POLICY`` or ``GOMP_SPINCOUNT`` stays as it is; ``HTC_LAB_SHARE_CORES=0`` leaves
    torch as it comes.
    """
    global _sharing
    if _sharing is None and spins():
        _sharing = Sharing()
        _sharing.start()
    return _sharing


@contextmanager
def on_free_cores(threads: int | None = None) -> Iterator[int]:
    """Compute on as many threads as there are free cores, and no more than before; yields how many.

    The number holds until the end, whatever the load does meanwhile: with another one, sums would be split
    elsewhere and round otherwise. A person's own ``OMP_NUM_THREADS`` is not touched.

    Args:
        threads: this number instead, as a training that goes on began with it.
    """
    before = torch.get_num_threads()
    asked = before == 1 or os.environ.get("OMP_NUM_THREADS")
    sharing = None if asked else share_cores()
    if sharing is not None and not sharing.paused:
        torch.set_num_threads(threads or min(before, sharing.free_cores()))
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
