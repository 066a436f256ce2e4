"""Find everything that is wrong in a data folder: ``python data_scripts/check_dataset.py DIR``."""

import json
from pathlib import Path
from typing import Annotated, Literal

import tyro

from htc_lab.data.check.folder import check_data
from htc_lab.one_line_errors import one_line

SplitName = Literal["train", "val", "test"]


def main(
    root: Annotated[Path, tyro.conf.Positional],
    splits: tuple[SplitName, ...] = (),
    train_json: Path | None = None,
    val_json: Path | None = None,
    test_json: Path | None = None,
    images: Path | None = None,
    semantic: Path | None = None,
    examples: int = 3,
    workers: int | None = None,
    json_out: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Check annotations, images and semantic maps of a COCO-format folder.

    Counts per class and split; boxes that are empty, leave the image or don't fit their masks; areas; unknown
    classes and duplicate ids; images that are missing, broken or of the wrong size; the same for maps, and
    whether their values fit the classes and the masks; pictures that are in two splits. The exit code is 1 if
    there are errors, 0 if there are only warnings, and 2 if there is nothing to check.

    Args:
        root: the data folder.
        splits: check only these; by default all that have annotations.
        train_json: annotation file, if it isn't found.
        val_json: annotation file, if it isn't found.
        test_json: annotation file, if it isn't found.
        images: image folder, if it isn't found.
        semantic: folder of semantic maps, if it isn't found.
        examples: how many findings of each kind to print; --json has all of them.
        workers: processes; by default one per core, with 0 none besides this one.
        json_out: print one JSON object.
    """
    with one_line():
        report = check_data(
            root,
            splits=splits,
            train_json=train_json,
            val_json=val_json,
            test_json=test_json,
            images=images,
            semantic=semantic,
            workers=workers,
            progress=not json_out,
        )
    print(json.dumps(report.as_dict()) if json_out else report.as_text(examples))
    raise SystemExit(1 if report.errors else 0)


if __name__ == "__main__":
    tyro.cli(main)
