r"""Mask information flow: the mask head of stage t also sees the mask feature of stage t - 1 (eqs. 3-5).

.. math::
    m_t &= M_t(F(x^{mask}_t, m^-_{t-1})) \\
    F(x^{mask}_t, m^-_{t-1}) &= x^{mask}_t + G_t(m^-_{t-1}) \\
    m^-_1 &= M^-_1(x^{mask}_t), \quad m^-_2 = M^-_2(F(x^{mask}_t, m^-_1)), \ \dots

M^-_t is the trunk of the mask head: everything before the deconvolution. G_t is a 1x1 convolution (followed
by a ReLU in the reference), so the flow costs two small layers. The boxes already form a cascade: r_t
improves on r_{t-1}. Without the flow the masks don't: each of the three heads starts from the RoI feature
alone. With it, each head corrects the previous one, and its loss trains the earlier trunks, too.

The question everybody asks: how can a feature of stage t - 1 be added if that stage had different RoIs? It
isn't kept from stage t - 1: the earlier trunks are run again on *this* stage's RoIs (third line above).
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
    """m-_1, ..., m-_t: each trunk runs once on the same RoI features (eq. 5).

    No gradient is stopped: the loss of stage t reaches the trunks of all earlier stages.
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
    """m_1, ..., m_T on the same RoIs: the form for test time, where one pass serves all stages.

    Only the channel of each RoI's class (``labels``) is returned.
    """
    chain = trunk_features(heads, features, run)
    return [run(head.class_logits, trunk, labels) for head, trunk in zip(heads, chain, strict=True)]


def last_mask_with_flow(
    heads: Sequence[MaskHead],
    features: Float[Tensor, "N C h w"],
    labels: Int[Tensor, " N"],
    run: Run = call,
) -> Float[Tensor, "N hh ww"]:
    """Only m_t, for the loss of stage t (``heads`` are those of stages 1..t).

    In training each stage has its own RoIs, so stage 3 runs three trunks, stage 2 two, stage 1 one.
    """
    mask: Tensor = run(heads[-1].class_logits, trunk_features(heads, features, run)[-1], labels)
    return mask
