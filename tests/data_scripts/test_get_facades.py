"""The facade photographs, from a server on this machine that has a few made ones in the published layout."""

import dataclasses
import errno
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from htc_lab.cli import main
from htc_lab.data.dataset import CocoDataset
from htc_lab.data.facades.made import SEMANTIC, ensure_facades
from htc_lab.data.facades.original import ARCHIVE, COMMIT, HOST, PUBLISHED, PublishedFolder
from htc_lab.data.facades.split import runs_of, split_of
from htc_lab.data.fetch.download import Patience
from htc_lab.data.layout import find_data
from htc_lab.data.semantic import semantic_classes
from htc_lab.errors import InputError
from tests.data_scripts.run import run
from tests.data_scripts.server import Page, Server, zipped

QUICK = Patience(attempts=3, pause=0.0, timeout=5.0)
# As published: two categories of the name "facade", the first of them unused.
CLASSES = [
    "facade",
    "balcony-fence",
    "car",
    "facade",
    "fence",
    "non-building-infrastructure",
    "shop",
    "street",
    "traffic-infrastructure",
    "vegetation",
    "window",
]
RUNS = (
    ("20230329_200451_667_R", "20230329_200551_003_R"),
    ("20230417_235930_000_R",),
    ("20230418_000010_000_R", "20230418_000030_000_R"),
    ("IMG_0718", "IMG_0720"),
    ("IMG_0723",),
)
# Crop, published folder, folder inside it.
CROPS = (
    ("20230329_200451_667_R_scaled_0", "valid", "images/"),
    ("20230329_200451_667_R_scaled_1", "train", ""),
    ("20230329_200551_003_R_scaled_0", "test", ""),
    ("20230417_235930_000_R_scaled_0", "train", ""),
    ("20230418_000010_000_R_scaled_1", "valid", ""),
    ("20230418_000030_000_R_scaled_0", "train", ""),
    ("IMG_0718_scaled_0", "train", ""),
    ("IMG_0720_scaled_0", "test", ""),
    ("IMG_0723_scaled_0", "train", ""),
)


def box(x1: float, y1: float, x2: float, y2: float) -> list[float]:
    return [x1, y1, x2, y1, x2, y2, x1, y2]


# A car is painted over the street, wherever it is in the file; a window of 6 px across is 3 at half the size,
# and one of 2 by 100 px is too narrow at half the size to count.
POLYGONS = (
    ("car", box(100, 800, 300, 900)),
    ("facade", box(0, 0, 1024, 800)),
    ("window", box(200, 200, 300, 400)),
    ("street", box(0, 780, 1024, 1024)),
    ("window", box(600, 200, 606, 206)),
    ("window", box(700, 200, 702, 300)),
)


def published_name(crop: str) -> str:
    return f"{crop}_png_jpg.rf.{hashlib.md5(crop.encode()).hexdigest()}.jpg"


def jpeg(seed: int) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse).resize((1024, 1024), Image.Resampling.BICUBIC).save(out, "JPEG")
    return out.getvalue()


@dataclasses.dataclass(frozen=True)
class Made:
    files: dict[str, bytes]
    published: tuple[PublishedFolder, ...]

    @property
    def archive(self) -> bytes:
        top = f"building-facade-segmentation-{COMMIT}"
        other = {f"{top}/README.md": b"something else", f"{top}/train/.DS_Store": b"\0"}
        return zipped({f"{top}/{name}": content for name, content in self.files.items()} | other)

    def write(self, folder: Path) -> Path:
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder


@pytest.fixture(scope="module")
def made() -> Made:
    files: dict[str, bytes] = {}
    published = []
    for folder in ("train", "valid", "test"):
        here = {published_name(c): (i, inside) for i, (c, f, inside) in enumerate(CROPS) if f == folder}
        tree: dict[str, Any] = {
            "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES)],
            "images": [
                {"id": i, "file_name": name, "height": 1024, "width": 1024} for i, name in enumerate(here)
            ],
            "annotations": [],
        }
        for image in tree["images"]:
            for name, polygon in POLYGONS:
                category = len(CLASSES) - 1 - CLASSES[::-1].index(name)
                row = {"image_id": image["id"], "category_id": category, "segmentation": [polygon]}
                tree["annotations"].append({"id": len(tree["annotations"])} | row)
        pictures = {name: jpeg(i) for name, (i, _) in here.items()}
        text = json.dumps(tree).encode()
        files |= {f"{folder}/{here[name][1]}{name}": content for name, content in pictures.items()}
        files[f"{folder}/_annotations.coco.json"] = text
        joined = b"".join(pictures[name] for name in sorted(pictures))
        digests = hashlib.sha256(text).hexdigest(), hashlib.sha256(joined).hexdigest()
        published.append(PublishedFolder(folder, len(here), len(joined), *digests))
    return Made(files, tuple(published))


