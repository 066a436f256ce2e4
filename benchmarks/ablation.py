"""Wall clock of the paper's ladder in an empty folder.

python -m benchmarks.ablation [--size tiny] [--json]

What ``htc-lab ablate --quick`` does, from drawing the scenes to the written results, rung by rung.
"""

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from benchmarks.figures import peak_gb, seconds_of, show
from benchmarks.parts import Parts
from htc_lab.ablation import ladder as ablation_module
from htc_lab.ablation import run_evaluation
from htc_lab.ablation.ladder import Ladder, open_ladder
from htc_lab.measured_on import describe_machine

_WATCHED: list[tuple[str, Any, str]] = [
    ("train", ablation_module, "train"),
    ("predict", run_evaluation, "predict_split"),
    ("evaluate", run_evaluation, "average_precision"),
]


@dataclass
class Options:
    """Train and evaluate the four rungs once."""

    size: Literal["tiny", "quick", "classroom"] = "quick"
    """As for ``htc-lab ablate``; tiny only shows that the benchmark works."""
    device: str = "cpu"
    """cpu or cuda."""
    json: bool = False
    """Print one JSON object."""


def measure(options: Options) -> dict[str, Any]:
    """Run the benchmark: figures by name."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        opened: list[Ladder] = []
        scenes = seconds_of(
            lambda: opened.append(open_ladder(out=Path("ladder"), size=options.size, device=options.device))
        )
        ladder = opened[0]
        rungs = {name: _rung(ladder, name) for name in ladder.rungs}
        report = seconds_of(ladder.save) + seconds_of(ladder.verdict)
        images = {"train": len(ladder._train), "test": len(ladder.test)}
    total = scenes + report + sum(rung["seconds"] for rung in rungs.values())
    return {
        "size": options.size,
        "seconds": round(total, 1),
        "minutes": round(total / 60, 2),
        "vs_torchvision": None,
        "scenes_seconds": round(scenes, 1),
        "rungs": rungs,
        "report_seconds": round(report, 1),
        "images": images,
        "steps": ladder.schedule.steps,
        "peak_gb": peak_gb(options.device),
        "machine": describe_machine(),
    }


def _rung(ladder: Ladder, name: str) -> dict[str, Any]:
    parts = Parts()
    with parts.watching(_WATCHED):
        seconds = seconds_of(lambda: ladder.run_rung(name, progress=False))
    return {"seconds": round(seconds, 2), **parts.shares(1, seconds), "mask_ap": ladder.done[name].mask_ap[0]}


if __name__ == "__main__":
    options = tyro.cli(Options)
    show(measure(options), options.json)
