"""Make a smaller data set from a COCO-format folder: ``python data_scripts/make_subset.py DIR OUT``."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from htc_lab.data.subset import find_splits, write_subset
from htc_lab.one_line_errors import one_line

SplitName = Literal["train", "val", "test"]


def main(
    root: Annotated[Path, tyro.conf.Positional],
    out: Annotated[Path, tyro.conf.Positional],
    count: int = 100,
    seed: int = 0,
    splits: tuple[SplitName, ...] = (),
    copy: bool = False,
    train_json: Path | None = None,
    val_json: Path | None = None,
    test_json: Path | None = None,
    images: Path | None = None,
    semantic: Path | None = None,
) -> None:
    """Write N images of each split with their annotations and semantic maps, in the layout of the source.

    Every class of the source is kept as far as N images allow; the remaining images are drawn at random.

    Args:
        root: the data folder.
        out: the folder to create.
        count: images per split.
        seed: different seeds choose different images.
        splits: only these; by default all that have annotations.
        copy: copy the files; by default they are hard links, which take no space.
        train_json: annotation file, if it isn't found.
        val_json: annotation file, if it isn't found.
        test_json: annotation file, if it isn't found.
        images: image folder, if it isn't found.
        semantic: folder of semantic maps, if it isn't found.
    """
    with one_line():
        found = find_splits(
            root,
            splits,
            train_json=train_json,
            val_json=val_json,
            test_json=test_json,
            images=images,
            semantic=semantic,
        )
        written = write_subset(found, root, out, count, seed=seed, copy=copy)
    print(f"{out}: {', '.join(f'{number} {name}' for name, number in written.items())} images")


if __name__ == "__main__":
    tyro.cli(main)
