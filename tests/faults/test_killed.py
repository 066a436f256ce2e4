"""kill -9 at any moment: the folder stays whole, and the training ends as if nothing had happened."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 50


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that start at once")
def test_a_training_that_is_killed_again_and_again_ends_as_if_left_alone(
    tmp_path: Path, record_property
) -> None:
    # Other moments each time; who wants those of a failed run again sets the seed it printed.
    seed = int(os.environ.get("HTC_LAB_KILL_SEED", int.from_bytes(os.urandom(3), "big")))
    command = [sys.executable, "-m", "tests.faults.killing", str(tmp_path), str(seed), str(KILLS)]
    ended = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f"HTC_LAB_KILL_SEED={seed}\n{ended.stderr[-4000:]}"
    report = json.loads(ended.stdout.splitlines()[-1])
    print(report)
    record_property("figure", f"kill -9: {ended.stdout.splitlines()[-1]}")
    assert report["kills"] >= KILLS
    assert report["aimed_at_writing"] >= 10
    assert report["left_half_a_checkpoint"] >= 3
    assert report["of_evaluations"] >= KILLS // 5
