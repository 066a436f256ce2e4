"""06: AP at one IoU, and whether a gain is real."""

from typing import Any

import numpy as np

from htc_lab.course.exercise import Case, Exercise, Mistake
from htc_lab.course.shared_draws import generator_of, whole


def average_precision(scores: np.ndarray, hits: np.ndarray, objects: int) -> float:
    """AP in 0..1 of one class at one IoU threshold: the mean of the interpolated precision at 101 recalls."""
    hits = hits[np.argsort(-scores, kind="stable")]
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    recall = found / objects
    place = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
    return float(np.append(precision, 0.0)[place].mean())


def _ap_cases(seed: int) -> list[Case]:
    g, rng = generator_of(seed), np.random.default_rng(seed)
    cases = []
    for found in (0.7, 0.4):
        count, objects = whole(g, 20, 40), whole(g, 25, 35)
        scores = rng.random(count)
        hits = rng.random(count) < found * (0.4 + 0.6 * scores)
        hits &= np.cumsum(hits) <= objects
        cases.append(Case(f"{count} detections, {objects} objects", (scores, hits, objects)))
    return [*cases, Case("no detections", (np.zeros(0), np.zeros(0, dtype=bool), 5))]


def _no_sorting(scores: np.ndarray, hits: np.ndarray, objects: int) -> Any:
    return average_precision(-np.arange(len(scores), dtype=float), hits, objects)


def _no_envelope(scores: np.ndarray, hits: np.ndarray, objects: int) -> Any:
    hits = hits[np.argsort(-scores, kind="stable")]
    found = np.cumsum(hits)
    precision = np.append(found / np.arange(1, len(hits) + 1), 0.0)
    place = np.searchsorted(found / objects, np.linspace(0, 1, 101), side="left")
    return float(precision[place].mean())


def _missed_forgotten(scores: np.ndarray, hits: np.ndarray, objects: int) -> Any:
    return average_precision(scores, hits, max(int(hits.sum()), 1))


AP = Exercise(
    "06.1",
    "average_precision",
    "AP at one IoU",
    average_precision,
    _ap_cases,
    "Sort by score and count the hits so far: precision = hits / detections so far, recall = hits / objects. "
    "At each of the 101 recalls take the best precision at this recall or a higher one, or 0 if the recall "
    "is never reached.",
    (
        Mistake(_no_sorting, "The detections are in no particular order: sort them by score, best first."),
        Mistake(
            _no_envelope,
            "Precision goes up and down. At each recall, COCO takes the *best* precision at that recall or a "
            "higher one (`np.maximum.accumulate` from the right).",
        ),
        Mistake(_missed_forgotten, "Recall is hits / *all* objects; those that were missed count, too."),
    ),
    points=3,
)


