"""Trainings in trouble: each ends in one line that says what to do, and loses nothing of its checkpoint."""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from htc_lab.errors import InputError
from htc_lab.schedule import Schedule
from htc_lab.train.out_of_memory import memory_explained

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="makes its faults with Linux's own means")

LATER = "the same command goes on from the last checkpoint"
WHOLE = ["checkpoint.safetensors", "config.json", "metrics.jsonl", "run.lock"]


@pytest.fixture(scope="module")
def found() -> Iterator[dict[str, Any]]:
    """How every scenario of ``trouble.py`` ended, all in one start of a process."""
    # Not pytest's own folder: who has given up root's rights must be able to come here.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        command = [sys.executable, "-m", "tests.faults.trouble", folder]
        ended = subprocess.run(
            command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr[-4000:]
        seen = json.loads(ended.stdout.splitlines()[-1])
        yield {name: {**what, "log": ended.stderr[-4000:]} for name, what in seen.items()}


def refused(what: dict[str, Any], *parts: str) -> None:
    """It ended in one line that holds all the parts."""
    assert what["code"] == 2, (what["said"], what.get("log"))
    assert "\n" not in what["said"]
    for part in parts:
        assert part in what["said"]


def test_no_room_for_a_checkpoint_leaves_the_one_before(found: dict[str, Any]) -> None:
    what = found["no_room_for_a_checkpoint"]
    refused(what, "run/checkpoint.safetensors: cannot be written (File too large); free space")
    assert what["step"] == 2
    assert what["left"] == WHOLE
    assert what["goes_on"]


def test_no_room_for_a_line_of_the_log(found: dict[str, Any]) -> None:
    what = found["no_room_for_a_line"]
    refused(what, "run/metrics.jsonl: cannot be written (File too large)", LATER)
    assert what["step"] == 2
    assert what["goes_on"]


def test_a_full_disk(found: dict[str, Any]) -> None:
    what = found["full_disk"]
    if "not_here" in what:
        pytest.skip(f"no disk of its own for the test: {what['not_here']}")
    refused(what, "disk/run/checkpoint.safetensors: cannot be written (No space left on device)")
    # Still full: the next try says so too and loses nothing either.
    refused(what["again"], "No space left on device")
    assert what["step"] == 1
    assert what["left"] == WHOLE
    assert what["goes_on"]


def test_a_folder_that_may_only_be_read(found: dict[str, Any]) -> None:
    what = found["read_only_folder"]
    refused(what["new"], "closed/new: cannot be written (Permission denied); choose another --run")
    refused(what["begun"], "closed/begun/metrics.jsonl: cannot be written (Permission denied)")
    assert what["finished"] == {"code": 0, "said": ""}
    assert what["step"] == 2
    assert what["goes_on"]


def test_a_disk_that_may_only_be_read(found: dict[str, Any]) -> None:
    what = found["read_only_disk"]
    if "not_here" in what:
        pytest.skip(f"no disk of its own for the test: {what['not_here']}")
    refused(what, "run/metrics.jsonl: cannot be written (Read-only file system)")
    assert what["goes_on"]


def test_a_file_where_the_folder_should_be(found: dict[str, Any]) -> None:
    what = found["a_file_in_the_way"]
    refused(what, "run: cannot be written (File exists); choose another --run")
    refused(what["below"], "run/run: cannot be written (Not a directory)")


@pytest.mark.parametrize("name", ["two_at_once", "two_at_once_with_readers"])
def test_two_on_one_folder(found: dict[str, Any], name: str) -> None:
    what = found[name]
    refused(
        what,
        f"run: process {what['first']} on ",
        " is training in it; wait for it, stop it, or choose another",
    )
    assert what["goes_on"], "the lock of a killed process blocks"


def test_a_clock_that_jumps_changes_nothing(found: dict[str, Any]) -> None:
    what = found["other_clocks"]
    assert what["code"] == 0, what
    assert what["goes_on"]


def test_a_loss_that_is_no_number_leaves_its_batch(found: dict[str, Any]) -> None:
    what = found["no_number"]
    ids = ", ".join(str(i) for i in what["ids"])
    refused(
        what,
        f"at step {what['step']} (image ids {ids}); start a new run with a lower --lr",
        f"The batch is in {what['file']}; htc_lab.course.lesson07.figures.show_batch(FILE) shows it",
    )
    assert what["file"].endswith(f"stopped_at_step_{what['step']}.safetensors")
    assert what["shapes"] == [[3, 64, 64]] * 2
    assert min(what["objects"]) > 0
    assert what["losses"]["loss"] is None
    assert what["picture"] > 1000


def test_weights_that_are_no_numbers_do_not_become_the_checkpoint(found: dict[str, Any]) -> None:
    what = found["no_number_in_the_weights"]
    refused(what, "weights that are not finite at step 1 (image ids ")
    assert what["left"] == ["config.json", "metrics.jsonl", "run.lock", "stopped_at_step_1.safetensors"]


def test_want_of_memory_says_what_to_lower_and_keeps_the_run(found: dict[str, Any]) -> None:
    what = found["no_memory"]
    refused(
        what,
        "run: out of memory on cpu (",
        "start the same command with --accumulate 2, which splits the 2 images of a step into 2 parts",
        "the run goes on from its last checkpoint",
    )
    assert what["step"] == 2
    assert what["in_parts"] == 0
    assert what["resumed_with"] == [{"step": 3, "accumulate": 2}]


def test_a_killed_reader_is_named(found: dict[str, Any]) -> None:
    what = found["lost_reader"]
    refused(what, "a process that reads images was killed", "give fewer --workers (now 1; 0: none)")
    assert what["step"] >= 2


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        EOFError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_killed_reader_is_named_whatever_it_was_doing(error: Exception) -> None:
    before = signal.getsignal(signal.SIGCHLD)
    try:
        says = pytest.raises(InputError, match="a process that reads images was killed")
        with says, memory_explained(Path("run"), Schedule(), 1, 2, "cpu"):
            raise error
        # torch's handler would raise it once more, while the line is being written.
        assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGCHLD, before)
    with pytest.raises(type(error)), memory_explained(Path("run"), Schedule(), 1, 0, "cpu"):
        raise error
