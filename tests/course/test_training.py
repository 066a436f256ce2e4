"""Lesson 06: who trains the ladder, and who waits for it."""

import dataclasses
from pathlib import Path

import pytest

from htc_lab.ablation.ladder import Ladder
from htc_lab.board.process import Trainer
from htc_lab.board.widget import Dashboard
from htc_lab.course.lesson06 import training
from htc_lab.course.lesson06.training import finished_rung, train_beside
from htc_lab.data.classroom.scenes import SceneConfig
from htc_lab.data.classroom.tree import write_classroom
from htc_lab.data.layout import find_data
from tests.training_fixtures import SCHEDULE
from tests.unit.tiny import TINY

OTHER = Trainer(pid=1, began=0.0, known=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("data") / "scenes"
    write_classroom(root, 4, 2, 2, SceneConfig(size=64), progress=False)
    return find_data(root)


@pytest.fixture
def ladder(data, tmp_path: Path) -> Ladder:
    schedule = dataclasses.replace(SCHEDULE, steps=8)
    return Ladder(data, TINY, schedule, tmp_path / "runs", seeds=(3, 4), test_images=2)


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[Dashboard]:
    """Dashboards that were to start a training; none really does."""
    started: list[Dashboard] = []
    monkeypatch.setattr(Dashboard, "start", lambda board, place=0: started.append(board))
    return started


def command_of(ladder: Ladder, data: str | None, size: str) -> str:
    board = train_beside(ladder, data, size)
    board.close()
    return str(board.report["places"][0]["command"])


def test_the_process_gets_the_ladders_own_settings(
    ladder: Ladder, starts: list[Dashboard], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "htc-lab ablate --seeds 3 4 --device cpu --eval-every 2 --eval-images 32"
    monkeypatch.setattr(training, "at_once_here", lambda runs: runs - 5)
    beside = "--at-once 3"
    assert command_of(ladder, None, "quick") == f"{words} --quick {beside} --out {ladder.out}"
    photos = f"{words} {beside} --data my photos --out {ladder.out}"
    assert command_of(ladder, "my photos", "classroom") == photos
    assert command_of(ladder, None, "tiny") == f"{words} --tiny --out {ladder.out}"
    assert len(starts) == 3


def test_nothing_is_started_where_something_trains_or_all_is_done(
    ladder: Ladder, starts: list[Dashboard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "trainer", lambda *_: OTHER)
    command_of(ladder, None, "tiny")
    assert starts == []
    monkeypatch.setattr(training, "trainer", lambda *_: None)
    monkeypatch.setattr(ladder, "finished_seeds", lambda name: [3, 4])
    command_of(ladder, None, "tiny")
    assert starts == []
    monkeypatch.setattr(ladder, "finished_seeds", lambda name: [3] if name == "htc" else [3, 4])
    command_of(ladder, None, "tiny")
    assert len(starts) == 1, "one seed of HTC is left"


def test_a_rung_is_waited_for_and_trained_here_where_nobody_does(
    data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = dataclasses.replace(SCHEDULE, steps=2)
    mine, theirs = (Ladder(data, TINY, schedule, tmp_path / "runs", test_images=2) for _ in range(2))
    looks = []

    def another(*_: object) -> Trainer:
        looks.append(len(mine.finished_seeds("plain_cascade")))
        if len(looks) == 2:
            theirs.run_rung("plain_cascade", progress=False)
        return OTHER

    monkeypatch.setattr(training, "_PERIOD", 0.0)
    monkeypatch.setattr(training, "trainer", another)
    waited = finished_rung(mine, "plain_cascade")
    assert looks == [0, 0]
    assert waited == theirs.done["plain_cascade"]

    monkeypatch.setattr(training, "trainer", lambda *_: None)
    assert not mine.finished_seeds("interleaved")
    assert finished_rung(mine, "interleaved").mask_ap == mine.done["interleaved"].mask_ap
    assert mine.finished_seeds("interleaved") == [0]
