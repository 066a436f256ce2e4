"""04: the mask information flow, from G_t to the mean of the stages."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htc_lab.course.exercise import Case, Exercise, Mistake
from htc_lab.course.shared_draws import generator_of, whole
from htc_lab.layers.mask_head import MaskHead
from htc_lab.stages.mask_flow import trunk_features


def flow_layer(previous: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """G_t: a 1x1 convolution and a ReLU; (N, D, h, w) to (N, C, h, w)."""
    return F.relu(F.conv2d(previous, weight, bias))


def _flow_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    n, d, c, side = whole(g, 2, 4), whole(g, 3, 5), whole(g, 6, 8), whole(g, 5, 8)
    previous = torch.randn((n, d, side, side), generator=g)
    weight, bias = torch.randn((c, d, 1, 1), generator=g), torch.randn(c, generator=g)
    return [Case(f"{n} RoIs, {d} channels to {c}, {side} × {side} cells", (previous, weight, bias))]


FLOW = Exercise(
    "04.1",
    "flow_layer",
    "G_t: a 1 × 1 convolution",
    flow_layer,
    _flow_cases,
    "`torch.nn.functional.conv2d(previous, weight, bias)`; a 1 × 1 kernel needs no padding. Then the ReLU.",
    (
        Mistake(
            lambda m, w, b: F.conv2d(m, w, b),
            "The ReLU is missing. The paper mentions only a convolution, but the reference applies a ReLU to "
            "its result.",
        ),
        Mistake(lambda m, w, b: F.relu(F.conv2d(m, w)), "You don't use the bias."),
        Mistake(
            lambda m, w, b: F.conv2d(F.relu(m), w, b),
            "The ReLU comes after the convolution, not before it.",
        ),
    ),
)


def fuse(x: Tensor, previous: Tensor | None, flow: Callable[[Tensor], Tensor] | None) -> Tensor:
    """F(x, m-) = x + G_t(m-); x itself if there is no previous head, and so no G_t."""
    return x if previous is None or flow is None else x + flow(previous)


def _fuse_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    n, c, side = whole(g, 2, 4), whole(g, 3, 6), whole(g, 5, 8)
    x, previous = (torch.randn((n, c, side, side), generator=g) for _ in range(2))
    layer = nn.Conv2d(c, c, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=g))
    return [
        Case("stage 2, with the mask feature of stage 1", (x, previous, layer)),
        Case("stage 1: previous is None", (x, None, layer)),
    ]


FUSE = Exercise(
    "04.2",
    "fuse",
    "F: what mask head t looks at",
    fuse,
    _fuse_cases,
    "Eq. 4: the RoI feature plus what `flow` makes of the previous mask feature. The first stage has none.",
    (
        Mistake(
            lambda x, m, flow: x if m is None else x + m,
            "G_t is left out: the mask feature goes through `flow` before it is added.",
        ),
        Mistake(
            lambda x, m, flow: x if m is None else flow(m),
            "The RoI feature x is missing: the flow is *added* to it.",
        ),
        Mistake(
            lambda x, m, flow: x if m is None else flow(x + m),
            "`flow` acts on the mask feature alone, not on the sum.",
        ),
    ),
)


def trunk_chain(heads: Sequence[MaskHead], x: Tensor) -> list[Tensor]:
    """m-_1, ..., m-_t on the RoIs that x was pooled from."""
    return trunk_features(heads, x)


def _chain_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    n, c, side = whole(g, 2, 3), whole(g, 4, 6), whole(g, 6, 8)
    heads = [MaskHead(c, c, 2, 3, takes_flow=t > 0) for t in range(3)]
    with torch.no_grad():
        for head in heads:
            for weight in head.parameters():
                weight.copy_(torch.randn(weight.shape, generator=g) * 0.3)
    x = torch.randn((n, c, side, side), generator=g)
    return [Case(f"{count} heads, {n} RoIs", (heads[:count], x)) for count in (3, 2, 1)]


def _no_flow(heads: Sequence[MaskHead], x: Tensor) -> Any:
    return [head.trunk(x) for head in heads]


def _no_roi_feature(heads: Sequence[MaskHead], x: Tensor) -> Any:
    chain: list[Tensor] = []
    for head in heads:
        chain.append(head.trunk(head.conv_res(chain[-1]) if head.conv_res is not None else x))
    return chain


def _fed_forward(heads: Sequence[MaskHead], x: Tensor) -> Any:
    """x grows from head to head: each G_t is added to the previous sum, not to the RoI feature."""
    chain: list[Tensor] = []
    for head in heads:
        x = x if head.conv_res is None else x + head.conv_res(chain[-1])
        chain.append(head.trunk(x))
    return chain


CHAIN = Exercise(
    "04.3",
    "trunk_chain",
    "Run the earlier heads again",
    trunk_chain,
    _chain_cases,
    "Go through the heads in order and remember the last trunk feature. Head 1 sees x; each later one sees "
    "x + head.conv_res(the previous trunk feature).",
    (
        Mistake(
            _no_flow,
            "Every head sees only x: that is the plain cascade. Add the flow from the previous head.",
        ),
        Mistake(
            _no_roi_feature, "The later heads see only the flow. They need the RoI feature x, too: F = x + G."
        ),
        Mistake(
            _fed_forward,
            "x grows from head to head. Each head adds its flow to the *same* RoI feature x.",
        ),
    ),
    points=3,
)


def mean_mask(logits: Sequence[Tensor]) -> Tensor:
    """The mean of the stages' mask probabilities, (N, h, w)."""
    return torch.stack([stage.sigmoid() for stage in logits]).mean(dim=0)


def _mean_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    n, side = whole(g, 2, 5), whole(g, 6, 10)
    logits = [torch.randn((n, side, side), generator=g) * 3 for _ in range(3)]
    return [Case(f"{stages} stages, {n} masks of {side} × {side}", (logits[:stages],)) for stages in (3, 2)]


MEAN = Exercise(
    "04.4",
    "mean_mask",
    "Average the stages' masks",
    mean_mask,
    _mean_cases,
    "Apply the sigmoid to each stage, then take the mean over the stages.",
    (
        Mistake(
            lambda logits: torch.stack(list(logits)).mean(dim=0).sigmoid(),
            "You average logits. That is how class scores are averaged; masks are averaged *after* the "
            "sigmoid.",
        ),
        Mistake(
            lambda logits: logits[-1].sigmoid(),
            "You return only the last stage's mask: exactly the slip that version 3 of the reference makes.",
        ),
        Mistake(
            lambda logits: torch.stack([x.sigmoid() for x in logits]).sum(dim=0),
            "This is the sum. A probability lies between 0 and 1: divide by the number of stages.",
        ),
    ),
)

EXERCISES = (FLOW, FUSE, CHAIN, MEAN)
