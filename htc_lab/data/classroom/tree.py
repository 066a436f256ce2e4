"""Classroom scenes on disk, in COCO format with semantic maps.

    root/annotations/instances_{train,val,test}.json    root/{train,val,test}/000001.png
    root/semantic_classes.json                          root/stuffthingmaps/{train,val,test}/000001.png
    root/scenes.json

The folder appears whole or not at all: it is written under a temporary name and renamed.
"""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from tqdm.auto import tqdm

from htc_lab.data.classroom.scenes import SCENE_STUFF, SCENE_THINGS, Scene, SceneConfig, make_scene
from htc_lab.errors import InputError
from htc_lab.files import appears_whole, read_json

GENERATOR_VERSION = 3
"""Raised with every change to the pixels or the ground truth of a scene."""

SIDECAR = "scenes.json"
"""The file that only a folder of drawn scenes has."""

SPLITS = ("train", "val", "test")
_SPLIT_RANGE = 1 << 24
_FEW = 64
"""Up to this number of images, starting worker processes costs more than it saves."""


def scene_seed(seed: int, split: str, index: int) -> int:
    """Seed of image ``index`` (from 0) of a split; different splits and folder seeds never share one."""
    return (seed * len(SPLITS) + SPLITS.index(split)) * _SPLIT_RANGE + index


def _write_png(path: Path, picture: np.ndarray) -> None:
    ok, data = cv2.imencode(".png", picture)
    if not ok:
        raise OSError(f"{path}: could not be encoded as PNG")
    path.write_bytes(data.tobytes())


def _annotations(scene: Scene) -> list[dict[str, Any]]:
    """The scene's objects as COCO annotations, still without ids."""
    rows = []
    for box, label, mask, attributes in zip(
        scene.boxes, scene.labels, scene.masks, scene.attributes, strict=True
    ):
        rle = coco_mask.encode(np.asfortranarray(mask))
        x1, y1, x2, y2 = (float(v) for v in box)
        rows.append(
            {
                "category_id": int(label) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": int(mask.sum()),
                "iscrowd": 0,
                "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
                "attributes": attributes,
            }
        )
    return rows


def _write_one(root: Path, seed: int, config: SceneConfig, job: tuple[str, int]) -> dict[str, Any]:
    """Write one image and its map; return its JSON entry with the annotations inside."""
    split, index = job
    scene = make_scene(scene_seed(seed, split, index), config)
    name = f"{index + 1:06d}.png"
    _write_png(root / split / name, scene.image[..., ::-1])
    _write_png(root / "stuffthingmaps" / split / name, scene.semantic)
    decoys = [
        {
            "looks_like": d.looks_like,
            "stuff": d.stuff,
            "bbox": [*d.box[:2], d.box[2] - d.box[0], d.box[3] - d.box[1]],
        }
        for d in scene.decoys
    ]
    image = {"id": index + 1, "file_name": name, "width": config.size, "height": config.size}
    image |= {"seed": scene_seed(seed, split, index), "decoys": decoys}
    return {"split": split, "image": image, "annotations": _annotations(scene)}


def _start_worker() -> None:
    cv2.setNumThreads(1)


def _written(
    root: Path, seed: int, config: SceneConfig, jobs: list[tuple[str, int]], workers: int
) -> Iterator[Any]:
    """The entries in the order of ``jobs``, whatever the number of workers."""
    write = partial(_write_one, root, seed, config)
    if workers == 1:
        yield from map(write, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker) as pool:
        yield from pool.map(write, jobs, chunksize=16)


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n", encoding="utf-8")


def _sidecar(counts: dict[str, int], config: SceneConfig, seed: int) -> dict[str, Any]:
    return {
        "generator": "htc_lab.data.classroom.scenes",
        "generator_version": GENERATOR_VERSION,
        "seed": seed,
        "counts": counts,
        "config": asdict(config),
    }


