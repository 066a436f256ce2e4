"""Finding the parts of a data folder: every layout that is promised, and what is said when none fits."""

from pathlib import Path

import numpy as np
import pytest

from htc_lab.data.dataset import CocoDataset
from htc_lab.data.layout import find_data
from htc_lab.data.semantic import semantic_classes
from htc_lab.data.split import split_images
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

MAP = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
NUTS = Path(__file__).parent / "nuts_excerpt"


@pytest.mark.parametrize("year", ["", "2017"])
@pytest.mark.parametrize("inside", ["", "images"])
def test_one_image_folder_a_split(tmp_path: Path, year: str, inside: str) -> None:
    write_split_tree(tmp_path, year)
    if inside:
        (tmp_path / inside).mkdir()
        for name in ("train", "val"):
            (tmp_path / f"{name}{year}").rename(tmp_path / inside / f"{name}{year}")
    data = find_data(tmp_path)
    assert data.train.images == tmp_path / inside / f"train{year}"
    assert data.val.images == tmp_path / inside / f"val{year}"
    assert data.test is data.val
    assert (len(data.train.coco.images), len(data.val.coco.images)) == (4, 3)
    assert data.train.semantic is None
    text = data.describe()
    assert "test = val" in text
    assert "2 classes (fig, nut)" in text
    assert "4 images, 6 objects" in text
    assert str(data.train.images) in text


def test_cocos_own_tree_with_maps(tmp_path: Path) -> None:
    write_split_tree(tmp_path, "2017")
    write_maps(tmp_path / "stuffthingmaps" / "train2017", tree(range(1, 5)), MAP)
    write_maps(tmp_path / "stuffthingmaps" / "val2017", tree(range(5, 8)), MAP)
    data = find_data(tmp_path)
    assert data.train.semantic == tmp_path / "stuffthingmaps" / "train2017"
    assert data.val.semantic == tmp_path / "stuffthingmaps" / "val2017"
    assert "stuffthingmaps" in data.describe()


def test_one_image_folder_and_flat_maps(tmp_path: Path) -> None:
    for name, ids in (("train", range(1, 5)), ("val", range(5, 8)), ("test", range(8, 10))):
        content = tree(ids)
        write_json(tmp_path / "annotations" / f"instances_{name}.json", content)
        write_images(tmp_path / "images", content)
        write_maps(tmp_path / "semantic", content, MAP)
    data = find_data(tmp_path)
    for split in (data.train, data.val, data.test):
        assert split.images == tmp_path / "images"
        assert split.semantic == tmp_path / "semantic"
    assert len(data.test.coco.images) == 2
    assert data.notes == ()


def test_json_inside_the_split_folders(tmp_path: Path) -> None:
    for name, ids in (("train", range(1, 5)), ("valid", range(5, 8))):
        content = tree(ids)
        write_json(tmp_path / name / "_annotations.coco.json", content)
        write_images(tmp_path / name, content)
    data = find_data(tmp_path)
    assert data.train.images == tmp_path / "train"
    assert data.val.images == tmp_path / "valid"


@pytest.mark.parametrize(
    "place", ["trainval.json", "annotations/all.json", "annotations/instances_train.json"]
)
@pytest.mark.parametrize("folder", ["images", "."])
def test_a_single_json_is_split_by_the_seed(tmp_path: Path, place: str, folder: str) -> None:
    content = tree(range(1, 11))
    write_json(tmp_path / place, content)
    write_json(tmp_path / "semantic_classes.json", {"semantic_classes": ["a"]})
    write_images(tmp_path / folder, content)
    data, again, other = (find_data(tmp_path, split_seed=seed) for seed in (0, 0, 1))
    ids = [{image["id"] for image in split.coco.images} for split in (data.train, data.val)]
    assert ids[0] | ids[1] == set(range(1, 11))
    assert not ids[0] & ids[1]
    assert len(ids[1]) == 3
    assert [image["id"] for image in again.val.coco.images] == [image["id"] for image in data.val.coco.images]
    assert {image["id"] for image in other.val.coco.images} != ids[1]
    assert "split by seed 0" in data.describe()


def test_every_class_is_on_both_sides_of_a_split(tmp_path: Path) -> None:
    content = tree(range(1, 31))
    content["categories"] = [*content["categories"], {"id": 9, "name": "rare"}, {"id": 11, "name": "single"}]
    content["annotations"] += [annotation(900 + i, i, 9, (0, 0, 4, 4)) for i in (4, 17)]
    content["annotations"].append(annotation(990, 4, 11, (0, 0, 4, 4)))
    write_json(tmp_path / "a.json", content)
    write_images(tmp_path, content)
    for seed in range(20):
        data = find_data(tmp_path, split_seed=seed, val_fraction=0.2)
        for split in (data.train, data.val):
            present = {
                row["category_id"] for rows in split.coco.annotations_by_image.values() for row in rows
            }
            assert {3, 7, 9} <= present
        assert len(data.val.coco.images) == 6


