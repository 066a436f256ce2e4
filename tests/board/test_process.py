"""Real trainings in real processes: started, found again, stopped between steps, resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import htc_lab
from htc_lab.board import process
from htc_lab.board.process import Trainer, last_words, start, stop, trainer, wait_for_end, words_of
from htc_lab.board.widget import Dashboard
from htc_lab.checkpoint.files import CHECKPOINT, read_run
from htc_lab.data.classroom.scenes import SceneConfig
from htc_lab.data.classroom.tree import write_classroom
from htc_lab.errors import InputError
from htc_lab.train.lock import only_here
from tests.board.folders import make_run

SECONDS = 120.0

# As the tests were started: a shell lets what it starts in the background ignore interrupts.
_SIGINT = signal.getsignal(signal.SIGINT)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "scenes"
    write_classroom(root, 4, 2, 2, SceneConfig(size=64), progress=False)
    return root


@pytest.fixture
def boards() -> Iterator[list[Dashboard]]:
    """Dashboards that end with the test, and their trainings with them."""
    opened: list[Dashboard] = []
    yield opened
    for board in opened:
        for place in board._places:
            if place.trainer is not None and not place.trainer.here:
                stop(place.trainer, hard=True)
                wait_for_end(place.trainer, SECONDS)
        board.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_training_is_started_stopped_between_steps_and_resumed_by_another_dashboard(
    scenes: Path, tmp_path: Path, boards: list[Dashboard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run = tmp_path / "my run"
    command = f"train --data '{scenes}' --steps 100000 --batch 2 --lr 1e-6 --eval-every 2 --eval-images 1"
    first = htc_lab.dashboard(run, command, start=True)
    boards.append(first)
    assert first.report["places"][0]["state"] == "running"
    assert "--run" in first.report["places"][0]["command"]
    running = first._places[0].trainer
    assert running is not None
    threads = psutil.Process(running.pid).environ()["OMP_NUM_THREADS"]
    assert threads == str(max(1, (os.cpu_count() or 2) - 1)), "a core is left to the notebook"
    assert psutil.Process(running.pid).nice() > psutil.Process().nice(), "it gives way to the notebook"
    with pytest.raises(InputError, match="is training in it"):
        first.start()
    until(lambda: first.report["runs"] and len(first.report["runs"][0]["samples"]) > 1)

    # As after a kernel restart: nothing is known but the folder.
    process._children.clear()
    second = htc_lab.dashboard(run)
    boards.append(second)
    assert second.report["places"][0]["stoppable"]
    assert second.pictures["my run"]["png"][:4] == b"\x89PNG"
    assert second.stop(wait=SECONDS)
    place = second.report["places"][0]
    assert (place["state"], place["startable"]) == ("stopped", True)
    assert last_words(run).startswith("stopped; what was saved is kept")
    done = second.report["runs"][0]["step"]
    assert read_run(run / CHECKPOINT)[2] == done > 0

    second.start()
    until(lambda: second.report["runs"][0]["step"] > done)
    assert second.stop(wait=SECONDS)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if "loss" in line]
    assert steps == list(range(1, len(steps) + 1))
    looks = [line["step"] for line in lines if "evaluation" in line]
    assert looks == [step for step in steps if step % 2 == 0]
    assert all(line["evaluation"]["images"] == 1 for line in lines if "evaluation" in line)


def test_a_command_that_is_refused_is_shown_with_its_reason(tmp_path: Path, boards: list[Dashboard]) -> None:
    board = htc_lab.dashboard(tmp_path / "run", f"train --data '{tmp_path / 'nowhere'}'", start=True)
    boards.append(board)
    until(lambda: board.report["places"][0]["state"] == "failed")
    assert "nowhere" in board.report["places"][0]["words"]
    assert board.report["places"][0]["startable"]


def test_a_number_that_another_process_has_now_is_not_taken_for_the_training(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 1)
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        began = psutil.Process(other.pid).create_time()
        card = {"pid": other.pid, "began": began, "host": process.socket.gethostname(), "command": ["train"]}
        (run / process.RECORD).write_text(json.dumps(card))
        assert trainer(run) == Trainer(other.pid, began, True)
        (run / process.RECORD).write_text(json.dumps({**card, "began": began - 100}))
        assert trainer(run) is None
        stop(Trainer(other.pid, began - 100, True))
        (run / process.RECORD).write_text(json.dumps({**card, "host": "elsewhere"}))
        assert trainer(run) is None
        assert other.poll() is None
    finally:
        other.communicate(b"\n")
    (run / process.RECORD).write_text(json.dumps(card))
    assert trainer(run) is None
    (run / process.RECORD).write_text("{")
    assert trainer(run) is None


def test_who_holds_the_lock_is_training_whoever_started_it(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 1)
    with only_here(run):
        found = trainer(run, [run])
        assert found is not None
        assert (found.here, found.known) == (True, False)
        board = htc_lab.dashboard(run)
        assert board.report["places"][0]["state"] == "running"
        assert not board.report["places"][0]["stoppable"]
        with pytest.raises(InputError, match="interrupt the kernel"):
            board.stop()
        board.close()
    # The file stays, with a living process's number in it.
    assert (run / "run.lock").read_text().split()[0] == str(os.getpid())
    assert trainer(run, [run]) is None


def test_a_stop_signal_waits_for_the_step_and_a_second_one_does_not() -> None:
    code = (
        "import time, signal, os\n"
        "from htc_lab.train.stopping import stopping_between_steps\n"
        "before = signal.getsignal(signal.SIGTERM)\n"
        "with stopping_between_steps(alone=True) as stop:\n"
        "    os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.01)\n"
        "    assert stop\n"
        "    try: os.kill(os.getpid(), signal.SIGINT); time.sleep(0.01)\n"
        "    except KeyboardInterrupt: print('second')\n"
        "assert signal.getsignal(signal.SIGTERM) == before\n"
        "with stopping_between_steps(alone=False):\n"
        "    assert signal.getsignal(signal.SIGTERM) == before\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "second\n"), done.stderr


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("eval --data x", "can start htc-lab train or ablate"),
        ("", "can start htc-lab train or ablate"),
        ("train --run elsewhere --data x", "--run elsewhere is not"),
    ],
)
def test_what_a_dashboard_can_not_start_is_said(command: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        words_of(command, tmp_path)


def test_a_command_is_completed_by_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    assert words_of("htc-lab train --data d", folder) == ["train", "--data", "d", "--run", str(folder)]
    assert words_of(["ablate", "--quick"], folder) == ["ablate", "--quick", "--out", str(folder)]
    assert words_of(f"train --run='{folder}'", folder) == ["train", f"--run={folder}"]


def test_folders_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        htc_lab.dashboard(tmp_path / "nothing")
    with pytest.raises(InputError, match="no folder given"):
        htc_lab.dashboard([])
    with pytest.raises(InputError, match="belongs to one folder"):
        htc_lab.dashboard([tmp_path, tmp_path], "train --data x")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        start(tmp_path / "file", ["train"])


def test_a_run_that_nobody_s_dashboard_started_can_not_be_resumed_by_guessing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 1)
    board = htc_lab.dashboard(run)
    assert not board.report["places"][0]["startable"]
    with pytest.raises(InputError, match="not known how it was started"):
        board.start()
    assert repr(board) == "Training dashboard (run: stopped, step 1 of 40)"
    board.close()


def test_signals_stay_what_they_were_after_a_training() -> None:
    assert signal.getsignal(signal.SIGINT) is _SIGINT
