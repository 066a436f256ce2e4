"""The two data scripts, as a person runs them."""

from pathlib import Path

import numpy as np
from PIL import Image

from htc_lab.data.layout import find_data
from htc_lab.data.semantic import semantic_classes
from tests.data.folders import annotation, tree, write_images, write_json, write_split_tree
from tests.data_scripts.run import run


def test_make_classroom(tmp_path: Path) -> None:
    root = tmp_path / "a class"
    numbers = ("--train", "3", "--val", "2", "--test", "1", "--size", "48")
    done = run("make_classroom.py", "--root", root, *numbers)
    assert done.returncode == 0, done.stderr
    assert "3 train, 2 val, 1 test scenes of 48 px" in done.stdout
    assert len(find_data(root).test.coco.images) == 1
    again = run("make_classroom.py", "--root", root, *numbers, "--seed", "3")
    assert again.returncode == 2
    assert "scenes.json: seed differ" in again.stderr
    assert "Traceback" not in again.stderr


def test_make_semantic_maps(tmp_path: Path) -> None:
    write_split_tree(tmp_path)
    done = run("make_semantic_maps.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "7 maps of 3 classes" in done.stdout
    data = find_data(tmp_path)
    assert data.train.semantic == tmp_path / "semantic"
    assert semantic_classes(data).names == ("fig", "nut", "background")
    values = np.asarray(Image.open(tmp_path / "semantic" / "2.png"))
    assert (values[5, 5], values[15, 16], values[0, 0]) == (1, 0, 2)
    again = run("make_semantic_maps.py", tmp_path)
    assert again.returncode == 2
    assert "is not empty; give --overwrite" in again.stderr
    assert run("make_semantic_maps.py", tmp_path, "--overwrite").returncode == 0


def test_same_names_in_two_splits_and_crowds(tmp_path: Path) -> None:
    content = tree(range(1, 3))
    content["annotations"].append(annotation(70, 1, 7, (0, 0, 6, 6)) | {"iscrowd": 1})
    for name in ("train", "val"):
        write_json(tmp_path / "annotations" / f"instances_{name}.json", content)
        write_images(tmp_path / name, content)
    assert run("make_semantic_maps.py", tmp_path).returncode == 0
    data = find_data(tmp_path)
    assert data.val.semantic == tmp_path / "semantic" / "val"
    values = np.asarray(Image.open(tmp_path / "semantic" / "train" / "1.png"))
    assert (values[0, 0], values[5, 5], values[23, 31]) == (255, 1, 2)
