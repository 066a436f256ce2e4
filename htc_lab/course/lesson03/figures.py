"""Figures of lessons 03 and 04: the boxes of mask heads, their masks on the 28 x 28 grid, their gradients."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from htc_lab.course.lesson02.figures import STAGE_COLOURS
from htc_lab.course.lesson03.masks import MaskBoxes, found_objects
from htc_lab.course.looked_at import Seen
from htc_lab.evaluate.matching import follow
from htc_lab.model import HybridTaskCascade
from htc_lab.plots.drawing import draw_detections
from htc_lab.plots.figure import Picture, new_figure, plain, row_of_pictures
from htc_lab.plots.palette import INK, QUIET, hex_of
from htc_lab.structures import Targets
from htc_lab.trace import StageTrace


def plot_mask_boxes(boxes: MaskBoxes) -> Picture:
    """By stage: the IoU of the boxes a mask head is trained on by eqs. 1 and 2, and of those at test time."""
    figure = new_figure(14.0, 4.0)
    edges = np.linspace(0.4, 1, 25)
    ways = (
        ("eq. 1, before refinement", boxes.plain, "#8a9097"),
        ("eq. 2, refined", boxes.interleaved, hex_of(6)),
    )
    highest = 0.0
    for t, axes in enumerate(np.atleast_1d(figure.subplots(1, len(boxes.plain), sharey=True))):
        for label, by_stage, colour in ways:
            values = by_stage[t].numpy()
            words = f"{label}: mean {values.mean():.2f}, {len(values)} boxes"
            shares = _shares(values, edges)
            highest = max(highest, float(shares.max()))
            axes.stairs(shares, edges, color=colour, linewidth=2.4, label=words)
        test = boxes.test.numpy()
        words = f"at test time: mean {test.mean():.2f}"
        axes.stairs(_shares(test, edges), edges, color=hex_of(4), linewidth=1.6, linestyle="--", label=words)
        ylabel = "share of boxes" if t == 0 else ""
        plain(axes, f"Mask head {t + 1}", ylabel, "IoU of the box with its object")
        axes.legend(frameon=False, fontsize=9.5, labelcolor=INK, loc="upper left")
        # This leaves room for the legend; the panels share this axis.
        axes.set_ylim(0, 1.6 * highest)
    return figure


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    counts, _ = np.histogram(values, edges)
    return counts / max(len(values), 1)


def plot_heads_on_boxes(tables: Mapping[str, Tensor]) -> Picture:
    """Mean mask IoU (T, T + 1) of each mask head on r_0, r_1, ...: one line per head, one panel per model."""
    figure = new_figure(6.5 * len(tables), 4.2)
    together = torch.stack(list(tables.values()))
    # On a narrower axis a difference of a hundredth would look huge.
    middle = float(together.mean())
    reach = max(0.05, 1.2 * float((together - middle).abs().max()))
    panels = figure.subplots(1, len(tables), sharey=True, squeeze=False)[0]
    # The last name below a panel must not touch the first below the next.
    figure.set_layout_engine("constrained", wspace=0.08)
    for axes, (title, table) in zip(panels, tables.items(), strict=True):
        places = range(table.shape[1])
        for t, row in enumerate(table):
            colour, label = STAGE_COLOURS[t + 1], f"mask head {t + 1}"
            axes.plot(places, row.numpy(), "-o", color=colour, linewidth=2.2, ms=6, label=label)
        names = ["r₀\nproposals"] + [f"r{'₁₂₃'[t - 1]}\nafter stage {t}" for t in places[1:]]
        axes.set_xticks(list(places), names)
        plain(axes, title, ylabel="mean mask IoU" if axes is panels[0] else "")
        axes.set_ylim(middle - reach, middle + reach)
        axes.legend(frameon=False, fontsize=10.5, labelcolor=INK, loc="lower right")
    return figure


def show_soft_masks(rows: Mapping[str, StageTrace], detections: Sequence[int]) -> Picture:
    """The 28 x 28 mask probabilities of each stage and their mean, for some detections.

    Args:
        rows: traces of one picture and one set of boxes under several toggles, by label.
        detections: indices in the trace; each gets one row per trace.
    """
    stages = len(next(iter(rows.values())).stages)
    count = len(detections) * len(rows)
    figure = new_figure(2.0 * (stages + 1) + 1.6, 2.05 * count)
    grid = figure.subplots(count, stages + 1, squeeze=False)
    for i, (place, label) in enumerate((place, label) for place in detections for label in rows):
        trace = rows[label]
        masks = [stage.final_mask_logits[place].sigmoid() for stage in trace.stages]
        masks.append(torch.stack(masks).mean(dim=0))
        for j, mask in enumerate(masks):
            axes = grid[i, j]
            axes.imshow(mask.numpy(), vmin=0, vmax=1, cmap="magma", interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_frame_on(False)
            if i == 0:
                title = f"Stage {j + 1}" if j < stages else "Mean"
                axes.set_title(title, fontsize=12, color=INK, loc="left")
        grid[i, 0].set_ylabel(label, fontsize=10.5, color=INK)
    return figure


def plot_reach(reach: Mapping[str, Mapping[str, float]]) -> Picture:
    """The gradient that reaches each part, one bar for each way of running; 0 is written out.

    Args:
        reach: for each way of running, by its label, the norm by the part's name; always the same parts.
    """
    figure = new_figure(10.0, 3.6)
    axes = figure.subplots()
    parts = list(next(iter(reach.values())))
    width = 0.8 / len(reach)
    for i, ((way, norms), colour) in enumerate(zip(reach.items(), (hex_of(6), "#8a9097"), strict=False)):
        places = np.arange(len(parts)) + (i - (len(reach) - 1) / 2) * width
        heights = [norms[part] for part in parts]
        axes.bar(places, heights, width * 0.92, color=colour, label=way)
        for place, height in zip(places, heights, strict=True):
            if height == 0:
                axes.text(place, 0, "0", ha="center", va="bottom", fontsize=10, color=QUIET)
    axes.set_xticks(range(len(parts)), parts)
    plain(axes, "Gradient of stage 3's mask loss in each part of the mask heads", ylabel="norm")
    axes.legend(frameon=False, fontsize=10.5, labelcolor=INK, loc="upper left")
    return figure


def show_received_and_refined(model: HybridTaskCascade, scene: Seen, stage: int = 0) -> Picture:
    """The masks of one stage (from 0) on the boxes it received and on those it has just refined."""
    pictures = []
    words = {False: "On the boxes it received (eq. 1)", True: "On the boxes it has just refined (eq. 2)"}
    for interleaved, title in words.items():
        toggles = dataclasses.replace(model.config.toggles, interleaved=interleaved)
        trace = model.cascade(scene.features, scene.proposals, toggles)
        places, truth = found_objects(trace, scene.targets)
        view = trace.detections(0, stage, final_boxes=False).select(places)
        iou = follow(view, scene.targets, truth).mask_iou.mean() if len(places) else 0.0
        drawn = draw_detections(
            scene.image, view, model.class_names, numbers=truth.tolist(), labels=False, side=512, weight=1.3
        )
        pictures.append((drawn, title, f"mean mask IoU {float(iou):.2f}, over the objects found in the end"))
    return row_of_pictures(pictures)


def found_places(trace: StageTrace, targets: Targets, most: int = 2) -> list[int]:
    """Indices in the trace of the largest objects that were found, at most ``most`` of them."""
    places, truth = found_objects(trace, targets)
    area = targets.masks[truth].flatten(1).sum(dim=1)
    return places[area.argsort(descending=True)][:most].tolist()
