"""What would go wrong silently in a data set: said once, with what to do, and nothing of sound data."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from htc_lab.cli import main
from htc_lab.data.check.folder import check_data
from htc_lab.data.coco import read_coco
from htc_lab.data.dataset import CocoDataset, read_image
from htc_lab.data.layout import DataFolder, find_data
from htc_lab.data.notices import cap_notice, notices
from htc_lab.data.semantic import semantic_classes, semantic_if_needed
from htc_lab.errors import InputError
from tests.data.folders import (
    HEIGHT,
    WIDTH,
    annotation,
    box_mask,
    rle,
    tree,
    write_images,
    write_json,
    write_maps,
    write_split_tree,
)

TRAIN = "annotations/instances_train.json"


def found(data: DataFolder) -> dict[str, str]:
    """By kind; each kind once."""
    said = notices(data, semantic_classes(data))
    assert len({notice.code for notice in said}) == len(said)
    return {notice.code: str(notice) for notice in said}


def checked(root: Path, code: str) -> list[str]:
    """What ``check_dataset.py`` says of that kind."""
    report = check_data(root, workers=0, progress=False)
    return [f"{finding.split}: {finding.message}" for finding in report.findings if finding.code == code]


def change(root: Path, name: str, do: Any) -> None:
    content = json.loads((root / name).read_text())
    for row in content["annotations"]:
        do(row)
    write_json(root / name, content)


def test_nothing_is_said_of_sound_data(tmp_path: Path) -> None:
    write_split_tree(tmp_path)
    assert found(find_data(tmp_path)) == {}


# ---- EXIF


def marked(path: Path, orientation: int, height: int, width: int) -> np.ndarray:
    """A file whose picture, once it is turned, is red in its upper left quarter; the pixels as stored."""
    upright = np.zeros((height, width, 3), dtype=np.uint8)
    upright[: height // 2, : width // 2] = (200, 0, 0)
    back = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
    turns = {
        **{2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180},
        **{4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE},
        **{6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90},
    }
    picture = Image.fromarray(upright)
    if orientation in back:
        picture = picture.transpose(turns[back[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(path, exif=exif)
    return np.asarray(picture)


def is_upright(image: np.ndarray) -> bool:
    """Whether the upper left quarter, and nothing else, is red."""
    _, height, width = image.shape
    inner = image[0].astype(int) > 100
    return bool(
        inner[: height // 2 - 1, : width // 2 - 1].all()
        and not inner[height // 2 + 1 :].any()
        and not inner[:, width // 2 + 1 :].any()
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(24, 32), (32, 32)])
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_training_and_prediction_turn_a_picture_alike(
    tmp_path: Path, orientation: int, size: tuple[int, int], kind: str
) -> None:
    path = tmp_path / f"a.{kind}"
    marked(path, orientation, *size)
    predicted = read_image(path).numpy()
    assert predicted.shape[1:] == size
    assert is_upright(predicted)
    assert (read_image(path, *size).numpy() == predicted).all()


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_annotations_of_the_unturned_picture_are_known_by_its_size(tmp_path: Path, orientation: int) -> None:
    stored = marked(tmp_path / "a.png", orientation, 24, 32)
    assert stored.shape[:2] == (32, 24)
    assert (read_image(tmp_path / "a.png", 32, 24).permute(1, 2, 0).numpy() == stored).all()


def test_turned_pictures_are_told_in_one_line(tmp_path: Path) -> None:
    write_split_tree(tmp_path)
    marked(tmp_path / "train" / "1.png", 3, HEIGHT, WIDTH)
    marked(tmp_path / "train" / "2.png", 6, HEIGHT, WIDTH)
    marked(tmp_path / "train" / "3.png", 6, WIDTH, HEIGHT)
    marked(tmp_path / "train" / "4.png", 1, HEIGHT, WIDTH)
    marked(tmp_path / "val" / "5.png", 2, HEIGHT, WIDTH)
    message = found(find_data(tmp_path))["exif"]
    assert message.startswith("train and val: 4 of 7 pictures looked at have an EXIF orientation: ")
    assert "1 is read turned, as the annotated size says" in message
    assert (
        "2 are read turned, as predict and image viewers do, although the annotated size fits both ways"
        in message
    )
    assert "1 is read unturned, as the annotated size says, but predict turns such files" in message
    assert "exiftool -Orientation=" in message
    assert checked(tmp_path, "exif") == [message]


# ---- depth


def test_pictures_of_more_than_8_bits_are_told_and_dark_ones_named(tmp_path: Path) -> None:
    write_split_tree(tmp_path)
    values = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    Image.fromarray(values).save(tmp_path / "train" / "1.png")
    message = found(find_data(tmp_path))["bits"]
    assert message == "train: 1 of 7 pictures looked at have 16 bits a channel; the upper 8 are used"
    Image.fromarray(values >> 4).save(tmp_path / "train" / "2.png")
    cv2.imwrite(str(tmp_path / "val" / "5.png"), np.repeat(values[..., None] >> 4, 3, axis=2))
    message = found(find_data(tmp_path))["bits"]
    assert "train and val: 3 of 7 pictures" in message
    assert "2 of them are nearly black then (at most 15 of 255)" in message
    assert checked(tmp_path, "bits") == [message]
    # The fix, followed.
    Image.fromarray((values >> 4) << 4).save(tmp_path / "train" / "2.png")
    (tmp_path / "val" / "5.png").unlink()
    write_images(tmp_path / "val", tree(range(5, 8)))
    assert "black" not in found(find_data(tmp_path))["bits"]


def twelve_bits(path: Path, values: np.ndarray) -> None:
    """A grey TIFF of 12 bits, as cameras write it: two values in three bytes."""
    height, width = values.shape
    pairs = values.reshape(-1, 2).astype(int)
    packed = np.stack(
        [pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=1
    )
    strip = packed.astype(np.uint8).tobytes()
    entries = {256: width, 257: height, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(strip)}
    head = b"II*\0" + (8 + len(strip)).to_bytes(4, "little")
    table = len(entries).to_bytes(2, "little")
    for tag, value in entries.items():
        table += tag.to_bytes(2, "little") + (4).to_bytes(2, "little") + (1).to_bytes(4, "little")
        table += value.to_bytes(4, "little")
    path.write_bytes(head + strip + table + bytes(4))


def test_a_file_that_says_it_has_12_bits_is_read_by_its_own_white(tmp_path: Path) -> None:
    values = np.linspace(0, 4095, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    twelve_bits(tmp_path / "a.tif", values)
    assert (read_image(tmp_path / "a.tif")[0].numpy() == values >> 4).all()


# ---- boxes and outlines


def as_corners(row: dict[str, Any]) -> None:
    x, y, width, height = row["bbox"]
    row["bbox"] = [x, y, x + width, y + height]


def test_boxes_written_as_corners_are_noticed(tmp_path: Path) -> None:
    write_split_tree(tmp_path)
    change(tmp_path, TRAIN, as_corners)
    message = found(find_data(tmp_path))["bbox"]
    assert message.startswith("train: bbox in instances_train.json seems to hold x1, y1, x2, y2")
    assert checked(tmp_path, "bbox") == [message]
    change(tmp_path, "annotations/instances_val.json", as_corners)
    assert found(find_data(tmp_path))["bbox"].startswith("train and val: bbox in instances_train.json")


def test_and_so_they_are_where_outlines_were_made_of_them(tmp_path: Path) -> None:
    write_split_tree(tmp_path)
    content = tree(range(1, 5))
    for row in content["annotations"]:
        as_corners(row)
        x, y, width, height = (int(v) for v in row["bbox"])
        row["segmentation"] = rle(box_mask(x, y, width, height))
    write_json(tmp_path / TRAIN, content)
    assert "bbox" in found(find_data(tmp_path))


def test_large_boxes_at_the_corner_are_no_corners(tmp_path: Path) -> None:
    write_split_tree(tmp_path)
    content = tree(range(1, 5))
    content["annotations"] = [annotation(i, i, 7, (0, 0, 30, 20)) for i in range(1, 5)]
    write_json(tmp_path / TRAIN, content)
    assert found(find_data(tmp_path)) == {}


@pytest.mark.parametrize(
    "outline",
    [
        [[[2, 3], [12, 3], [12, 11], [2, 11]]],
        [[2, 3], [12, 3], [12, 11], [2, 11]],
        [2, 3, 12, 3, 12, 11, 2, 11],
        [[[[2, 3], [12, 3], [12, 11], [2, 11]]]],
        [[2, 3, 12, 3, 12, 11], [[2, 3], [12, 3], [12, 11], [2, 11]]],
    ],
)
def test_outlines_of_points_are_read_as_cocos(tmp_path: Path, outline: list[Any]) -> None:
    write_split_tree(tmp_path)
    content = tree(range(1, 5))
    content["annotations"][0]["segmentation"] = outline
    write_json(tmp_path / TRAIN, content)
    data = find_data(tmp_path)
    sample = CocoDataset(data.train)[0]
    assert (sample.targets.masks[0].numpy() == box_mask(2, 3, 10, 8)).all()
    (note,) = read_coco(tmp_path / TRAIN).notes
    assert note.startswith("instances_train.json: polygons of 1 object list points one by one")
    assert note in data.describe()
    assert checked(tmp_path, "annotations.segmentation") == [f"train: {note}"]


# ---- semantic maps


def test_maps_of_0_and_255_are_told_and_the_fix_works(tmp_path: Path, capsys) -> None:
    write_split_tree(tmp_path)
    values = box_mask(2, 3, 10, 8) * 255
    for ids in (range(1, 5), range(5, 8)):
        write_maps(tmp_path / "semantic", tree(ids), values)
    message = found(find_data(tmp_path))["maps"]
    assert "hold 0 and 255 only" in message
    assert message.endswith("255 means ignored: write 1 for what is 255 now")
    assert checked(tmp_path, "maps") == [message]
    main(["data", "show", "--data", str(tmp_path)])
    assert capsys.readouterr().out.count("warning:") == 1
    for ids in (range(1, 5), range(5, 8)):
        write_maps(tmp_path / "semantic", tree(ids), values // 255)
    assert found(find_data(tmp_path)) == {}


def test_so_are_maps_of_one_value(tmp_path: Path) -> None:
    write_split_tree(tmp_path)
    for ids in (range(1, 5), range(5, 8)):
        write_maps(tmp_path / "semantic", tree(ids), box_mask(0, 0, 0, 0) + 7)
    assert "hold nothing but 7" in found(find_data(tmp_path))["maps"]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("semantic", "{}_labels.png"),
        ("stuffthingmaps/train", "mask_{}.png"),
        ("seg_maps", "{}.png"),
        ("annotations/masks", "{}_mask.png"),
        ("labels/train", "{}.tif"),
    ],
)
def test_maps_that_are_there_and_not_used_are_told(tmp_path: Path, folder: str, name: str) -> None:
    write_split_tree(tmp_path)
    place = tmp_path / folder
    place.mkdir(parents=True)
    for i in range(1, 5):
        Image.fromarray(box_mask(2, 3, 10, 8)).save(place / name.format(i))
    message = found(find_data(tmp_path))["maps"]
    assert message.startswith(f"train: {place} looks like semantic maps ({name.format(1)}")
    assert "name the folder with --semantic and each map like its picture (1.png)" in message
    assert checked(tmp_path, "maps") == [message]
    # The fix, followed.
    for i in range(1, 5):
        (place / name.format(i)).rename(place / f"{i}.png")
    for i in range(5, 8):
        Image.fromarray(box_mask(2, 3, 10, 8)).save(place / f"{i}.png")
    assert found(find_data(tmp_path, semantic=place)) == {}


def test_maps_of_val_alone_are_told(tmp_path: Path) -> None:
    write_split_tree(tmp_path)
    write_maps(tmp_path / "semantic" / "val", tree(range(5, 8)), box_mask(2, 3, 10, 8))
    assert "no semantic maps, but those of val do" in found(find_data(tmp_path))["maps"]


def test_grey_pictures_of_another_split_are_no_maps(tmp_path: Path) -> None:
    for name in ("train", "val"):
        write_json(tmp_path / "annotations" / f"instances_{name}.json", tree(range(1, 5)))
        for i in range(1, 5):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(box_mask(2, 3, i, 8) * 90).save(tmp_path / name / f"{i}.png")
    assert found(find_data(tmp_path)) == {}


def many_classes(root: Path) -> None:
    write_split_tree(root)
    for name in ("train", "val"):
        path = root / "annotations" / f"instances_{name}.json"
        content = json.loads(path.read_text())
        content["categories"] = [{"id": i, "name": f"c{i}"} for i in range(1, 301)]
        write_json(path, content)


def test_more_classes_than_a_map_can_hold_are_refused_only_where_one_is_needed(
    tmp_path: Path, capsys
) -> None:
    many_classes(tmp_path)
    data = find_data(tmp_path)
    with pytest.raises(
        InputError, match=r"has 300 classes, .*--semantic, or train without the semantic branch"
    ):
        semantic_if_needed(data, needed=True)
    assert semantic_if_needed(data, needed=False) is None
    main(["data", "show", "--data", str(tmp_path)])
    assert "300 classes are more than a map can hold" in capsys.readouterr().out
    words = ["train", "--data", str(tmp_path), "--run", str(tmp_path / "r"), "--steps", "1", "--batch", "1"]
    with pytest.raises(SystemExit):
        main(words)
    assert not (tmp_path / "r").exists()
    main([*words, "--toggles", "mask_flow"])
    assert (tmp_path / "r" / "checkpoint.safetensors").is_file()


# ---- detections, splits


def test_more_objects_than_detections_are_told_with_the_flag(tmp_path: Path) -> None:
    write_split_tree(tmp_path)
    coco = find_data(tmp_path).val.coco
    assert cap_notice("val", coco, 2, "--more") is None
    notice = cap_notice("val", coco, 1, "--more")
    assert notice is not None
    assert "1 of 3 pictures have more objects than the 1 detections" in notice.message
    assert notice.message.endswith("(up to 2, 6.png), so some can't be found; raise it with --more")


def test_the_same_picture_in_two_splits_is_told_whatever_its_file(tmp_path: Path, capsys) -> None:
    write_split_tree(tmp_path)
    picture = Image.open(tmp_path / "train" / "2.png")
    picture.save(tmp_path / "val" / "6.png", compress_level=1)
    assert (tmp_path / "train" / "2.png").read_bytes() != (tmp_path / "val" / "6.png").read_bytes()
    assert len(checked(tmp_path, "leak")) == 1
    main(["data", "show", "--data", str(tmp_path)])
    said = capsys.readouterr().out
    assert (
        "warning: val: 1 picture also in another split, pixel by pixel (such as 6.png, which is 2.png" in said
    )


def test_the_splits_of_one_file_too(tmp_path: Path, capsys) -> None:
    content = tree(range(1, 7))
    write_images(tmp_path / "images", content)
    for i in range(2, 7):
        Image.open(tmp_path / "images" / "1.png").save(tmp_path / "images" / f"{i}.png", compress_level=1)
    write_json(tmp_path / "annotations.json", content)
    main(["data", "show", "--data", str(tmp_path), "--json"])
    told = json.loads(capsys.readouterr().out)["warnings"]
    assert len(told) == 1
    assert "2 pictures also in another split" in told[0]


def test_commands_warn_once_of_each_kind(tmp_path: Path, capsys) -> None:
    write_split_tree(tmp_path)
    for i in range(1, 5):
        marked(tmp_path / "train" / f"{i}.png", 3, HEIGHT, WIDTH)
    words = ["--data", str(tmp_path), "--steps", "1", "--batch", "1"]
    main(["train", *words, "--run", str(tmp_path / "r")])
    assert capsys.readouterr().out.count("warning:") == 1
    content = json.loads((tmp_path / "annotations/instances_val.json").read_text())
    content["annotations"] += [annotation(900 + i, 5, 7, (2, 3, 10, 8)) for i in range(60)]
    write_json(tmp_path / "annotations/instances_val.json", content)
    main(["eval", "--data", str(tmp_path), "--checkpoint", str(tmp_path / "r")])
    said = [line for line in capsys.readouterr().out.splitlines() if "warning:" in line]
    assert ["EXIF" in line for line in said] == [True, False]
    assert "more objects than the 50 detections the model reports (up to 61, 5.png)" in said[1]
    assert "raise it with --max-detections" in said[1]


def test_a_large_split_is_sampled(tmp_path: Path) -> None:
    write_split_tree(tmp_path)
    for i in range(1, 5):
        marked(tmp_path / "train" / f"{i}.png", 3, HEIGHT, WIDTH)
    (notice,) = notices(find_data(tmp_path), None, most=2)
    assert str(notice).startswith("train: 2 of 4 pictures looked at")
