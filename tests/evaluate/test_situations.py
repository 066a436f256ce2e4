"""Each situation on cases small enough to count by hand; all objects together are COCO's own AP."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htc_lab.errors import InputError
from htc_lab.evaluate.coco_ap import evaluate
from htc_lab.evaluate.measure import paired, precision, rows_of, share
from htc_lab.evaluate.situations import (
    ALL,
    SCENE_SITUATIONS,
    has_scene_attributes,
    measure_decoys,
    measure_situations,
    owners,
    situations_of,
)
from htc_lab.evaluate.statistics import match_images, paired_bootstrap
from tests.evaluate.rectangles import A, B, detection, thing, truth
from tests.evaluate.test_statistics import detect, scenes

HERE, THERE = (0, 0, 10, 10), (20, 20, 10, 10)
ATTRIBUTES: dict[str, Any] = {
    "occluded": 0.2,
    "thin": True,
    "small": True,
    "touching": True,
    "holes": True,
    "truncated": True,
}


def measured(data: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, tuple[int, float, float]]:
    found = measure_situations(data, results, situations_of(data))
    return {name: (m.objects, m.mask_ap.value, m.recall.value) for name, m in found.items()}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_situation_is_of_its_objects_alone(name: str) -> None:
    """The object in it is missed and the other found, then the other way round."""
    data = truth(thing(1, A, HERE, **{name: ATTRIBUTES[name]}), thing(1, A, THERE))
    missed = measured(data, [detection(1, A, THERE, 0.9)])
    assert missed.keys() == {"all", name}
    assert missed[name] == (1, 0.0, 0.0)
    # Half the objects, at precision 1: 51 of the 101 recall levels.
    assert missed["all"] == (2, pytest.approx(100 * 51 / 101), 50.0)
    assert measured(data, [detection(1, A, HERE, 0.9)])[name] == (1, pytest.approx(100), 100.0)


def test_little_occlusion_is_none() -> None:
    data = truth(thing(1, A, HERE, occluded=0.1), thing(1, A, THERE, occluded=0.11))
    assert measured(data, [])["occluded"][0] == 1


def test_detections_of_other_objects_do_not_count() -> None:
    """Better scored, inexact, doubled, of the wrong class: if they are of an object outside, they are out."""
    data = truth(thing(1, A, HERE, thin=True), thing(1, A, THERE))
    inexact, wide = (20, 20, 10, 6), (20, 20, 14, 14)
    others = [detection(1, A, THERE, 0.99), detection(1, A, inexact, 0.98), detection(1, B, wide, 0.97)]
    found = measured(data, [*others, detection(1, A, HERE, 0.9)])
    assert found["thin"] == (1, pytest.approx(100), 100.0)


def test_detections_of_nothing_are_false_everywhere() -> None:
    data = truth(thing(1, A, HERE, thin=True), thing(1, A, THERE))
    found = measured(data, [detection(1, A, (0, 30, 5, 5), 0.99), detection(1, A, HERE, 0.9)])
    assert found["thin"][1] == pytest.approx(50)


def test_inexact_and_doubled_detections_inside_count() -> None:
    data = truth(thing(1, A, HERE, thin=True))
    # 60 of 100 px: right at IoU 0.5, 0.55 and 0.6, three of the ten thresholds.
    assert measured(data, [detection(1, A, (0, 0, 10, 6), 0.9)])["thin"][1] == pytest.approx(30)
    # Best first; a second detection after the last object found takes nothing away, one before it does.
    first = [detection(1, A, (0, 0, 10, 4), 0.95), detection(1, A, HERE, 0.9)]
    assert measured(data, first)["thin"][1] == pytest.approx(50)


def test_recall_needs_a_score() -> None:
    data = truth(thing(1, A, HERE, holes=True), thing(1, A, THERE, holes=True))
    found = measured(data, [detection(1, A, HERE, 0.5), detection(1, A, THERE, 0.49)])
    assert found["holes"] == (2, pytest.approx(100), 50.0)


def test_crowds_are_no_objects_and_forgive() -> None:
    data = truth(thing(1, A, HERE, thin=True), thing(1, A, (20, 20, 20, 20), crowd=1, thin=True))
    found = measured(data, [detection(1, A, THERE, 0.99), detection(1, A, HERE, 0.9)])
    assert found["thin"] == (1, pytest.approx(100), 100.0)


def test_the_owner_is_the_object_overlapped_most() -> None:
    data = truth(thing(1, A, (0, 0, 10, 10)), thing(1, B, (10, 0, 10, 10)))
    boxes = [(4, 0, 10, 10), (8, 0, 10, 10), (0, 30, 5, 5), (0, 0, 10, 10)]
    results = [detection(1, A, box, 0.9) for box in boxes]
    owner, finds = owners(data, results)
    assert owner.tolist() == [0, 1, -1, 0]
    assert finds.tolist() == [False, False, False, True]


def test_other_data_goes_by_size() -> None:
    data = truth(thing(1, A, HERE), thing(1, A, (0, 0, 40, 40)))
    for annotation in data["annotations"]:
        del annotation["attributes"]
    assert not has_scene_attributes(data)
    assert [s.name for s in situations_of(data)] == ["all", "small", "medium"]
    assert measured(data, [detection(1, A, HERE, 0.9)])["small"] == (1, pytest.approx(100), 100.0)


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), noise=st.floats(0.0, 3.0))
def test_all_objects_are_the_ordinary_ap(engine: str, seed: int, noise: float) -> None:
    data = scenes(6, seed)
    results = detect(data, noise, seed + 1)
    found = measure_situations(data, results, [ALL])["all"].mask_ap.value
    expected = evaluate(data, results, "segm", engine)["AP"]  # type: ignore[arg-type]
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_the_interval_of_all_objects_is_that_of_the_bootstrap() -> None:
    data = scenes(20)
    a, b = detect(data, 2.0, 1), detect(data, 1.0, 2)
    rows = rows_of(data)
    found = paired(*([precision(match_images(data, r, "segm"), rows)] for r in (a, b)), resamples=100)
    expected = paired_bootstrap(data, a, b, resamples=100)
    assert found == expected


def test_paired_over_seeds_and_equal_runs() -> None:
    def of(percent: int) -> Any:
        return share(np.asarray([percent]), np.asarray([100]))

    gain = paired([of(10), of(20), of(30)], [of(12), of(24), of(36)])
    assert (gain.value, gain.samples, gain.unit) == (pytest.approx(4), 3, "seed")
    # Differences 2, 4, 6: standard error 2 / √3, t of two degrees of freedom 4.303.
    assert gain.low == pytest.approx(4 - 4.30265 * 2 / math.sqrt(3), abs=1e-4)
    same = paired([of(10)], [of(10)])
    assert (same.value, same.low, same.high, same.unit) == (0, 0, 0, "image")
    with pytest.raises(InputError, match="seeds"):
        paired([of(1)], [of(1), of(2)])


DECOYS = [
    {"looks_like": "boat", "stuff": "wall", "bbox": [0, 0, 10, 10]},
    {"looks_like": "kite", "stuff": "wall", "bbox": [20, 20, 10, 10]},
]


@pytest.mark.parametrize(
    ("results", "taken"),
    [
        ([], 0),
        ([detection(1, A, (0, 0, 10, 5), 0.5)], 50),
        ([detection(1, A, (0, 0, 10, 4), 0.9)], 0),
        ([detection(1, A, HERE, 0.49)], 0),
        ([detection(1, B, HERE, 0.9)], 0),
        ([detection(1, A, HERE, 0.9), detection(1, A, HERE, 0.8)], 50),
        ([detection(1, A, HERE, 0.9), detection(1, B, THERE, 0.8)], 100),
        ([detection(2, A, HERE, 0.9)], 0),
    ],
)
def test_decoys(results: list[dict[str, Any]], taken: float) -> None:
    data = truth(thing(1, A, (0, 30, 5, 5)), images=2, decoys=DECOYS)
    measure = measure_decoys(data, results)
    assert measure is not None
    assert measure.value == taken


def test_a_true_object_beside_a_decoy_is_not_held_against_it() -> None:
    data = truth(thing(1, A, (0, 0, 10, 9)), decoys=DECOYS[:1])
    measure = measure_decoys(data, [detection(1, A, (0, 0, 10, 9), 0.9)])
    assert measure is not None
    assert measure.value == 0


def test_no_decoys_no_share() -> None:
    assert measure_decoys(truth(thing(1, A, HERE)), []) is None


def test_attributes_are_those_the_scenes_write(scenes: Any) -> None:
    """Of a made tree, so that a renamed attribute is met here."""
    from htc_lab.data.layout import find_data

    data = find_data(scenes).test.coco.as_dict()
    assert has_scene_attributes(data)
    assert {s.name for s in SCENE_SITUATIONS} == data["annotations"][0]["attributes"].keys()
    names = {category["name"] for category in data["categories"]}
    assert all(decoy["looks_like"] in names for image in data["images"] for decoy in image["decoys"])
