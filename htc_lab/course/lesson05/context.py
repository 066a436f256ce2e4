"""05: what the semantic branch sees, and what its feature is good for."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from htc_lab.course.looked_at import Seen
from htc_lab.data.classroom.scenes import SceneConfig, make_scene
from htc_lab.data.classroom.tree import scene_seed
from htc_lab.evaluate.matching import compare_with_truth
from htc_lab.layers.boxes import pairwise_iou
from htc_lab.model import HybridTaskCascade
from htc_lab.stages.semantic import IGNORED_PIXEL


def predicted_map(scene: Seen) -> Tensor:
    """(H, W) uint8: for each pixel of the picture, the class the semantic branch scores highest."""
    logits = scene.features.semantic_logits
    assert logits is not None, "this model was built without the semantic branch"
    height, width = scene.features.sizes[0]
    stride = scene.features.levels[0].shape[-1] * 4 // logits.shape[-1]
    full = F.interpolate(logits, scale_factor=float(stride), mode="bilinear", align_corners=False)
    return full[0, :, :height, :width].argmax(dim=0).to(torch.uint8)


def class_iou(scenes: Sequence[Seen], classes: int) -> Tensor:
    """(classes,) IoU of predicted and true semantic maps over all scenes; NaN for a class in neither."""
    overlap, union = torch.zeros(classes), torch.zeros(classes)
    for scene in scenes:
        true, said = scene.targets.semantic, predicted_map(scene)
        assert true is not None
        known = true != IGNORED_PIXEL
        for k in range(classes):
            a, b = (true == k) & known, (said == k) & known
            overlap[k] += (a & b).sum()
            union[k] += (a | b).sum()
    return torch.where(union > 0, overlap / union, torch.nan)


@dataclass(frozen=True)
class DecoyCount:
    """What a model finds in scenes with look-alikes.

    Attributes:
        objects, decoys: how many there are.
        found: true objects found.
        fooled: decoys taken for the thing they look like.
    """

    objects: int
    decoys: int
    found: int
    fooled: int


@torch.inference_mode()
def count_decoys(model: HybridTaskCascade, scenes: Sequence[Seen], first: int, semantic: bool) -> DecoyCount:
    """Count the decoys a model falls for.

    Args:
        model: with a semantic branch, unless ``semantic`` is False.
        scenes: consecutive test scenes starting at index ``first``, with none left out.
        first: index of the first scene in the test split.
        semantic: whether the semantic feature is fused into boxes and masks or switched off.
    """
    toggles = dataclasses.replace(model.config.toggles, semantic_box=semantic, semantic_mask=semantic)
    objects = decoys = found = fooled = 0
    for i, scene in enumerate(scenes):
        made = make_scene(scene_seed(0, "test", first + i), SceneConfig())
        scale = scene.image.shape[-1] / made.image.shape[1]
        trace = model.cascade(scene.features, scene.proposals, toggles, per_stage_view=False)
        seen = trace.detections().above(0.3)
        comparison = compare_with_truth(seen, scene.targets)
        objects, decoys = objects + len(scene.targets.boxes), decoys + len(made.decoys)
        found += comparison.found
        if made.decoys and len(seen):
            boxes = torch.tensor([decoy.box for decoy in made.decoys]).float() * scale
            near = pairwise_iou(boxes, seen.boxes) >= 0.5
            fooled += int((near & (comparison.truth < 0)).any(dim=1).sum())
    return DecoyCount(objects, decoys, found, fooled)
