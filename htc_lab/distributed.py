"""Several processes that work as one: how they find each other, and what they exchange.

``torchrun`` starts the processes and tells each its place by environment variables. They talk in two groups:
in one (gloo, CPU) about counts, losses, image sizes and errors, a few numbers a step; in the other (NCCL
where there are GPUs) about gradients. Because the small messages go over the CPU, a lost process is noticed
there and reported in one line.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from htc_lab.errors import InputError
from htc_lab.wording import counted

# Seconds; reading a large annotation file takes one process longer than another, a step never this long.
PATIENCE = 600.0


class SharedError(InputError):
    """What went wrong in one process (or in each the same), raised in all of them."""


class LostPeer(InputError):
    """Another process is gone or silent."""


class Team:
    """The processes of this launch as one of them sees them. ``Team()`` is one process by itself.

    All processes call a method at the same point; with a single process it costs nothing.

    Attributes:
        rank: which of them this is, from 0.
        size: how many there are.
        gradients: the group gradients go through; None: the default one.
    """

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        gradients: dist.ProcessGroup | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.rank, self.size, self.gradients, self.patience = rank, size, gradients, patience

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def sums(self, values: list[float]) -> list[float]:
        """Each value summed over the processes."""
        return self._reduced(values, dist.ReduceOp.SUM)

    def largest(self, values: list[int]) -> list[int]:
        """The largest of each value over the processes."""
        return [int(value) for value in self._reduced(values, dist.ReduceOp.MAX)]

    def _reduced(self, values: list[Any], how: Any) -> list[Any]:
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)
        with self.listening():
            dist.all_reduce(tensor, how)
        return tensor.tolist()

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in order of rank, for all."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        with self.listening():
            dist.all_gather_object(values, value)
        return values

    def collect(self, value: Any) -> list[Any]:
        """Every process's value, in order of rank, for the first; an empty list for the others."""
        if self.size == 1:
            return [value]
        values = [None] * self.size if self.first else None
        with self.listening():
            dist.gather_object(value, values)
        return values or []

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            with self.listening():
                dist.barrier()

    @contextmanager
    def together(self) -> Iterator[None]:
        """An error in one process stops all: each of them leaves the block with the first InputError.

        The block must hold nothing that the processes do together.

        Raises:
            SharedError: the InputError of the lowest rank that had one.
        """
        if self.size == 1:
            yield
            return
        mine: str | None = None
        try:
            yield
        except InputError as error:
            mine = str(error)
        said = next((text for text in self.gather(mine) if text is not None), None)
        if said is not None:
            raise SharedError(said)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Wrap anything that waits for the other processes.

        Raises:
            LostPeer: no answer came within ``patience`` seconds, or the connection broke.
        """
        try:
            yield
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            known = isinstance(error, dist.DistError) or "gloo" in reason or "NCCL" in reason
            if self.size == 1 or not known:
                raise
            raise LostPeer(
                f"process {self.rank} of {self.size}: another process was killed or gave no answer for "
                f"{self.patience:g} s ({reason[-120:]}); start the same command again, and the run goes on "
                "from its last checkpoint"
            ) from None


ALONE = Team()


@contextmanager
def processes(device: str, patience: float = PATIENCE) -> Iterator[tuple[Team, str]]:
    """Join the processes ``torchrun`` started; by itself, a process is a team of one.

    What stops all of them is printed by the first alone, and every process ends with code 2.

    Args:
        device: "cpu" or "cuda"; of several GPUs each process takes its own.
        patience: seconds to wait for the others' answer.

    Yields:
        The team and this process's device, e.g. "cuda:3".

    Raises:
        InputError: the others can't be reached.
    """
    size = _number("WORLD_SIZE", 1)
    if size == 1:
        yield ALONE, device
        return
    _meet(patience)
    team = Team(dist.get_rank(), size, patience=patience)
    try:
        with team.together():
            own = _own_device(device, _number("LOCAL_RANK", 0), _number("LOCAL_WORLD_SIZE", size))
        if own.startswith("cuda"):
            torch.cuda.set_device(own)
            team.gradients = dist.new_group(backend="nccl", timeout=timedelta(seconds=patience))
        yield team, own
    except SharedError as error:
        if team.first:
            _say(error)
        # torchrun ends the others as soon as one is gone: the first must have spoken by then.
        team.wait()
        dist.destroy_process_group()
        raise SystemExit(2) from None
    except InputError as error:
        _say(error)
        # Whatever still waits for the lost process (NCCL's threads do) would keep this one from ending.
        os._exit(2)
    dist.destroy_process_group()


def _say(error: InputError) -> None:
    print(f"error: {error}", file=sys.stderr, flush=True)


def _number(name: str, otherwise: int) -> int:
    text = os.environ.get(name, str(otherwise))
    if not text.isdigit():
        raise InputError(f"environment variable {name} is '{text}', not a number; start with torchrun")
    return int(text)


def _meet(patience: float) -> None:
    lacking = [n for n in ("RANK", "MASTER_ADDR", "MASTER_PORT") if n not in os.environ]
    if lacking:
        raise InputError(
            f"environment variable {lacking[0]} is missing beside WORLD_SIZE; start with torchrun, which "
            "sets both"
        )
    try:
        dist.init_process_group("gloo", timeout=timedelta(seconds=patience))
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise InputError(
            f"the other processes were not met at {place} ({' '.join(str(error).split())[:200]}); see that "
            "all nodes are started with one --rdzv-endpoint they can reach, and set GLOO_SOCKET_IFNAME to "
            "the name of their network"
        ) from None


def _own_device(device: str, local_rank: int, local_size: int) -> str:
    """The device of this machine that this process uses."""
    if device == "cpu" or (local_size == 1 and device != "cuda"):
        return device
    if device != "cuda":
        raise InputError(
            f"--device {device}: several processes on one machine take one GPU each; give --device cuda"
        )
    found = torch.cuda.device_count()
    if found < local_size:
        fix = f"give --nproc-per-node {found}, or --device cpu" if found else "give --device cpu"
        raise InputError(
            f"--device cuda: {local_size} processes on this machine, but {counted(found, 'GPU')}; {fix}"
        )
    return f"cuda:{local_rank}"
