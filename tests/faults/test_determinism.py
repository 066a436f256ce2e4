"""The same seed gives the same bits, in another process, folder and time zone, with another hash seed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    found = []
    for name, variables in (
        ("one", {"PYTHONHASHSEED": "1", "TZ": "UTC"}),
        ("another", {"PYTHONHASHSEED": "2", "TZ": "Asia/Kathmandu"}),
    ):
        folder: Path = tmp_path_factory.mktemp(name)
        ended = subprocess.run(
            [sys.executable, "-m", "tests.faults.fingerprints", str(folder)],
            env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr[-4000:]
        found.append(json.loads(ended.stdout.splitlines()[-1]))
    return found


@pytest.mark.parametrize(
    "what",
    [
        *("scenes", "batches, no worker", "weights", "optimizer", "losses"),
        *("detections", "average precision", "pack"),
    ],
)
def test_two_processes_give_the_same_bits(digests: list[dict[str, str]], what: str) -> None:
    one, another = digests
    assert one[what] == another[what]


def test_workers_give_the_same_batches(digests: list[dict[str, str]]) -> None:
    for found in digests:
        assert found["batches, two workers"] == found["batches, no worker"]
