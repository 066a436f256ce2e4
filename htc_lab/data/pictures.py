"""Reading picture files as pixels, without torch, so that workers that only check files start at once.

A camera that is held sideways writes the pixels as its sensor has them, and a mark (EXIF's orientation) that
says how to turn or mirror them. One rule for training, evaluation and prediction: a picture is turned as its
mark says, unless the annotations give it a size that only the unturned pixels have. Where the size can't
tell, because the picture is square, mirrored or upside down, it is turned, as browsers, annotation tools and
the reference do.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from htc_lab.errors import InputError, in_one_line

# In these formats, 65535 is known to be white in deeper greys, because Pillow scales them that way.
_SIXTEEN_BITS = ("PNG", "PPM")
_BITS_PER_SAMPLE = 258

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What each orientation of EXIF asks for; 1 asks for nothing."""
_SIDEWAYS = (5, 6, 7, 8)


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


def _turn(picture: Image.Image) -> Image.Transpose | None:
    """How a picture is to be turned, if it is."""
    orientation = None
    # Blocks of EXIF that are broken say nothing; the pixels may be sound.
    with suppress(Exception):
        orientation = picture.getexif().get(_ORIENTATION)
    return _TURNS.get(orientation) if isinstance(orientation, int) else None


def _bits(picture: Image.Image) -> int:
    """How many bits the values of a picture have that Pillow reads as 16."""
    if picture.format == "TIFF":
        with suppress(Exception):
            if tuple(picture.tag_v2[_BITS_PER_SAMPLE]) == (12,):  # type: ignore[attr-defined]
                return 12
    return 16


def _as_rgb(picture: Image.Image, path: Path, kind: str | None, bits: int) -> np.ndarray:
    """(H, W, 3) uint8; 16-bit grey becomes 8-bit, CMYK and palettes are converted, alpha is dropped.

    Args:
        picture: the picture.
        path: for the message.
        kind: the file's format, such as "PNG".
        bits: of a deep grey's values.
    """
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture)
        # Scaled by what the file says, never by its brightest pixel: dark pictures must not become bright.
        if not picture.mode.startswith("I;16") and not (picture.mode == "I" and kind in _SIXTEEN_BITS):
            raise InputError(
                f"{path}: holds grey values of unknown scale ({picture.mode}, {values.min():g} to "
                f"{values.max():g}); save it with 8 or 16 bits"
            )
        return np.repeat((values >> (bits - 8)).astype(np.uint8)[..., None], 3, axis=2)
    return np.array(picture.convert("RGB"))


def read_pixels(path: Path, height: int | None = None, width: int | None = None) -> np.ndarray:
    """Read a picture file as (H, W, 3) uint8 RGB; of 12 or 16 bits the upper 8 are used.

    The picture is turned as its EXIF orientation says, unless ``height`` and ``width`` are those of the
    pixels as stored and not of the turned ones.

    Raises:
        InputError: the file is missing, unreadable or of another size.
    """
    path = Path(path)
    fix = "check the path" if height is None else "put it there, or drop it from the annotations"
    missing = f"no such image; {fix}"
    with opened(path, missing, "cannot be read as a picture ({}); replace the file") as picture:
        # Before the mark is asked for: Pillow turns a TIFF while it loads it.
        picture.load()
        kind, bits = picture.format, _bits(picture)
        turn = _turn(picture)
        upright: Image.Image = picture if turn is None else picture.transpose(turn)
        if height is not None and upright.size != (width, height) == picture.size:
            upright = picture
        pixels = _as_rgb(upright, path, kind, bits)
    if height is not None and pixels.shape[:2] != (height, width):
        raise InputError(
            f"{path}: is {pixels.shape[1]}x{pixels.shape[0]} px (width x height), but the annotations say "
            f"{width}x{height}; correct width and height there, or replace the file"
        )
    return pixels


def _is_unmarked_png(picture: Image.Image) -> bool:
    """Whether a PNG's head has no EXIF; asked for it, Pillow would look for it behind the pixels."""
    marks = {"exif", "Raw profile type exif", "XML:com.adobe.xmp"}
    return picture.format == "PNG" and not marks & picture.info.keys()


@dataclass(frozen=True)
class PictureFacts:
    """What a file says about how its pixels are to be read.

    Attributes:
        turned: "turned" or "stored", as the annotated size decides; "undecided" if both have that size, and
            the picture is turned; "" for a file without a mark.
        bits: of a channel: 8, 12 or 16.
        brightest: the largest value after it was brought to 0..255; of files with more than 8 bits.
    """

    turned: str = ""
    bits: int = 8
    brightest: int = 255


def picture_facts(path: Path, height: int, width: int) -> PictureFacts:
    """Look at a file's head, and only where it has more than 8 bits at its pixels.

    Args:
        path: the file.
        height, width: of the annotations, px.

    Raises:
        InputError: the file is missing or unreadable.
    """
    with opened(path, "no such image; check the path", "cannot be read as a picture ({}); replace it") as p:
        # Before anything is loaded, which forgets how the pixels are stored.
        deep = p.mode.startswith("I") or ";16" in str(getattr(p, "tile", ""))
        bits = _bits(p) if deep else 8
        turn = None if p.format == "TIFF" or _is_unmarked_png(p) else _turn(p)
        turned = ""
        if turn is not None:
            stored_fits = p.size == (width, height)
            sideways = turn in [_TURNS[orientation] for orientation in _SIDEWAYS]
            turned_fits = (p.size[::-1] if sideways else p.size) == (width, height)
            turned = "undecided" if stored_fits and turned_fits else "stored" if stored_fits else "turned"
    if not deep:
        return PictureFacts(turned)
    return PictureFacts(turned, bits, int(read_pixels(path).max()))


def digest_of(pixels: np.ndarray) -> str:
    """The same for the same picture, however its file is compressed and whatever else is in it."""
    digest = hashlib.blake2b(str(pixels.shape).encode(), digest_size=16)
    digest.update(pixels.tobytes())
    return digest.hexdigest()
