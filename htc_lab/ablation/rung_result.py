"""The results of training one model of an ablation, seed by seed."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from htc_lab.config import Toggles
from htc_lab.wording import signed


@dataclass(frozen=True)
class RungResult:
    """One rung, or one variant of a study, with all its seeds.

    Attributes:
        name, toggles: which rung or variant.
        seeds: one training each; the lists below are in this order.
        mask_ap, box_ap: AP points on the test images.
        stage_mask_ap: mask AP of stages 1, 2, 3 alone and of the result, on the same final boxes.
        statistics: all 12 COCO statistics, ``{"bbox": {...}, "segm": {...}}``.
        seconds: of training and evaluation.
        parameters: of the model.
        run_folders: where the trainings are.
    """

    name: str
    toggles: Toggles
    seeds: list[int]
    mask_ap: list[float]
    box_ap: list[float]
    stage_mask_ap: list[list[float]]
    statistics: list[dict[str, dict[str, float]]]
    seconds: list[float]
    parameters: int
    run_folders: list[Path]

    def at(self, seeds: Sequence[int]) -> "RungResult":
        """The same for these seeds only, in this order; all of them must exist."""
        places = [self.seeds.index(seed) for seed in seeds]
        lists: dict[str, Any] = {
            field.name: [getattr(self, field.name)[place] for place in places]
            for field in dataclasses.fields(self)
            if isinstance(getattr(self, field.name), list)
        }
        return dataclasses.replace(self, **lists)


def common_seeds(results: Iterable[RungResult]) -> list[int]:
    """The seeds that all of them have, in the order of the first."""
    every = [result.seeds for result in results]
    return [seed for seed in every[0] if all(seed in other for other in every[1:])] if every else []


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def spread(values: Sequence[float]) -> str:
    """The mean, and with several values also the lowest and the highest."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def gain_words(gain: Mapping[str, Any]) -> str:
    """The text of a table cell for an ``Interval`` (as a dict): bold if zero lies outside it."""
    if gain["value"] is None:
        return "–"
    text = f"{signed(gain['value'])} ({signed(gain['low'])} to {signed(gain['high'])})"
    return f"**{text}**" if gain["low"] > 0 or gain["high"] < 0 else text
