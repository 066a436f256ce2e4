"""One model under many settings of the switches: what settings share is computed once.

The traces are those of ``model.cascade``. Only ``semantic_box`` changes boxes and detections, and a mask
depends on the boxes it is taken on, on ``semantic_mask`` and on ``mask_flow``; interleaving decides which of
those masks a stage's view shows. Sixteen settings thus take two box cascades instead of sixteen, and no trunk
of a mask head runs twice on the same boxes.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.config import Toggles
from htc_lab.layers.detection import detect
from htc_lab.layers.mask_head import MaskHead
from htc_lab.model import HybridTaskCascade
from htc_lab.stages import mask_flow
from htc_lab.stages.plain_cascade import BoxOutput, class_probabilities, run_box_cascade
from htc_lab.structures import Features, Proposals, RoIs
from htc_lab.trace import StageRecord, StageTrace

Choice = Callable[[Tensor], Tensor]
"""Places of the detections that count, of (T + 1, D) scores: at each stage, and last the result's."""

# (place, semantic_mask): what one pooling serves. Places are the stages that made the boxes, 0 the proposals.
_Pooled = tuple[int, bool]
# (stage from 0, mask_flow): one mask of those.
_Mask = tuple[int, bool]


def run_settings(
    model: HybridTaskCascade,
    features: Features,
    proposals: Proposals,
    settings: Iterable[Toggles],
    choose: Choice | None = None,
    step: Callable[[], None] = lambda: None,
) -> dict[Toggles, StageTrace]:
    """A trace for each setting, with the per-stage view.

    Args:
        model: in eval mode.
        features, proposals: of one picture or a batch, from ``encode`` and ``propose``.
        settings: any the weights can serve.
        choose: of the detections, those to be in the traces: no mask is made of another.
        step: called after each of ``count_steps(settings)`` parts of the work.

    Raises:
        InputError: the weights can't serve a setting.
    """
    settings = list(settings)
    for toggles in settings:
        model.roi_head.check(toggles)
    traces: dict[Toggles, StageTrace] = {}
    with torch.inference_mode():
        features = features.for_pooling()
        for mine in _by_boxes(settings):
            traces |= _with_these_boxes(model, features, proposals, mine, choose, step)
    return {toggles: traces[toggles] for toggles in settings}


def count_steps(settings: Iterable[Toggles]) -> int:
    """Parts that the work of some settings has: a box cascade, or the masks of one pooling."""
    return sum(1 + len(_wanted(mine)) for mine in _by_boxes(settings))


def _by_boxes(settings: Iterable[Toggles]) -> Iterator[list[Toggles]]:
    """Settings that agree in everything the boxes depend on."""
    groups: dict[tuple[bool, int], list[Toggles]] = defaultdict(list)
    for toggles in settings:
        groups[toggles.semantic_box, toggles.stages].append(toggles)
    return iter([groups[key] for key in sorted(groups)])


def _seen(toggles: Toggles, t: int) -> tuple[_Pooled, _Mask]:
    """Which mask the view of stage t (from 0) shows."""
    return (t + 1 if toggles.interleaved else t, toggles.semantic_mask), _mask(toggles, t)


def _final(toggles: Toggles, t: int) -> tuple[_Pooled, _Mask]:
    """Which mask of stage t (from 0) the result takes."""
    return (toggles.stages, toggles.semantic_mask), _mask(toggles, t)


def _mask(toggles: Toggles, t: int) -> _Mask:
    # Nothing flows into the first stage.
    return t, toggles.mask_flow and t > 0


def _wanted(settings: Iterable[Toggles]) -> dict[_Pooled, set[_Mask]]:
    wanted: dict[_Pooled, set[_Mask]] = defaultdict(set)
    for toggles in settings:
        for t in range(toggles.stages):
            for where, mask in (_seen(toggles, t), _final(toggles, t)):
                wanted[where].add(mask)
    return wanted


