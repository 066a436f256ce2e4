"""Both evaluation engines must give the same twelve numbers, on real and on adversarial detections."""

import copy
import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hotcoco import mask as rle
from hypothesis import given, settings
from hypothesis import strategies as st

from htc_lab.errors import InputError
from htc_lab.evaluate.checked_input import check_choice
from htc_lab.evaluate.coco_ap import STATISTICS, coco_results, encode_masks, evaluate, match_images
from htc_lab.structures import Detections

KINDS = ("bbox", "segm")


TRUTH: dict[str, Any] = json.loads((Path(__file__).parent / "coco_excerpt.json").read_text())


@pytest.fixture
def truth() -> dict[str, Any]:
    return TRUTH


def rectangle(height: int, width: int, x: int, y: int, w: int, h: int) -> dict[str, Any]:
    """The RLE of a box filled with ones."""
    mask = torch.zeros((1, height, width), dtype=torch.bool)
    mask[0, y : y + h, x : x + w] = True
    return encode_masks(mask)[0]


def entry(
    image: dict[str, Any], category: int, box: tuple[int, int, int, int], score: float
) -> dict[str, Any]:
    return {
        "image_id": image["id"],
        "category_id": category,
        "bbox": [float(side) for side in box],
        "score": score,
        "segmentation": rectangle(image["height"], image["width"], *box),
    }


@functools.cache
def moved_masks() -> list[list[tuple[int, int, dict[str, Any]]]]:
    """Four shifted copies (dx, dy, RLE) of each object's mask."""
    rng = np.random.default_rng(0)
    moved = []
    for annotation in TRUTH["annotations"]:
        mask = torch.from_numpy(rle.decode(annotation["segmentation"]).astype(bool))
        shifts = [(int(dx), int(dy)) for dx, dy in rng.integers(-4, 5, (4, 2))]
        codes = encode_masks(torch.stack([mask.roll((dy, dx), (0, 1)) for dx, dy in shifts]))
        moved.append([(dx, dy, code) for (dx, dy), code in zip(shifts, codes, strict=True)])
    return moved


def jittered(truth: dict[str, Any], seed: int, copies: int = 3, decimals: int = 6) -> list[dict[str, Any]]:
    """Every object found ``copies`` times, shifted, sometimes under another class, with random scores."""
    rng = np.random.default_rng(seed)
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    categories = [category["id"] for category in truth["categories"]]
    results = []
    for annotation, moved in zip(truth["annotations"], moved_masks(), strict=True):
        for _ in range(copies):
            dx, dy, code = moved[rng.integers(len(moved))]
            x, y, w, h = annotation["bbox"]
            height, width = sizes[annotation["image_id"]]
            results.append(
                {
                    "image_id": annotation["image_id"],
                    "category_id": annotation["category_id"]
                    if rng.random() < 0.85
                    else int(rng.choice(categories)),
                    "bbox": [
                        min(max(x + dx, 0.0), width - 1.0),
                        min(max(y + dy, 0.0), height - 1.0),
                        w * float(rng.uniform(0.8, 1.25)),
                        h * float(rng.uniform(0.8, 1.25)),
                    ],
                    "score": round(float(rng.random()), decimals),
                    "segmentation": code,
                }
            )
    return results


def assert_engines_agree(truth: dict[str, Any], results: list[dict[str, Any]], kind: str) -> dict[str, float]:
    reference = evaluate(truth, results, kind, "pycocotools")
    fast = evaluate(truth, results, kind, "hotcoco")
    assert tuple(reference) == tuple(fast) == STATISTICS
    np.testing.assert_allclose(list(fast.values()), list(reference.values()), rtol=0, atol=1e-9)
    return fast


@pytest.mark.parametrize("kind", KINDS)
def test_engines_agree_on_real_truth(truth: dict[str, Any], kind: str) -> None:
    statistics = assert_engines_agree(truth, jittered(truth, seed=0), kind)
    assert all(1 < value < 99 for value in statistics.values())


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_itself_scores_100(truth: dict[str, Any], kind: str) -> None:
    perfect = [
        {**annotation, "score": 0.9} for annotation in truth["annotations"] if not annotation["iscrowd"]
    ]
    statistics = assert_engines_agree(truth, perfect, kind)
    assert statistics["AP"] == pytest.approx(100)
    assert statistics["AR100"] == pytest.approx(100)


