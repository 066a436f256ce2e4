"""Deterministic weights, images, ground truth and proposals of the recorded cases.

The recordings hold outputs only. Every weight is drawn from a generator seeded by its name in the
reference's state dict, so a model is rebuilt from names and shapes alone; the draws below must stay as they
are, in number and order.
"""

import zlib

import numpy as np

_GAINS = {
    "neck.": 0.45,
    "fc_cls": 0.6,
    "fc_reg": 0.12,
    "rpn_cls": 1.0,
    "rpn_reg": 0.15,
    "conv_logits": 0.5,
    "conv_offset": 0.3,
}


def weight(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """The value of state-dict entry ``name``: float32, or int64 zeros for batch norm's counter."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
    parts = name.split(".")
    kind = parts[-1]
    if kind == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if kind == "running_mean":
        value = 0.05 * rng.standard_normal(shape)
    elif kind == "running_var":
        value = rng.uniform(0.7, 1.3, shape)
    elif kind == "bias":
        value = 0.02 * rng.standard_normal(shape)
    elif len(shape) == 1:
        low, high = (0.15, 0.35) if parts[-2] == "bn3" else (0.6, 1.2)
        value = rng.uniform(low, high, shape)
    else:
        # A transposed convolution stores its input channels first.
        fan_in = shape[0] if "upsample" in name else int(np.prod(shape[1:]))
        gain = np.sqrt(2.0 / fan_in)
        for part, factor in _GAINS.items():
            if part in name:
                gain *= factor
        value = gain * rng.standard_normal(shape)
    return value.astype(np.float32)


def image(height: int, width: int, seed: int) -> np.ndarray:
    """uint8 RGB (H, W, 3): waves and discs."""
    rng = np.random.default_rng([7, seed])
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    out = np.zeros((height, width, 3))
    for channel in range(3):
        for _ in range(12):
            fy, fx = rng.uniform(0.01, 0.25), rng.uniform(0.01, 0.25)
            phase, height_of_wave = rng.uniform(0, 6.28), rng.uniform(5, 30)
            out[..., channel] += height_of_wave * np.sin(fy * y + fx * x + phase)
        for _ in range(8):
            cy, cx, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(8, 40)
            out[..., channel] += rng.uniform(-80, 80) * ((y - cy) ** 2 + (x - cx) ** 2 < radius * radius)
    return np.clip(np.rint(out + 118), 0, 255).astype(np.uint8)


def ground_truth(
    height: int, width: int, count: int, classes: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (n, 4) float32, labels (n,) int64, elliptic masks (n, H, W) uint8, semantic map (H, W) uint8."""
    rng = np.random.default_rng([11, seed])
    y, x = np.mgrid[0:height, 0:width]
    tiles = rng.integers(80, 183, (4, 4))
    semantic = tiles.repeat(height // 4 + 1, 0).repeat(width // 4 + 1, 1)[:height, :width]
    labels = rng.integers(0, classes, count)
    boxes, masks = [], []
    for label in labels:
        w, h = rng.uniform(24, width / 2.2), rng.uniform(24, height / 2.2)
        left, top = rng.uniform(0, width - w - 1), rng.uniform(0, height - h - 1)
        cx, cy = left + w / 2, top + h / 2
        mask = ((x + 0.5 - cx) / (w / 2)) ** 2 + ((y + 0.5 - cy) / (h / 2)) ** 2 <= 1
        boxes.append([left, top, left + w, top + h])
        masks.append(mask)
        semantic = np.where(mask, label, semantic)
    semantic[: height // 16] = 255
    return (
        np.asarray(boxes, np.float32),
        labels.astype(np.int64),
        np.asarray(masks, np.uint8),
        semantic.astype(np.uint8),
    )


def proposals(boxes: np.ndarray, height: int, width: int, count: int, seed: int) -> np.ndarray:
    """(count, 4) float32: five jittered copies of each box, then random ones."""
    rng = np.random.default_rng([13, seed])
    out = []
    for box in boxes:
        w, h = box[2] - box[0], box[3] - box[1]
        for spread in (0.04, 0.08, 0.12, 0.18, 0.25):
            out.append(box + rng.uniform(-spread, spread, 4) * np.array([w, h, w, h]))
    while len(out) < count:
        w, h = rng.uniform(10, width * 0.7), rng.uniform(10, height * 0.7)
        left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
        out.append(np.array([left, top, left + w, top + h]))
    found = np.asarray(out[:count])
    found[:, 0::2] = found[:, 0::2].clip(0, width)
    found[:, 1::2] = found[:, 1::2].clip(0, height)
    return found.astype(np.float32)
