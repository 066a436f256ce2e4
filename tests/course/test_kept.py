"""Lesson 06: one's own ladder beside the results that the repository keeps, and the shipped models' AP."""

from pathlib import Path

import numpy as np
import pytest

from htc_lab.course import shipped
from htc_lab.course.exercises import EXERCISES
from htc_lab.course.lesson06 import kept
from htc_lab.course.lesson06.figures import plot_seeds
from htc_lab.errors import InputError
from htc_lab.evaluate.statistics import paired_over_seeds
from htc_lab.files import write_json
from tests.course.made_results import MASK_AP, made_record, write_kept

OWN = {
    "rungs": [
        {"name": name, "mask_ap": [ap]}
        for name, ap in (("plain_cascade", 28.0), ("interleaved", 29.0), ("mask_flow", 28.5), ("htc", 28.9))
    ],
    "config": {"seeds": [0], "schedule": {"steps": 260}, "test_images": 200},
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without results, outside of any checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(kept, "__file__", str(tmp_path / "site" / "htc_lab" / "course" / "x" / "kept.py"))
    return tmp_path


def test_results_are_found_beside_the_notebooks_or_in_the_checkout(here: Path) -> None:
    assert kept.kept_record() is None
    assert kept.kept_report() is None
    write_kept(here / "site" / "results")
    assert kept.kept_record() == made_record()
    write_json(here / "results" / "classroom_ladder.json", {"of": "mine"})
    assert kept.kept_record() == {"of": "mine"}
    (here / "results" / "classroom_ladder.json").write_text("no json")
    with pytest.raises(InputError, match="restore it from the repository"):
        kept.kept_record()


def test_the_table_has_ones_own_the_kept_and_the_papers_gains() -> None:
    lines = kept.beside_kept(OWN, made_record()).data.split("\n")
    assert lines[0].startswith("| mask AP | yours: 1 seed, 260 steps, 200 pictures | gain |")
    assert "kept: 5 seeds, 1,000 steps, 1,000 pictures" in lines[0]
    cells = [cell.strip() for cell in lines[-1].strip("|").split("|")]
    assert cells[0] == "+ Semantic branch (HTC)"
    assert cells[1:3] == ["28.9", "+0.4"]
    assert cells[3] == "39.3 (38.9 to 39.6)"
    assert cells[4].startswith("+0.6 (")
    assert cells[5:] == ["38.0", "+0.6"]
    alone = kept.beside_kept(OWN, None).data
    assert "is not here" in alone
    assert "kept:" not in alone


def test_every_seed_is_a_dot_and_ones_own_a_diamond() -> None:
    axes = plot_seeds(OWN, made_record()).axes[0]
    marks = {}
    for line in axes.get_lines():
        marks.setdefault(line.get_marker(), []).append(line)
    dots = [line for line in marks["o"] if len(line.get_xdata()) == 5]
    wanted = np.subtract(MASK_AP["mask_flow"], MASK_AP["interleaved"])
    np.testing.assert_allclose(dots[1].get_xdata(), wanted)
    np.testing.assert_allclose([line.get_xdata()[0] for line in marks["D"]], [1.0, -0.5, 0.4])
    assert [line.get_xdata()[0] for line in marks["|"]] == pytest.approx(
        [rung["over_the_one_before"]["mask_ap"] for rung in made_record()["rungs"][1:]]
    )
    assert "|" not in {line.get_marker() for line in plot_seeds(OWN, None).axes[0].get_lines()}


def test_the_exercise_gives_the_labs_own_interval() -> None:
    a, b = np.array(MASK_AP["plain_cascade"]), np.array(MASK_AP["interleaved"])
    wanted = paired_over_seeds(a.tolist(), b.tolist())
    assert wanted is not None
    found = EXERCISES["06.4"].reference(a, b, 2.776)
    assert found == pytest.approx((wanted.low, wanted.high), abs=1e-3)


def test_findings_are_put_in_words_where_there_are_some(here: Path) -> None:
    assert "is not here" in kept.kept_findings(kept.kept_report()).data
    write_kept(here / "results")
    said = kept.kept_findings(kept.kept_report()).data
    assert "Mask information flow: mask AP, all objects +2.7" in said


def test_the_shipped_models_are_told_by_their_sidecars(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shipped, "SHIPPED", tmp_path)
    test = {"images": 1000, "segm": {"AP": 36.17}, "bbox": {"AP": 65.11}}
    card = {"test": {**test, "stage_mask_ap": [33.72, 35.41, 36.27, 36.17]}}
    write_json(tmp_path / "classroom" / "plain_cascade.json", card)
    last = shipped.shipped_table(["plain_cascade"]).data.split("\n")[-1]
    assert last == "| Plain cascade | 36.2 | 33.7 | 35.4 | 36.3 | 65.1 |"
    with pytest.raises(InputError):
        shipped.shipped_table(["nothing"])
