"""The presets as a table: size, schedule, and what the released weights of the same model reach.

``python -m htc_lab.preset_table`` writes it as docs/presets.md; ``htc-lab train --list`` prints it.
"""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from htc_lab.errors import InputError
from htc_lab.files import write_text
from htc_lab.presets import PRESETS, schedule_of

SOURCE = "mmdet 3.3.0 model zoo (configs/htc/metafile.yml, configs/cascade_rcnn/metafile.yml)"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "presets.md"


@dataclass(frozen=True)
class Released:
    """What the reference's released weights reach on COCO val2017, single scale.

    Attributes:
        box_ap, mask_ap: in percent.
        memory_gb: of one GPU in training, with the images a GPU of the released run.
        images_per_second: at 800 x 1333 px, batch 1, on a V100.
    """

    box_ap: float
    mask_ap: float
    memory_gb: float | None = None
    images_per_second: float | None = None


RELEASED_FIGURES: dict[str, Released] = {
    "cascade_r50_1x": Released(41.2, 35.9, 6.0, 11.2),
    "cascade_r50_20e": Released(41.9, 36.5, 6.0, 11.2),
    "cascade_r101_20e": Released(43.4, 37.8, 7.9, 9.8),
    "cascade_x101_32x4d_20e": Released(45.0, 39.0, 9.2, 8.6),
    "cascade_x101_64x4d_20e": Released(45.6, 39.5, 12.2),
    "htc_r50_1x": Released(42.3, 37.4, 8.2, 5.8),
    "htc_r50_20e": Released(43.3, 38.3, 8.2, 5.8),
    "htc_r101_20e": Released(44.8, 39.6, 10.2, 5.5),
    "htc_x101_32x4d_20e": Released(46.1, 40.5, 11.4, 5.0),
    "htc_x101_64x4d_20e": Released(47.0, 41.4, 14.5, 4.4),
    "htc_x101_64x4d_dcn_ms_20e": Released(50.4, 43.8),
}
"""Preset -> figures of the released model with its architecture and schedule."""


@dataclass(frozen=True)
class Row:
    """One preset.

    Attributes:
        name: as ``--preset`` takes it.
        parameters, trainable: how many numbers it has, and how many of them are trained.
        schedule: how long, and at which sizes where that is unusual.
        score_threshold: detections score more than this, in its own evaluation.
        released: None where the reference has released no such model.
    """

    name: str
    parameters: int
    trainable: int
    schedule: str
    score_threshold: float
    released: Released | None


def rows() -> list[Row]:
    """All presets, counted on models that are built without memory for their weights."""
    from htc_lab.checkpoint.files import empty_model

    found = []
    for name, config in PRESETS.items():
        sizes = [(p.numel(), p.requires_grad) for p in empty_model(config).parameters()]
        found.append(
            Row(
                name,
                sum(count for count, _ in sizes),
                sum(count for count, trained in sizes if trained),
                _schedule(name),
                config.cascade.score_threshold,
                RELEASED_FIGURES.get(name),
            )
        )
    return found


def _schedule(name: str) -> str:
    schedule, image = schedule_of(name), PRESETS[name].image
    length = f"{schedule.steps} steps" if schedule.steps else f"{schedule.epochs} epochs"
    if len(image.train_short) > 1:
        length += f", short side {image.train_short[0]} to {image.train_short[-1]} px"
    return f"{length}, batch {schedule.batch}"


_HEADS = (
    "preset",
    "parameters",
    "trainable",
    "schedule",
    "score >",
    "box AP",
    "mask AP",
    "memory GB",
    "images/s",
)


def _cells(row: Row) -> tuple[str, ...]:
    figures = dataclasses.astuple(row.released) if row.released else (None,) * 4
    shown = ("–" if value is None else f"{value:.1f}" for value in figures)
    count, trainable = f"{row.parameters:,}", f"{row.trainable:,}"
    return (row.name, count, trainable, row.schedule, f"{row.score_threshold:g}", *shown)


def as_text(table: list[Row]) -> str:
    """For a terminal."""
    lines = [_HEADS, *map(_cells, table)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    left = (0, 3)
    shown = [
        "  ".join(
            c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    return "\n".join(
        [*(line.rstrip() for line in shown), f"AP, memory and speed: {SOURCE}; speed on a V100."]
    )


def as_markdown(table: list[Row]) -> str:
    """docs/presets.md."""
    lines = [
        "# Presets",
        "",
        "Written by `python -m htc_lab.preset_table`; `htc-lab train --list` prints the same figures.",
        "",
        "| " + " | ".join(_HEADS) + " |",
        "|" + "|".join("---" if i in (0, 3) else "---:" for i in range(len(_HEADS))) + "|",
        *("| " + " | ".join((f"`{name}`", *cells)) + " |" for name, *cells in map(_cells, table)),
        "",
        "* **parameters, trainable**: counted by the program. The stem and the first layer are frozen;",
        "  batch norm keeps its stored statistics, and outside the frozen part its scale and shift are",
        "  trained.",
        "* **schedule**: the learning rate is divided by ten after epochs 8 and 11 of 12, or 16 and 19 of",
        "  20; of the classroom's steps, after 70 % and 90 %.",
        "* **score >**: detections must score more than this. The released HTC models are evaluated at",
        "  0.001, the released Cascade Mask R-CNNs at 0.05, so their AP is not quite like for like.",
        "* **box AP, mask AP**: COCO val2017, single scale, of the weights released by the reference, not",
        f"  measured here. **memory**: of one GPU in training. **images/s**: on a V100. Source: {SOURCE};",
        "  images/s is 1000 over its milliseconds. A dash: not given there.",
        "* `classroom` is this lab's own; `htc_without_semantic_r50_1x` is a config of the reference for",
        "  which no weights were released.",
        "",
    ]
    return "\n".join(lines)


def as_json(table: list[Row]) -> dict[str, Any]:
    """One object."""
    return {"source": SOURCE, "presets": [dataclasses.asdict(row) for row in table]}


def main() -> None:
    """Write docs/presets.md."""
    if not PAGE.parent.is_dir():
        raise InputError(f"{PAGE.parent}: no such folder; run this in a checkout of the repository")
    write_text(PAGE, as_markdown(rows()))
    print(PAGE)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
