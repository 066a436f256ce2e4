"""Finding the annotation files, images and semantic maps of a data folder.

These layouts work as they are: COCO's own tree, ``annotations/instances_{train,val}[YEAR].json`` with one
image folder or one per split, one folder per split with its JSON inside, and a single JSON, which is then
split with a seed.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from htc_lab.data.coco import CocoData, read_coco
from htc_lab.data.file_names import Renamed, placed, renamed_notes
from htc_lab.data.split import split_images
from htc_lab.errors import InputError
from htc_lab.wording import counted

FLAGS = "--train-json --val-json --images --semantic"
_NAMES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
MAP_FOLDERS = ("stuffthingmaps", "semantic")
_NOT_INSTANCES = re.compile(r"^(panoptic|captions|person_keypoints|stuff|image_info|semantic_classes|scenes)")


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    Attributes:
        name: train, val or test.
        images: folder that the JSON's ``file_name`` entries are relative to.
        semantic: folder of ``<image stem>.png`` maps; None if there are none.
    """

    name: str
    coco: CocoData
    images: Path
    semantic: Path | None


@dataclass(frozen=True)
class DataFolder:
    """The three splits of a data set.

    Attributes:
        notes: how the splits were made and what was read otherwise than it is written, one sentence each, for
            ``describe``.
    """

    root: Path
    train: Split
    val: Split
    test: Split
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """What was found: files, counts, classes, where semantic maps come from. Several lines."""
        shown = ", ".join(self.class_names[:12]) + (", ..." if len(self.class_names) > 12 else "")
        lines = [f"{self.root}: {counted(len(self.class_names), 'class', 'classes')} ({shown})"]
        own = [self.train, self.val, *([] if self.test is self.val else [self.test])]
        for split in own:
            objects = sum(len(rows) for rows in split.coco.annotations_by_image.values())
            maps = (
                f"semantic maps {split.semantic}" if split.semantic else "no semantic maps (made from masks)"
            )
            counts = f"{counted(len(split.coco.images), 'image')}, {counted(objects, 'object')}"
            lines.append(f"  {split.name}: {counts}; {split.coco.path}; images {split.images}; {maps}")
        return "\n".join(lines + [f"  {note}" for note in self.notes])


