"""Every command that writes, on a full disk and in a closed folder; and what runs out of memory."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.commands import HUNGRY, SCRIPTS, WRITERS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="makes its faults with Linux's own means")


@pytest.fixture(scope="module")
def found() -> Iterator[dict[str, dict[str, Any]]]:
    """How every command ended, all in one start of a process."""
    # Not pytest's own folder: who has given up root's rights must be able to come here.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        ended = subprocess.run(
            [sys.executable, "-m", "tests.faults.commands", folder],
            env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr[-4000:]
        yield json.loads(ended.stdout.splitlines()[-1])


def refused(what: dict[str, Any], *reasons: str) -> None:
    """Exit code 2 and one line that holds one of the reasons."""
    if "not_here" in what:
        pytest.skip(f"no disk of its own for the test: {what['not_here']}")
    lines = [line for line in what["said"].splitlines() if line.startswith("error: ")]
    assert what["code"] == 2, what
    assert "Traceback" not in what["said"]
    assert len(lines) == 1, what
    assert any(reason in lines[0] for reason in reasons), lines
    assert ";" in lines[0], f"no fix in {lines}"


def test_it_is_every_command_that_writes() -> None:
    from htc_lab.cli import COMMANDS

    writing = {name.split()[0] for name in WRITERS}
    assert writing == COMMANDS.keys() - {"doctor", "eval"}


@pytest.mark.parametrize("name", WRITERS | SCRIPTS)
def test_a_full_disk(found: dict[str, dict[str, Any]], name: str) -> None:
    what = found["full disk"][name]
    refused(what, "No space left on device")
    assert (WRITERS | SCRIPTS)[name][1] not in what["left"]
    half = [path for path in what["left"] if Path(path).name.startswith(".")]
    assert not half, "something half-written was left"


@pytest.mark.parametrize("name", WRITERS | SCRIPTS)
def test_a_closed_folder(found: dict[str, dict[str, Any]], name: str) -> None:
    what = found["closed folder"][name]
    refused(what, "Read-only file system", "Permission denied", "not writable")
    assert what["left"] == []


@pytest.mark.parametrize("name", HUNGRY)
def test_want_of_memory(found: dict[str, dict[str, Any]], name: str) -> None:
    refused(found["little memory"][name], "out of memory")


def test_an_output_that_is_full(found: dict[str, dict[str, Any]]) -> None:
    refused(found["full output"]["data show"], "the output cannot be written (No space left on device)")
