"""Random boxes for the property tests."""

import torch
from hypothesis import strategies as st

# Quarters of a pixel: sums and products of these are exact in float32, so equal means equal.
_CORNER = st.integers(0, 200).map(lambda n: n / 4)
_SIDE = st.integers(1, 160).map(lambda n: n / 4)


def box_lists(low: int = 1, high: int = 8):
    """Tensors (n, 4) of xyxy boxes with area, coordinates in 0..90 px."""
    one = st.tuples(_CORNER, _CORNER, _SIDE, _SIDE).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
    return st.lists(one, min_size=low, max_size=high).map(lambda rows: torch.tensor(rows).reshape(-1, 4))


def plain_iou(a, b) -> float:
    """Intersection over union of two boxes, in plain Python."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(w, 0.0) * max(h, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0