def _fill(
    root: Path, counts: dict[str, int], config: SceneConfig, seed: int, workers: int, progress: bool
) -> None:
    """Write everything into the existing folder ``root``."""
    (root / "annotations").mkdir()
    for split in SPLITS:
        (root / split).mkdir()
        (root / "stuffthingmaps" / split).mkdir(parents=True)
    jobs = [(split, i) for split in SPLITS for i in range(counts[split])]
    categories = [
        {"id": i + 1, "name": name, "supercategory": "thing"} for i, name in enumerate(SCENE_THINGS)
    ]
    trees: dict[str, dict[str, Any]] = {
        split: {
            "info": {"description": f"HTC Lab classroom scenes, {split}", "version": str(GENERATOR_VERSION)},
            "images": [],
            "annotations": [],
            "categories": categories,
        }
        for split in SPLITS
    }
    entries = _written(root, seed, config, jobs, workers)
    for entry in tqdm(entries, total=len(jobs), desc="classroom scenes", unit="img", disable=not progress):
        tree = trees[entry["split"]]
        tree["images"].append(entry["image"])
        for annotation in entry["annotations"]:
            ids = {"id": len(tree["annotations"]) + 1, "image_id": entry["image"]["id"]}
            tree["annotations"].append(ids | annotation)
    for split in SPLITS:
        _dump(root / "annotations" / f"instances_{split}.json", trees[split])
    _dump(root / "semantic_classes.json", {"semantic_classes": [*SCENE_THINGS, *SCENE_STUFF]})
    _dump(root / "scenes.json", _sidecar(counts, config, seed))


def write_classroom(
    root: Path,
    train: int,
    val: int,
    test: int,
    config: SceneConfig,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> None:
    """Draw the scenes and write them. The same arguments give the same bytes, whatever the number of workers.

    Args:
        root: the folder to create; it must not exist, or must be empty.
        train, val, test: number of images of each split.
        config: what the scenes are like.
        seed: 0 or more; different seeds give different scenes.
        workers: processes; None for one per core.
        progress: whether to show a progress bar.

    Raises:
        InputError: the folder is in use, or a number is out of range.
    """
    root = Path(root).absolute()
    counts = {"train": train, "val": val, "test": test}
    for split, count in counts.items():
        if not 1 <= count <= _SPLIT_RANGE:
            raise InputError(f"--{split} {count}: the number of images must be from 1 to {_SPLIT_RANGE}")
    if not 0 <= seed < 1 << 26:
        raise InputError(f"--seed {seed}: must be from 0 to {(1 << 26) - 1}")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root}: exists and is not empty; remove it or choose another folder")
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = 1 if train + val + test <= _FEW else max(1, workers)
    with appears_whole(root) as folder:
        _fill(folder, counts, config, seed, workers, progress)


def ensure_classroom(
    root: Path,
    train: int,
    val: int,
    test: int,
    config: SceneConfig,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Like ``write_classroom``, but leaves a folder as it is if it already holds exactly these scenes.

    Raises:
        InputError: the folder holds something else.
    """
    root = Path(root)
    sidecar = root / SIDECAR
    wanted = _sidecar({"train": train, "val": val, "test": test}, config, seed)
    if root.exists() and not root.is_dir():
        raise InputError(f"{root}: is not a folder; choose another one")
    if not root.exists() or not any(root.iterdir()):
        try:
            write_classroom(root, train, val, test, config, seed, workers, progress)
        except InputError:
            # Another process may have drawn them in the meantime.
            if not sidecar.is_file():
                raise
    if not sidecar.is_file():
        raise InputError(f"{root}: holds no scenes.json, so no classroom scenes; choose another folder")
    found = read_json(sidecar, f"remove {root} to have it made again")
    if not isinstance(found, dict) or found != wanted:
        differs = [k for k in wanted if not isinstance(found, dict) or found.get(k) != wanted[k]]
        raise InputError(
            f"{sidecar}: {', '.join(differs) or 'content'} differ from what is asked for; "
            f"remove {root} to have it made again, or choose another folder"
        )
    return root