def _with_these_boxes(
    model: HybridTaskCascade,
    features: Features,
    proposals: Proposals,
    settings: list[Toggles],
    choose: Choice | None,
    step: Callable[[], None],
) -> dict[Toggles, StageTrace]:
    """Traces of settings that agree in everything the boxes depend on."""
    head, config = model.roi_head, model.config.cascade
    first, stages = settings[0], settings[0].stages
    outputs, boxes = run_box_cascade(
        list(head.bbox_head)[:stages],  # type: ignore[arg-type]
        config.stages[:stages],
        lambda rois: head.box_features(features, rois, first),
        proposals.rois,
        features.sizes,
    )
    found = detect(boxes[-1], class_probabilities(outputs), len(features.sizes), config)
    detected, labels, scores = found if choose is None else _chosen(choose, outputs, *found)
    at = [each.select(detected) for each in boxes]
    step()

    mask_heads: list[MaskHead] = list(head.mask_head)[:stages]  # type: ignore[assignment]
    masks: dict[tuple[_Pooled, _Mask], Tensor] = {}
    for (place, semantic_mask), wanted in _wanted(settings).items():
        pooled = head.mask_features(
            features, at[place], dataclasses.replace(first, semantic_mask=semantic_mask)
        )
        for mask, logits in _masks(mask_heads, pooled, labels, wanted).items():
            masks[(place, semantic_mask), mask] = logits
        step()
    return {
        toggles: _trace(toggles, features, proposals, outputs, boxes, (detected, labels, scores), at, masks)
        for toggles in settings
    }


def _chosen(
    choose: Choice, outputs: Sequence[BoxOutput], detected: Tensor, labels: Tensor, scores: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    alone = [output.class_logits.softmax(dim=1)[detected, labels] for output in outputs]
    keep = choose(torch.stack([*alone, scores]))
    return detected[keep], labels[keep], scores[keep]


def _masks(
    heads: Sequence[MaskHead],
    pooled: Float[Tensor, "D C h w"],
    labels: Int[Tensor, " D"],
    wanted: set[_Mask],
) -> dict[_Mask, Float[Tensor, "D side side"]]:
    """Logits on one pooling: every trunk once, and none that no wanted mask needs."""
    found = {}
    flows_to = max((t for t, flow in wanted if flow), default=0)
    chain = {(t, t > 0) for t in range(flows_to + 1)} if flows_to else set()
    before: Tensor | None = None
    for t, head in enumerate(heads):
        for flow in (False, True):
            if (t, flow) not in wanted | chain:
                continue
            trunk = head.trunk(mask_flow.fuse(head, pooled, before if flow else None))
            if flow or t == 0:
                before = trunk
            if (t, flow) in wanted:
                found[t, flow] = head.class_logits(trunk, labels)
    return found


def _trace(
    toggles: Toggles,
    features: Features,
    proposals: Proposals,
    outputs: Sequence[BoxOutput],
    boxes: Sequence[RoIs],
    found: tuple[Tensor, Tensor, Tensor],
    at: Sequence[RoIs],
    masks: dict[tuple[_Pooled, _Mask], Tensor],
) -> StageTrace:
    """What was computed, as the trace of one setting."""
    final = [masks[_final(toggles, t)] for t in range(toggles.stages)]
    records = []
    for t, output in enumerate(outputs):
        seen = _seen(toggles, t)
        (place, _), _ = seen
        records.append(
            StageRecord(
                output.rois.boxes,
                output.class_logits,
                output.deltas,
                boxes[t + 1].boxes,
                at[place].boxes,
                masks[seen],
                final[t],
            )
        )
    averaged = final if toggles.average_masks else final[-1:]
    mean = torch.stack([logits.sigmoid() for logits in averaged]).mean(dim=0)
    return StageTrace(toggles, features.sizes, proposals, tuple(records), *found, at[-1].boxes, mean)
