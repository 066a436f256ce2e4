"""Figures of one picture: its truth, what each stage makes of it, and several models side by side."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from htc_lab.config import Toggles
from htc_lab.data.dataset import Sample
from htc_lab.data.transforms import resize_sample
from htc_lab.errors import InputError
from htc_lab.evaluate.identity import Identities
from htc_lab.evaluate.matching import Comparison, compare_with_truth, follow
from htc_lab.merged_predictor import MergedPredictor
from htc_lab.model import HybridTaskCascade
from htc_lab.plots.drawing import draw_boxes, draw_detections, draw_semantic, draw_truth
from htc_lab.plots.figure import Picture, row_of_pictures
from htc_lab.plots.palette import colour_number, rung_words
from htc_lab.structures import Detections, Targets
from htc_lab.trace import StageTrace
from htc_lab.wording import counted

_SIDE, _WEIGHT = 512, 1.3


def show_sample(sample: Sample, class_names: Sequence[str]) -> Picture:
    """A sample's picture, its true masks and boxes, and its semantic map if it has one."""
    targets = sample.targets
    pictures = [
        (draw_truth(sample.image, _nothing_of(targets), class_names, side=_SIDE), "Picture", ""),
        (
            draw_truth(sample.image, targets, class_names, side=_SIDE),
            "Truth",
            counted(len(targets.boxes), "object"),
        ),
    ]
    if targets.semantic is not None:
        kinds = len(torch.unique(targets.semantic[targets.semantic != 255]))
        pictures.append(
            (
                draw_semantic(targets.semantic, _SIDE),
                "Semantic map",
                counted(kinds, "class", "classes") + " of things and stuff",
            )
        )
    return row_of_pictures(pictures)


def _nothing_of(targets: Targets) -> Targets:
    return Targets(targets.boxes[:0], targets.labels[:0], targets.masks[:0])


def result_words(trace: StageTrace) -> str:
    """The name for the end of the cascade: the mean of the masks, or the last stage's."""
    if trace.toggles.average_masks and len(trace.stages) > 1:
        return "Mean"
    return f"Result: stage {len(trace.stages)} alone"


def at_size_of(image: Tensor, trace: StageTrace) -> StageTrace:
    """The trace in the pixels of its picture, as that was given or at the network's size.

    Raises:
        InputError: the picture has neither size, or the trace is of several pictures.
    """
    if len(trace.sizes) != 1:
        raise InputError(
            f"trace: holds {counted(len(trace.sizes), 'picture')}; give trace.of_image(i) of the one to show"
        )
    size = tuple(image.shape[-2:])
    if size == trace.sizes[0]:
        return trace
    if size == trace.pictures[0]:
        return trace.at_picture_size()
    raise InputError(
        f"image: is {size} (H, W), but the trace was made of one of {trace.pictures[0]}; give the picture "
        "that was encoded"
    )


def _caption(comparison: Comparison, with_masks: bool = True) -> str:
    """The means over the objects found at the end, or nothing if none were found."""
    if comparison.found == 0:
        return "no object found"
    here = comparison.truth >= 0
    words = f"box IoU {float(comparison.box_iou[here].mean()):.2f}"
    return words + f" · mask IoU {float(comparison.mask_iou[here].mean()):.2f}" * with_masks


def _colours(
    things: Identities, model: str, rois: Tensor | None, found: Detections, comparison: Comparison | None
) -> list[int]:
    """The number of each detection's colour."""
    match = None if comparison is None else comparison.truth.numpy()
    numbers = things.of(model, rois, found.labels, found.boxes, found.scores, match)
    return [colour_number(number, things.true) for number in numbers]


def show_stages(
    image: Tensor,
    trace: StageTrace,
    class_names: Sequence[str],
    targets: Targets | None = None,
    threshold: float = 0.3,
    headline: str = "",
) -> Picture:
    """One row: proposals, each stage, the result. An object keeps its colour throughout.

    The caption of each picture is the mean IoU with the truth over the objects found at the end, so that the
    numbers in a row are about the same objects.

    Args:
        image: (3, H, W) uint8, the picture that was encoded, as it was given or at the network's size.
        trace: of this one picture.
        class_names: of the labels 0..K-1.
        targets: its truth at the size of ``image``; without it there are no figures.
        threshold: objects whose final score is below are left out.
        headline: above the row; default: how many objects were found.

    Raises:
        InputError: trace and image don't belong together.
    """
    trace = at_size_of(image, trace)
    chosen = trace.scores >= threshold
    result = trace.detections().select(chosen)
    end = None if targets is None else compare_with_truth(result, targets)
    numbers = _colours(Identities(targets), "", trace.detected[chosen], result, end)
    views = [trace.said_by(t).select(chosen) for t in range(len(trace.stages))]

    starts = trace.proposals.rois.boxes
    followed = starts[trace.detected[chosen]]
    captions = [""] * (len(views) + 2)
    if targets is not None and end is not None:
        start = dataclasses.replace(result, boxes=followed)
        captions = [_caption(follow(start, targets, end.truth), with_masks=False)]
        captions += [_caption(follow(view, targets, end.truth)) for view in views] + [_caption(end)]
        headline = headline or (
            f"{end.found} of {counted(len(targets.boxes), 'object')} found, {end.false} false. "
            "IoU with the truth: mean over the objects found."
        )
    pictures = [
        (
            draw_boxes(image, starts, followed, numbers=numbers, side=_SIDE, weight=_WEIGHT),
            f"Proposals ({len(starts)})",
            captions[0],
        )
    ]
    words = [f"Stage {t + 1}" for t in range(len(views))] + [result_words(trace)]
    for place, (view, title, caption) in enumerate(zip([*views, result], words, captions[1:], strict=True)):
        drawn = draw_detections(
            image, view, class_names, numbers=numbers, labels=place == len(views), side=_SIDE, weight=_WEIGHT
        )
        pictures.append((drawn, title, caption))
    return row_of_pictures(pictures, headline)


