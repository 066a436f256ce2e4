"""Views of a picture at test time: sizes and mirror images, and how their pixels lie in the picture's.

A view is a picture brought to a size, keeping its aspect, and perhaps mirrored left to right. What a network
says of it is about the view's pixels; a :class:`Frame` takes boxes there and back, and turns masks back.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from htc_lab.config import ImageConfig
from htc_lab.errors import InputError
from htc_lab.transfer import send

_MOST = 100_000
_WORDS = "give SHORTxLONG in px, such as 600x900, own for the model's own test size, or flip"


@dataclass(frozen=True)
class Frame:
    """How the pixels of a view lie in those of its picture.

    Attributes:
        picture: (height, width) px of the picture.
        size: (height, width) px of the view.
        flip: whether it is mirrored left to right.
    """

    picture: tuple[int, int]
    size: tuple[int, int]
    flip: bool

    def _scale(self, boxes: Tensor) -> Float[Tensor, " 4"]:
        (height, width), (rows, columns) = self.picture, self.size
        return send(torch.tensor([columns / width, rows / height] * 2), boxes.device)

    def _mirrored(self, boxes: Tensor) -> Float[Tensor, "N 4"]:
        if not self.flip:
            return boxes
        x1, y1, x2, y2 = boxes.unbind(dim=1)
        return torch.stack([self.size[1] - x2, y1, self.size[1] - x1, y2], dim=1)

    def into(self, boxes: Float[Tensor, "N 4"]) -> Float[Tensor, "N 4"]:
        """Boxes (xyxy px) of the picture, in the view."""
        return self._mirrored(boxes * self._scale(boxes))

    def back(self, boxes: Float[Tensor, "N 4"]) -> Float[Tensor, "N 4"]:
        """Boxes (xyxy px) of the view, in the picture."""
        return self._mirrored(boxes) / self._scale(boxes)

    def turned_back(self, masks: Float[Tensor, "N h w"]) -> Float[Tensor, "N h w"]:
        """Masks on their boxes' own grids, seen in the view, as they lie in the picture."""
        return masks.flip(-1) if self.flip else masks


@dataclass(frozen=True)
class View:
    """One way to look at a picture.

    Attributes:
        size: the short side becomes so long (px), unless the long one would pass the second number; None: the
            model's own test size.
        flip: mirror the picture left to right.

    Raises:
        InputError: a size that no picture can have.
    """

    size: tuple[int, int] | None = None
    flip: bool = False

    def __post_init__(self) -> None:
        if self.size is None:
            return
        short, long = self.size
        if not (1 <= short <= _MOST and 1 <= long <= _MOST):
            raise InputError(f"view {short}x{long}: sides must be from 1 to {_MOST} px; {_WORDS}")
        if short > long:
            raise InputError(f"view {short}x{long}: the short side comes first; give {long}x{short}")

    def __str__(self) -> str:
        """As it is written on the command line: ``600x900``, and ``600x900 flip`` for its mirror image."""
        size = "own" if self.size is None else f"{self.size[0]}x{self.size[1]}"
        return f"{size} flip" if self.flip else size

    def config(self, config: ImageConfig) -> ImageConfig:
        """A model's numbers for pictures, with this view's size in the place of its test size."""
        if self.size is None:
            return config
        return dataclasses.replace(config, short=self.size[0], long=self.size[1])

    def of(
        self, image: Shaped[Tensor, "3 H W"], config: ImageConfig
    ) -> tuple[Shaped[Tensor, "3 h w"], Frame]:
        """The view of a picture for a model with these numbers, and how the two lie in each other."""
        from htc_lab.data.transforms import resize_image

        own = self.config(config)
        seen = resize_image(image, own.short, own.long)[0]
        frame = Frame((image.shape[1], image.shape[2]), (seen.shape[1], seen.shape[2]), self.flip)
        return seen.flip(-1) if self.flip else seen, frame


OWN = (View(),)
"""The picture as a model looks at it by itself."""


def parse_views(words: Sequence[str]) -> tuple[View, ...]:
    """Views from words: sizes as ``600x900``, ``own``, and ``flip`` for the mirror image of each of them too.

    ``flip`` alone is the model's own size and its mirror image.

    Raises:
        InputError: no word, one that is no view, or the same size twice; the message says what to give.
    """
    if not words:
        raise InputError(f"--views: no view given; {_WORDS}")
    sizes: list[View] = []
    for word in words:
        if word == "flip":
            continue
        view = View(None if word == "own" else _size(word))
        if view in sizes:
            raise InputError(f"--views {view}: given twice; leave one out")
        sizes.append(view)
    flips = (False, True) if "flip" in words else (False,)
    return tuple(dataclasses.replace(view, flip=flip) for view in sizes or OWN for flip in flips)


def _size(word: str) -> tuple[int, int]:
    short, cross, long = word.partition("x")
    if not cross or not all(side.isascii() and side.isdigit() and len(side) < 10 for side in (short, long)):
        raise InputError(f"--views {word:.80}: is no view; {_WORDS}, and name pictures before the flags")
    return int(short), int(long)
