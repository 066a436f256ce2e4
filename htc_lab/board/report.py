"""Everything the dashboard shows, as plain JSON values."""

import itertools
import math
from pathlib import Path
from statistics import median
from typing import Any

from htc_lab.board.process import Trainer, command_of, last_words, trainer
from htc_lab.board.reading import CURVES, Evaluation, RunReader, find_runs, thinned
from htc_lab.files import plain
from htc_lab.train.lock import is_held

# The remaining time is estimated from the pace of this many steps.
_RECENT = 50


class Place:
    """A folder being watched: of one run, or of several that one command trains.

    Attributes:
        folder: the folder.
        command: what fills it, after ``htc-lab``; None if unknown, so that it can't be started from here.
        readers: one for each of its runs.
        trainer: the process that trained in it at the last look.
    """

    def __init__(self, folder: Path, command: list[str] | None) -> None:
        self.folder = folder
        self.command = command if command is not None else command_of(folder)
        self.readers: list[RunReader] = []
        self.trainer: Trainer | None = None

    def look(self) -> None:
        """Read what is new."""
        known = {reader.folder: reader for reader in self.readers}
        self.readers = [known.get(run) or RunReader(run) for run in find_runs(self.folder)]
        for reader in self.readers:
            reader.read()
        self.trainer = trainer(self.folder, [reader.folder for reader in self.readers])

    def report(self) -> dict[str, Any]:
        """The place as the buttons need it, and how often its runs are evaluated (``eval_every``)."""
        finished = bool(self.readers) and all(_is_finished(reader) for reader in self.readers)
        state, words = _state(self, finished)
        return {
            "name": str(self.folder),
            "state": state,
            "words": words,
            "stoppable": self.trainer is not None and not self.trainer.here,
            "startable": self.trainer is None and self.command is not None,
            "command": None if self.command is None else " ".join(["htc-lab", *self.command]),
            "begun": bool(self.readers),
            "eval_every": _eval_every(self.command),
        }


def _state(place: Place, finished: bool) -> tuple[str, str]:
    """running, finished, failed, stopped or waiting, and the same in a sentence."""
    if place.trainer is not None:
        if place.trainer.here:
            return "running", "Trained by this notebook's own kernel; interrupting the kernel stops it."
        whose = "" if place.trainer.known else ", started elsewhere"
        step = any(reader.steps for reader in place.readers)
        return "running", f"Process {place.trainer.pid}{whose}{'' if step else ': starting'}."
    said = last_words(place.folder)
    if said.startswith("error:") or "Error: " in said:
        return "failed", said
    if finished and not _is_ladder(place):
        return "finished", "All steps done."
    if finished:
        return "finished", "All runs that were started are done."
    if not place.readers:
        return "waiting", "Nothing trained yet."
    return "stopped", "No process is training; the last checkpoint stays."


def _eval_every(command: list[str] | None) -> int | None:
    """Steps between evaluations during training, by its command; None: there are none, or it isn't known."""
    words = [part for word in command or [] for part in word.split("=", 1)]
    after = dict(itertools.pairwise(words)).get("--eval-every", "")
    return int(after) if after.isascii() and after.isdigit() and len(after) < 10 else None


def _is_ladder(place: Place) -> bool:
    return bool(place.readers) and place.readers[0].folder != place.folder


def _is_finished(reader: RunReader) -> bool:
    whole = reader.whole_length()
    return whole is not None and bool(reader.steps) and reader.steps[-1][0] >= whole


def run_report(reader: RunReader, place: int, name: str) -> dict[str, Any]:
    """One run: how far it is, its curves, its evaluations.

    Args:
        reader: after its ``read``.
        place: the number of the folder it belongs to.
        name: its name on screen.
    """
    whole = reader.whole_length()
    step = reader.steps[-1][0] if reader.steps else 0
    running = is_held(reader.folder)
    left = None
    if running and whole is not None and reader.seconds:
        left = round((whole - step) * median(reader.seconds[-_RECENT:]))
    final = reader.final()
    evaluations = [*reader.evaluations, *([] if final is None else [final])]
    return {
        "name": name,
        "place": place,
        "state": "running" if running else "finished" if _is_finished(reader) else "stopped",
        "step": step,
        "steps": whole,
        "seconds_left": left,
        "curves": thinned(reader.steps),
        "evaluations": [_evaluation(each) for each in evaluations],
        "samples": [step for step, _ in reader.samples()],
    }


def _evaluation(said: Evaluation) -> dict[str, Any]:
    def short(ap: float | None) -> float | None:
        return None if ap is None or math.isnan(ap) else round(ap, 2)

    return {
        "step": said.step,
        "mask": short(said.mask_ap),
        "box": short(said.box_ap),
        "stages": [short(ap) for ap in said.stage_mask_ap],
        "images": said.images,
        "final": said.final,
    }


def names_of(folders: list[Path]) -> list[str]:
    """The names of runs on screen: as short as possible while still different."""
    for parts in range(1, 6):
        names = ["/".join(folder.resolve().parts[-parts:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def report_of(places: list[Place]) -> dict[str, Any]:
    """Everything on screen; each place must have looked."""
    pairs = [(number, reader) for number, place in enumerate(places) for reader in place.readers]
    names = names_of([reader.folder for _, reader in pairs])
    runs = [run_report(reader, number, name) for (number, reader), name in zip(pairs, names, strict=True)]
    whole: dict[str, Any] = plain(
        {"curves": list(CURVES), "places": [place.report() for place in places], "runs": runs}
    )
    return whole
