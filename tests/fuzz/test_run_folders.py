"""The files of a run folder, broken: the run goes on, or one line says which file is wrong."""

import json
import random
from pathlib import Path
from typing import Any

from htc_lab.ablation.ladder import Ladder
from htc_lab.ablation.measures import read_detections
from htc_lab.ablation.run_evaluation import _kept
from htc_lab.ablation.rung_result import RungResult
from htc_lab.board.reading import RunReader
from htc_lab.board.report import Place, report_of, run_report
from htc_lab.data.layout import find_data
from htc_lab.evaluate.coco_ap import STATISTICS
from htc_lab.files import plain
from htc_lab.schedule import Schedule
from htc_lab.train.run_folder import claim, note_parts, read_metrics
from tests.data.folders import annotation, tree, write_images, write_json
from tests.fuzz.mutate import broken_bytes, broken_tree
from tests.fuzz.outcome import fresh, outcome, times
from tests.unit.tiny import TINY

ASKED = {"test": "test.json", "images": [1, 2]}
CONFIG = {
    "model": {"classes": 3, "toggles": {"interleaved": True}},
    "schedule": {"steps": 10, "batch": 2, "accumulate": 1},
    "seed": 0,
    "init": None,
    "images": 6,
    "class_names": ["a", "b"],
    "resumed_with": [{"step": 3, "accumulate": 2}],
}


def card() -> dict[str, Any]:
    """A sound evaluation.json; large objects, which the images lack, have no AP."""
    figures = dict.fromkeys(STATISTICS, 12.5) | {"APl": float("nan")}
    ap = {"bbox": figures, "segm": figures, "stage_mask_ap": [1.0, 2.0, 3.0]}
    made: dict[str, Any] = plain({"ap": ap, "parameters": 7, "seconds": 1.5, "asked": ASKED})
    return made


def test_broken_evaluations(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    assert outcome(lambda: _kept(write_json(path, card()), ASKED), path) == card()
    for seed in range(times(250)):
        write_json(path, broken_tree(card(), random.Random(seed)))
        found = outcome(lambda: _kept(path, ASKED), path)
        if found is not None:
            rows = [found["ap"][kind][name] for kind in ("bbox", "segm") for name in STATISTICS]
            assert all(value is None or value == value for value in (*rows, *found["ap"]["stage_mask_ap"]))
    data = json.dumps(card()).encode()
    for seed in range(times(100)):
        fresh(tmp_path, path.name, broken_bytes(data, random.Random(seed)))
        outcome(lambda: _kept(path, ASKED), path)


def test_broken_configs_of_runs(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    # Without one, a config is that of a start that failed, and is replaced.
    (tmp_path / "checkpoint.safetensors").touch()
    for seed in range(times(200)):
        write_json(path, broken_tree(CONFIG, random.Random(seed)))
        outcome(lambda: (claim(tmp_path, CONFIG), note_parts(tmp_path, 4, 1)), path)
        place = Place(tmp_path, None)
        outcome(lambda place=place: place.look())
        json.dumps(outcome(lambda place=place: report_of([place])), allow_nan=False)


def test_broken_logs(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"step": k, "loss": 1.5, "loss_rpn_cls": 0.5, "seconds": 0.1} for k in range(1, 4)
    ]
    said = {"mask_ap": 1.0, "box_ap": None, "stage_mask_ap": [0.5, None], "images": 2}
    lines.append({"step": 3, "evaluation": said, "samples": "samples/step_000003.png"})
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    for seed in range(times(200)):
        odd = [json.dumps(broken_tree(line, random.Random(f"{seed} {k}"))) for k, line in enumerate(lines)]
        fresh(tmp_path, "metrics.jsonl", "\n".join([*odd, ""]).encode())
        reader = RunReader(tmp_path)
        outcome(reader.read)
        json.dumps(plain(run_report(reader, 0, "x")), allow_nan=False)
    for seed in range(times(200)):
        fresh(tmp_path, "metrics.jsonl", broken_bytes(data, random.Random(seed)))
        rows = outcome(lambda: read_metrics(tmp_path))
        assert rows is not None
        assert all(type(row[name]) in (int, float) for row in rows for name in ("step", "loss"))
        reader = RunReader(tmp_path)
        outcome(reader.read)
        assert len(reader.seconds) == len(reader.steps) <= 4 * len(lines)


def test_broken_detections(tmp_path: Path) -> None:
    truth = tree(range(1, 3))
    sound = [annotation(0, 1, 7, (2, 3, 10, 8)) | {"score": 0.5}]
    path = tmp_path / "detections.json"
    for seed in range(times(150)):
        write_json(path, broken_tree(sound, random.Random(seed)))
        outcome(lambda: read_detections(path, truth), path)


def test_broken_costs(tmp_path: Path) -> None:
    write_images(tmp_path / "data", tree(range(1, 5)))
    write_json(tmp_path / "data/all.json", tree(range(1, 5)))
    ladder = Ladder(find_data(tmp_path / "data"), TINY, Schedule(steps=1, min_size=2), tmp_path, seeds=(0, 1))
    for name, toggles in ladder.rungs.items():
        aps, statistics = [20.0, 21.0], {"segm": {"AP75": 5.0}}
        ladder.done[name] = RungResult(
            *(name, toggles, [0, 1], aps, aps, [[20.0] * 4] * 2, [statistics] * 2, [1.0] * 2, 7),
            [tmp_path] * 2,
        )
    cost = {"step_seconds": 1.0, "image_seconds": 0.1, "peak_gb": 1.5}
    machine = {"gpu": "none", "processor": "one", "threads": 2}
    numbers = {"batch": 2, "rounds": 3, "steps": 4, "images": 5}
    costs = {"rungs": dict.fromkeys(ladder.rungs, cost), "machine": machine, **numbers}
    path = write_json(tmp_path / "costs.json", costs)
    assert ladder.cost_markdown().count("| 1.00 |") >= len(ladder.rungs)
    for seed in range(times(100)):
        write_json(path, broken_tree(json.loads(json.dumps(costs)), random.Random(seed)))
        outcome(ladder.cost_markdown, path)
    for text in (b"", b"{", b"[" * 100_000):
        fresh(tmp_path, path.name, text)
        assert outcome(ladder.cost_markdown, path) is None
