"""Draw the classroom scenes: ``python data_scripts/make_classroom.py --help``."""

from pathlib import Path

import tyro

from htc_lab.data.classroom.scenes import SceneConfig
from htc_lab.data.classroom.tree import ensure_classroom
from htc_lab.one_line_errors import one_line


def main(
    root: Path = Path("data/classroom"),
    train: int = 1000,
    val: int = 200,
    test: int = 500,
    size: int = 128,
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Write classroom scenes as a COCO tree with semantic maps; a folder that has them is left as it is.

    Args:
        root: folder to make.
        train: images to train on.
        val: images to make choices on.
        test: images to report on.
        size: height and width, px.
        seed: other seeds give other scenes.
        workers: processes; one for each core by default.
    """
    with one_line():
        ensure_classroom(root, train, val, test, SceneConfig(size=size), seed, workers)
    print(f"{root}: {train} train, {val} val, {test} test scenes of {size} px")


if __name__ == "__main__":
    tyro.cli(main)