def gain_interval(a: np.ndarray, b: np.ndarray, draws: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval of mean(b) - mean(a), both on the same draw of images."""
    gains = b[draws].mean(axis=1) - a[draws].mean(axis=1)
    low, high = np.percentile(gains, [2.5, 97.5])
    return float(low), float(high)


def _gain_cases(seed: int) -> list[Case]:
    g, rng = generator_of(seed), np.random.default_rng(seed)
    images = whole(g, 30, 60)
    a = rng.random(images)
    b = np.clip(a + rng.normal(0.02, 0.05, images), 0, 1)
    draws = rng.integers(0, images, (400, images))
    return [Case(f"{images} images, 400 draws", (a, b, draws))]


def _unpaired(a: np.ndarray, b: np.ndarray, draws: np.ndarray) -> Any:
    gains = b[draws].mean(axis=1) - a[draws[::-1]].mean(axis=1)
    low, high = np.percentile(gains, [2.5, 97.5])
    return float(low), float(high)


def _ninety(a: np.ndarray, b: np.ndarray, draws: np.ndarray) -> Any:
    gains = b[draws].mean(axis=1) - a[draws].mean(axis=1)
    low, high = np.percentile(gains, [5, 95])
    return float(low), float(high)


def _other_way(a: np.ndarray, b: np.ndarray, draws: np.ndarray) -> Any:
    return gain_interval(b, a, draws)


BOOTSTRAP = Exercise(
    "06.2",
    "gain_interval",
    "Bootstrap the gain, in pairs",
    gain_interval,
    _gain_cases,
    "`a[draws]` has a row for each draw. Take the mean of each row for b and for a, subtract, and compute "
    "the 2.5 and 97.5 percentiles.",
    (
        Mistake(
            _unpaired,
            "You use different draws for a and b. Both models were tested on the same images: keep the "
            "pairs, or the interval is far too wide.",
        ),
        Mistake(_ninety, "5 and 95 leave out 10 %. A 95 % interval runs from 2.5 to 97.5."),
        Mistake(_other_way, "This is a minus b. The gain is b minus a."),
    ),
)


def is_gain(low: float, high: float) -> str:
    """ "better", "worse" or "not significant"."""
    if low > 0:
        return "better"
    return "worse" if high < 0 else "not significant"


def _verdict_cases(seed: int) -> list[Case]:
    ends = np.random.default_rng(seed).uniform(0.1, 2.0, 6)
    pairs = [
        (ends[0], ends[0] + ends[1]),
        (-ends[2] - ends[3], -ends[2]),
        (-ends[4], ends[5]),
        (0.0, ends[1]),
    ]
    return [Case(f"an interval from {a:+.2f} to {b:+.2f}", (float(a), float(b))) for a, b in pairs]


VERDICT = Exercise(
    "06.3",
    "is_gain",
    "Say what the interval says",
    is_gain,
    _verdict_cases,
    "Ask only one question: does the interval contain 0?",
    (
        Mistake(
            lambda low, high: "better" if low + high > 0 else "worse",
            "You look only at the middle. If the interval contains 0, chance alone could explain the gain.",
        ),
        Mistake(
            lambda low, high: "better" if low >= 0 else ("worse" if high <= 0 else "not significant"),
            "An interval that ends at 0 still contains 0: not significant.",
        ),
        Mistake(
            lambda low, high: "better" if low > 0 else "not significant",
            "A model can be significantly *worse*, too.",
        ),
    ),
    points=1,
)


def seed_interval(a: np.ndarray, b: np.ndarray, t: float) -> tuple[float, float]:
    """Student's interval for the mean of b - a, in pairs: mean -/+ t * s / sqrt(n)."""
    gains = b - a
    reach = t * gains.std(ddof=1) / np.sqrt(len(gains))
    return float(gains.mean() - reach), float(gains.mean() + reach)


# Student's t at 97.5 %, by the number of seeds.
_T = {3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447}


def _seed_cases(seed: int) -> list[Case]:
    g, rng = generator_of(seed), np.random.default_rng(seed)
    cases = []
    for least, most in ((3, 4), (5, 7)):
        seeds = whole(g, least, most)
        a = 38 + rng.normal(0, 1.0, seeds)
        b = a + rng.normal(0.8, 0.4, seeds)
        cases.append(Case(f"{seeds} seeds", (a, b, _T[seeds])))
    return cases


def _spread_of_seeds(a: np.ndarray, b: np.ndarray, t: float) -> Any:
    gains, spread = b - a, t * (b - a).std(ddof=1)
    return float(gains.mean() - spread), float(gains.mean() + spread)


def _biased(a: np.ndarray, b: np.ndarray, t: float) -> Any:
    gains = b - a
    reach = t * gains.std() / np.sqrt(len(gains))
    return float(gains.mean() - reach), float(gains.mean() + reach)


def _seeds_unpaired(a: np.ndarray, b: np.ndarray, t: float) -> Any:
    reach = t * np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a))
    return float(b.mean() - a.mean() - reach), float(b.mean() - a.mean() + reach)


SEEDS = Exercise(
    "06.4",
    "seed_interval",
    "The interval over training seeds",
    seed_interval,
    _seed_cases,
    "Subtract seed by seed first. Then mean -/+ t * s / sqrt(n) of these n differences; "
    "`differences.std(ddof=1)` is s.",
    (
        Mistake(
            _spread_of_seeds,
            "This is the spread of single trainings. The mean of n trainings varies less: divide by sqrt(n).",
        ),
        Mistake(
            _biased, "A few values lie closer to their own mean than to the true one: use `std(ddof=1)`."
        ),
        Mistake(
            _seeds_unpaired,
            "You add up the spreads of the two models. With the same seed, both see the same pictures and "
            "start from the same weights: subtract seed by seed, then take the spread of the differences.",
        ),
        Mistake(lambda a, b, t: seed_interval(b, a, t), "This is a minus b. The gain is b minus a."),
    ),
)

EXERCISES = (AP, BOOTSTRAP, VERDICT, SEEDS)
