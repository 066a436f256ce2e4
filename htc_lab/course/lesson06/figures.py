"""Figure of lesson 06: what one training says about a gain, and what several say."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from htc_lab.paper import PAPER_MASK_AP
from htc_lab.plots.figure import Picture, new_figure, plain
from htc_lab.plots.palette import INK, QUIET, RULE, hex_of, rung_words

_BLUE, _ORANGE = hex_of(6), hex_of(1)


def plot_seeds(results: Mapping[str, Any], kept: Mapping[str, Any] | None) -> Picture:
    """The mask AP each rung gains over the one before: every training, the mean with its interval, the paper.

    Args:
        results: from :meth:`htc_lab.ablation.ladder.Ladder.results`, with all rungs done.
        kept: from :func:`htc_lab.course.lesson06.kept.kept_record`; if None, only yours and the paper's.
    """
    rungs = results["rungs"]
    names = [rung["name"] for rung in rungs]
    figure = new_figure(11.0, 1.6 + 0.95 * (len(names) - 1))
    axes = figure.subplots()
    axes.axvline(0, color=QUIET, linewidth=1.2, zorder=1)
    for line, name in enumerate(names[1:]):
        first = line == 0
        if kept is not None:
            _kept(axes, line, kept["rungs"], line + 1, first)
        own = np.subtract(rungs[line + 1]["mask_ap"], rungs[line]["mask_ap"])
        label = "yours, each training" if first else None
        axes.plot(own, [line + 0.24] * len(own), "D", ms=8, color=_ORANGE, label=label)
        paper = PAPER_MASK_AP[name] - PAPER_MASK_AP[names[line]]
        label = "paper (COCO)" if first else None
        axes.plot(paper, line - 0.3, "o", ms=7, color=QUIET, mfc="white", label=label)
    plain(axes, "Mask AP gained over the previous rung", xlabel="AP points")
    axes.set_yticks(range(len(names) - 1), [rung_words(name) for name in names[1:]])
    axes.set_ylim(len(names) - 1.5, -0.55)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    axes.margins(x=0.08)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=10.5, labelcolor=INK)
    return figure


def _kept(axes: Any, line: int, rungs: list[Mapping[str, Any]], place: int, first: bool) -> None:
    each = np.subtract(rungs[place]["mask_ap"], rungs[place - 1]["mask_ap"])
    gain = rungs[place]["over_the_one_before"]
    label = "kept, each seed" if first else None
    axes.plot(each, [line] * len(each), "o", ms=7, color=_BLUE, alpha=0.6, mew=0, label=label)
    label = f"kept, mean and 95 % interval over {len(each)} seeds" if first else None
    axes.plot(gain["ci95"], [line - 0.14] * 2, color=INK, linewidth=2.2, label=label)
    axes.plot(gain["mask_ap"], line - 0.14, "|", ms=14, mew=2.6, color=INK)
