"""Changes to the picture in training and testing, with the ground truth kept in step.

Built on torchvision.transforms.v2; every random number comes from the generator that is passed in, so a
sample depends on nothing but its seed.
"""

import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from htc_lab.data.compact_targets import scaled_boxes
from htc_lab.data.dataset import Sample
from htc_lab.light_torchvision import InterpolationMode, tv_tensors
from htc_lab.light_torchvision import functional as v2
from htc_lab.structures import Targets


def fit(height: int, width: int, short: int, long: int) -> tuple[int, int]:
    """The largest size that ``short`` and ``long`` allow, with the aspect ratio kept: (height, width) px."""
    scale = min(short / min(height, width), long / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize_image(
    image: Shaped[Tensor, "3 H W"], short: int, long: int
) -> tuple[Shaped[Tensor, "3 h w"], float, float]:
    """Bring the shorter side to ``short`` px unless the longer one would exceed ``long``; ratio kept.

    What has that size already stays as it is, so doing it twice is doing it once.

    Returns:
        The image (the same tensor if its size doesn't change), and the factors scale_x and scale_y.
    """
    height, width = image.shape[-2:]
    size = fit(height, width, short, long)
    if size == (height, width):
        return image, 1.0, 1.0
    resized = v2.resize(image, list(size), InterpolationMode.BILINEAR, antialias=True)
    return resized, size[1] / width, size[0] / height


def _nearest(maps: UInt8[Tensor, "n H W"], size: tuple[int, int]) -> UInt8[Tensor, "n h w"]:
    """Maps of indices at another size, each pixel taken from the nearest pixel centre."""
    if len(maps) == 0:
        return maps.new_zeros((0, *size))
    return v2.resize(maps, list(size), InterpolationMode.NEAREST_EXACT)


def resize_sample(sample: Sample, short: int, long: int) -> Sample:
    """:func:`resize_image` of a sample, its truth along with it.

    Objects that vanish (no pixel left, or a box under 1 px) are dropped.
    """
    image, scale_x, scale_y = resize_image(sample.image, short, long)
    if image is sample.image:
        return sample
    size = (int(image.shape[-2]), int(image.shape[-1]))
    old = sample.targets
    boxes = scaled_boxes(old.boxes, scale_x, scale_y, *size)
    semantic = None if old.semantic is None else _nearest(old.semantic[None], size)[0]
    masks = _nearest(old.masks, size)
    keep = masks.bool().flatten(1).any(dim=1) & ((boxes[:, 2:] - boxes[:, :2]) >= 1.0).all(dim=1)
    targets = Targets(boxes[keep], old.labels[keep], masks[keep], semantic)
    return Sample(image, targets, sample.image_id, sample.original_size)


def mirrored_image(image: Shaped[Tensor, "3 H W"]) -> Shaped[Tensor, "3 H W"]:
    """Left to right."""
    mirrored: Tensor = v2.horizontal_flip(image)
    return mirrored


def _flipped(sample: Sample) -> Sample:
    """Mirrored left to right."""
    old = sample.targets
    size = (int(sample.image.shape[-2]), int(sample.image.shape[-1]))
    # Plain tensors: torchvision's own subclasses would load torch's compiler (htc_lab/light_imports.py).
    targets = Targets(
        boxes=v2.horizontal_flip_bounding_boxes(old.boxes, tv_tensors.BoundingBoxFormat.XYXY, size),
        labels=old.labels,
        masks=v2.horizontal_flip(old.masks),
        semantic=None if old.semantic is None else v2.horizontal_flip(old.semantic),
    )
    return Sample(mirrored_image(sample.image), targets, sample.image_id, sample.original_size)


class TrainTransform:
    """Multi-scale resize, then a horizontal flip.

    Objects that vanish (no pixel left, or a box under 1 px) are dropped.
    """

    def __init__(self, short: tuple[int, ...], long: int, flip: float = 0.5) -> None:
        """See the class.

        Args:
            short: lengths of the shorter side, px; one is drawn for each sample.
            long: largest length of the longer side, px.
            flip: probability of the flip.
        """
        self.short, self.long, self.flip = short, long, flip

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        """The transformed sample; the draws depend only on ``generator``."""
        pick = int(torch.randint(len(self.short), (1,), generator=generator))
        turn = float(torch.rand((), generator=generator)) < self.flip
        sample = resize_sample(sample, self.short[pick], self.long)
        return _flipped(sample) if turn else sample
