"""Paired intervals: right where they can be checked, wide where images are few, zero for equal runs."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from htc_lab.errors import InputError
from htc_lab.evaluate.coco_ap import encode_masks, evaluate
from htc_lab.evaluate.statistics import (
    Interval,
    by_category,
    interval_ends,
    match_images,
    paired_bootstrap,
    paired_over_seeds,
    resampled_precision,
    verdict,
)

SIDE = 48
CATEGORIES = [{"id": 3, "name": "ring"}, {"id": 7, "name": "disc"}]


def mask_of(box: list[int]) -> dict[str, Any]:
    x, y, w, h = box
    mask = torch.zeros((1, SIDE, SIDE), dtype=torch.bool)
    mask[0, y : y + h, x : x + w] = True
    return encode_masks(mask)[0]


def scenes(images: int, seed: int = 0) -> dict[str, Any]:
    """Square images with two to four boxes of either class each."""
    rng = np.random.default_rng(seed)
    annotations = []
    for image_id in range(1, images + 1):
        for _ in range(rng.integers(2, 5)):
            box = [int(side) for side in (*rng.integers(0, 24, 2), *rng.integers(8, 22, 2))]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": int(rng.choice([3, 7])),
                    "bbox": box,
                    "area": box[2] * box[3],
                    "segmentation": mask_of(box),
                    "iscrowd": int(rng.random() < 0.05),
                }
            )
    sizes = [{"id": image_id, "height": SIDE, "width": SIDE} for image_id in range(1, images + 1)]
    return {"images": sizes, "annotations": annotations, "categories": CATEGORIES}


def detect(truth: dict[str, Any], noise: float, seed: int) -> list[dict[str, Any]]:
    """Each object's box, off by ``noise`` px, now and then missed, with false alarms."""
    rng = np.random.default_rng(seed)
    results = []
    for annotation in truth["annotations"]:
        for _ in range(rng.choice([0, 1, 2], p=[0.1, 0.7, 0.2])):
            x, y, w, h = (int(side) for side in np.round(annotation["bbox"] + rng.normal(0, noise, 4)))
            box = [max(x, 0), max(y, 0), max(w, 2), max(h, 2)]
            results.append(
                {
                    "image_id": annotation["image_id"],
                    "category_id": annotation["category_id"]
                    if rng.random() < 0.9
                    else int(rng.choice([3, 7])),
                    "bbox": box,
                    "score": float(rng.random()),
                    "segmentation": mask_of(box),
                }
            )
    return results


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_unweighted_ap_is_the_evaluations(kind: str) -> None:
    truth = scenes(25)
    a, b = detect(truth, 2.0, seed=1), detect(truth, 1.0, seed=2)
    interval = paired_bootstrap(truth, a, b, kind=kind, resamples=50)
    expected = evaluate(truth, b, kind, "pycocotools")["AP"] - evaluate(truth, a, kind, "pycocotools")["AP"]
    assert interval.value == pytest.approx(expected, abs=1e-9)
    assert interval.low < interval.value < interval.high


