"""Semantic maps: read, numbered, made from masks."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from htc_lab.data.dataset import CocoDataset
from htc_lab.data.layout import find_data
from htc_lab.data.semantic import UNKNOWN, read_semantic_map, semantic_classes, semantic_from_instances
from htc_lab.errors import InputError
from tests.data.folders import HEIGHT, WIDTH, tree, write_images, write_json, write_maps, write_split_tree

VALUES = np.array([[0, 1, 2], [2, 255, 1]], dtype=np.uint8)


def save(path: Path, values: np.ndarray, mode: str | None = None) -> Path:
    picture = Image.fromarray(values)
    (picture if mode is None else picture.convert(mode)).save(path)
    return path


def test_small_objects_lie_over_large_ones() -> None:
    masks = np.zeros((3, 6, 6), dtype=np.uint8)
    masks[0, 1:3, 1:3] = 1
    masks[1, 0:5, 0:5] = 1
    masks[2, 2:5, 2:5] = 1
    semantic = semantic_from_instances(masks, np.array([0, 2, 1]), 3)
    assert semantic.dtype == np.uint8
    assert semantic[1, 1] == semantic[2, 2] == 0
    assert semantic[4, 4] == 1
    assert semantic[0, 0] == 2
    assert semantic[5, 5] == 3


@given(st.integers(0, 5), st.integers(0, 10_000))
def test_every_pixel_has_the_label_of_an_object_there(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = (rng.random((count, 7, 9)) < 0.4).astype(np.uint8)
    labels = rng.integers(0, 4, count)
    semantic = semantic_from_instances(masks, labels, 4)
    assert ((semantic == 4) == ~masks.any(axis=0)).all()
    for y, x in np.argwhere(semantic < 4):
        assert semantic[y, x] in labels[masks[:, y, x] > 0]


def test_grey_png(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", VALUES)
    assert (read_semantic_map(path, 2, 3, None) == VALUES).all()


def test_palette_png_counts_by_its_indices(tmp_path: Path) -> None:
    picture = Image.fromarray(VALUES)
    picture.putpalette([value for i in range(256) for value in (255 - i, 7, i // 2)])
    assert picture.mode == "P"
    picture.save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "P"
    assert (read_semantic_map(tmp_path / "a.png", 2, 3, None) == VALUES).all()


def test_grey_in_three_channels_and_bits(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", VALUES, "RGB")
    assert (read_semantic_map(path, 2, 3, None) == VALUES).all()
    path = save(tmp_path / "b.png", VALUES, "RGBA")
    assert (read_semantic_map(path, 2, 3, None) == VALUES).all()
    path = save(tmp_path / "c.png", VALUES > 1)
    assert (read_semantic_map(path, 2, 3, None) == (VALUES > 1)).all()
    path = save(tmp_path / "d.png", VALUES.astype(np.uint16))
    assert (read_semantic_map(path, 2, 3, None) == VALUES).all()


def test_lookup(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", VALUES)
    lookup = np.full(256, UNKNOWN, dtype=np.uint8)
    lookup[[0, 1, 2, 255]] = [5, 255, 0, 255]
    assert read_semantic_map(path, 2, 3, lookup).tolist() == [[5, 255, 0], [0, 255, 255]]
    lookup[2] = UNKNOWN
    with pytest.raises(InputError, match=r"a\.png: holds the value 2, which is not a class"):
        read_semantic_map(path, 2, 3, lookup)


def test_wrong_maps(tmp_path: Path) -> None:
    colour = np.zeros((2, 3, 3), dtype=np.uint8)
    colour[0, 0] = (1, 2, 3)
    with pytest.raises(InputError, match=r"a\.png: is a colour picture.*save one channel"):
        read_semantic_map(save(tmp_path / "a.png", colour), 2, 3, None)
    with pytest.raises(InputError, match=r"b\.png: is 3x2 px .* image is 2x3; make the map"):
        read_semantic_map(save(tmp_path / "b.png", VALUES), 3, 2, None)
    with pytest.raises(InputError, match=r"c\.png: holds values from 300 to 300"):
        read_semantic_map(save(tmp_path / "c.png", np.full((2, 3), 300, dtype=np.uint16)), 2, 3, None)
    (tmp_path / "d.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"d\.png: cannot be read as a PNG"):
        read_semantic_map(tmp_path / "d.png", 2, 3, None)
    with pytest.raises(InputError, match=r"e\.png: no such semantic map"):
        read_semantic_map(tmp_path / "e.png", 2, 3, None)


def flat_folder(root: Path, values: np.ndarray, val_values: np.ndarray | None = None) -> None:
    write_split_tree(root)
    write_maps(root / "semantic", tree(range(1, 5)), values)
    write_maps(root / "semantic", tree(range(5, 8)), values if val_values is None else val_values)


def test_without_maps_they_come_from_the_masks(tmp_path: Path) -> None:
    write_split_tree(tmp_path)
    data = find_data(tmp_path)
    classes = semantic_classes(data)
    assert (classes.count, classes.from_instances) == (3, True)
    sample = CocoDataset(data.train, classes)[1]
    semantic = sample.targets.semantic
    assert semantic is not None
    for label, mask in zip(sample.targets.labels, sample.targets.masks, strict=True):
        assert (semantic[mask > 0] == label).all()
    assert (semantic[~sample.targets.masks.bool().any(dim=0)] == 2).all()


def test_values_present_are_numbered(tmp_path: Path) -> None:
    values = np.full((HEIGHT, WIDTH), 17, dtype=np.uint8)
    values[0, :3] = (200, 255, 1)
    unseen = values.copy()
    unseen[1, 0] = 99
    flat_folder(tmp_path, values, unseen)
    data = find_data(tmp_path)
    classes = semantic_classes(data)
    assert classes.count == 3
    semantic = CocoDataset(data.train, classes)[0].targets.semantic
    assert semantic is not None
    assert semantic[0, :4].tolist() == [2, 255, 0, 1]
    semantic = CocoDataset(data.val, classes)[0].targets.semantic
    assert semantic is not None
    assert semantic[1, 0] == 255


@pytest.mark.parametrize("place", [".", "annotations", "semantic"])
def test_named_classes(tmp_path: Path, place: str) -> None:
    flat_folder(tmp_path, np.full((HEIGHT, WIDTH), 2, dtype=np.uint8))
    path = write_json(tmp_path / place / "semantic_classes.json", {"semantic_classes": ["a", "b", "c"]})
    data = find_data(tmp_path)
    classes = semantic_classes(data)
    assert classes.count == 3
    assert classes.names == ("a", "b", "c")
    write_json(path, {"semantic_classes": ["a", "b"]})
    with pytest.raises(InputError, match="holds the value 2"):
        CocoDataset(data.train, semantic_classes(data))[0]
    for wrong in ({"semantic_classes": []}, {"names": ["a"]}, ["a"], {"semantic_classes": [1]}):
        write_json(path, wrong)
        with pytest.raises(InputError, match="field 'semantic_classes' must be a list"):
            semantic_classes(data)
    path.write_text("{")
    with pytest.raises(InputError, match=r"semantic_classes\.json: not JSON"):
        semantic_classes(data)


@pytest.mark.parametrize("things", [80, 79])
def test_cocos_own_maps_have_183_classes(tmp_path: Path, things: int) -> None:
    categories = [{"id": i + 1, "name": f"class {i + 1}"} for i in range(things)]
    values = np.full((HEIGHT, WIDTH), 181, dtype=np.uint8)
    values[0, 0] = 255
    for name, ids in (("train2017", range(1, 3)), ("val2017", range(3, 4))):
        content = tree(ids) | {"categories": categories}
        write_json(tmp_path / "annotations" / f"instances_{name}.json", content)
        write_images(tmp_path / name, content)
        write_maps(tmp_path / "stuffthingmaps" / name, content, values)
    data = find_data(tmp_path)
    classes = semantic_classes(data)
    semantic = CocoDataset(data.train, classes)[0].targets.semantic
    assert semantic is not None
    if things == 80:
        assert classes.count == 183
        assert semantic.unique().tolist() == [181, 255]
    else:
        assert classes.count == 1


def test_a_missing_map_is_named(tmp_path: Path) -> None:
    flat_folder(tmp_path, np.zeros((HEIGHT, WIDTH), dtype=np.uint8))
    (tmp_path / "semantic" / "3.png").unlink()
    words = (
        re.escape(str(tmp_path / "semantic" / "3.png"))
        + ": no such semantic map, although other images of train"
    )
    with pytest.raises(InputError, match=words):
        semantic_classes(find_data(tmp_path))


def test_two_images_do_not_share_a_map(tmp_path: Path) -> None:
    """a.jpg and a.png are two pictures, and their maps would have one name."""
    content = tree(range(1, 3))
    content["images"][0]["file_name"], content["images"][1]["file_name"] = "a.jpg", "a.png"
    for name, images in (("train", content), ("val", tree(range(5, 7)))):
        write_json(tmp_path / f"{name}.json", images)
        write_images(tmp_path, images)
        write_maps(tmp_path / "semantic", images, np.ones((HEIGHT, WIDTH), dtype=np.uint8))
    with pytest.raises(InputError, match=r"a\.png: would be the semantic map of two images of train"):
        semantic_classes(find_data(tmp_path))
