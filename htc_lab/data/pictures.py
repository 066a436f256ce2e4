"""Reading picture files as pixels, without torch: worker processes that only look start at once."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from htc_lab.errors import InputError


def _as_rgb(picture: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8; 16-bit grey becomes 8-bit, CMYK and palettes are converted, alpha is dropped."""
    if picture.mode.startswith("I"):
        values = np.asarray(picture)
        grey = (values >> 8 if values.max() > 255 else values).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.array(picture.convert("RGB"))


def read_pixels(path: Path, height: int | None = None, width: int | None = None) -> np.ndarray:
    """Read a picture file as (H, W, 3) uint8 RGB.

    Where a size is given, the file's pixels are taken as they lie if they have that size (COCO's convention);
    if they have it only after turning by their EXIF orientation, they are turned. Without a size they are
    turned as the EXIF orientation says.

    Raises:
        InputError: the file is missing, unreadable or of another size.
    """
    path = Path(path)
    try:
        with Image.open(path) as picture:
            turned: Image.Image = picture
            if height is None or picture.size != (width, height):
                turned = ImageOps.exif_transpose(picture)
            pixels = _as_rgb(turned)
    except FileNotFoundError:
        raise InputError(f"{path}: no such image; put it there, or drop it from the annotations") from None
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be read as a picture ({error}); replace the file") from None
    if height is not None and pixels.shape[:2] != (height, width):
        raise InputError(
            f"{path}: is {pixels.shape[1]}x{pixels.shape[0]} px (width x height), but the annotations say "
            f"{width}x{height}; correct width and height there, or replace the file"
        )
    return pixels
