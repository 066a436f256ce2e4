"""Samples: decoding of images, cleaning of annotations, clear errors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from htc_lab.data.coco import read_coco
from htc_lab.data.dataset import CocoDataset, Sample, collate, read_image
from htc_lab.data.layout import Split, find_data
from htc_lab.data.semantic import semantic_classes
from htc_lab.errors import InputError
from tests.data.folders import HEIGHT, WIDTH, annotation, tree, write_images, write_json, write_split_tree
from tests.unit.tiny import assert_same


def split_of(tmp_path: Path, content: dict[str, Any]) -> Split:
    write_images(tmp_path, content)
    return Split("train", read_coco(write_json(tmp_path / "a.json", content)), tmp_path, None)


def test_a_sample(tmp_path: Path) -> None:
    sample = CocoDataset(split_of(tmp_path, tree(range(1, 4))))[1]
    assert sample.image_id == 2
    assert sample.original_size == (HEIGHT, WIDTH)
    assert sample.image.dtype == torch.uint8
    assert sample.image[:, 0, 0].tolist() == [60, 120, 2]
    assert sample.targets.boxes.tolist() == [[2, 3, 12, 11], [14, 9, 21, 20]]
    assert sample.targets.labels.tolist() == [1, 0]
    assert sample.targets.masks.flatten(1).sum(1).tolist() == [80, 77]
    assert sample.targets.semantic is None
    assert collate([sample]) == [sample]


def test_annotations_are_cleaned(tmp_path: Path) -> None:
    content = tree(range(1, 2))
    row = annotation(90, 1, 7, (20, 15, 6, 6))
    content["annotations"] += [
        row | {"id": 91, "iscrowd": 1},
        row | {"id": 92, "bbox": [20.0, 15.0, 0.5, 6.0]},
        row
        | {
            "id": 93,
            "bbox": [20, 15, 6, 6],
            "segmentation": {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]},
        },
        row | {"id": 94, "bbox": [-5, 15, 400, 60]},
        row | {"id": 95, "bbox": [WIDTH + 3, 15, 4, 4]},
    ]
    targets = CocoDataset(split_of(tmp_path, content))[0].targets
    assert targets.boxes.tolist() == [[2, 3, 12, 11], [0, 15, WIDTH, HEIGHT]]


def test_images_without_objects_and_small_ones(tmp_path: Path) -> None:
    content = tree(range(1, 4))
    content["annotations"] = [
        row | {"iscrowd": int(row["image_id"] == 3)} for row in content["annotations"] if row["image_id"] != 1
    ]
    split = split_of(tmp_path, content)
    empty = CocoDataset(split)[0].targets
    assert empty.boxes.shape == (0, 4)
    assert empty.masks.shape == (0, HEIGHT, WIDTH)
    assert CocoDataset(split).image_ids == [1, 2, 3]
    assert CocoDataset(split, keep_empty=False).image_ids == [2]
    assert len(CocoDataset(split, min_size=HEIGHT)) == 3
    with pytest.raises(InputError, match="no image of train"):
        CocoDataset(split, min_size=HEIGHT + 1)


def test_cache_gives_the_same_sample_without_reading_again(tmp_path: Path) -> None:
    dataset = CocoDataset(split_of(tmp_path, tree(range(1, 3))), cache=True)
    first = dataset[0]
    (tmp_path / "1.png").unlink()
    assert_same(dataset[0], first)


def test_get_applies_the_transform_with_the_generator(tmp_path: Path) -> None:
    def darken(sample: Sample, generator: torch.Generator) -> Sample:
        shade = int(torch.randint(0, 200, (), generator=generator))
        image = torch.full_like(sample.image, shade)
        return Sample(image, sample.targets, sample.image_id, sample.original_size)

    dataset = CocoDataset(split_of(tmp_path, tree(range(1, 3))), transform=darken)
    one, two, three = (dataset.get(0, torch.Generator().manual_seed(s)).image[0, 0, 0] for s in (1, 1, 2))
    assert one == two != three
    assert dataset[0].image[0, 0, 0] == 60
    plain = CocoDataset(dataset.split)
    assert plain.get(0, torch.Generator()).image[0, 0, 0] == 60


def test_semantic_from_instances_in_a_split_with_crowds(tmp_path: Path) -> None:
    write_split_tree(tmp_path)
    data = find_data(tmp_path)
    sample = CocoDataset(data.val, semantic_classes(data))[0]
    assert sample.targets.semantic is not None
    assert sample.targets.semantic.shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "CMYK", "I;16"])
def test_kinds_of_pictures(tmp_path: Path, mode: str) -> None:
    grey = np.full((4, 6), 255, dtype=np.uint8)
    grey[:, 3:] = 0
    if mode == "I;16":
        picture = Image.fromarray(grey.astype(np.uint16) * 257)
        assert picture.mode == mode
    else:
        picture = Image.fromarray(grey).convert("RGB").convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    picture.save(path)
    image = read_image(path, 4, 6)
    assert image.shape == (3, 4, 6)
    assert (image[:, :, :3] == 255).all()
    assert (image[:, :, 3:] == 0).all()


def turned_photo(path: Path, orientation: int) -> None:
    pixels = np.zeros((4, 6, 3), dtype=np.uint8)
    pixels[:2, :3] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)


def test_exif_orientation(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    turned_photo(path, 6)
    as_it_lies = read_image(path, 4, 6)
    assert as_it_lies.shape == (3, 4, 6)
    assert as_it_lies[0, 0, 0] == 255
    turned = read_image(path, 6, 4)
    assert turned.shape == (3, 6, 4)
    assert turned[0, 0, 3] == 255
    assert turned[0, 5, 0] == 0
    assert read_image(path).shape == (3, 6, 4)
    # Its size can't tell, so it is turned, as it is for predict.
    turned_photo(path, 3)
    upside_down = read_image(path, 4, 6)
    assert (upside_down == read_image(path)).all()
    assert upside_down[0, 3, 5] == 255
    assert upside_down[0, 0, 0] == 0


def test_wrong_pictures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.png: no such image"):
        read_image(tmp_path / "none.png", 4, 6)
    turned_photo(tmp_path / "a.png", 1)
    with pytest.raises(InputError, match=r"a\.png: is 6x4 px .* annotations say 7x4; correct"):
        read_image(tmp_path / "a.png", 4, 7)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(InputError, match=r"b\.png: cannot be read"):
        read_image(tmp_path / "b.png", 4, 6)
    (tmp_path / "c.jpg").write_text("hello")
    with pytest.raises(InputError, match=r"c\.jpg: cannot be read"):
        read_image(tmp_path / "c.jpg")
    with pytest.raises(InputError, match="cannot be read"):
        read_image(tmp_path)
