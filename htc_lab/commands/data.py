"""``htc-lab data``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from htc_lab.commands.flags import USUAL, Layout, say
from htc_lab.commands.numbers import in_range
from htc_lab.commands.telling import warn_of_data
from htc_lab.wording import counted


@dataclass(frozen=True)
class Show:
    """Show what a data folder contains, and read all of it once."""

    data: Path
    """Folder of a COCO-format data set."""
    layout: Layout = USUAL
    """Where things are in the folder."""
    json: bool = False
    """Print the figures as one JSON object."""


@dataclass(frozen=True)
class Classroom:
    """Make the classroom scenes; a folder that already has them is left as it is."""

    root: Path = Path("data/classroom")
    """Folder to create."""
    train: int = 1000
    """Number of images for training."""
    val: int = 200
    """Number of images for making choices."""
    test: int = 500
    """Number of images for the report."""
    size: int = 128
    """Height and width, px."""
    seed: int = 0
    """Different seeds give different scenes."""
    json: bool = False
    """Print the figures as one JSON object."""


@dataclass(frozen=True)
class Facades:
    """Get the facade photographs: 598 pictures of real streets, their objects and semantic maps.

    They are downloaded from their public original (114 MB) and verified. The same command resumes a download
    that broke off, and leaves a folder that is complete as it is.
    """

    root: Path | None = None
    """Folder to create. Default: data/facade_SIZE."""
    size: int = 1024
    """Height and width, px: 256 to 1024. At 1024 the pictures are the published files; smaller ones are
    written anew as JPEG of quality 90."""
    original: Path = Path("data/facade_original")
    """Folder of the published files, such as a clone of their repository; what is missing is downloaded."""
    mirror: str | None = None
    """Address in the place of https://github.com, with the same paths."""
    json: bool = False
    """Print the figures as one JSON object."""


def data(
    action: tyro.conf.OmitArgPrefixes[
        Annotated[Show, tyro.conf.subcommand("show")]
        | Annotated[Classroom, tyro.conf.subcommand("classroom")]
        | Annotated[Facades, tyro.conf.subcommand("facades")]
    ],
) -> dict[str, Any] | None:
    """Look at data, make the classroom scenes, or get the facade photographs."""
    if isinstance(action, Classroom):
        from htc_lab.data.classroom.scenes import SceneConfig
        from htc_lab.data.classroom.tree import ensure_classroom

        in_range("size", action.size, 32, 4096)
        config = SceneConfig(size=action.size)
        ensure_classroom(action.root, action.train, action.val, action.test, config, action.seed)
        counts = {"train": action.train, "val": action.val, "test": action.test}
        say(f"{action.root}: {counts} classroom scenes of {action.size} px", action.json)
        return {"root": str(action.root), **counts} if action.json else None
    if isinstance(action, Facades):
        return _facades(action)
    return _show(action)


def _facades(action: Facades) -> dict[str, Any] | None:
    from htc_lab.data.facades.made import ensure_facades

    root = action.root or Path("data", f"facade_{action.size}")
    counts = ensure_facades(root, action.size, action.original, mirror=action.mirror)
    say(
        f"{root}: {counts['train']} training and {counts['val']} val pictures of {action.size} px "
        "(CC BY 4.0: SOURCE.md says whose they are)",
        action.json,
    )
    return {"root": str(root), "size": action.size, **counts} if action.json else None


def _show(action: Show) -> dict[str, Any] | None:
    from tqdm.auto import tqdm

    from htc_lab.data.dataset import CocoDataset
    from htc_lab.data.notices import identical_notice
    from htc_lab.data.pictures import digest_of
    from htc_lab.data.semantic import MOST_THINGS, semantic_classes

    found = action.layout.find(action.data)
    say(found.describe(), action.json)
    without = found.train.semantic is None and len(found.class_names) > MOST_THINGS
    semantic = None if without else semantic_classes(found)
    told = warn_of_data(found, semantic, action.json, everything=True)
    if semantic is None:
        say(
            f"  semantic branch: {len(found.class_names)} classes are more than a map can hold; only models "
            "without it can be trained (htc-lab train --toggles mask_flow)",
            action.json,
        )
    else:
        classes = counted(semantic.count, "class", "classes")
        say(f"  semantic branch: {classes}, {semantic.source}", action.json)
    read, digests = {}, {}
    for name in ("train", "val", "test"):
        dataset = CocoDataset(getattr(found, name), semantic)
        progress = tqdm(range(len(dataset)), desc=name, leave=False)
        pixels = (dataset[i].image.numpy() for i in progress)
        digests[name] = dict(zip(dataset.file_names, map(digest_of, pixels), strict=True))
        read[name] = len(dataset)
    if found.test is found.val:
        del digests["test"]
    twice = identical_notice(digests)
    if twice is not None:
        say(f"  warning: {twice}", action.json)
        told.append(twice)
    say("  all images and maps can be read", action.json)
    if not action.json:
        return None
    return {
        "root": str(found.root),
        "classes": list(found.class_names),
        "semantic_classes": None if semantic is None else semantic.count,
        "images": read,
        "warnings": [str(notice) for notice in told],
    }
