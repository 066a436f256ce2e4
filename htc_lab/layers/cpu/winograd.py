r"""3x3 convolutions with a quarter of the multiplications, for inference on a CPU (Winograd's method).

A row of m outputs of a 3-tap filter needs 3m multiplications one by one, but the output is the product of two
polynomials, and a product of degree m + 1 is known from its values at m + 2 points:

.. math::
    y = A^T \left[ (G g) \odot (B^T d) \right]

G takes the filter g and B^T the m + 2 inputs d to those points, A^T takes the m + 2 products back. In two
dimensions each is applied along both sides, so a square of m x m outputs costs (m + 2)^2 multiplications a
channel pair in place of 9 m^2: for m = 4, 36 in place of 144. Over the channels the products at one point are
an ordinary matrix product, which is where the time goes. Here the three changes of basis are matrix products
too (the Kronecker square of each matrix), which cost a fifth of the whole.

The price is rounding: the values at large points are large. The points are chosen for float32; the error is
then 2 (m = 4) to 4 times (m = 5) that of the direct convolution, a few millionths of the largest value.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Finite points for each m (the last one is infinity): by trial, those with the least error for 256 channels.
_POINTS = {4: (0.0, 0.65, -0.65, 1.5, -1.5), 5: (0.3, -0.3, 0.8, -0.8, 1.8, -1.8)}

# Tiles that are processed at a time: enough for the products over channels to be large, few enough to stay in
# the cache through all three steps.
_TILES_AT_ONCE = 128

# Below these, changing the basis of weights and maps costs more than it saves.
_FEWEST_CHANNELS, _FEWEST_TILES = 192, 120


@dataclass(frozen=True, eq=False)
class Bases:
    """The three changes of basis for tiles of m x m outputs, with k = (m + 2)^2.

    Attributes:
        weights: (k, 9).
        inputs: (k, k).
        outputs: (m * m, k).
    """

    weights: Float[Tensor, "k 9"]
    inputs: Float[Tensor, "k k"]
    outputs: Float[Tensor, "m_squared k"]


@functools.cache
def bases(m: int) -> Bases:
    """Computed in float64, and only then rounded."""
    points = torch.tensor(_POINTS[m], dtype=torch.float64)

    def values(coefficients: int) -> Tensor:
        """(m + 2, coefficients): from coefficients to values; the value at infinity is the leading one."""
        powers = points[:, None] ** torch.arange(coefficients)
        return torch.cat([powers, torch.eye(coefficients, dtype=powers.dtype)[-1:]])

    weights, outputs, inputs = values(3), values(m).T, values(m + 2).inverse().T
    # Rows of length one, so that the products at all points have the same order of magnitude.
    of_weights, of_inputs = weights.norm(dim=1), inputs.norm(dim=1)
    weights, inputs = weights / of_weights[:, None], inputs / of_inputs[:, None]
    outputs = outputs * (of_weights * of_inputs)
    return Bases(*(torch.kron(each, each).float() for each in (weights, inputs, outputs)))


def tile_side(images: int, height: int, width: int, channels_in: int, channels_out: int) -> int:
    """m for a convolution of these sizes; 0: the direct one is quicker."""
    if min(channels_in, channels_out) < _FEWEST_CHANNELS:
        return 0
    tiles = {m: images * -(-height // m) * -(-width // m) for m in _POINTS}
    # Wider tiles round worse, so they must save a fifth, as on a RoI's 14x14, which is three tiles wide.
    m = 5 if tiles[5] * 7**2 < 0.8 * tiles[4] * 6**2 else 4
    return m if tiles[m] >= _FEWEST_TILES else 0


def _blocks(images: int, rows: int, columns: int) -> Iterator[tuple[slice, range]]:
    """Some images with all their rows of tiles, or some rows of one image."""
    if rows * columns <= _TILES_AT_ONCE:
        step = _TILES_AT_ONCE // (rows * columns)
        yield from ((slice(i, min(i + step, images)), range(rows)) for i in range(0, images, step))
    else:
        step = max(_TILES_AT_ONCE // columns, 1)
        for i in range(images):
            yield from ((slice(i, i + 1), range(r, min(r + step, rows))) for r in range(0, rows, step))


def convolve(
    x: Float[Tensor, "B C H W"],
    weight: Float[Tensor, "D C 3 3"],
    bias: Float[Tensor, " D"],
    m: int,
    relu: bool,
) -> Float[Tensor, "B D H W"]:
    """``conv2d(x, weight, bias, padding=1)`` up to rounding, without a gradient.

    Args:
        x: float32, on the CPU; best with its channels last.
        weight, bias: used as they are now; nothing of them is kept.
        m: from :func:`tile_side`.
        relu: negative values become 0.
    """
    basis, side = bases(m), m + 2
    images, channels, height, width = x.shape
    channels_out = len(weight)
    rows, columns = -(-height // m), -(-width // m)
    # For each point a matrix from input to output channels.
    maps = weight.permute(2, 3, 1, 0).reshape(9, channels * channels_out)
    maps = (basis.weights @ maps).view(side * side, channels, channels_out)
    pixels = x.permute(0, 2, 3, 1)
    out = x.new_empty(images, rows, m, columns, m, channels_out)
    for some, of in _blocks(images, rows, columns):
        count = some.stop - some.start
        # The pixels under the tiles, zeros around the map.
        under = x.new_zeros(count, len(of) * m + 2, columns * m + 2, channels)
        top = of.start * m - 1
        first, last = max(top, 0), min(of.stop * m + 1, height)
        under[:, first - top : last - top, 1 : width + 1] = pixels[some, first:last]
        image, row, column, channel = under.stride()
        tiles = under.as_strided(
            (side, side, count, len(of), columns, channels),
            (row, column, image, m * row, m * column, channel),
        )
        values = (basis.inputs @ tiles.reshape(side * side, -1)).view(side * side, -1, channels)
        products = torch.bmm(values, maps).view(side * side, -1)
        made = (basis.outputs @ products).view(m, m, count, len(of), columns, channels_out).add_(bias)
        place = out[some, of.start : of.stop]
        made = made.permute(2, 3, 0, 4, 1, 5)
        if relu:
            torch.clamp_min(made, 0, out=place)
        else:
            place.copy_(made)
    whole = out.view(images, rows * m, columns * m, channels_out)
    return whole[:, :height, :width].permute(0, 3, 1, 2)
