"""Changes to the picture in training and testing, with the ground truth kept in step.

Built on torchvision.transforms.v2; every random number comes from the generator that is passed in, so a
sample depends on nothing but its seed.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from htc_lab.data.colours import changed_colours
from htc_lab.data.compact_targets import scaled_boxes
from htc_lab.data.dataset import Sample
from htc_lab.data.image_config import ColourConfig, ImageConfig
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


def _mirrored(sample: Sample) -> Sample:
    return _flipped(sample, v2.horizontal_flip, v2.horizontal_flip_bounding_boxes)


def _upside_down(sample: Sample) -> Sample:
    return _flipped(sample, v2.vertical_flip, v2.vertical_flip_bounding_boxes)


def _flipped(sample: Sample, flip: Callable[..., Tensor], flip_boxes: Callable[..., Tensor]) -> Sample:
    old = sample.targets
    size = (int(sample.image.shape[-2]), int(sample.image.shape[-1]))
    # Plain tensors: torchvision's own subclasses would load torch's compiler (htc_lab/light_imports.py).
    targets = Targets(
        boxes=flip_boxes(old.boxes, tv_tensors.BoundingBoxFormat.XYXY, size),
        labels=old.labels,
        masks=flip(old.masks),
        semantic=None if old.semantic is None else flip(old.semantic),
    )
    return Sample(flip(sample.image), targets, sample.image_id, sample.original_size)


class TrainTransform:
    """Multi-scale resize, then a flip, then changes to the colours.

    Objects that vanish (no pixel left, or a box under 1 px) are dropped.
    """

    def __init__(
        self,
        short: tuple[int, ...],
        long: int,
        flip: float = 0.5,
        *,
        longs: tuple[int, ...] = (),
        pairs: tuple[tuple[int, int], ...] = (),
        flip_vertical: float = 0.0,
        flip_both: float = 0.0,
        colour: ColourConfig | None = None,
    ) -> None:
        """See the class.

        Args:
            short: lengths of the shorter side, px; one is drawn for each sample.
            long: largest length of the longer side, px.
            flip: probability of the horizontal flip.
            longs: if given, one of these is drawn instead of ``long``.
            pairs: (short, long), px; if given, one of these is drawn instead of all the above.
            flip_vertical: probability of a vertical flip instead of the horizontal one.
            flip_both: probability of both flips.
            colour: how far colours are changed; None leaves them.
        """
        self.short, self.long, self.longs, self.pairs = short, long, longs, pairs
        self.flip, self.flip_vertical, self.flip_both = flip, flip_vertical, flip_both
        self.colour = colour

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        """The transformed sample; the draws depend only on ``generator``."""
        short, long = self._size(generator)
        turn = float(torch.rand((), generator=generator))
        if self.longs and not self.pairs:
            long = self.longs[_pick(len(self.longs), generator)]
        sample = resize_sample(sample, short, long)
        vertical, both = self.flip + self.flip_vertical, self.flip + self.flip_vertical + self.flip_both
        if turn < self.flip or vertical <= turn < both:
            sample = _mirrored(sample)
        if self.flip <= turn < both:
            sample = _upside_down(sample)
        if self.colour is not None:
            sample = replace(sample, image=changed_colours(sample.image, self.colour, generator))
        return sample

    def _size(self, generator: torch.Generator) -> tuple[int, int]:
        if self.pairs:
            return self.pairs[_pick(len(self.pairs), generator)]
        return self.short[_pick(len(self.short), generator)], self.long


def _pick(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (1,), generator=generator))


def train_transform(image: ImageConfig) -> TrainTransform:
    """The transform that a config asks for in training."""
    return TrainTransform(
        image.train_short,
        image.train_long,
        image.flip,
        longs=image.train_longs,
        pairs=image.train_pairs,
        flip_vertical=image.flip_vertical,
        flip_both=image.flip_both,
        colour=image.colour,
    )
