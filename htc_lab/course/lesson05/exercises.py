"""05: the semantic branch: merging levels, fusing the feature, and its loss."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from htc_lab.config import SemanticConfig
from htc_lab.course.exercise import Case, Exercise, Mistake
from htc_lab.course.shared_draws import generator_of, whole
from htc_lab.stages import semantic


def merge_levels(levels: Sequence[Tensor], target: int) -> Tensor:
    """The sum of all levels, each resized to the size of level ``target``."""
    return _merged(levels, target, mode="bilinear", align_corners=True)


def _merged(levels: Sequence[Tensor], target: int, **how: Any) -> Tensor:
    size = levels[target].shape[-2:]
    return torch.stack([F.interpolate(level, size=size, **how) for level in levels]).sum(dim=0)


def _levels_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    c, rows, columns = whole(g, 2, 4), whole(g, 2, 3), whole(g, 4, 5)
    levels = [torch.randn((1, c, rows * s, columns * s), generator=g) for s in (8, 4, 2, 1)]
    return [Case(f"4 levels of {c} channels, all to level {target}", (levels, target)) for target in (1, 0)]


LEVELS = Exercise(
    "05.1",
    "merge_levels",
    "Merge the pyramid at one level",
    merge_levels,
    _levels_cases,
    "Call `F.interpolate(level, size=..., mode='bilinear', align_corners=True)` for each level, then add "
    "them up.",
    (
        Mistake(
            lambda levels, target: _merged(levels, target, mode="bilinear", align_corners=False),
            "The corners don't line up: the reference resizes with `align_corners=True`.",
        ),
        Mistake(
            lambda levels, target: _merged(levels, target, mode="nearest"),
            "You repeat cells. The reference resizes bilinearly.",
        ),
        Mistake(
            lambda levels, target: merge_levels(levels, target) / len(levels),
            "This is the mean. The levels are added up.",
        ),
    ),
)


def _fuse_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    n, c = whole(g, 2, 4), whole(g, 3, 6)
    context = torch.randn((n, c, 14, 14), generator=g)
    box, mask = (torch.randn((n, c, side, side), generator=g) for side in (7, 14))
    return [
        Case(f"box features, {n} RoIs, 7 × 7", (box, context)),
        Case(f"mask features, {n} RoIs, 14 × 14", (mask, context)),
    ]


def _fused_by(shrink: Any) -> Any:
    def answer(features: Tensor, context: Tensor) -> Tensor:
        small = context.shape[-1] != features.shape[-1]
        return features + (shrink(context) if small else context)

    return answer


FUSE = Exercise(
    "05.2",
    "fuse_context",
    "Fuse the semantic feature for boxes and masks",
    semantic.fuse,
    _fuse_cases,
    "For masks, add the context as it is. For boxes, bring it from 14 × 14 to 7 × 7 first: the mean of each "
    "2 × 2 cells (`F.avg_pool2d(context, 2)`).",
    (
        Mistake(
            _fused_by(lambda c: c[..., ::2, ::2]),
            "You take every second cell. Take the *mean* of each 2 × 2.",
        ),
        Mistake(
            _fused_by(lambda c: F.max_pool2d(c, 2)),
            "You take the largest of each 2 × 2 cells. Take their mean.",
        ),
        Mistake(
            _fused_by(lambda c: F.avg_pool2d(c, 2) * 4),
            "You add up each 2 × 2 cells. Take their mean: a quarter of that.",
        ),
        Mistake(
            lambda f, c: f + F.adaptive_avg_pool2d(c.mean(dim=(2, 3), keepdim=True), f.shape[-1]),
            "You average the context over the whole RoI. Keep it apart by position.",
        ),
    ),
)


def segmentation_loss(logits: Tensor, labels: Tensor, count_ignored: bool) -> Tensor:
    """Cross-entropy summed over the known pixels, divided by their number or by that of all pixels."""
    config = SemanticConfig(classes=logits.shape[1], loss_weight=1.0, mean_over_valid=not count_ignored)
    return semantic.semantic_loss(logits, labels.to(torch.uint8), 1, config)


def _loss_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    b, classes, side = whole(g, 1, 2), whole(g, 3, 6), whole(g, 5, 8)
    logits = torch.randn((b, classes, side, side), generator=g)
    labels = torch.randint(classes, (b, side, side), generator=g)
    labels[torch.rand(labels.shape, generator=g) < 0.3] = 255
    unknown = torch.full_like(labels, 255)
    return [
        Case("30 % of the pixels ignored, mean over the known ones", (logits, labels, False)),
        Case("30 % of the pixels ignored, mean over all", (logits, labels, True)),
        Case("a map without any known pixel", (logits, unknown, False)),
    ]


def _nan_safe(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, ignore_index=255, reduction="sum")


LOSS = Exercise(
    "05.3",
    "segmentation_loss",
    "Semantic loss with ignored pixels",
    segmentation_loss,
    _loss_cases,
    "Call `F.cross_entropy(logits, labels, ignore_index=255, reduction='sum')`, then divide by the right "
    "number of pixels, which is at least 1.",
    (
        Mistake(
            lambda x, y, count: F.cross_entropy(x, y, ignore_index=255),
            "This is always the mean over the known pixels (and NaN if there are none). Take the sum, then "
            "divide yourself.",
        ),
        Mistake(
            lambda x, y, count: _nan_safe(x, y) / y.numel(),
            "You always divide by all pixels. With count_ignored=False only the known ones count.",
        ),
        Mistake(
            lambda x, y, count: F.cross_entropy(x, y.clamp(max=x.shape[1] - 1)),
            "You turn 255 into the last class: the branch would learn to predict that class wherever the "
            "truth is unknown.",
        ),
    ),
    points=3,
)

EXERCISES = (LEVELS, FUSE, LOSS)
