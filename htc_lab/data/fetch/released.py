"""The checkpoints that the reference released: which file belongs to which preset."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from htc_lab.data.fetch.download import Patience, fetch
from htc_lab.data.fetch.verify import Digest
from htc_lab.errors import InputError

OFFICIAL = "https://download.openmmlab.com/mmdetection/v2.0"

_CASCADE, _HTC = "cascade_rcnn/cascade_mask_rcnn", "htc/htc"

# The ``Weights`` entries of mmdetection 3.3.0, configs/{cascade_rcnn,htc}/metafile.yml. The last eight
# characters of each name are the beginning of the file's SHA-256. Nothing was released for HTC without the
# semantic branch.
RELEASED: dict[str, str] = {
    preset: f"{folder}/{folder.rpartition('/')[2]}{date}.pth"
    for preset, folder, date in (
        ("cascade_r50_1x", f"{_CASCADE}_r50_fpn_1x_coco", "_20200203-9d4dcb24"),
        (
            "cascade_r50_20e",
            f"{_CASCADE}_r50_fpn_20e_coco",
            "_bbox_mAP-0.419__segm_mAP-0.365_20200504_174711-4af8e66e",
        ),
        (
            "cascade_r101_20e",
            f"{_CASCADE}_r101_fpn_20e_coco",
            "_bbox_mAP-0.434__segm_mAP-0.378_20200504_174836-005947da",
        ),
        ("cascade_x101_32x4d_20e", f"{_CASCADE}_x101_32x4d_fpn_20e_coco", "_20200528_083917-ed1f4751"),
        ("cascade_x101_64x4d_20e", f"{_CASCADE}_x101_64x4d_fpn_20e_coco", "_20200512_161033-bdb5126a"),
        ("htc_r50_1x", f"{_HTC}_r50_fpn_1x_coco", "_20200317-7332cf16"),
        ("htc_r50_20e", f"{_HTC}_r50_fpn_20e_coco", "_20200319-fe28c577"),
        ("htc_r101_20e", f"{_HTC}_r101_fpn_20e_coco", "_20200317-9b41b48f"),
        ("htc_x101_32x4d_20e", f"{_HTC}_x101_32x4d_fpn_16x1_20e_coco", "_20200318-de97ae01"),
        ("htc_x101_64x4d_20e", f"{_HTC}_x101_64x4d_fpn_16x1_20e_coco", "_20200318-b181fd7a"),
        (
            "htc_x101_64x4d_dcn_ms_20e",
            f"{_HTC}_x101_64x4d_fpn_dconv_c3-c5_mstrain_400_1400_16x1_20e_coco",
            "_20200312-946fd751",
        ),
    )
}
"""Preset -> path of its checkpoint under ``OFFICIAL``."""


def released_name(preset: str) -> str:
    """File name of a preset's released checkpoint.

    Raises:
        InputError: none was released for it; the message lists those that have one.
    """
    if preset not in RELEASED:
        raise InputError(f"{preset}: no checkpoint was released for it; take one of {', '.join(RELEASED)}")
    return RELEASED[preset].rpartition("/")[2]


def hash_in_name(url: str) -> Digest:
    """The beginning of the SHA-256, which the reference puts at the end of a file's name.

    Raises:
        InputError: the name doesn't end in a hash.
    """
    ending = Path(urlsplit(url).path).stem.rpartition("-")[2]
    if len(ending) != 8 or not set(ending) <= set("0123456789abcdef"):
        raise InputError(f"{url}: its name doesn't end in 8 digits of a SHA-256; check the name")
    return Digest("sha256", ending)


def get_checkpoints(
    presets: Sequence[str],
    folder: Path,
    *,
    mirror: str | None = None,
    patience: Patience | None = None,
    progress: bool = True,
) -> list[Path]:
    """Download released checkpoints, each verified by the hash in its name; existing ones are kept.

    Args:
        presets: names from ``RELEASED``.
        folder: where they go.
        mirror: address instead of ``OFFICIAL``; it serves the same paths.
        patience: how often and how long to try.
        progress: show progress bars.

    Returns:
        The files, in order.

    Raises:
        InputError: there is no such checkpoint or no answer, or the bytes are not those its name promises.
    """
    names = [released_name(preset) for preset in presets]
    paths = []
    for preset, name in zip(presets, names, strict=True):
        url = f"{(mirror or OFFICIAL).rstrip('/')}/{RELEASED[preset]}"
        paths.append(
            fetch(url, folder / name, digest=hash_in_name(url), patience=patience, progress=progress)
        )
    return paths