@functools.cache
def adversarial() -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
    truth = TRUTH
    base = jittered(truth, seed=1)
    image = truth["images"][0]
    category = next(a["category_id"] for a in truth["annotations"] if a["image_id"] == image["id"])
    crowds = [a for a in truth["annotations"] if a["iscrowd"]]
    in_crowds = [{**crowd, "score": 0.1 * n} for crowd in crowds for n in range(1, 6)]
    rng = np.random.default_rng(2)
    many = [
        entry(image, category, (*(int(p) for p in rng.integers(0, 150, 2)), 40, 30), float(rng.random()))
        for _ in range(250)
    ]
    nothing = [entry(image, category, (5, 5, 0, 0), 0.9), entry(image, category, (5, 5, 0, 7), 0.8)]
    annotated = {a["image_id"] for a in truth["annotations"]}
    bare = {**truth, "images": [*truth["images"], {"id": 1, "height": 60, "width": 80}]}
    assert 1 not in annotated
    zero = copy.deepcopy(truth)
    zero["annotations"][0].update(bbox=[3.0, 3.0, 0.0, 0.0], area=0, segmentation=nothing[0]["segmentation"])
    zero["annotations"][0]["image_id"] = image["id"]
    zero_ids = {**truth, "annotations": [{**a, "id": n} for n, a in enumerate(truth["annotations"])]}
    half = {image["id"] for image in truth["images"][::2]}
    return {
        "no detections": (truth, []),
        "one detection": (truth, base[:1]),
        "no annotations": ({**truth, "annotations": []}, base),
        "nothing at all": ({**truth, "annotations": []}, []),
        "no images": ({**truth, "images": [], "annotations": []}, []),
        "no categories": ({**truth, "categories": [], "annotations": []}, []),
        "only crowds": ({**truth, "annotations": crowds}, base + in_crowds),
        "detections on crowds": (truth, base + in_crowds),
        "exact duplicates": (truth, [copy.deepcopy(result) for result in base for _ in range(3)]),
        "all scores tied": (truth, [{**result, "score": 0.5} for result in base]),
        "many scores tied": (truth, jittered(truth, seed=3, decimals=1)),
        "tied, in reverse": (truth, jittered(truth, seed=3, decimals=1)[::-1]),
        "over 100 in an image": (truth, base + many),
        "over 100, tied": (truth, [{**result, "score": 0.5} for result in base + many]),
        "masks and boxes of no area": (truth, base + nothing),
        "an object of no area": (zero, base + nothing),
        "an image without truth": (bare, [*base, entry(bare["images"][-1], category, (1, 2, 20, 20), 0.99)]),
        "truth without detections": (truth, [result for result in base if result["image_id"] in half]),
        "images out of order": (
            {**truth, "images": truth["images"][::-1]},
            jittered(truth, seed=4, decimals=1),
        ),
        "an annotation with id 0": (zero_ids, base),
        "duplicate annotation ids": (
            {**truth, "annotations": [{**a, "id": 7} for a in truth["annotations"]]},
            base,
        ),
        "negative and zero scores": (truth, [{**r, "score": n % 5 - 3.0} for n, r in enumerate(base)]),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", adversarial())
def test_engines_agree_on_adversarial_input(case: str, kind: str, capfd: pytest.CaptureFixture) -> None:
    assert_engines_agree(*adversarial()[case], kind)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
@pytest.mark.parametrize("kind", KINDS)
def test_values_where_nothing_is_found_or_to_be_found(truth: dict[str, Any], kind: str, engine: str) -> None:
    assert set(evaluate(truth, [], kind, engine).values()) == {0.0}
    empty = {**truth, "annotations": []}
    assert all(math.isnan(value) for value in evaluate(empty, jittered(truth, 0), kind, engine).values())


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
def test_the_first_annotation_counts_when_its_id_is_zero(truth: dict[str, Any], engine: str) -> None:
    first = truth["annotations"][0]
    alone = {**truth, "annotations": [{**first, "id": 0}]}
    assert evaluate(alone, [{**first, "score": 1.0}], "segm", engine)["AP"] == pytest.approx(100)


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
def test_mask_size_statistics_go_by_the_masks_area(engine: str) -> None:
    """A stray large box must not carry a small mask's false alarm into the large objects."""
    image = {"id": 1, "height": 200, "width": 200}
    large = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "area": 150 * 150,
        "bbox": [0, 0, 150, 150],
        "iscrowd": 0,
    }
    large["segmentation"] = rectangle(200, 200, 0, 0, 150, 150)
    small = {**entry(image, 1, (180, 180, 10, 10), 0.9), "bbox": [50.0, 50.0, 140.0, 140.0]}
    found = entry(image, 1, (0, 0, 150, 150), 0.5)
    truth = {"images": [image], "annotations": [large], "categories": [{"id": 1, "name": "thing"}]}
    statistics = evaluate(truth, [small, found], "segm", engine)
    assert statistics["APl"] == pytest.approx(100)
    assert statistics["AP"] == pytest.approx(50)
    assert evaluate(truth, [small, found], "bbox", engine)["APl"] == pytest.approx(50)


