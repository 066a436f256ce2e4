"""RoIAlign on a CPU, by the faster of two methods: torchvision's kernel is slow, above all backwards."""

from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.layers.cpu.bin_pooling import pool_bins
from htc_lab.layers.cpu.separable_pooling import pool_levels_separably
from htc_lab.structures import RoIs

# Numbers in a map, cells times channels, up to which using all of it is faster than using only what lies
# under each RoI: half a megabyte, which fits in the cache.
_SMALL_MAP = 2**17


def applies(feature: Tensor) -> bool:
    """Whether it may be used for this map."""
    return feature.device.type == "cpu"


def pool_levels(
    levels: list[Tensor],
    strides: tuple[int, ...],
    rois: RoIs,
    which: Int[Tensor, " N"],
    size: int,
    sampling_ratio: int,
    average: int = 1,
) -> Float[Tensor, "N C bins bins"]:
    """As ``roi_align(..., aligned=True)``, up to rounding; RoI n from ``levels[which[n]]``."""
    small = max(level[0].numel() for level in levels) <= _SMALL_MAP
    way = pool_levels_separably if small else pool_bins
    return way(levels, strides, rois, which, size, sampling_ratio, average)
