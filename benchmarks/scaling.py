"""How cost grows: ``python -m benchmarks.scaling [--out FOLDER] [--json]``.

Time by part over image size, proposals, detections, objects in training, stages, batch and reading processes.
Writes curves (``scaling.png``) and a table with what grows how (``scaling.md``).
"""

import dataclasses
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from benchmarks import data_loading, train_step
from benchmarks.figures import seconds_of, show
from benchmarks.inference import sized
from benchmarks.parts import Parts, parts_of
from benchmarks.pictures import picture
from htc_lab.config import ModelConfig
from htc_lab.measured_on import describe_machine
from htc_lab.model import HybridTaskCascade, build_model
from htc_lab.presets import preset

# Of a curve's largest total; parts below it are noise to the reader.
_SMALL = 0.02
TOTAL = "all"


@dataclass
class Options:
    """Fresh weights; everything but the one thing that grows stays as it is."""

    out: Path = Path("runs/scaling")
    """Folder for the figure and the table."""
    preset: str = "htc_r50_1x"
    """Which model."""
    sides: tuple[int, ...] = (256, 384, 512, 800)
    """Shorter sides of pictures, px; the longer ones are 4/3 of them."""
    side: int = 384
    """Shorter side where something else grows."""
    proposals: tuple[int, ...] = (125, 250, 500, 1000)
    """An image at test time."""
    detections: tuple[int, ...] = (12, 25, 50, 100)
    """An image at test time."""
    objects: tuple[int, ...] = (1, 4, 16, 64)
    """An image in training, with as many proposals on each as a trained RPN has, 8."""
    stages: tuple[int, ...] = (1, 2, 3)
    """Of the cascade."""
    batches: tuple[int, ...] = (1, 2, 4)
    """Images at a time at test time."""
    workers: tuple[int, ...] = (0, 1, 2)
    """Processes that read images."""
    images: int = 96
    """Read for each number of them."""
    repeats: int = 2
    """Timed runs of each point, after one to warm up; the fastest counts."""
    device: str = "cpu"
    """cpu or cuda."""
    json: bool = False
    """Print one JSON object."""


Point = dict[str, float]


@dataclass(frozen=True)
class Curve:
    """What one thing costs.

    Attributes:
        title: what grows.
        unit: of ``x``, and of what the seconds are.
        x: the values, rising.
        points: at each, seconds by part; ``all`` is their sum.
    """

    title: str
    unit: str
    x: list[float]
    points: list[Point]

    def seconds(self, part: str) -> list[float]:
        """Of one part at each x."""
        return [point.get(part, 0.0) for point in self.points]

    def parts(self) -> list[str]:
        """Those that are seen, the whole first, then the largest."""
        names = {name for point in self.points for name in point}
        largest = {name: max(self.seconds(name)) for name in names}
        seen = [n for n in sorted(names, key=lambda n: -largest[n]) if largest[n] > _SMALL * largest[TOTAL]]
        return [TOTAL, *(name for name in seen if name != TOTAL)]

    def exponent(self, part: str) -> float:
        """p of the power law seconds = c x^p through the part's points; 1 is in proportion, 0 not at all."""
        used = [(x, s) for x, s in zip(self.x, self.seconds(part), strict=True) if x > 0 and s > 0]
        if len(used) < 2:
            return 0.0
        x, seconds = np.log(np.array(used)).T
        return round(float(np.polyfit(x, seconds, 1)[0]), 2)


def _point(run: Callable[[], Any], watched: list[tuple[str, Any, str]], options: Options) -> Point:
    """Seconds by part of the fastest of several runs."""
    run()
    points = []
    for _ in range(options.repeats):
        parts = Parts(options.device)
        with parts.watching(watched):
            total = seconds_of(run, options.device)
        points.append({TOTAL: total, **parts.shares(1, total)})
    return min(points, key=lambda point: point[TOTAL])


