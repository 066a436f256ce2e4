"""Detections, proposals and truth drawn onto a picture."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from htc_lab.plots.canvas import Canvas
from htc_lab.plots.palette import FILL, OBJECT_COLOURS, WHITE, colour_number, colour_of, is_dashed
from htc_lab.structures import Detections, Targets

MOST_LABELS = 12


def detection_words(name: str, score: float, false: bool = False) -> str:
    """The label of a detection, the same in every picture of the lab."""
    return f"{name} {score:.2f}" + " · false" * false


def missed_words(name: str) -> str:
    """The label of a true object that nothing found."""
    return f"missed: {name}"


def draw_detections(
    image: Tensor | np.ndarray,
    detections: Detections,
    class_names: Sequence[str],
    *,
    numbers: Sequence[int] | None = None,
    false: Sequence[bool] | None = None,
    truth: Targets | None = None,
    missed: Sequence[int] = (),
    masks: bool = True,
    boxes: bool = True,
    labels: bool = True,
    side: int = 640,
    weight: float = 1.0,
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw masks, boxes and labels over the picture.

    Args:
        image: (3, H, W) tensor or (H, W, 3) array, uint8 RGB.
        detections: at the size of ``image``, best first.
        class_names: of the labels 0..K-1.
        numbers: which colour each has (see ``colour_number``); default: their places.
        false: which detections to mark as false: hatched, and the word in the label.
        truth: drawn as white dashes on black where given.
        missed: the ground truths to label as missed.
        masks, boxes, labels: what to draw. Of more than 12 objects only the 12 best are labelled.
        side: a smaller picture is enlarged, by a whole number, to about this many px on its longer side.
        weight: makes lines and labels thicker, for pictures that are shown small.

    Returns:
        RGB, a whole multiple of the picture's size.
    """
    numbers = range(len(detections)) if numbers is None else numbers
    false = [False] * len(detections) if false is None else false
    canvas = Canvas(image, side, weight)
    pixels = detections.masks.cpu().numpy()
    where = detections.boxes.tolist()
    # Worst first, so that the best ends up on top.
    for i in reversed(range(len(detections))):
        colour, dashed = colour_of(numbers[i]), is_dashed(numbers[i])
        if masks:
            canvas.fill(pixels[i], colour, FILL, hatched=false[i])
            canvas.outline(pixels[i], colour, dashed)
        if boxes:
            canvas.box(where[i], colour, dashed)
    if truth is not None:
        _draw_truth(canvas, truth)
    if labels:
        best = range(min(len(detections), MOST_LABELS))
        texts = [
            detection_words(class_names[int(detections.labels[i])], float(detections.scores[i]), false[i])
            for i in best
        ]
        places = [where[i] for i in best]
        colours = [colour_of(numbers[i]) for i in best]
        if truth is not None:
            texts += [missed_words(class_names[int(truth.labels[k])]) for k in missed]
            places += [truth.boxes[k].tolist() for k in missed]
            colours += [WHITE] * len(missed)
        canvas.labels(texts, places, colours)
    return canvas.pixels


def draw_boxes(
    image: Tensor | np.ndarray,
    others: Float[Tensor, "m 4"],
    boxes: Float[Tensor, "n 4"],
    *,
    numbers: Sequence[int] | None = None,
    truth: Targets | None = None,
    side: int = 640,
    weight: float = 1.0,
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw boxes only, as for proposals: ``boxes`` in their objects' colours above thin white ``others``.

    Args:
        image: (3, H, W) tensor or (H, W, 3) array, uint8 RGB.
        others: xyxy px.
        boxes: xyxy px.
        numbers, truth, side, weight: as in :func:`draw_detections`.
    """
    numbers = range(len(boxes)) if numbers is None else numbers
    canvas = Canvas(image, side, weight)
    bare = canvas.pixels.copy()
    for box in others.tolist():
        canvas.box(box, WHITE, thickness=0.5)
    # Half transparent, so that a hundred boxes don't hide the picture.
    canvas.pixels = (bare // 2) + (canvas.pixels // 2)
    for i in reversed(range(len(boxes))):
        canvas.box(boxes[i].tolist(), colour_of(numbers[i]), is_dashed(numbers[i]), thickness=1.6)
    if truth is not None:
        _draw_truth(canvas, truth)
    return canvas.pixels


def draw_truth(
    image: Tensor | np.ndarray,
    targets: Targets,
    class_names: Sequence[str],
    *,
    side: int = 640,
    weight: float = 1.0,
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw the true masks and boxes, each object in its colour and with its class."""
    canvas = Canvas(image, side, weight)
    order = range(len(targets.boxes))
    numbers = [colour_number(k, len(targets.boxes)) for k in order]
    for k, number in enumerate(numbers):
        mask = targets.masks[k].cpu().numpy()
        canvas.fill(mask, colour_of(number), FILL)
        canvas.outline(mask, colour_of(number), is_dashed(number))
    for k, number in enumerate(numbers):
        canvas.box(targets.boxes[k].tolist(), colour_of(number), is_dashed(number))
    names = [class_names[int(label)] for label in targets.labels]
    canvas.labels(names, targets.boxes.tolist(), [colour_of(number) for number in numbers])
    return canvas.pixels


def draw_semantic(semantic: Tensor, side: int = 640) -> UInt8[np.ndarray, "h w 3"]:
    """Draw a semantic map, (H, W) uint8 class indices, in colours; ignored pixels (255) are dark grey."""
    values = semantic.cpu().numpy()
    table = np.full((256, 3), 0x33, dtype=np.uint8)
    for k in range(255):
        # When the eight colours repeat they get paler, so that classes stay distinguishable.
        paler = 0.5 ** (k // len(OBJECT_COLOURS))
        table[k] = [round(255 - (255 - v) * paler) for v in OBJECT_COLOURS[k % len(OBJECT_COLOURS)]]
    scale = max(1, round(side / max(values.shape)))
    return np.ascontiguousarray(table[values].repeat(scale, axis=0).repeat(scale, axis=1))


def _draw_truth(canvas: Canvas, truth: Targets) -> None:
    for mask in truth.masks.cpu().numpy():
        canvas.outline(mask, WHITE, dashed=True, thickness=1.0)
