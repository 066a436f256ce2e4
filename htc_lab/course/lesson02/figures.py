"""Figures of lesson 02: boxes and deltas through the cascade."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from htc_lab.config import StageConfig
from htc_lab.course.lesson02.boxes import BoxJourney
from htc_lab.plots.figure import Picture, new_figure, plain
from htc_lab.plots.palette import INK, QUIET, hex_of

STAGE_COLOURS = ("#8a9097", hex_of(6), hex_of(1), hex_of(5))
"""The colours of the proposals and of stages 1, 2 and 3."""

_NAMES = ("proposals", "stage 1", "stage 2", "stage 3")


def plot_box_journey(journey: BoxJourney, thresholds: Sequence[float] = (0.5, 0.6, 0.7)) -> Picture:
    """The IoU of the boxes after each stage, and how many reach each threshold."""
    figure = new_figure(13.0, 4.2)
    left, right = figure.subplots(1, 2, width_ratios=[1.35, 1])
    edges = np.linspace(0, 1, 41)
    for iou, name, colour in zip(journey.iou, _NAMES, STAGE_COLOURS, strict=False):
        counts, _ = np.histogram(iou.numpy(), edges)
        left.stairs(counts, edges, color=colour, linewidth=2.2, label=f"{name}: mean {float(iou.mean()):.2f}")
    for threshold in thresholds:
        left.axvline(threshold, color=QUIET, linewidth=0.8, linestyle=":")
    plain(left, "IoU of the boxes with their objects", xlabel="IoU", ylabel="boxes")
    left.legend(frameon=False, fontsize=10.5, labelcolor=INK, loc="upper left")

    places, width = np.arange(len(thresholds)), 0.8 / len(journey.iou)
    for t, (name, colour) in enumerate(zip(_NAMES[: len(journey.iou)], STAGE_COLOURS, strict=False)):
        heights = [journey.positives(threshold)[t] for threshold in thresholds]
        right.bar(places + (t - 1.5) * width, heights, width * 0.92, color=colour, label=name)
    plain(right, "Boxes that reach the threshold", ylabel="boxes")
    right.set_xticks(places, [f"IoU {threshold}" for threshold in thresholds])
    return figure


def plot_deltas(journey: BoxJourney, stages: Sequence[StageConfig]) -> Picture:
    """How far the positives of each stage have to move sideways, before and after division by the stds."""
    figure = new_figure(13.0, 3.8)
    left, right = figure.subplots(1, 2)
    for t, (deltas, stage) in enumerate(zip(journey.deltas, stages, strict=False)):
        dx, colour = deltas[:, 0], STAGE_COLOURS[t + 1]
        for axes, values, reach in ((left, dx, 0.5), (right, dx / stage.stds[0], 4.0)):
            label = f"stage {t + 1}: spread {float(values.std()):.2f}"
            _curve(axes, values, reach, colour, label)
    plain(left, "dx, unscaled", xlabel="box widths", ylabel="share of boxes")
    plain(right, "dx divided by the stage's std: what the head learns", xlabel="stds")
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=10.5, labelcolor=INK, loc="upper left")
    return figure


def _curve(axes: object, values: Tensor, reach: float, colour: str, label: str) -> None:
    edges = np.linspace(-reach, reach, 41)
    counts, _ = np.histogram(values.numpy(), edges)
    axes.stairs(counts / max(len(values), 1), edges, color=colour, linewidth=2.2, label=label)  # type: ignore[attr-defined]


def plot_curves(
    places: Tensor,
    curves: Mapping[str, Tensor],
    levels: Mapping[str, float],
    title: str,
    xlabel: str,
    ylabel: str,
    marks: bool = True,
) -> Picture:
    """A few curves over one axis, and values that don't depend on it as horizontal lines.

    Args:
        places: (k,) along the axis.
        curves: (k,) values by label; NaN leaves a gap.
        levels: single values by label.
        title, xlabel, ylabel: in words.
        marks: draw a dot at each place.
    """
    figure = new_figure(8.5, 4.2)
    axes = figure.subplots()
    x = places.numpy()
    colours = iter((hex_of(6), hex_of(4), hex_of(5), hex_of(1)))
    for label, values in curves.items():
        line = "-o" if marks else "-"
        axes.plot(x, values.numpy(), line, color=next(colours), linewidth=2.2, ms=6, label=label)
    for label, value in levels.items():
        axes.plot(
            x, torch.full_like(places, value).numpy(), "--", color=next(colours), linewidth=2, label=label
        )
    plain(axes, title, xlabel=xlabel, ylabel=ylabel)
    axes.legend(frameon=False, fontsize=10.5, labelcolor=INK, loc="best")
    return figure
