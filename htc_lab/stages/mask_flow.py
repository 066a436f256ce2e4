r"""Mask information flow: the mask head of stage t also sees the mask feature of stage t - 1 (eqs. 3-5).

.. math::
    m_t &= M_t(F(x^{mask}_t, m^-_{t-1})) \\
    F(x^{mask}_t, m^-_{t-1}) &= x^{mask}_t + G_t(m^-_{t-1}) \\
    m^-_1 &= M^-_1(x^{mask}_t), \quad m^-_2 = M^-_2(F(x^{mask}_t, m^-_1)), \ \dots

M^-_t is the trunk of the mask head, all of it up to the deconvolution; G_t is a 1x1 convolution (with a ReLU
in the reference), so the price is two small layers. The boxes are a cascade already: r_t improves on
r_{t-1}. Without the flow the masks are not: three heads each start from the RoI feature alone. With it a
head corrects the one before, and its loss trains the earlier trunks too.

The question everybody asks: how can a feature of stage t - 1 be added, if its RoIs were others? It is not
kept from stage t - 1. The earlier trunks are run again, on *this* stage's RoIs (the third line above).
"""

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.layers.mask_head import MaskHead
from htc_lab.shared_work import Run, call


def fuse(
    head: MaskHead, features: Float[Tensor, "N C h w"], previous: Tensor | None
) -> Float[Tensor, "N C h w"]:
    """F(x, m-) = x + G_t(m-) (eq. 4). The first stage has no predecessor: x itself."""
    if previous is None:
        return features
    assert head.conv_res is not None, "this stage's head was built without G_t"
    flow: Tensor = head.conv_res(previous)
    return features + flow


def trunk_features(
    heads: Sequence[MaskHead], features: Float[Tensor, "N C h w"], run: Run = call
) -> list[Float[Tensor, "N D h w"]]:
    """m-_1, ..., m-_t, each trunk run once on the same RoI features (eq. 5).

    Nothing is detached: the loss of stage t reaches the trunks of all stages before it.
    """
    chain: list[Tensor] = []
    for head in heads:
        seen = run(fuse, head, features, chain[-1] if chain else None)
        chain.append(run(head.trunk, seen))
    return chain


def masks_with_flow(
    heads: Sequence[MaskHead],
    features: Float[Tensor, "N C h w"],
    labels: Int[Tensor, " N"],
    run: Run = call,
) -> list[Float[Tensor, "N hh ww"]]:
    """m_1, ..., m_T on the same RoIs: the test-time form, where one pass serves all stages.

    Of each, the channel of the RoI's class (``labels``).
    """
    chain = trunk_features(heads, features, run)
    return [run(head.class_logits, trunk, labels) for head, trunk in zip(heads, chain, strict=True)]


def last_mask_with_flow(
    heads: Sequence[MaskHead],
    features: Float[Tensor, "N C h w"],
    labels: Int[Tensor, " N"],
    run: Run = call,
) -> Float[Tensor, "N hh ww"]:
    """m_t alone, for the loss of stage t (``heads`` are those of stages 1..t).

    In training each stage has RoIs of its own, so stage 3 runs three trunks, stage 2 two, stage 1 one.
    """
    mask: Tensor = run(heads[-1].class_logits, trunk_features(heads, features, run)[-1], labels)
    return mask
