"""The last two layers of a mask head for one class a RoI: loss and result look at no other channel.

The kernel of the deconvolution is as wide as its stride, which makes it a linear layer from each cell to its
four pixels. The pixels move to their places in the picture last, when only one number a pixel is left.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

# 8 MB: how much of the layer with four times the channels is computed at a time.
_NUMBERS_AT_ONCE = 2**21


def class_logits(
    feature: Float[Tensor, "N D h w"],
    labels: Int[Tensor, " N"],
    upsample: nn.ConvTranspose2d,
    conv_logits: nn.Conv2d,
) -> Float[Tensor, "N twice_h twice_w"]:
    """``conv_logits(relu(upsample(feature)))[i, labels[i]]`` of each RoI i, up to rounding.

    Args:
        feature: the trunk's output.
        labels: each RoI's class.
        upsample: a deconvolution with a kernel of 2 and a stride of 2.
        conv_logits: a 1x1 convolution.
    """
    n, width, height, columns = feature.shape
    cells = feature.permute(0, 2, 3, 1).reshape(n, height * columns, width)
    four = upsample.weight.permute(2, 3, 1, 0).reshape(4 * width, width)
    bias, last_bias = upsample.bias, conv_logits.bias
    assert bias is not None
    assert last_bias is not None
    training = torch.is_grad_enabled()
    four_bias, channel = bias.repeat(4), conv_logits.weight[labels, :, 0, 0]

    def logits_of(some: Tensor, channel: Tensor) -> Tensor:
        # Out of place in training: a linear layer's result is a view, whose gradient autograd would otherwise
        # copy three times.
        pixels = F.relu(F.linear(some, four, four_bias), inplace=not training)
        return torch.bmm(pixels.view(len(some), 4 * height * columns, width), channel[..., None])

    # With four times the channels, a few RoIs still fit in the cache, but not all of them. In training all
    # are kept for the backward pass anyway.
    numbers = 4 * width * height * columns
    at_once = max(n, 1) if training else max(_NUMBERS_AT_ONCE // numbers, 1)
    parts = [logits_of(*of) for of in zip(cells.split(at_once), channel.split(at_once), strict=True)]
    out = torch.cat(parts).squeeze(2).float() + last_bias[labels, None]
    placed = out.view(n, height, columns, 2, 2).transpose(2, 3)
    return placed.reshape(n, 2 * height, 2 * columns)
