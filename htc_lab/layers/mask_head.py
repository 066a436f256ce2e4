"""The mask head M_t in two halves: the trunk M-_t, whose output the flow hands on, and the logits."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from htc_lab.layers.class_logits import class_logits
from htc_lab.layers.conv import conv, conv_relu
from htc_lab.layers.norm_config import NormConfig


class MaskHead(nn.Module):
    """Convolutions on the 14x14 RoI feature, a deconvolution to 28x28, one logit a class and pixel.

    ``conv_res`` is G_t of eq. 4: a 1x1 convolution, with ``flow_relu`` followed by a ReLU. A stage that gets
    no flow, the first one and every one of a model without the flow, has none. With ``norm``, one follows
    each of the convolutions, G_t's included, and neither the deconvolution nor the logits.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        convs: int,
        classes: int,
        takes_flow: bool,
        flow_relu: bool = True,
        norm: NormConfig | None = None,
    ) -> None:
        super().__init__()
        flow = conv_relu if flow_relu else conv
        self.conv_res = flow(channels, channels_in, 1, norm) if takes_flow else None
        self.convs = nn.ModuleList(
            conv_relu(channels_in if i == 0 else channels, channels, 3, norm) for i in range(convs)
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

        Loss and result look at no other channel, so no other is computed.
        """
        return class_logits(feature, labels, self.upsample, self.conv_logits)
