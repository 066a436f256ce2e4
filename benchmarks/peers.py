"""Who is timed beside us, each in a process of its own, so that neither's settings touch the other."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import torch

from benchmarks.figures import summary

_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Task:
    """What is timed.

    Attributes:
        work: an inference, or forward and backward of a training step.
        height, width: of the pictures, px.
        batch: pictures at a time.
        objects: on each, in training.
        on_objects: so many of the proposals lie on objects, in training.
        device: "cpu" or "cuda".
    """

    work: Literal["inference", "train_step"]
    height: int
    width: int
    batch: int = 1
    objects: int = 8
    on_objects: int = 0
    device: str = "cpu"


def peers_at_hand() -> list[str]:
    """Torchvision's Mask R-CNN R-50 always; mmdet's HTC R-50 where it is installed."""
    return ["torchvision", *(["mmdet"] if importlib.util.find_spec("mmdet") else [])]


class Peer:
    """A peer's process, built and warmed up; used as a context manager.

    Attributes:
        who: "torchvision" or "mmdet".
        times: seconds of each turn.
        peak_gb: its largest memory.
        gflop: of a turn, as far as torch counts them.
    """

    def __init__(self, who: str, task: Task) -> None:
        """Start it and wait until it is ready."""
        self.who = who
        self.times: list[float] = []
        self.peak_gb = 0.0
        asked = {**asdict(task), "who": who, "threads": torch.get_num_threads()}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peer_process", json.dumps(asked)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.gflop: float = self._answer()["gflop"]

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def go(self) -> None:
        """One turn."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        answer = self._answer()
        self.times.append(answer["seconds"])
        self.peak_gb = answer["peak_gb"]

    def figures(self) -> dict[str, Any]:
        """``seconds``, ``spread``, ``peak_gb`` and ``gflop``."""
        return {**summary(self.times), "peak_gb": self.peak_gb, "gflop": self.gflop}

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.who} ended with code {self._process.wait()}; see above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def against(ours: dict[str, Any], peers: list[Peer]) -> dict[str, Any]:
    """Each peer's figures, and ours as a share of theirs: ``vs_torchvision`` and so on; None: not timed."""
    ratios = {f"vs_{p.who}": round(ours["seconds"] / p.figures()["seconds"], 3) for p in peers}
    return {"vs_torchvision": None, **ratios, "peers": {p.who: p.figures() for p in peers}}