def test_a_draw_is_the_evaluation_of_the_images_drawn() -> None:
    """Weights against the real thing: the drawn images copied out, and evaluated by the reference."""
    truth = scenes(12)
    results = detect(truth, 1.5, seed=1)
    rows = {image["id"]: row for row, image in enumerate(truth["images"])}
    categories = by_category(match_images(truth, results, "segm"), rows)
    for draw in np.random.default_rng(5).multinomial(12, np.full(12, 1 / 12), size=4):
        copies = [(image_id, 100 * image_id + n) for image_id, row in rows.items() for n in range(draw[row])]
        drawn = {
            "images": [{"id": new, "height": SIDE, "width": SIDE} for _, new in copies],
            "annotations": [
                {**item, "image_id": new}
                for old, new in copies
                for item in truth["annotations"]
                if item["image_id"] == old
            ],
            "categories": CATEGORIES,
        }
        found = [
            {**item, "image_id": new} for old, new in copies for item in results if item["image_id"] == old
        ]
        expected = evaluate(drawn, found, "segm", "pycocotools")["AP"]
        assert resampled_precision(categories, draw[None])[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("images", [1, 2, 5, 40])
def test_identical_runs_give_exactly_zero(images: int) -> None:
    truth = scenes(images)
    results = detect(truth, 1.5, seed=3)
    interval = paired_bootstrap(truth, results, [dict(result) for result in results], resamples=100)
    assert (interval.value, interval.low, interval.high) == (0, 0, 0)
    assert interval.probability_above_zero == 0.5
    assert not interval.significant


def test_the_seed_decides_the_interval() -> None:
    truth = scenes(15)
    a, b = detect(truth, 2.0, seed=1), detect(truth, 1.5, seed=2)
    first = paired_bootstrap(truth, a, b, resamples=200, seed=4)
    assert paired_bootstrap(truth, a, b, resamples=200, seed=4) == first
    assert paired_bootstrap(truth, a, b, resamples=200, seed=5) != first


def test_sign_and_symmetry() -> None:
    truth = scenes(40)
    poor, good = detect(truth, 3.0, seed=1), detect(truth, 0.3, seed=2)
    gain = paired_bootstrap(truth, poor, good, resamples=300)
    loss = paired_bootstrap(truth, good, poor, resamples=300)
    assert gain.low > 0
    assert gain.significant
    assert gain.probability_above_zero == 1
    assert (loss.value, loss.low, loss.high) == pytest.approx((-gain.value, -gain.high, -gain.low))
    assert loss.probability_above_zero == 0
    assert gain.samples == 40
    assert gain.unit == "image"


def test_equally_good_models_are_seldom_called_different() -> None:
    """Sixty pairs of models with the same error law: about one in twenty may be called different."""
    called = 0
    for trial in range(60):
        truth = scenes(20, seed=trial)
        a, b = detect(truth, 1.5, seed=1000 + trial), detect(truth, 1.5, seed=2000 + trial)
        called += paired_bootstrap(truth, a, b, kind="bbox", resamples=200).significant
    assert called <= 7


@pytest.mark.parametrize("samples", [3, 8, 20, 60])
def test_intervals_of_a_mean_cover_it(samples: int) -> None:
    """Where the statistic is a mean of normal differences, 95 in 100 intervals hold the true mean."""
    rng = np.random.default_rng(samples)
    held = 0
    trials = 400
    for _ in range(trials):
        differences = rng.normal(1.0, 4.0, samples)
        means = rng.choice(differences, (400, samples)).mean(axis=1)
        low, high = interval_ends(float(differences.mean()), means, samples)
        held += low <= 1.0 <= high
    assert 0.92 <= held / trials <= 1.0
    if samples > 30:
        assert held / trials <= 0.985


def test_few_images_are_not_trusted() -> None:
    truth = scenes(4)
    everything = [{**item, "score": 0.9} for item in truth["annotations"] if not item["iscrowd"]]
    interval = paired_bootstrap(truth, [], everything, resamples=200)
    assert interval.value == pytest.approx(100)
    assert not interval.significant
    one = paired_bootstrap(scenes(1), [], detect(scenes(1), 1.0, seed=1), resamples=50)
    assert (one.low, one.high) == (-100, 100)


def test_images_without_evidence_do_not_make_the_interval_surer() -> None:
    truth = scenes(4)
    bare = [{"id": 50 + n, "height": SIDE, "width": SIDE} for n in range(60)]
    padded = {**truth, "images": [*truth["images"], *bare]}
    interval = paired_bootstrap(padded, detect(truth, 3.0, seed=1), detect(truth, 0.2, seed=2), resamples=300)
    assert interval.samples == 4
    assert not interval.significant


@pytest.mark.parametrize("images", [1, 2, 3, 7])
@pytest.mark.parametrize("resamples", [1, 25])
def test_odd_inputs_do_not_crash(images: int, resamples: int) -> None:
    truth = scenes(images)
    some = detect(truth, 2.0, seed=1)
    for a, b in ((some, []), ([], some), ([], []), (some, some[: len(some) // 2])):
        interval = paired_bootstrap(truth, a, b, resamples=resamples)
        assert -100 <= interval.low <= interval.value <= interval.high <= 100 or resamples == 1
        assert 0 <= interval.probability_above_zero <= 1


def test_one_annotated_image_among_many() -> None:
    """Most draws then hold no object and say nothing."""
    truth = scenes(12)
    truth["annotations"] = [item for item in truth["annotations"] if item["image_id"] == 5]
    interval = paired_bootstrap(truth, [], detect(truth, 0.5, seed=1), resamples=100)
    assert (interval.low, interval.high) == (-100, 100)


def test_no_truth_cannot_be_compared() -> None:
    truth = scenes(3)
    results = detect(truth, 1.0, seed=1)
    interval = paired_bootstrap({**truth, "annotations": []}, results, results)
    assert math.isnan(interval.value)
    assert not interval.significant
    assert "cannot be compared" in verdict("A", "B", interval)


def test_too_few_resamples_is_an_input_error() -> None:
    with pytest.raises(InputError, match="resamples: 0"):
        paired_bootstrap(scenes(1), [], [], resamples=0)


def test_over_seeds_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, standard error 1/sqrt(3), t(0.975, 2) = 4.302653."""
    interval = paired_over_seeds([30.0, 31.0, 29.0], [31.0, 33.0, 32.0])
    assert interval is not None
    reach = 4.302653 / math.sqrt(3)
    assert (interval.value, interval.low, interval.high) == pytest.approx((2, 2 - reach, 2 + reach), abs=1e-5)
    assert interval.probability_above_zero == pytest.approx(0.962910, abs=1e-4)
    assert (interval.samples, interval.unit) == (3, "seed")


def test_over_seeds_at_the_edges() -> None:
    assert paired_over_seeds([30.0], [31.0]) is None
    assert paired_over_seeds([30.0, 31.0], [30.0, 31.0]) == Interval(0.0, 0.0, 0.0, 0.5, 2, "seed")
    two = paired_over_seeds([30.0, 30.0], [31.0, 32.0])
    assert two is not None
    assert two.high - two.low > 10
    with pytest.raises(InputError, match="2 values beside 1"):
        paired_over_seeds([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="0 values beside 0"):
        paired_over_seeds([], [])
    with pytest.raises(InputError, match="not finite"):
        paired_over_seeds([1.0, math.nan], [1.0, 2.0])


def test_verdicts_in_words() -> None:
    better = Interval(1.24, 0.31, 2.2, 0.99, 40, "image")
    assert verdict("plain cascade", "HTC", better) == (
        "HTC is better than plain cascade by 1.2 AP points (95 % interval +0.3 to +2.2, 40 images)."
    )
    worse = dataclasses.replace(better, value=-1.24, low=-2.2, high=-0.31, unit="seed", samples=3)
    assert (
        verdict("A", "B", worse)
        == "B is worse than A by 1.2 AP points (95 % interval -2.2 to -0.3, 3 seeds)."
    )
    unsure = dataclasses.replace(better, low=-0.5, samples=1)
    assert verdict("A", "B", unsure) == (
        "The difference of +1.2 AP points between B and A is not significant "
        "(95 % interval -0.5 to +2.2, 1 image)."
    )
    touching = dataclasses.replace(better, low=0.0)
    assert "not significant" in verdict("A", "B", touching)
