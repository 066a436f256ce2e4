"""The figure of lesson 08: where the weights of the full-size models are."""

from collections.abc import Mapping

from htc_lab.plots.figure import Picture, new_figure, plain
from htc_lab.plots.palette import INK, hex_of

_COLOURS = ("#8a9097", "#b9bec3", "#d4d8db", hex_of(6), hex_of(1), hex_of(5))


def plot_parts(models: Mapping[str, Mapping[str, float]]) -> Picture:
    """Millions of parameters by part, one bar per model.

    Args:
        models: the size of each part by its name, by the name of the model; one model must have all parts.
    """
    figure = new_figure(11.0, 0.75 * len(models) + 1.6)
    axes = figure.subplots()
    parts = max(models.values(), key=len)
    for place, (name, sizes) in enumerate(models.items()):
        start = 0.0
        for part, colour in zip(parts, _COLOURS, strict=False):
            size = sizes.get(part, 0.0)
            axes.barh(
                place, size, 0.55, left=start, color=colour, label=part if name == [*models][-1] else None
            )
            start += size
        axes.text(start + 0.6, place, f"{start:.1f} M", va="center", fontsize=11, color=INK)
    axes.set_yticks(range(len(models)), list(models))
    axes.invert_yaxis()
    plain(axes, "Parameters, millions")
    axes.grid(visible=False)
    axes.set_xlim(0, 1.12 * max(sum(sizes.values()) for sizes in models.values()))
    axes.legend(
        frameon=False, fontsize=10.5, labelcolor=INK, ncols=6, loc="upper center", bbox_to_anchor=(0.5, -0.12)
    )
    return figure
