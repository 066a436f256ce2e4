"""COCO 2017 from its official addresses, in the layout the lab reads.

annotations/instances_{train,val}2017.json    train2017/*.jpg    val2017/*.jpg
stuffthingmaps/{train,val}2017/*.png
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from htc_lab.data.fetch.archive import unpack
from htc_lab.data.fetch.download import Patience, fetch
from htc_lab.data.fetch.verify import Digest, require_room
from htc_lab.errors import InputError
from htc_lab.wording import counted

OFFICIAL = "http://images.cocodataset.org"


@dataclass(frozen=True)
class CocoPart:
    """One archive of COCO 2017.

    Attributes:
        name: its name on the command line.
        url: official address.
        mirrored: path of the archive under a mirror's address.
        folders: folder in the archive -> folder on disk.
        counts: number of files in each folder on disk, if nothing else may be in it.
        files: paths that must exist afterwards.
        bytes: exact size of the archive; None if it was never published.
        about: approximate size of the archive in bytes.
        growth: unpacked size, as a multiple of the archive's.
        digest: digest of the archive, if it is known.
    """

    name: str
    url: str
    mirrored: str
    folders: dict[str, str]
    about: int
    bytes: int | None = None
    digest: Digest | None = None
    growth: float = 1.0
    counts: dict[str, int] | None = None
    files: tuple[str, ...] = ()


def _images(split: str, count: int, size: int, md5: str) -> CocoPart:
    path = f"zips/{split}.zip"
    folders = {split: split}
    digest = Digest("md5", md5)
    return CocoPart(
        split, f"{OFFICIAL}/{path}", path, folders, size, size, digest, counts={split: count}, growth=1.02
    )


# MD5: the table DATASETS of PaddlePaddle/PaddleDetection, ppdet/utils/download.py. Sizes: the server's own
# Content-Length, as download logs show it (val and annotations: keras-team/keras-io,
# examples/keras_recipes/creating_tfrecords). The maps' archive has no published checksum or exact size
# (nightrome/cocostuff, README: 659 MB, 118287 + 5000 images), so the CRC of each of its files has to suffice.
COCO_PARTS: dict[str, CocoPart] = {
    part.name: part
    for part in (
        CocoPart(
            name="annotations",
            url=f"{OFFICIAL}/annotations/annotations_trainval2017.zip",
            mirrored="annotations/annotations_trainval2017.zip",
            folders={"annotations": "annotations"},
            about=252907541,
            bytes=252907541,
            digest=Digest("md5", "f4bbac642086de4f52a3fdda2de5fa2c"),
            growth=4.0,
            files=("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
        ),
        _images("val2017", 5000, 815585330, "442b8da7639aecaf257c1dceb8ba8c80"),
        CocoPart(
            name="stuffthingmaps",
            url="http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip",
            mirrored="stuffthingmaps_trainval2017.zip",
            folders={"train2017": "stuffthingmaps/train2017", "val2017": "stuffthingmaps/val2017"},
            about=659 << 20,
            growth=2.0,
            counts={"stuffthingmaps/train2017": 118287, "stuffthingmaps/val2017": 5000},
        ),
        _images("train2017", 118287, 19336861798, "cced6f7f71b7629ddf16f17bbcfab6b2"),
    )
}


def get_coco(
    root: Path,
    parts: Sequence[CocoPart],
    *,
    mirror: str | None = None,
    official: bool = True,
    keep_archives: bool = False,
    patience: Patience | None = None,
    progress: bool = True,
) -> None:
    """Download, verify and unpack parts of COCO; what is already complete is skipped.

    Args:
        root: the folder to fill.
        parts: see ``COCO_PARTS``.
        mirror: address that serves ``CocoPart.mirrored`` instead of the official ones.
        official: compare archives and folders with the official sizes, checksums and counts. Without it, any
            archive with the right folders will do.
        keep_archives: keep the archives in ``root/archives``.
        patience: how often and how long to try.
        progress: show progress bars.

    Raises:
        InputError: there is no space or no answer, or files are wrong or damaged; names the file and a fix.
    """
    wanted = [part for part in parts if not _complete(root, part, official)]
    for part in parts:
        if part not in wanted:
            tqdm.write(f"{root}: {part.name} is complete")
    if official:
        _enough_room(root, wanted, keep_archives)
    for part in wanted:
        archive = root / "archives" / Path(part.mirrored).name
        fetch(
            f"{mirror.rstrip('/')}/{part.mirrored}" if mirror else part.url,
            archive,
            size=part.bytes if official else None,
            digest=part.digest if official else None,
            patience=patience,
            progress=progress,
        )
        unpack(archive, {name: root / place for name, place in part.folders.items()}, progress)
        if not _complete(root, part, official):
            raise InputError(
                f"{archive}: lacks {' or '.join(part.files)}; delete it and give another --mirror"
            )
        if not keep_archives:
            archive.unlink()
    if not keep_archives and (root / "archives").is_dir() and not any((root / "archives").iterdir()):
        (root / "archives").rmdir()


def _complete(root: Path, part: CocoPart, official: bool) -> bool:
    """Whether a part is complete; counts are compared with the official ones.

    Raises:
        InputError: a folder of pictures exists, but with the wrong number of them.
    """
    places = [root / place for place in part.folders.values()]
    if part.counts is None or not official:
        filled = all(place.is_dir() and any(place.iterdir()) for place in places)
        needed = all if official else any
        return filled and (not part.files or needed((root / file).is_file() for file in part.files))
    there = [root / place for place in part.counts if (root / place).exists()]
    for place, count in part.counts.items():
        if root / place in there:
            found = sum(1 for path in (root / place).iterdir() if path.suffix in (".jpg", ".png"))
            if found != count:
                raise InputError(
                    f"{root / place}: holds {counted(found, 'picture')}, not the {count} of COCO; move it "
                    "away to get it again (or give --no-official, if it is meant to differ)"
                )
    return len(there) == len(part.counts)


def _enough_room(root: Path, parts: Sequence[CocoPart], keep_archives: bool) -> None:
    """Check for space before anything is requested; archives are deleted one by one, unless they are kept."""
    unpacked = sum(part.about * part.growth for part in parts)
    archives = [part.about for part in parts]
    packed = sum(archives) if keep_archives else max(archives, default=0)
    here = sum(path.stat().st_size for path in (root / "archives").glob("*") if path.is_file())
    names = ", ".join(part.name for part in parts)
    require_room(root, unpacked + packed - min(here, packed), f"getting {names}")
