"""A split of a data set as torch samples: image, targets, id."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from htc_lab.data.coco import decode_mask
from htc_lab.data.compact_targets import CompactTargets
from htc_lab.data.layout import Split, map_name
from htc_lab.data.mask_patches import MaskPatches
from htc_lab.data.pictures import read_pixels
from htc_lab.data.semantic import SemanticClasses, read_semantic_map, semantic_from_instances
from htc_lab.errors import InputError
from htc_lab.structures import Targets


@dataclass(frozen=True, eq=False)
class Sample:
    """One image and its ground truth.

    Attributes:
        image: (3, H, W) RGB on the scale 0..255: uint8, or float32 after a change of colours.
        targets: at the size of ``image``.
        image_id: COCO id.
        original_size: (H, W) px of the file, before any transform.
    """

    image: UInt8[Tensor, "3 H W"] | Float[Tensor, "3 H W"]
    targets: Targets
    image_id: int
    original_size: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) px of ``image``."""
        return int(self.image.shape[1]), int(self.image.shape[2])

    def pin_memory(self) -> "Sample":
        """The same sample in pinned memory, from which a GPU can copy while the CPU continues."""
        return replace(self, image=self.image.pin_memory(), targets=self.targets.pin_memory())


Read = TypeVar("Read")

Transform = Callable[[Sample, torch.Generator], Sample]


def read_image(
    path: Path | str, height: int | None = None, width: int | None = None
) -> UInt8[Tensor, "3 H W"]:
    """Read a picture file as (3, H, W) uint8 RGB.

    It is turned as its EXIF orientation says, unless the size that is given is that of the pixels as stored
    and not of the turned ones (:mod:`htc_lab.data.pictures`). Of 12 or 16 bits the upper 8 are used.

    Raises:
        InputError: the file is missing, unreadable or of another size.
    """
    return torch.from_numpy(read_pixels(Path(path), height, width)).permute(2, 0, 1).contiguous()


class CocoDataset(Dataset[Sample]):
    """The images of a split with their ground truth.

    Indexing gives samples without randomness; ``get`` applies the transform. Crowd annotations are left out,
    boxes are clipped to the image, and objects without pixels or with a box under 1 px are dropped.

    Attributes:
        split: where the samples come from.
        images: the COCO image entries, in order.
        class_names: names of the labels 0..K-1.
    """

    def __init__(
        self,
        split: Split,
        semantic: SemanticClasses | None = None,
        *,
        keep_empty: bool = True,
        min_size: int = 0,
        transform: Transform | None = None,
        cache: bool = False,
    ) -> None:
        """See the class.

        Args:
            split: one of the splits that ``find_data`` returns.
            semantic: meaning of the semantic maps; None gives samples without maps.
            keep_empty: keep images without any object.
            min_size: leave out images whose shorter side is below this, px.
            transform: applied by ``get``.
            cache: keep what is read in memory: pictures decoded, masks only where they have pixels.

        Raises:
            InputError: no images are left.
        """
        self.split = split
        self.semantic = semantic
        self.class_names = split.coco.class_names
        self.transform = transform
        self._pictures: dict[int, Tensor] | None = {} if cache else None
        self._truths: dict[int, CompactTargets] | None = {} if cache else None
        rows = split.coco.annotations_by_image
        self.images: list[dict[str, Any]] = [
            image
            for image in split.coco.images
            if min(image["height"], image["width"]) >= min_size
            and (keep_empty or any(_usable(row, image) for row in rows[image["id"]]))
        ]
        if not self.images:
            raise InputError(
                f"{split.coco.path}: no image of {split.name} has an object to learn from; add some"
            )

    @property
    def image_ids(self) -> list[int]:
        """COCO id of each sample."""
        return [image["id"] for image in self.images]

    @property
    def file_names(self) -> list[str]:
        """File of each sample, relative to the split's image folder."""
        return [image["file_name"] for image in self.images]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Sample:
        """Sample ``i``, untransformed.

        Raises:
            InputError: the image or its semantic map is missing, unreadable or of the wrong size.
        """
        image = self.images[i]
        picture = _kept(self._pictures, i, self.read_picture)
        return Sample(picture, self.truth(i).whole(), image["id"], (image["height"], image["width"]))

    def get(self, i: int, generator: torch.Generator) -> Sample:
        """Sample ``i``, transformed; all randomness comes from ``generator``."""
        sample = self[i]
        return sample if self.transform is None else self.transform(sample, generator)

    def read_picture(self, i: int) -> UInt8[Tensor, "3 H W"]:
        """The picture of sample ``i``, from its file.

        Raises:
            InputError: it is missing, unreadable or of the wrong size.
        """
        image = self.images[i]
        return read_image(self.split.images / image["file_name"], image["height"], image["width"])

    def truth(self, i: int) -> CompactTargets:
        """The ground truth of sample ``i``, untransformed, for which its picture isn't read.

        Raises:
            InputError: the semantic map is missing, unreadable or of the wrong size.
        """
        return _kept(self._truths, i, self._read_truth)

    def _read_truth(self, i: int) -> CompactTargets:
        image = self.images[i]
        height, width = image["height"], image["width"]
        rows = [row for row in self.split.coco.annotations_by_image[image["id"]] if _usable(row, image)]
        masks = MaskPatches.of((decode_mask(row, height, width) for row in rows), height, width)
        seen = masks.areas().nonzero().flatten().tolist()
        rows, masks = [rows[k] for k in seen], masks.select(seen)
        labels = torch.tensor(
            [self.split.coco.label_of[row["category_id"]] for row in rows], dtype=torch.int64
        )
        return CompactTargets.of(
            boxes=torch.tensor([_clipped(row, image) for row in rows], dtype=torch.float32).reshape(-1, 4),
            labels=labels,
            masks=masks,
            semantic=self._semantic(image, masks, labels),
        )

    def _semantic(self, image: dict[str, Any], masks: MaskPatches, labels: Tensor) -> Tensor | None:
        if self.semantic is None:
            return None
        if self.semantic.from_instances:
            return torch.from_numpy(
                semantic_from_instances(masks.whole().numpy(), labels.numpy(), self.semantic.count - 1)
            )
        if self.split.semantic is None:
            return None
        path = self.split.semantic / map_name(image["file_name"])
        return torch.from_numpy(
            read_semantic_map(path, image["height"], image["width"], self.semantic.lookup)
        )


def _kept(kept: dict[int, Read] | None, i: int, read: Callable[[int], Read]) -> Read:
    """What was read before; else what is read now, and kept if anything is."""
    if kept is not None and i in kept:
        return kept[i]
    found = read(i)
    if kept is not None:
        kept[i] = found
    return found


def _clipped(row: dict[str, Any], image: dict[str, Any]) -> tuple[float, float, float, float]:
    """The annotation's box inside the image, xyxy px."""
    x, y, width, height = (float(v) for v in row["bbox"])
    right, bottom = float(image["width"]), float(image["height"])
    x1, y1 = min(max(x, 0.0), right), min(max(y, 0.0), bottom)
    return x1, y1, max(min(x + width, right), x1), max(min(y + height, bottom), y1)


def _usable(row: dict[str, Any], image: dict[str, Any]) -> bool:
    x1, y1, x2, y2 = _clipped(row, image)
    return row["iscrowd"] == 0 and x2 - x1 >= 1.0 and y2 - y1 >= 1.0


def collate(samples: list[Sample]) -> list[Sample]:
    """Keep a batch as a list: images differ in size, and the model pads them."""
    return samples
