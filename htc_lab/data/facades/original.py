"""The facade photographs as published: a download of one commit, verified byte for byte.

``{train,valid,test}/_annotations.coco.json`` names pictures of 1024 px. They are beside it,
except for 24 of valid's, which are in ``valid/images/``.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from htc_lab.data.fetch.archive import unpack
from htc_lab.data.fetch.download import Patience, fetch
from htc_lab.data.fetch.verify import require_room
from htc_lab.errors import InputError
from htc_lab.files import read_json, sha256_of

HOST = "https://github.com"
REPOSITORY = "a-hwang/building-facade-segmentation"
COMMIT = "fdf532443d1c83547218bfbfce8fece3ab848c21"
ARCHIVE = f"{REPOSITORY}/archive/{COMMIT}.zip"
"""Path of the archive under ``HOST`` or a mirror. Archives are packed anew for each request, so only what is
in them can be verified."""

SIDE = 1024
ANNOTATIONS = "_annotations.coco.json"

_NAME = re.compile(r"(.+)_scaled_([01])_png_jpg\.rf\.[0-9a-f]{32}\.jpg")


@dataclass(frozen=True)
class PublishedFolder:
    """What a folder of the original holds.

    Attributes:
        name: its name.
        pictures: how many.
        bytes: of all pictures together.
        annotations: SHA-256 of the annotation file.
        digest: SHA-256 of the bytes of all pictures, one after the other, sorted by name.
    """

    name: str
    pictures: int
    bytes: int
    annotations: str
    digest: str


# Taken from a copy of that commit.
PUBLISHED = (
    PublishedFolder(
        "train",
        407,
        74909929,
        "b40305abd63d7b754134597dc7d79c539bc38fdac86506432708b46aead86824",
        "077fcd7479c68d8132da8963d11cb494b3c90a77bdf112936d38894b967271c5",
    ),
    PublishedFolder(
        "valid",
        108,
        19897715,
        "23ed94cefe5c04fd764166a874f8373f4aff3e650a370adad89ed9f0f4ff470a",
        "d35c082ea5388a3ce1d36b1ef5464d6049f18627d961a75e88dc0db7839f6fc1",
    ),
    PublishedFolder(
        "test",
        83,
        15803689,
        "058fb31dbcb81a97ca9b9929df8b27bb9a864f88b3cc0904b414cbed8fa407cc",
        "3df480043f8aee5b9ebbefabfdb34163fb7e8ec03f19d6c6eb53d45f53dde10d",
    ),
)


@dataclass(frozen=True)
class Crop:
    """A published picture: one of the square crops of a photograph, 1024 px wide.

    Attributes:
        photo: the photograph, ``IMG_0718``.
        number: of the crop, 0 or 1.
        file: the JPEG.
        folder: the published split.
        polygons: class name and outline (``[x1, y1, x2, y2, ...]`` in px) of each object and surface, in the
            file's order. Every one is in one piece.
    """

    photo: str
    number: int
    file: Path
    folder: str
    polygons: tuple[tuple[str, list[float]], ...]

    @property
    def name(self) -> str:
        """``IMG_0718_1``."""
        return f"{self.photo}_{self.number}"


def get_original(
    folder: Path,
    *,
    published: Sequence[PublishedFolder] = PUBLISHED,
    mirror: str | None = None,
    patience: Patience | None = None,
    progress: bool = True,
) -> None:
    """Download and verify the published files; those that are there are only verified.

    Args:
        folder: for ``train``, ``valid`` and ``test``. A clone of the repository will do.
        published: what they must hold.
        mirror: address that serves ``ARCHIVE`` in the place of ``HOST``.
        patience: how often and how long to try.
        progress: show progress bars.

    Raises:
        InputError: there is no space or no answer, or a file is missing or isn't the published one; names the
            file or folder, and a fix.
    """
    if not all((folder / part.name).is_dir() for part in published):
        # The archive and what is unpacked from it: photographs don't shrink.
        require_room(folder, 2.1 * sum(part.bytes for part in published), "getting the photographs")
        archive = folder / "archive.zip"
        fetch(f"{(mirror or HOST).rstrip('/')}/{ARCHIVE}", archive, patience=patience, progress=progress)
        unpack(archive, {part.name: folder / part.name for part in published}, progress)
        archive.unlink()
    for part in published:
        _verify(folder / part.name, part)


def _verify(folder: Path, part: PublishedFolder) -> None:
    """Raises InputError if the folder lacks a published file, or one is another."""
    again = f"move {folder} away and run it again to download it"
    annotations = folder / ANNOTATIONS
    if not annotations.is_file():
        raise InputError(f"{annotations}: no such file; {again}")
    if sha256_of(annotations) != part.annotations:
        raise InputError(f"{annotations}: isn't the published file (its SHA-256 differs); {again}")
    running, size = hashlib.sha256(), 0
    names = sorted(image["file_name"] for image in read_json(annotations, again)["images"])
    for name in names:
        picture = _picture(folder, name)
        try:
            content = picture.read_bytes()
        except OSError as error:
            raise InputError(f"{picture}: cannot be read ({error.strerror}); {again}") from None
        running.update(content)
        size += len(content)
    if len(names) != part.pictures or running.hexdigest() != part.digest:
        raise InputError(
            f"{folder}: its {len(names)} pictures of {size} bytes aren't the {part.pictures} published ones "
            f"of {part.bytes} bytes (their SHA-256 differs); {again}"
        )


def _picture(folder: Path, name: str) -> Path:
    """Where a picture of a published folder is."""
    inside = folder / "images" / name
    return inside if inside.is_file() else folder / name


def read_original(folder: Path, published: Sequence[PublishedFolder] = PUBLISHED) -> list[Crop]:
    """The published pictures with their polygons, sorted by name; :func:`get_original` has verified them."""
    crops = []
    for part in published:
        tree = read_json(folder / part.name / ANNOTATIONS, "get the photographs again")
        class_of = {category["id"]: category["name"] for category in tree["categories"]}
        rows: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in tree["images"]}
        for row in tree["annotations"]:
            rows[row["image_id"]].append(row)
        for image in tree["images"]:
            named = _NAME.fullmatch(image["file_name"])
            if named is None:
                raise ValueError(f"{image['file_name']!r} is not the name of a facade picture")
            polygons = tuple(
                (class_of[row["category_id"]], [float(value) for value in row["segmentation"][0]])
                for row in rows[image["id"]]
            )
            file = _picture(folder / part.name, image["file_name"])
            crops.append(Crop(named[1], int(named[2]), file, part.name, polygons))
    return sorted(crops, key=lambda crop: crop.name)
