"""File names that say where the pictures were when they were annotated, and where these pictures are now.

Annotation tools write Windows' backslashes, absolute paths of another machine, paths that lead out of the
folder ("../media/3/a.png"), and names escaped as in URLs ("a%20b.png"). A name that is no file as it is
written is read in these ways, and then without its leading folders, one after the other. It is taken if every
picture of the split is found so and no two are the same file.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize
from urllib.parse import unquote

from htc_lab.data.coco import CocoData, Row
from htc_lab.errors import InputError
from htc_lab.wording import counted, listed

_SEPARATORS = re.compile(r"[\\/]+|\?d=")
_ODD = (
    (re.compile(r"^([A-Za-z]:|[\\/]|\w+://)"), "absolute"),
    (re.compile(r"(^|[\\/])\.\.[\\/]"), "with ../"),
    (re.compile(r"\\"), "with backslashes"),
    (re.compile(r"%[0-9A-Fa-f]{2}"), "escaped as in URLs"),
)


@dataclass(frozen=True)
class Renamed:
    """Names in an annotation file that were read otherwise than they are written.

    Attributes:
        split: train, val or test.
        file: the annotation file.
        folder: where the pictures are.
        kinds: what is odd about the names, in words.
        count: how many there are.
        written, read: the first of them, and the file it is.
    """

    split: str
    file: Path
    folder: Path
    kinds: str
    count: int
    written: str
    read: str


def renamed_notes(found: Iterable[Renamed]) -> list[str]:
    """A sentence for each file, folder and kind."""
    alike: dict[tuple[Path, Path, str], list[Renamed]] = {}
    for one in found:
        alike.setdefault((one.file, one.folder, one.kinds), []).append(one)
    return [
        f"{listed([one.split for one in group])}: the file names of "
        f"{counted(sum(one.count for one in group), 'image')} in {file.name} are {kinds}; they are read as "
        f"files in {folder} ({group[0].written} is {group[0].read})"
        for (file, folder, kinds), group in alike.items()
    ]


class _Folder:
    """Which files a folder has; of its own, without asking the system for each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names = {entry.name for entry in path.iterdir()}

    def has(self, name: str) -> bool:
        if "/" not in name:
            return name in self._names
        return (self.path / name).is_file()


def _readings(name: str) -> Iterator[str]:
    """What a name that is no file may mean, relative to a folder; the most of it first."""
    for text in dict.fromkeys((name, unquote(name))):
        parts = [part for part in _SEPARATORS.split(text) if part not in ("", ".")]
        for first in range(len(parts)):
            if ".." not in parts[first:] and all(part.isprintable() for part in parts):
                yield "/".join(parts[first:])


def _found(folder: _Folder, name: str, freely: bool) -> str | None:
    # A name with accents has two spellings in Unicode, and systems differ in which they store.
    for spelling in (name, normalize("NFC", name), normalize("NFD", name)):
        if folder.has(spelling):
            return spelling
    # Beside pictures that are where their names say, one that isn't is missing, not elsewhere.
    if not freely and not _kinds([name]):
        return None
    return next((reading for reading in _readings(name) if folder.has(reading)), None)


def placed(
    split: str, coco: CocoData, candidates: list[Path], missing_ok: bool = False
) -> tuple[Path, CocoData, Renamed | None]:
    """The folder that the images of a split are in, and the same annotations with their names in it.

    Args:
        split: its name, for the messages.
        coco: the annotations.
        candidates: folders, the likeliest first. One that has an image under its name as it is written goes
            before those that only have others.
        missing_ok: leave an image that isn't there under its name.

    Returns:
        The folder, the annotations (the same object if every name is right as it is written), and the names
        that were read otherwise.

    Raises:
        InputError: no folder has the images, the folder lacks one, or two names mean the same file.
    """
    folders = [_Folder(path) for path in candidates if path.is_dir()]
    names = [image["file_name"] for image in coco.images]
    as_written = next((f for name in names for f in folders if f.has(name)), None)
    if as_written is not None:
        return _in(as_written, split, coco, freely=False, missing_ok=missing_ok)
    for enough in (all, any):
        for folder in folders:
            if enough(_found(folder, name, freely=True) for name in names):
                return _in(folder, split, coco, freely=True, missing_ok=missing_ok)
    looked = ", ".join(str(folder.path) for folder in folders) or str(candidates[-1])
    flag = "--images" if split == "test" else f"--{split}-images or --images"
    first, kinds = names[0], _kinds(names)
    if not kinds:
        raise InputError(
            f"{coco.path}: none of its images (first: {first}) is in {looked}; name the folder with {flag}"
        )
    bare = [first, *_readings(first)][-1]
    raise InputError(
        f"{coco.path}: its file names are {listed(kinds)} (first: {first}), and {looked} has nothing like "
        f"them, not even {bare}; name the folder that has {bare} with {flag}"
    )


def _kinds(names: list[str]) -> list[str]:
    return [words for pattern, words in _ODD if any(pattern.search(name) for name in names)]


def _in(
    folder: _Folder, split: str, coco: CocoData, freely: bool, missing_ok: bool
) -> tuple[Path, CocoData, Renamed | None]:
    images: list[Row] = []
    owners: dict[str, str] = {}
    changed: list[tuple[str, str]] = []
    for image in coco.images:
        name = image["file_name"]
        now = _found(folder, name, freely)
        if now is None:
            if not missing_ok:
                raise InputError(
                    f"{folder.path / name}: no such image, but {coco.path} (image id {image['id']}) names "
                    "it; put it there or drop the entry"
                )
            now = name
        if now != name:
            changed.append((name, now))
        other = owners.setdefault(now, name)
        if other != name:
            raise InputError(
                f"{coco.path}: file_name {other} and {name} would both be {now} in {folder.path}; write "
                "names relative to the image folder, with / between folders"
            )
        images.append(image if now == name else image | {"file_name": now})
    if not changed:
        return folder.path, coco, None
    kinds = listed(_kinds([name for name, _ in changed])) or "not those of the files"
    renamed = Renamed(split, coco.path, folder.path, kinds, len(changed), *changed[0])
    return folder.path, dataclasses.replace(coco, images=images), renamed
