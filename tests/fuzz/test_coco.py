"""Annotation files, whole and broken: what is read is sound, the rest is refused in one line."""

import contextlib
import copy
import io
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from htc_lab.data.check.folder import check_data
from htc_lab.data.coco import CocoData, decode_mask, read_coco
from htc_lab.data.dataset import CocoDataset
from htc_lab.data.layout import Split, find_data
from htc_lab.data.rle import decode_segmentation, segmentation_fault
from htc_lab.data.semantic import semantic_classes
from htc_lab.errors import InputError
from htc_lab.evaluate.coco_ap import evaluate
from tests.data.folders import HEIGHT, WIDTH, rle, tree, write_images, write_json
from tests.fuzz.mutate import ODD, broken_bytes, broken_tree
from tests.fuzz.outcome import assert_clear, examples, fresh, outcome, times

_CROWD = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * 3, HEIGHT * 4, HEIGHT * (WIDTH - 7)]}


def base() -> dict[str, Any]:
    """Two images with a polygon, compressed and uncompressed RLE, and a crowd."""
    made = json.loads(json.dumps(tree(range(1, 3))))
    made["annotations"][0]["segmentation"] = [[2, 3, 12, 3, 12, 11, 2, 11], [14.5, 3, 18, 3, 16, 9]]
    made["annotations"].append(
        {"id": 99, "image_id": 1, "category_id": 3, "bbox": [3, 0, 4, 24], "iscrowd": 1}
        | {"segmentation": copy.deepcopy(_CROWD), "area": 96}
    )
    return made


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_images(folder, base())
    return folder


def assert_sound(coco: CocoData) -> None:
    """What the rest of the lab relies on."""
    assert sorted(coco.label_of.values()) == list(range(len(coco.class_names)))
    for image in coco.images:
        for row in coco.annotations_by_image[image["id"]]:
            mask = decode_mask(row, image["height"], image["width"])
            assert mask.shape == (image["height"], image["width"])
            assert set(np.unique(mask)) <= {0, 1}
            assert row["iscrowd"] in (0, 1)
            assert math.isfinite(row["area"])
            assert row["area"] >= 0
            assert all(math.isfinite(v) for v in row["bbox"])


def assert_samples_sound(coco: CocoData, folder: Path, names: object) -> None:
    dataset = outcome(lambda: CocoDataset(Split("train", coco, folder, None)), names)
    for i in range(len(dataset) if dataset else 0):
        assert dataset is not None
        try:
            sample = dataset[i]
        except InputError as error:
            assert_clear(error)
            continue
        boxes = sample.targets.boxes
        _, height, width = sample.image.shape
        assert boxes.isfinite().all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (boxes >= 0).all()
        assert (boxes[:, 2] <= width).all()
        assert (boxes[:, 3] <= height).all()
        assert ((sample.targets.labels >= 0) & (sample.targets.labels < len(coco.class_names))).all()


@pytest.mark.parametrize("part", range(4))
def test_broken_entries(part: int, tmp_path: Path, pictures: Path) -> None:
    path = tmp_path / "a.json"
    for seed in range(times(250)):
        draw = random.Random(f"{part} {seed}")
        write_json(path, broken_tree(base(), draw))
        coco = outcome(lambda: read_coco(path), path)
        if coco is not None:
            assert_sound(coco)
            assert_samples_sound(coco, pictures, path)


def test_broken_bytes_of_a_file(tmp_path: Path) -> None:
    data = json.dumps(base()).encode()
    for seed in range(times(400)):
        path = fresh(tmp_path, "a.json", broken_bytes(data, random.Random(seed)))
        coco = outcome(lambda path=path: read_coco(path), path)
        if coco is not None:
            assert_sound(coco)


def test_every_truncation(tmp_path: Path) -> None:
    data = json.dumps(base()).encode()
    for length in range(0, len(data) - 1, 7):
        path = fresh(tmp_path, "a.json", data[:length])
        assert outcome(lambda path=path: read_coco(path), path) is None


