"""What this machine's convolutions reach: the floor of everything here."""

import torch
from torch import nn

from benchmarks.figures import seconds_of


def convolution_rate(device: str = "cpu", dtype: torch.dtype = torch.float32) -> float:
    """GFLOP/s of the 3x3 convolution that mask heads and FPN are made of, the best of several runs.

    A convolution counts as in the papers of the field, multiplications and additions both.
    """
    convolution = nn.Conv2d(256, 256, 3, padding=1).eval().to(device, dtype)
    pixels = torch.randn(1, 256, 100, 168, device=device, dtype=dtype)
    work = 2 * 256 * 256 * 9 * 100 * 168 / 1e9
    with torch.no_grad():
        return work / min(seconds_of(lambda: convolution(pixels), device) for _ in range(5))
