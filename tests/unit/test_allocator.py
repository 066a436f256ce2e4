"""Freed memory is kept: a large block that comes again and again is not mapped again each time."""

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
    # The C library maps blocks of 64 MB again each time, smaller ones only sometimes. 8 rounds of two are
    # 250,000 pages of 4 KiB; huge pages make fewer of them.
    assert usual > 100
    assert faults < usual / 3


_WHO_SETS = """
import htc_lab
from htc_lab import threads
from htc_lab.allocator import keep_freed_memory
from htc_lab.checkpoint.filling import empty_model
from htc_lab.presets import PRESETS

def asked():
    return keep_freed_memory.cache_info().currsize, threads.asked

def share_cores():
    threads.asked += 1

threads.asked = 0
import htc_lab.process_settings
htc_lab.process_settings.share_cores = share_cores
config = PRESETS["classroom"]
htc_lab.HybridTaskCascade(config), empty_model(config)
print(*asked())
{use}
print(*asked())
"""


@pytest.mark.parametrize("use", ["htc_lab.build_model(config)", "htc_lab.load('classroom/htc')"])
def test_the_process_is_set_up_for_a_model_that_is_used_not_for_its_shapes(use):
    done = subprocess.run(
        [sys.executable, "-c", _WHO_SETS.format(use=use)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["0 0", "1 1"]
