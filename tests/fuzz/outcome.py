"""What a case of the fuzz suite may end in: a good result, or one clear line. And how many were tried."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings

from htc_lab.errors import InputError

Result = TypeVar("Result")

MOST_CHARACTERS = 1200
_FACTOR = int(os.environ.get("FUZZ_FACTOR", "1"))

tried = {"good": 0, "refused": 0}


def times(count: int) -> int:
    """``count``, or with FUZZ_FACTOR=10 ten times as many."""
    return count * _FACTOR


def examples(count: int) -> settings:
    """Hypothesis settings for so many cases, the same in every run unless there are more than CI's."""
    return settings(
        max_examples=times(count),
        deadline=None,
        derandomize=_FACTOR == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def assert_clear(error: InputError, *names: object) -> None:
    """One line that names what is wrong where, and says what to do.

    Args:
        error: the refusal.
        names: texts it must hold, such as the file.
    """
    line = str(error)
    assert line.isprintable() or "\n" not in line, line
    assert len(line.splitlines()) == 1, line
    assert len(line) <= MOST_CHARACTERS, line
    assert ";" in line or "must" in line or "give" in line or "take" in line, f"no fix in: {line}"
    for name in names:
        assert str(name) in line, f"{name} is not named in: {line}"


def outcome(call: Callable[[], Result], *names: object) -> Result | None:
    """The result, or None where the input was refused in one clear line; anything else fails the test.

    Args:
        call: what is tried.
        names: what a refusal must name.
    """
    try:
        result = call()
    except InputError as error:
        assert_clear(error, *names)
        tried["refused"] += 1
        return None
    tried["good"] += 1
    return result


def fresh(folder: Path, name: str, data: bytes) -> Path:
    """A file with these bytes."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
