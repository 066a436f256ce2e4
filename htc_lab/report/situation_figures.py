"""Figures of an ablation's report: the rungs in each situation, by stage, and the cost of each error type."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from htc_lab.plots.figure import Picture, new_figure, plain
from htc_lab.plots.palette import INK, QUIET, RULE, rung_words
from htc_lab.report.ladder_figures import LINES

_SPREAD, _APART = 0.6, 0.24
"""The largest share of a line's height that its rungs take up, and their distance if there are only a few."""


def _colour(place: int) -> str:
    return LINES[place % len(LINES)]


def rows_of_kind(measured: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    """The quantities of one kind in what :func:`htc_lab.ablation.measures.measure_ladder` returns."""
    return [row for row in measured["rows"] if row["kind"] == kind]


def _label(row: Mapping[str, Any]) -> str:
    if row["count"] is None:
        return row["words"]
    return f"{row['words']}\n{row['count']:,} {'object' if row['count'] == 1 else 'objects'}"


def _offsets(rungs: int) -> np.ndarray:
    reach = min(_SPREAD, _APART * (rungs - 1)) / 2
    return np.linspace(-reach, reach, rungs)


def _lines_for(axes: Axes, rows: Sequence[Mapping[str, Any]], labels: bool) -> None:
    """One line per row, the first on top, with bands to guide the eye."""
    for line in range(0, len(rows), 2):
        axes.axhspan(line - 0.5, line + 0.5, color="#f5f6f7", linewidth=0, zorder=0)
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows] if labels else [""] * len(rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=RULE, linewidth=0.8)


def _values(axes: Axes, rows: Sequence[Mapping[str, Any]], title: str, xlabel: str) -> None:
    """The mean of each rung in each row, with a line from the lowest to the highest seed."""
    for line, row in enumerate(rows):
        for place, (rung, shift) in enumerate(zip(row["rungs"], _offsets(len(row["rungs"])), strict=True)):
            if rung["mean"] is None:
                continue
            at = line + shift
            axes.plot([min(rung["values"]), max(rung["values"])], [at, at], color=_colour(place), lw=2)
            label = rung_words(rung["name"]) if line == 0 else None
            axes.plot(rung["mean"], at, "o", ms=7, color=_colour(place), label=label, mec="white", mew=0.8)
    plain(axes, title, xlabel=xlabel)
    _lines_for(axes, rows, labels=True)


def _gains(axes: Axes, rows: Sequence[Mapping[str, Any]], title: str, xlabel: str) -> None:
    """Each rung minus the first with its interval; hollow if it contains zero."""
    axes.axvline(0, color=QUIET, linewidth=1.2, zorder=1)
    for line, row in enumerate(rows):
        for place, (rung, shift) in enumerate(zip(row["rungs"], _offsets(len(row["rungs"])), strict=True)):
            gain = rung["gain"]
            if gain is None or gain["value"] is None:
                continue
            at, colour = line + shift, _colour(place)
            clear = gain["low"] > 0 or gain["high"] < 0
            axes.plot([gain["low"], gain["high"]], [at, at], color=colour, lw=2, zorder=2)
            face = colour if clear else "white"
            axes.plot(gain["value"], at, "o", ms=7, color=colour, mfc=face, mew=1.6, zorder=3)
    plain(axes, title, xlabel=xlabel)
    _lines_for(axes, rows, labels=False)


def _legend(figure: Picture, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(4, len(labels)),
        frameon=False,
        fontsize=11,
        labelcolor=INK,
    )


def _interval_words(measured: Mapping[str, Any]) -> str:
    if measured["seeds"] == 1:
        return f"95 % interval over {measured['images']:,} images, one seed; hollow: holds zero"
    return f"95 % interval over {measured['seeds']} seeds; hollow: holds zero"


def _height(rows: int, rungs: int) -> float:
    return 1.9 + rows * (0.34 + 0.11 * rungs)


def plot_situations(measured: Mapping[str, Any]) -> Picture:
    """Mask AP of every rung by situation, its gain over the first rung, and, below, the decoys taken.

    Args:
        measured: of :func:`htc_lab.ablation.measures.measure_ladder`.
    """
    rows, decoys = rows_of_kind(measured, "mask_ap"), rows_of_kind(measured, "decoys")
    first, many = rung_words(measured["rungs"][0]).lower(), len(measured["rungs"])
    below = 1.7 + 0.14 * many if decoys else 0.0
    figure = new_figure(12.5, _height(len(rows), many) + below)
    ratios = [_height(len(rows), many) - 1.2, below - 0.9] if decoys else [1.0]
    grid = figure.subplots(len(ratios), 2, height_ratios=ratios, width_ratios=[1, 1.05], squeeze=False)
    words = _interval_words(measured)
    _values(grid[0, 0], rows, "Mask AP by situation", "" if decoys else "AP points; line: all seeds")
    _gains(grid[0, 1], rows, f"Mask AP minus that of the {first}", words)
    if decoys:
        shown = [{**row, "words": "decoys", "count": None} for row in decoys]
        _values(grid[1, 0], shown, f"Share of {decoys[0]['count']:,} decoys taken for the thing, %", "")
        grid[1, 0].set_xlim(left=0.0)
        _gains(grid[1, 1], shown, f"Decoys taken, minus the {first}'s (less is better)", words)
    _legend(figure, grid[0, 0])
    return figure


def plot_error_types(measured: Mapping[str, Any]) -> Picture:
    """The AP50 that each type of error costs, by rung, and the change from the first rung.

    Args:
        measured: of :func:`htc_lab.ablation.measures.measure_ladder`.
    """
    rows = rows_of_kind(measured, "error")
    first = rung_words(measured["rungs"][0]).lower()
    figure = new_figure(12.5, _height(len(rows), len(measured["rungs"])))
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.05])
    _values(left, rows, "What errors cost: mask AP50 gained if fixed", "AP50 points (TIDE's dAP)")
    _gains(right, rows, f"Cost minus the {first}'s (less is better)", _interval_words(measured))
    _legend(figure, left)
    return figure


def plot_situation_stages(measured: Mapping[str, Any]) -> Picture | None:
    """Mask AP of each stage's masks and of the result in every situation; None if none were kept.

    Args:
        measured: of :func:`htc_lab.ablation.measures.measure_ladder`.
    """
    rows = rows_of_kind(measured, "mask_ap")
    if not any(rung["stages"] for row in rows for rung in row["rungs"]):
        return None
    columns = 4 if len(rows) > 4 else len(rows)
    lines = -(-len(rows) // columns)
    figure = new_figure(3.3 * columns, 2.9 * lines + 0.6)
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, row in zip(grid, rows, strict=False):
        for place, rung in enumerate(row["rungs"]):
            by_stage = [float(np.mean(values)) for values in rung["stages"]]
            if not by_stage:
                continue
            at = np.arange(len(by_stage) + 1)
            label = rung_words(rung["name"])
            axes.plot(at[:-1], by_stage, "-o", color=_colour(place), lw=2, ms=5, label=label)
            axes.plot(at[-2:], [by_stage[-1], rung["mean"]], ":", color=_colour(place), lw=1.5)
            axes.plot(at[-1:], [rung["mean"]], "D", color=_colour(place), ms=6)
            axes.set_xticks(at, [*(f"{t + 1}" for t in at[:-1]), "result"])
        plain(axes, row["words"])
    for axes in grid[len(rows) :]:
        axes.set_visible(False)
    figure.suptitle(
        "Mask AP of each stage's masks on the final boxes", fontsize=13, color=INK, x=0.005, ha="left"
    )
    _legend(figure, grid[0])
    return figure
