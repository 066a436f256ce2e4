"""Colours and fonts shared by all pictures of the lab."""

from functools import cache
from pathlib import Path

import matplotlib
from PIL import ImageFont

from htc_lab.paper import TITLES

Colour = tuple[int, int, int]

# Okabe and Ito's colours, distinguishable with any kind of colour vision; their blue is lightened so that it
# shows on dark photos, and their black, which would not, is replaced by a light grey.
OBJECT_COLOURS: tuple[Colour, ...] = (
    (0x56, 0xB4, 0xE9),
    (0xE6, 0x9F, 0x00),
    (0xCC, 0x79, 0xA7),
    (0xF0, 0xE4, 0x42),
    (0xD5, 0x5E, 0x00),
    (0x00, 0x9E, 0x73),
    (0x3B, 0x8E, 0xDB),
    (0xE3, 0xE3, 0xE3),
)
GREY = len(OBJECT_COLOURS) - 1
"""Place of the light grey among them."""

WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)
INK = "#14181c"
QUIET = "#5d6369"
RULE = "#dfe1e3"
FILL = 0.36
CASING = 0.55


def colour_of(number: int) -> Colour:
    """The colour of object ``number``; beyond eight they repeat, dashed (see ``is_dashed``)."""
    return OBJECT_COLOURS[number % len(OBJECT_COLOURS)]


def colour_number(thing: int, true: int) -> int:
    """The number whose colour an object of a picture has: grey is for objects that are not in the truth.

    Args:
        thing: the object's number, as ``htc_lab.evaluate.identity`` gives it: true ones first.
        true: how many objects are in the truth; 0 without one, and then grey is a colour like any other.
    """
    if not true:
        return thing
    turn, hue = divmod(thing, GREY)
    return turn * len(OBJECT_COLOURS) + hue if thing < true else GREY


def hex_of(number: int) -> str:
    """The colour of object ``number`` as ``#rrggbb``, for plots."""
    return "#{:02x}{:02x}{:02x}".format(*colour_of(number))


def is_dashed(number: int) -> bool:
    """Whether object ``number`` shares its colour with an earlier one and is drawn dashed."""
    return (number // len(OBJECT_COLOURS)) % 2 == 1


def text_on(colour: Colour) -> Colour:
    """Black or white, whichever reads better on ``colour`` (relative luminance of WCAG)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return BLACK if luminance > 0.179 else WHITE


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and so is available everywhere; ``size`` in px."""
    return ImageFont.truetype(
        str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size
    )


def rung_words(name: str) -> str:
    """The rung ``name`` in words; any other name is returned as it is."""
    return TITLES.get(name, name.replace("_", " "))
