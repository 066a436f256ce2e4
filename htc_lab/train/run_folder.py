"""A run's folder: what was asked, what happened step by step, and which images could not be read."""

import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm.auto import tqdm

from htc_lab.checkpoint.files import CHECKPOINT
from htc_lab.config_json import model_config_in_full
from htc_lab.distributed import SharedError, Team
from htc_lab.errors import InputError
from htc_lab.files import plain, read_json, remove_leftovers, write_json, write_text

# A training goes on without so many of its images, or so large a share of them, whichever is more.
FEW_IMAGES = 10
FEW_SHARE = 0.01
# Of a handful of images, this share is too many.
HALF = 0.5

CONFIG = "config.json"
METRICS = "metrics.jsonl"

_FIXED = ("model", "schedule", "seed", "init", "images", "class_names")
_RESUMED = "resumed_with"


def tidy(run: Path) -> None:
    """Remove what killed trainings left half written; nobody else may be training in the folder."""
    for name in (CONFIG, METRICS, CHECKPOINT):
        remove_leftovers(run / name)


def claim(run: Path, wanted: dict[str, Any]) -> None:
    """Write ``config.json``, or see that the one there asks for the same.

    The number of parts a batch is taken in may differ: who runs out of memory goes on with smaller ones
    (:func:`note_parts`).

    Raises:
        InputError: the folder holds another run, or the checkpoint of one that cannot be told.
    """
    path = run / CONFIG
    mend = "delete the folder or choose another --run"
    if not path.exists():
        if (run / CHECKPOINT).exists():
            raise InputError(
                f"{path}: is missing, and {run / CHECKPOINT} may be of any training; put it back, {mend}"
            )
        write_json(path, wanted)
        return
    found = read_json(path, mend)
    asked = plain(wanted)
    for field in _FIXED:
        there = found.get(field) if isinstance(found, dict) else None
        if not isinstance(found, dict) or _compared(field, there) != _compared(field, asked[field]):
            raise InputError(f"{path}: field '{field}' differs from what is asked for now; {mend}")


