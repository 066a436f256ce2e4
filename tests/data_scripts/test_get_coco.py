"""COCO's parts from a mirror on this machine."""

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from htc_lab.data.fetch.coco import COCO_PARTS, CocoPart, get_coco
from htc_lab.data.fetch.download import Patience
from htc_lab.data.fetch.verify import Digest
from htc_lab.data.layout import find_data
from htc_lab.data.semantic import semantic_classes
from htc_lab.data.subset import find_splits, write_subset
from htc_lab.errors import InputError
from tests.data.folders import HEIGHT, WIDTH, tree
from tests.data_scripts.run import run
from tests.data_scripts.server import Page, Server, zipped

QUICK = Patience(attempts=3, pause=0.0, timeout=5.0)
THINGS = [{"id": i + 1, "name": f"thing {i + 1}"} for i in range(80)]
SPLITS = {"train2017": range(1, 5), "val2017": range(5, 8)}
SERVED = {
    "train2017": "/zips/train2017.zip",
    "val2017": "/zips/val2017.zip",
    "annotations": "/annotations/annotations_trainval2017.zip",
    "stuffthingmaps": "/stuffthingmaps_trainval2017.zip",
}


def encoded(values: np.ndarray, kind: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(values).save(out, kind)
    return out.getvalue()


@pytest.fixture
def mirror(server: Server) -> Server:
    """A tiny COCO, archived as the official one is."""
    rng = np.random.default_rng(0)
    annotations, maps = {}, {}
    for split, ids in SPLITS.items():
        content = tree(ids) | {"categories": THINGS}
        for image in content["images"]:
            image["file_name"] = f"{image['id']:012d}.jpg"
        annotations[f"annotations/instances_{split}.json"] = json.dumps(content).encode()
        annotations[f"annotations/captions_{split}.json"] = b"{}"
        pictures = {
            f"{split}/{i:012d}.jpg": encoded(rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8), "JPEG")
            for i in ids
        }
        server.pages[SERVED[split]] = Page(zipped(pictures))
        for i in ids:
            values = rng.choice(np.array([0, 91, 181, 255], dtype=np.uint8), (HEIGHT, WIDTH))
            maps[f"{split}/{i:012d}.png"] = encoded(values, "PNG")
    server.pages[SERVED["annotations"]] = Page(zipped(annotations))
    server.pages[SERVED["stuffthingmaps"]] = Page(zipped(maps))
    return server


Official = Callable[[str], CocoPart]


@pytest.fixture
def official(mirror: Server) -> Official:
    """A part of COCO with this tiny set's sizes, counts and checksums instead of the real ones."""

    def part(name: str) -> CocoPart:
        body = mirror.pages[SERVED[name]].body
        counts = {"train2017": 4, "val2017": 3}
        real = COCO_PARTS[name]
        return dataclasses.replace(
            real,
            about=len(body),
            bytes=len(body),
            digest=Digest("md5", hashlib.md5(body).hexdigest()),
            counts=None if real.counts is None else {k: counts[k.rpartition("/")[2]] for k in real.counts},
        )

    return part


def get(root: Path, mirror: Server, *parts: CocoPart, official: bool = True) -> None:
    get_coco(root, parts, mirror=mirror.url, official=official, patience=QUICK, progress=False)


def test_all_parts_make_the_tree_that_the_lab_reads(tmp_path: Path, mirror: Server) -> None:
    page = mirror.pages[SERVED["stuffthingmaps"]]
    page.drop_after, page.drops = 1000, 1
    root = tmp_path / "my coco"
    done = run("get_coco.py", *SERVED, "--to", root, "--mirror", mirror.url, "--no-official")
    assert done.returncode == 0, done.stderr
    assert "stuffthingmaps" in done.stdout
    assert sorted(path.name for path in root.iterdir()) == [
        "annotations",
        "stuffthingmaps",
        "train2017",
        "val2017",
    ]
    data = find_data(root)
    assert (len(data.train.coco.images), len(data.val.coco.images)) == (4, 3)
    assert data.train.semantic == root / "stuffthingmaps" / "train2017"
    assert semantic_classes(data).count == 183
    asked = len(mirror.asked)
    get(root, mirror, *COCO_PARTS.values(), official=False)
    assert len(mirror.asked) == asked


