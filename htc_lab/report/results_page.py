"""The results of a finished ladder, to be committed: JSON, figures and a page, all of it generated."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from htc_lab.ablation.ladder import Ladder
from htc_lab.ablation.measures import measure_ladder
from htc_lab.ablation.record import ladder_record, run_records
from htc_lab.ablation.rung_result import mean, spread
from htc_lab.ablation.studies import study_markdown
from htc_lab.files import write_json, write_text
from htc_lab.report.ladder_figures import plot_ladder, plot_stage_ap
from htc_lab.report.ladder_report import findings, table, write_figure, write_measured
from htc_lab.wording import signed

_INTRO = """All numbers and figures here were written by `{writer}`
from the runs that the command above each table trains and evaluates; none was typed by hand. What was
compared, on which data, and how choices were made: [protocol.md](protocol.md). AP is in points (COCO, IoU
0.5 to 0.95).
"Paper": as reported in the paper for COCO val2017 and a ResNet-50; compare the differences, not the levels.
Intervals are 95 %, in bold if they exclude zero."""


def write_results(
    ladder: Ladder, name: str, title: str, command: str, writer: str, results: Path, page: Path
) -> Path:
    """Write what a repository keeps of a ladder.

    Args:
        ladder: with all rungs done; finished combinations and studies are included, too.
        name: of the files: ``NAME_ladder.json``, and the folder ``NAME/`` with the report, the figures and
            ``runs/``, which has a small JSON file per run.
        title: of the page.
        command: the command that trains and measures the ladder, without flags of studies.
        writer: the command that writes this.
        results: folder of the files.
        page: the Markdown page.

    Returns:
        ``page``.

    Raises:
        InputError: a rung is not done, or its files are missing or broken.
    """
    rungs = [(rung, ladder.done[rung].run_folders) for rung in ladder.rungs if rung in ladder.done]
    measured = measure_ladder(rungs, ladder.truth)
    record = ladder_record(ladder, measured, command)
    write_json(results / f"{name}_ladder.json", record)
    folder = results / name
    write_measured(measured, title, folder)
    for run, kept in run_records(ladder).items():
        write_json(folder / "runs" / f"{run}.json", kept)
    for file, figure in (("ladder.png", plot_ladder(record)), ("stage_ap.png", plot_stage_ap(record))):
        write_figure(folder / file, figure)
    write_text(page, page_text(ladder, record, measured, title, writer, os.path.relpath(folder, page.parent)))
    return page


def page_text(
    ladder: Ladder,
    record: Mapping[str, Any],
    measured: Mapping[str, Any],
    title: str,
    writer: str,
    files: str,
) -> str:
    """The page as Markdown.

    Args:
        ladder: for the tables of costs and effects.
        record: from :func:`htc_lab.ablation.record.ladder_record`.
        measured: from :func:`htc_lab.ablation.measures.measure_ladder`.
        title: of the page.
        writer: the command that writes it.
        files: the folder of figures as the page sees it.
    """
    command, data, machine = record["command"], record["data"], record["machine"]
    gpu = "" if machine["gpu"] == "none" else f", {machine['gpu']}"
    schedule = record["config"]["schedule"]
    parts = [
        f"# {title}",
        _INTRO.format(writer=writer),
        f"{data['train_images']:,} training images, {data['test_images']:,} test images, "
        f"{schedule['steps']:,} steps of {schedule['batch']}; {machine['processor']}, "
        f"{machine['cores']} cores{gpu}; torch {machine['torch']}.",
        "## The ladder",
        _code(command),
        _ladder(record),
        record["verdict"],
        f"![Mask and box AP of each rung]({files}/ladder.png)",
        f"![Mask AP of each stage's masks]({files}/stage_ap.png)",
        "Every seed:",
        _seeds(record),
    ]
    costs = ladder.cost_markdown()
    if costs:
        parts += ["## What each idea costs", _code(f"{command} --costs"), costs]
    parts += [
        "## Where each rung helps",
        _code(f"{command} --report"),
        findings(measured),
        f"![Mask AP by situation]({files}/situations.png)",
        table(measured, "mask_ap"),
        f"Recall, decoys, error types, and all of this by stage: [the report]({files}/report.md).",
    ]
    if record["effects"]:
        seeds = record["combinations"][0]["seeds"]
        parts += ["## Each idea in every combination", _code(_with(command, seeds, "--combinations"))]
        parts += [ladder.effects_markdown()]
    if record["studies"]:
        parts.append("## Beyond the ladder")
    for study in record["studies"]:
        heading, body = study_markdown(study).split("\n\n", 1)
        flag = f"--{study['name'].replace('_', '-')}"
        parts += [heading, _code(_with(command, study["seeds"], flag)), body]
    return "\n\n".join(parts) + "\n"


def _code(command: str) -> str:
    return f"    {command}"


def _with(command: str, seeds: list[int], flag: str) -> str:
    """The ladder's command with other seeds and an additional flag."""
    return f"{command.split(' --seeds')[0]} --seeds {' '.join(map(str, seeds))} {flag}"


def _gain(gain: Mapping[str, Any]) -> str:
    low, high = gain["ci95"]
    text = f"{signed(gain['mask_ap'])} ({signed(low)} to {signed(high)})"
    return f"**{text}**" if low > 0 or high < 0 else text


def _ladder(record: Mapping[str, Any]) -> str:
    """The rungs beside the paper's."""
    lines = [
        "| rung | mask AP | over the previous rung | over the first | mask AP75 | box AP "
        "| paper: mask AP | over the previous rung | over the first | box AP |",
        f"|{'---|' * 10}",
    ]
    paper, first = record["paper"], record["rungs"][0]["name"]
    before: str | None = None
    for rung in record["rungs"]:
        name = rung["name"]
        steps = (
            ["", ""]
            if before is None
            else [_gain(rung["over_the_one_before"]), _gain(rung["over_the_first"])]
        )
        paper_steps = [
            "" if before is None else signed(paper["mask_ap"][name] - paper["mask_ap"][other])
            for other in (before or first, first)
        ]
        cells = [rung["title"], spread(rung["mask_ap"]), *steps, f"{mean(rung['mask_ap75']):.1f}"]
        cells += [
            spread(rung["box_ap"]),
            f"{paper['mask_ap'][name]}",
            *paper_steps,
            f"{paper['box_ap'][name]}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
        before = name
    seeds = record["seeds"]
    basis = (
        f"Means over {len(seeds)} training seeds, lowest and highest in brackets; intervals are paired over "
        "the seeds."
        if len(seeds) > 1
        else "One training seed: intervals are paired over the images, and say nothing about how another "
        "training would have turned out."
    )
    return "\n".join([*lines, "", basis])


def _seeds(record: Mapping[str, Any]) -> str:
    """Mask AP and box AP of every training."""
    lines = [
        f"| rung | {' | '.join(f'seed {seed}' for seed in record['seeds'])} |",
        f"|{'---|' * (1 + len(record['seeds']))}",
    ]
    for rung in record["rungs"]:
        both = zip(rung["mask_ap"], rung["box_ap"], strict=True)
        cells = [f"{mask:.1f} / {box:.1f}" for mask, box in both]
        lines.append(f"| {rung['title']} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", "Mask AP / box AP."])
