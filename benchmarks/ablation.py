"""Wall clock of the paper's ladder in an empty folder.

python -m benchmarks.ablation [--size tiny] [--json]

What ``htc-lab ablate --quick`` does, from drawing the scenes to the written results: the rungs side by side,
as many as this process has threads.
"""

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from benchmarks.figures import peak_gb, seconds_of, show
from htc_lab.ablation.ladder import Ladder, open_ladder
from htc_lab.ablation.side_by_side import at_once_here, train_side_by_side
from htc_lab.measured_on import describe_machine


@dataclass
class Options:
    """Train and evaluate the four rungs once."""

    size: Literal["tiny", "quick", "classroom"] = "quick"
    """As for ``htc-lab ablate``; tiny only shows that the benchmark works."""
    device: str = "cpu"
    """cpu or cuda."""
    at_once: int | None = None
    """As for ``htc-lab ablate``."""
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
        runs = [(name, seed) for name in ladder.rungs for seed in ladder.seeds]
        at_once = options.at_once or (at_once_here(len(runs)) if options.device == "cpu" else 1)
        trained = seconds_of(lambda: train_side_by_side(ladder, runs, at_once, progress=False))
        rungs = {name: ladder.run_rung(name, progress=False) for name in ladder.rungs}
        report = seconds_of(ladder.save) + seconds_of(ladder.verdict)
        images = {"train": len(ladder._train), "test": len(ladder.test)}
    total = scenes + trained + report
    return {
        "size": options.size,
        "seconds": round(total, 1),
        "minutes": round(total / 60, 2),
        "vs_torchvision": None,
        "scenes_seconds": round(scenes, 1),
        "trained_seconds": round(trained, 1),
        "at_once": at_once,
        "rungs": {
            name: {"seconds": round(rung.seconds[0], 2), "mask_ap": rung.mask_ap[0], "box_ap": rung.box_ap[0]}
            for name, rung in rungs.items()
        },
        "report_seconds": round(report, 1),
        "images": images,
        "steps": ladder.schedule.steps,
        "peak_gb": peak_gb(options.device),
        "machine": describe_machine(),
    }


if __name__ == "__main__":
    options = tyro.cli(Options)
    show(measure(options), options.json)
