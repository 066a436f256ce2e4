"""Reading a nested config so that nothing in it can be overlooked.

Every value is asked for by its path ("model.backbone.depth"). Since the paths that were asked for are known,
those that nobody asked for can be named, and so can values that this lab can't express.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from htc_lab.errors import InputError


@dataclass(frozen=True)
class Unsupported:
    """A setting that isn't taken over as it is.

    Attributes:
        path: where the config has it, or would have it.
        value: what is there.
        why: what would be possible; of those that aren't refused, a sentence's end after the path.
        refused: whether only ``strict=False`` goes on without it. The others are worth knowing, but leave the
            model what the config describes.
        of_training: whether a model that is trained already is the same without it.
    """

    path: str
    value: Any
    why: str
    refused: bool = True
    of_training: bool = False

    def __str__(self) -> str:
        if self.refused:
            return f"{self.path}={shown(self.value, 60)} ({self.why})"
        value = "" if self.value == _MISSING else f"={shown(self.value, 200)}"
        return f"{self.path}{value} {self.why}"


class _Absent:
    """No default: the value is required."""


ABSENT: Final = _Absent()
_MISSING = "absent"
_UNKNOWN = "this lab has no such setting"
_LARGEST = 2**53
_OF_TRAINING = (
    "auto_scale_lr",
    "custom_hooks",
    "default_hooks",
    "load_from",
    "optim_wrapper",
    "param_scheduler",
    "resume_from",
    "train_cfg",
    "train_dataloader",
)
_START = "init_cfg.checkpoint"


def shown(value: Any, most: int) -> str:
    """A value as a message shows it, in at most ``most`` characters."""
    try:
        text = " ".join(repr(value).split())
    # Python refuses to write out a number with thousands of digits, and lists that are nested too deeply.
    except (ValueError, RecursionError):
        return "something too long to be shown"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= _LARGEST


class Fields:
    """Values of a config by path, with a record of what was read and what can't be expressed."""

    def __init__(self, values: dict[str, Any], where: str, written: Mapping[str, str] | None = None) -> None:
        """See the class.

        Args:
            values: the config.
            where: what messages call its file.
            written: for paths that the file has elsewhere, where that is; what is below them moves along.
        """
        self.where = where
        self._written = written or {}
        self.unsupported: list[Unsupported] = []
        self._values = values
        self._read: set[str] = set()

    def has(self, path: str) -> bool:
        """Whether there is a value other than None."""
        return self._find(path) not in (ABSENT, None)

    def get(self, path: str, default: Any = ABSENT) -> Any:
        """The value, whatever it is; it and everything inside it counts as read.

        Raises:
            InputError: it is missing and has no default.
        """
        self._read.add(path)
        value = self._find(path)
        if value is not ABSENT:
            return value
        if default is ABSENT:
            raise InputError(
                f"{self.where}: {self.said(path)} is missing; add it, or give the config it belongs to"
            )
        return default

    def _find(self, path: str) -> Any:
        value: Any = self._values
        for key in path.split("."):
            if isinstance(value, dict) and key in value:
                value = value[key]
            elif isinstance(value, list | tuple) and key.isdigit() and int(key) < len(value):
                value = value[int(key)]
            else:
                return ABSENT
        return value

    def said(self, path: str) -> str:
        """The path as the file has it."""
        parts = path.split(".")
        for i in range(len(parts), 0, -1):
            above = self._written.get(".".join(parts[:i]))
            if above is not None:
                return ".".join([above, *parts[i:]])
        return path

    def wrong(self, path: str, what: str) -> InputError:
        value = self._find(path)
        found = "missing" if value is ABSENT else shown(value, 80)
        return InputError(f"{self.where}: {self.said(path)} is {found}, but must be {what}; correct it")

    def integer(self, path: str, default: Any = ABSENT) -> int:
        value = self.get(path, default)
        if type(value) is not int or abs(value) > _LARGEST:
            raise self.wrong(path, "a whole number")
        return value

    def number(self, path: str, default: Any = ABSENT) -> float:
        value = self.get(path, default)
        if not _is_number(value):
            raise self.wrong(path, "a number")
        return float(value)

    def switch(self, path: str, default: Any = ABSENT) -> bool:
        value = self.get(path, default)
        if not isinstance(value, bool):
            raise self.wrong(path, "True or False")
        return value

    def text(self, path: str, default: Any = ABSENT) -> str:
        value = self.get(path, default)
        if not isinstance(value, str):
            raise self.wrong(path, "text")
        return value

    def numbers(self, path: str, count: int | None = None, default: Any = ABSENT) -> tuple[float, ...]:
        value = self.get(path, default)
        whole = isinstance(value, list | tuple) and all(map(_is_number, value))
        if not whole or (count is not None and len(value) != count):
            raise self.wrong(path, f"a list of {count or ''} numbers".replace("  ", " "))
        return tuple(float(v) for v in value)

    def length(self, path: str) -> int:
        """The number of items in the list there; 0 if there is no list."""
        value = self._find(path)
        return len(value) if isinstance(value, list | tuple) else 0

    def expect(self, path: str, *allowed: Any, default: Any = ABSENT) -> None:
        """Note the value if it is not one that this lab computes with (lists and tuples are equal).

        ``default`` is what mmdet uses if the config doesn't say; if left out, it is the first allowed value.
        """
        value = _plain(self.get(path, allowed[0] if default is ABSENT else default))
        if not any(value == _plain(choice) and type(value) is type(_plain(choice)) for choice in allowed):
            self.cannot(path, f"only {' or '.join(repr(choice) for choice in allowed)}")

    def cannot(self, path: str, why: str) -> None:
        """Note a setting that can't be expressed."""
        self._read.add(path)
        self._note(path, self._find(path), why, True)

    def tell(self, path: str, why: str) -> None:
        """Note what is done about a setting, which is no reason to refuse the config: "is taken as 16"."""
        self._note(path, self._find(path), why, False)

    def _note(self, path: str, value: Any, why: str, refused: bool) -> None:
        name = self.said(path)
        if all(known.path != name for known in self.unsupported):
            value = _MISSING if value is ABSENT else value
            of_training = path.startswith(_OF_TRAINING) or path.endswith(_START)
            self.unsupported.append(Unsupported(name, value, why, refused, of_training))

    def skip(self, *paths: str) -> None:
        """Ignore settings that don't affect the model or its training."""
        self._read.update(paths)

    def note_unread(self, path: str) -> None:
        """Note everything under ``path`` that nobody asked for."""
        for leaf, value in self._unread(path, self._find(path)):
            self._note(leaf, value, _UNKNOWN, True)

    def _unread(self, path: str, value: Any) -> Iterator[tuple[str, Any]]:
        if path in self._read or value is ABSENT:
            return
        below = f"{path}."
        if not isinstance(value, dict | list | tuple) or not any(r.startswith(below) for r in self._read):
            if value not in (None, {}, [], ()):
                yield path, value
            return
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from self._unread(f"{path}.{key}", item)


def _plain(value: Any) -> Any:
    """Whole numbers as float and tuples as lists, so that 1 is 1.0 and (0, 1) is [0, 1]."""
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return float(value) if type(value) is int and abs(value) <= _LARGEST else value
