"""The lock of a run folder: the operating system's, gone with its process, and signed by it."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from htc_lab.errors import InputError
from htc_lab.train.lock import LOCK, is_held, only_here, signature

HOLD = """
import os, sys, time
from pathlib import Path
from htc_lab.train.lock import only_here
with only_here(Path(sys.argv[1])):
    child = os.fork() if sys.argv[2] == "forks" else None
    if child != 0:
        print(child or os.getpid(), flush=True)
    time.sleep(60)
"""


@contextmanager
def another_process(run: Path, how: str = "alone") -> Iterator[tuple[subprocess.Popen, int]]:
    """One that holds the lock, and the number it printed: its own, or that of its child."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run), how], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        try:
            yield other, int(other.stdout.readline())
        finally:
            other.kill()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("htc_lab.train.lock._PATIENCE", 0.1)


@pytest.mark.usefixtures("impatient")
def test_whoever_comes_second_is_told_who_came_first(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    with another_process(run) as (_, number):
        assert is_held(run)
        said = signature(run)
        assert said is not None
        assert (said.pid, said.host) == (number, socket.gethostname())
        assert abs(said.at - time.time()) < 60
        with pytest.raises(InputError, match=f"process {number} on .* is training in it"), only_here(run):
            pass
        # Asking and failing leave the signature alone.
        assert signature(run) == said


@pytest.mark.usefixtures("impatient")
def test_a_killed_process_blocks_nobody(tmp_path: Path) -> None:
    with another_process(tmp_path) as (other, number):
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert not is_held(tmp_path)
        said = signature(tmp_path)
        assert said is not None
        assert said.pid == number
        with only_here(tmp_path) as held:
            assert held
            said = signature(tmp_path)
            assert said is not None
            assert said.pid == os.getpid()


@pytest.mark.usefixtures("impatient")
def test_a_forked_reader_does_not_keep_it(tmp_path: Path) -> None:
    with another_process(tmp_path, "forks") as (other, child):
        try:
            assert is_held(tmp_path)
            other.kill()
            other.wait()
            assert psutil.pid_exists(child)
            with only_here(tmp_path) as held:
                assert held
        finally:
            os.kill(child, signal.SIGKILL)


def test_it_is_free_again_afterwards_and_the_file_stays(tmp_path: Path) -> None:
    for _ in range(2):
        with only_here(tmp_path) as held:
            assert held
            assert is_held(tmp_path)
        assert not is_held(tmp_path)
        assert (tmp_path / LOCK).is_file()
    with pytest.raises(ZeroDivisionError), only_here(tmp_path):
        raise ZeroDivisionError
    assert not is_held(tmp_path)


def test_a_file_system_without_locks_is_said_and_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", without)
    with only_here(tmp_path) as held:
        assert not held
    assert "its file system has no locks (No locks available)" in capsys.readouterr().err
    assert not is_held(tmp_path)


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "ftruncate", full)
    no_space = pytest.raises(InputError, match=r"cannot be written \(No space left on device\); free space")
    with no_space, only_here(tmp_path):
        pass
    monkeypatch.undo()
    assert not is_held(tmp_path)


@pytest.mark.parametrize("text", ["", "12", "-3 here", "1e3 here", "a b c", "\xff"])
def test_a_damaged_lock_file_names_nobody(tmp_path: Path, text: str) -> None:
    assert signature(tmp_path) is None
    (tmp_path / LOCK).write_text(text, encoding="latin-1")
    assert signature(tmp_path) is None
    assert not is_held(tmp_path)
    with only_here(tmp_path) as held:
        assert held
