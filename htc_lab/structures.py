"""What goes in and out of the model: targets, features, detections.

Shape names used throughout the package:

    B  images in a batch            N  RoIs (or boxes) of one image or of the batch
    C  feature channels             K  thing classes (background is one more, the last)
    H, W  height and width in px    S  semantic classes (255 in a map means "ignored")
    T  stages of the cascade (3)

Boxes are float32, ``(x1, y1, x2, y2)`` in pixels, with ``x2 - x1`` the width.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from htc_lab.transfer import send


class Losses(dict[str, Tensor]):
    """Losses and accuracies by name, and over how many samples of the batch each is averaged.

    Processes that share a batch need to know these numbers of each other.

    Attributes:
        counts: samples, by the same names.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}

    def add(self, name: str, value: Tensor, samples: int) -> None:
        """Add a loss or accuracy."""
        self[name] = value
        self.counts[name] = samples

    def join(self, other: "Losses") -> None:
        """Add those of another part of the network."""
        self.update(other)
        self.counts.update(other.counts)


@dataclass(frozen=True)
class Targets:
    """The ground truth of one image.

    Attributes:
        boxes: (n, 4) float32, xyxy px.
        labels: (n,) int64, contiguous class indices 0..K-1.
        masks: (n, H, W) uint8, 1 inside the object.
        semantic: (H, W) uint8 class indices, 255 ignored; None if there is no map.
    """

    boxes: Float[Tensor, "n 4"]
    labels: Int[Tensor, " n"]
    masks: UInt8[Tensor, "n H W"]
    semantic: UInt8[Tensor, "H W"] | None = None

    def to(self, device: torch.device | str) -> "Targets":
        """The same targets on another device."""
        semantic = None if self.semantic is None else send(self.semantic, device)
        return Targets(
            send(self.boxes, device), send(self.labels, device), send(self.masks, device), semantic
        )

    def pin_memory(self) -> "Targets":
        """The same targets in memory that a GPU can copy from by itself while the CPU carries on."""
        semantic = None if self.semantic is None else self.semantic.pin_memory()
        return Targets(self.boxes.pin_memory(), self.labels.pin_memory(), self.masks.pin_memory(), semantic)


@dataclass(frozen=True)
class Detections:
    """What the model found in one image, best first.

    Attributes:
        boxes: (n, 4) float32, xyxy px of the image passed in.
        scores: (n,) float32 in 0..1.
        labels: (n,) int64, 0..K-1.
        masks: (n, H, W) bool, at the image's size.
    """

    boxes: Float[Tensor, "n 4"]
    scores: Float[Tensor, " n"]
    labels: Int[Tensor, " n"]
    masks: Bool[Tensor, "n H W"]

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score: float) -> "Detections":
        """Those that score at least ``score``."""
        return self.select(self.scores >= score)

    def to(self, device: torch.device | str) -> "Detections":
        """The same detections on another device."""
        return Detections(
            send(self.boxes, device),
            send(self.scores, device),
            send(self.labels, device),
            send(self.masks, device),
        )

    def select(self, which: Tensor) -> "Detections":
        """Those at ``which`` (indices or a boolean mask)."""
        return Detections(self.boxes[which], self.scores[which], self.labels[which], self.masks[which])


@dataclass(frozen=True)
class RoIs:
    """The boxes of a whole batch and the image of each.

    Attributes:
        boxes: (N, 4) float32, xyxy px of the network's input.
        image: (N,) int64, index into the batch; the boxes of an image are contiguous, the images in order.
    """

    boxes: Float[Tensor, "N 4"]
    image: Int[Tensor, " N"]

    @classmethod
    def of(cls, boxes: list[Tensor]) -> "RoIs":
        """From one (n_i, 4) tensor per image."""
        image = [torch.full((len(b),), i, device=b.device) for i, b in enumerate(boxes)]
        return cls(torch.cat(boxes), torch.cat(image))

    def __len__(self) -> int:
        return len(self.image)

    def with_boxes(self, boxes: Float[Tensor, "N 4"]) -> "RoIs":
        """The same RoIs, moved."""
        return RoIs(boxes, self.image)

    def select(self, which: Tensor) -> "RoIs":
        """Those at ``which`` (indices or a boolean mask)."""
        return RoIs(self.boxes[which], self.image[which])

    def of_image(self, i: int) -> Float[Tensor, "n 4"]:
        """The boxes of image ``i``."""
        return self.boxes[self.image == i]

    def limits(self, sizes: list[tuple[int, int]]) -> Float[Tensor, "N 2"]:
        """(width, height) in px of each RoI's image, from the images' (height, width)."""
        table = torch.tensor([(w, h) for h, w in sizes], dtype=self.boxes.dtype).reshape(-1, 2)
        return send(table, self.boxes.device)[self.image]


@dataclass(frozen=True)
class Proposals:
    """The RPN's boxes for a batch, best first within each image.

    Attributes:
        rois: the boxes.
        scores: (N,) float32 objectness in 0..1.
    """

    rois: RoIs
    scores: Float[Tensor, " N"]


@dataclass(frozen=True)
class Features:
    """The results of the expensive part of the network for a batch, computed once per image.

    Maps are float32, or bfloat16 if they were computed in it.

    Attributes:
        levels: FPN maps (B, C, H/4, W/4), (B, C, H/8, W/8), ... of the padded batch.
        semantic_logits: (B, S, h, w) at the branch's stride; None without the branch.
        semantic_feature: (B, C, h, w), what is fused into the RoI features (S(x) of eq. 6).
        sizes: (height, width) in px of each image as the network sees it, before padding.
        pictures: (height, width) in px of each picture as it was given, before it was resized.
    """

    levels: list[Tensor]
    semantic_logits: Tensor | None
    semantic_feature: Tensor | None
    sizes: list[tuple[int, int]]
    pictures: list[tuple[int, int]]

    def for_pooling(self) -> "Features":
        """The same, with the maps from which RoIs are pooled converted to float32 on a CPU.

        A CPU gains nothing from bfloat16 in products as small as a RoI's, and converting a map once is
        cheaper than converting every window of it.
        """
        if self.levels[0].device.type != "cpu" or self.levels[0].dtype == torch.float32:
            return self
        feature = None if self.semantic_feature is None else self.semantic_feature.float()
        return replace(self, levels=[level.float() for level in self.levels], semantic_feature=feature)
