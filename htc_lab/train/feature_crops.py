"""Pictures as crops of their features: what a training from cached features of the frozen backbone sees.

It gives up two things of the usual training: the backbone learns nothing, neither from the objects nor from
the semantic loss, and pictures come in one size, since a map of another size would have to be computed anew.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import Dataset

from htc_lab.config import ImageConfig
from htc_lab.data.compact_targets import CompactTargets
from htc_lab.data.dataset import CocoDataset, Sample, read_image
from htc_lab.data.mask_patches import Window
from htc_lab.data.transforms import mirrored_image, resize_image
from htc_lab.structures import Targets
from htc_lab.train.whole_maps import ALIGNED, training_size

_TRIES = 8


@runtime_checkable
class MapSource(Protocol):
    """Where maps come from: a :class:`htc_lab.train.feature_file.FeatureFile`."""

    def window(self, index: int, mirrored: bool, window: Window) -> list[Tensor]:
        """C2..C5 of a part of a picture: (h, w, C) float16."""


@dataclass(frozen=True, eq=False)
class MapSample:
    """A part of a picture as the backbone's maps, with its ground truth.

    Attributes:
        maps: C2..C5, (h, w, C) float16, of which the last cells may lie outside the picture.
        targets: of the part, at its size.
        window: which part, px of the picture at the training's size.
        mirrored: whether the picture was mirrored before.
        limits: what the picture's short and long side were brought to at most, px.
        image_id: COCO id.
        file: of the picture.
        original_size: (H, W) px of the file.
    """

    maps: list[Tensor]
    targets: Targets
    window: Window
    mirrored: bool
    limits: tuple[int, int]
    image_id: int
    file: Path
    original_size: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) px of the part."""
        return self.window[2:]

    def pin_memory(self) -> "MapSample":
        """The same in pinned memory, from which a GPU can copy while the CPU continues."""
        return replace(self, maps=[x.pin_memory() for x in self.maps], targets=self.targets.pin_memory())

    def with_pixels(self) -> Sample:
        """The same part as pixels, read from the file again.

        Raises:
            InputError: it can't be read.
        """
        image = resize_image(read_image(self.file, *self.original_size), *self.limits)[0]
        image = mirrored_image(image) if self.mirrored else image
        top, left, height, width = self.window
        image = image[:, top : top + height, left : left + width].contiguous()
        return Sample(image, self.targets, self.image_id, self.original_size)


class FeatureCrops(Dataset[MapSample]):
    """The pictures of a data set as :class:`MapSample`.

    ``get`` mirrors a picture with the config's probability and takes a square of it, at random in steps of
    ``ALIGNED`` px: a side shorter than the square is taken whole. If nothing is to be learnt from a square,
    another is drawn, up to eight; the last is taken as it is. Which objects a crop keeps stands in
    :meth:`htc_lab.data.compact_targets.CompactTargets.cropped`.

    Attributes:
        images: the COCO image entries, in order.
    """

    def __init__(self, dataset: CocoDataset, maps: MapSource, image: ImageConfig, crop: int) -> None:
        """See the class.

        Args:
            dataset: the pictures, of which only the ground truth is read.
            maps: of these pictures at the training's size.
            image: that size, and the probability of a flip.
            crop: side of the square, a multiple of ``ALIGNED`` px; 0: whole pictures.
        """
        self.dataset, self.maps, self.image, self.crop = dataset, maps, image, crop
        self.images = dataset.images
        self._resized: dict[int, CompactTargets] = {}

    def __len__(self) -> int:
        return len(self.images)

    def get(self, i: int, generator: torch.Generator) -> MapSample:
        """A part of picture ``i``; all randomness comes from ``generator``.

        Raises:
            InputError: the picture or its semantic map can't be read.
        """
        mirrored = float(torch.rand((), generator=generator)) < self.image.flip
        truth = self._truth(i).mirrored() if mirrored else self._truth(i)
        for _ in range(_TRIES if self.crop else 1):
            window = self._window(truth.size, generator)
            targets = truth.cropped(window)
            if len(targets.boxes):
                break
        row = self.images[i]
        return MapSample(
            maps=self.maps.window(i, mirrored, window),
            targets=targets,
            window=window,
            mirrored=mirrored,
            limits=(self.image.train_short[0], self.image.train_long),
            image_id=row["id"],
            file=self.dataset.split.images / row["file_name"],
            original_size=(row["height"], row["width"]),
        )

    def _truth(self, i: int) -> CompactTargets:
        """At the training's size; kept, for it is small."""
        if i not in self._resized:
            row = self.images[i]
            size = training_size(row["height"], row["width"], self.image)
            self._resized[i] = self.dataset.truth(i).resized(*size)
        return self._resized[i]

    def _window(self, whole: tuple[int, int], generator: torch.Generator) -> Window:
        (top, height), (left, width) = (self._side(side, generator) for side in whole)
        return top, left, height, width

    def _side(self, side: int, generator: torch.Generator) -> tuple[int, int]:
        """Where the square begins along a side of the picture, and how long it is within the picture, px."""
        if not self.crop:
            return 0, side
        spare = -(-side // ALIGNED) - self.crop // ALIGNED
        place = int(torch.randint(max(spare, 0) + 1, (), generator=generator)) * ALIGNED
        return place, min(self.crop, side - place)
