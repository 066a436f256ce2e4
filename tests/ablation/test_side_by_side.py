"""Several trainings of an ablation at once, in processes of their own."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from htc_lab import InputError
from htc_lab.ablation.ladder import Ladder
from htc_lab.ablation.side_by_side import at_once_here, train_side_by_side
from htc_lab.checkpoint.files import CHECKPOINT
from tests.training_fixtures import SCHEDULE


def _ladder(data, config, out, steps=3):
    return Ladder(data, config, dataclasses.replace(SCHEDULE, steps=steps), out, seeds=(0,), test_images=3)


def test_runs_side_by_side_are_those_in_turn(data, config, tmp_path):
    names, before = ("interleaved", "htc", "plain_cascade"), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        turns = _ladder(data, config, tmp_path / "turns")
        for name in names:
            turns.run_rung(name, progress=False)
        torch.set_num_threads(2)
        beside = _ladder(data, config, tmp_path / "beside")
        train_side_by_side(beside, [(name, 0) for name in names], 2, False)
    finally:
        torch.set_num_threads(before)
    for name in names:
        assert beside.finished_seeds(name) == [0]
        one, other = (load_file(made.run_folder(name, 0) / CHECKPOINT) for made in (turns, beside))
        assert one.keys() == other.keys()
        assert all(torch.equal(value, other[key]) for key, value in one.items())
        assert beside.run_rung(name, progress=False).mask_ap == turns.done[name].mask_ap
    # What is finished is not trained again.
    before = (beside.run_folder("htc", 0) / CHECKPOINT).stat().st_mtime_ns
    train_side_by_side(beside, [("htc", 0)], 2, False)
    assert (beside.run_folder("htc", 0) / CHECKPOINT).stat().st_mtime_ns == before


def test_an_error_of_one_is_the_error_of_all(data, config, tmp_path):
    ladder = _ladder(data, config, tmp_path)
    folder = ladder.run_folder("htc", 0)
    folder.mkdir()
    (folder / CHECKPOINT).write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match="htc_seed0"):
        train_side_by_side(ladder, [("htc", 0)], 2, False)


def test_a_process_that_dies_is_named(data, config, tmp_path):
    ladder = _ladder(data, config, tmp_path)
    # Called in the worker for its first run: there it ends the process as the kernel's memory killer would.
    ladder.look = _die
    named = r"plain_cascade, seed 0: its process ended with code -9; .*--at-once 1"
    with pytest.raises(InputError, match=named):
        train_side_by_side(ladder, [("plain_cascade", 0)], 1, False)


def _die(run: Path):
    os.kill(os.getpid(), signal.SIGKILL)


_LONG = """
import sys
from htc_lab.ablation.side_by_side import train_side_by_side
from htc_lab.ablation.ladder import open_ladder
from pathlib import Path
if __name__ == "__main__":
    ladder = open_ladder(out=Path(sys.argv[1]), size="tiny", steps=2000)
    try:
        train_side_by_side(ladder, [("plain_cascade", 0), ("interleaved", 0)], 2)
    except KeyboardInterrupt:
        sys.exit(77)
"""


def _seconds_until(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_parent_ends_them_with_a_checkpoint(tmp_path, how):
    script = tmp_path / "long.py"
    script.write_text(_LONG)
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "runs")],
        env={**os.environ, "PYTHONPATH": str(root)},
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    runs = [tmp_path / "runs" / f"{name}_seed0" for name in ("plain_cascade", "interleaved")]
    try:
        _seconds_until(lambda: all((run / "metrics.jsonl").is_file() for run in runs))
        parent.send_signal(how)
        assert parent.wait(60) == (77 if how == signal.SIGTERM else -9)
        _seconds_until(lambda: all((run / CHECKPOINT).is_file() for run in runs))
    finally:
        parent.kill()


def test_no_more_at_once_than_there_are_runs_or_cores():
    assert at_once_here(1) == 1
    assert 1 <= at_once_here(100) <= torch.get_num_threads()
