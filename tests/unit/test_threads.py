"""Waiting threads leave their core to others, no number changes by it, and a training keeps its threads."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from htc_lab import threads as threads_module
from htc_lab.threads import Cores, Sharing, look, on_free_cores, share_cores, spins, taken_by_others
from htc_lab.train.run_folder import threads_of

SECOND = 1.0


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class Machine:
    """A machine of two cores of which others take what a test says, a second passing at each look."""

    def __init__(self, count: int = 2) -> None:
        self.others = 0.0
        self.now = Cores(at=0.0, busy=0.0, own=0.0, count=count)

    def look(self) -> Cores:
        own = min(2.0, self.now.count - self.others)
        self.now = Cores(
            self.now.at + SECOND,
            self.now.busy + (self.others + own) * SECOND,
            self.now.own + own * SECOND,
            self.now.count,
        )
        return self.now


def parked() -> int:
    return sum(thread.name.startswith("htc-lab-parked") for thread in threading.enumerate())


def test_what_others_take_is_what_is_busy_without_this_process() -> None:
    before, after = Cores(10.0, 100.0, 40.0, 2), Cores(12.0, 103.0, 41.0, 2)
    assert taken_by_others(before, after) == 1.0
    # The clocks of the two counts are not the same, and none may come out below nothing.
    assert taken_by_others(before, Cores(12.0, 100.9, 41.0, 2)) == 0.0


def test_a_look_counts_this_process_and_its_machine() -> None:
    before = look()
    total = 0
    while look().own - before.own < 0.1:
        total += sum(range(10_000))
    after = look()
    assert after.count == len(os.sched_getaffinity(0))
    assert after.at > before.at
    assert after.busy - before.busy > 0.05
    assert total > 0


def test_threads_are_parked_while_others_need_the_cores(two_threads: None) -> None:
    machine = Machine()
    sharing = Sharing(machine.look)
    sharing.update()
    assert not sharing.crowded
    assert parked() == 0
    machine.others = 1.0
    sharing.update()
    assert sharing.crowded
    assert parked() == 1
    # A moment's rest is not the end of the load, and the first look after it still counts the one before.
    machine.others = 0.0
    for _ in range(4):
        sharing.update()
        assert sharing.crowded
    sharing.update()
    assert not sharing.crowded
    assert parked() == 0


def test_a_moment_is_no_load(two_threads: None) -> None:
    machine = Machine()
    sharing = Sharing(machine.look)
    sharing.update()
    machine.others = 0.6
    sharing.update()
    assert not sharing.crowded
    sharing.update()
    assert sharing.crowded
    sharing.let_go()


def test_a_machine_with_cores_to_spare_is_not_crowded(two_threads: None) -> None:
    machine = Machine(count=4)
    sharing = Sharing(machine.look)
    machine.others = 2.0
    sharing.update()
    assert not sharing.crowded
    machine.others = 3.0
    sharing.update()
    assert sharing.crowded
    # Two threads each, as many as it takes to have more than four.
    assert parked() == 3
    sharing.let_go()
    assert parked() == 0


def test_paused_it_leaves_threads_as_they_come(two_threads: None) -> None:
    machine = Machine()
    sharing = Sharing(machine.look)
    machine.others = 1.0
    sharing.update()
    assert sharing.crowded
    sharing.paused = True
    sharing.update()
    assert not sharing.crowded
    assert parked() == 0


def test_one_thread_waits_for_nobody() -> None:
    machine = Machine()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        sharing = Sharing(machine.look)
        machine.others = 2.0
        sharing.update()
        assert parked() == 0
    finally:
        torch.set_num_threads(before)


def test_free_cores_are_those_that_others_leave(two_threads: None) -> None:
    machine = Machine(count=8)
    sharing = Sharing(machine.look)
    # Ticks of the clock are no load.
    machine.others = 0.2
    sharing.update()
    assert sharing.free_cores() == 8
    machine.others = 3.0
    for _ in range(20):
        sharing.update()
    assert sharing.free_cores() == 5
    machine.others = 8.0
    for _ in range(20):
        sharing.update()
    assert sharing.free_cores() == 1


def test_a_training_computes_on_free_cores_and_goes_on_with_as_many(
    two_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine()
    sharing = Sharing(machine.look)
    monkeypatch.setattr(threads_module, "share_cores", lambda: sharing)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    machine.others = 1.0
    sharing.update()
    with on_free_cores() as threads:
        assert threads == torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with on_free_cores(2) as threads:
        assert threads == torch.get_num_threads() == 2
    # What a person asks for is neither lowered by the load nor by what the run began with.
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with on_free_cores(1) as threads:
        assert threads == 2
    sharing.let_go()


def test_one_thread_that_was_asked_for_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with on_free_cores(2) as threads:
            assert threads == 1
    finally:
        torch.set_num_threads(before)


def test_a_run_says_how_many_threads_it_began_with(tmp_path: Path) -> None:
    assert threads_of(tmp_path) is None
    config = tmp_path / "config.json"
    for text, expected in (
        ('{"threads": 3}', 3),
        ('{"threads": 0}', None),
        ('{"threads": true}', None),
        ('{"threads": "3"}', None),
        ("{}", None),
        ("[]", None),
        ("{", None),
    ):
        config.write_text(text)
        assert threads_of(tmp_path) == expected, text


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OMP_WAIT_POLICY", "active"), ("GOMP_SPINCOUNT", "1000"), ("HTC_LAB_SHARE_CORES", "0")],
)
def test_a_persons_own_setting_stays(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    assert not spins()
    monkeypatch.setattr(threads_module, "_sharing", None)
    assert share_cores() is None


_PROGRAM = """
import json, threading
import torch
import htc_lab
from htc_lab.data.classroom.samples import classroom_samples
from htc_lab.threads import Sharing, share_cores

torch.set_num_threads(2)
model = htc_lab.load("classroom/htc")
image = classroom_samples(1)[0].image
spinning = model.predict([image])[0]
sharing = Sharing()
sharing._park(2)
names = [thread.name for thread in threading.enumerate()]
sleeping = model.predict([image])[0]
sharing.let_go()
print(json.dumps({
    "same": all(
        torch.equal(getattr(spinning, part), getattr(sleeping, part))
        for part in ("boxes", "scores", "labels", "masks")
    ),
    "found": len(spinning),
    "names": names,
    "watched": share_cores() is not None,
}))
"""


@pytest.mark.parametrize("share", ["0", ""])
def test_no_number_changes_when_threads_sleep(share: str) -> None:
    """In a process of its own, with torch imported first, as a lesson does."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env=environment | {"HTC_LAB_SHARE_CORES": share},
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["same"]
    assert said["found"] > 0
    assert any(name.startswith("htc-lab-parked") for name in said["names"])
    # A model that is loaded has the load watched, unless a person has said no.
    assert ("htc-lab-sharing" in said["names"]) == said["watched"]
    assert not (share and said["watched"])