def threads_of(run: Path) -> int | None:
    """How many threads the run began with, so that it goes on with sums split alike; None: it doesn't say."""
    try:
        card = json.loads((run / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Whatever is wrong with the file, claim() tells.
        return None
    threads = card.get("threads") if isinstance(card, dict) else None
    return threads if type(threads) is int and threads > 0 else None


def require_in_place(run: Path) -> None:
    """See that the folder is still where the training began: it must not be begun anew by a checkpoint.

    Raises:
        InputError: it was moved or deleted meanwhile.
    """
    if not (run / CONFIG).exists():
        raise InputError(
            f"{run / CONFIG}: is gone; the run's folder was moved or deleted while it was trained. Give its "
            "new place as --run, and the same command goes on from its last checkpoint"
        )


def _compared(field: str, value: Any) -> Any:
    """What is compared of a field."""
    if field == "model":
        return model_config_in_full(value)
    return {k: v for k, v in value.items() if k != "accumulate"} if isinstance(value, dict) else value


def note_parts(run: Path, done: int, accumulate: int) -> None:
    """Say in ``config.json`` from which step on a batch is taken in how many parts, where that changed."""
    path = run / CONFIG
    mend = "delete the folder or choose another --run"
    card = read_json(path, mend)
    resumed = card.get(_RESUMED, [])
    try:
        now = resumed[-1]["accumulate"] if resumed else card["schedule"]["accumulate"]
        lines = list(resumed)
    except (LookupError, TypeError):
        raise InputError(
            f"{path}: field '{_RESUMED}' or 'schedule.accumulate' is not as it was written; {mend}"
        ) from None
    if now != accumulate:
        card[_RESUMED] = [*lines, {"step": done + 1, "accumulate": accumulate}]
        write_json(path, card)


def too_many(unreadable: int, images: int) -> bool:
    """Whether so many images that cannot be read mean that something is wrong with the data as a whole."""
    return unreadable >= HALF * images or (unreadable > FEW_IMAGES and unreadable > FEW_SHARE * images)


def read_metrics(run_folder: Path) -> list[dict[str, Any]]:
    """The training steps of a run, in order; a line that was cut off while it was written is left out.

    Raises:
        InputError: the folder holds no metrics.
    """
    path = Path(run_folder) / METRICS
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the folder of a run (it holds metrics.jsonl)")
    return [line for line in _lines(path, "step") if _is_number(line.get("loss"))]


class RunLog:
    """``metrics.jsonl`` and ``skipped.jsonl``: the first process writes them, all know who was skipped.

    Used as a context manager; lines of steps after ``done``, which the checkpoint doesn't hold, are dropped.

    Attributes:
        run: the folder.
    """

    def __init__(self, run: Path, done: int, images: int, team: Team) -> None:
        """See the class.

        Args:
            run: the folder.
            done: steps the checkpoint holds.
            images: how many the training has.
            team: who trains.
        """
        self.run, self._images, self._team = run, images, team
        self._skipped = run / "skipped.jsonl"
        self._known = {line["image_id"] for line in _lines(self._skipped, "image_id")}
        # The others must have read it before the first adds to it.
        team.wait()
        if not team.first:
            return
        metrics = run / METRICS
        if metrics.is_file():
            kept = [line for line in _lines(metrics, "step") if line["step"] <= done]
            write_text(metrics, "".join(json.dumps(line) + "\n" for line in kept))
        self._metrics = _Lines(metrics)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._team.first:
            self._metrics.close()

    def step(self, step: int, metrics: dict[str, Any]) -> None:
        """Add a line."""
        if self._team.first:
            self._metrics.add({"step": step, **metrics})

    def new(self, unreadable: dict[int, str]) -> bool:
        """Whether an image among these has not been reported yet."""
        return not unreadable.keys() <= self._known

    def report(self, step: int, unreadable: dict[int, str], lacking: int) -> None:
        """Name each image once, in ``skipped.jsonl`` and on stderr. All processes call it together.

        Args:
            step: from 1.
            unreadable: image id and reason.
            lacking: images for which no other was found either.

        Raises:
            SharedError: too many cannot be read.
        """
        told = self._team.gather((unreadable, lacking))
        fresh = {i: why for part, _ in told for i, why in part.items() if i not in self._known}
        self._known |= fresh.keys()
        if self._team.first and fresh:
            skipped = _Lines(self._skipped)
            for image_id, why in fresh.items():
                skipped.add({"step": step, "image_id": image_id, "why": why})
                note = f"step {step}: image {image_id} left out, another taken: {why}"
                tqdm.write(note, file=sys.stderr)
            skipped.close()
        if any(count for _, count in told) or too_many(len(self._known), self._images):
            last = [why for part, _ in told for why in part.values()][-1]
            raise SharedError(
                f"{len(self._known)} of {self._images} training images cannot be read ({self._skipped}); "
                f"the last: {last}"
            )


class _Lines:
    """A file of JSON lines that grows; each is with the system before the next step begins."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            # Unbuffered: a buffer that could not be written would be tried again, and fail again, on closing.
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise self._refusal(error) from None

    def add(self, line: dict[str, Any]) -> None:
        rest = (json.dumps(line) + "\n").encode()
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise self._refusal(error) from None

    def close(self) -> None:
        self._file.close()

    def _refusal(self, error: OSError) -> InputError:
        return InputError(
            f"{self._path}: cannot be written ({error.strerror}); free space or make the folder writable, "
            "and the same command goes on from the last checkpoint"
        )


def _lines(path: Path, field: str) -> list[dict[str, Any]]:
    """The lines that hold a number ``field``; one that was cut short is left out."""
    kept = []
    for text in path.read_bytes().split(b"\n") if path.is_file() else ():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict) and _is_number(line.get(field)):
            kept.append(line)
    return kept


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
