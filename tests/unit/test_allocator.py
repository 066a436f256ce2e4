"""Freed memory is kept: a large block that comes again and again is not mapped anew each time."""

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import resource, torch
from htc_lab.allocator import keep_freed_memory
kept = keep_freed_memory()
def work():
    for _ in range(8):
        torch.ones(16_000_000).add(1)
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(**environment: str) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    kept, faults = done.stdout.split()
    return kept, int(faults)


def test_large_blocks_come_back_without_page_faults():
    kept, faults = _faults()
    if kept == "False":
        pytest.skip("this system's C library has no mallopt")
    left_alone, usual = _faults(HTC_LAB_KEEP_MEMORY="0")
    assert left_alone == "False"
    # The C library maps blocks of 64 MB anew each time, smaller ones only sometimes. 8 rounds of two are
    # 250,000 pages of 4 KiB; huge pages make fewer of them.
    assert usual > 100
    assert faults < usual / 3
