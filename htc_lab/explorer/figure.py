"""The explorer's picture as a still figure, for places where widgets can't run."""

import io
import operator
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch, Rectangle
from PIL import Image

from htc_lab.explorer.lookup import PackSide, difference_of, last_view, sides_of, true_masks
from htc_lab.explorer.pack_format import OpenPack, read_pack
from htc_lab.explorer.side import Difference, ShownObject
from htc_lab.explorer.state import ExplorerState
from htc_lab.explorer.words import counts, difference_words, stage_words
from htc_lab.plots.drawing import MOST_LABELS, detection_words, missed_words
from htc_lab.plots.figure import Picture, bare, new_figure, plain
from htc_lab.plots.palette import FILL, INK, OBJECT_COLOURS, QUIET, colour_number, colour_of

# Inches that a side and the bars are given.
_ACROSS, _BARS = 6.0, 3.4
# About what a label takes: its height, and the width of a letter.
_LABEL_POINTS, _LETTER_POINTS = 15.0, 6.2
_TINT = 0.5
# The difference, on the photo as the browser greys and dims it.
_STRONG = 0.85
_COLOUR_LEFT, _DIMMED = 0.15, 0.72
_OTHER_STAGES = 0.52


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
    figure = new_figure(
        _ACROSS * len(sides) + _BARS * with_ap, min(max(_ACROSS * height / width, 3.2), 9.0) + 0.9
    )
    grid = figure.subplots(
        1, len(sides) + with_ap, squeeze=False, width_ratios=[_ACROSS] * len(sides) + [_BARS] * with_ap
    )[0]
    for axes, side, letter in zip(grid, sides, ("A", "B"), strict=False):
        difference = None
        if side is sides[-1] and "difference" in state.show:
            difference = difference_of(opened, state)
        _draw_side(axes, opened, state, side, f"{letter}  " if len(sides) == 2 else "", difference)
    stage = min(state.stage, last_view(opened))
    if with_ap:
        _draw_ap(grid[-1], sides, stage, _top_ap(opened))
        # As tall as the picture beside it.
        grid[-1].set_box_aspect(height / width * _ACROSS / _BARS)
    words = stage_words(stage, last_view(opened))
    figure.suptitle(
        f"{opened.index['title']}: {words}, score from {state.threshold:.2f}",
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
    side: PackSide,
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
    caption = counts(side) if difference is None else difference_words(difference)
    bare(axes, photo, f"{letter}{side.title}", caption)
    axes.images[0].set_extent(extent)
    if "semantic" in state.show:
        _draw_map(axes, pack, side, extent)
    known = pack.index["truth"] is not None
    # Best last, so that it lies on top.
    for each in reversed(side.objects):
        colour = _colour(pack, each.thing)
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
        _draw_labels(axes, pack, side, "truth" in state.show and known)
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


def _colour(pack: OpenPack, thing: int) -> np.ndarray:
    """(3,) RGB, 0 to 1."""
    return np.asarray(colour_of(colour_number(thing, pack.index["things"]["true"]))) / 255


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


def _words(pack: OpenPack, each: ShownObject) -> str:
    name = "RoI" if each.mask is None else pack.index["classes"][each.label]
    return detection_words(name, each.score, each.error > 0)


def _draw_labels(axes: Axes, pack: OpenPack, side: PackSide, with_missed: bool) -> None:
    """Names and scores, black on the objects' colours; what was missed is named in white on ink."""
    wanted: list[tuple[np.ndarray, str, str | np.ndarray, str]] = [
        (each.box, _words(pack, each), _colour(pack, each.thing), "black")
        for each in side.objects[:MOST_LABELS]
    ]
    if with_missed:
        boxes, labels = pack.blocks[pack.index["truth"]["boxes"]], pack.index["things"]["labels"]
        wanted += [
            (boxes[k], missed_words(pack.index["classes"][labels[k]]), INK, "white") for k in side.missed
        ]
    point = pack.index["size"][1] / (_ACROSS * 72)
    tall = _LABEL_POINTS * point
    used: list[tuple[float, float, float]] = []
    for box, text, paper, ink in wanted:
        long = (_LETTER_POINTS * len(text) + 4) * point
        x, y = _spot(box, long, tall, used, pack.index["size"])
        used.append((x, y, long))
        axes.text(
            x,
            y + tall / 2,
            text,
            fontsize=9,
            color=ink,
            va="center",
            bbox={"facecolor": paper, "edgecolor": "none", "pad": 1.5},
            clip_on=True,
        )


def _spot(
    box: np.ndarray,
    long: float,
    tall: float,
    used: Sequence[tuple[float, float, float]],
    size: Sequence[int],
) -> tuple[float, float]:
    """A label's left upper corner: by its box, in the picture, and where other labels are covered least."""
    height, width = size
    x1, y1, x2, y2 = (float(v) for v in box)
    places = [(x1, y1 - tall), (x2 - long, y1 - tall), (x1, y1), (x1, y2), (x2 - long, y2), (x1, y2 - tall)]
    places += [(x1, y2 + tall), (x2 - long, y2 + tall), (x1, (y1 + y2) / 2)]
    inside = [(max(0.0, min(x, width - long)), max(0.0, min(y, height - tall))) for x, y in places]

    def covered(spot: tuple[float, float]) -> float:
        x, y = spot
        across = (max(0.0, min(x + long, u + w) - max(x, u)) for u, _, w in used)
        down = (max(0.0, tall - abs(y - v)) for _, v, _ in used)
        return sum(map(operator.mul, across, down), 0.0)

    return min(inside, key=covered)


def _draw_map(axes: Axes, pack: OpenPack, side: PackSide, extent: tuple[float, float, float, float]) -> None:
    block = pack.index["models"][side.run["model"]]["semantic"]
    if block is None:
        return
    table = np.asarray(OBJECT_COLOURS, dtype=np.float32) / 255
    tint = table[pack.blocks[block] % len(table)]
    axes.imshow(tint, extent=extent, alpha=_TINT, interpolation="nearest").set_label("semantic")


def _top_ap(pack: OpenPack) -> int:
    """One scale for all settings of the picture, so that figures can be compared; as in the browser."""
    most = max(max(run["truth"]["ap"]) for run in pack.index["runs"])
    return next((top for top in (25, 50, 75) if most <= 0.98 * top), 100)


def _draw_ap(axes: Axes, sides: Sequence[PackSide], stage: int, top: int) -> None:
    """Mask AP on this picture by stage; what the picture shows is the stronger bar."""
    colours = ["#c3c8cc", INK][-len(sides) :]
    for number, (side, colour) in enumerate(zip(sides, colours, strict=True)):
        values = [ap for ap in side.ap or [] if ap is not None]
        thick = 0.7 / len(sides)
        places = np.arange(len(values)) + (number - (len(sides) - 1) / 2) * thick
        bars = axes.bar(places, values, width=thick * 0.92, color=colour)
        for view, (bar, value) in enumerate(zip(bars, values, strict=True), start=1):
            if stage not in (0, view):
                # A mixed colour instead of transparency, so that the lines behind don't show through.
                bar.set_facecolor(_OTHER_STAGES * np.asarray(to_rgb(colour)) + 1 - _OTHER_STAGES)
            middle = bar.get_x() + bar.get_width() / 2
            axes.text(middle, value + 0.01 * top, f"{value:.0f}", ha="center", fontsize=9, color=INK)
        axes.set_xticks(
            range(len(values)), [*(f"stage {t}" for t in range(1, len(values))), "mean"], fontsize=9
        )
    plain(axes, "Mask AP on this picture")
    axes.set_ylim(0, 1.08 * top)
    if len(sides) == 2:
        keys = [Patch(color=colour, label=name) for colour, name in zip(colours, "AB", strict=True)]
        axes.legend(handles=keys, frameon=False, fontsize=10, labelcolor=INK, loc="upper left", ncols=2)
