"""The convolution block of FPN, RPN and heads: mmcv's ConvModule, so that the reference's weight names fit.

This is the only file that imports mmcv. A ConvModule is a convolution, an optional norm and an
activation; its weights are called ``conv.weight`` and ``conv.bias``.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from htc_lab.layers.cpu import fused_convolution
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
    """A ConvModule of a convolution and perhaps a ReLU."""

    def forward(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """As ConvModule's; ``onto``, which may be overwritten, is added before the ReLU."""
        conv = self.conv
        return convolve(x, conv.weight, conv.bias, padding=conv.padding, relu=self.with_activation, onto=onto)


def conv_relu(channels_in: int, channels_out: int, kernel: int) -> nn.Module:
    """Convolution of odd kernel size that keeps height and width, with bias, then ReLU."""
    return _Block(channels_in, channels_out, kernel, padding=kernel // 2)


def conv(channels_in: int, channels_out: int, kernel: int) -> nn.Module:
    """The same without the ReLU."""
    return _Block(channels_in, channels_out, kernel, padding=kernel // 2, act_cfg=None)