_CORPUS = {
    "deep": b"[" * 100_000,
    "deep object": b'{"images":' * 50_000,
    "utf-16": json.dumps({"images": []}).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(base()).encode(),
    "latin-1": b'{"images": "\xe9"}',
    "long number": b'{"images": [{"id": ' + b"9" * 5000 + b"}]}",
    "huge float": b'{"images": [], "annotations": 1e9999, "categories": []}',
    "number": b"3",
    "null": b"null",
    "empty": b"",
    "zeros": bytes(1000),
    "results": b"[]",
    "twice the key": b'{"images": [], "images": {}}',
}


@pytest.mark.parametrize("name", _CORPUS)
def test_odd_files(name: str, tmp_path: Path) -> None:
    path = fresh(tmp_path, "a.json", _CORPUS[name])
    coco = outcome(lambda: read_coco(path), path)
    assert (coco is not None) == (name == "byte order mark")


# Each field of each table with each odd value: what mutation by chance would leave out.
_FIELDS = [
    *(("images", 0, key) for key in ("id", "file_name", "height", "width")),
    *(("annotations", 0, key) for key in ("id", "image_id", "category_id", "bbox", "area", "iscrowd")),
    *(("annotations", i, "segmentation") for i in (0, 1, 2, -1)),
    *(("annotations", i, "segmentation", key) for i in (1, -1) for key in ("size", "counts")),
    *(("annotations", 0, "segmentation", 0), ("annotations", 0, "segmentation", 0, 3)),
    *(("annotations", 0, "bbox", k) for k in range(4)),
    *(("annotations", -1, "segmentation", "counts", 1), ("annotations", 1, "segmentation", "size", 0)),
    *(("categories", 0, key) for key in ("id", "name")),
]


@pytest.mark.parametrize("field", _FIELDS, ids=lambda field: ".".join(map(str, field)))
def test_each_field_with_each_odd_value(field: tuple[Any, ...], tmp_path: Path, pictures: Path) -> None:
    for value in ODD:
        made = base()
        holder: Any = made
        for key in field[:-1]:
            holder = holder[key]
        holder[field[-1]] = copy.deepcopy(value)
        path = write_json(tmp_path / "a.json", made)
        coco = outcome(lambda path=path: read_coco(path), path)
        if coco is not None:
            assert_sound(coco)
            assert_samples_sound(coco, pictures, path)


_points = st.lists(
    st.one_of(
        st.integers(-10, 40),
        st.floats(allow_nan=True, allow_infinity=True),
        st.sampled_from([1e9, -1e9, 2**31, 2**40, 1e18, 1e-300]),
    ),
    max_size=14,
)
_rle = st.fixed_dictionaries(
    {
        "size": st.sampled_from([[HEIGHT, WIDTH], [WIDTH, HEIGHT], [HEIGHT], None, [0, 0]]),
        "counts": st.one_of(
            st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=30),
            st.lists(st.integers(-3, HEIGHT * WIDTH + 3), max_size=6),
            st.just([HEIGHT * WIDTH]),
            st.just([0, HEIGHT * WIDTH, 0]),
            st.none(),
        ),
    }
)


@given(st.one_of(st.lists(_points, max_size=3), _rle))
@example([[0, 0, 1e9, 0, 1e9, 1e9]])
@example([[0, 0, 1e300, 0, 0, 1e300]])
@examples(600)
def test_any_segmentation(segmentation: Any) -> None:
    mask = outcome(lambda: decode_segmentation(segmentation, HEIGHT, WIDTH), "segmentation")
    assert (mask is None) == (segmentation_fault(segmentation, HEIGHT, WIDTH) is not None)
    if mask is not None:
        assert mask.shape == (HEIGHT, WIDTH)
        assert mask.max(initial=0) <= 1


