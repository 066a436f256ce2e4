"""The mask head M_t in two halves: the trunk M-_t, whose output the flow hands on, and the logits."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from htc_lab.layers.conv import conv, conv_relu

# 8 MB: so much of a network's four-fold wide layer at a time.
_NUMBERS_AT_ONCE = 2**21


class MaskHead(nn.Module):
    """Convolutions on the 14x14 RoI feature, a deconvolution to 28x28, one logit a class and pixel.

    ``conv_res`` is G_t of eq. 4: a 1x1 convolution, with ``flow_relu`` followed by a ReLU. A stage that gets
    no flow, the first one and every one of a model without the flow, has none.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        convs: int,
        classes: int,
        takes_flow: bool,
        flow_relu: bool = True,
    ) -> None:
        super().__init__()
        flow = conv_relu if flow_relu else conv
        self.conv_res = flow(channels, channels_in, 1) if takes_flow else None
        self.convs = nn.ModuleList(
            conv_relu(channels_in if i == 0 else channels, channels, 3) for i in range(convs)
        )
        self.upsample = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.conv_logits = nn.Conv2d(channels, classes, 1)
        # The kernel is as wide as its stride, so each output pixel sees every input channel once.
        nn.init.normal_(self.upsample.weight, std=(2 / channels) ** 0.5)
        # Near zero, every pixel starts at probability 1/2. The usual fan-out rule would give logits of some
        # units where classes are few, and the first steps, undoing them, would leave ReLUs dead.
        nn.init.normal_(self.conv_logits.weight, std=0.01)
        for layer in (self.upsample, self.conv_logits):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def trunk(self, x: Float[Tensor, "N C h w"]) -> Float[Tensor, "N D h w"]:
        """M-_t: the mask feature just before the deconvolution."""
        for layer in self.convs:
            x = layer(x)
        return x

    def logits(self, feature: Float[Tensor, "N D h w"]) -> Float[Tensor, "N K twice_h twice_w"]:
        """Mask logits of every class, at twice the resolution."""
        out: Tensor = self.conv_logits(F.relu(self.upsample(feature)))
        return out

    def class_logits(
        self, feature: Float[Tensor, "N D h w"], labels: Int[Tensor, " N"]
    ) -> Float[Tensor, "N twice_h twice_w"]:
        """The channel of each RoI's class alone: ``logits(feature)[i, labels[i]]``, up to rounding.

        Loss and result look at no other channel, so no other is computed. The kernel of the deconvolution is
        as wide as its stride, which makes it a linear layer from each cell to its four pixels; these come to
        their places in the picture last, when there is one number a pixel left to move.
        """
        n, width, height, columns = feature.shape
        cells = feature.permute(0, 2, 3, 1).reshape(n, height * columns, width)
        four = self.upsample.weight.permute(2, 3, 1, 0).reshape(4 * width, width)
        bias, last_bias = self.upsample.bias, self.conv_logits.bias
        assert bias is not None
        assert last_bias is not None
        training = torch.is_grad_enabled()
        four_bias, channel = bias.repeat(4), self.conv_logits.weight[labels, :, 0, 0]

        def logits_of(some: Tensor, channel: Tensor) -> Tensor:
            # In place the gradient of a view, which a linear layer's result is, would be copied three times.
            pixels = F.relu(F.linear(some, four, four_bias), inplace=not training)
            return torch.bmm(pixels.view(len(some), 4 * height * columns, width), channel[..., None])

        # With four times the channels a few RoIs still fit in the cache, all of them don't. In training all
        # are kept for the backward pass anyway.
        numbers = 4 * width * height * columns
        at_once = max(n, 1) if training else max(_NUMBERS_AT_ONCE // numbers, 1)
        parts = [logits_of(*of) for of in zip(cells.split(at_once), channel.split(at_once), strict=True)]
        out = torch.cat(parts).squeeze(2).float() + last_bias[labels, None]
        placed = out.view(n, height, columns, 2, 2).transpose(2, 3)
        return placed.reshape(n, 2 * height, 2 * columns)
