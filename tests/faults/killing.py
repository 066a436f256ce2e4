"""Kills a training again and again: ``python -m tests.faults.killing FOLDER SEED KILLS`` prints what it saw.

Every other kill comes at any moment, the rest while a checkpoint is being written. After each, the run
folder must be whole; the training goes on from it, and what it ends with must be, bit for bit, what one that
was left alone ended with. Then the evaluation of a finished run of an ablation is killed, as often as a fifth
of that, and must end with the same detections and figures, too.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from htc_lab.ablation.ladder import Ladder
from htc_lab.ablation.run_evaluation import EVALUATION
from htc_lab.checkpoint.files import CHECKPOINT, load, read_run
from htc_lab.data.layout import find_data
from tests.faults.small import DONE, LONGEST, SCHEDULE, Small, child, ended, gone, of_steps, small
from tests.unit.tiny import TINY

WHOLE = {"config.json", "metrics.jsonl", "run.lock", CHECKPOINT}


def curve(run: Path) -> list[dict[str, float]]:
    """The lines of ``metrics.jsonl`` without what depends on the machine."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def assert_same_state(run: Path, other: Path) -> None:
    """Weights, optimiser and step, bit for bit."""
    (weights, optimizer, step), theirs = read_run(run / CHECKPOINT), read_run(other / CHECKPOINT)
    assert step == theirs[2]
    for ours, its in ((weights, theirs[0]), (optimizer, theirs[1])):
        assert ours.keys() == its.keys()
        for name, value in ours.items():
            assert torch.equal(value, its[name]), name


def being_written(run: Path) -> bool:
    """Whether a checkpoint is."""
    try:
        return any(name.startswith(f".{CHECKPOINT}.") for name in os.listdir(run))
    except FileNotFoundError:
        return False


class Killer:
    """Kills at moments that a seed decides."""

    def __init__(self, seed: int, start: float, step: float) -> None:
        """See the class.

        Args:
            seed: of the moments.
            start: seconds a training takes to its first checkpoint.
            step: seconds of a step.
        """
        self._draw, self._start, self._step = random.Random(seed), start, step
        self.kills, self.writing, self.torn, self.unborn = 0, 0, 0, 0

    def attempt(self, setup: Small, run: Path) -> bool:
        """Start the training and kill it; whether it was quicker."""
        in_writing = self._draw.random() < 0.5
        moment = self._draw.uniform(0, self._start + 3 * self._step)
        delay = self._draw.uniform(0, 0.012)
        pid = child(lambda: setup.train(run))
        end = time.monotonic() + moment
        while time.monotonic() < end or in_writing:
            code = gone(pid)
            if code is not None:
                assert code == DONE, f"the training ended with code {code}"
                return True
            if time.monotonic() > end + LONGEST:
                raise AssertionError(f"the training hangs: it ended with code {ended(pid)}")
            if in_writing and time.monotonic() > end and being_written(run):
                time.sleep(delay)
                break
            time.sleep(0.0003)
        os.kill(pid, signal.SIGKILL)
        code = ended(pid)
        if code == DONE:
            return True
        assert code == -signal.SIGKILL, f"the training ended with code {code}"
        self.kills += 1
        self.writing += in_writing
        self.torn += being_written(run)
        self.unborn += not (run / CHECKPOINT).exists()
        return False


def see_that_it_is_whole(run: Path, least: int) -> int:
    """The folder of a killed training: its step, which is never below an earlier one."""
    if (run / "config.json").exists():
        json.loads((run / "config.json").read_text())
    if not (run / CHECKPOINT).exists():
        assert least == 0
        return 0
    load(run)
    step = read_run(run / CHECKPOINT)[2]
    assert least <= step <= (SCHEDULE.steps or 0)
    return step


def figures(run: Path) -> dict[str, Any]:
    """What an evaluation keeps, without what depends on the machine."""
    card = json.loads((run / EVALUATION).read_text())
    kept = {path.name: path.read_bytes() for path in sorted(run.glob("detections*.json"))}
    return {"ap": card["ap"], "asked": card["asked"], **kept}


def kill_evaluations(folder: Path, seed: int, kills: int) -> dict[str, int]:
    """Kill the evaluation of a finished run; what was seen.

    Args:
        folder: holds the scenes; the runs go there.
        seed: of the moments.
        kills: how many.
    """
    draw = random.Random(seed)
    ladder = Ladder(find_data(folder / "scenes"), TINY, of_steps(1), folder / "ladder", test_images=2)
    run = folder / "ladder/htc_seed0"
    began = time.monotonic()
    assert ended(child(lambda: ladder.run_rung("htc", progress=False))) == DONE
    whole = figures(run)
    longest = time.monotonic() - began
    done = written = 0
    while done < kills:
        (run / EVALUATION).unlink(missing_ok=True)
        pid = child(lambda: ladder.run_rung("htc", progress=False))
        in_writing, end = draw.random() < 0.5, time.monotonic() + draw.uniform(0, longest)
        while (code := gone(pid)) is None and time.monotonic() < end:
            if in_writing and any(
                name.startswith((".detections", ".evaluation")) for name in os.listdir(run)
            ):
                time.sleep(draw.uniform(0, 0.003))
                break
            time.sleep(0.0003)
        if code is None:
            os.kill(pid, signal.SIGKILL)
            code = ended(pid)
        done += code == -signal.SIGKILL
        written += code == -signal.SIGKILL and in_writing
        # Where the figures are, all that they are of is there.
        assert not (run / EVALUATION).exists() or figures(run) == whole
        assert ended(child(lambda: ladder.run_rung("htc", progress=False))) == DONE
        assert figures(run) == whole
        assert not [name for name in os.listdir(run) if name.startswith(".detect")]
    return {"of_evaluations": done, "aimed_at_writing_them": written}


def main(folder: Path, seed: int, kills: int) -> dict[str, float]:
    """Kill so often; what was seen."""
    torch.set_num_threads(1)
    setup = small(folder / "scenes")
    began = time.monotonic()
    first: list[float] = []
    alone = folder / "alone"
    pid = child(lambda: setup.train(alone))
    while (code := gone(pid)) is None:
        if not first and (alone / CHECKPOINT).exists():
            first.append(time.monotonic() - began)
        time.sleep(0.002)
    assert code == DONE
    rest = time.monotonic() - began - first[0]
    killer = Killer(seed, first[0], rest / ((SCHEDULE.steps or 0) - 1))
    rounds = 0
    while killer.kills < kills:
        run, step = folder / f"killed{rounds}", 0
        while not killer.attempt(setup, run):
            step = see_that_it_is_whole(run, step)
        assert {path.name for path in run.iterdir()} == WHOLE
        assert_same_state(run, alone)
        assert curve(run) == curve(alone)
        rounds += 1
    return {
        "seed": seed,
        "kills": killer.kills,
        "aimed_at_writing": killer.writing,
        "left_half_a_checkpoint": killer.torn,
        "before_the_first_checkpoint": killer.unborn,
        "trainings": rounds,
        **kill_evaluations(folder, seed, kills // 5),
        "seconds": round(time.monotonic() - began, 1),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
