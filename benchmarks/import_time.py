"""How long Python and the command line take to start: ``python -m benchmarks.import_time [--json]``.

Each is a fresh interpreter, all taking turns, so that the machine's moods hit all alike. ``import htc_lab``
must not load torch; the first name that needs it does, and the floor of that is torchvision's own import.
"""

import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import tyro

from benchmarks.figures import show, summary
from htc_lab.measured_on import describe_machine

_STARTS = {
    "python": ["-c", "pass"],
    "import htc_lab": ["-c", "import htc_lab"],
    "htc-lab --help": ["-m", "htc_lab", "--help"],
    "htc-lab train --help": ["-m", "htc_lab", "train", "--help"],
    "import torchvision": ["-c", "import torchvision"],
    "htc_lab.build_model": ["-c", "import htc_lab; htc_lab.build_model"],
    "htc_lab.load": ["-c", "import htc_lab; htc_lab.load"],
    "htc_lab.explore": ["-c", "import htc_lab; htc_lab.explore"],
}

# What must wait until it is needed.
_HEAVY = ("torch", "torchvision", "mmcv", "matplotlib", "numpy", "scipy", "ipywidgets")


@dataclass
class Options:
    """Time the starts."""

    repeats: int = 5
    """Of each; the median counts."""
    names: tuple[str, ...] = ()
    """Which ones, e.g. "import htc_lab"; default: all."""
    slowest: int = 8
    """So many modules of ``import htc_lab`` are listed, by their own time."""
    json: bool = False
    """Print one JSON object."""


def _start(arguments: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _modules(statement: str) -> dict[str, float]:
    """Milliseconds that each module takes by itself, without those it imports."""
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", statement], check=True, capture_output=True, text=True
    ).stderr
    rows = [line.removeprefix("import time:").split("|") for line in told.splitlines() if "|" in line]
    return {name.strip(): int(own) / 1e3 for own, _, name in rows if own.strip().isdigit()}


def measure(options: Options) -> dict[str, Any]:
    """Run the benchmark: figures by name."""
    names = options.names or tuple(_STARTS)
    times: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        _start(_STARTS[name])
    for _ in range(options.repeats):
        for name, taken in times.items():
            taken.append(_start(_STARTS[name]))
    starts = {name: summary(taken) for name, taken in times.items()}
    modules = _modules("import htc_lab")
    slowest = sorted(modules, key=lambda name: -modules[name])[: options.slowest]
    theirs = starts.get("import torchvision")
    model = starts.get("htc_lab.build_model")
    return {
        "seconds": starts[names[0] if "import htc_lab" not in names else "import htc_lab"]["seconds"],
        # Of the first name that needs torch: torchvision is a part of it.
        "vs_torchvision": round(model["seconds"] / theirs["seconds"], 3) if model and theirs else None,
        "starts": starts,
        "slowest_ms": {name: round(modules[name], 1) for name in slowest},
        "heavy_at_once": [name for name in _HEAVY if name in modules],
        "machine": describe_machine(),
    }


if __name__ == "__main__":
    options = tyro.cli(Options)
    show(measure(options), options.json)
