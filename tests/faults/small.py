"""A training small enough to be started a hundred times, each in a child of a process that is warm."""

import dataclasses
import faulthandler
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from htc_lab.ablation.ladder import config_for, train_dataset
from htc_lab.config import ModelConfig
from htc_lab.data.classroom.scenes import SceneConfig
from htc_lab.data.classroom.tree import write_classroom
from htc_lab.data.dataset import CocoDataset
from htc_lab.data.layout import find_data
from htc_lab.data.semantic import semantic_classes
from htc_lab.errors import InputError
from htc_lab.schedule import Schedule
from htc_lab.train.loop import OnStep, TrainOptions, train
from tests.unit.tiny import TINY

SCHEDULE = Schedule(steps=10, batch=2, lr=0.01, lr_batch=2, warmup_steps=2, clip_norm=10.0, min_size=8)
QUIET = TrainOptions(progress=False, checkpoint_every=1)

# How a child ended; a killed one has the signal's number, negative.
DONE, REFUSED, BROKEN = 0, 2, 1

# Seconds after which a child that has not ended hangs.
LONGEST = 120


@dataclass(frozen=True)
class Small:
    """What is trained on what."""

    config: ModelConfig
    dataset: CocoDataset

    def train(
        self,
        run: Path,
        schedule: Schedule = SCHEDULE,
        options: TrainOptions = QUIET,
        on_step: OnStep | None = None,
    ) -> None:
        """Train, or go on."""
        train(run, self.config, schedule, self.dataset, options, on_step)


def small(folder: Path) -> Small:
    """A tiny model and six scenes of 64 px, drawn into ``folder`` and read."""
    if not folder.exists():
        write_classroom(folder, 6, 2, 2, SceneConfig(size=64), progress=False)
    data = find_data(folder)
    semantic = semantic_classes(data)
    config = config_for(TINY, data, semantic)
    dataset = train_dataset(data, semantic, config, SCHEDULE)
    for i in range(len(dataset)):
        dataset[i]
    warm()
    return Small(config, dataset)


def warm() -> None:
    """Load what torch would otherwise load in each child: its first optimizer brings parts of its compiler.

    Without a backward pass, since autograd's threads, where there is a GPU, would not survive the fork.
    """
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    nn.utils.clip_grad_norm_([weight], 1.0)
    optimizer.step()
    optimizer.zero_grad()


def child(work: Callable[[], None], said: Path | None = None) -> int:
    """Do the work in a forked process and return its id; what refuses it is written to ``said``."""
    pid = os.fork()
    if pid:
        return pid
    code = BROKEN
    faulthandler.enable()
    try:
        work()
        code = DONE
    except InputError as error:
        code = REFUSED
        if said is not None:
            said.write_text(str(error))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def gone(pid: int) -> int | None:
    """How the child ended, if it has."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def ended(pid: int) -> int:
    """Wait for a child; how it ended. One that hangs is aborted, which prints where it stood."""
    end = time.monotonic() + LONGEST
    while (code := gone(pid)) is None:
        if time.monotonic() > end:
            os.kill(pid, signal.SIGABRT)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        time.sleep(0.0003)
    return code


def of_steps(steps: int) -> Schedule:
    """The schedule with another length."""
    return dataclasses.replace(SCHEDULE, steps=steps)
