"""Reading annotation files: what comes out, and one clear line for each thing that can be wrong."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from htc_lab.data.coco import decode_mask, read_coco
from htc_lab.errors import InputError
from tests.data.folders import annotation, tree, write_json

NUTS = Path(__file__).parent / "nuts_excerpt"


def test_a_good_file(tmp_path: Path) -> None:
    coco = read_coco(write_json(tmp_path / "a.json", tree(range(1, 4))))
    assert coco.class_names == ("fig", "nut")
    assert coco.label_of == {3: 0, 7: 1}
    assert coco.category_ids == (3, 7)
    assert {i: len(rows) for i, rows in coco.annotations_by_image.items()} == {1: 1, 2: 2, 3: 1}


def test_area_and_iscrowd_are_filled_in(tmp_path: Path) -> None:
    content = tree(range(1, 2))
    del content["annotations"][0]["area"], content["annotations"][0]["iscrowd"]
    row = read_coco(write_json(tmp_path / "a.json", content)).annotations_by_image[1][0]
    assert (row["area"], row["iscrowd"]) == (80, 0)


def test_subset_and_dict(tmp_path: Path) -> None:
    coco = read_coco(write_json(tmp_path / "a.json", tree(range(1, 6))))
    part = coco.subset([4, 2])
    assert [image["id"] for image in part.images] == [2, 4]
    again = COCO()
    again.dataset = part.as_dict()
    again.createIndex()
    assert sorted(again.getImgIds()) == [2, 4]
    assert len(again.anns) == 4
    assert part.class_names == coco.class_names
    with pytest.raises(InputError, match=r"a\.json: no image with id 9"):
        coco.subset([9])


def test_a_real_file() -> None:
    coco = read_coco(NUTS / "trainval.json")
    assert coco.class_names == ("date", "fig", "hazelnut")
    theirs = COCO(str(NUTS / "trainval.json"))
    for rows in coco.annotations_by_image.values():
        for row in rows:
            assert (decode_mask(row, 150, 200) == theirs.annToMask(row)).all()


def change(table: str, field: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(content: dict[str, Any]) -> None:
        content[table][1][field] = value

    return apply


def drop(table: str, field: str) -> Callable[[dict[str, Any]], None]:
    def apply(content: dict[str, Any]) -> None:
        del content[table][1][field]

    return apply


WRONG = [
    (lambda c: c.pop("images"), "field 'images' is missing"),
    (lambda c: c.pop("annotations"), "field 'annotations' is missing"),
    (lambda c: c.pop("categories"), "field 'categories' is missing"),
    (lambda c: c.update(images={}), "field 'images' is a dict"),
    (lambda c: c.update(images=[]), "field 'images' is empty"),
    (lambda c: c.update(categories=[]), "field 'categories' is empty"),
    (lambda c: c.update(annotations=[3]), "annotations[0] is a int"),
    (drop("images", "id"), "images[1].id: is missing"),
    (change("images", "id", "2"), "images[1].id: is '2'; it must be an integer"),
    (change("images", "id", 1), "images[1] (id 1).id: 1 occurs twice"),
    (drop("images", "file_name"), "images[1] (id 2).file_name: is missing"),
    (change("images", "file_name", 5), "images[1] (id 2).file_name: is 5"),
    (change("images", "width", 0), "images[1] (id 2).width: is 0; it must be a positive integer"),
    (change("images", "height", 2.5), "images[1] (id 2).height: is 2.5"),
    (drop("categories", "name"), "categories[1].name: is missing"),
    (change("categories", "id", 7), "categories[1].id: 7 occurs twice"),
    (change("categories", "id", None), "categories[1].id: is None"),
    (drop("annotations", "id"), "annotations[1].id: is missing"),
    (change("annotations", "id", 10), "annotations[1] (id 10).id: 10 occurs twice"),
    (change("annotations", "id", True), "annotations[1].id: is True"),
    (change("annotations", "image_id", 99), "(id 20).image_id: 99 is not among the images"),
    (change("annotations", "category_id", 99), "(id 20).category_id: 99 is not among the categories"),
    (drop("annotations", "category_id"), "(id 20).category_id: is missing"),
    (drop("annotations", "bbox"), "(id 20).bbox: is missing"),
    (change("annotations", "bbox", [1, 2, 3]), "(id 20).bbox: is [1, 2, 3]"),
    (change("annotations", "bbox", [1, 2, 3, -4]), "no negative size"),
    (change("annotations", "bbox", [1, 2, 3, float("nan")]), "finite"),
    (change("annotations", "bbox", [1, 2, 3, float("inf")]), "finite"),
    (change("annotations", "bbox", [1, 2, 3, "4"]), "(id 20).bbox"),
    (change("annotations", "iscrowd", 2), "(id 20).iscrowd: is 2"),
    (change("annotations", "area", -1), "(id 20).area: is -1"),
    (drop("annotations", "segmentation"), "(id 20).segmentation: is missing"),
    (change("annotations", "segmentation", [[1, 2, 3]]), "(id 20).segmentation[0]: has 3 numbers"),
    (change("annotations", "segmentation", {"size": [9, 9], "counts": "0"}), "(id 20).segmentation.size"),
]


@pytest.mark.parametrize(("spoil", "words"), WRONG, ids=[words for _, words in WRONG])
def test_wrong_entries(tmp_path: Path, spoil: Callable[[dict[str, Any]], None], words: str) -> None:
    content = tree(range(1, 4))
    content["categories"] = [dict(row) for row in content["categories"]]
    spoil(content)
    path = write_json(tmp_path / "my file.json", content)
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        read_coco(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"images": [\n 1,, 2]}', "broken JSON at line 2, column 4"),
        (b"", "broken JSON at line 1, column 1"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"[1, 2]", "holds a list"),
    ],
)
def test_broken_files(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_coco(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: no such annotation file"):
        read_coco(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_coco(tmp_path)


def test_crowds_are_kept_for_evaluation(tmp_path: Path) -> None:
    content = tree(range(1, 2))
    content["annotations"].append(annotation(50, 1, 7, (0, 0, 20, 4)) | {"iscrowd": 1})
    coco = read_coco(write_json(tmp_path / "a.json", content))
    assert [row["iscrowd"] for row in coco.as_dict()["annotations"]] == [0, 1]
