"""The report of an ablation: where each rung helps, in tables and figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from htc_lab.ablation.measures import Rungs, measure_ladder
from htc_lab.ablation.rung_result import gain_words
from htc_lab.evaluate.matching import NEAR
from htc_lab.evaluate.situations import MATCH, OCCLUDED, SCORE
from htc_lab.files import write_atomically, write_json, write_text
from htc_lab.plots.figure import Picture
from htc_lab.plots.palette import rung_words
from htc_lab.report.situation_figures import (
    plot_error_types,
    plot_situation_stages,
    plot_situations,
    rows_of_kind,
)
from htc_lab.wording import signed

_RULES = f"""Mask AP of a situation: only its objects count; the others count as neither found nor
missed, and detections of them (the object a mask overlaps most, IoU at least {NEAR}) are ignored.
Detections of no object are false in every situation, so AP is lower where objects are few: compare rungs
within a row, not rows with each other. It is the mean over the classes that have such objects, so a class
with a few of them weighs as much as one with hundreds, which widens the interval. Recall: the share
of objects found by a detection of their class that scores at least {SCORE} and has a mask IoU of at least
{MATCH}."""

_SCENES = f"""Occluded: over {100 * OCCLUDED:.0f} % hidden by other objects. Thin: opening by 3 × 3 px takes
over 30 % of the mask. Small: the longer side is below 3/16 of the picture's. Touching: an object of the same
class is next to it. A decoy is taken if a detection of the class it looks like, scoring at least {SCORE},
has a box IoU of at least {MATCH} with it and matches no true object."""

_NO_SCENES = """These annotations don't say which objects are occluded, thin or touching, have holes or
are cut by the edge, and there are no decoys: only classroom scenes have all that. So the report goes by size
(COCO's area limits) and by error type. The figures differ a little from COCO's APs, APm and APl, which
ignore a detection that matches nothing if its own area is out of range."""

_ERRORS = """Types and costs after TIDE (Bolya et al., ECCV 2020), by mask IoU: the mask AP50 gained if the
errors of one type alone were fixed. The costs don't add up. In square brackets: how many errors there are,
at any score."""


def write_report(ladder_folder: Path, rungs: Rungs, truth: dict[str, Any], out: Path) -> Path:
    """Write ``report.md``, its figures and ``report.json`` (what ``measure_ladder`` returns).

    Args:
        ladder_folder: of the ablation, named at the top of the report.
        rungs: name and run folders of each rung, one per seed, in the same order for all; the others are
            compared with the first. Each folder must contain ``detections.json`` and may contain
            ``detections_stage1.json``, ...
        truth: COCO data set of the test images, as from ``truth_of``.
        out: folder to write to, created if missing.

    Returns:
        The path of ``report.md``.

    Raises:
        InputError: see :func:`htc_lab.ablation.measures.measure_ladder`.
    """
    return write_measured(measure_ladder(rungs, truth), ladder_folder.name, out)


def write_measured(measured: dict[str, Any], title: str, out: Path) -> Path:
    """Like :func:`write_report`, for results that are already measured.

    Args:
        measured: from ``measure_ladder``.
        title: shown at the top.
        out: folder to write to, created if missing.
    """
    write_json(out / "report.json", measured)
    figures = {
        "situations.png": plot_situations(measured),
        "error_types.png": plot_error_types(measured),
        "stages.png": plot_situation_stages(measured),
    }
    for name, figure in figures.items():
        if figure is not None:
            write_figure(out / name, figure)
    path = out / "report.md"
    write_text(path, report_text(measured, title))
    return path


def write_figure(path: Path, figure: Picture) -> None:
    """Write a figure as PNG, atomically."""
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=130))


def report_text(measured: Mapping[str, Any], title: str) -> str:
    """The report as Markdown.

    Args:
        measured: from ``measure_ladder``.
        title: of the ablation.
    """
    scenes = measured["scene_attributes"]
    parts = [f"# Where each rung helps: {title}", _basis(measured), findings(measured)]
    parts += ["## Situations", "![Mask AP by situation](situations.png)"]
    parts += [_RULES, _SCENES if scenes else _NO_SCENES]
    parts += ["Mask AP:", table(measured, "mask_ap"), "Recall, %:", table(measured, "recall")]
    if rows_of_kind(measured, "decoys"):
        parts += ["Decoys taken for the thing they look like, %:", table(measured, "decoys")]
    parts += ["## Error types", "![What errors cost](error_types.png)", _ERRORS]
    parts += [table(measured, "ap50"), "Cost in points of AP50:", table(measured, "error")]
    parts += ["## By stage", _stages(measured)]
    return "\n\n".join(parts) + "\n"


def _basis(measured: Mapping[str, Any]) -> str:
    names = ", ".join(rung_words(name) for name in measured["rungs"])
    if measured["seeds"] > 1:
        words = (
            f"{measured['seeds']} training seeds; values are means (lowest to highest in brackets), "
            f"intervals are paired over the seeds"
        )
    else:
        words = (
            "one training seed; intervals are paired over the images, and say nothing about how another "
            "training would have turned out"
        )
    return f"Rungs: {names}. {measured['images']:,} test images, {words}. Intervals are 95 %, in points."


def findings(measured: Mapping[str, Any]) -> str:
    """In words: what differs clearly from the first rung."""
    kinds = {"mask_ap": "mask AP, ", "decoys": "", "error": "cost of "}
    first = rung_words(measured["rungs"][0])
    lines, compared = [], 0
    for place, name in enumerate(measured["rungs"][1:], start=1):
        clear = []
        for row in (r for r in measured["rows"] if r["kind"] in kinds):
            gain = row["rungs"][place]["gain"]
            if gain["value"] is None:
                continue
            compared += 1
            if gain["low"] > 0 or gain["high"] < 0:
                clear.append(f"{kinds[row['kind']]}{row['words']} {signed(gain['value'])}")
        found = "; ".join(clear) or "nothing differs clearly"
        lines.append(f"- {rung_words(name).removeprefix('+ ')}: {found}.")
    if not lines:
        return "One rung alone: nothing to compare."
    note = (
        f"Of {compared} comparisons, about one in twenty would look clear by chance alone: read these as "
        "hints about where to look."
    )
    return "\n".join(
        [f"Clearly different from {first.lower()} (the interval excludes zero):", "", *lines, "", note]
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _spread(rung: Mapping[str, Any]) -> str:
    values = [v for v in rung["values"] if v is not None]
    text = _number(rung["mean"])
    if len(values) > 1:
        text += f" ({min(values):.1f} to {max(values):.1f})"
    if "counts" in rung:
        text += f" [{round(sum(rung['counts']) / len(rung['counts']))}]"
    return text


def table(measured: Mapping[str, Any], kind: str) -> str:
    """One line per quantity: number of objects, each rung, each rung minus the first."""
    rows = rows_of_kind(measured, kind)
    counted = rows[0]["count"] is not None
    words = [rung_words(name) for name in measured["rungs"]]
    header = ["", *(["number"] * counted), *words, *(f"{w.removeprefix('+ ')} − first" for w in words[1:])]
    lines = [header, ["---"] * len(header)]
    for row in rows:
        cells = [row["words"], *([f"{row['count']:,}"] if counted else [])]
        cells += [_spread(rung) for rung in row["rungs"]]
        lines.append([*cells, *(gain_words(rung["gain"]) for rung in row["rungs"][1:])])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _stages(measured: Mapping[str, Any]) -> str:
    """Mask AP and the costs of errors by stage, for the rungs whose stage masks were kept."""
    shown = [rung for rung in rows_of_kind(measured, "mask_ap")[0]["rungs"] if rung["stages"]]
    if not shown:
        return "The masks of single stages were not kept in these runs, so there is nothing to show by stage."
    lines = [
        "![Mask AP by stage](stages.png)",
        "",
        "Masks of each stage alone, on the final boxes, and the result.",
    ]
    for place, rung in enumerate(measured["rungs"]):
        stages = len(rows_of_kind(measured, "mask_ap")[0]["rungs"][place]["stages"])
        if not stages:
            continue
        header = ["", *(f"stage {t + 1}" for t in range(stages)), "result"]
        lines += ["", f"{rung_words(rung)}, mask AP, then cost of errors in points of AP50:", ""]
        lines += [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
        for row in [*rows_of_kind(measured, "mask_ap"), *rows_of_kind(measured, "error")]:
            cell = row["rungs"][place]
            means = [sum(values) / len(values) for values in cell["stages"]]
            lines.append(f"| {' | '.join([row['words'], *map(_number, [*means, cell['mean']])])} |")
    return "\n".join(lines)