@pytest.fixture
def mirror(server: Server, made: Made) -> Server:
    server.pages[f"/{ARCHIVE}"] = Page(made.archive)
    return server


def get(
    root: Path, size: int, made: Made, mirror: Server | None = None, original: Path | None = None
) -> dict[str, int]:
    return ensure_facades(
        root,
        size,
        original or root.parent / "original",
        published=made.published,
        mirror=mirror.url if mirror else "http://127.0.0.1:9",
        patience=QUICK,
        progress=False,
    )


def test_runs_of_photographs_stay_together_and_the_third_of_five_is_val() -> None:
    photos = [photo for found in RUNS for photo in found]
    assert runs_of(reversed(photos)) == [list(found) for found in RUNS]
    sides = split_of(photos)
    assert {photo for photo, side in sides.items() if side == "val"} == set(RUNS[2])
    numbered = [f"IMG_{i:04d}" for i in range(100, 130)]
    assert [len(found) for found in runs_of(numbered)] == [12, 12, 6]
    with pytest.raises(ValueError, match="'street_1' is not the name of a facade photograph"):
        runs_of(["street_1"])


def test_a_broken_download_is_resumed_and_makes_the_folder_the_lab_reads(
    tmp_path: Path, mirror: Server, made: Made
) -> None:
    page = mirror.pages[f"/{ARCHIVE}"]
    page.drop_after, page.drops = len(page.body) // 3, 2
    root = tmp_path / "facades of 512"
    assert get(root, 512, made, mirror) == {"train": 7, "val": 2}
    assert [asked is None for _, asked in mirror.asked] == [True, False, False]
    data = find_data(root)
    assert data.class_names == ("window", "balcony-fence", "car", "shop", "traffic-infrastructure")
    assert [image["file_name"] for image in data.val.coco.images] == [
        "20230418_000010_000_R_1.jpg",
        "20230418_000030_000_R_0.jpg",
    ]
    semantic = semantic_classes(data)
    assert semantic.names == SEMANTIC
    for split in (data.train, data.val):
        dataset = CocoDataset(split, semantic)
        for i in range(len(dataset)):
            dataset[i]
    assert sorted(path.name for path in (tmp_path / "original").iterdir()) == ["test", "train", "valid"]
    source = (root / "SOURCE.md").read_text(encoding="utf-8")
    assert "building-facade (Roboflow Universe), CC BY 4.0" in source
    assert "resized to 512 px (Lanczos) and written as JPEG of quality 90" in source
    assert "7 pictures of\n  6 photographs for training, 2 of 2 for val" in source


def test_objects_maps_and_names(tmp_path: Path, made: Made) -> None:
    original = made.write(tmp_path / "clone")
    get(tmp_path / "made", 512, made, original=original)
    tree = json.loads((tmp_path / "made" / "annotations" / "instances_train.json").read_bytes())
    assert [image["id"] for image in tree["images"]] == [1, 2, 3, 4, 7, 8, 9]
    assert tree["licenses"][0]["name"] == "CC BY 4.0"
    first = [row for row in tree["annotations"] if row["image_id"] == 1]
    assert [(row["id"], row["category_id"], row["bbox"], row["area"]) for row in first] == [
        (1, 1, [100.0, 100.0, 50.0, 100.0], 5000.0),
        (2, 1, [300.0, 100.0, 3.0, 3.0], 9.0),
        (3, 3, [50.0, 400.0, 100.0, 50.0], 5000.0),
    ]
    assert first[0]["segmentation"] == [[100.0, 100.0, 150.0, 100.0, 150.0, 200.0, 100.0, 200.0]]
    values = np.asarray(Image.open(tmp_path / "made" / "semantic" / "IMG_0718_0.png"))
    seen = {name: SEMANTIC.index(name) for name in ("facade", "window", "street", "car")}
    assert (values[10, 10], values[150, 120], values[395, 10], values[420, 60]) == tuple(seen.values())
    provenance = json.loads((tmp_path / "made" / "annotations" / "provenance.json").read_bytes())
    assert provenance[0] == {
        "name": "20230329_200451_667_R_0",
        "photo": "20230329_200451_667_R",
        "crop": 0,
        "original_file": published_name("20230329_200451_667_R_scaled_0"),
        "original_split": "valid",
        "split": "train",
    }


