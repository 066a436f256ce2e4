"""The common look of all figures."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from htc_lab.plots.palette import INK, QUIET, RULE


class Picture(Figure):
    """A figure that a notebook shows once, where it is returned, whether or not pyplot was imported.

    Attributes:
        colours: the number of colours in the file's palette.
    """

    colours = 128

    def _repr_png_(self) -> bytes:
        drawn, light = io.BytesIO(), io.BytesIO()
        self.savefig(drawn, format="png")
        # A palette shrinks the file to a fourth: notebooks contain their pictures.
        Image.open(drawn).convert("RGB").quantize(self.colours).save(light, format="png", optimize=True)
        return light.getvalue()


def new_figure(width: float, height: float) -> Picture:
    """An empty white figure; width and height in inches."""
    return Picture(figsize=(width, height), dpi=100, facecolor="white", layout="constrained")


def bare(axes: Axes, picture: np.ndarray, title: str, caption: str = "") -> None:
    """Show a picture without ticks or frame, a title above and a caption below."""
    axes.imshow(picture, interpolation="antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_frame_on(False)
    axes.set_title(title, fontsize=13, color=INK, loc="left")
    if caption:
        axes.set_xlabel(caption, fontsize=11, color=QUIET, loc="left")


def plain(axes: Axes, title: str, ylabel: str = "", xlabel: str = "") -> None:
    """Style a plot: a title, axis labels and only thin lines."""
    axes.set_title(title, fontsize=13, color=INK, loc="left", pad=12)
    axes.set_ylabel(ylabel, fontsize=11, color=QUIET)
    axes.set_xlabel(xlabel, fontsize=11, color=QUIET)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=11, labelcolor=INK)


def row_of_pictures(
    pictures: Sequence[tuple[np.ndarray, str, str]], headline: str = "", columns: int | None = None
) -> Picture:
    """A row of pictures of equal size, or several rows of ``columns`` each, with titles and captions."""
    columns = min(columns or len(pictures), len(pictures))
    rows = -(-len(pictures) // columns)
    height, width = pictures[0][0].shape[:2]
    across = 16.0 if columns > 2 else 6.5 * columns
    down = rows * (across / columns * height / width + 0.75) + (0.4 if headline else 0.0)
    figure = new_figure(across, down)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (picture, title, caption) in zip(grid, pictures, strict=False):
        bare(axes, picture, title, caption)
    for axes in grid[len(pictures) :]:
        axes.set_visible(False)
    if headline:
        figure.suptitle(headline, fontsize=13, color=INK, x=0.005, ha="left")
    return figure
