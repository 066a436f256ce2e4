"""What is committed of a ladder: every number from the runs, nothing of the machine's places."""

import dataclasses
import json
import platform
import socket
from pathlib import Path

import pytest

from htc_lab import RUNGS, InputError
from htc_lab.ablation.costs import measure_costs
from htc_lab.ablation.ladder import COSTS, Ladder
from htc_lab.ablation.studies import FUSION
from htc_lab.files import write_json
from htc_lab.report.results_page import write_results
from htc_lab.toggles import BESIDE_THE_LADDER
from tests.training_fixtures import SCHEDULE

COMMAND, WRITER = "htc-lab ablate --seeds 0 1", "python data_scripts/write_results.py --seeds 0 1"


@pytest.fixture(scope="module")
def ladder(tmp_path_factory, data, config) -> Ladder:
    """Two seeds of the rungs; one seed of the combinations and of the fusion."""
    out = tmp_path_factory.mktemp("ablation")
    made = Ladder(data, config, dataclasses.replace(SCHEDULE, steps=3), out, seeds=(0, 1), test_images=3)
    for name in RUNGS:
        made.run_rung(name, progress=False)
    for name in (*BESIDE_THE_LADDER, *FUSION.runs):
        if name not in RUNGS:
            made.run_rung(name, progress=False, seeds=[0])
    costs = {name: {"step_seconds": 2.0, "image_seconds": 0.05, "peak_gb": 1.5} for name in RUNGS}
    costs["htc"]["step_seconds"] = 3.0
    machine = {"processor": "P", "threads": 2, "gpu": "none"}
    write_json(
        out / COSTS, {"rungs": costs, "steps": 4, "images": 5, "rounds": 6, "batch": 2, "machine": machine}
    )
    return made


@pytest.fixture(scope="module")
def written(ladder, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    page = root / "docs" / "results.md"
    assert write_results(ladder, "tiny", "Results", COMMAND, WRITER, root / "results", page) == page
    return root


def test_the_json_holds_what_was_promised(ladder, written):
    record = json.loads((written / "results" / "tiny_ladder.json").read_text())
    assert [rung["name"] for rung in record["rungs"]] == list(RUNGS)
    for rung in record["rungs"]:
        done = ladder.done[rung["name"]]
        assert (rung["mask_ap"], rung["box_ap"]) == (done.mask_ap, done.box_ap)
        assert rung["stage_mask_ap"] == done.stage_mask_ap
        assert rung["situations"]["all"] == pytest.approx(rung["mask_ap"])
        assert len(rung["errors"]) == 6
    assert record["seeds"] == [0, 1]
    gain = ladder.gain("plain_cascade", "htc")
    assert record["gain"]["mask_ap"] == gain.value
    assert record["gain"]["ci95"] == [gain.low, gain.high]
    assert record["command"] == COMMAND
    assert {"processor", "cores", "torch"} <= record["machine"].keys()
    assert [row["seeds"] for row in record["combinations"]] == [[0]] * 8
    assert len(record["effects"]) == 3
    assert "fusion" in {study["name"] for study in record["studies"]}


def test_every_run_has_its_small_json(ladder, written):
    folder = written / "results" / "tiny" / "runs"
    wanted = {f"{n}_seed{s}.json" for n, rung in ladder.done.items() for s in rung.seeds}
    assert {path.name for path in folder.iterdir()} == wanted
    run = json.loads((folder / "htc_seed1.json").read_text())
    assert run["segm"]["AP"] == ladder.done["htc"].mask_ap[1]
    assert (run["steps"], run["seed"], run["model"]["name"]) == (3, 1, "tiny")
    assert (folder / "htc_seed1.json").stat().st_size < 10_000


def test_the_page_shows_the_numbers_with_their_commands(ladder, written):
    text = (written / "docs" / "results.md").read_text()
    for name in RUNGS:
        done = ladder.done[name]
        assert f"{sum(done.mask_ap) / 2:.1f} (" in text
        assert f"{done.mask_ap[0]:.1f} / {done.box_ap[0]:.1f}" in text
    assert "| 38.0 | +0.6 | +1.5 | 43.2 |" in text
    for command in (
        COMMAND,
        f"{COMMAND} --costs",
        f"{COMMAND} --report",
        "htc-lab ablate --seeds 0 --combinations",
        "htc-lab ablate --seeds 0 --fusion",
        "htc-lab ablate --seeds 0 1 --stage-masks",
    ):
        assert f"\n    {command}\n" in text
    assert WRITER in text
    assert "| 3.00 | 1.50 | 50 | 1.00 | 1.50 |" in text
    assert "One training seed (0)" in text
    for line in text.splitlines():
        for target in (part.split(")")[0] for part in line.split("](")[1:]):
            assert target == "protocol.md" or (written / "docs" / target).is_file(), target


def test_nothing_tells_where_it_was_made(ladder, written):
    for path in written.rglob("*"):
        if path.suffix in (".json", ".md"):
            text = path.read_text()
            # The folder of the test data is named after the test.
            for told in (str(ladder.out), str(written), "/tmp", socket.gethostname(), platform.node()):
                assert told not in text, (path.name, told)


def test_writing_again_changes_nothing(ladder, written, tmp_path):
    write_results(
        ladder, "tiny", "Results", COMMAND, WRITER, tmp_path / "results", tmp_path / "docs/results.md"
    )
    for path in written.rglob("*"):
        if path.suffix in (".json", ".md"):
            assert path.read_text() == (tmp_path / path.relative_to(written)).read_text()


def test_an_unfinished_ladder_is_refused(data, config, tmp_path):
    made = Ladder(data, config, dataclasses.replace(SCHEDULE, steps=2), tmp_path, test_images=2)
    made.run_rung("plain_cascade", progress=False)
    with pytest.raises(InputError, match="rung interleaved is not done"):
        write_results(made, "x", "X", COMMAND, WRITER, tmp_path / "results", tmp_path / "x.md")
    assert not (tmp_path / "x.md").exists()


def test_costs_are_measured(data, config, tmp_path):
    made = Ladder(data, config, dataclasses.replace(SCHEDULE, steps=9), tmp_path, test_images=2)
    made.rungs = {"plain_cascade": RUNGS["plain_cascade"]}
    found = measure_costs(made, steps=1, images=1, rounds=1, progress=False)
    assert found["rungs"].keys() == {"plain_cascade"}
    assert all(value > 0 for value in found["rungs"]["plain_cascade"].values())
    assert 0.1 < found["rungs"]["plain_cascade"]["peak_gb"] < 20
    assert (found["steps"], found["batch"]) == (1, 2)
    assert not list(tmp_path.iterdir())
