"""02: match, encode, sample and average, as a plain cascade does."""

from typing import Any

import torch
from torch import Tensor

from htc_lab.config import PAPER_STAGES
from htc_lab.course.exercise import Case, Exercise, Mistake
from htc_lab.course.shared_draws import generator_of, shaken, some_boxes, whole
from htc_lab.layers.boxes import Four, decode_deltas, encode_deltas, pairwise_iou
from htc_lab.layers.matching import BACKGROUND, IGNORED, match
from htc_lab.stages.plain_cascade import BoxOutput, class_probabilities
from htc_lab.structures import RoIs


def match_at(boxes: Tensor, truth: Tensor, least_iou: float) -> Tensor:
    """The object each box overlaps most, or -1 if their IoU is less than ``least_iou``."""
    return match(boxes, truth, least_iou, least_iou, None).index


def _match_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    objects, boxes = whole(g, 2, 5), whole(g, 20, 40)
    truth = some_boxes(g, objects)
    near = shaken(g, truth, boxes, 0.3)
    cases = [
        Case(f"{boxes} boxes, {objects} objects, IoU {stage.iou}", (near, truth, stage.iou))
        for stage in PAPER_STAGES
    ]
    half = torch.tensor([[0.0, 0.0, 10.0, 5.0], [0.0, 0.0, 10.0, 4.0]])
    whole_box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    cases.append(Case("a box whose IoU is exactly 0.5", (half, whole_box, 0.5)))
    return [*cases, Case("a picture without objects", (near, truth[:0], 0.5))]


def _more_than(boxes: Tensor, truth: Tensor, least_iou: float) -> Any:
    if len(truth) == 0:
        return match_at(boxes, truth, least_iou)
    best, index = pairwise_iou(boxes, truth).max(dim=1)
    return torch.where(best > least_iou, index, -1)


def _best_of_object(boxes: Tensor, truth: Tensor, least_iou: float) -> Any:
    index = torch.full((len(boxes),), -1)
    if len(truth):
        best, which = pairwise_iou(boxes, truth).max(dim=0)
        for k in range(len(truth)):
            if best[k] >= least_iou:
                index[which[k]] = k
    return index


def _always_half(boxes: Tensor, truth: Tensor, least_iou: float) -> Any:
    return match_at(boxes, truth, 0.5)


MATCH = Exercise(
    "02.1",
    "match_at",
    "Match proposals at 0.5, 0.6, 0.7",
    match_at,
    _match_cases,
    "`pairwise_iou(boxes, truth)` is (boxes, objects). Take the largest value of each row and its place. "
    "Without objects there is no largest value: then every box is background.",
    (
        Mistake(_more_than, "A box with *exactly* the least IoU is positive: compare with >=, not >."),
        Mistake(
            _best_of_object,
            "You give each object only its best box. Here every *box* looks for its object, so an object can "
            "have many boxes.",
        ),
        Mistake(_always_half, "You match at 0.5 at every stage. Use `least_iou`: it is 0.5, 0.6 or 0.7."),
    ),
)


def _encode_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    count = whole(g, 5, 12)
    targets = some_boxes(g, count)
    boxes = targets + (torch.rand((count, 4), generator=g) - 0.5) * 2
    return [
        Case(f"{count} boxes, the stds of stage {t + 1}", (boxes, targets, stage.stds))
        for t, stage in enumerate(PAPER_STAGES)
    ]


def _times_stds(boxes: Tensor, targets: Tensor, stds: Four) -> Any:
    return encode_deltas(boxes, targets, (1.0, 1.0, 1.0, 1.0)) * torch.tensor(stds)


def _no_stds(boxes: Tensor, targets: Tensor, stds: Four) -> Any:
    return encode_deltas(boxes, targets, (1.0, 1.0, 1.0, 1.0))


def _corner(boxes: Tensor, targets: Tensor, stds: Four) -> Any:
    size, wanted = boxes[:, 2:] - boxes[:, :2], targets[:, 2:] - targets[:, :2]
    move = (targets[:, :2] - boxes[:, :2]) / size
    return torch.cat([move, torch.log(wanted / size)], dim=1) / torch.tensor(stds)


def _no_log(boxes: Tensor, targets: Tensor, stds: Four) -> Any:
    right = encode_deltas(boxes, targets, (1.0, 1.0, 1.0, 1.0))
    return torch.cat([right[:, :2], right[:, 2:].exp()], dim=1) / torch.tensor(stds)


ENCODE = Exercise(
    "02.2",
    "encode",
    "Deltas, scaled by the stage's stds",
    encode_deltas,
    _encode_cases,
    "Centres: the difference in units of the *box's* own width and height. Sizes: the logarithm of the "
    "ratio. Then divide by the stds.",
    (
        Mistake(
            _times_stds,
            "You multiply by the stds. The deltas of a late stage are small; *dividing* by a small std "
            "brings them back to about 1.",
        ),
        Mistake(_no_stds, "You don't use the stds. Divide the four deltas by them."),
        Mistake(_corner, "dx and dy go from centre to centre, not from corner to corner."),
        Mistake(_no_log, "dw and dh are logarithms: log(target size / box size), 0 where nothing changes."),
    ),
)


def decode(boxes: Tensor, deltas: Tensor, stds: Four, width: float, height: float) -> Tensor:
    """The boxes, moved by the deltas and clipped to a picture of width x height px."""
    return decode_deltas(boxes, deltas, stds, boxes.new_tensor([[width, height]]).expand(len(boxes), 2))


def _decode_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    count, width, height = whole(g, 5, 12), float(whole(g, 60, 80)), float(whole(g, 40, 58))
    boxes = some_boxes(g, count, width, height)
    deltas = torch.randn((count, 4), generator=g) * 2
    return [
        Case(f"{count} boxes, the stds of stage {t + 1}", (boxes, deltas, stage.stds, width, height))
        for t, stage in enumerate(PAPER_STAGES)
    ]


