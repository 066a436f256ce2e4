"""02: the losses of a training step, by stage."""

from collections.abc import Sequence

import torch
from IPython.display import Markdown

from htc_lab.data.dataset import Sample
from htc_lab.data.transforms import TrainTransform
from htc_lab.model import HybridTaskCascade


def loss_table(model: HybridTaskCascade, samples: Sequence[Sample], seed: int = 0) -> Markdown:
    """The losses of one batch, one row per stage: unweighted, and times the stage's weight as logged."""
    size = model.config.image
    fit = TrainTransform((size.short,), size.long, flip=0.0)
    fitted = [fit(sample, torch.Generator()) for sample in samples]
    with torch.no_grad():
        losses = model.losses(
            [sample.image for sample in fitted],
            [sample.targets for sample in fitted],
            generator=torch.Generator().manual_seed(seed),
        )
    lines = [
        "| in the log | stage | IoU | weight | classes | boxes | masks | correct, % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for t, stage in enumerate(model.config.cascade.stages):
        weight = stage.loss_weight
        parts = [float(losses[f"s{t}.{name}"]) for name in ("loss_cls", "loss_bbox", "loss_mask")]
        shown = " | ".join(f"{part / weight:.3f} → {part:.3f}" for part in parts)
        right = float(losses[f"s{t}.acc"])
        lines.append(f"| `s{t}` | {t + 1} | {stage.iou} | {weight} | {shown} | {right:.0f} |")
    return Markdown("\n".join(lines))