def test_polygons_uncompressed_runs_and_absent_iscrowd() -> None:
    image = {"id": 5, "height": 40, "width": 60}
    polygon = {"id": 1, "image_id": 5, "category_id": 2, "area": 199.5, "bbox": [10, 10, 20, 10]}
    polygon["segmentation"] = [[10, 10, 30, 10, 30, 20, 10, 20], [40.5, 5.2, 50.1, 6.3, 44.7, 30.9]]
    runs = {"id": 2, "image_id": 5, "category_id": 2, "area": 40, "bbox": [0, 0, 1, 40]}
    runs["segmentation"] = {"size": [40, 60], "counts": [0, 40, 2360]}
    truth = {"images": [image], "annotations": [polygon, runs], "categories": [{"id": 2, "name": "thing"}]}
    results = [entry(image, 2, (10, 10, 20, 10), 0.9), entry(image, 2, (0, 0, 1, 30), 0.8)]
    for kind in KINDS:
        assert 20 < assert_engines_agree(truth, results, kind)["AP"] < 100


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
@pytest.mark.parametrize("kind", KINDS)
def test_arguments_are_left_alone_and_nothing_is_printed(
    truth: dict[str, Any], kind: str, engine: str, capfd: pytest.CaptureFixture
) -> None:
    results = jittered(truth, seed=5)
    before = copy.deepcopy((truth, results))
    evaluate(truth, results, kind, engine)
    assert (truth, results) == before
    assert capfd.readouterr() == ("", "")


boxes = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 6), st.integers(0, 6))
found_objects = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 2), boxes, st.sampled_from([0.1, 0.5, 0.50001, 0.9])),
    max_size=14,
)
true_objects = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 2), boxes, st.booleans()), max_size=10)


@settings(max_examples=60, deadline=None)
@given(objects=true_objects, found=found_objects, kind=st.sampled_from(KINDS))
def test_engines_agree_on_random_small_boxes(objects: list, found: list, kind: str) -> None:
    """Small whole-number boxes make equal IoUs, equal scores, nested and empty boxes common."""
    images = [{"id": number, "height": 20, "width": 20} for number in (1, 2, 3)]
    annotations = [
        {
            **entry(images[image - 1], category, box, 1.0),
            "id": number,
            "area": box[2] * box[3],
            "iscrowd": int(crowd),
        }
        for number, (image, category, box, crowd) in enumerate(objects)
    ]
    truth = {"images": images, "annotations": annotations, "categories": [{"id": 1}, {"id": 2}]}
    results = [entry(images[image - 1], category, box, score) for image, category, box, score in found]
    assert_engines_agree(truth, results, kind)


def test_match_images_is_in_order_and_complete(truth: dict[str, Any]) -> None:
    results = jittered(truth, seed=6)
    matches = match_images(truth, results, "segm")
    keys = [(match["category_id"], match["image_id"]) for match in matches]
    assert keys == sorted(
        {(item["category_id"], item["image_id"]) for item in (*truth["annotations"], *results)}
    )
    assert sum(len(match["dtScores"]) for match in matches) == len(results)
    assert sum(map(sum, (match["gtInDenominator"] for match in matches))) == len(truth["annotations"]) - 2