def _decode_by(scale: Any, clip: bool = True, grow: Any = torch.exp) -> Any:
    def answer(boxes: Tensor, deltas: Tensor, stds: Four, width: float, height: float) -> Tensor:
        d = scale(deltas, torch.tensor(stds))
        size, centre = boxes[:, 2:] - boxes[:, :2], (boxes[:, 2:] + boxes[:, :2]) / 2
        centre, size = centre + d[:, :2] * size, size * grow(d[:, 2:])
        out = torch.cat([centre - size / 2, centre + size / 2], dim=1)
        limits = torch.tensor([width, height, width, height])
        return torch.minimum(out.clamp(min=0), limits) if clip else out

    return answer


DECODE = Exercise(
    "02.3",
    "decode",
    "From deltas back to boxes",
    decode,
    _decode_cases,
    "Undo 02.2 step by step: multiply by the stds, move the centre, multiply the size by exp, and go from "
    "centre and size back to corners. Then clip.",
    (
        Mistake(
            _decode_by(torch.div), "You divide by the stds, as when encoding. To decode, multiply by them."
        ),
        Mistake(
            _decode_by(torch.mul, clip=False),
            "Boxes may extend beyond the picture: clip x to 0..width and y to 0..height.",
        ),
        Mistake(
            _decode_by(torch.mul, grow=lambda d: 1 + d),
            "dw and dh are logarithms: the new size is size × exp(d).",
        ),
    ),
)


def draw_sample(index: Tensor, count: int, positive_fraction: float, order: Tensor) -> tuple[Tensor, Tensor]:
    """The positives and background boxes for the loss: those first in ``order``, sorted."""
    positives = order[index[order] >= 0][: int(count * positive_fraction)]
    negatives = order[index[order] == BACKGROUND][: count - len(positives)]
    return positives.sort().values, negatives.sort().values


def _sample_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    cases = []
    for positives, words in ((whole(g, 10, 14), "many positives"), (whole(g, 1, 3), "few positives")):
        total = whole(g, 60, 90)
        index = torch.full((total,), BACKGROUND)
        index[:positives] = torch.arange(positives) % 3
        index[positives : positives + 5] = IGNORED
        index = index[torch.randperm(total, generator=g)]
        order = torch.randperm(total, generator=g)
        cases.append(Case(f"{total} boxes with {words}, count 32", (index, 32, 0.25, order)))
    return cases


def _uncapped(index: Tensor, count: int, positive_fraction: float, order: Tensor) -> Any:
    return draw_sample(index, count, 1.0, order)


def _one_to_three(index: Tensor, count: int, positive_fraction: float, order: Tensor) -> Any:
    positives, _ = draw_sample(index, count, positive_fraction, order)
    least = round(len(positives) * (1 / positive_fraction - 1))
    return positives, order[index[order] == BACKGROUND][:least].sort().values


def _ignored_too(index: Tensor, count: int, positive_fraction: float, order: Tensor) -> Any:
    return draw_sample(index.clamp(min=BACKGROUND), count, positive_fraction, order)


SAMPLE = Exercise(
    "02.4",
    "draw_sample",
    "Sample what the loss looks at",
    draw_sample,
    _sample_cases,
    "`order[index[order] >= 0]` are the positives in the given order. Take at most count × fraction of them; "
    "background fills the rest of the sample.",
    (
        Mistake(_uncapped, "At most `count * positive_fraction` of the sample may be positives."),
        Mistake(
            _one_to_three,
            "1 to 3 is only an upper limit on the positives. With few positives, background still fills the "
            "sample up to count.",
        ),
        Mistake(_ignored_too, "-2 means ignored: the box is neither positive nor background. Leave it out."),
    ),
)


def mean_class(logits: list[Tensor]) -> Tensor:
    """Softmax of the mean of the stages' logits, without the background's column."""
    return class_probabilities([_output(stage) for stage in logits])


def _output(logits: Tensor) -> BoxOutput:
    n = len(logits)
    nowhere = RoIs(torch.zeros((n, 4)), torch.zeros(n, dtype=torch.int64))
    return BoxOutput(nowhere, logits, torch.zeros((n, 4)), torch.zeros((n, 1, 1, 1)))


def _class_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    count, classes = whole(g, 4, 9), whole(g, 3, 7)
    logits = [torch.randn((count, classes + 1), generator=g) * 3 for _ in range(3)]
    return [
        Case(f"{stages} stages, {count} boxes, {classes} classes and background", (logits[:stages],))
        for stages in (3, 2)
    ]


def _mean_of_softmax(logits: list[Tensor]) -> Any:
    return torch.stack([x.softmax(dim=1) for x in logits]).mean(dim=0)[:, :-1]


def _with_background(logits: list[Tensor]) -> Any:
    return torch.stack(logits).mean(dim=0).softmax(dim=1)


def _last_stage(logits: list[Tensor]) -> Any:
    return logits[-1].softmax(dim=1)[:, :-1]


CLASSES = Exercise(
    "02.5",
    "mean_class",
    "Average the stages' class logits",
    mean_class,
    _class_cases,
    "Stack the stages, take their mean, then the softmax over the classes; the last column is background.",
    (
        Mistake(
            _mean_of_softmax,
            "You average probabilities. The reference averages *logits* and then takes one softmax.",
        ),
        Mistake(
            _with_background,
            "The last column is background: it belongs in the softmax, but not in the result.",
        ),
        Mistake(
            _last_stage, "You use only the last stage. All stages have classified the box: take their mean."
        ),
    ),
)

EXERCISES = (MATCH, ENCODE, DECODE, SAMPLE, CLASSES)
