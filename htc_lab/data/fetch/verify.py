"""Is a file what it should be, and is there space for another?"""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from htc_lab.errors import InputError

GB = 1e9
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Digest:
    """What a file's bytes must hash to.

    Attributes:
        algorithm: a name that ``hashlib`` knows, such as md5 or sha256.
        value: the hexadecimal digest, or the beginning of one.
    """

    algorithm: str
    value: str


def file_fault(path: Path, size: int | None, digest: Digest | None, progress: bool = False) -> str | None:
    """What is wrong with a file: "has 3 bytes, not 5", or None."""
    have = path.stat().st_size
    if size is not None and have != size:
        return f"has {have} bytes, not {size}"
    if digest is not None:
        found = digest_of(path, digest.algorithm, progress)
        if not found.startswith(digest.value):
            shown = found[: max(len(digest.value), 8)]
            return f"has the {digest.algorithm} {shown}, not {digest.value}"
    return None


def digest_of(path: Path, algorithm: str, progress: bool = False) -> str:
    """The hexadecimal digest of a file's bytes."""
    running = hashlib.new(algorithm, usedforsecurity=False)
    size = path.stat().st_size
    # Nobody needs a bar for less than a second.
    quiet = not progress or size < 200 << 20
    with (
        tqdm(total=size, desc=f"checking {path.name}", unit="B", unit_scale=True, disable=quiet) as bar,
        path.open("rb") as file,
    ):
        while block := file.read(_CHUNK):
            running.update(block)
            bar.update(len(block))
    return running.hexdigest()


def require_room(folder: Path, needed: int | float, what: str) -> None:
    """Check that a file system has enough space.

    Args:
        folder: a folder on it, which need not exist yet.
        needed: bytes.
        what: what needs them, for the message.

    Raises:
        InputError: too little space is free.
    """
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise InputError(
            f"{folder}: {what} needs {needed / GB:.2f} GB, but {free / GB:.2f} GB are free; "
            f"free {(needed - free) / GB:.2f} GB or choose another folder"
        )