def test_val2017_alone_has_183_classes_too(tmp_path: Path, mirror: Server) -> None:
    parts = [COCO_PARTS[name] for name in ("annotations", "val2017", "stuffthingmaps")]
    get(tmp_path / "coco", mirror, *parts, official=False)
    assert not (tmp_path / "coco" / "train2017").exists()
    write_subset(find_splits(tmp_path / "coco", ["val"]), tmp_path / "coco", tmp_path / "val", 3)
    data = find_data(tmp_path / "val")
    assert data.train.semantic == tmp_path / "val" / "stuffthingmaps" / "val2017"
    assert semantic_classes(data).count == 183


def test_official_parts_are_verified(tmp_path: Path, mirror: Server, official: Official) -> None:
    get(tmp_path, mirror, *map(official, SERVED))
    assert not (tmp_path / "archives").exists()
    asked = len(mirror.asked)
    get(tmp_path, mirror, *map(official, SERVED))
    assert len(mirror.asked) == asked
    (tmp_path / "val2017" / "000000000005.jpg").unlink()
    with pytest.raises(InputError, match=r"val2017: holds 2 pictures, not the 3 of COCO; move it away"):
        get(tmp_path, mirror, official("val2017"))


def test_another_file_of_the_same_size_is_refused(tmp_path: Path, mirror: Server, official: Official) -> None:
    part = official("val2017")
    page = mirror.pages[SERVED["val2017"]]
    page.body = page.body[:-1] + b"\1"
    with pytest.raises(InputError, match=r"val2017\.zip: what it serves has the md5"):
        get(tmp_path, mirror, part)
    page.body += b"\1"
    with pytest.raises(InputError, match=r"val2017\.zip: the server says it has \d+ bytes, but the file has"):
        get(tmp_path, mirror, part)
    assert not (tmp_path / "val2017").exists()


def test_a_damaged_archive_without_a_checksum(tmp_path: Path, mirror: Server) -> None:
    page = mirror.pages[SERVED["stuffthingmaps"]]
    whole, page.body = page.body, page.body[:100] + bytes([page.body[100] ^ 255]) + page.body[101:]
    with pytest.raises(InputError, match=r"stuffthingmaps_trainval2017\.zip: is damaged .*delete it"):
        get(tmp_path, mirror, COCO_PARTS["stuffthingmaps"], official=False)
    assert [path.name for path in tmp_path.iterdir()] == ["archives"]
    page.body = whole
    (tmp_path / "archives" / "stuffthingmaps_trainval2017.zip").unlink()
    get(tmp_path, mirror, COCO_PARTS["stuffthingmaps"], official=False)
    assert len(list((tmp_path / "stuffthingmaps" / "train2017").iterdir())) == 4


def test_archives_are_kept_where_that_is_asked(tmp_path: Path, mirror: Server, official: Official) -> None:
    get_coco(tmp_path, [official("val2017")], mirror=mirror.url, keep_archives=True, progress=False)
    assert (tmp_path / "archives" / "val2017.zip").is_file()


def test_annotations_are_added_to_a_folder_that_is_there(tmp_path: Path, mirror: Server) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "mine.json").write_text("{}")
    get(tmp_path, mirror, COCO_PARTS["annotations"], official=False)
    assert (tmp_path / "annotations" / "instances_val2017.json").is_file()
    assert (tmp_path / "annotations" / "mine.json").read_text() == "{}"


def test_room_is_checked_before_anything_is_asked(tmp_path: Path, mirror: Server, official: Official) -> None:
    huge = dataclasses.replace(official("val2017"), about=10**15)
    with pytest.raises(InputError, match=r"getting val2017 needs 2020000\.00 GB, but .* are free"):
        get(tmp_path, mirror, huge)
    assert mirror.asked == []


def test_a_mirror_without_the_file(tmp_path: Path, server: Server) -> None:
    done = run("get_coco.py", "val2017", "--to", tmp_path, "--mirror", server.url)
    assert done.returncode == 2
    assert "/zips/val2017.zip: the server answers 404" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_real_parts() -> None:
    for part in COCO_PARTS.values():
        assert part.url.endswith(Path(part.mirrored).name)
        assert part.url.startswith(("http://images.cocodataset.org/", "http://calvin.inf.ed.ac.uk/"))
    counts = {k: v for part in COCO_PARTS.values() if part.counts for k, v in part.counts.items()}
    assert counts["train2017"] == counts["stuffthingmaps/train2017"] == 118287
    assert counts["val2017"] == counts["stuffthingmaps/val2017"] == 5000
