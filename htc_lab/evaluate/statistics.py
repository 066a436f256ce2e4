"""Is the difference between two models real? Paired intervals over images and over seeds, and a verdict.

Two models are tested on the same images, so their difference varies far less than either AP does. The
bootstrap keeps the pairing: each resample draws images with replacement, and both models are evaluated on
the same draw.

A plain percentile interval is too short when there are few images. Three things keep it honest:

* the percentiles are moved out to where a t-interval would end (the "expanded percentile" interval,
  Hesterberg, What Teachers Should Know About the Bootstrap, 2015); with many images they are the plain ones;
* below ``FEW_IMAGES``, the t-interval itself, from the bootstrap's standard error, must lie inside as well;
* below ``SIGN_IMAGES``, no paired test can reach 95 %, even if all images agree, so zero always lies inside.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from htc_lab.errors import InputError
from htc_lab.evaluate.coco_ap import Kind, match_images
from htc_lab.wording import signed

LEVEL = 0.95
FEW_IMAGES = 30
SIGN_IMAGES = 6  # all n signs equal has a two-sided probability of 2 / 2^n, first below 0.05 at n = 6

_RECALLS = np.linspace(0.0, 1.0, 101)
# Resamples are processed in blocks, so that a block's (resamples, detections) tables stay within about 32 MB.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A difference in AP points, b minus a, and its 95 % interval.

    Attributes:
        value: the observed difference; NaN if there is nothing to compare.
        low: lower end of the interval.
        high: upper end of the interval.
        probability_above_zero: the share of resamples (over seeds: of the t-distribution) in which b is
            ahead; a tie counts half.
        samples: how many images or seeds the interval is based on.
        unit: whether these are images or seeds.
    """

    value: float
    low: float
    high: float
    probability_above_zero: float
    samples: int
    unit: Literal["image", "seed"]

    @property
    def significant(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Category:
    """The detections of one category in AP order: best score first, equal scores in image order.

    Attributes:
        images: (d,) the index of each detection's image in the list of images.
        hit: (10, d) whether it found an object, by IoU threshold.
        counted: (10, d) whether it counts; a detection on a crowd doesn't.
        objects: (n,) the number of objects to find, by image.
    """

    images: np.ndarray
    hit: np.ndarray
    counted: np.ndarray
    objects: np.ndarray


def paired_bootstrap(
    truth: dict[str, Any],
    results_a: list[dict[str, Any]],
    results_b: list[dict[str, Any]],
    kind: Kind = "segm",
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The difference in AP (IoU 0.5 to 0.95) between two sets of detections, b minus a, by resampling images.

    The same arguments give the same interval. Detections that match in the same way give exactly [0, 0].

    Args:
        truth: COCO data set, as for ``evaluate``.
        results_a: COCO result entries of one model.
        results_b: those of the other.
        kind: "segm" for mask AP, "bbox" for box AP.
        resamples: the number of draws of the images.
        seed: for the draws.

    Returns:
        The interval, within [-100, 100]. ``samples`` counts the images that have objects or detections. Its
        values are NaN if the truth contains no objects.

    Raises:
        InputError: as for ``evaluate``, or ``resamples`` is below 1.
    """
    if resamples < 1:
        raise InputError(f"resamples: {resamples} is too few; give at least 1 (1000 is usual)")
    rows = {image["id"]: row for row, image in enumerate(truth.get("images", []))}
    matches_a, matches_b = (match_images(truth, results, kind) for results in (results_a, results_b))
    a, b = by_category(matches_a, rows), by_category(matches_b, rows)
    images = len({match["image_id"] for match in (*matches_a, *matches_b)})

    def difference(draws: np.ndarray) -> np.ndarray:
        return resampled_precision(b, draws) - resampled_precision(a, draws)

    return over_images(difference, len(rows), images, resamples, seed)


def over_images(
    difference: Callable[[np.ndarray], np.ndarray], rows: int, images: int, resamples: int, seed: int
) -> Interval:
    """Any difference of two models, b minus a, by resampling images.

    Args:
        difference: its values (r,) in points for (r, rows) draws: how often each image was drawn; NaN if a
            draw contains nothing to measure.
        rows: the number of images.
        images: how many of them the difference depends on.
        resamples: the number of draws of the images.
        seed: for the draws.

    Returns:
        The interval; exactly [0, 0] if every draw gives both models the same value, NaN if the images
        themselves contain nothing to measure.
    """
    value = float(difference(np.ones((1, rows), dtype=np.int64))[0])
    if math.isnan(value):
        return Interval(value, math.nan, math.nan, math.nan, images, "image")
    draws = np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), size=resamples)
    differences = difference(draws)
    # A draw with nothing to measure says nothing about either model.
    differences = differences[~np.isnan(differences)]
    if value == 0 and not differences.any():
        return Interval(0.0, 0.0, 0.0, 0.5, images, "image")
    low, high = interval_ends(value, differences, images)
    return Interval(value, low, high, share_above_zero(differences), images, "image")


def paired_over_seeds(a: Sequence[float], b: Sequence[float]) -> Interval | None:
    """The mean difference over training seeds, b minus a, with a paired t-interval.

    Args:
        a: AP of one model in points, one value per seed.
        b: AP of the other, for the same seeds in the same order.

    Returns:
        The interval, or None for a single seed, which says nothing about the spread.

    Raises:
        InputError: the two differ in length, are empty, or contain a value that is not finite.
    """
    if len(a) != len(b) or not len(a):
        raise InputError(f"seeds: {len(a)} values beside {len(b)}; give both models' AP for the same seeds")
    differences = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    if not np.isfinite(differences).all():
        raise InputError("seeds: an AP is not finite; evaluate on images that contain objects")
    samples = len(differences)
    if samples == 1:
        return None
    value, error = float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(samples)
    if error == 0:
        return Interval(value, value, value, 0.5 + 0.5 * float(np.sign(value)), samples, "seed")
    reach = float(stats.t.ppf(0.5 + LEVEL / 2, samples - 1)) * error
    above = float(stats.t.cdf(value / error, samples - 1))
    return Interval(value, value - reach, value + reach, above, samples, "seed")


def verdict(name_a: str, name_b: str, interval: Interval) -> str:
    """One plain sentence on whether b is better than a; "not significant" if the interval contains zero."""
    if math.isnan(interval.value):
        return f"{name_a} and {name_b} cannot be compared: the images contain no objects to find."
    basis = f"{interval.samples} {interval.unit}" + ("s" if interval.samples != 1 else "")
    limits = f"95 % interval {signed(interval.low)} to {signed(interval.high)}, {basis}"
    if interval.significant:
        side = "better" if interval.value > 0 else "worse"
        return f"{name_b} is {side} than {name_a} by {abs(interval.value):.1f} AP points ({limits})."
    difference = f"The difference of {signed(interval.value)} AP points between {name_b} and {name_a}"
    return f"{difference} is not significant ({limits})."


def by_category(matches: list[dict[str, Any]], rows: dict[int, int]) -> dict[int, Category]:
    grouped: dict[int, list[dict[str, Any]]] = {}
    for match in matches:
        grouped.setdefault(match["category_id"], []).append(match)
    categories = {}
    for category_id, group in grouped.items():
        objects = np.zeros(len(rows), dtype=np.int64)
        for match in group:
            objects[rows[match["image_id"]]] = sum(match["gtInDenominator"])
        if objects.any():
            scores = _joined(group, "dtScores", np.float64)
            order = np.argsort(-scores[0], kind="stable")
            images = np.repeat(
                [rows[match["image_id"]] for match in group], [len(m["dtScores"]) for m in group]
            )
            counted = ~_joined(group, "dtIgnore", np.bool_)[:, order]
            hit = _joined(group, "dtMatched", np.bool_)[:, order] & counted
            categories[category_id] = Category(images[order], hit, counted, objects)
    return categories


def _joined(matches: list[dict[str, Any]], field: str, dtype: type) -> np.ndarray:
    """A field of all images side by side: (1 or 10, d), one column per detection."""
    return np.concatenate([np.atleast_2d(np.asarray(match[field], dtype=dtype)) for match in matches], axis=1)


def resampled_precision(categories: dict[int, Category], draws: np.ndarray) -> np.ndarray:
    """AP in points, (r,), for (r, n) draws: how often each image was drawn. NaN if no object was drawn."""
    total, present = np.zeros(len(draws)), np.zeros(len(draws))
    for category in categories.values():
        rows = max(1, _BLOCK // max(1, len(category.images)))
        for start in range(0, len(draws), rows):
            block = slice(start, start + rows)
            objects = draws[block] @ category.objects
            total[block] += _category_precision(category, draws[block], objects)
            present[block] += objects > 0
    with np.errstate(invalid="ignore"):
        return 100.0 * total / present


def _category_precision(category: Category, draws: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Mean over thresholds and recalls of the interpolated precision, (r,); 0 if no object was drawn.

    An image drawn w times stands for w copies, so its detections have weight w. Precision peaks at hits, so
    it is only computed there; each hit stands for the recall levels it is the first to reach.
    """
    weights = draws[:, category.images]
    everything = np.cumsum(weights, axis=1)
    precision_sum = np.zeros(len(draws))
    for hit, counted in zip(category.hit, category.counted, strict=True):
        at = np.flatnonzero(hit)
        if not len(at):
            continue
        found = np.cumsum(weights[:, at], axis=1)
        seen = (everything if counted.all() else np.cumsum(weights * counted, axis=1))[:, at]
        precision = found / (seen + np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = found / np.maximum(objects, 1)[:, None]
        reached = np.searchsorted(_RECALLS, recall, side="right")
        precision_sum += (envelope * np.diff(reached, axis=1, prepend=0)).sum(axis=1)
    return precision_sum / (len(category.hit) * len(_RECALLS))


def interval_ends(value: float, differences: np.ndarray, images: int) -> tuple[float, float]:
    """The ends of the interval, by the rules in this module's docstring."""
    if images < 2 or not len(differences):
        return -100.0, 100.0
    widening = math.sqrt(images / (images - 1))
    quantile = float(stats.t.ppf(0.5 + LEVEL / 2, images - 1)) * widening
    tail = float(stats.norm.cdf(-quantile))
    low, high = (float(end) for end in np.quantile(differences, (tail, 1 - tail)))
    if images < FEW_IMAGES:
        reach = quantile * float(differences.std())
        low, high = min(low, value - reach), max(high, value + reach)
    if images < SIGN_IMAGES:
        low, high = min(low, 0.0), max(high, 0.0)
    return max(low, -100.0), min(high, 100.0)


def share_above_zero(differences: np.ndarray) -> float:
    if not len(differences):
        return 0.5
    return float(np.mean(differences > 0) + 0.5 * np.mean(differences == 0))
