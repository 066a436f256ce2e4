"""The process that trains, seen from outside: started, found again after a kernel restart, stopped.

Everything known about it is in the folder (``process.json``, ``process.log``, and the training's own
``run.lock``), so any kernel can take over. A process is identified by its number and the moment it began,
because numbers are reused.
"""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from htc_lab.errors import InputError
from htc_lab.files import read_json, write_json
from htc_lab.train.lock import is_held, signature

RECORD = "process.json"
LOG = "process.log"

# Seconds by which the clocks of the file system and of the process table may differ.
_SLACK = 2.0
_LOG_TAIL = 4000
_GIVES_WAY = getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", 5)

# The commands that can fill a folder, each with the flag that names the folder.
_FOLDER_FLAGS = {"train": "--run", "ablate": "--out"}

# Started here, and polled, so that they don't stay behind as zombies.
_children: dict[int, subprocess.Popen] = {}


@dataclass(frozen=True)
class Trainer:
    """A process that is alive.

    Attributes:
        pid: its number.
        began: when it began, in seconds since 1970.
        known: whether a dashboard started it (otherwise a terminal or a notebook did).
    """

    pid: int
    began: float
    known: bool

    @property
    def here(self) -> bool:
        """Whether it is this process itself."""
        return self.pid == os.getpid()


def words_of(command: str | Sequence[str], folder: Path) -> list[str]:
    """A command for a folder as separate words, with the folder among them.

    Args:
        command: what comes after ``htc-lab``, e.g. ``"train --data scenes --steps 300"``.
        folder: what it fills; ``--run`` (``--out`` for ``ablate``) is added if it is missing.

    Raises:
        InputError: the command is neither train nor ablate, or names a different folder.
    """
    words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
    if words[:1] == ["htc-lab"]:
        words = words[1:]
    if not words or words[0] not in _FOLDER_FLAGS:
        known = " or ".join(_FOLDER_FLAGS)
        raise InputError(f"command '{' '.join(words)}': the dashboard can start htc-lab {known} only")
    flag = _FOLDER_FLAGS[words[0]]
    for i, word in enumerate(words):
        name, _, value = word.partition("=")
        if name == flag:
            said = value or (words[i + 1] if i + 1 < len(words) else "")
            if Path(said).resolve() != folder.resolve():
                raise InputError(f"command: {flag} {said} is not {folder}; leave the flag out")
            return words
    return [*words, flag, str(folder)]


def start(folder: Path, command: Sequence[str]) -> Trainer:
    """Run ``htc-lab`` with these words in a process of its own, which outlives this one.

    Unless ``OMP_NUM_THREADS`` says otherwise, it computes on one thread less than there are cores; and it
    gives way to whatever else needs them.

    Raises:
        InputError: something is already training there, or the folder can't be written.
    """
    running = trainer(folder)
    if running is not None:
        raise InputError(f"{folder}: process {running.pid} is training in it; stop it first")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = (folder / LOG).open("ab")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None
    with log:
        log.write(f"$ htc-lab {shlex.join(command)}\n".encode())
        log.flush()
        child = subprocess.Popen(
            [sys.executable, "-m", "htc_lab", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 2) - 1)), **os.environ},
            # A group of its own: interrupting or restarting a kernel only ends the kernel's own group.
            start_new_session=True,
        )
    _children[child.pid] = child
    with suppress(psutil.Error):
        psutil.Process(child.pid).nice(_GIVES_WAY)
    began = psutil.Process(child.pid).create_time()
    write_json(
        folder / RECORD,
        {
            "pid": child.pid,
            "began": began,
            "host": socket.gethostname(),
            "command": list(command),
            "cwd": os.getcwd(),
        },
    )
    return Trainer(child.pid, began, True)


def command_of(folder: Path) -> list[str] | None:
    """The command that a dashboard last started for this folder; None if there is none."""
    card = _record(folder)
    return None if card is None else [str(word) for word in card["command"]]


def trainer(folder: Path, runs: Sequence[Path] = ()) -> Trainer | None:
    """The process training here now: one that a dashboard started, or one that holds the lock of a run."""
    card = _record(folder)
    if card is not None:
        found = _alive(card["pid"], card["host"])
        if found is not None and abs(found.create_time() - card["began"]) < _SLACK:
            return Trainer(found.pid, card["began"], True)
    for run in runs:
        held = _holder(run) if is_held(run) else None
        if held is not None:
            return held
    return None


def stop(running: Trainer, hard: bool = False) -> None:
    """Ask it to end after its current step, with the checkpoint written; ``hard``: end it at once.

    Does nothing if it has already ended.
    """
    try:
        process = psutil.Process(running.pid)
        if abs(process.create_time() - running.began) < _SLACK:
            process.send_signal(signal.SIGTERM if not hard else getattr(signal, "SIGKILL", signal.SIGTERM))
    except psutil.NoSuchProcess:
        return


def last_words(folder: Path) -> str:
    """The last line that the process printed, without progress bars; "" if there is none."""
    try:
        with (folder / LOG).open("rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - _LOG_TAIL))
            text = log.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.rsplit("\r", 1)[-1].strip() for line in text.splitlines()]
    said = [line for line in lines if line and "it/s" not in line and "s/it" not in line]
    return said[-1] if said else ""


def _record(folder: Path) -> dict[str, Any] | None:
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        card = read_json(path, "delete it")
    except InputError:
        return None
    known = isinstance(card, dict) and {"pid", "began", "host", "command"} <= card.keys()
    return card if known else None


def _alive(pid: Any, host: str) -> psutil.Process | None:
    """The process with that number, if it is on this machine and has not ended."""
    if host != socket.gethostname() or not isinstance(pid, int):
        return None
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.Error:
        return None


def _holder(run: Path) -> Trainer | None:
    """The process that signed the lock of a run, if it is still the same one: it began before it signed."""
    signed = signature(run)
    process = _alive(signed.pid, signed.host) if signed else None
    if signed is None or process is None or process.create_time() > signed.at + _SLACK:
        return None
    return Trainer(process.pid, process.create_time(), False)


def wait_for_end(running: Trainer, seconds: float) -> bool:
    """Whether it ended within ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        process = _alive(running.pid, socket.gethostname())
        if process is None or abs(process.create_time() - running.began) >= _SLACK:
            return True
        time.sleep(0.05)
    return False
