"""Run folders are read while they are written, in whatever state they are."""

import json
from pathlib import Path

import pytest

from htc_lab.board.reading import CURVES, RunReader, find_runs, thinned
from htc_lab.board.report import Place, names_of, report_of
from htc_lab.files import write_text
from tests.board.folders import add_lines, evaluation_line, make_run, step_line


def test_losses_are_summed_by_what_they_are_about(tmp_path: Path) -> None:
    reader = RunReader(make_run(tmp_path / "a", 3, evaluated=(2,)))
    reader.read()
    assert [step for step, _ in reader.steps] == [1, 2, 3]
    assert dict(zip(CURVES, reader.steps[0][1], strict=True)) == {
        "loss": 3.0,
        "boxes": pytest.approx(0.5),
        "masks": 0.25,
        "proposals": pytest.approx(0.15),
        "semantic": 0.0,
    }
    assert [(e.step, e.mask_ap, e.box_ap, e.stage_mask_ap) for e in reader.evaluations] == [
        (2, 1.0, 6.0, [-1.0, 0.0, 1.0, 1.0])
    ]
    assert reader.samples() == [(2, tmp_path / "a/samples/step_000002.png")]
    assert reader.whole_length() == 40


def test_only_what_is_new_is_read_and_half_a_line_waits_for_its_rest(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", 2)
    reader = RunReader(run)
    reader.read()
    line = json.dumps(step_line(3)) + "\n"
    with (run / "metrics.jsonl").open("a") as log:
        log.write(line[:20])
        log.flush()
        reader.read()
        assert len(reader.steps) == 2
        log.write(line[20:])
    reader.read()
    assert [step for step, _ in reader.steps] == [1, 2, 3]
    # What was read before is not read again: it could be damaged by now.
    text = (run / "metrics.jsonl").read_text()
    with (run / "metrics.jsonl").open("r+") as log:
        log.write("x" * 30)
    add_lines(run, step_line(4))
    reader.read()
    assert [step for step, _ in reader.steps] == [1, 2, 3, 4]
    assert len(text) > 30


def test_a_resumed_run_whose_log_was_cut_back_is_read_anew(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", 10, evaluated=(5, 10))
    reader = RunReader(run)
    reader.read()
    kept = [json.dumps(step_line(step)) + "\n" for step in range(1, 5)]
    write_text(run / "metrics.jsonl", "".join(kept))
    reader.read()
    assert [step for step, _ in reader.steps] == [1, 2, 3, 4]
    assert reader.evaluations == []
    # Longer than before when it is looked at next: the file's own identity tells.
    longer = [json.dumps(step_line(step, 9.0)) + "\n" for step in range(1, 30)]
    write_text(run / "metrics.jsonl", "".join(longer))
    reader.read()
    assert [step for step, _ in reader.steps] == list(range(1, 30))


def test_lines_that_are_none_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", 1)
    with (run / "metrics.jsonl").open("ab") as log:
        log.write(b'{"step": 2, "lo\n[1]\n\xff\xfe\n{"step": "x", "loss": 1}\n')
    add_lines(run, step_line(2))
    reader = RunReader(run)
    reader.read()
    assert [step for step, _ in reader.steps] == [1, 2]


def test_what_an_ablation_measured_is_its_last_point(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", 4, whole=4)
    ap = {"segm": {"AP": 20.0}, "bbox": {"AP": 40.0}, "stage_mask_ap": [18.0, 19.0, 19.5, 20.0]}
    (run / "evaluation.json").write_text(json.dumps({"ap": ap, "asked": {"images": [1, 2, 3]}}))
    reader = RunReader(run)
    reader.read()
    final = reader.final()
    assert final is not None
    assert (final.step, final.mask_ap, final.images, final.final) == (4, 20.0, 3, True)
    (run / "evaluation.json").write_text("{")
    assert reader.final() is None


def test_many_steps_become_few_points_and_none_is_forgotten() -> None:
    steps = [(i + 1, (float(i), *[0.0] * 4)) for i in range(1000)]
    columns = thinned(steps, 300)
    assert len(columns) == 1 + len(CURVES)
    assert len(columns[0]) == 250
    assert columns[0][-1] == 1000
    assert columns[1][:2] == [1.5, 5.5]
    assert sum(columns[1]) / 250 == pytest.approx(499.5)


def test_a_folder_of_runs_shows_them_all_in_order_and_a_new_one_as_it_comes(tmp_path: Path) -> None:
    make_run(tmp_path / "ladder/plain", 2, whole=2)
    place = Place(tmp_path / "ladder", None)
    place.look()
    assert [run["name"] for run in report_of([place])["runs"]] == ["plain"]
    make_run(tmp_path / "ladder/flow", 1)
    (tmp_path / "ladder/notes").mkdir()
    place.look()
    report = report_of([place])
    assert [(run["name"], run["state"], run["step"], run["steps"]) for run in report["runs"]] == [
        ("plain", "finished", 2, 2),
        ("flow", "stopped", 1, 40),
    ]
    assert report["places"][0]["state"] == "stopped"
    assert find_runs(tmp_path / "nothing") == []


def test_runs_are_called_as_briefly_as_they_differ(tmp_path: Path) -> None:
    assert names_of([tmp_path / "a/htc", tmp_path / "a/flow"]) == ["htc", "flow"]
    assert names_of([tmp_path / "a/htc", tmp_path / "b/htc"]) == ["a/htc", "b/htc"]


def test_a_report_is_strict_json(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", 2)
    add_lines(run, step_line(3, float("nan")), evaluation_line(3, float("nan")))
    place = Place(run, None)
    place.look()
    json.dumps(report_of([place]), allow_nan=False)


@pytest.mark.parametrize(
    ("command", "every"),
    [
        (["train", "--data", "scenes", "--eval-every", "50"], 50),
        (["ablate", "--quick", "--eval-every=25"], 25),
        (["train", "--data", "scenes"], None),
        (["train", "--eval-every"], None),
        (None, None),
    ],
)
def test_a_place_says_whether_measurements_are_to_come(
    tmp_path: Path, command: list[str] | None, every: int | None
) -> None:
    place = Place(make_run(tmp_path / "a", 2), command)
    place.look()
    assert report_of([place])["places"][0]["eval_every"] == every
