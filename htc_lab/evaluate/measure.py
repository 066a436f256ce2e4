"""A quantity measured on test images in a way that also works for any resample of them.

So every quantity, such as the AP of some objects or a share of decoys, gets the same paired interval that
:mod:`htc_lab.evaluate.statistics` computes for mask AP.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from htc_lab.evaluate.statistics import (
    Category,
    Interval,
    by_category,
    over_images,
    paired_over_seeds,
    resampled_precision,
)


@dataclass(frozen=True)
class Measure:
    """One quantity of one model, in points (0..100).

    Attributes:
        at: its values (r,) for (r, n) draws: how often each of the n images was drawn; NaN if a draw contains
            nothing to measure.
        rests_on: (n,) bool, the images it depends on.
    """

    at: Callable[[np.ndarray], np.ndarray]
    rests_on: np.ndarray

    @property
    def value(self) -> float:
        """The value on the images themselves, each once; NaN if there is nothing to measure."""
        return float(self.at(np.ones((1, len(self.rests_on)), dtype=np.int64))[0])


def rows_of(truth: Mapping[str, Any]) -> dict[int, int]:
    """The index of each image id in the list of images."""
    return {image["id"]: row for row, image in enumerate(truth["images"])}


def precision(matches: list[dict[str, Any]], rows: Mapping[int, int]) -> Measure:
    """AP (the mean over the IoU thresholds in ``matches``) from what ``match_images`` returns."""
    seen = np.zeros(len(rows), dtype=np.bool_)
    seen[[rows[match["image_id"]] for match in matches]] = True
    return of_categories(by_category(matches, dict(rows)), seen)


def of_categories(categories: dict[int, Category], rests_on: np.ndarray) -> Measure:
    """AP of detections in AP order, category by category."""
    return Measure(lambda draws: resampled_precision(categories, draws), rests_on)


def share(part: np.ndarray, whole: np.ndarray) -> Measure:
    """``part`` as a percentage of ``whole``, both (n,) counts by image."""

    def at(draws: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return 100.0 * (draws @ part) / (draws @ whole)

    return Measure(at, whole > 0)


def difference(first: Measure, second: Measure) -> Measure:
    """``second`` minus ``first``, both on the same draw."""
    return Measure(lambda draws: second.at(draws) - first.at(draws), first.rests_on | second.rests_on)


def paired(
    first: Sequence[Measure], second: Sequence[Measure], resamples: int = 1000, seed: int = 0
) -> Interval:
    """``second`` minus ``first`` with a 95 % interval.

    Args:
        first: the quantity for one model, one measure per training seed.
        second: the same for another model, with the same seeds in the same order.
        resamples: the number of draws of the images; only used with a single seed.
        seed: for the draws.

    Returns:
        The interval over the seeds, paired; with a single seed, over the images, by a paired bootstrap, which
        can't know how another training would have turned out.

    Raises:
        InputError: the two differ in length, or there is nothing to measure with several seeds.
    """
    over_seeds = paired_over_seeds([m.value for m in first], [m.value for m in second])
    if over_seeds is not None:
        return over_seeds
    gain = difference(first[0], second[0])
    return over_images(gain.at, len(gain.rests_on), int(gain.rests_on.sum()), resamples, seed)
