"""06: the results kept in the repository, from longer trainings with several seeds, beside one's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from IPython.display import Markdown

from htc_lab.ablation.rung_result import mean, spread
from htc_lab.files import read_json
from htc_lab.paper import PAPER_MASK_AP
from htc_lab.plots.palette import rung_words
from htc_lab.report.ladder_report import findings
from htc_lab.wording import signed

NAME = "classroom"
_FIX = "restore it from the repository, or delete it"


def kept_record() -> dict[str, Any] | None:
    """The kept ladder (:func:`htc_lab.ablation.record.ladder_record`); None if it isn't here.

    Raises:
        InputError: the file is broken.
    """
    return _read(f"{NAME}_ladder.json")


def kept_report() -> dict[str, Any] | None:
    """Where each kept rung helps (:func:`htc_lab.ablation.measures.measure_ladder`), or None.

    Raises:
        InputError: the file is broken.
    """
    return _read(f"{NAME}/report.json")


def _read(name: str) -> dict[str, Any] | None:
    """A file from ``results/`` beside the notebooks' folder, or else from this checkout."""
    places = (Path("results"), Path(__file__).resolve().parents[3] / "results")
    path = next((place / name for place in places if (place / name).is_file()), None)
    found: dict[str, Any] | None = None if path is None else read_json(path, _FIX)
    return found


def beside_kept(results: Mapping[str, Any], kept: Mapping[str, Any] | None) -> Markdown:
    """Mask AP and its gain over the previous rung: yours, the kept ones and the paper's.

    Args:
        results: from :meth:`htc_lab.ablation.ladder.Ladder.results`.
        kept: from :func:`kept_record`; if None, its columns are left out, and a line says so.
    """
    config, rungs = results["config"], results["rungs"]
    own = _basis(len(config["seeds"]), config["schedule"]["steps"], config["test_images"])
    heads = [f"yours: {own}", "gain"]
    if kept is not None:
        steps, pictures = kept["config"]["schedule"]["steps"], kept["data"]["test_images"]
        heads += [f"kept: {_basis(len(kept['seeds']), steps, pictures)}", "gain, 95 % interval"]
    lines = [f"| mask AP | {' | '.join([*heads, 'paper', 'gain'])} |", f"|{'---|' * (len(heads) + 3)}"]
    for place, rung in enumerate(rungs):
        first, before = place == 0, rungs[max(place - 1, 0)]
        gain = mean(rung["mask_ap"]) - mean(before["mask_ap"])
        cells = [spread(rung["mask_ap"]), "" if first else signed(gain)]
        if kept is not None:
            row = kept["rungs"][place]
            cells += [spread(row["mask_ap"]), "" if first else _interval(row["over_the_one_before"])]
        paper = PAPER_MASK_AP[rung["name"]] - PAPER_MASK_AP[before["name"]]
        cells += [f"{PAPER_MASK_AP[rung['name']]}", "" if first else signed(paper)]
        lines.append(f"| {rung_words(rung['name'])} | {' | '.join(cells)} |")
    if kept is None:
        lines += ["", "The repository's folder `results/` is not here, so its columns are missing."]
    return Markdown("\n".join(lines))


def _basis(seeds: int, steps: int, pictures: int) -> str:
    return f"{seeds} seed{'s' * (seeds > 1)}, {steps:,} steps, {pictures:,} pictures"


def _interval(gain: Mapping[str, Any]) -> str:
    low, high = gain["ci95"]
    return f"{signed(gain['mask_ap'])} ({signed(low)} to {signed(high)})"


def kept_findings(measured: Mapping[str, Any] | None) -> Markdown:
    """In words: what differs clearly from the first rung, by situation and kind of error.

    Args:
        measured: from :func:`kept_report`.
    """
    if measured is None:
        return Markdown("The repository's folder `results/` is not here.")
    return Markdown(findings(measured))
