"""Smaller data sets: the classes kept, the layout kept, the source untouched."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from htc_lab.data.coco import CocoData, read_coco
from htc_lab.data.dataset import CocoDataset
from htc_lab.data.layout import find_data
from htc_lab.data.semantic import semantic_classes
from htc_lab.data.subset import choose_images, find_splits, write_subset
from htc_lab.errors import InputError
from tests.data.folders import (
    HEIGHT,
    WIDTH,
    annotation,
    tree,
    write_images,
    write_json,
    write_maps,
    write_split_tree,
)
from tests.data_scripts.run import run

MAP = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
NUTS = Path(__file__).parents[1] / "data" / "nuts_excerpt"


def made(classes: list[list[int]]) -> CocoData:
    """One image for each list of classes."""
    categories = [{"id": k, "name": str(k)} for k in sorted({k for members in classes for k in members})]
    rows = {
        i: [{"id": 100 * i + n, "image_id": i, "category_id": k, "iscrowd": 0} for n, k in enumerate(members)]
        for i, members in enumerate(classes)
    }
    images = [{"id": i, "file_name": f"{i}.png", "height": 9, "width": 9} for i in range(len(classes))]
    return CocoData(Path("a.json"), images, rows, categories, tuple(c["name"] for c in categories), {})


@given(st.lists(st.lists(st.integers(0, 6), max_size=4), min_size=1, max_size=20), st.data())
def test_classes_are_kept_as_far_as_the_number_allows(classes: list[list[int]], data: st.DataObject) -> None:
    coco = made(classes)
    count = data.draw(st.integers(1, len(classes)))
    seed = data.draw(st.integers(0, 3))
    chosen = choose_images(coco, count, seed)
    assert len(set(chosen)) == count
    assert chosen == sorted(chosen)
    assert chosen == choose_images(coco, count, seed)
    everything = {k for members in classes for k in members}
    kept = {k for i in chosen for k in classes[i]}
    # One image for each class would do, so so many are always enough.
    assert kept == everything or count < len(everything)
    assert len(kept) >= min(count, len(everything))


def test_rare_classes_come_first_and_the_rest_is_random() -> None:
    coco = made([[1]] * 50 + [[2, 3]] + [[4]] + [[]] * 10)
    seen = set()
    for seed in range(10):
        chosen = choose_images(coco, 5, seed)
        assert {50, 51} <= set(chosen)
        seen |= set(chosen)
    assert len(seen) > 15
    assert choose_images(coco, 1, 0) == [50]
    for count in (0, 63):
        with pytest.raises(InputError, match="has 62 images; ask for 1 to that many"):
            choose_images(coco, count, 0)


def test_crowds_do_not_stand_for_a_class(tmp_path: Path) -> None:
    content = tree(range(1, 8))
    content["categories"] = [*content["categories"], {"id": 9, "name": "rare"}]
    content["annotations"].append(annotation(900, 1, 9, (0, 0, 4, 4)) | {"iscrowd": 1})
    content["annotations"].append(annotation(901, 7, 9, (0, 0, 4, 4)))
    coco = read_coco(write_json(tmp_path / "a.json", content))
    for seed in range(5):
        assert 7 in choose_images(coco, 2, seed)


def test_cocos_tree_by_the_script(tmp_path: Path) -> None:
    source = tmp_path / "a coco"
    write_split_tree(source, "2017")
    for name, ids in (("train2017", range(1, 5)), ("val2017", range(5, 8))):
        write_maps(source / "stuffthingmaps" / name, tree(ids), MAP)
        path = source / "annotations" / f"instances_{name}.json"
        write_json(path, json.loads(path.read_text()) | {"licenses": [{"id": 4, "name": "CC BY"}]})
    done = run("make_subset.py", source, tmp_path / "out", "--count", "2", "--seed", "3")
    assert done.returncode == 0, done.stderr
    assert "2 train, 2 val images" in done.stdout
    data = find_data(tmp_path / "out")
    assert data.val.images == tmp_path / "out" / "val2017"
    assert data.val.semantic == tmp_path / "out" / "stuffthingmaps" / "val2017"
    for split in (data.train, data.val):
        assert len(split.coco.images) == len(list(split.images.iterdir())) == 2
        rows = [row for rows in split.coco.annotations_by_image.values() for row in rows]
        assert {row["category_id"] for row in rows} == {3, 7}
        before = read_coco(source / "annotations" / split.coco.path.name)
        for image in split.coco.images:
            assert split.coco.annotations_by_image[image["id"]] == before.annotations_by_image[image["id"]]
            linked = split.images / image["file_name"]
            assert linked.samefile(source / split.images.name / image["file_name"])
        assert json.loads(split.coco.path.read_text())["licenses"] == [{"id": 4, "name": "CC BY"}]
    again = run("make_subset.py", source, tmp_path / "out")
    assert again.returncode == 2
    assert "out: already exists; delete it or choose another folder" in again.stderr


def test_val_alone(tmp_path: Path) -> None:
    write_split_tree(tmp_path / "in", "2017")
    for path in (tmp_path / "in" / "train2017").iterdir():
        path.unlink()
    splits = find_splits(tmp_path / "in", ["val"])
    assert write_subset(splits, tmp_path / "in", tmp_path / "out", 2) == {"val": 2}
    (found,) = find_splits(tmp_path / "out")
    assert found.images == tmp_path / "out" / "val2017"
    assert len(found.coco.images) == 2
    with pytest.raises(InputError, match="has no split test; it has train, val"):
        find_splits(tmp_path / "in", ["test"])


def test_a_single_json_copies_and_class_names(tmp_path: Path) -> None:
    write_maps(tmp_path / "in" / "semantic", tree(range(1, 11)), MAP + 1)
    content = tree(range(1, 11))
    write_json(tmp_path / "in" / "mine.json", content)
    write_images(tmp_path / "in" / "images", content)
    write_json(tmp_path / "in" / "semantic" / "semantic_classes.json", {"semantic_classes": ["a", "b"]})
    splits = find_splits(tmp_path / "in")
    assert write_subset(splits, tmp_path / "in", tmp_path / "out", 4, copy=True) == {"train": 4}
    data = find_data(tmp_path / "out")
    assert data.train.coco.path == tmp_path / "out" / "mine.json"
    assert semantic_classes(data).names == ("a", "b")
    name = data.train.coco.images[0]["file_name"]
    assert not (data.train.images / name).samefile(tmp_path / "in" / "images" / name)
    assert (data.train.images / name).read_bytes() == (tmp_path / "in" / "images" / name).read_bytes()


def test_parts_from_elsewhere_come_together(tmp_path: Path) -> None:
    content = tree(range(1, 6))
    path = write_json(tmp_path / "labels" / "all.json", content)
    write_images(tmp_path / "photos", content)
    (tmp_path / "in").mkdir()
    splits = find_splits(tmp_path / "in", train_json=path, images=tmp_path / "photos")
    write_subset(splits, tmp_path / "in", tmp_path / "out", 3)
    data = find_data(tmp_path / "out")
    assert data.train.images == tmp_path / "out" / "train"
    assert len(CocoDataset(data.train)[0].targets.labels) >= 1


def test_real_photos(tmp_path: Path) -> None:
    splits = find_splits(NUTS)
    write_subset(splits, NUTS, tmp_path / "out", 2, copy=True)
    data = find_data(tmp_path / "out")
    assert Image.open(data.train.images / data.train.coco.images[0]["file_name"]).size == (200, 150)


def test_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    write_split_tree(tmp_path / "in")
    splits = find_splits(tmp_path / "in")
    (tmp_path / "in" / "val" / "6.png").unlink()
    with pytest.raises(InputError, match=r"val/6\.png: no such file, but the annotations name it"):
        write_subset(splits, tmp_path / "in", tmp_path / "out", 9)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_names_that_leave_the_folder(tmp_path: Path) -> None:
    content = tree(range(1, 3), prefix="../photos/")
    write_json(tmp_path / "in" / "a.json", content)
    write_images(tmp_path / "in" / "images", content)
    with pytest.raises(
        InputError, match=r"image id 1: file_name '\.\./photos/1\.png' leaves the image folder"
    ):
        write_subset(find_splits(tmp_path / "in"), tmp_path / "in", tmp_path / "out", 2)
