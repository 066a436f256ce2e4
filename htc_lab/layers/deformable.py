"""Deformable convolution (DCN v1): a 3x3 convolution that chooses where it looks."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from htc_lab.light_torchvision import deform_conv2d


def deformed(
    x: Float[Tensor, "B C H W"],
    offsets: Float[Tensor, "B points h w"],
    weight: Float[Tensor, "D C_of_group 3 3"],
    stride: int = 1,
) -> Float[Tensor, "B D h w"]:
    """A 3x3 convolution, with a padding of 1, whose sampling points are moved.

    Args:
        x: the map.
        offsets: in cells; (dy, dx) of nine points for each group of channels.
        weight, stride: as of any convolution.
    """
    # On a CPU torchvision has no such operation in bfloat16.
    wide = torch.promote_types(x.dtype, torch.float32)
    out: Tensor = deform_conv2d(x.to(wide), offsets.to(wide), weight.to(wide), stride=stride, padding=1)
    return out.to(x.dtype)


class DeformConv(nn.Module):
    """A 3x3 convolution whose sampling points are moved by offsets it predicts."""

    def __init__(self, plain: nn.Conv2d, deform_groups: int) -> None:
        super().__init__()
        self.stride, self.groups = plain.stride[0], plain.groups
        self.weight = nn.Parameter(plain.weight.detach().clone())
        self.conv_offset = nn.Conv2d(plain.in_channels, 18 * deform_groups, 3, self.stride, 1)
        # Zero offsets: training starts from the plain convolution.
        nn.init.zeros_(self.conv_offset.weight)
        nn.init.zeros_(self.conv_offset.bias)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Same shapes as the convolution it replaces."""
        return deformed(x, self.conv_offset(x), self.weight, self.stride)