@given(st.lists(st.tuples(st.integers(-3, WIDTH + 3), st.integers(-3, HEIGHT + 3)), min_size=3, max_size=8))
@examples(200)
def test_sound_polygons_are_filled_as_pycocotools_does(points: list[tuple[int, int]]) -> None:
    flat = [float(v) for point in points for v in point]
    mask = outcome(lambda: decode_segmentation([flat], HEIGHT, WIDTH))
    theirs = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([flat], HEIGHT, WIDTH)))
    assert mask is not None
    assert (mask == theirs).all()


@given(st.binary(min_size=HEIGHT * WIDTH // 8, max_size=HEIGHT * WIDTH // 8))
@examples(100)
def test_any_mask_comes_back_from_its_rle(bits: bytes) -> None:
    mask = np.unpackbits(np.frombuffer(bits, dtype=np.uint8)).reshape(HEIGHT, WIDTH)
    back = outcome(lambda: decode_segmentation(rle(mask), HEIGHT, WIDTH))
    assert back is not None
    assert (back == mask).all()


def test_the_checker_of_folders_says_it_all(tmp_path: Path) -> None:
    """The same broken files in a folder: the linter reports, and never falls over itself."""
    write_images(tmp_path, base())
    path = tmp_path / "instances_train.json"
    for seed in range(times(120)):
        write_json(path, broken_tree(base(), random.Random(seed)))
        report = outcome(lambda: check_data(tmp_path, workers=0, progress=False), tmp_path)
        if report is not None:
            json.dumps(report.as_dict(), allow_nan=False)
            assert "errors" in report.as_text()


def test_whole_folders_with_broken_entries(tmp_path: Path) -> None:
    """From the folder to the samples with their maps, as training takes it."""
    write_images(tmp_path, base())
    path = tmp_path / "all.json"
    for seed in range(times(120)):
        write_json(path, broken_tree(base(), random.Random(f"folder {seed}")))
        found = outcome(lambda: find_data(tmp_path), tmp_path)
        if found is None:
            continue
        semantic = outcome(lambda found=found: semantic_classes(found), tmp_path)
        if semantic is not None:
            dataset = CocoDataset(found.train, semantic)
            outcome(lambda dataset=dataset: [dataset[i] for i in range(len(dataset))], tmp_path)


def test_what_is_read_can_be_evaluated(tmp_path: Path) -> None:
    """The truth as its own detections: whatever ids and areas a file has, every class is found whole."""
    path = tmp_path / "a.json"
    for seed in range(times(60)):
        draw = random.Random(seed)
        made = base()
        ids = draw.sample([1, 2, 5, 2**31 + 1, 2**40, 2**53 - 1, 7_000_000], 2)
        for k, image in enumerate(made["images"]):
            for row in made["annotations"]:
                if row["image_id"] == k + 1:
                    row["image_id"] = -ids[k]
            image["id"] = ids[k]
        renamed = dict(zip((3, 7), draw.sample([0, 1, 90, 2**31 + 1, 2**40], 2), strict=True))
        numbers = draw.sample([0, 1, 2, 3, 10, 2**31 + 5, 2**52], len(made["annotations"]))
        for row, number in zip(made["annotations"], numbers, strict=True):
            row |= {
                "image_id": abs(row["image_id"]),
                "id": number,
                "category_id": renamed[row["category_id"]],
            }
        for category in made["categories"]:
            category["id"] = renamed[category["id"]]
        write_json(path, made)
        coco = outcome(lambda: read_coco(path), path)
        assert coco is not None
        truth = coco.as_dict()
        found = []
        for row in truth["annotations"]:
            if not row["iscrowd"]:
                mask = decode_mask(row, HEIGHT, WIDTH)
                found.append({**row, "segmentation": rle(mask), "score": 0.9})
        for engine in ("hotcoco", "pycocotools"):
            with contextlib.redirect_stdout(io.StringIO()):
                result = evaluate(truth, found, "segm", engine)
            assert result["AP"] > 99.0, (engine, ids, renamed, numbers)
