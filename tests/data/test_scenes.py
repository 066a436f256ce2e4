"""The classroom scenes: same seed, same bytes; exact truth; the situations they promise."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from htc_lab.data.classroom import tree as write_scenes
from htc_lab.data.classroom.placing import MIN_VISIBLE
from htc_lab.data.classroom.scenes import SCENE_STUFF, SCENE_THINGS, Scene, SceneConfig, make_scene
from htc_lab.data.classroom.things import HOME
from htc_lab.data.classroom.tree import SPLITS, ensure_classroom, scene_seed, write_classroom
from htc_lab.data.coco import decode_mask, read_coco
from htc_lab.data.dataset import CocoDataset
from htc_lab.data.layout import find_data
from htc_lab.data.semantic import semantic_classes
from htc_lab.errors import InputError

SMALL = SceneConfig(size=96)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(seed) for seed in range(60)]


@pytest.fixture(scope="module")
def classroom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "classroom"
    write_classroom(root, 6, 3, 3, SMALL, progress=False)
    return root


def all_bytes(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_same_arguments_give_the_same_bytes(classroom: Path, tmp_path: Path) -> None:
    write_classroom(tmp_path / "again", 6, 3, 3, SMALL, progress=False)
    assert all_bytes(tmp_path / "again") == all_bytes(classroom)


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    for workers in (1, 2):
        write_classroom(
            tmp_path / str(workers), 66, 2, 2, SceneConfig(size=32), workers=workers, progress=False
        )
    assert all_bytes(tmp_path / "1") == all_bytes(tmp_path / "2")


def test_other_seeds_and_splits_give_other_scenes(classroom: Path, tmp_path: Path) -> None:
    write_classroom(tmp_path / "other", 6, 3, 3, SMALL, seed=1, progress=False)
    pictures = [p.read_bytes() for root in (classroom, tmp_path / "other") for p in root.glob("*/0*.png")]
    assert len(set(pictures)) == len(pictures) == 24


def test_seed_ranges_are_disjoint() -> None:
    seeds = [scene_seed(s, split, i) for s in range(3) for split in SPLITS for i in (0, 1, (1 << 24) - 1)]
    assert len(set(seeds)) == len(seeds)


def test_truth_agrees_with_itself(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.image.dtype == np.uint8
        assert scene.image.shape == (128, 128, 3)
        assert len(scene.boxes) == len(scene.labels) == len(scene.masks) == len(scene.attributes)
        assert scene.masks.sum(axis=0).max(initial=0) <= 1, "visible pixels belong to one object"
        expected = np.full((128, 128), 255, dtype=np.uint8)
        for box, label, mask in zip(scene.boxes, scene.labels, scene.masks, strict=True):
            assert mask.sum() >= MIN_VISIBLE
            ys, xs = np.nonzero(mask)
            assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            expected[mask > 0] = label
        things = scene.semantic < len(SCENE_THINGS)
        assert (things == (expected != 255)).all()
        assert (scene.semantic[things] == expected[things]).all()
        assert scene.semantic.max() < len(SCENE_THINGS) + len(SCENE_STUFF)


def test_decoys_are_background_on_the_wrong_stuff(scenes: list[Scene]) -> None:
    for scene in scenes:
        for decoy in scene.decoys:
            assert decoy.stuff != HOME[decoy.looks_like]
            x1, y1, x2, y2 = decoy.box
            around = scene.semantic[y1:y2, x1:x2]
            home = len(SCENE_THINGS) + SCENE_STUFF.index(HOME[decoy.looks_like])
            assert not (around == home).any()


def test_things_stand_at_home(scenes: list[Scene]) -> None:
    """Most of the stuff around a thing is its home."""
    at_home = []
    for scene in scenes:
        for box, label in zip(scene.boxes.astype(int), scene.labels, strict=True):
            around = scene.semantic[box[1] : box[3], box[0] : box[2]]
            stuff = around[around >= len(SCENE_THINGS)] - len(SCENE_THINGS)
            if len(stuff):
                home = SCENE_STUFF.index(HOME[SCENE_THINGS[label]])
                at_home.append(np.bincount(stuff, minlength=len(SCENE_STUFF)).argmax() == home)
    assert np.mean(at_home) > 0.97


def test_the_promised_situations_occur(scenes: list[Scene]) -> None:
    objects = [a for scene in scenes for a in scene.attributes]
    sides = np.concatenate([(s.boxes[:, 2:] - s.boxes[:, :2]).max(axis=1) for s in scenes])
    assert {int(label) for scene in scenes for label in scene.labels} == set(range(len(SCENE_THINGS)))
    stuff = {int(v) - len(SCENE_THINGS) for scene in scenes for v in np.unique(scene.semantic)}
    assert set(range(len(SCENE_STUFF))) <= stuff
    assert 3.0 <= len(objects) / len(scenes) <= 8.0
    assert 1 / 3.5 <= sum(len(s.decoys) for s in scenes) / len(objects) <= 1 / 1.5
    for name in ("thin", "small", "touching", "holes", "truncated"):
        assert 0.05 <= np.mean([a[name] for a in objects]) <= 0.75, name
    assert np.mean([a["occluded"] > 0.05 for a in objects]) > 0.1
    assert sides.min() < 12
    assert sides.max() > 70
    assert len({len(np.unique(s.semantic[s.semantic >= len(SCENE_THINGS)])) for s in scenes} - {1, 2}) >= 2


@pytest.mark.parametrize("size", [32, 64, 200])
def test_other_sizes(size: int) -> None:
    scene = make_scene(5, SceneConfig(size=size))
    assert scene.image.shape == (size, size, 3)
    assert scene.semantic.shape == (size, size)


def test_tree_is_valid_coco(classroom: Path) -> None:
    for split, count in (("train", 6), ("val", 3), ("test", 3)):
        path = classroom / "annotations" / f"instances_{split}.json"
        coco = COCO(str(path))
        assert len(coco.imgs) == count
        for row in coco.anns.values():
            mask = coco.annToMask(row)
            assert row["area"] == mask.sum()
            ys, xs = np.nonzero(mask)
            box = [xs.min(), ys.min(), xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()]
            assert row["bbox"] == box
            image = coco.imgs[row["image_id"]]
            semantic = np.asarray(Image.open(classroom / "stuffthingmaps" / split / image["file_name"]))
            assert (semantic[mask > 0] == row["category_id"] - 1).all()


def test_a_tree_image_can_be_drawn_again_from_its_seed(classroom: Path) -> None:
    data = read_coco(classroom / "annotations" / "instances_val.json")
    image = data.images[1]
    scene = make_scene(image["seed"], SMALL)
    assert (np.asarray(Image.open(classroom / "val" / image["file_name"])) == scene.image).all()
    masks = [decode_mask(row, 96, 96) for row in data.annotations_by_image[image["id"]]]
    assert (np.asarray(masks) == scene.masks).all()


def test_the_lab_reads_the_tree(classroom: Path) -> None:
    data = find_data(classroom)
    classes = semantic_classes(data)
    assert data.class_names == SCENE_THINGS
    assert classes.names == (*SCENE_THINGS, *SCENE_STUFF)
    assert [len(CocoDataset(s, classes)) for s in (data.train, data.val, data.test)] == [6, 3, 3]
    sample = CocoDataset(data.train, classes)[0]
    scene = make_scene(scene_seed(0, "train", 0), SMALL)
    assert (sample.image.permute(1, 2, 0).numpy() == scene.image).all()
    assert (sample.targets.masks.numpy() == scene.masks).all()
    assert (sample.targets.boxes.numpy() == scene.boxes).all()
    assert sample.targets.semantic is not None
    assert (sample.targets.semantic.numpy() == scene.semantic).all()


def test_ensure_leaves_the_same_scenes_alone_and_refuses_others(tmp_path: Path) -> None:
    root = tmp_path / "a folder" / "scenes"
    tiny = SceneConfig(size=32)
    assert ensure_classroom(root, 2, 1, 1, tiny, progress=False) == root
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    ensure_classroom(root, 2, 1, 1, tiny, progress=False)
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before
    with pytest.raises(InputError, match=r"scenes\.json: counts differ.*remove"):
        ensure_classroom(root, 3, 1, 1, tiny, progress=False)
    with pytest.raises(InputError, match=r"scenes\.json: seed, config differ"):
        ensure_classroom(root, 2, 1, 1, SceneConfig(size=48), seed=4, progress=False)
    (root / "scenes.json").write_text("{")
    with pytest.raises(InputError, match=r"scenes\.json: not JSON.*remove"):
        ensure_classroom(root, 2, 1, 1, tiny, progress=False)
    (root / "scenes.json").unlink()
    with pytest.raises(InputError, match=r"holds no scenes\.json"):
        ensure_classroom(root, 2, 1, 1, tiny, progress=False)


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr("htc_lab.data.classroom.tree._write_png", fails)
    with pytest.raises(InputError, match=r"scenes: cannot be written \(disk full\); free space"):
        write_classroom(tmp_path / "scenes", 2, 1, 1, SceneConfig(size=32), progress=False)
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--val 0"):
        write_classroom(tmp_path / "a", 2, 0, 1, SMALL, progress=False)
    with pytest.raises(InputError, match="--seed -1"):
        write_classroom(tmp_path / "a", 2, 1, 1, SMALL, seed=-1, progress=False)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="not empty"):
        write_classroom(tmp_path / "b", 2, 1, 1, SMALL, progress=False)
    assert (tmp_path / "b" / "mine.txt").read_text() == "keep"


def test_two_that_draw_the_same_scenes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook and a command begin together: the later one takes what the earlier one has drawn."""
    root, asked = tmp_path / "scenes", (1, 1, 1, SceneConfig(size=32))
    fill = write_scenes._fill

    def overtaken(folder: Path, *given: Any) -> None:
        fill(folder, *given)
        monkeypatch.setattr(write_scenes, "_fill", fill)
        write_classroom(root, *asked, progress=False)

    monkeypatch.setattr(write_scenes, "_fill", overtaken)
    assert ensure_classroom(root, *asked, progress=False) == root
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]
    monkeypatch.setattr(write_scenes, "_fill", overtaken)
    with pytest.raises(InputError, match="other: cannot be written"):
        write_classroom(root := tmp_path / "other", *asked, progress=False)