@pytest.mark.parametrize(
    ("field", "value", "word"), [("image_id", 99, "images"), ("category_id", 999, "categories")]
)
@pytest.mark.parametrize("where", ["truth", "results"])
def test_unknown_ids_are_an_input_error(
    truth: dict[str, Any], where: str, field: str, value: int, word: str
) -> None:
    truth, results = copy.deepcopy(truth), jittered(truth, seed=0, copies=1)
    (truth["annotations"] if where == "truth" else results)[3][field] = value
    with pytest.raises(InputError, match=rf"\[3\]: {field} {value} is not among the ground truth's {word}"):
        evaluate(truth, results, "bbox")


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
def test_broken_entries_are_an_input_error(truth: dict[str, Any], engine: str) -> None:
    results = jittered(truth, seed=0, copies=1)

    def with_result(**changes: object) -> list[dict[str, Any]]:
        return [results[0], {**results[1], **changes}]

    for score in (math.nan, -math.inf, None, "high", [0.5]):
        with pytest.raises(InputError, match=r"results\[1\]: the score is .*; give a finite number"):
            evaluate(truth, with_result(score=score), "bbox", engine)
    with pytest.raises(InputError, match=r"results\[0\]: the score is \[0.5\]; give a finite number"):
        evaluate(truth, [{**results[0], "score": [0.5]}], "bbox", engine)
    with pytest.raises(InputError, match=r"annotations\[0\]: the area is None; give a finite number"):
        evaluate({**truth, "annotations": [{**truth["annotations"][0], "area": None}]}, [], "bbox", engine)
    with pytest.raises(InputError, match=r"results\[1\]: the mask is \[3, 4\]"):
        evaluate(truth, with_result(segmentation=rectangle(3, 4, 0, 0, 1, 1)), "segm", engine)
    for box in ([1, 2, 3], [1, 2, 3, math.inf], [1, 2, 3, "4 px"], None, [[1, 2, 3, 4]]):
        with pytest.raises(InputError, match=r"results\[1\]: 'bbox' is .*; give four finite numbers"):
            evaluate(truth, with_result(bbox=box), "bbox", engine)
        annotations = [{**truth["annotations"][0], "bbox": box}]
        with pytest.raises(InputError, match=r"annotations\[0\]: 'bbox' is"):
            evaluate({**truth, "annotations": annotations}, results, "bbox", engine)
    # Together as many numbers as two boxes have.
    with pytest.raises(InputError, match=r"results\[0\]: 'bbox' is"):
        evaluate(truth, [{**result, "bbox": [1, 2]} for result in results[:4]], "bbox", engine)
    for code in (None, [[1, 2, 3, 4, 5, 6]], {"counts": "1"}):
        with pytest.raises(InputError, match=r"results\[1\]: 'segmentation' is not an RLE with a 'size'"):
            evaluate(truth, with_result(segmentation=code), "segm", engine)
    boxes_only = [
        {key: value for key, value in result.items() if key != "segmentation"} for result in results
    ]
    assert evaluate(truth, boxes_only, "bbox", engine)["AP"] > 0
    with pytest.raises(InputError, match=r"results\[0\]: the field 'segmentation' is missing"):
        evaluate(truth, boxes_only, "segm", engine)
    with pytest.raises(InputError, match="the list 'categories' is missing"):
        evaluate({"images": [], "annotations": []}, [], "bbox", engine)
    for outline in ([], [[1, 2, 3, 4]]):
        annotations = [{**truth["annotations"][0], "segmentation": outline}]
        with pytest.raises(InputError, match=r"annotations\[0\]: 'segmentation' has no polygon"):
            evaluate({**truth, "annotations": annotations}, [], "segm", engine)


def test_an_unknown_choice_is_an_input_error() -> None:
    # Asked of the check itself: under pytest a wrong Literal is stopped by the type checker before it.
    with pytest.raises(InputError, match="kind: 'keypoints' is unknown; choose one of bbox, segm"):
        check_choice("kind", "keypoints", KINDS)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(0, 4), st.integers(1, 17), st.integers(1, 17)),
    density=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_encoded_masks_decode_to_themselves(shape: tuple[int, int, int], density: float, seed: int) -> None:
    masks = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < density
    codes = encode_masks(masks)
    json.dumps(codes)
    assert len(codes) == len(masks)
    for code, mask in zip(codes, masks, strict=True):
        assert code["size"] == list(mask.shape)
        np.testing.assert_array_equal(rle.decode(code), mask.numpy())


def some_detections() -> Detections:
    masks = torch.zeros((2, 30, 50), dtype=torch.bool)
    masks[0, 5:15, 10:30] = True
    masks[1, 20:24, 1:4] = True
    return Detections(
        boxes=torch.tensor([[10.0, 5.0, 30.0, 15.0], [1.0, 20.0, 4.0, 24.5]]),
        scores=torch.tensor([0.9, 0.25]),
        labels=torch.tensor([1, 0]),
        masks=masks,
    )


def test_coco_results_of_detections() -> None:
    detections = some_detections()
    results = coco_results(17, detections, category_ids=[44, 81])
    assert json.loads(json.dumps(results)) == results
    assert [result["category_id"] for result in results] == [81, 44]
    assert [result["bbox"] for result in results] == [[10, 5, 20, 10], [1, 20, 3, 4.5]]
    assert [result["score"] for result in results] == pytest.approx([0.9, 0.25])
    assert {result["image_id"] for result in results} == {17}
    assert [int(rle.area(result["segmentation"])) for result in results] == [200, 12]


def test_coco_results_takes_another_stages_masks() -> None:
    detections = some_detections()
    other = coco_results(17, detections, [44, 81], masks=~detections.masks)
    assert [int(rle.area(result["segmentation"])) for result in other] == [30 * 50 - 200, 30 * 50 - 12]
    assert [result["bbox"] for result in other] == [
        result["bbox"] for result in coco_results(17, detections, [44, 81])
    ]


def test_coco_results_of_no_detections_and_of_a_label_too_many() -> None:
    empty = Detections(
        torch.zeros((0, 4)), torch.zeros(0), torch.zeros(0, dtype=torch.int64), torch.zeros((0, 8, 8)).bool()
    )
    assert coco_results(1, empty, [1]) == []
    with pytest.raises(InputError, match="label 1 has no category id"):
        coco_results(1, some_detections(), [44])
