"""Figures of the ablation: the ladder, the AP of each stage's masks, and the losses of a training."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from htc_lab.paper import PAPER_MASK_AP
from htc_lab.plots.figure import Picture, new_figure, plain
from htc_lab.plots.palette import INK, QUIET, hex_of, rung_words
from htc_lab.train.run_folder import read_metrics

_BLUE, _ORANGE, _PINK, _RED, _GREEN = (hex_of(i) for i in (6, 1, 2, 4, 5))
LINES = ("#8a9097", _BLUE, _ORANGE, _GREEN, _PINK, _RED)


# An axis covers at least this many points of AP.
_LEAST_POINTS = 2.0


def _two_lines(name: str) -> str:
    """A rung's name, broken so that neighbours on an axis don't touch."""
    words = rung_words(name).split(" ")
    if len(words) < 3:
        return " ".join(words)
    return " ".join(words[:2]) + "\n" + " ".join(words[2:])


def plot_ladder(results: Mapping[str, Any]) -> Picture:
    """Mask and box AP of each rung with every seed as a dot, and the gains beside the paper's.

    Args:
        results: from :meth:`htc_lab.ablation.ladder.Ladder.results`; unfinished ladders are fine.
    """
    rungs = results["rungs"]
    names = [rung["name"] for rung in rungs]
    figure = new_figure(13.0, 4.6)
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1, 1.25])
    _ap(left, "Mask AP", names, [rung["mask_ap"] for rung in rungs])
    _ap(middle, "Box AP", names, [rung["box_ap"] for rung in rungs])
    _gains(right, names, [float(np.mean(rung["mask_ap"])) for rung in rungs])
    return figure


def _ap(axes: Axes, title: str, names: list[str], by_seed: list[list[float]]) -> None:
    means = [float(np.mean(values)) for values in by_seed]
    places = range(len(names))
    longest = max([1.0, *(v for values in by_seed for v in values)])
    axes.barh(places, means, height=0.56, color="#c9ced3")
    for place, values, mean in zip(places, by_seed, means, strict=True):
        if len(values) > 1:
            axes.plot(values, [place] * len(values), "o", ms=5, color=INK, alpha=0.75)
        axes.text(0, place - 0.31, rung_words(names[place]), fontsize=10.5, color=INK, va="bottom")
        axes.text(max(values) + 0.025 * longest, place, f"{mean:.1f}", fontsize=12, color=INK, va="center")
    plain(axes, title)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlim(0, 1.18 * longest)
    axes.set_ylim(len(names) - 0.45, -0.75)


def _gains(axes: Axes, names: list[str], means: list[float]) -> None:
    """Mask AP gained over the first rung, here and in the paper."""
    places = np.arange(len(names))
    here = [mean - means[0] for mean in means]
    axes.axhline(0, color=QUIET, linewidth=0.8)
    axes.plot(places, here, "-o", color=_BLUE, linewidth=2, ms=7, label="here")
    if set(names) <= set(PAPER_MASK_AP):
        paper = [PAPER_MASK_AP[name] - PAPER_MASK_AP[names[0]] for name in names]
        label = "COCO, R-50, as reported in the paper (table 2)"
        axes.plot(places, paper, "--o", color=QUIET, linewidth=1.4, ms=6, mfc="white", label=label)
    plain(axes, f"Mask AP over {rung_words(names[0]).lower()}")
    axes.set_xticks(places, [_two_lines(name) for name in names], fontsize=9.5)
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.margins(y=0.25)
    axes.legend(
        frameon=False, fontsize=9.5, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, labelcolor=INK
    )


def plot_stage_ap(results: Mapping[str, Any]) -> Picture:
    """Mask AP of each stage's masks, all on the final boxes, and of their mean: one line per rung.

    Args:
        results: from :meth:`htc_lab.ablation.ladder.Ladder.results`.
    """
    figure = new_figure(7.5, 4.4)
    axes = figure.subplots()
    for rung, colour in zip(results["rungs"], LINES, strict=False):
        by_stage = np.mean(np.asarray(rung["stage_mask_ap"], dtype=float), axis=0)
        places = np.arange(len(by_stage))
        label = rung_words(rung["name"])
        axes.plot(places[:-1], by_stage[:-1], "-o", color=colour, linewidth=2, ms=6, label=label)
        axes.plot(places[-2:], by_stage[-2:], ":", color=colour, linewidth=1.5)
        axes.plot(places[-1:], by_stage[-1:], "D", color=colour, ms=8)
        axes.set_xticks(places, [f"stage {t + 1}" for t in places[:-1]] + ["mean"])
    # If the axis were stretched to fit, a tenth of a point would look like a gain.
    low, high = axes.get_ylim()
    more = max(0.0, _LEAST_POINTS - (high - low)) / 2
    axes.set_ylim(low - more, high + more)
    plain(axes, "Mask AP of each stage's masks on the final boxes")
    axes.legend(frameon=False, fontsize=10.5, labelcolor=INK, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


_GROUPS = {
    "boxes": ("loss_cls", "loss_bbox"),
    "masks": ("loss_mask",),
    "proposals": ("loss_rpn_cls", "loss_rpn_bbox"),
    "semantic": ("loss_semantic_seg",),
}


def _groups(row: Mapping[str, Any]) -> dict[str, float]:
    """The losses of one step, summed by subject."""
    sums: dict[str, float] = defaultdict(float)
    for name, value in row.items():
        for group, members in _GROUPS.items():
            if name.rsplit(".", 1)[-1] in members:
                sums[group] += value
    return sums


def _smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Running mean over the ``width`` values up to and including each."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def plot_losses(run_folder: Path | str) -> Picture:
    """The losses of a training: the total, and the parts of boxes, masks, proposals and the semantic map.

    Curves are running means over a twentieth of the run; the total is also shown step by step.

    Raises:
        InputError: the folder contains no metrics.
    """
    rows = read_metrics(Path(run_folder))
    figure = new_figure(8.5, 4.2)
    axes = figure.subplots()
    if rows:
        steps = np.asarray([row["step"] for row in rows])
        total = np.asarray([row["loss"] for row in rows], dtype=float)
        width = max(1, len(rows) // 20)
        axes.plot(steps, total, color="#d4d8db", linewidth=0.8)
        axes.plot(steps, _smooth(total, width), color=INK, linewidth=2, label="all losses")
        groups = [_groups(row) for row in rows]
        for group, colour in zip(_GROUPS, (_BLUE, _ORANGE, _PINK, _GREEN), strict=True):
            values = np.asarray([found.get(group, 0.0) for found in groups])
            if values.any():
                axes.plot(steps, _smooth(values, width), color=colour, linewidth=1.8, label=group)
        # The first steps are so high that all others would look flat beside them.
        axes.set_ylim(0, 1.6 * float(_smooth(total, width)[len(total) // 10]))
        axes.legend(frameon=False, fontsize=10.5, labelcolor=INK, loc="upper right")
    plain(axes, "Training loss", xlabel="step")
    return figure
