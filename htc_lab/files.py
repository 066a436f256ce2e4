"""Writing files so that a reader never sees half of one."""

import glob
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from htc_lab.errors import InputError, in_one_line


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` create the file in a temporary folder beside ``path``, then move it there in one step.

    Until then, and if anything fails, an existing file at ``path`` stays as it is. A killed process leaves
    the temporary folder behind (:func:`remove_leftovers`), but never half a file at ``path``.

    Raises:
        InputError: the folder can't be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A folder, because some writers create their own temporary files beside what they write.
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another folder") from None
    temporary = folder / path.name
    try:
        write(temporary)
        # Some writers make their files private, but others should be able to read these.
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another folder"
        ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def appears_whole(root: Path) -> Iterator[Path]:
    """A temporary sibling of a folder, which gets the folder's name once it is complete, and else is deleted.

    Raises:
        InputError: it can't be written; names ``root``.
    """
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        partial_root = Path(tempfile.mkdtemp(prefix=f".{root.name}.partial-", dir=root.parent))
    except OSError as error:
        raise InputError(f"{root}: cannot be created ({error.strerror}); choose another folder") from None
    try:
        partial_root.chmod(0o755)
        yield partial_root
        if root.exists():
            root.rmdir()
        os.replace(partial_root, root)
    except OSError as error:
        shutil.rmtree(partial_root, ignore_errors=True)
        raise InputError(
            f"{root}: cannot be written ({error.strerror or error}); free space there or choose another place"
        ) from None
    except BaseException:
        shutil.rmtree(partial_root, ignore_errors=True)
        raise


def require_room_for(path: Path) -> None:
    """Check, before hours of work, that :func:`write_atomically` can put a file at ``path``; create nothing.

    Raises:
        InputError: a folder is in the way, or the place can't be written to.
    """
    reason = None
    try:
        place = next(parent for parent in path.absolute().parents if parent.exists())
        if path.is_dir():
            reason = "Is a directory"
        elif not place.is_dir():
            reason = "Not a directory"
        elif not os.access(place, os.W_OK | os.X_OK):
            reason = "not writable"
    except (OSError, ValueError) as error:
        reason = in_one_line(error)
    if reason is not None:
        raise InputError(f"{path}: cannot be written ({reason}); choose another folder or name")


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left behind when writing ``path``; nothing may be writing it now."""
    for folder in path.parent.glob(f".{glob.escape(path.name)}.*"):
        shutil.rmtree(folder, ignore_errors=True)


def plain(value: Any) -> Any:
    """``value`` in a form for strict JSON: NaN and infinities become null, tuples lists, and paths text."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def one_or_all(values: Sequence[Any]) -> Any:
    """Values for a JSON file in which there is mostly one: that alone, or several as a list."""
    return values[0] if len(values) == 1 else list(values)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    write_atomically(path, lambda temporary: _fill(temporary, text))


def _fill(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_text(path, json.dumps(plain(value), indent=1, allow_nan=False) + "\n")


def read_json(path: Path, fix: str) -> Any:
    """The JSON value in a file.

    Args:
        path: the file.
        fix: what to do about it, as the message ends, e.g. "start the run again".

    Raises:
        InputError: the file is missing, unreadable or broken; the message says where.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise InputError(f"{path}: not JSON of ours (nested too deeply); {fix}") from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {fix}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {fix}") from None
    # A number with thousands of digits is a ValueError, too.
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); {fix}") from None


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
