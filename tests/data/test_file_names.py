"""File names of other machines and other systems: read as the files that are there, or a fix that works."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from htc_lab.cli import main
from htc_lab.data.check.folder import check_data
from htc_lab.data.dataset import CocoDataset
from htc_lab.data.layout import DataFolder, find_data
from htc_lab.errors import InputError
from htc_lab.one_line_errors import one_line
from tests.data.folders import tree, write_images, write_json

ODD: dict[str, tuple[Callable[[str], str], str]] = {
    "backslash": (lambda n: f"images\\{n}", "with backslashes"),
    "another drive": (lambda n: f"C:\\data\\images\\{n}", "absolute and with backslashes"),
    "absolute": (lambda n: f"/home/someone/label/images/{n}", "absolute"),
    "dotdot": (lambda n: f"../../label-studio/media/upload/3/{n}", "with ../"),
    "dotdot and backslash": (lambda n: f"..\\train\\{n}", "with ../ and with backslashes"),
    "url": (lambda n: f"https://example.org/data/photo%20{n}", "absolute and escaped as in URLs"),
    "escaped": (lambda n: f"photo%20{n}", "escaped as in URLs"),
    "label studio": (lambda n: f"/data/local-files/?d=images/{n}", "absolute"),
    "one folder too many": (lambda n: f"pictures/{n}", "not those of the files"),
}


def odd_folder(root: Path, name: Callable[[str], str], pictures: str = "images") -> None:
    """Pictures in a folder, and annotations that call them by other names."""
    content = tree(range(1, 7))
    spaced = "%20" in name("")
    for image in content["images"]:
        image["file_name"] = f"photo {image['file_name']}" if spaced else image["file_name"]
    write_images(root / pictures, content)
    for image in content["images"]:
        image["file_name"] = name(image["file_name"].removeprefix("photo "))
    write_json(root / "annotations.json", content)


def assert_right_pictures(data: DataFolder) -> None:
    """Each picture is the one that was annotated: its blue is its id."""
    for split in (data.train, data.val):
        for sample in CocoDataset(split):
            assert sample.image[2, 0, 0] == sample.image_id


@pytest.mark.parametrize("kind", ODD)
def test_they_are_read_as_the_files_that_are_there(tmp_path: Path, kind: str) -> None:
    name, words = ODD[kind]
    odd_folder(tmp_path, name)
    data = find_data(tmp_path)
    assert_right_pictures(data)
    (note,) = [note for note in data.notes if "file names" in note]
    words = f"train and val: the file names of 6 images in annotations.json are {words}; they are read as"
    assert note.startswith(words)
    assert note in data.describe()
    report = check_data(tmp_path, workers=0, progress=False)
    assert report.errors == 0
    assert [f.code for f in report.findings if f.code == "images.file_name"] == ["images.file_name"]


@pytest.mark.parametrize("kind", ODD)
def test_the_fix_that_is_told_works_when_it_is_followed(tmp_path: Path, capsys, kind: str) -> None:
    name, _ = ODD[kind]
    odd_folder(tmp_path, name, "somewhere/else")
    with pytest.raises(SystemExit), one_line():
        main(["data", "show", "--data", str(tmp_path)])
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert re.search(r"name the folder (with|that has .*png with) --train-images or --images", line)
    main(["data", "show", "--data", str(tmp_path), "--images", str(tmp_path / "somewhere/else")])
    assert_right_pictures(find_data(tmp_path, images=tmp_path / "somewhere/else"))


def test_names_that_would_be_one_file_are_refused(tmp_path: Path) -> None:
    content = tree(range(1, 4))
    write_images(tmp_path / "images", content)
    content["images"][0]["file_name"] = "/a/2.png"
    content["images"][1]["file_name"] = "/b/2.png"
    path = write_json(tmp_path / "annotations.json", content)
    with pytest.raises(
        InputError, match=r"file_name /a/2\.png and /b/2\.png would both be 2\.png in .*images"
    ):
        find_data(tmp_path, train_json=path, val_json=path)


def test_accents_in_the_other_spelling(tmp_path: Path) -> None:
    content = tree(range(1, 5))
    for image in content["images"]:
        image["file_name"] = f"n\u00fcsse {image['id']}.png"
    write_images(tmp_path / "images", content)
    for image in content["images"][2:]:
        image["file_name"] = f"nu\u0308sse {image['id']}.png"
    write_json(tmp_path / "annotations.json", content)
    assert_right_pictures(find_data(tmp_path))


def test_folders_inside_the_image_folder_are_kept_apart(tmp_path: Path) -> None:
    content = tree(range(1, 5))
    for image in content["images"]:
        image["file_name"] = f"cam{image['id'] % 2}/{image['id']}.png"
    write_images(tmp_path / "images", content)
    for image in content["images"]:
        image["file_name"] = f"D:\\shots\\{image['file_name']}".replace("/", "\\")
    write_json(tmp_path / "annotations.json", content)
    data = find_data(tmp_path)
    assert {image["file_name"] for image in data.train.coco.images} <= {
        f"cam{i % 2}/{i}.png" for i in range(5)
    }
    assert_right_pictures(data)


def test_a_picture_that_is_missing_is_not_looked_for_under_other_names(tmp_path: Path) -> None:
    content = tree(range(1, 5))
    write_images(tmp_path / "images", content)
    for image in content["images"][:2]:
        image["file_name"] = f"sub/{image['id']}.png"
    write_images(tmp_path / "images", {"images": content["images"][:1]})
    write_json(tmp_path / "annotations.json", content)
    with pytest.raises(InputError, match=r"sub/2\.png: no such image, but .*annotations\.json"):
        find_data(tmp_path, train_json=tmp_path / "annotations.json", val_json=tmp_path / "annotations.json")
