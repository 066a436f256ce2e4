"""The report of an ablation: what it says is what the run folders hold."""

import json
from pathlib import Path
from typing import Any

import pytest

from htc_lab.ablation.measures import measure_ladder
from htc_lab.errors import InputError
from htc_lab.evaluate.coco_ap import evaluate
from htc_lab.report.ladder_report import report_text, write_report
from tests.evaluate.rectangles import A, detection, thing, truth
from tests.evaluate.test_statistics import detect, scenes

FIRST, SECOND = "plain_cascade", "htc"


@pytest.fixture
def data() -> dict[str, Any]:
    """Twenty images with scene attributes and a decoy."""
    made = scenes(20)
    for number, annotation in enumerate(made["annotations"]):
        annotation["attributes"] = {
            "occluded": 0.05 * (number % 4),
            "thin": number % 3 == 0,
            **dict.fromkeys(("small", "touching", "holes", "truncated"), number % 2 == 0),
        }
    made["images"][0]["decoys"] = [{"looks_like": "ring", "stuff": "wall", "bbox": [0, 0, 9, 9]}]
    return made


def run(folder: Path, results: list[dict[str, Any]], *stages: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True)
    for name, found in [("", results), *((f"_stage{t}", s) for t, s in enumerate(stages, start=1))]:
        (folder / f"detections{name}.json").write_text(json.dumps(found))
    return folder


def ladder(root: Path, data: dict[str, Any], seeds: int) -> list[tuple[str, list[Path]]]:
    return [
        (name, [run(root / f"{name}_seed{s}", detect(data, noise, 10 * s + 1)) for s in range(seeds)])
        for name, noise in ((FIRST, 3.0), (SECOND, 1.0))
    ]


def row(measured: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    return next(r for r in measured["rows"] if (r["kind"], r["name"]) == (kind, name))


@pytest.mark.parametrize("seeds", [1, 3])
def test_report(tmp_path: Path, data: dict[str, Any], seeds: int) -> None:
    rungs = ladder(tmp_path / "runs", data, seeds)
    path = write_report(tmp_path / "runs", rungs, data, tmp_path / "report")
    assert path == tmp_path / "report" / "report.md"
    assert {p.name for p in path.parent.iterdir()} == {
        "report.md",
        "report.json",
        "situations.png",
        "error_types.png",
    }
    measured = json.loads((path.parent / "report.json").read_text())
    whole = row(measured, "mask_ap", "all")
    for rung, (_, folders) in zip(whole["rungs"], rungs, strict=True):
        expected = [
            evaluate(data, json.loads((f / "detections.json").read_text()), "segm")["AP"] for f in folders
        ]
        assert rung["values"] == pytest.approx(expected)
    gain = whole["rungs"][1]["gain"]
    assert gain["value"] == pytest.approx(whole["rungs"][1]["mean"] - whole["rungs"][0]["mean"])
    assert gain["low"] < gain["value"] < gain["high"]
    assert (gain["unit"], whole["rungs"][0]["gain"]) == ("seed" if seeds > 1 else "image", None)
    text = path.read_text()
    assert f"{whole['rungs'][1]['mean']:.1f}" in text
    assert f"{gain['value']:+.1f} ({gain['low']:+.1f} to {gain['high']:+.1f})" in text
    assert ("one training seed" in text) == (seeds == 1)
    assert "were not kept" in text


def test_stages_are_shown_where_they_were_kept(tmp_path: Path) -> None:
    data = truth(thing(1, A, (0, 0, 10, 10), thin=True), images=6)
    exact, rough = ([detection(1, A, (0, 0, 10, h), 0.9)] for h in (10, 6))
    rungs = [(FIRST, [run(tmp_path / "a", exact, rough, exact)]), (SECOND, [run(tmp_path / "b", exact)])]
    measured = measure_ladder(rungs, data)
    thin = row(measured, "mask_ap", "thin")
    assert thin["rungs"][0]["stages"] == [[pytest.approx(30)], [pytest.approx(100)]]
    assert thin["rungs"][1]["stages"] == []
    path = write_report(tmp_path, rungs, data, tmp_path / "out")
    assert (path.parent / "stages.png").is_file()
    assert "| thin parts | 30.0 | 100.0 | 100.0 |" in path.read_text()


def test_data_without_attributes(tmp_path: Path) -> None:
    data = scenes(8)
    path = write_report(tmp_path, ladder(tmp_path / "runs", data, 1), data, tmp_path / "out")
    text = path.read_text()
    assert "small (below 32² px)" in text
    assert "decoys" in text
    measured = json.loads((path.parent / "report.json").read_text())
    assert not measured["scene_attributes"]
    assert "thin" not in {r["name"] for r in measured["rows"]}


def test_clear_differences_are_named(tmp_path: Path) -> None:
    data = truth(*(thing(i, A, (0, 0, 10, 10)) for i in range(1, 41)), images=40)
    good = [detection(i, A, (0, 0, 10, 10), 0.9) for i in range(1, 41)]
    bad = [detection(i, A, (0, 0, 10, 6), 0.9) for i in range(1, 41)]
    rungs = [(FIRST, [run(tmp_path / "a", bad)]), (SECOND, [run(tmp_path / "b", good)])]
    text = report_text(measure_ladder(rungs, data), "x")
    assert "mask AP, all objects +70.0" in text
    alike = [(FIRST, [tmp_path / "a"]), (SECOND, [tmp_path / "a"])]
    assert "nothing differs clearly" in report_text(measure_ladder(alike, data), "x")
    assert "nothing to compare" in report_text(measure_ladder(rungs[:1], data), "x")


def test_bad_folders_give_one_line(tmp_path: Path, data: dict[str, Any]) -> None:
    good = run(tmp_path / "good", [])
    with pytest.raises(InputError, match="no finished rung"):
        measure_ladder([], data)
    with pytest.raises(InputError, match="rung htc doesn't have the 1 seeds"):
        measure_ladder([(FIRST, [good]), (SECOND, [])], data)
    with pytest.raises(InputError, match=r"detections\.json: no such file"):
        measure_ladder([(FIRST, [tmp_path])], data)
    foreign = run(tmp_path / "foreign", [detection(99, A, (0, 0, 9, 9), 0.9)])
    with pytest.raises(InputError, match="image_id 99 is not among the test images"):
        measure_ladder([(FIRST, [foreign])], data)
    (good / "evaluation.json").write_text(json.dumps({"asked": {"images": [1, 2]}}))
    with pytest.raises(InputError, match=r"asked\.images"):
        measure_ladder([(FIRST, [good])], data)
    with pytest.raises(InputError, match="no object"):
        measure_ladder([(FIRST, [foreign])], {**data, "annotations": []})
    (foreign / "detections.json").write_text('{"a": 1}')
    with pytest.raises(InputError, match="not a list of COCO results"):
        measure_ladder([(FIRST, [foreign])], data)
