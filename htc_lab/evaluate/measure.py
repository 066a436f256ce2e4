"""A quantity measured on test images in such a way that it can be measured on any resample of them too.

That gives every quantity, AP of a few objects or a share of decoys, the same paired interval that
:mod:`htc_lab.evaluate.statistics` gives mask AP.
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
        at: its values (r,) for (r, n) draws: how often each of the n images was drawn; nan where a draw holds
            nothing to measure.
        rests_on: (n,) bool, the images that have a say in it.
    """

    at: Callable[[np.ndarray], np.ndarray]
    rests_on: np.ndarray

    @property
    def value(self) -> float:
        """On the images as they are, each once. nan where there is nothing to measure."""
        return float(self.at(np.ones((1, len(self.rests_on)), dtype=np.int64))[0])


def rows_of(truth: Mapping[str, Any]) -> dict[int, int]:
    """Each image id's place in the list of images."""
    return {image["id"]: row for row, image in enumerate(truth["images"])}


def precision(matches: list[dict[str, Any]], rows: Mapping[int, int]) -> Measure:
    """AP (the mean over the IoU thresholds in ``matches``), of what ``match_images`` returns."""
    seen = np.zeros(len(rows), dtype=np.bool_)
    seen[[rows[match["image_id"]] for match in matches]] = True
    return of_categories(by_category(matches, dict(rows)), seen)


def of_categories(categories: dict[int, Category], rests_on: np.ndarray) -> Measure:
    """AP of detections in AP order, category by category."""
    return Measure(lambda draws: resampled_precision(categories, draws), rests_on)


def share(part: np.ndarray, whole: np.ndarray) -> Measure:
    """How much of ``whole`` is in ``part``: (n,) counts by image."""

    def at(draws: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return 100.0 * (draws @ part) / (draws @ whole)

    return Measure(at, whole > 0)


def difference(first: Measure, second: Measure) -> Measure:
    """``second`` minus ``first``, both taken on the same draw."""
    return Measure(lambda draws: second.at(draws) - first.at(draws), first.rests_on | second.rests_on)


def paired(
    first: Sequence[Measure], second: Sequence[Measure], resamples: int = 1000, seed: int = 0
) -> Interval:
    """``second`` minus ``first`` with a 95 % interval.

    Args:
        first: the quantity of one model, a measure a training seed.
        second: the same of another, for the same seeds in the same order.
        resamples: draws of the images; used with a single seed only.
        seed: of the draws.

    Returns:
        Over the seeds, paired; with a single seed over the images, by a paired bootstrap, which knows nothing
        of how another training would have come out.

    Raises:
        InputError: the two differ in length, or several seeds measure nothing.
    """
    over_seeds = paired_over_seeds([m.value for m in first], [m.value for m in second])
    if over_seeds is not None:
        return over_seeds
    gain = difference(first[0], second[0])
    return over_images(gain.at, len(gain.rests_on), int(gain.rests_on.sum()), resamples, seed)
