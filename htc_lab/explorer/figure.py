"""The explorer's picture as a still figure, for places where widgets can't run."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image

from htc_lab.explorer.blob import OpenPack, read_pack
from htc_lab.explorer.shown import (
    Difference,
    ShownObject,
    ShownSide,
    difference_of,
    last_view,
    sides_of,
    true_masks,
)
from htc_lab.explorer.state import ExplorerState
from htc_lab.plots.figure import Picture, bare, new_figure, plain
from htc_lab.plots.palette import FILL, INK, OBJECT_COLOURS, QUIET

_MOST_LABELS = 12
_GREY = 7
_TINT = 0.5
# The difference, on the photo as the browser greys and dims it.
_STRONG = 0.85
_COLOUR_LEFT, _DIMMED = 0.15, 0.72


def state_figure(pack: bytes, state: ExplorerState | str = "") -> Picture:
    """What the explorer shows for a state, without anything to click.

    It shows the picture with the layers that are on, A beside B where two settings are compared, and, where
    the truth is known, mask AP on this picture by stage. An object's life needs the explorer itself.

    Args:
        pack: from :func:`htc_lab.explorer.pack.make_pack`.
        state: the state, or its string; a stage beyond the models' is their mean.

    Raises:
        InputError: no pack, or no such state.
    """
    if isinstance(state, str):
        state = ExplorerState.parse(state) if state else ExplorerState()
    opened = read_pack(pack)
    sides = sides_of(opened, state)
    with_ap = sides[-1].ap is not None and None not in sides[-1].ap
    height, width = opened.index["size"]
    across = 6.0
    figure = new_figure(
        across * len(sides) + 3.4 * with_ap, min(max(across * height / width, 3.2), 9.0) + 0.9
    )
    grid = figure.subplots(
        1, len(sides) + with_ap, squeeze=False, width_ratios=[across] * len(sides) + [3.4] * with_ap
    )[0]
    for axes, side, letter in zip(grid, sides, ("A", "B"), strict=False):
        difference = None
        if side is sides[-1] and "difference" in state.show:
            difference = difference_of(opened, state)
        _draw_side(axes, opened, state, side, f"{letter}  " if len(sides) == 2 else "", difference)
    if with_ap:
        _draw_ap(grid[-1], sides)
    stage = min(state.stage, last_view(opened))
    views = ["proposals", *(f"stage {t}" for t in range(1, last_view(opened))), "mean of the stages' masks"]
    figure.suptitle(
        f"{opened.index['title']}: {views[stage]}, score from {state.threshold:.2f}",
        fontsize=12,
        color=QUIET,
        x=0.005,
        ha="left",
    )
    return figure


def _draw_side(
    axes: Axes,
    pack: OpenPack,
    state: ExplorerState,
    side: ShownSide,
    letter: str,
    difference: Difference | None,
) -> None:
    height, width = pack.index["size"]
    extent = (0.0, float(width), float(height), 0.0)
    photo = np.asarray(
        Image.open(io.BytesIO(pack.blocks[pack.index["image"]["block"]].tobytes())).convert("RGB")
    )
    if difference is not None:
        grey = photo.mean(axis=2, keepdims=True)
        photo = ((grey + _COLOUR_LEFT * (photo - grey)) * _DIMMED).astype(np.uint8)
    bare(axes, photo, f"{letter}{side.title}", _caption(pack, side, difference))
    axes.images[0].set_extent(extent)
    if "semantic" in state.show:
        _draw_map(axes, pack, side, extent)
    known = pack.index["truth"] is not None
    # Best last, so that it lies on top.
    for each in reversed(side.objects):
        colour = np.asarray(OBJECT_COLOURS[_colour(pack, each.thing)]) / 255
        line = "--" if each.error else "-"
        if each.mask is not None and "masks" in state.show:
            fill = 0.0 if difference is not None else FILL
            _tint(axes, each.mask, (*colour, fill), extent, f"mask {each.thing}")
            _outline(axes, each.mask, tuple(colour), line)
        if "boxes" in state.show:
            x1, y1, x2, y2 = (float(v) for v in each.box)
            axes.add_patch(
                Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=tuple(colour), linestyle=line)
            )
    if difference is not None:
        for name, pixels, number in (("gained", difference.gained, 0), ("lost", difference.lost, 4)):
            colour = np.asarray(OBJECT_COLOURS[number]) / 255
            _tint(axes, pixels, (*colour, _STRONG), extent, name)
    if "truth" in state.show and known:
        for mask in true_masks(pack):
            _outline(axes, mask, "white", ":")
    if "labels" in state.show:
        for each in side.objects[:_MOST_LABELS]:
            _label(axes, pack, each)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)


def _tint(
    axes: Axes,
    mask: np.ndarray,
    colour: Sequence[float],
    extent: tuple[float, float, float, float],
    label: str,
) -> None:
    tint = np.zeros((*mask.shape, 4))
    tint[mask] = colour
    axes.imshow(tint, extent=extent, interpolation="nearest").set_label(label)


def _colour(pack: OpenPack, thing: int) -> int:
    """As in the browser: grey is for what the truth does not know."""
    things = pack.index["things"]
    if not things["true"]:
        return thing % len(OBJECT_COLOURS)
    return thing % _GREY if thing < things["true"] else _GREY


def _outline(axes: Axes, mask: np.ndarray, colour: str | tuple[float, ...], line: str) -> None:
    if not mask.any() or mask.all():
        return
    height, width = mask.shape
    axes.contour(
        np.arange(width) + 0.5,
        np.arange(height) + 0.5,
        mask,
        levels=[0.5],
        colors=[colour],
        linewidths=1.4,
        linestyles=line,
    )


def _label(axes: Axes, pack: OpenPack, each: ShownObject) -> None:
    name = "RoI" if each.mask is None else pack.index["classes"][each.label]
    axes.text(
        float(each.box[0]),
        float(each.box[1]),
        f"{name} {each.score:.2f}" + (" false" if each.error else ""),
        fontsize=9,
        color="black",
        va="bottom",
        bbox={
            "facecolor": np.asarray(OBJECT_COLOURS[_colour(pack, each.thing)]) / 255,
            "edgecolor": "none",
            "pad": 1.5,
        },
        clip_on=True,
    )


def _draw_map(axes: Axes, pack: OpenPack, side: ShownSide, extent: tuple[float, float, float, float]) -> None:
    block = pack.index["models"][side.run["model"]]["semantic"]
    if block is None:
        return
    table = np.asarray(OBJECT_COLOURS, dtype=np.float32) / 255
    tint = table[pack.blocks[block] % len(table)]
    axes.imshow(tint, extent=extent, alpha=_TINT, interpolation="nearest").set_label("semantic")


def _caption(pack: OpenPack, side: ShownSide, difference: Difference | None) -> str:
    if difference is not None:
        return (
            f"blue: gained {difference.gained_pixels:,} px, orange: lost {difference.lost_pixels:,} px, "
            f"against {difference.against}"
        )
    shown = len(side.objects)
    words = f"{shown} object{'' if shown == 1 else 's'} shown"
    if pack.index["truth"] is None:
        return f"{words}; no truth for this picture"
    return f"{words}, {sum(each.error > 0 for each in side.objects)} of them false"


def _draw_ap(axes: Axes, sides: Sequence[ShownSide]) -> None:
    """Mask AP on this picture by stage."""
    for number, side in enumerate(sides):
        values = [ap for ap in side.ap or [] if ap is not None]
        thick = 0.7 / len(sides)
        places = np.arange(len(values)) + (number - (len(sides) - 1) / 2) * thick
        colour = INK if number == len(sides) - 1 else "#c3c8cc"
        name = "AB"[number] if len(sides) == 2 else ""
        axes.bar(places, values, width=thick * 0.92, color=colour, label=name)
        for place, value in zip(places, values, strict=True):
            axes.text(place, value + 1, f"{value:.0f}", ha="center", fontsize=9, color=INK)
        axes.set_xticks(
            range(len(values)), [*(f"stage {t}" for t in range(1, len(values))), "mean"], fontsize=9
        )
    plain(axes, "Mask AP on this picture")
    axes.set_ylim(0, 108)
    if len(sides) == 2:
        axes.legend(frameon=False, fontsize=10, labelcolor=INK, loc="upper left", ncols=2)
