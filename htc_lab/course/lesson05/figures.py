"""Figures of lesson 05: semantic maps, features and classes."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.patches import Patch
from torch import Tensor

from htc_lab.course.lesson05.context import DecoyCount, predicted_map
from htc_lab.course.looked_at import Seen
from htc_lab.plots.canvas import to_pixels
from htc_lab.plots.drawing import draw_semantic
from htc_lab.plots.figure import Picture, new_figure, plain, row_of_pictures
from htc_lab.plots.palette import INK, QUIET, hex_of

_SIDE = 480
_LEAST_SHARE = 0.003


def show_prediction(scene: Seen, names: Sequence[str]) -> Picture:
    """The picture, its true semantic map, and the predicted one with its share of correct pixels.

    Args:
        scene: with its semantic map.
        names: of the map's classes; those that cover a visible area are listed below with their colours.
    """
    true, said = scene.targets.semantic, predicted_map(scene)
    assert true is not None
    right = float((true == said)[true != 255].float().mean())
    scale = max(1, round(_SIDE / max(true.shape)))
    picture = to_pixels(scene.image).repeat(scale, axis=0).repeat(scale, axis=1)
    figure = row_of_pictures(
        [
            (picture, "Picture", ""),
            (draw_semantic(true, _SIDE), "True semantic map", ""),
            (draw_semantic(said, _SIDE), "What the branch predicts", f"{right:.0%} of the pixels correct"),
        ]
    )
    # With fewer colours, a class of few pixels takes on another's colour, and the legend shows two alike.
    figure.colours = 256
    seen = torch.stack(
        [torch.bincount(m.flatten().long(), minlength=256)[: len(names)] for m in (true, said)]
    )
    present = torch.nonzero(seen.amax(dim=0) >= _LEAST_SHARE * true.numel()).flatten().tolist()
    patches = [
        Patch(facecolor=draw_semantic(torch.tensor([[k]], dtype=torch.uint8), 1)[0, 0] / 255, label=names[k])
        for k in present
    ]
    figure.legend(
        handles=patches,
        loc="outside lower left",
        ncols=len(patches),
        frameon=False,
        fontsize=11,
        labelcolor=INK,
    )
    return figure


def show_features(features: Mapping[str, Tensor]) -> Picture:
    """Feature maps (1, C, h, w) by title, each as the norm over its channels, scaled by its maximum."""
    figure = new_figure(3.2 * len(features), 3.8)
    for axes, (title, feature) in zip(
        figure.subplots(1, len(features), squeeze=False)[0], features.items(), strict=True
    ):
        norm = feature[0].norm(dim=0).numpy()
        axes.imshow(norm / norm.max(), cmap="magma", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(title, fontsize=12, color=INK, loc="left")
        axes.set_xlabel(f"{feature.shape[2]} × {feature.shape[3]}", fontsize=10.5, color=QUIET, loc="left")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_frame_on(False)
    return figure


def plot_class_iou(iou: Tensor, names: Sequence[str], things: int) -> Picture:
    """The IoU of the predicted semantic maps by class: things in one colour, stuff in another."""
    figure = new_figure(11.0, 3.6)
    axes = figure.subplots()
    values = np.nan_to_num(iou.numpy())
    colours = [hex_of(6)] * things + [hex_of(5)] * (len(names) - things)
    axes.bar(range(len(names)), values, 0.7, color=colours)
    for place, value in enumerate(values):
        axes.text(place, value, f"{value:.2f}", ha="center", va="bottom", fontsize=10, color=INK)
    axes.set_xticks(range(len(names)), names)
    plain(axes, "IoU of the predicted semantic map, by class: things, then stuff")
    axes.set_ylim(0, 1.1)
    return figure


def plot_decoys(counts: Mapping[str, DecoyCount]) -> Picture:
    """Objects found and decoys fallen for, in percent, by the label of each run."""
    figure = new_figure(10.0, 3.2)
    left, right = figure.subplots(1, 2)
    names = list(counts)
    found = [(count.found, count.objects) for count in counts.values()]
    fooled = [(count.fooled, count.decoys) for count in counts.values()]
    for axes, title, pairs, colour in (
        (left, "True objects found, %", found, hex_of(6)),
        (right, "Decoys taken for a thing, %", fooled, hex_of(4)),
    ):
        values = [100 * part / max(whole, 1) for part, whole in pairs]
        axes.barh(range(len(names)), values, 0.6, color=colour)
        for place, (value, (part, whole)) in enumerate(zip(values, pairs, strict=True)):
            words = f"{value:.0f}  ({part} of {whole})"
            axes.text(value + 1, place, words, va="center", fontsize=11, color=INK)
        axes.set_yticks(range(len(names)), names if axes is left else [])
        axes.invert_yaxis()
        plain(axes, title)
        axes.grid(visible=False)
        axes.set_xlim(0, 125)
        axes.set_xticks(range(0, 101, 20))
    return figure
