"""Polygons and run-length encodings against pycocotools."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from htc_lab.data.rle import decode_segmentation, rle_counts, segmentation_fault
from htc_lab.errors import InputError

sides = st.integers(1, 40)
masks = st.tuples(sides, sides).flatmap(lambda size: arrays(np.uint8, size, elements=st.integers(0, 1)))


def column_counts(mask: np.ndarray) -> list[int]:
    """Uncompressed RLE, by the definition."""
    counts, value = [0], 0
    for pixel in mask.T.reshape(-1).tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


@given(masks)
def test_compressed(mask: np.ndarray) -> None:
    encoded = coco_mask.encode(np.asfortranarray(mask))
    text = encoded["counts"].decode("ascii")
    assert rle_counts(text) == column_counts(mask)
    assert (decode_segmentation({"size": list(mask.shape), "counts": text}, *mask.shape) == mask).all()


@given(masks)
def test_uncompressed(mask: np.ndarray) -> None:
    segmentation = {"size": list(mask.shape), "counts": column_counts(mask)}
    assert (decode_segmentation(segmentation, *mask.shape) == mask).all()
    theirs = coco_mask.decode(coco_mask.frPyObjects(segmentation, *mask.shape))
    assert (decode_segmentation(segmentation, *mask.shape) == theirs).all()


points = st.lists(st.floats(-5, 45, width=32), min_size=6, max_size=20).filter(lambda p: len(p) % 2 == 0)


@settings(deadline=None)
@given(sides, sides, st.lists(points, min_size=1, max_size=3))
def test_polygons(height: int, width: int, polygons: list[list[float]]) -> None:
    ours = decode_segmentation(polygons, height, width)
    parts = [coco_mask.decode(coco_mask.frPyObjects([p], height, width))[..., 0] for p in polygons]
    assert ours.dtype == np.uint8
    assert (ours == np.max(parts, axis=0)).all()


@given(st.text(alphabet=[chr(c) for c in range(32, 127)], max_size=12), sides, sides)
def test_garbage_is_refused_or_decodes(text: str, height: int, width: int) -> None:
    segmentation = {"size": [height, width], "counts": text}
    if segmentation_fault(segmentation, height, width) is None:
        assert decode_segmentation(segmentation, height, width).shape == (height, width)
    else:
        with pytest.raises(InputError):
            decode_segmentation(segmentation, height, width)


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([], "is empty"),
        ("abc", "is a str"),
        ([[1, 2, 3, 4]], r"\[0\]: has 4 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], r"\[0\]: has 7 numbers"),
        ([[1, 2, 3, 4, 5, 6], 3], r"\[1\]: is a int"),
        ([[1, 2, 3, 4, 5, float("nan")]], "finite"),
        ([[1, 2, 3, 4, 5, "6"]], "finite numbers"),
        ({"counts": [4]}, r"\.size: is None"),
        ({"size": [3, 2], "counts": [6]}, r"\.size: is \[3, 2\].*\[2, 3\]"),
        ({"size": [2, 3]}, r"\.counts: must be"),
        ({"size": [2, 3], "counts": [5]}, r"\.counts: cover 5 px.*has 6"),
        ({"size": [2, 3], "counts": [7, -1]}, "0 or more"),
        ({"size": [2, 3], "counts": "6 "}, "not part of the code"),
        ({"size": [2, 3], "counts": "P"}, "ends within a number"),
    ],
)
def test_wrong_segmentations(segmentation: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        decode_segmentation(segmentation, 2, 3)
