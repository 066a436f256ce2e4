"""A run's folder: what was asked for, what happened step by step, and which images could not be read."""

import json
import shutil
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm.auto import tqdm

from htc_lab.checkpoint.files import CHECKPOINT
from htc_lab.config_json import model_config_in_full, schedule_in_full
from htc_lab.distributed import SharedError, Team
from htc_lab.errors import InputError
from htc_lab.files import plain, read_json, remove_leftovers, write_json, write_text
from htc_lab.train.lock import LOCK

# A training continues without this many of its images, or this share of them, whichever is more.
FEW_IMAGES = 10
FEW_SHARE = 0.01
# From this share on, it is too many even of a handful of images.
HALF = 0.5

CONFIG = "config.json"
METRICS = "metrics.jsonl"
SKIPPED = "skipped.jsonl"
SAMPLES = "samples"

_FIXED = ("model", "schedule", "seed", "init", "images", "class_names")
_RESUMED = "resumed_with"
_OF_THE_DASHBOARD = ("process.json", "process.log")
_FIX = "delete the folder or choose another --run"


def tidy(run: Path) -> None:
    """Remove files that killed trainings left half written; no other process may be training here now."""
    for name in (CONFIG, METRICS, CHECKPOINT):
        remove_leftovers(run / name)


def require_same(run: Path, wanted: dict[str, Any]) -> None:
    """Make sure that a run in the folder, if there is one, was started for the same.

    The number of parts in which a batch is processed may differ: a run that is out of memory continues with
    smaller ones (:func:`note_parts`). Nor does a run that has a checkpoint need to be told again what it was
    started from.

    Raises:
        InputError: the folder contains another run, or a checkpoint whose run can't be identified.
    """
    path = run / CONFIG
    if not path.exists():
        if (run / CHECKPOINT).exists():
            raise InputError(
                f"{path}: is missing, and {run / CHECKPOINT} may be of any training; put it back, {_FIX}"
            )
        return
    if not _has_begun(run):
        return
    found = read_json(path, _FIX)
    asked = plain(wanted)
    for field in _FIXED:
        there = found.get(field) if isinstance(found, dict) else None
        if field == "init" and asked[field] is None and (run / CHECKPOINT).exists():
            continue
        if not isinstance(found, dict) or _compared(field, there) != _compared(field, asked[field]):
            raise InputError(f"{path}: field '{field}' differs from what is asked for now; {_FIX}")


def claim(run: Path, wanted: dict[str, Any]) -> None:
    """Write ``config.json``, unless the run that is there continues.

    Raises:
        InputError: as :func:`require_same` does.
    """
    require_same(run, wanted)
    if (run / CONFIG).exists() and _has_begun(run):
        return
    # What a failed start has logged is not of this run.
    for name in (METRICS, SKIPPED):
        (run / name).unlink(missing_ok=True)
    shutil.rmtree(run / SAMPLES, ignore_errors=True)
    write_json(run / CONFIG, wanted)


def _has_begun(run: Path) -> bool:
    """Whether something in the folder would be lost, or be taken for another run's, if a run began anew.

    A start that failed before its first checkpoint leaves nothing but its config, its logs, sample pictures
    and the batch at which it stopped.
    """
    own = (CONFIG, METRICS, SKIPPED, SAMPLES, LOCK, *_OF_THE_DASHBOARD)
    return any(p.name not in own and not p.name.startswith(("stopped_at_step_", ".")) for p in run.iterdir())


def threads_of(run: Path) -> int | None:
    """The number of threads the run started with, so that sums are split in the same way; None: unknown."""
    try:
        card = json.loads((run / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # claim() reports whatever is wrong with the file.
        return None
    threads = card.get("threads") if isinstance(card, dict) else None
    return threads if type(threads) is int and threads > 0 else None


def require_in_place(run: Path) -> None:
    """Make sure that the folder is still where the training started; a checkpoint must not create a new one.

    Raises:
        InputError: it was moved or deleted in the meantime.
    """
    if not (run / CONFIG).exists():
        raise InputError(
            f"{run / CONFIG}: is gone; the run's folder was moved or deleted during the training. Give its "
            "new path as --run, and the same command goes on from its last checkpoint"
        )


def _compared(field: str, value: Any) -> Any:
    """What is compared of a field."""
    if field == "model":
        return model_config_in_full(value)
    if field == "schedule":
        value = schedule_in_full(value)
    return {k: v for k, v in value.items() if k != "accumulate"} if isinstance(value, dict) else value


def note_parts(run: Path, done: int, accumulate: int) -> None:
    """If the number of parts of a batch has changed, note in ``config.json`` from which step on."""
    path = run / CONFIG
    card = read_json(path, _FIX)
    resumed = card.get(_RESUMED, [])
    try:
        now = resumed[-1]["accumulate"] if resumed else card["schedule"]["accumulate"]
        lines = list(resumed)
    except (LookupError, TypeError):
        raise InputError(
            f"{path}: field '{_RESUMED}' or 'schedule.accumulate' was changed by hand; {_FIX}"
        ) from None
    if now != accumulate:
        card[_RESUMED] = [*lines, {"step": done + 1, "accumulate": accumulate}]
        write_json(path, card)


def too_many(unreadable: int, images: int) -> bool:
    """Whether too many images are unreadable for it to be a matter of single files."""
    return unreadable >= HALF * images or (unreadable > FEW_IMAGES and unreadable > FEW_SHARE * images)


def read_metrics(run_folder: Path) -> list[dict[str, Any]]:
    """The training steps of a run, in order; a line cut off while it was being written is left out.

    Raises:
        InputError: the folder contains no metrics.
    """
    path = Path(run_folder) / METRICS
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the folder of a run (it contains metrics.jsonl)")
    return [line for line in _lines(path, "step") if _is_number(line.get("loss"))]


class RunLog:
    """``metrics.jsonl`` and ``skipped.jsonl``: the first process writes them, all know the skipped images.

    Used as a context manager; lines of steps after ``done``, which the checkpoint doesn't cover, are dropped.

    Attributes:
        run: the folder.
    """

    def __init__(self, run: Path, done: int, images: int, team: Team) -> None:
        """See the class.

        Args:
            run: the folder.
            done: the steps covered by the checkpoint.
            images: how many the training has.
            team: the processes that train together.
        """
        self.run, self._images, self._team = run, images, team
        self._skipped = run / SKIPPED
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
            lacking: the number of images for which no replacement was found either.

        Raises:
            SharedError: too many images cannot be read.
        """
        told = self._team.gather((unreadable, lacking))
        fresh = {i: why for part, _ in told for i, why in part.items() if i not in self._known}
        self._known |= fresh.keys()
        if self._team.first and fresh:
            skipped = _Lines(self._skipped)
            for image_id, why in fresh.items():
                skipped.add({"step": step, "image_id": image_id, "why": why})
                note = f"step {step}: image {image_id} replaced by another: {why}"
                tqdm.write(note, file=sys.stderr)
            skipped.close()
        if any(count for _, count in told) or too_many(len(self._known), self._images):
            last = [why for part, _ in told for why in part.values()][-1]
            raise SharedError(
                f"{len(self._known)} of {self._images} training images cannot be read ({self._skipped}); "
                f"the last: {last}"
            )


class _Lines:
    """A growing file of JSON lines; each is passed to the operating system before the next step begins."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            # Unbuffered: closing would try again to write a buffer that couldn't be written, and fail again.
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
    """The lines whose ``field`` is a number; a line that was cut short is left out."""
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
