"""Deformable convolution (DCN v1): a 3x3 convolution that chooses where it looks."""

from jaxtyping import Float
from torch import Tensor, nn

from htc_lab.light_torchvision import deform_conv2d


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
        out: Tensor = deform_conv2d(x, self.conv_offset(x), self.weight, stride=self.stride, padding=1)
        return out