def find_data(
    root: Path,
    *,
    train_json: Path | None = None,
    val_json: Path | None = None,
    test_json: Path | None = None,
    images: Path | None = None,
    train_images: Path | None = None,
    val_images: Path | None = None,
    semantic: Path | None = None,
    split_seed: int = 0,
    val_fraction: float = 0.3,
) -> DataFolder:
    """Find and read a data set.

    Args:
        root: its folder.
        train_json, val_json, test_json: annotation files to use instead of those found. ``train_json`` alone
            is split with ``split_seed``.
        images, train_images, val_images: image folders to use instead of those found.
        semantic: folder of semantic maps (one for all, or with a folder per split) to use instead of the one
            found.
        split_seed: decides which images of a single JSON go to val.
        val_fraction: their share, between 0 and 1.

    Raises:
        InputError: nothing fits, or what was found is broken; names the file and a fix.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; name the folder of a COCO-format data set")
    if not 0.0 < val_fraction < 1.0:
        raise InputError(f"--val-fraction {val_fraction}: must be between 0 and 1")
    if split_seed < 0:
        raise InputError(f"--split-seed {split_seed}: must be 0 or more")
    jsons = choose_jsons(root, train_json, val_json, test_json)
    data = {name: read_coco(path) for name, path in jsons.items()}
    for name in ("val", "test"):
        if name in data:
            same_categories(data["train"], data[name])
    notes = [note for coco in data.values() for note in coco.notes]
    if "val" not in data:
        data["train"], data["val"] = split_images(data["train"], split_seed, val_fraction)
        notes.append(
            f"{jsons['train'].name} was split by seed {split_seed}: {val_fraction:.0%} of its images are val"
        )
    if "test" not in data:
        notes.append("there is no test split: test = val")
    folders = {"train": train_images or images, "val": val_images or images, "test": images}
    splits, renamed = {}, []
    for name, coco in data.items():
        folder, coco, names = find_images(root, name, coco, folders[name])
        renamed += [] if names is None else [names]
        splits[name] = Split(name, coco, folder, map_folder(root, name, coco, semantic))
    return DataFolder(
        root=root,
        train=splits["train"],
        val=splits["val"],
        test=splits.get("test", splits["val"]),
        class_names=data["train"].class_names,
        notes=(*notes, *renamed_notes(renamed)),
    )


def choose_jsons(
    root: Path, train: Path | None = None, val: Path | None = None, test: Path | None = None
) -> dict[str, Path]:
    """Annotation file of each split that has one; "train" is always included.

    Raises:
        InputError: none is found, or several that could be meant.
    """
    if train is None and val is not None:
        raise InputError("--val-json: needs --train-json as well")
    found: dict[str, Path] = {}
    if train is not None:
        found["train"] = Path(train)
        if val is not None:
            found["val"] = Path(val)
    else:
        found = _split_jsons(root)
        if "train" not in found:
            found = {"train": _single_json(root)}
    if test is not None:
        found["test"] = Path(test)
    return found


def _split_jsons(root: Path) -> dict[str, Path]:
    """Annotation files that are named after a split or are in a folder that is."""
    found: dict[str, Path] = {}
    for split, names in _NAMES.items():
        any_name = "|".join(names)
        pattern = re.compile(rf"^(instances_)?({any_name})(\d{{4}})?\.json$")
        inside = re.compile(rf"^(_annotations\.coco|annotations|(instances_)?({any_name})(\d{{4}})?)\.json$")
        places = [(root / "annotations", pattern), (root, pattern)]
        places += [(root / name, inside) for name in names]
        for folder, wanted in places:
            fitting = [path for path in _jsons_in(folder) if wanted.match(path.name)]
            if fitting:
                found[split] = max(fitting, key=lambda path: (path.name.startswith("instances_"), path.name))
                break
    return found


def _jsons_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json")) if folder.is_dir() else []


def _looks_like_coco(path: Path) -> bool:
    try:
        tree = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(tree, dict) and {"images", "annotations", "categories"} <= tree.keys()


def _single_json(root: Path) -> Path:
    """The one annotation file of a folder without named splits."""
    everything = _jsons_in(root) + _jsons_in(root / "annotations")
    candidates = [path for path in everything if not _NOT_INSTANCES.match(path.name)]
    if len(candidates) > 1:
        candidates = [path for path in candidates if _looks_like_coco(path)]
    if len(candidates) == 1:
        return candidates[0]
    looked = (
        "annotations/instances_{train,val}[YEAR].json, {train,val}/_annotations.coco.json, one single *.json"
    )
    names = ", ".join(str(path.relative_to(root)) for path in candidates or everything) or "no JSON at all"
    kind = "several" if len(candidates) > 1 else "none that fits"
    raise InputError(f"{root}: looked for {looked}; found {kind}: {names}; say which one with {FLAGS}")


def same_categories(train: CocoData, other: CocoData) -> None:
    """Check that two splits agree on ids and names.

    Raises:
        InputError: they don't; names the first difference.
    """
    ours = dict(zip(train.category_ids, train.class_names, strict=True))
    theirs = dict(zip(other.category_ids, other.class_names, strict=True))
    if ours != theirs:
        differs = sorted(dict(ours.items() ^ theirs.items()))
        here, there = ours.get(differs[0], "not there"), theirs.get(differs[0], "not there")
        raise InputError(
            f"{other.path}: field 'categories' differs from {train.path}: id {differs[0]} is {there!r} here "
            f"and {here!r} there; give all splits the same categories"
        )


def _folder_names(split: str, coco: CocoData) -> list[str]:
    """Names that a folder of this split may have; the one of its JSON (train2017) first."""
    own = coco.path.stem.removeprefix("instances_")
    return list(dict.fromkeys([own, *_NAMES[split]]))


def find_images(
    root: Path, split: str, coco: CocoData, given: Path | None, missing_ok: bool = False
) -> tuple[Path, CocoData, Renamed | None]:
    """The folder that holds the images of a split, in ``given`` or else in ``root``.

    Args:
        root: the data folder.
        split: train, val or test.
        coco: its annotations.
        given: where to look instead.
        missing_ok: the folder need not have all of them.

    Returns:
        The folder, the annotations with file names relative to it, and the names that were written otherwise
        (:mod:`htc_lab.data.file_names`).

    Raises:
        InputError: there is no such folder, or it lacks an image.
    """
    names = _folder_names(split, coco)
    if given is not None:
        candidates = [Path(given) / name for name in names] + [Path(given)]
    else:
        candidates = [folder / name for name in names for folder in (root, root / "images")]
        candidates += [root / "images", coco.path.parent, root]
    return placed(split, coco, list(dict.fromkeys(candidates)), missing_ok)


def map_name(file_name: str) -> str:
    """Name of the semantic map of an image file."""
    return str(Path(file_name).with_suffix(".png"))


def map_folder(root: Path, split: str, coco: CocoData, given: Path | None) -> Path | None:
    """The folder that holds semantic maps of a split (at least some of them), or None.

    Raises:
        InputError: ``given`` holds none.
    """
    bases = [Path(given)] if given is not None else [root / name for name in MAP_FOLDERS]
    candidates = [
        folder for base in bases for folder in [*(base / n for n in _folder_names(split, coco)), base]
    ]
    for folder in candidates:
        if folder.is_dir() and any(
            (folder / map_name(image["file_name"])).is_file() for image in coco.images
        ):
            return folder
    if given is not None:
        first = map_name(coco.images[0]["file_name"])
        raise InputError(
            f"{given}: holds no semantic map of the {split} images (such as {first}); give another --semantic"
        )
    return None
