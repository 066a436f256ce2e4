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
from htc_lab.presets import PRESET_RECORDS, RELEASED_BY, Preset, Released

PAGE = Path(__file__).resolve().parents[1] / "docs" / "presets.md"


@dataclass(frozen=True)
class Row:
    """One preset.

    Attributes:
        name: as ``--preset`` takes it.
        parameters, trainable: how many numbers it has, and how many of them are trained.
        schedule: how long, and at which sizes if that is unusual.
        score_threshold: detections score more than this, in its own evaluation.
        released: None if the reference has released no such model.
    """

    name: str
    parameters: int
    trainable: int
    schedule: str
    score_threshold: float
    released: Released | None


def rows() -> list[Row]:
    """All presets, counted on models that are built without memory for their weights."""
    from htc_lab.checkpoint.filling import empty_model

    found = []
    for name, preset in PRESET_RECORDS.items():
        sizes = [(p.numel(), p.requires_grad) for p in empty_model(preset.config).parameters()]
        found.append(
            Row(
                name,
                sum(count for count, _ in sizes),
                sum(count for count, trained in sizes if trained),
                _schedule(preset),
                preset.config.cascade.score_threshold,
                preset.released,
            )
        )
    return found


def _schedule(preset: Preset) -> str:
    schedule, image = preset.schedule, preset.config.image
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
        [*(line.rstrip() for line in shown), f"AP, memory and speed: {RELEASED_BY}; speed on a V100."]
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
        "* **parameters, trainable**: counted by the program. The stem and the first layer are frozen, of",
        "  `photos` the whole backbone; batch norm keeps its stored statistics, and outside the frozen part",
        "  its scale and shift are trained.",
        "* **schedule**: the learning rate is divided by ten after epochs 8 and 11 of 12, or 16 and 19 of",
        "  20; of the lab's own presets' steps, after 70 % and 90 %.",
        "* **score >**: detections must score more than this. The released HTC models are evaluated at",
        "  0.001, the released Cascade Mask R-CNNs at 0.05, so their AP is not quite like for like.",
        "* **box AP, mask AP**: COCO val2017, single scale, of the weights released by the reference, not",
        "  measured here. **memory**: of one GPU in training. **images/s**: on a V100. Source: "
        f"{RELEASED_BY};",
        "  images/s is 1000 over its milliseconds. A dash: not given there.",
        "* `classroom` and `photos` are this lab's own, `photos` with an EfficientNet-Lite0 by timm;",
        "  `htc_without_semantic_r50_1x` is a config of the reference for which no weights were released.",
        "  `htc_senet154_dcn_syncbn_ms_20e` is the paper's table 6 up to its largest backbone; there is no",
        "  such config and there are no such weights.",
        "",
    ]
    return "\n".join(lines)


def as_json(table: list[Row]) -> dict[str, Any]:
    """One object."""
    return {"source": RELEASED_BY, "presets": [dataclasses.asdict(row) for row in table]}


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
