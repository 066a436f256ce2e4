"""Reading picture files as pixels, without torch, so that workers that only check files start at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from htc_lab.errors import InputError, in_one_line

# In these formats, 65535 is known to be white in deeper greys, because Pillow scales them that way.
_SIXTEEN_BITS = ("PNG", "PPM")


@contextmanager
def opened(path: Path, missing: str, unreadable: str) -> Iterator[Image.Image]:
    """An open picture file; whatever goes wrong while it is open, including decoding, is an InputError.

    Args:
        path: the file.
        missing: the rest of the message if there is no file.
        unreadable: the rest of the message if there is one: "cannot be read as a PNG ({}); write it again".
    """
    try:
        with Image.open(path) as picture:
            yield picture
    except (InputError, MemoryError):
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: {missing}") from None
    # A damaged file makes PIL raise almost anything: OSError, SyntaxError, ValueError, struct.error, ...
    except Exception as error:
        raise InputError(f"{path}: {unreadable.format(in_one_line(error))}") from None


def _as_rgb(picture: Image.Image, path: Path, kind: str | None) -> np.ndarray:
    """(H, W, 3) uint8; 16-bit grey becomes 8-bit, CMYK and palettes are converted, alpha is dropped.

    Args:
        picture: the picture.
        path: for the message.
        kind: the file's format, such as "PNG".
    """
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture)
        # Scaled by what the file says, never by its brightest pixel: dark pictures must not become bright.
        if not picture.mode.startswith("I;16") and not (picture.mode == "I" and kind in _SIXTEEN_BITS):
            raise InputError(
                f"{path}: holds grey values of unknown scale ({picture.mode}, {values.min():g} to "
                f"{values.max():g}); save it with 8 or 16 bits"
            )
        return np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2)
    return np.array(picture.convert("RGB"))


def read_pixels(path: Path, height: int | None = None, width: int | None = None) -> np.ndarray:
    """Read a picture file as (H, W, 3) uint8 RGB; of 16 bits the upper 8 are used.

    If a size is given, the file's pixels are used as stored if they have that size (COCO's convention); if
    they only have it after rotation by their EXIF orientation, they are rotated. Without a size they are
    rotated as the EXIF orientation says.

    Raises:
        InputError: the file is missing, unreadable or of another size.
    """
    path = Path(path)
    fix = "check the path" if height is None else "put it there, or drop it from the annotations"
    missing = f"no such image; {fix}"
    with opened(path, missing, "cannot be read as a picture ({}); replace the file") as picture:
        turned: Image.Image = picture
        if height is None or picture.size != (width, height):
            turned = ImageOps.exif_transpose(picture)
        pixels = _as_rgb(turned, path, picture.format)
    if height is not None and pixels.shape[:2] != (height, width):
        raise InputError(
            f"{path}: is {pixels.shape[1]}x{pixels.shape[0]} px (width x height), but the annotations say "
            f"{width}x{height}; correct width and height there, or replace the file"
        )
    return pixels
