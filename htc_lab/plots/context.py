"""Figures of lesson 05: semantic maps, features and classes."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from htc_lab.course.experiments.context import DecoyCount, predicted_map
from htc_lab.course.experiments.scenes import Seen
from htc_lab.plots.canvas import to_pixels
from htc_lab.plots.drawing import draw_semantic
from htc_lab.plots.figure import Picture, new_figure, plain, row_of_pictures
from htc_lab.plots.palette import INK, QUIET, hex_of

_SIDE = 480


def show_prediction(scene: Seen) -> Picture:
    """The picture, its true semantic map, and the one the branch predicts with its share of right pixels."""
    true, said = scene.targets.semantic, predicted_map(scene)
    assert true is not None
    right = float((true == said)[true != 255].float().mean())
    scale = max(1, round(_SIDE / max(true.shape)))
    picture = to_pixels(scene.image).repeat(scale, axis=0).repeat(scale, axis=1)
    return row_of_pictures(
        [
            (picture, "Picture", ""),
            (draw_semantic(true, _SIDE), "True semantic map", ""),
            (draw_semantic(said, _SIDE), "What the branch says", f"{right:.0%} of the pixels right"),
        ]
    )


def show_features(features: Mapping[str, Tensor]) -> Picture:
    """Feature maps (1, C, h, w) by title, each as the norm over its channels, scaled by its own largest."""
    figure = new_figure(3.2 * len(features), 3.5)
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
    """IoU of the predicted semantic maps by class: things in one colour, stuff in another."""
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
    """Objects found and decoys fallen for, in percent, by what the model ran with."""
    figure = new_figure(10.0, 3.2)
    left, right = figure.subplots(1, 2)
    names = list(counts)
    found = [100 * count.found / max(count.objects, 1) for count in counts.values()]
    fooled = [100 * count.fooled / max(count.decoys, 1) for count in counts.values()]
    for axes, title, values, colour in (
        (left, "True objects found, %", found, hex_of(6)),
        (right, "Decoys taken for a thing, %", fooled, hex_of(4)),
    ):
        axes.barh(range(len(names)), values, 0.6, color=colour)
        for place, value in enumerate(values):
            axes.text(value + 1, place, f"{value:.0f}", va="center", fontsize=11, color=INK)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        plain(axes, title)
        axes.grid(visible=False)
        axes.set_xlim(0, 110)
    return figure