def show_looks(
    image: Tensor,
    predictor: MergedPredictor,
    targets: Targets | None = None,
    threshold: float = 0.3,
) -> Picture:
    """One row: each look's masks on the boxes of the merged result, and their mean.

    Args:
        image: (3, H, W) uint8.
        predictor: of several views or models.
        targets: the truth of the picture; without it there are no figures.
        threshold: as in :func:`show_stages`.

    Raises:
        InputError: it is no RGB image.
    """
    trace, masks = predictor.by_look(image)
    chosen = trace.scores >= threshold
    views = [
        dataclasses.replace(trace, mask_probabilities=each).detections().select(chosen)
        for each in masks.values()
    ]
    result = trace.detections().select(chosen)
    end = None if targets is None else compare_with_truth(result, targets)
    numbers = _colours(Identities(targets), "", trace.detected[chosen], result, end)
    pictures = []
    for title, found in zip([*masks, "Mean"], [*views, result], strict=True):
        drawn = draw_detections(
            image,
            found,
            predictor.class_names,
            numbers=numbers,
            labels=found is result,
            side=_SIDE,
            weight=_WEIGHT,
        )
        caption = "" if targets is None or end is None else _caption(follow(found, targets, end.truth))
        pictures.append((drawn, title, caption))
    return row_of_pictures(pictures, columns=None if len(pictures) < 7 else 5)


def show_model(
    model: HybridTaskCascade, sample: Sample, toggles: Toggles | None = None, threshold: float = 0.3
) -> Picture:
    """:func:`show_stages` for a sample and a model, at the model's test size.

    Args:
        model: in evaluation mode.
        sample: with its truth, of any size.
        toggles: default: what the model was trained with.
        threshold: as in :func:`show_stages`.

    Raises:
        InputError: the weights can't serve the toggles.
    """
    size = model.config.image
    fitted = resize_sample(sample, size.short, size.long)
    with torch.inference_mode():
        features = model.encode([fitted.image])
        trace = model.cascade(features, model.propose(features), toggles)
    return show_stages(fitted.image, trace, model.class_names, fitted.targets, threshold)


def compare_rungs(
    image: Tensor,
    models: Mapping[str, HybridTaskCascade],
    class_names: Sequence[str],
    targets: Targets | None = None,
    threshold: float = 0.3,
) -> Picture:
    """The same picture as several models see it, each with the toggles it was trained with.

    Args:
        image: (3, H, W) uint8.
        models: by name; the names of the ladder's rungs are put into words.
        class_names: of the labels 0..K-1.
        targets: the truth at the size of ``image``, shown first and used to count hits and misses.
        threshold: detections with a lower score are left out.
    """
    things = Identities(targets)
    pictures = []
    if targets is not None:
        truth = draw_truth(image, targets, class_names, side=_SIDE, weight=_WEIGHT)
        pictures.append((truth, "Truth", counted(len(targets.boxes), "object")))
    for name, model in models.items():
        found = model.predict([image])[0].above(threshold)
        pictures.append(_one_model(image, name, found, class_names, targets, things))
    return row_of_pictures(pictures, columns=3 if len(pictures) in (5, 6) else None)


def _one_model(
    image: Tensor,
    name: str,
    found: Detections,
    class_names: Sequence[str],
    targets: Targets | None,
    things: Identities,
) -> tuple[np.ndarray, str, str]:
    caption, false, comparison = counted(len(found), "object"), None, None
    if targets is not None:
        comparison = compare_with_truth(found, targets)
        false = (comparison.truth < 0).tolist()
        mean = comparison.mean(comparison.mask_iou)
        caption = f"{comparison.found} found, {comparison.false} false · mask IoU {mean:.2f}"
    drawn = draw_detections(
        image,
        found,
        class_names,
        numbers=_colours(things, name, None, found, comparison),
        false=false,
        side=_SIDE,
        weight=_WEIGHT,
    )
    return drawn, rung_words(name), caption
