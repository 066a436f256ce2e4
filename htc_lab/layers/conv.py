"""The convolution block of FPN and heads: mmcv's ConvModule, so that the reference's weight names fit.

This is the only file that imports mmcv. A ConvModule is a convolution, an optional norm and an
activation; its weights are called ``conv.weight`` and ``conv.bias``, or, with a norm, ``conv.weight`` and
``bn.weight``, ``bn.bias`` ... (``gn`` for group norm).
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from htc_lab.layers.cpu import fused_convolution
from htc_lab.layers.norm import BatchNorm, folded, norm_layer
from htc_lab.layers.norm_config import NormConfig
from htc_lab.light_imports import postponed

# mmengine's trainers, and the code that distributes a model over machines. A program that also trains with
# mmengine's own sharding imports mmengine first.
_PUT_OFF = {
    "mmengine.runner": "load_checkpoint",
    "mmengine.model.wrappers.fully_sharded_distributed": "MMFullyShardedDataParallel",
    "mmengine.optim.optimizer.zero_optimizer": "ZeroRedundancyOptimizer",
}
with postponed(_PUT_OFF):
    from mmcv.cnn import ConvModule


def convolve(
    x: Float[Tensor, "B C H W"],
    weight: Float[Tensor, "D C_of_group kh kw"],
    bias: Tensor | None,
    stride: tuple[int, ...] = (1, 1),
    padding: tuple[int, ...] = (0, 0),
    groups: int = 1,
    relu: bool = False,
    onto: Tensor | None = None,
) -> Float[Tensor, "B D h w"]:
    """Convolution, plus ``onto`` if given, then ReLU if asked for.

    Args:
        x: the map.
        weight, bias, stride, padding, groups: as for ``torch.nn.functional.conv2d``.
        relu: negative values become 0.
        onto: a map of the result's shape, which may be overwritten with the result: don't use it afterwards.
    """
    if fused_convolution.applies(x, weight):
        return fused_convolution.convolve(x, weight, bias, stride, padding, groups, relu, onto)
    out = F.conv2d(x, weight, bias, stride, padding, 1, groups)
    if onto is not None:
        out = out + onto
    return F.relu(out, inplace=True) if relu else out


class _Block(ConvModule):
    """A ConvModule that keeps height and width: a convolution, perhaps a norm, perhaps a ReLU."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, norm: NormConfig | None, relu: bool
    ) -> None:
        super().__init__(
            channels_in,
            channels_out,
            kernel,
            padding=kernel // 2,
            bias=norm is None,
            act_cfg={"type": "ReLU"} if relu else None,
        )
        # Under mmcv's names, but not by mmcv: its synchronised norm is torch's, which takes no empty batch.
        if norm is not None:
            self.norm_name = "gn" if norm.kind == "group" else "bn"
            self.add_module(self.norm_name, norm_layer(norm, channels_out))

    def forward(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """As ConvModule's; ``onto``, which may be overwritten, is added before the ReLU."""
        conv, norm = self.conv, self.norm
        if norm is None or (isinstance(norm, BatchNorm) and not norm.training):
            weight, bias = (conv.weight, conv.bias) if norm is None else folded(conv.weight, norm)
            return convolve(x, weight, bias, padding=conv.padding, relu=self.with_activation, onto=onto)
        out: Tensor = norm(convolve(x, conv.weight, None, padding=conv.padding))
        if onto is not None:
            out = out + onto
        return F.relu(out, inplace=True) if self.with_activation else out


def conv_relu(channels_in: int, channels_out: int, kernel: int, norm: NormConfig | None = None) -> nn.Module:
    """Convolution of odd kernel size that keeps height and width, then ReLU.

    Between the two a norm if one is given; without it the convolution has a bias.
    """
    return _Block(channels_in, channels_out, kernel, norm, relu=True)


def conv(channels_in: int, channels_out: int, kernel: int, norm: NormConfig | None = None) -> nn.Module:
    """The same without the ReLU."""
    return _Block(channels_in, channels_out, kernel, norm, relu=False)
