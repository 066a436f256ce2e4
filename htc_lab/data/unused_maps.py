"""A folder that looks like semantic maps, but whose place or names the lab doesn't recognise."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from htc_lab.data.layout import MAP_FOLDERS, Split
from htc_lab.data.pictures import opened
from htc_lab.errors import InputError

_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")
_ONE_CHANNEL = ("1", "L", "P", "I", "I;16", "I;16B")
# Enough of each to tell; a folder may hold a million files.
_PICTURES, _FOLDERS, _FILES = 20, 50, 5000
_HALF = 0.5


def folder_like_maps(root: Path, splits: Sequence[Split]) -> tuple[Path, str] | None:
    """A folder in ``root`` with a picture of one channel for the pictures of the first split.

    Returns:
        The folder and the name of one such file, or None. A folder of the right name counts whatever is in
        it.
    """
    used = {place.resolve() for split in splits for place in (split.images, split.semantic) if place}
    stems = [Path(image["file_name"]).stem for image in splits[0].coco.images[:_PICTURES]]
    for folder in _folders(root):
        if folder.resolve() in used:
            continue
        files = _files(folder)
        if files and not set(MAP_FOLDERS).isdisjoint(folder.relative_to(root).parts):
            return folder, files[0].name
        example = _example(files, stems)
        if example is not None and _has_one_channel(example):
            return folder, example.name
    return None


def _folders(root: Path) -> Iterator[Path]:
    """The folders in a folder and in these, those that are named after maps first."""
    first = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    first.sort(key=lambda path: path.name not in MAP_FOLDERS)
    for folder in first[:_FOLDERS]:
        yield folder
        inner = sorted(path for path in folder.iterdir() if path.is_dir())
        yield from inner[:_FOLDERS]


def _files(folder: Path) -> list[Path]:
    found = []
    for place, path in enumerate(folder.iterdir()):
        if place >= _FILES:
            break
        if path.suffix.lower() in _SUFFIXES:
            found.append(path)
    return sorted(found)


def _example(files: list[Path], stems: list[str]) -> Path | None:
    """One of the files, if at least half of the stems have a file that is named after them."""
    after: dict[str, Path] = {}
    for path in files:
        # 0001.png, and also 0001_mask.png, mask_0001.png or 0001.labels.png.
        for name in (path.stem, path.stem.rpartition("_")[0], path.stem.partition("_")[2]):
            after.setdefault(name, path)
        after.setdefault(path.name.partition(".")[0], path)
    found = [after[stem] for stem in stems if stem in after]
    return found[0] if found and len(found) >= _HALF * len(stems) else None


def _has_one_channel(path: Path) -> bool:
    try:
        with opened(path, "", "{}") as picture:
            return picture.mode in _ONE_CHANNEL
    except InputError:
        return False