def test_two_images_are_enough_and_one_is_not(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", tree(range(1, 3)))
    write_images(tmp_path, tree(range(1, 3)))
    data = find_data(tmp_path)
    assert len(data.train.coco.images) == len(data.val.coco.images) == 1
    with pytest.raises(InputError, match="has 1 image; splitting needs two"):
        split_images(data.train.coco, 0, 0.3)


def test_overrides(tmp_path: Path) -> None:
    write_split_tree(tmp_path / "a")
    odd = tree(range(1, 4))
    path = write_json(tmp_path / "elsewhere" / "x.json", odd)
    write_images(tmp_path / "pictures", odd)
    write_maps(tmp_path / "maps", odd, MAP)
    data = find_data(
        tmp_path / "a", train_json=path, images=tmp_path / "pictures", semantic=tmp_path / "maps"
    )
    assert len(data.train.coco.images) + len(data.val.coco.images) == 3
    assert data.train.images == tmp_path / "pictures"
    assert data.train.semantic == tmp_path / "maps"


def test_overrides_of_single_splits(tmp_path: Path) -> None:
    write_split_tree(tmp_path)
    annotations = tmp_path / "annotations"
    (tmp_path / "train").rename(tmp_path / "t")
    data = find_data(
        tmp_path,
        train_json=annotations / "instances_train.json",
        val_json=annotations / "instances_val.json",
        test_json=annotations / "instances_val.json",
        train_images=tmp_path / "t",
        val_images=tmp_path / "val",
    )
    assert data.train.images == tmp_path / "t"
    assert data.test is not data.val
    with pytest.raises(InputError, match="--val-json: needs --train-json"):
        find_data(tmp_path, val_json=annotations / "instances_val.json")


def test_nothing_fits(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_data(tmp_path / "none")
    with pytest.raises(
        InputError, match=r"looked for annotations.*found none that fits: no JSON at all.*--train-json"
    ):
        find_data(tmp_path)
    write_json(tmp_path / "a.json", {"some": "thing"})
    write_json(tmp_path / "b.json", [1])
    with pytest.raises(InputError, match=r"none that fits: a\.json, b\.json"):
        find_data(tmp_path)
    for name in ("c", "d"):
        write_json(tmp_path / f"{name}.json", tree(range(1, 3)))
    with pytest.raises(InputError, match=r"found several: c\.json, d\.json; say which one with --train-json"):
        find_data(tmp_path)


def test_a_single_broken_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("{")
    with pytest.raises(InputError, match=r"mine\.json: broken JSON at line 1"):
        find_data(tmp_path)


def test_images_are_missing(tmp_path: Path) -> None:
    write_split_tree(tmp_path)
    (tmp_path / "val" / "6.png").unlink()
    with pytest.raises(
        InputError, match=r"val/6\.png: no such image, but .*instances_val\.json \(image id 6\)"
    ):
        find_data(tmp_path)
    for path in (tmp_path / "val").iterdir():
        path.unlink()
    with pytest.raises(
        InputError, match=r"none of its images \(first: 5\.png\) is in .*--val-images or --images"
    ):
        find_data(tmp_path)


def test_file_names_with_folders(tmp_path: Path) -> None:
    content = tree(range(1, 5), prefix="deep/er/")
    write_json(tmp_path / "a.json", content)
    write_images(tmp_path / "images", content)
    assert find_data(tmp_path).train.images == tmp_path / "images"
    (tmp_path / "images" / "deep" / "er" / "3.png").unlink()
    with pytest.raises(InputError, match=r"deep/er/3\.png: no such image"):
        find_data(tmp_path)


def test_categories_differ(tmp_path: Path) -> None:
    write_split_tree(tmp_path)
    content = tree(range(5, 8))
    content["categories"] = [{"id": 7, "name": "nut"}, {"id": 3, "name": "date"}]
    write_json(tmp_path / "annotations" / "instances_val.json", content)
    with pytest.raises(
        InputError, match=r"instances_val.*'categories' differs.*id 3 is 'date' here and 'fig' there"
    ):
        find_data(tmp_path)


def test_given_maps_that_are_not_there(tmp_path: Path) -> None:
    write_split_tree(tmp_path)
    (tmp_path / "maps").mkdir()
    with pytest.raises(
        InputError, match=r"maps: holds no semantic map of the train images \(such as 1\.png\)"
    ):
        find_data(tmp_path, semantic=tmp_path / "maps")


def test_real_photos() -> None:
    data = find_data(NUTS)
    classes = semantic_classes(data)
    assert classes.names == ("date", "fig", "hazelnut", "background")
    sample = CocoDataset(data.train, classes)[0]
    assert tuple(sample.image.shape) == (3, 150, 200)
    assert sample.targets.semantic is not None
    assert set(sample.targets.semantic.unique().tolist()) <= {0, 1, 2, 3}
    assert len(sample.targets.labels) >= 2


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0])
def test_val_fraction(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(InputError, match="--val-fraction"):
        find_data(tmp_path, val_fraction=fraction)
