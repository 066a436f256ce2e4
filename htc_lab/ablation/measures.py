"""Everything in the report of an ablation, measured from the run folders' detections, as JSON values.

A run folder contains ``detections.json`` (COCO results for the final masks) and, if the masks of single
stages were kept, ``detections_stage1.json``, ``detections_stage2.json``, ...: the same boxes and scores with
that stage's masks.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from htc_lab.ablation.run_evaluation import DETECTIONS, EVALUATION
from htc_lab.errors import InputError
from htc_lab.evaluate.error_types import ERROR_TYPES, error_types
from htc_lab.evaluate.measure import Measure, paired
from htc_lab.evaluate.situations import (
    Situation,
    has_scene_attributes,
    measure_decoys,
    measure_situations,
    situations_of,
)
from htc_lab.files import plain, read_json

Rungs = Sequence[tuple[str, Sequence[Path]]]

_FIX = "delete the run's evaluation.json and run the ablation again"

ERROR_WORDS = {
    "classification": "wrong class",
    "localisation": "inexact mask",
    "both": "inexact and wrong class",
    "duplicate": "found twice",
    "background": "background taken for an object",
    "missed": "missed",
}


@dataclass(frozen=True)
class _Run:
    """One training: quantities by (kind, name); for the masks of single stages only values, by stage."""

    measures: dict[tuple[str, str], Measure]
    stages: list[dict[tuple[str, str], float]]
    counts: dict[str, int]


def read_detections(path: Path, truth: dict[str, Any]) -> list[dict[str, Any]]:
    """The COCO results in a file.

    Raises:
        InputError: the file is missing or broken, or has images that are not in the truth.
    """
    results = read_json(path, _FIX)
    if not isinstance(results, list) or not all(map(_is_result, results)):
        raise InputError(f"{path}: is not a list of COCO results with masks; {_FIX}")
    unknown = {e["image_id"] for e in results} - {image["id"] for image in truth["images"]}
    if unknown:
        raise InputError(
            f"{path}: image_id {sorted(unknown, key=str)[0]!r} is not among the test images; "
            "use the truth these detections were made for"
        )
    return results


def _is_result(entry: Any) -> bool:
    """Whether this is a COCO result with a mask, judging by the types of its fields."""
    if not isinstance(entry, dict):
        return False
    box, mask, numbers = entry.get("bbox"), entry.get("segmentation"), (int, float)
    return (
        type(entry.get("image_id")) is int
        and type(entry.get("category_id")) is int
        and type(entry.get("score")) in numbers
        and isinstance(box, list)
        and [type(value) in numbers for value in box] == [True] * 4
        and isinstance(mask, dict)
        and isinstance(mask.get("counts"), str)
        and isinstance(mask.get("size"), list)
    )


def _check_images(folder: Path, truth: dict[str, Any]) -> None:
    """Refuse a run evaluated on fewer or different images: missing ones would count as misses."""
    path = folder / EVALUATION
    if not path.is_file():
        return
    card = read_json(path, _FIX)
    asked = card.get("asked") if isinstance(card, dict) else None
    if isinstance(asked, dict) and asked.get("images") != [image["id"] for image in truth["images"]]:
        raise InputError(f"{path}: 'asked.images' are not the images of the truth; {_FIX}")


def _measure(
    truth: dict[str, Any], results: list[dict[str, Any]], situations: list[Situation], words: bool
) -> tuple[dict[tuple[str, str], Measure], dict[str, int]]:
    """Quantities and the numbers of errors; decoys only with ``words`` (stage masks share the boxes)."""
    measures: dict[tuple[str, str], Measure] = {}
    for name, here in measure_situations(truth, results, situations).items():
        measures["mask_ap", name] = here.mask_ap
        measures["recall", name] = here.recall
    errors = error_types(truth, results)
    measures["ap50", "ap50"] = errors.ap50
    for kind in ERROR_TYPES:
        measures["error", kind] = errors.dap[kind]
    decoys = measure_decoys(truth, results) if words else None
    if decoys is not None:
        measures["decoys", "decoys"] = decoys
    return measures, {str(kind): number for kind, number in errors.count.items()}


def _measure_run(folder: Path, truth: dict[str, Any], situations: list[Situation]) -> _Run:
    _check_images(folder, truth)
    measures, counts = _measure(truth, read_detections(folder / DETECTIONS, truth), situations, words=True)
    stages = []
    for number in itertools.count(1):
        path = folder / f"detections_stage{number}.json"
        if not path.is_file():
            break
        alone, _ = _measure(truth, read_detections(path, truth), situations, words=False)
        stages.append({key: measure.value for key, measure in alone.items()})
    return _Run(measures, stages, counts)


def measure_ladder(rungs: Rungs, truth: dict[str, Any]) -> dict[str, Any]:
    """Measure every run and compare each rung with the first.

    Args:
        rungs: name and run folders of each, one folder per training seed, in the same order for all.
        truth: COCO data set of the test images.

    Returns:
        ``rungs`` (names), ``seeds`` (how many), ``images``, ``scene_attributes`` (bool), ``interval`` ("seed"
        or "image"), and ``rows``: one dict per quantity with ``kind`` (mask_ap, recall, decoys, ap50, error),
        ``name``, ``words``, ``count`` (objects or decoys; None for errors) and ``rungs``: by rung ``name``,
        ``values`` (by seed, points), ``mean``, ``gain`` over the first rung (an ``Interval``; None for the
        first), ``stages`` (the values by stage, [] if they weren't kept) and, for errors, ``counts`` by seed.

    Raises:
        InputError: no rung or no run, unequal numbers of seeds, a file that is missing or broken, or a truth
            without objects.
    """
    if not rungs or not rungs[0][1]:
        raise InputError("report: no finished rung; train at least one")
    seeds = len(rungs[0][1])
    uneven = [name for name, folders in rungs if len(folders) != seeds]
    if uneven:
        raise InputError(
            f"report: rung {uneven[0]} doesn't have the {seeds} seeds of the first; train the others"
        )
    situations = situations_of(truth)
    if not any(not a.get("iscrowd", 0) for a in truth["annotations"]):
        raise InputError("report: the test images contain no objects; add some")
    runs = {name: [_measure_run(folder, truth, situations) for folder in folders] for name, folders in rungs}
    rows = _headings(truth, situations)
    first = rungs[0][0]
    for row in rows:
        key = row["kind"], row["name"]
        row["rungs"] = [_cell(key, name, runs[name], None if name == first else runs[first]) for name in runs]
    value: dict[str, Any] = plain(
        {
            "rungs": [name for name, _ in rungs],
            "seeds": seeds,
            "images": len(truth["images"]),
            "scene_attributes": has_scene_attributes(truth),
            "interval": "seed" if seeds > 1 else "image",
            "rows": rows,
        }
    )
    return value


def _headings(truth: dict[str, Any], situations: list[Situation]) -> list[dict[str, Any]]:
    """The quantities, without their values yet."""
    rows: list[dict[str, Any]] = []
    objects = [a for a in truth["annotations"] if not a.get("iscrowd", 0)]
    for kind in ("mask_ap", "recall"):
        for s in situations:
            count = sum(bool(s.holds(a)) for a in objects)
            rows.append({"kind": kind, "name": s.name, "words": s.words, "count": count})
    decoys = sum(len(image.get("decoys") or []) for image in truth["images"])
    if decoys:
        rows.append({"kind": "decoys", "name": "decoys", "words": "decoys taken", "count": decoys})
    rows.append({"kind": "ap50", "name": "ap50", "words": "mask AP50", "count": len(objects)})
    rows += [{"kind": "error", "name": e, "words": ERROR_WORDS[e], "count": None} for e in ERROR_TYPES]
    return rows


def _cell(key: tuple[str, str], name: str, runs: list[_Run], base: list[_Run] | None) -> dict[str, Any]:
    """One quantity of one rung; ``base``: the runs of the first."""
    values = [run.measures[key].value for run in runs]
    gain = None
    if base is not None:
        gain = dataclasses.asdict(
            paired([run.measures[key] for run in base], [run.measures[key] for run in runs])
        )
    # Stages are shown only if all seeds kept them.
    kept = min(len(run.stages) for run in runs)
    stages = [[run.stages[t][key] for run in runs] for t in range(kept) if key in runs[0].stages[t]]
    cell = {"name": name, "values": values, "mean": math.fsum(values) / len(values)}
    cell |= {"gain": gain, "stages": stages}
    if key[0] == "error":
        cell["counts"] = [run.counts[key[1]] for run in runs]
    return cell