def _model(config: ModelConfig, side: int, options: Options) -> HybridTaskCascade:
    return build_model(sized(config, side, side * 4 // 3), seed=0).eval().to(options.device)


@torch.no_grad()
def _inference(config: ModelConfig, side: int, options: Options, batch: int = 1) -> Point:
    model = _model(config, side, options)
    images = [picture(side, side * 4 // 3, i) for i in range(batch)]
    return _point(lambda: model.predict(images), parts_of(model), options)


@torch.no_grad()
def _proposals(config: ModelConfig, most: int, options: Options) -> tuple[float, Point]:
    """How many there are and what they cost, on the largest picture: a small one has few."""
    config = dataclasses.replace(config, rpn=dataclasses.replace(config.rpn, test_after_nms=most))
    side = max(options.sides)
    model, images = _model(config, side, options), [picture(side, side * 4 // 3)]
    count = len(model.propose(model.encode(images)).rois)
    return float(count), _point(lambda: model.predict(images), parts_of(model), options)


def _training(count: int, options: Options) -> Point:
    step = train_step.Step(
        train_step.Options(
            preset=options.preset,
            height=options.side,
            width=options.side * 4 // 3,
            objects=count,
            on_objects=8 * count,
            device=options.device,
        )
    )
    watched = [*parts_of(step.model), ("losses", step, "forward"), ("backward", step, "backward")]
    return _point(step, watched, options)


def curves(options: Options) -> list[Curve]:
    """Measure all of them."""
    config = preset(options.preset)

    def with_detections(n: int) -> ModelConfig:
        return dataclasses.replace(config, cascade=dataclasses.replace(config.cascade, max_detections=n))

    def with_stages(n: int) -> ModelConfig:
        return dataclasses.replace(config, toggles=dataclasses.replace(config.toggles, stages=n))

    def curve(title: str, unit: str, values: tuple[int, ...], measure: Callable[[int], Point]) -> Curve:
        return Curve(title, unit, [float(v) for v in values], [measure(v) for v in values])

    side = options.side
    by_side = curve("image size", "pixels", options.sides, lambda n: _inference(config, n, options))
    return [
        dataclasses.replace(by_side, x=[float(n * (n * 4 // 3)) for n in options.sides]),
        Curve("proposals", "an image", *_columns(_proposals(config, n, options) for n in options.proposals)),
        curve(
            "detections",
            "an image",
            options.detections,
            lambda n: _inference(with_detections(n), side, options),
        ),
        curve("objects in training", "an image", options.objects, lambda n: _training(n, options)),
        curve(
            "stages", "of the cascade", options.stages, lambda n: _inference(with_stages(n), side, options)
        ),
        curve("batch", "images", options.batches, lambda n: _inference(config, side, options, n)),
        Curve("reading processes", "beside the one that trains", *_reading(options)),
    ]


def _columns(pairs: Iterable[tuple[float, Point]]) -> tuple[list[float], list[Point]]:
    x, points = zip(*pairs, strict=True)
    return list(x), list(points)


def _reading(options: Options) -> tuple[list[float], list[Point]]:
    """Seconds an image, of the loader alone."""
    asked = data_loading.Options(images=options.images, steps=options.images // 4, batch=4, size=options.side)
    with tempfile.TemporaryDirectory() as folder:
        _, schedule, dataset = data_loading.material(asked, Path(folder) / "scenes")
        points = [{TOTAL: 1 / data_loading.loader_rate(dataset, schedule, n)} for n in options.workers]
    return [float(n) for n in options.workers], points


def in_words(exponent: float) -> str:
    """How something grows."""
    if exponent < -0.15:
        return "falls"
    if exponent < 0.15:
        return "stays"
    if exponent < 0.75:
        return "grows slowly"
    return "grows in proportion" if exponent < 1.25 else "grows faster than in proportion"


def table(found: list[Curve]) -> str:
    """Markdown: for each curve the milliseconds of every part, and how it grows."""
    lines = []
    for curve in found:
        values = " | ".join(f"{x:,.0f}" for x in curve.x)
        lines += [f"### {curve.title} ({curve.unit})", "", f"| ms | {values} | exponent | |"]
        lines.append("|---" * (len(curve.x) + 3) + "|")
        for part in curve.parts():
            times = " | ".join(
                f"{1e3 * s:.0f}" if s >= 0.1 else f"{1e3 * s:.1f}" for s in curve.seconds(part)
            )
            p = curve.exponent(part)
            lines.append(f"| {part} | {times} | {p:.2f} | {in_words(p)} |")
        lines.append("")
    return "\n".join(lines)


def draw(found: list[Curve], path: Path) -> None:
    """The curves, one panel each; both axes are logarithmic but where a curve begins at none."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(15, 7.5), layout="constrained")
    axes = figure.subplots(2, 4).flatten()
    names = sorted({part for curve in found for part in curve.parts()} - {TOTAL})
    # Of this map's pairs the dark ones first: there are more parts than the ten usual colours.
    colours = colormaps["tab20"].colors[::2] + colormaps["tab20"].colors[1::2]
    styles = dict(zip(names, colours, strict=False)) | {TOTAL: "black"}
    for axis, curve in zip(axes, found, strict=False):
        for part in curve.parts():
            width = 2.5 if part == TOTAL else 1.3
            axis.plot(curve.x, curve.seconds(part), "o-", color=styles[part], label=part, lw=width, ms=4)
        if min(curve.x) > 0:
            axis.set_xscale("log")
            axis.set_yscale("log")
            # A curve may stay within a power of ten.
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.minorticks_off()
        else:
            axis.set_ylim(bottom=0)
        axis.set_xticks(curve.x, [f"{x:,.0f}" for x in curve.x])
        axis.set_title(curve.title)
        axis.set_xlabel(curve.unit)
        axis.set_ylabel("seconds")
        axis.grid(alpha=0.3)
    handles = {h.get_label(): h for axis in axes for h in axis.get_legend_handles_labels()[0]}
    for axis in axes[len(found) :]:
        axis.axis("off")
    axes[-1].legend(handles.values(), handles.keys(), loc="center", ncols=2, frameon=False)
    figure.savefig(path, dpi=90)


def measure(options: Options) -> dict[str, Any]:
    """Run the benchmark and write figure and table: figures by name."""
    found: list[Curve] = []
    total = seconds_of(lambda: found.extend(curves(options)))
    options.out.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    told = ", ".join(f"{name} {value}" for name, value in machine.items())
    (options.out / "scaling.md").write_text(f"{options.preset} on {told}\n\n{table(found)}", encoding="utf-8")
    draw(found, options.out / "scaling.png")
    return {
        "preset": options.preset,
        "seconds": round(total, 1),
        "vs_torchvision": None,
        "curves": {
            curve.title: {
                "x": curve.x,
                **{part: [round(s, 4) for s in curve.seconds(part)] for part in curve.parts()},
                "exponents": {part: curve.exponent(part) for part in curve.parts()},
            }
            for curve in found
        },
        "out": str(options.out),
        "machine": machine,
    }


if __name__ == "__main__":
    options = tyro.cli(Options)
    figures = measure(options)
    if options.json:
        show(figures, True)
    else:
        print((options.out / "scaling.md").read_text(encoding="utf-8"))
        print(f"{figures['seconds']} s; {options.out}/scaling.png, scaling.md")
