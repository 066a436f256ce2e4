"""The convolution block of FPN, RPN and heads: mmcv's ConvModule, so that the reference's weight names fit.

This is the only file that imports mmcv. A ConvModule is a convolution, an optional norm and an
activation; its weights are called ``conv.weight`` and ``conv.bias``.
"""

from mmcv.cnn import ConvModule
from torch import nn


def conv_relu(channels_in: int, channels_out: int, kernel: int) -> nn.Module:
    """Convolution of odd kernel size that keeps height and width, with bias, then ReLU."""
    module: nn.Module = ConvModule(channels_in, channels_out, kernel, padding=kernel // 2)
    return module


def conv(channels_in: int, channels_out: int, kernel: int) -> nn.Module:
    """The same without the ReLU."""
    module: nn.Module = ConvModule(channels_in, channels_out, kernel, padding=kernel // 2, act_cfg=None)
    return module
