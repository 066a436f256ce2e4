"""Run-length encodings: our reading of what pycocotools writes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from htc_lab.data.rle import decode_segmentation, rle_counts


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 999))
def test_a_mask_survives_pycocotools(height, width, share, seed):
    mask = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    rle = coco_mask.encode(np.asfortranarray(mask))
    text = rle["counts"].decode()
    np.testing.assert_array_equal(
        decode_segmentation({"size": [height, width], "counts": text}, height, width), mask
    )
    counts = rle_counts(text)
    assert sum(counts) == height * width
    np.testing.assert_array_equal(
        decode_segmentation({"size": [height, width], "counts": counts}, height, width), mask
    )
    again = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    assert again["counts"] == rle["counts"]


@pytest.mark.parametrize("fill", [0, 1])
def test_long_runs(fill):
    mask = np.full((300, 400), fill, np.uint8)
    mask[150:, 399] = 1 - fill
    text = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    np.testing.assert_array_equal(decode_segmentation({"size": [300, 400], "counts": text}, 300, 400), mask)
