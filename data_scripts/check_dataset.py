"""Look for everything that is wrong in a data folder: ``python data_scripts/check_dataset.py DIR``."""

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

    Counts per class and split; boxes outside or empty, boxes against masks, areas; unknown classes, ids that
    are there twice; images missing, broken or of another size; maps the same, and their values against the
    classes and the masks; pictures that are in two splits. Exit code 1 if there are errors, 0 with warnings
    only, 2 if there is nothing to check.

    Args:
        root: the data folder.
        splits: only these; all that have annotations by default.
        train_json: annotation file, if it isn't found.
        val_json: annotation file, if it isn't found.
        test_json: annotation file, if it isn't found.
        images: image folder, if it isn't found.
        semantic: folder of semantic maps, if it isn't found.
        examples: findings of each kind to print; --json has all.
        workers: processes; one for each core by default, none besides this one with 0.
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
