"""What every benchmark does with its figures: medians, spread, memory, and how they are shown."""

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def seconds_of(run: Callable[[], Any], device: str = "cpu") -> float:
    """How long a call takes; on a GPU, until its work is done."""
    wait_for(device)
    began = time.perf_counter()
    run()
    wait_for(device)
    return time.perf_counter() - began


def gflop_of(run: Callable[[], Any]) -> float:
    """Floating-point operations of a call's products and convolutions, in thousands of millions."""
    with FlopCounterMode(display=False) as counter:
        run()
    return round(counter.get_total_flops() / 1e9, 1)


def wait_for(device: str) -> None:
    """Until the device has done what it was given; a CPU always has."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def summary(times: Sequence[float]) -> dict[str, Any]:
    """``seconds``, the median of several runs, and ``spread``, the fastest and the slowest."""
    return {
        "seconds": round(statistics.median(times), 4),
        "spread": [round(min(times), 4), round(max(times), 4)],
    }


def peak_gb(device: str = "cpu") -> float:
    """The largest memory so far: of this process alone, or on a GPU of torch's tensors in it."""
    if device != "cpu":
        return round(torch.cuda.max_memory_allocated(device) / 1024**3, 2)
    status = Path("/proc/self/status")
    if status.is_file():
        # Not getrusage: a process inherits the peak of the one that started it.
        rows = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
        return round(int(rows["VmHWM"].split()[0]) / 1024**2, 2)
    unit = 1024**3 if sys.platform == "darwin" else 1024**2
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 2)


def show(figures: dict[str, Any], as_json: bool) -> None:
    """One JSON object, or a line a figure."""
    if as_json:
        print(json.dumps(figures))
    else:
        _lines(figures, 0)


def _lines(figures: dict[str, Any], depth: int) -> None:
    width = max((len(name) for name in figures), default=0)
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{' ' * depth}{name}")
            _lines(value, depth + 4)
        else:
            print(f"{' ' * depth}{name:<{width}}  {value}")
