"""The runs of an ablation on the dashboard: evaluated on the way where that is asked for."""

import dataclasses
from pathlib import Path

from htc_lab.ablation.ladder import Ladder
from htc_lab.board.look import look_at
from htc_lab.board.report import Place, report_of
from htc_lab.data.classroom.scenes import SceneConfig
from htc_lab.data.classroom.tree import write_classroom
from htc_lab.data.dataset import CocoDataset
from htc_lab.data.layout import find_data
from tests.training_fixtures import SCHEDULE
from tests.unit.tiny import TINY


def test_looks_on_the_way_are_shown_and_change_nothing_else(tmp_path: Path) -> None:
    write_classroom(tmp_path / "scenes", 4, 2, 2, SceneConfig(size=64), progress=False)
    data, schedule = find_data(tmp_path / "scenes"), dataclasses.replace(SCHEDULE, steps=4)
    without = Ladder(data, TINY, schedule, tmp_path / "without", test_images=2)
    looked = Ladder(data, TINY, schedule, tmp_path / "looked", test_images=2)
    looked.look = lambda run: look_at(run, CocoDataset(data.val, cache=True), 2)
    looked.look_every = 2
    for ladder in (without, looked):
        ladder.run_rung("interleaved", progress=False)
    for name in ("config.json", "detections.json"):
        texts = [(ladder.out / "interleaved_seed0" / name).read_text() for ladder in (without, looked)]
        assert texts[0] == texts[1]

    places = [Place(tmp_path / "without", None), Place(tmp_path / "looked", None)]
    for place in places:
        place.look()
    runs = report_of(places)["runs"]
    assert [[(e["step"], e["final"]) for e in run["evaluations"]] for run in runs] == [
        [(4, True)],
        [(2, False), (4, False), (4, True)],
    ]
    assert [run["samples"] for run in runs] == [[], [2, 4]]
    assert all(len(run["evaluations"][-1]["stages"]) == 4 for run in runs)

    # A run begun without looks is taken up with them, and the other way round.
    before = (looked.out / "interleaved_seed0/metrics.jsonl").read_bytes()
    looked.look = None
    looked.run_rung("interleaved", progress=False)
    without.look = lambda run: look_at(run, CocoDataset(data.val, cache=True), 2)
    without.run_rung("interleaved", progress=False)
    assert (looked.out / "interleaved_seed0/metrics.jsonl").read_bytes() == before
