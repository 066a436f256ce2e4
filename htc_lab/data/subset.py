"""A smaller data set made from a larger one, in the same layout."""

import dataclasses
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from htc_lab.data.coco import CocoData, read_coco, read_tree
from htc_lab.data.layout import Split, choose_jsons, find_images, map_folder, map_name
from htc_lab.errors import InputError
from htc_lab.files import write_text
from htc_lab.wording import counted


def choose_images(coco: CocoData, count: int, seed: int) -> list[int]:
    """Ids of ``count`` images, in the file's order; the same seed chooses the same ones.

    Images that add the most new classes are chosen first, until every class (of single objects, not crowds)
    is included; the rest are drawn at random. If ``count`` is too small for that, as many classes as possible
    are included.

    Raises:
        InputError: there are fewer images than asked for, or none were asked for.
    """
    if not 1 <= count <= len(coco.images):
        raise InputError(
            f"{coco.path}: has {counted(len(coco.images), 'image')}; ask for 1 to that many, not {count}"
        )
    ids = [image["id"] for image in coco.images]
    order = [ids[i] for i in np.random.default_rng(seed).permutation(len(ids))]
    classes = {
        i: {row["category_id"] for row in coco.annotations_by_image[i] if not row["iscrowd"]} for i in order
    }
    missing = set().union(*classes.values())
    chosen: set[int] = set()
    while missing and len(chosen) < count:
        best = max(order, key=lambda i: len(classes[i] & missing))
        chosen.add(best)
        missing -= classes[best]
    chosen.update([i for i in order if i not in chosen][: count - len(chosen)])
    return [i for i in ids if i in chosen]


def find_splits(
    root: Path,
    wanted: Sequence[str] = (),
    *,
    train_json: Path | None = None,
    val_json: Path | None = None,
    test_json: Path | None = None,
    images: Path | None = None,
    semantic: Path | None = None,
) -> list[Split]:
    """The splits of a folder, as its files define them: a single JSON is one split, and some may be missing.

    Args:
        root: the folder.
        wanted: names of the splits to find; by default all that have a JSON.
        train_json, val_json, test_json, images, semantic: as for ``find_data``.

    Raises:
        InputError: nothing fits, or what was found is broken; names the file and a fix.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; name the folder of a COCO-format data set")
    jsons = choose_jsons(root, train_json, val_json, test_json)
    for name in wanted:
        if name not in jsons:
            raise InputError(f"{root}: has no split {name}; it has {', '.join(jsons)}")
    splits = []
    for name, path in jsons.items():
        if not wanted or name in wanted:
            coco = read_coco(path)
            folder, coco, _ = find_images(root, name, coco, images, missing_ok=True)
            splits.append(Split(name, coco, folder, map_folder(root, name, coco, semantic)))
    return splits


def write_subset(
    splits: Sequence[Split], root: Path, out: Path, count: int, *, seed: int = 0, copy: bool = False
) -> dict[str, int]:
    """Write ``count`` images of each split with their annotations and maps, at the same paths as in ``root``.

    All categories are kept, so labels mean the same. The folder appears whole or not at all.

    Args:
        splits: the splits to take from, see ``find_splits``.
        root: their folder.
        out: the folder to create.
        count: images per split (all of them, if it has fewer).
        seed: chooses them.
        copy: copy the files; otherwise they are hard links, which take no space.

    Returns:
        The number of images written, by split.

    Raises:
        InputError: ``out`` exists, or a file is missing or can't be linked.
    """
    if out.exists():
        raise InputError(f"{out}: already exists; delete it or choose another folder")
    made = out.with_name(f".{out.name}.making")
    shutil.rmtree(made, ignore_errors=True)
    written = {}
    try:
        for split in splits:
            chosen = choose_images(split.coco, min(count, len(split.coco.images)), seed)
            part = dataclasses.replace(split, coco=split.coco.subset(chosen))
            _write_json(part, root, made)
            _place_files(part, root, made, copy)
            written[split.name] = len(chosen)
        for name in ("semantic_classes.json", "annotations/semantic_classes.json"):
            if (root / name).is_file():
                _place(root / name, made / name, copy)
        os.replace(made, out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); choose another folder") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return written


def _inside(path: Path, root: Path, otherwise: str) -> Path:
    """The path of something in the data folder; for things from elsewhere, where the lab would find it."""
    # Links are not followed: a folder linked into the tree belongs to the tree.
    full, base = (Path(os.path.abspath(p)) for p in (path, root))
    return full.relative_to(base) if full.is_relative_to(base) else Path(otherwise)


def _write_json(split: Split, root: Path, made: Path) -> None:
    source = split.coco.path
    # Everything else in the file (licences, owners of the pictures) is kept.
    tree = read_tree(source) | {k: v for k, v in split.coco.as_dict().items() if k != "info"}
    write_text(made / _inside(source, root, f"annotations/instances_{split.name}.json"), json.dumps(tree))


def _place_files(split: Split, root: Path, made: Path, copy: bool) -> None:
    pictures = made / _inside(split.images, root, split.name)
    maps = made / _inside(split.semantic, root, f"semantic/{split.name}") if split.semantic else None
    for image in tqdm(split.coco.images, desc=split.name, unit="image"):
        if Path(image["file_name"]).is_absolute() or ".." in Path(image["file_name"]).parts:
            raise InputError(
                f"{split.coco.path}: image id {image['id']}: file_name {image['file_name']!r:.60} leaves the "
                "image folder; move the file inside and correct the name"
            )
        _place(split.images / image["file_name"], pictures / image["file_name"], copy)
        if maps and split.semantic:
            name = map_name(image["file_name"])
            _place(split.semantic / name, maps / name, copy)
    if split.semantic and maps:
        for folder, target in ((split.semantic, maps), (split.semantic.parent, maps.parent)):
            names = folder / "semantic_classes.json"
            if names.is_file() and not (target / names.name).exists() and folder != root:
                _place(names, target / names.name, copy)


def _place(source: Path, target: Path, copy: bool) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if copy:
            shutil.copyfile(source, target)
        else:
            os.link(source.resolve(), target)
    except FileNotFoundError:
        raise InputError(f"{source}: no such file, but the annotations name it; put it there") from None
    except OSError as error:
        fix = "choose another folder" if copy else "give --copy"
        raise InputError(
            f"{source}: cannot be {'copied' if copy else 'linked'} ({error.strerror}); {fix}"
        ) from None
