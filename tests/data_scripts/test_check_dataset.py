"""The linter: silent on sound data, and each fault found as what it is."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from htc_lab.data.check.folder import Report, check_data
from htc_lab.data.classroom.scenes import SceneConfig
from htc_lab.data.classroom.tree import ensure_classroom
from htc_lab.errors import InputError
from tests.data.folders import HEIGHT, WIDTH, annotation, box_mask, rle, tree, write_json, write_split_tree
from tests.data_scripts.run import run

TRAIN = "annotations/instances_train.json"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train and val with maps; every picture has its own bytes."""
    root = tmp_path_factory.mktemp("sound")
    write_split_tree(root)
    for name, ids in (("train", range(1, 5)), ("val", range(5, 8))):
        content = tree(ids)
        for image in content["images"]:
            values = np.full((HEIGHT, WIDTH), 2, dtype=np.uint8)
            for row in content["annotations"]:
                if row["image_id"] == image["id"]:
                    x, y, w, h = (int(v) for v in row["bbox"])
                    values[box_mask(x, y, w, h) > 0] = {3: 0, 7: 1}[row["category_id"]]
            path = root / "semantic" / name / image["file_name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)
    write_json(root / "semantic_classes.json", {"semantic_classes": ["fig", "nut", "background"]})
    return root


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """A copy to do harm to."""
    return Path(shutil.copytree(sound, tmp_path / "data"))


def check(root: Path, **flags: Any) -> Report:
    return check_data(root, workers=0, progress=False, **flags)


def found(report: Report) -> set[tuple[str, str, str]]:
    return {(finding.level, finding.code, finding.split) for finding in report.findings}


def change(root: Path, row: int, table: str = "annotations", **fields: Any) -> None:
    content = json.loads((root / TRAIN).read_text())
    content[table][row] |= fields
    write_json(root / TRAIN, content)


def test_sound_data(sound: Path) -> None:
    report = check(sound)
    assert report.findings == []
    assert report.notes == []
    assert report.counts["train"] == {
        "images": 4,
        "empty_images": 0,
        "objects": 6,
        "crowds": 0,
        "maps": 4,
        "palette_maps": 0,
    }
    assert report.objects == {"train": {"fig": 2, "nut": 4}, "val": {"fig": 1, "nut": 3}}
    assert report.as_text().splitlines()[-1] == "0 errors, 0 warnings"


def test_classroom_scenes_are_sound(tmp_path: Path) -> None:
    ensure_classroom(tmp_path, 4, 2, 2, SceneConfig(size=64), 0)
    report = check(tmp_path)
    assert report.errors == 0, report.as_text()
    assert {finding.code for finding in report.findings} <= {"class-empty"}


@pytest.mark.parametrize(
    ("fields", "level", "code"),
    [
        ({"bbox": [2, 3, 0, 8]}, "warning", "box-empty"),
        ({"bbox": [40, 3, 5, 8]}, "error", "box-outside"),
        ({"bbox": [-6, -6, 5, 5]}, "error", "box-outside"),
        ({"bbox": [28, 3, 10, 8]}, "warning", "box-outside"),
        ({"bbox": [2, 3, 14, 8]}, "warning", "mask-box"),
        ({"bbox": [2, 3, 10, 30]}, "error", "mask-box"),
        ({"bbox": [20, 12, 10, 8]}, "error", "mask-box"),
        ({"bbox": [2, 3, -1, 8]}, "error", "annotations.bbox"),
        ({"area": 400}, "warning", "area"),
        ({"segmentation": {"size": [9, 9], "counts": [81]}}, "error", "annotations.segmentation"),
        ({"segmentation": {"size": [24, 32], "counts": [700]}}, "error", "annotations.segmentation"),
        ({"segmentation": [[1, 2, 3]]}, "error", "annotations.segmentation"),
        ({"segmentation": [[2, 3, 12, 3, 12, 11]]}, "warning", "area"),
        ({"segmentation": [[2, 3, 9, 3, 9, 11, 2, 11]]}, "warning", "mask-box"),
        ({"segmentation": rle(box_mask(0, 0, 0, 0))}, "warning", "mask-empty"),
        ({"category_id": 99}, "error", "annotations.category_id"),
        ({"image_id": 99}, "error", "annotations.image_id"),
        ({"id": 20}, "error", "annotations.id"),
    ],
)
def test_faults_of_an_annotation(folder: Path, fields: dict[str, Any], level: str, code: str) -> None:
    change(folder, 0, **fields)
    report = check(folder)
    assert (level, code, "train") in found(report), report.as_text()
    messages = [finding.message for finding in report.findings if finding.code == code]
    assert "id 10" in messages[0] or "id 20" in messages[0]


def test_the_area_of_the_box_is_recognised(folder: Path) -> None:
    change(folder, 0, segmentation=[[2, 3, 12, 3, 12, 11]])
    assert "that is the area of its box" in check(folder).as_text()


def test_faults_do_not_hide_each_other(folder: Path) -> None:
    change(folder, 0, bbox=[0, 0, -5, 3])
    change(folder, 1, category_id=99)
    change(folder, 2, area=9999)
    change(folder, 0, "images", height=0)
    codes = {finding.code for finding in check(folder).findings}
    assert {"annotations.category_id", "area", "images.height", "annotations.image_id"} <= codes


def test_images_and_their_entries(folder: Path) -> None:
    (folder / "train" / "1.png").unlink()
    whole = (folder / "train" / "2.png").read_bytes()
    (folder / "train" / "2.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.zeros((5, 6, 3), dtype=np.uint8)).save(folder / "train" / "3.png")
    report = check(folder)
    messages = [finding.message for finding in report.findings if finding.code == "image"]
    assert report.errors == len(messages) == 3
    assert "1.png: no such image" in messages[0]
    assert "2.png: cannot be read" in messages[1]
    assert "3.png: is 6x5 px" in messages[2]
    change(folder, 3, "images", file_name="1.png")
    assert ("error", "images.file_name", "train") in found(check(folder))


def test_no_images_at_all(folder: Path) -> None:
    shutil.rmtree(folder / "train")
    assert ("error", "images.folder", "train") in found(check(folder))
    assert check(folder, splits=["val"]).errors == 0


def test_leaks(folder: Path) -> None:
    shutil.copyfile(folder / "train" / "2.png", folder / "val" / "5.png")
    shutil.copyfile(folder / "train" / "2.png", folder / "train" / "3.png")
    report = check(folder)
    assert found(report) == {("error", "leak", "val"), ("warning", "twice", "train")}
    assert "5.png is the same picture as" in report.findings[0].message
    assert "2.png of train" in report.findings[0].message


def test_one_folder_with_the_same_file_in_two_splits(tmp_path: Path) -> None:
    write_split_tree(tmp_path)
    shutil.rmtree(tmp_path / "val")
    write_json(tmp_path / "annotations" / "instances_val.json", tree(range(4, 7)))
    (tmp_path / "train").rename(tmp_path / "images")
    report = check(tmp_path)
    leaks = [finding.message for finding in report.findings if finding.code == "leak"]
    assert len(leaks) == 1
    assert "images/4.png" in leaks[0]


def write_map(path: Path, values: np.ndarray, mode: str = "L") -> None:
    picture = Image.fromarray(values)
    if mode == "P":
        picture.putpalette([value for i in range(256) for value in (i, 255 - i, 7)])
    picture.save(path)


def read_map(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def test_faults_of_maps(folder: Path) -> None:
    maps = folder / "semantic" / "train"
    (maps / "1.png").unlink()
    write_map(maps / "2.png", np.zeros((4, 4), dtype=np.uint8))
    values = read_map(maps / "3.png")
    values[0, 0] = 77
    write_map(maps / "3.png", values)
    write_map(maps / "4.png", read_map(maps / "4.png"), "P")
    report = check(folder)
    assert found(report) == {
        ("error", "map", "train"),
        ("error", "map-value", "train"),
        ("warning", "map-palette", "train"),
    }
    text = report.as_text()
    assert "1.png: no such semantic map" in text
    assert "2.png: is 4x4 px" in text
    assert "3.png: holds 77, which is not a class" in text
    assert report.counts["train"]["maps"] == 2
    assert report.counts["train"]["palette_maps"] == 1


def test_maps_of_one_split_only(folder: Path) -> None:
    shutil.rmtree(folder / "semantic" / "val")
    assert found(check(folder)) == {("warning", "map-missing", "val")}


def test_colour_maps(folder: Path) -> None:
    colours = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    colours[..., 0] = 200
    Image.fromarray(colours).save(folder / "semantic" / "train" / "1.png")
    report = check(folder)
    assert "is a colour picture" in report.as_text()
    assert report.errors == 1


def test_maps_that_contradict_the_masks(folder: Path) -> None:
    names = ["nothing", "fig", "nut", "background"]
    write_json(folder / "semantic_classes.json", {"semantic_classes": names})
    report = check(folder)
    assert {code for _, code, _ in found(report)} == {"map-masks"}
    assert (
        "class 'fig' should be 1, but only 0% of the pixels in its masks are; most are 0" in report.as_text()
    )
    assert "shifted by one" in report.as_text()


def test_what_lies_over_an_object_does_not_count_against_its_map(folder: Path) -> None:
    content = json.loads((folder / TRAIN).read_text())
    for image in content["images"]:
        path = folder / "semantic" / "train" / image["file_name"]
        values = read_map(path)
        values[box_mask(2, 3, 10, 7) > 0] = 0
        write_map(path, values)
        content["annotations"].append(annotation(900 + image["id"], image["id"], 3, (2, 3, 10, 7)))
    contradicting = {code for _, code, _ in found(check(folder))}
    write_json(folder / TRAIN, content)
    assert contradicting == {"map-masks"}
    assert found(check(folder)) == set()


def test_cocos_maps_hold_category_ids_less_one(tmp_path: Path) -> None:
    things = [{"id": i + 1, "name": f"thing {i + 1}"} for i in range(80)]
    for shift in (1, 0):
        root = tmp_path / str(shift)
        write_split_tree(root, "2017")
        for name, ids in (("train2017", range(1, 5)), ("val2017", range(5, 8))):
            content = tree(ids) | {"categories": things}
            write_json(root / "annotations" / f"instances_{name}.json", content)
            for image in content["images"]:
                values = np.full((HEIGHT, WIDTH), 91, dtype=np.uint8)
                for row in content["annotations"]:
                    if row["image_id"] == image["id"]:
                        x, y, w, h = (int(v) for v in row["bbox"])
                        values[box_mask(x, y, w, h) > 0] = row["category_id"] - shift
                path = root / "stuffthingmaps" / name / image["file_name"]
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(values).save(path)
        codes = {code for _, code, _ in found(check(root))} - {"class-empty"}
        assert codes == (set() if shift else {"map-masks"})


def test_unnamed_values_and_no_maps_are_said(folder: Path) -> None:
    (folder / "semantic_classes.json").unlink()
    report = check(folder)
    assert report.findings == []
    assert "name them in semantic_classes.json" in report.notes[0]
    for path in (folder / "semantic" / "train").iterdir():
        write_map(path, np.where(read_map(path) < 2, 9, 2).astype(np.uint8))
    alike = check(folder)
    assert found(alike) == {("warning", "map-masks", "train")}
    assert "the value 9 stands for 2 classes: " in alike.findings[0].message
    shutil.rmtree(folder / "semantic")
    assert "no semantic maps" in check(folder).notes[0]


def test_crowds_gaps_and_classes_without_objects(folder: Path) -> None:
    content = json.loads((folder / TRAIN).read_text())
    content["annotations"].append(annotation(900, 1, 7, (20, 3, 8, 8)) | {"iscrowd": 1})
    for name in ("train", "val"):
        path = folder / "annotations" / f"instances_{name}.json"
        other = content if name == "train" else json.loads(path.read_text())
        other["categories"] = [*other["categories"], {"id": 50, "name": "kiwi"}]
        write_json(path, other)
    report = check(folder)
    assert found(report) == {("warning", "class-empty", "train"), ("warning", "class-empty", "val")}
    assert report.counts["train"]["crowds"] == 1
    assert report.counts["train"]["objects"] == 6


def test_categories(folder: Path) -> None:
    change(folder, 0, "categories", name="date")
    assert ("error", "categories", "val") in found(check(folder))
    change(folder, 0, "categories", name="fig")
    report = check(folder)
    assert ("warning", "categories.name", "train") in found(report)
    assert "2 categories are named 'fig'" in report.as_text()


def test_the_script(folder: Path, tmp_path: Path) -> None:
    good = run("check_dataset.py", folder, "--workers", "2")
    assert good.returncode == 0, good.stdout + good.stderr
    assert "0 errors, 0 warnings" in good.stdout
    change(folder, 0, area=400)
    change(folder, 2, category_id=99)
    bad = run("check_dataset.py", folder, "--json")
    assert bad.returncode == 1
    figures = json.loads(bad.stdout)
    assert (figures["errors"], figures["warnings"]) == (1, 1)
    assert [finding["code"] for finding in figures["findings"]] == ["annotations.category_id", "area"]
    none = run("check_dataset.py", tmp_path / "none")
    assert none.returncode == 2
    assert "no such folder" in none.stderr


def test_nothing_to_check(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match="no JSON at all"):
        check(tmp_path / "data" / "semantic")
    (folder / TRAIN).write_text("{")
    with pytest.raises(InputError, match="broken JSON"):
        check(folder)
    with pytest.raises(InputError, match="has no split test"):
        check(folder, splits=["test"])
