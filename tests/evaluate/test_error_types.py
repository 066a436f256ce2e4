"""Each error type on a case of one error, where the cost is known; the ordinary AP50 on any."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htc_lab.evaluate.coco_ap import evaluate
from htc_lab.evaluate.error_types import ERROR_TYPES, error_types
from tests.evaluate.rectangles import A, B, detection, thing, truth
from tests.evaluate.test_statistics import detect, scenes

HERE, THERE = (0, 0, 10, 10), (20, 20, 10, 10)
NOWHERE = (0, 30, 5, 5)
HALF = 100 * 51 / 101  # AP50 of one object of two found, nothing false before it


def costs(data: dict[str, Any], results: list[dict[str, Any]]) -> tuple[float, dict[str, float], dict]:
    """AP50, and cost and number of the types that occur."""
    found = error_types(data, results)
    cost = {kind: found.dap[kind].value for kind in ERROR_TYPES if found.count[kind]}
    assert all(found.dap[kind].value == 0 for kind in ERROR_TYPES if not found.count[kind])
    return found.ap50.value, cost, {kind: n for kind, n in found.count.items() if n}


def test_no_error() -> None:
    data = truth(thing(1, A, HERE), thing(1, B, THERE))
    assert costs(data, [detection(1, A, HERE, 0.9), detection(1, B, THERE, 0.8)]) == (
        pytest.approx(100),
        {},
        {},
    )


def test_missed() -> None:
    data = truth(thing(1, A, HERE), thing(1, A, THERE))
    ap50, cost, count = costs(data, [detection(1, A, HERE, 0.9)])
    assert ap50 == pytest.approx(HALF)
    assert cost == {"missed": pytest.approx(100 - HALF)}
    assert count == {"missed": 1}


def test_everything_missed() -> None:
    assert costs(truth(thing(1, A, HERE)), []) == (0, {"missed": pytest.approx(100)}, {"missed": 1})


def test_everything_missed_and_something_false() -> None:
    """Not asking for the object is no help while something else is found in its place."""
    ap50, cost, count = costs(truth(thing(1, A, HERE)), [detection(1, A, NOWHERE, 0.9)])
    assert (ap50, cost) == (0, {"background": 0, "missed": 0})
    assert count == {"background": 1, "missed": 1}


def test_background() -> None:
    data = truth(thing(1, A, HERE))
    ap50, cost, count = costs(data, [detection(1, A, NOWHERE, 0.9), detection(1, A, HERE, 0.8)])
    assert (ap50, cost) == (pytest.approx(50), {"background": pytest.approx(50)})
    assert count == {"background": 1}


def test_localisation() -> None:
    """40 of 100 px. The object is not missed besides."""
    ap50, cost, count = costs(truth(thing(1, A, HERE)), [detection(1, A, (0, 0, 10, 4), 0.9)])
    assert (ap50, cost, count) == (0, {"localisation": pytest.approx(100)}, {"localisation": 1})


def test_classification() -> None:
    """Class B has an object that is found second, after the wrong one."""
    data = truth(thing(1, A, HERE), thing(1, B, THERE))
    ap50, cost, count = costs(data, [detection(1, B, HERE, 0.9), detection(1, B, THERE, 0.8)])
    # A: 0, B: 50; fixed, both are perfect.
    assert (ap50, cost) == (pytest.approx(25), {"classification": pytest.approx(75)})
    assert count == {"classification": 1}


def test_both() -> None:
    data = truth(thing(1, A, HERE), thing(1, B, THERE))
    results = [
        detection(1, B, (0, 0, 10, 4), 0.95),
        detection(1, A, HERE, 0.9),
        detection(1, B, THERE, 0.8),
    ]
    ap50, cost, count = costs(data, results)
    assert (ap50, cost, count) == (pytest.approx(75), {"both": pytest.approx(25)}, {"both": 1})


def test_both_leaves_the_object_missed() -> None:
    data = truth(thing(1, A, HERE), thing(1, B, THERE))
    _, _, count = costs(data, [detection(1, B, (0, 0, 10, 4), 0.95), detection(1, B, THERE, 0.8)])
    assert count == {"both": 1, "missed": 1}


def test_duplicate() -> None:
    data = truth(thing(1, A, HERE), thing(1, A, THERE))
    results = [detection(1, A, HERE, 0.9), detection(1, A, HERE, 0.8), detection(1, A, THERE, 0.7)]
    ap50, cost, count = costs(data, results)
    # Precision 1 up to recall 0.5 (51 levels), then 2/3 (50 levels).
    expected = 100 * (51 + 50 * 2 / 3) / 101
    assert ap50 == pytest.approx(expected)
    assert cost == {"duplicate": pytest.approx(100 - expected)}
    assert count == {"duplicate": 1}


def test_of_a_mended_and_another_detection_the_better_stays() -> None:
    """The inexact mask scores higher; fixed it takes the place of the exact one, and comes first."""
    data = truth(thing(1, A, HERE), thing(1, A, THERE))
    results = [
        detection(1, A, (0, 0, 10, 4), 0.9),
        detection(1, A, HERE, 0.8),
        detection(1, A, THERE, 0.7),
    ]
    ap50, cost, count = costs(data, results)
    assert (ap50, cost) == (pytest.approx(100 * 2 / 3), {"localisation": pytest.approx(100 / 3)})
    assert count == {"localisation": 1}
    lower = [detection(1, A, (0, 0, 10, 4), 0.75), *results[1:]]
    expected = 100 * (51 + 50 * 2 / 3) / 101
    ap50, cost, _ = costs(data, lower)
    assert (ap50, cost) == (pytest.approx(expected), {"localisation": pytest.approx(100 - expected)})


def test_the_limits_between_the_types() -> None:
    """IoU exactly 0.5 finds; exactly 0.1 is near; less is background."""
    data = truth(thing(1, A, HERE))
    assert costs(data, [detection(1, A, (0, 0, 10, 5), 0.9)])[2] == {}
    assert costs(data, [detection(1, A, (0, 0, 10, 1), 0.9)])[2] == {"localisation": 1}
    assert costs(data, [detection(1, A, (0, 0, 9, 1), 0.9)])[2] == {"background": 1, "missed": 1}


def test_crowd_regions_forgive() -> None:
    data = truth(thing(1, A, HERE), thing(1, A, (20, 20, 20, 20), crowd=1))
    assert costs(data, [detection(1, A, THERE, 0.95), detection(1, A, HERE, 0.9)]) == (
        pytest.approx(100),
        {},
        {},
    )


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), noise=st.floats(0.0, 4.0))
def test_ap50_is_the_ordinary_one_and_mending_never_hurts(engine: str, seed: int, noise: float) -> None:
    data = scenes(6, seed)
    results = detect(data, noise, seed + 1)
    found = error_types(data, results)
    expected = evaluate(data, results, "segm", engine)["AP50"]  # type: ignore[arg-type]
    assert found.ap50.value == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert all(found.dap[kind].value > -1e-9 for kind in ("both", "duplicate", "background"))
