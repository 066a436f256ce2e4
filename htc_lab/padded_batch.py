"""Images of several sizes, or the backbone's maps of them, as one batch, padded to a common size."""

from jaxtyping import Float
from torch import Tensor, device, tensor, zeros

from htc_lab.config import ImageConfig
from htc_lab.errors import InputError
from htc_lab.layers.timm_backbone import STRIDES
from htc_lab.transfer import send


def sizes_of(images: list[Tensor]) -> list[tuple[int, int]]:
    """(height, width) px of each image, which is looked at before anything is done with it.

    Raises:
        InputError: no image, or one that is no RGB image.
    """
    if not images:
        raise InputError("encode: the list of images is empty; give at least one (3, H, W) tensor")
    for i, image in enumerate(images):
        if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
            raise InputError(
                f"encode: image {i} has shape {tuple(image.shape)}; give RGB tensors (3, H, W), not empty"
            )
    return [(int(image.shape[1]), int(image.shape[2])) for image in images]


def padded_batch(
    images: list[Tensor], config: ImageConfig, canvas: tuple[int, int], place: device
) -> Float[Tensor, "B 3 H W"]:
    """Images with the mean subtracted and divided by the standard deviation, zeros at the right and bottom.

    Channels come in the network's order: R, G, B, or B, G, R with ``config.bgr``.

    Args:
        images: RGB (3, H, W) each, on the scale 0..255.
        config: mean, standard deviation, the order of channels, and what both sides are multiples of (px).
        canvas: (height, width) px the batch is padded to at least.
        place: where the batch goes.
    """
    sizes, pad = sizes_of(images), config.pad
    height = -(-max(canvas[0], *(h for h, _ in sizes)) // pad) * pad
    width = -(-max(canvas[1], *(w for _, w in sizes)) // pad) * pad
    mean = send(tensor(config.mean), place).view(3, 1, 1)
    std = send(tensor(config.std), place).view(3, 1, 1)
    # Channels last: convolutions and RoI pooling read long rows in it. The layout spreads from here.
    batch = mean.new_zeros((len(images), height, width, 3)).permute(0, 3, 1, 2)
    for i, image in enumerate(images):
        h, w = sizes[i]
        normalised = (send(image, place).float() - mean) / std
        batch[i, :, :h, :w] = normalised.flip(0) if config.bgr else normalised
    return batch


def padded_maps(maps: list[list[Tensor]], canvas: tuple[int, int], place: device) -> list[Tensor]:
    """The backbone's maps of several pictures, zeros at the right and bottom.

    Args:
        maps: C2..C5 of each picture, (h, w, C), of whatever precision.
        canvas: (height, width) px of pictures that the batch has room for at least.
        place: where the batch goes.

    Returns:
        C2..C5 of the batch, (B, C, h, w) float32.
    """
    batch = []
    for stride, level in zip(STRIDES, zip(*maps, strict=True), strict=True):
        # Pictures are padded to whole cells of the coarsest map.
        room = [-(-side // STRIDES[-1]) * (STRIDES[-1] // stride) for side in canvas]
        height, width = (max(room[i], *(x.shape[i] for x in level)) for i in (0, 1))
        out = zeros((len(level), height, width, level[0].shape[-1]), device=place)
        for i, x in enumerate(level):
            out[i, : x.shape[0], : x.shape[1]] = send(x, place)
        batch.append(out.permute(0, 3, 1, 2))
    return batch
