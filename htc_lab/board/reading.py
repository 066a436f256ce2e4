"""What a run folder says about a training: read again and again while another process writes it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from htc_lab.config_json import schedule_from_dict
from htc_lab.errors import InputError
from htc_lab.files import read_json
from htc_lab.train.loop import steps_of
from htc_lab.train.run_folder import CONFIG, METRICS

GROUPS: dict[str, tuple[str, ...]] = {
    "boxes": ("loss_cls", "loss_bbox"),
    "masks": ("loss_mask",),
    "proposals": ("loss_rpn_cls", "loss_rpn_bbox"),
    "semantic": ("loss_semantic_seg",),
}
"""The losses of a step by what they are about, as the last parts of their names."""

CURVES = ("loss", *GROUPS)
MOST_POINTS = 300
_EVALUATION = "evaluation.json"


@dataclass(frozen=True)
class Evaluation:
    """One evaluation along the way, or the final one of an ablation's run.

    Attributes:
        step: the number of steps trained by then.
        mask_ap, box_ap: in points; None if there was no object to find.
        stage_mask_ap: mask AP of stage 1, 2, ... alone and of the result.
        images: how many pictures it was measured on.
        samples: the picture of what the model found then, relative to the folder; None without one.
        final: whether it is the one on the test split, after the training.
    """

    step: int
    mask_ap: float | None
    box_ap: float | None
    stage_mask_ap: list[float | None]
    images: int
    samples: str | None = None
    final: bool = False


@dataclass
class RunReader:
    """One run's log; each call reads only what is new.

    Attributes:
        folder: the run's folder.
        steps: losses of each step read so far: its number, then a value for each of ``CURVES``.
        seconds: duration of each of these steps.
        evaluations: in order.
    """

    folder: Path
    steps: list[tuple[int, tuple[float, ...]]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    _place: int = 0
    _file: int | None = None

    def read(self) -> None:
        """Read the lines that were added, or all of them if the log was rewritten (a resumed run)."""
        path = self.folder / METRICS
        try:
            with path.open("rb") as log:
                log.seek(0, 2)
                # A resumed run puts a new file in the old one's place.
                found = path.stat().st_ino
                if found != self._file or log.tell() < self._place:
                    self._forget(found)
                log.seek(self._place)
                new = log.read()
        except FileNotFoundError:
            self._forget(None)
            return
        whole = new[: new.rfind(b"\n") + 1]
        self._place += len(whole)
        for text in whole.splitlines():
            try:
                line = json.loads(text)
                if isinstance(line, dict) and isinstance(line.get("step"), int):
                    self._take(line)
            # Not JSON, or not what a training writes.
            except (ValueError, TypeError, OverflowError, RecursionError):
                continue

    def _forget(self, file: int | None) -> None:
        self.steps, self.seconds, self.evaluations = [], [], []
        self._place, self._file = 0, file

    def _take(self, line: Mapping[str, Any]) -> None:
        if isinstance(line.get("evaluation"), dict):
            said = line["evaluation"]
            self.evaluations.append(
                Evaluation(
                    line["step"],
                    _points(said.get("mask_ap")),
                    _points(said.get("box_ap")),
                    list(map(_points, said.get("stage_mask_ap", []))),
                    int(said.get("images", 0)),
                    line.get("samples"),
                )
            )
        elif "loss" in line:
            curves, seconds = _curves(line), float(line.get("seconds", 0.0))
            self.steps.append((line["step"], curves))
            self.seconds.append(seconds)

    def final(self) -> Evaluation | None:
        """What an ablation measured after the training, on the test split."""
        path = self.folder / _EVALUATION
        if not path.is_file() or not self.steps:
            return None
        try:
            card = read_json(path, "delete it")
            ap = card["ap"]
            return Evaluation(
                self.steps[-1][0],
                _points(ap["segm"]["AP"]),
                _points(ap["bbox"]["AP"]),
                list(map(_points, ap["stage_mask_ap"])),
                len(card["asked"]["images"]),
                final=True,
            )
        except (InputError, KeyError, TypeError):
            return None

    def whole_length(self) -> int | None:
        """Steps of the whole training according to ``config.json``; None if it doesn't say."""
        try:
            card = read_json(self.folder / CONFIG, "start the run again")
            if not isinstance(card, dict) or not isinstance(card.get("images"), int):
                return None
            return steps_of(schedule_from_dict(card["schedule"]), card["images"])
        except (InputError, KeyError, OverflowError):
            return None

    def samples(self) -> list[tuple[int, Path]]:
        """Step and file of the pictures that are there."""
        named = [(e.step, self.folder / e.samples) for e in self.evaluations if e.samples is not None]
        return [(step, path) for step, path in named if path.is_file()]


def _points(value: Any) -> float | None:
    """An AP.

    Raises:
        TypeError: it is neither a number nor null.
    """
    if value is not None and type(value) not in (int, float):
        raise TypeError(value)
    return value


def _curves(line: Mapping[str, Any]) -> tuple[float, ...]:
    """The value of each of ``CURVES`` in a step's line."""
    sums = dict.fromkeys(GROUPS, 0.0)
    for name, value in line.items():
        for group, members in GROUPS.items():
            if name.rsplit(".", 1)[-1] in members:
                sums[group] += float(value)
    return (float(line["loss"]), *sums.values())


def thinned(steps: list[tuple[int, tuple[float, ...]]], most: int = MOST_POINTS) -> list[list[float | int]]:
    """At most ``most`` points of every curve: means over equally many neighbouring steps each.

    Returns:
        One list for the steps (the last of each group) and one for each of ``CURVES``.
    """
    size = max(1, -(-len(steps) // most))
    bunches = [steps[i : i + size] for i in range(0, len(steps), size)]
    columns: list[list[float | int]] = [[bunch[-1][0] for bunch in bunches]]
    for curve in range(len(CURVES)):
        means = [sum(values[curve] for _, values in bunch) / len(bunch) for bunch in bunches]
        columns.append([float(f"{mean:.5g}") for mean in means])
    return columns


def find_runs(place: Path) -> list[Path]:
    """The run folders at a path: the folder itself, or those directly inside it, in the order they began."""
    if (place / CONFIG).is_file():
        return [place]
    if not place.is_dir():
        return []
    found = [path for path in place.iterdir() if (path / CONFIG).is_file()]
    return sorted(found, key=lambda path: (path / CONFIG).stat().st_mtime)
