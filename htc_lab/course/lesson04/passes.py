"""04: how often each mask trunk runs, in training and at test time, and on whose boxes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from IPython.display import Markdown
from torch import Tensor

from htc_lab.config import Toggles
from htc_lab.course.looked_at import Seen
from htc_lab.layers.mask_head import MaskHead
from htc_lab.model import HybridTaskCascade
from htc_lab.shared_work import Run, call
from htc_lab.structures import Features, RoIs


@dataclass(frozen=True)
class MaskPasses:
    """What the mask heads did during one call of the model.

    Attributes:
        trunks: by stage, how often its trunk ran.
        boxes: each set of boxes (n, 4) that features were pooled from for masks, in order.
    """

    trunks: list[int]
    boxes: list[Tensor]


@contextmanager
def watch_masks(model: HybridTaskCascade) -> Iterator[MaskPasses]:
    """Count, for the time of a ``with`` block, what the mask heads of a model are asked to do."""
    cascade = model.roi_head
    heads = cast(list[MaskHead], list(cascade.mask_head))
    seen = MaskPasses([0] * len(heads), [])

    def count(stage: int) -> None:
        seen.trunks[stage] += 1

    hooks = [head.convs[0].register_forward_hook(lambda *_, t=t: count(t)) for t, head in enumerate(heads)]
    pooled = cascade.mask_features

    def pooling(features: Features, rois: RoIs, toggles: Toggles, run: Run = call) -> Tensor:
        seen.boxes.append(rois.boxes.clone())
        return pooled(features, rois, toggles, run)

    cascade.mask_features = pooling  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        del cascade.mask_features
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def mask_passes(model: HybridTaskCascade, scene: Seen, seed: int = 0) -> dict[str, MaskPasses]:
    """One training step's losses and one test-time run over a scene: ``{"training": ..., "test": ...}``."""
    with watch_masks(model) as training:
        model.losses([scene.image], [scene.targets], generator=torch.Generator().manual_seed(seed))
    with watch_masks(model) as test:
        model.cascade(scene.features, scene.proposals, per_stage_view=False)
    return {"training": training, "test": test}


def pass_table(passes: dict[str, MaskPasses]) -> Markdown:
    """The counts, a row for training and one for test time."""
    stages: Sequence[int] = range(1, 1 + len(next(iter(passes.values())).trunks))
    lines = [
        "| | " + " | ".join(f"trunk {t}" for t in stages) + " | sets of boxes that masks are taken on |",
        "|---|" + "---|" * len(stages) + "---|",
    ]
    for words, seen in passes.items():
        counts = " | ".join(f"{count} ×" for count in seen.trunks)
        sizes = ", ".join(str(len(boxes)) for boxes in seen.boxes)
        lines.append(f"| {words} | {counts} | {len(seen.boxes)} (of {sizes} boxes) |")
    return Markdown("\n".join(lines))
