"""The trainings of an ablation, several at once, each in a process of its own.

A classroom model is too small to keep several cores busy: on two cores a step takes 0.65 of its time on one,
so two trainings side by side, a core each, end before the same two in turn. Every training is what it would
be alone on as many threads; only the time it takes depends on the others.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

import psutil
import torch
from tqdm.auto import tqdm

from htc_lab.errors import InputError
from htc_lab.train.loop import steps_of
from htc_lab.train.stopping import stopping_between_steps

if TYPE_CHECKING:
    from htc_lab.ablation.ladder import Ladder

Run = tuple[str, int]
"""The name of a rung or variant, and a seed."""

_MEMORY = 1.5e9
"""Bytes that a training of the classroom model takes with its process, rounded up."""

_PERIOD = 0.2
_DONE = "done"


def at_once_here(runs: int) -> int:
    """How many of so many trainings this machine has the cores and the memory for, at least one."""
    cores, memory = torch.get_num_threads(), psutil.virtual_memory().available
    return max(1, min(runs, cores, int(memory / _MEMORY)))


def train_side_by_side(ladder: "Ladder", runs: Sequence[Run], at_once: int, progress: bool = True) -> None:
    """Train and evaluate runs of a ladder that aren't finished, in order, as many at once as asked for.

    The threads of this process are shared out among them. SIGINT or SIGTERM lets each end after its current
    step, with its checkpoint written; so does the end of this process, however it comes.

    Args:
        ladder: its folder gets the results.
        runs: which.
        at_once: at most this many.
        progress: show one progress bar over the steps of all.

    Raises:
        InputError: of one of them, when the others have been stopped.
        KeyboardInterrupt: a signal came, and all have been stopped.
    """
    waiting = [run for run in runs if run[1] not in ladder.finished_seeds(run[0])]
    if not waiting:
        return
    # Once, with all threads, instead of in one of the processes while the others wait for it.
    ladder.compute_features(progress)
    several = min(at_once, len(waiting))
    threads = max(1, torch.get_num_threads() // several)
    steps = steps_of(ladder.schedule, ladder.train_images) * len(waiting)
    with (
        stopping_between_steps(True) as stop,
        tqdm(total=steps, desc=f"{several} at once", unit="step", disable=not progress) as bar,
    ):
        workers = [_Worker(ladder, threads) for _ in range(several)]
        try:
            while (waiting or any(worker.run for worker in workers)) and not stop:
                for worker in workers:
                    if worker.run is None and waiting:
                        worker.begin(waiting.pop(0))
                wait([worker.pipe for worker in workers if worker.run], timeout=_PERIOD)
                for worker in workers:
                    made = worker.listen()
                    if made:
                        bar.update(made)
        finally:
            for worker in workers:
                worker.end()
            for worker in workers:
                worker.process.join()
    if stop:
        raise KeyboardInterrupt


class _Worker:
    """A process that trains and evaluates one run after the other.

    Attributes:
        run: what it is at; None: it waits.
        process: its process.
        pipe: takes runs there, and brings back a 1 for each step, then "done" or what went wrong.
    """

    def __init__(self, ladder: "Ladder", threads: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.run: Run | None = None
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=_work, args=(ladder, threads, theirs))
        self.process.start()
        theirs.close()

    def begin(self, run: Run) -> None:
        """Give it a run."""
        self.run = run
        # If it has died, listen() says so.
        with suppress(OSError):
            self.pipe.send(run)

    def end(self) -> None:
        """Let it end: at once if it waits, else after its step."""
        if self.run is None:
            self.pipe.close()
        else:
            self.process.terminate()

    def listen(self) -> int:
        """Take in what it has said since; return how many steps it has made.

        Raises:
            InputError: what its run raised, or that its process has ended.
        """
        made = 0
        try:
            while self.run is not None and self.pipe.poll():
                word = self.pipe.recv()
                if isinstance(word, BaseException):
                    raise word
                if word == _DONE:
                    self.run = None
                else:
                    made += word
        except (EOFError, ConnectionError):
            assert self.run is not None
            self.process.join()
            name, seed = self.run
            raise InputError(
                f"{name}, seed {seed}: its process ended with code {self.process.exitcode}; see what it "
                "printed, and run the command again to continue (with --at-once 1 if memory ran out)"
            ) from None
        return made


def _work(ladder: "Ladder", threads: int, pipe: Connection) -> None:
    """Train and evaluate what comes through the pipe, in this process."""
    if hasattr(os, "setpgid"):
        # A terminal's Ctrl-C goes to the starting process alone, which passes it on once.
        os.setpgid(0, 0)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)

    def tell(step: int, metrics: dict[str, float]) -> None:
        # When nobody listens any more, the end comes after the checkpoint, not here.
        with suppress(OSError):
            pipe.send(1)

    while True:
        try:
            name, seed = pipe.recv()
            ladder.run_seed(name, seed, progress=False, on_step=tell)
            pipe.send(_DONE)
        except InputError as error:
            pipe.send(error)
        except (EOFError, KeyboardInterrupt):
            return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
