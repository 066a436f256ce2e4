"""What is kept of an ablation permanently: one JSON object, and a small one for every run."""

from pathlib import Path
from typing import Any

from htc_lab.ablation.ladder import Ladder
from htc_lab.ablation.run_evaluation import EVALUATION
from htc_lab.ablation.rung_result import RungResult
from htc_lab.ablation.studies import STUDIES, measure_studies
from htc_lab.ablation.tables import combinations, effects
from htc_lab.config_json import to_dict
from htc_lab.errors import InputError
from htc_lab.evaluate.coco_ap import Kind
from htc_lab.files import plain, read_json, sha256_of
from htc_lab.measured_on import describe_machine
from htc_lab.paper import PAPER_BOX_AP, PAPER_MASK_AP, TITLES
from htc_lab.train.run_folder import METRICS, read_metrics

_FIX = "delete it and run the ablation again"


def ladder_record(ladder: Ladder, measured: dict[str, Any], command: str) -> dict[str, Any]:
    """Everything a finished ladder shows, without the detections.

    Args:
        ladder: with all rungs done; anything else that is done is included, too.
        measured: from :func:`htc_lab.ablation.measures.measure_ladder`, for the same rungs.
        command: the command that trains and measures the ladder.

    Returns:
        ``rungs``: by rung ``name``, ``title``, ``mask_ap``, ``box_ap``, ``mask_ap75`` (by seed, points),
        ``stage_mask_ap`` (by seed: stage 1, 2, 3 alone, the result), ``parameters``, ``situations``,
        ``decoys_taken`` and ``errors`` (by seed, by name), ``over_the_first`` and ``over_the_one_before``;
        ``seeds``; ``gain`` of the last rung over the first and ``box_gain``: points ``mask_ap`` (``box_ap``),
        ``ci95``, ``over`` (seed or image) and ``samples``; ``verdict``, ``combinations``, ``effects``,
        ``studies``, ``costs``, ``paper``, ``data``, ``config``, ``machine`` and ``command``.

    Raises:
        InputError: a rung is not done.
    """
    names = list(ladder.rungs)
    undone = [name for name in names if name not in ladder.done]
    if undone:
        raise InputError(f"{ladder.out}: rung {undone[0]} is not done; train it with htc-lab ablate")
    rows = []
    for place, name in enumerate(names):
        row = _rung(ladder.done[name]) | _where(measured, name)
        if place:
            row["over_the_first"] = _gain(ladder, names[0], name)
            row["over_the_one_before"] = _gain(ladder, names[place - 1], name)
        rows.append(row)
    record: dict[str, Any] = plain(
        {
            "rungs": rows,
            "seeds": list(ladder.seeds),
            "gain": _gain(ladder, names[0], names[-1]),
            "box_gain": _gain(ladder, names[0], names[-1], "bbox"),
            "verdict": ladder.verdict(),
            "combinations": [_rung(rung) for rung in combinations(ladder.done).values()],
            "effects": effects(ladder.done),
            "studies": measure_studies(STUDIES, ladder.done, ladder.truth),
            "costs": ladder.costs(),
            "paper": {"mask_ap": PAPER_MASK_AP, "box_ap": PAPER_BOX_AP},
            "data": {
                "name": ladder.data.root.name,
                "train_images": ladder.train_images,
                "test_images": len(ladder.test),
                "train_annotations_sha256": sha256_of(ladder.data.train.coco.path),
                "test_annotations_sha256": sha256_of(ladder.data.test.coco.path),
            },
            "config": {"model": to_dict(ladder.config), "schedule": to_dict(ladder.schedule)},
            "machine": _machine(ladder),
            "command": command,
        }
    )
    return record


def _rung(rung: RungResult) -> dict[str, Any]:
    return {
        "name": rung.name,
        "title": TITLES[rung.name],
        "seeds": rung.seeds,
        "mask_ap": rung.mask_ap,
        "box_ap": rung.box_ap,
        "mask_ap75": [s["segm"]["AP75"] for s in rung.statistics],
        "stage_mask_ap": rung.stage_mask_ap,
        "parameters": rung.parameters,
    }


def _gain(ladder: Ladder, first: str, second: str, kind: Kind = "segm") -> dict[str, Any]:
    interval = ladder.gain(first, second, kind)
    return {
        "mask_ap" if kind == "segm" else "box_ap": interval.value,
        "ci95": [interval.low, interval.high],
        "over": interval.unit,
        "samples": interval.samples,
    }


def _where(measured: dict[str, Any], name: str) -> dict[str, Any]:
    """One rung's values by situation and type of error."""
    found: dict[str, dict[str, list[float]]] = {"mask_ap": {}, "error": {}, "decoys": {}}
    for row in measured["rows"]:
        if row["kind"] in found:
            cell = next(cell for cell in row["rungs"] if cell["name"] == name)
            found[row["kind"]][row["name"]] = cell["values"]
    return {
        "situations": found["mask_ap"],
        "errors": found["error"],
        "decoys_taken": found["decoys"].get("decoys"),
    }


def _machine(ladder: Ladder) -> dict[str, Any]:
    """The machine of the first run; runs of an older version don't name theirs: then this machine."""
    first = ladder.done[next(iter(ladder.rungs))].run_folders[0]
    card = read_json(first / EVALUATION, _FIX)
    found: dict[str, Any] = card.get("machine") or describe_machine()
    return found


def run_records(ladder: Ladder) -> dict[str, dict[str, Any]]:
    """A small JSON object for every finished run, by the name of its folder.

    Each has ``name``, ``seed``, ``model`` and ``schedule`` (as asked for), ``bbox`` and ``segm`` (the 12 COCO
    statistics), ``stage_mask_ap``, ``parameters``, ``steps``, ``last_loss`` and ``step_seconds`` (a median).
    """
    found = {}
    for name, rung in ladder.done.items():
        for seed, folder in zip(rung.seeds, rung.run_folders, strict=True):
            found[folder.name] = {"name": name, "seed": seed, **_run(folder)}
    return found


def _run(folder: Path) -> dict[str, Any]:
    card, asked = read_json(folder / EVALUATION, _FIX), read_json(folder / "config.json", _FIX)
    lines = read_metrics(folder)
    if not lines:
        raise InputError(f"{folder / METRICS}: has no steps; delete the folder and run the ablation again")
    ordered = sorted(line["seconds"] for line in lines)
    record: dict[str, Any] = plain(
        {
            "model": asked["model"],
            "schedule": asked["schedule"],
            "images": asked["images"],
            **card["ap"],
            "parameters": card["parameters"],
            "steps": lines[-1]["step"],
            "last_loss": lines[-1]["loss"],
            "step_seconds": ordered[len(ordered) // 2],
            "test_images": len(card["asked"]["images"]),
            "machine": card.get("machine"),
        }
    )
    return record