def test_every_size_has_the_same_objects_and_the_full_size_the_published_files(
    tmp_path: Path, made: Made
) -> None:
    original = made.write(tmp_path / "clone")
    rows = {}
    for size in (1024, 300):
        get(tmp_path / str(size), size, made, original=original)
        tree = json.loads((tmp_path / str(size) / "annotations" / "instances_val.json").read_bytes())
        rows[size] = [(row["id"], row["image_id"], row["category_id"]) for row in tree["annotations"]]
        assert Image.open(tmp_path / str(size) / "images" / "IMG_0718_0.jpg").size == (size, size)
    assert rows[1024] == rows[300]
    published = made.files[f"train/{published_name('IMG_0718_scaled_0')}"]
    assert (tmp_path / "1024" / "images" / "IMG_0718_0.jpg").read_bytes() == published
    assert "byte for byte" in (tmp_path / "1024" / "SOURCE.md").read_text(encoding="utf-8")


def test_what_is_there_is_not_asked_for_again(tmp_path: Path, mirror: Server, made: Made) -> None:
    get(tmp_path / "a", 256, made, mirror)
    get(tmp_path / "b", 300, made, mirror)
    assert len(mirror.asked) == 1
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")}
    assert get(tmp_path / "a", 256, made) == {"train": 7, "val": 2}
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")} == before
    with pytest.raises(
        InputError, match=r"a: has pictures of 256 px, not 300; remove .*a to have it made again"
    ):
        get(tmp_path / "a", 300, made)
    with pytest.raises(
        InputError, match=r"original: exists and holds no facades\.json; choose another folder"
    ):
        get(tmp_path / "original", 300, made)
    with pytest.raises(InputError, match=r"--size 2048: must be from 256 to 1024"):
        get(tmp_path / "c", 2048, made)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("another picture", r"train: its 5 pictures of \d+ bytes aren't the 5 published ones"),
        ("no picture", r"IMG_0718_scaled_0_png_jpg.*\.jpg: cannot be read \(No such file or directory\)"),
        ("other annotations", r"_annotations\.coco\.json: isn't the published file"),
        ("no annotations", r"_annotations\.coco\.json: no such file"),
    ],
)
def test_files_that_are_not_the_published_ones(tmp_path: Path, made: Made, harm: str, said: str) -> None:
    original = made.write(tmp_path / "clone")
    picture = original / "train" / published_name("IMG_0718_scaled_0")
    annotations = original / "train" / "_annotations.coco.json"
    if harm == "another picture":
        picture.write_bytes(picture.read_bytes()[:-2] + b"\0\0")
    elif harm == "other annotations":
        annotations.write_bytes(annotations.read_bytes() + b"\n")
    else:
        (picture if harm == "no picture" else annotations).unlink()
    with pytest.raises(InputError, match=said + r".*; move .*train away and run it again to download it"):
        get(tmp_path / "made", 256, made, original=original)
    assert not (tmp_path / "made").exists()


def test_the_fix_that_is_named_works(tmp_path: Path, mirror: Server, made: Made) -> None:
    original = made.write(tmp_path / "clone")
    (original / "train" / published_name("IMG_0718_scaled_0")).unlink()
    (original / "train").rename(tmp_path / "away")
    get(tmp_path / "made", 256, made, mirror, original)
    assert (tmp_path / "made" / "images" / "IMG_0718_0.jpg").is_file()


def test_a_server_without_it_and_one_with_half_of_it(tmp_path: Path, server: Server, made: Made) -> None:
    flags = ("--root", tmp_path / "made", "--original", tmp_path / "original", "--mirror", server.url)
    done = run("get_facades.py", *flags)
    assert done.returncode == 2
    assert f"{ARCHIVE}: the server answers 404" in done.stderr
    assert "Traceback" not in done.stderr
    half = {name: content for name, content in made.files.items() if not name.startswith("test")}
    server.pages[f"/{ARCHIVE}"] = Page(zipped({f"top/{name}": content for name, content in half.items()}))
    with pytest.raises(InputError, match=r"archive\.zip: holds no folder test with files"):
        get(tmp_path / "made", 256, made, server)
    assert not (tmp_path / "made").exists()


def test_the_real_original() -> None:
    assert (HOST, len(COMMIT)) == ("https://github.com", 40)
    assert sum(part.pictures for part in PUBLISHED) == 598
    assert {len(text) for part in PUBLISHED for text in (part.annotations, part.digest)} == {64}


def test_a_full_disk_leaves_the_published_files_and_nothing_half_made(
    tmp_path: Path, mirror: Server, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Image.Image, "save", full)
        with pytest.raises(InputError, match=r"made: cannot be written \(No space left on device\)"):
            get(tmp_path / "made", 256, made, mirror)
    assert [path.name for path in tmp_path.iterdir()] == ["original"]
    get(tmp_path / "made", 256, made, mirror)
    assert len(mirror.asked) == 1


def test_the_command_refuses_a_size_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["data", "facades", "--root", str(tmp_path / "made"), "--size", "5000"])
    assert ended.value.code == 2
    assert "error: --size 5000: must be from 256 to 1024" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
