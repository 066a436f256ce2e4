"""A picture to draw on: masks, boxes, outlines and labels, fast enough for a live view (no matplotlib)."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from htc_lab.plots.palette import BLACK, CASING, WHITE, Colour, font, text_on

_CASING_PX = 1.0
"""Dark rim on either side of a coloured line, px on a picture of 640 px."""


def to_pixels(image: Tensor | np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    """A (3, H, W) tensor or an (H, W, 3) array, uint8 RGB, as an (H, W, 3) array."""
    if isinstance(image, Tensor):
        image = image.detach().cpu().permute(1, 2, 0).numpy()
    return np.ascontiguousarray(image, dtype=np.uint8)


class Canvas:
    """An enlarged copy of a picture; everything drawn on it is given in the picture's own pixels.

    Attributes:
        pixels: (H * scale, W * scale, 3) uint8 RGB, drawn on in place.
        scale: canvas px per px of the picture.
        unit: thickness of a thin line in canvas px, so that pictures of all sizes look alike.
    """

    def __init__(self, image: Tensor | np.ndarray, side: int = 640, weight: float = 1.0) -> None:
        """See the class.

        Args:
            image: (3, H, W) tensor or (H, W, 3) array, uint8 RGB.
            side: a smaller picture is enlarged, by a whole number, to about this many px on its longer side.
            weight: makes lines and labels thicker, for canvases that are shown small.
        """
        pixels = to_pixels(image)
        self.height, self.width = pixels.shape[:2]
        self.scale = max(1, round(side / max(self.height, self.width)))
        size = (self.width * self.scale, self.height * self.scale)
        self.pixels = (
            cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC) if self.scale > 1 else pixels.copy()
        )
        self.unit = weight * max(1.0, max(size) / 640)

    def _enlarged(self, mask: np.ndarray) -> tuple[np.ndarray, int, int] | None:
        """The part of the canvas that a mask covers, as 0/1 with rounded corners, and its left and top."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return None
        top, left = max(int(rows[0]) - 1, 0), max(int(columns[0]) - 1, 0)
        part = mask[top : int(rows[-1]) + 2, left : int(columns[-1]) + 2].astype(np.float32)
        size = (part.shape[1] * self.scale, part.shape[0] * self.scale)
        large = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR) if self.scale > 1 else part
        return (large >= 0.5).astype(np.uint8), left * self.scale, top * self.scale

    def fill(self, mask: np.ndarray, colour: Colour, share: float, hatched: bool = False) -> None:
        """Tint the pixels of an (H, W) mask; ``share`` is how much of the colour is mixed in, 0..1."""
        found = self._enlarged(mask)
        if found is None:
            return
        inside, left, top = found
        chosen = inside.astype(bool)
        if hatched:
            step = max(2, round(5 * self.unit))
            ys, xs = np.indices(inside.shape)
            chosen &= (xs + ys) // step % 2 == 0
        part = self.pixels[top : top + inside.shape[0], left : left + inside.shape[1]]
        part[chosen] = (part[chosen] * (1 - share) + np.asarray(colour, dtype=np.float32) * share).astype(
            np.uint8
        )

    def outline(self, mask: np.ndarray, colour: Colour, dashed: bool = False, thickness: float = 1.6) -> None:
        """Draw the outlines of an (H, W) mask, holes included."""
        found = self._enlarged(mask)
        if found is None:
            return
        inside, left, top = found
        # Dashes are cut by counting pixels; a solid line is drawn far faster between its corners only.
        points = cv2.CHAIN_APPROX_NONE if dashed else cv2.CHAIN_APPROX_SIMPLE
        contours, _ = cv2.findContours(inside, cv2.RETR_CCOMP, points, offset=(left, top))
        lines = [c[:, 0] for c in contours]
        self._lines(lines, colour, thickness, dashed)

    def box(self, box: Sequence[float], colour: Colour, dashed: bool = False, thickness: float = 1.0) -> None:
        """Draw a box, xyxy px of the picture."""
        x1, y1, x2, y2 = (round(float(v) * self.scale) for v in box)
        corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
        line = np.array(corners)
        if dashed:
            sides = [_straight(a, b) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)]
            line = np.concatenate(sides)
        self._lines([line], colour, thickness, dashed)

    def _lines(self, lines: list[np.ndarray], colour: Colour, thickness: float, dashed: bool) -> None:
        """Draw closed lines, each (n, 2) canvas px; those at least a unit thick get a dark casing.

        The points of a dashed line must include every pixel along it.
        """
        lines = [line.astype(np.int32) for line in lines if len(line) > 1]
        if not lines:
            return
        width = max(1, round(thickness * self.unit))
        if thickness >= 1:
            self._darken(lines, width + max(2, round(2 * _CASING_PX * self.unit)))
        if dashed:
            dash = max(3, round(5 * self.unit))
            pieces = [line[i : i + dash] for line in lines for i in range(0, len(line), 2 * dash)]
            cv2.polylines(self.pixels, pieces, False, colour, width, cv2.LINE_AA)
        else:
            cv2.polylines(self.pixels, lines, True, colour, width, cv2.LINE_AA)

    def _darken(self, lines: list[np.ndarray], width: int) -> None:
        joined = np.concatenate(lines)
        left, top = np.maximum(joined.min(axis=0) - width, 0)
        right, bottom = joined.max(axis=0) + width + 1
        part = self.pixels[top:bottom, left:right]
        if part.size == 0:
            return
        rim = np.zeros(part.shape[:2], np.uint8)
        cv2.polylines(rim, [line - (left, top) for line in lines], True, 255, width, cv2.LINE_AA)
        part[...] = (part * (1 - CASING / 255 * rim[..., None].astype(np.float32))).astype(np.uint8)

    def labels(self, texts: list[str], boxes: list[Sequence[float]], colours: list[Colour]) -> None:
        """Write a label beside each box, placed so that it covers as little as possible of earlier labels."""
        size = max(10, round(15 * self.unit))
        face = font(size)
        pad = max(2, round(size / 4))
        height = size + pad
        picture = Image.fromarray(self.pixels)
        draw = ImageDraw.Draw(picture)
        taken: list[tuple[int, int, int, int]] = []
        for text, box, colour in zip(texts, boxes, colours, strict=True):
            width = round(draw.textlength(text, font=face)) + 2 * pad
            place = self._free_place(box, width, height, taken)
            taken.append(place)
            draw.rectangle(place, fill=colour, outline=BLACK if text_on(colour) == WHITE else None)
            middle = (place[0] + pad, (place[1] + place[3]) // 2)
            draw.text(middle, text, fill=text_on(colour), font=face, anchor="lm")
        self.pixels = np.array(picture)

    def _free_place(
        self, box: Sequence[float], width: int, height: int, taken: list[tuple[int, int, int, int]]
    ) -> tuple[int, int, int, int]:
        x1, y1, x2, y2 = (round(float(v) * self.scale) for v in box)
        near, far = x1, x2 - width
        corners = [(x, y) for x in (near, far) for y in (y1 - height, y2)]
        corners += [(near, y1), (x2, y1), (x1 - width, y1), (near, y1 - 2 * height), (near, y2 + height)]
        corners.append(((x1 + x2 - width) // 2, (y1 + y2) // 2))
        bottom, right = self.pixels.shape[:2]
        places = []
        for x, y in corners:
            x = min(max(x, 0), max(right - width, 0))
            y = min(max(y, 0), max(bottom - height, 0))
            places.append((x, y, x + width - 1, y + height - 1))
        return min(places, key=lambda place: sum(_overlap(place, other) for other in taken))


def _straight(a: tuple[int, int], b: tuple[int, int]) -> np.ndarray:
    """The points of a horizontal or vertical line from ``a`` to ``b``, not including ``b``: (n, 2)."""
    count = max(abs(b[0] - a[0]), abs(b[1] - a[1]))
    return np.linspace(a, b, count, endpoint=False).round().astype(np.int32).reshape(-1, 2)


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> int:
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    return max(width, 0) * max(height, 0)
