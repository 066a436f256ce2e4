"""Random changes to a picture's colours, as SSD was trained with (Liu et al. 2016, section 3.6).

Brightness, contrast, saturation and hue are changed, and the channels exchanged, each in half of the cases.
The values stay floats and may leave 0..255, as in mmdet's ``PhotoMetricDistortion``.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from htc_lab.data.image_config import ColourConfig

_TINY = torch.finfo(torch.float32).eps


def changed_colours(
    image: Shaped[Tensor, "3 H W"], config: ColourConfig, generator: torch.Generator
) -> Float[Tensor, "3 H W"]:
    """The picture with other colours; all randomness comes from ``generator``.

    Args:
        image: RGB on the scale 0..255.
        config: how far the changes may go.
        generator: is drawn from equally often, whatever is changed.
    """
    early, brighter, contrast, saturated, turned, swapped = (
        torch.randint(2, (6,), generator=generator).bool().tolist()
    )
    added = _between(-config.brightness, config.brightness, generator)
    factor = _between(*config.contrast, generator)
    saturation = _between(*config.saturation, generator)
    hue = _between(-config.hue, config.hue, generator)
    order = torch.randperm(3, generator=generator)
    out = image.float()
    if brighter:
        out = out + added
    if contrast and early:
        out = out * factor
    if saturated or turned:
        h, s, v = to_hsv(out)
        if saturated:
            s = s * saturation
            # A colour has no more than all of its saturation; one that is weakened keeps what it has.
            s = s.clamp(0, 1) if saturation > 1 else s
        out = from_hsv((h + hue) % 360 if turned else h, s, v)
    if contrast and not early:
        out = out * factor
    return out[order] if swapped else out


def _between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def to_hsv(
    image: Float[Tensor, "3 H W"],
) -> tuple[Float[Tensor, "H W"], Float[Tensor, "H W"], Float[Tensor, "H W"]]:
    """Hue in degrees (0 to 360, 0 for grey), saturation (0 to 1) and value (the largest of R, G, B)."""
    red, green, blue = image
    value, least = image.amax(dim=0), image.amin(dim=0)
    spread = value - least
    saturation = spread / (value.abs() + _TINY)
    turn = 60 / (spread + _TINY)
    hue = torch.where(
        value == red,
        (green - blue) * turn,
        torch.where(value == green, 120 + (blue - red) * turn, 240 + (red - green) * turn),
    )
    return hue % 360, saturation, value


def from_hsv(
    hue: Float[Tensor, "H W"], saturation: Float[Tensor, "H W"], value: Float[Tensor, "H W"]
) -> Float[Tensor, "3 H W"]:
    """The inverse: v (1 - s max(0, min(k, 4 - k, 1))), k = (n + h / 60) mod 6; n = 5, 3, 1 for R, G, B."""
    at = torch.tensor([5.0, 3.0, 1.0]).view(3, 1, 1)
    k = (at + hue / 60) % 6
    return value - value * saturation * torch.minimum(k, 4 - k).clamp(0, 1)
