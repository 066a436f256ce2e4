"""Picture files and semantic maps of every odd kind: the right pixels, or one line."""

import io
import random
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from htc_lab.data.dataset import read_image
from htc_lab.data.pictures import read_pixels
from htc_lab.data.semantic import read_semantic_map
from htc_lab.data.transforms import resize_image
from tests.fuzz.mutate import broken_bytes
from tests.fuzz.outcome import examples, fresh, outcome, times
from tests.unit.tiny import lively

_MODES = ("RGB", "L", "P", "RGBA", "LA", "1", "I;16", "I", "F", "CMYK", "YCbCr", "PA")
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "ICO", "TGA", "JPEG2000")


def pixels(height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8: a ramp with some noise."""
    values = np.random.default_rng(0).integers(0, 40, (height, width, 3))
    return (values + np.linspace(0, 200, width)[None, :, None]).astype(np.uint8)


def picture(mode: str, height: int = 12, width: int = 17) -> Image.Image:
    """The ramp in a mode of PIL."""
    rgb = Image.fromarray(pixels(height, width))
    grey = np.asarray(rgb.convert("L"))
    match mode:
        case "I;16":
            return Image.fromarray(grey.astype(np.uint16) * 257)
        case "I":
            return Image.fromarray(grey.astype(np.int32) * 257)
        case "F":
            return Image.fromarray(grey.astype(np.float32))
        case "PA":
            return rgb.convert("P").convert("PA")
    return rgb.convert(mode)


def encoded(made: Image.Image, kind: str, **options: object) -> bytes | None:
    """The file's bytes; None where the format can't hold the mode."""
    out = io.BytesIO()
    try:
        made.save(out, kind, **options)
    except (OSError, KeyError, ValueError):
        return None
    return out.getvalue()


@pytest.mark.parametrize("kind", _FORMATS)
def test_each_mode_of_each_format_is_read_as_it_looks(kind: str, tmp_path: Path) -> None:
    for mode in _MODES:
        made = picture(mode)
        data = encoded(made, kind)
        # Formats of 8 bits clip deeper grey when it is written.
        if data is None or (mode.startswith("I") and kind in ("WEBP", "GIF")):
            continue
        path = fresh(tmp_path, f"{mode}.{kind}".replace(";", ""), data)
        found = outcome(lambda path=path: read_pixels(path), path)
        with Image.open(path) as kept:
            no_scale = kept.mode == "F" or (kept.mode == "I" and kind not in ("PNG", "PPM"))
            assert (found is None) == no_scale, mode
        if found is None:
            continue
        assert found.dtype == np.uint8
        assert found.shape[2] == 3
        if kind == "ICO":
            continue
        assert found.shape == (12, 17, 3)
        wanted = np.asarray(picture("RGB"), dtype=int)
        if mode in ("L", "LA", "I;16", "I", "F"):
            wanted = np.repeat(np.asarray(picture("L"), dtype=int)[..., None], 3, axis=2)
        if mode != "1":
            assert np.abs(found - wanted).mean() < 20, (mode, kind)


@pytest.mark.parametrize("kind", _FORMATS)
def test_broken_files(kind: str, tmp_path: Path) -> None:
    for number, mode in enumerate(("RGB", "L", "P", "CMYK", "I;16")):
        data = encoded(picture(mode), kind)
        for seed in range(times(20 if data else 0)):
            assert data is not None
            path = fresh(tmp_path, "a.bin", broken_bytes(data, random.Random(f"{number} {seed}")))
            found = outcome(lambda path=path: read_pixels(path), path)
            if found is not None:
                assert found.dtype == np.uint8
                assert found.ndim == 3
                assert found.shape[2] == 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_every_truncation(kind: str, tmp_path: Path) -> None:
    data = encoded(picture("RGB"), kind)
    assert data is not None
    whole = read_pixels(fresh(tmp_path, "whole.bin", data))
    for length in range(0, len(data), 5):
        path = fresh(tmp_path, "a.bin", data[:length])
        found = outcome(lambda path=path: read_pixels(path), path)
        # Only a checksum may be missing.
        assert found is None or (found == whole).all(), length


_TURNED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda lying: lying[:, ::-1],
    3: lambda lying: lying[::-1, ::-1],
    4: lambda lying: lying[::-1],
    5: lambda lying: lying.swapaxes(0, 1),
    6: lambda lying: np.rot90(lying, -1),
    7: lambda lying: lying[::-1, ::-1].swapaxes(0, 1),
    8: lambda lying: np.rot90(lying),
}
"""By EXIF's numbers, how the upright picture comes of the one that lies in the file."""


def test_turned_pictures(tmp_path: Path) -> None:
    """By EXIF, the orientations that don't exist included; and EXIF blocks that are broken."""
    upright = pixels(12, 17)
    for orientation in (*range(10), 255, 65535):
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encoded(Image.fromarray(upright), "PNG", exif=exif.tobytes())
        assert data is not None
        path = fresh(tmp_path, "a.png", data)
        found = outcome(lambda path=path: read_pixels(path), path)
        assert found is not None
        wanted = _TURNED.get(orientation, lambda lying: lying)(upright)
        assert found.shape == wanted.shape
        assert (found == wanted).all(), orientation
        # What was drawn on the picture as it lies has that size; where both have it, the picture is turned.
        as_it_lies = outcome(lambda path=path: read_pixels(path, 12, 17), path)
        assert (as_it_lies == (upright if wanted.shape != upright.shape else wanted)).all()
        turned = outcome(lambda path=path: read_pixels(path, 17, 12), path)
        assert (turned is not None) == (orientation in (5, 6, 7, 8))
        assert turned is None or (turned == wanted).all()
    for seed in range(times(60)):
        exif = Image.Exif()
        exif[0x0112] = 6
        block = broken_bytes(exif.tobytes(), random.Random(seed))
        data = encoded(Image.fromarray(upright), "JPEG", exif=block)
        if data is not None:
            path = fresh(tmp_path, "a.jpg", data)
            outcome(lambda path=path: read_pixels(path), path)


_SIZES = [(1, 1), (1, 2), (2, 1), (1, 500), (500, 1), (10, 20_000), (20_000, 10), (3, 3000)]


@pytest.mark.parametrize("size", _SIZES, ids=str)
def test_extreme_shapes_are_read_and_predicted_on(size: tuple[int, int], tmp_path: Path) -> None:
    data = encoded(Image.fromarray(pixels(*size)), "PNG")
    assert data is not None
    path = fresh(tmp_path, "a.png", data)
    image = outcome(lambda: read_image(path), path)
    assert image is not None
    assert tuple(image.shape[1:]) == size
    small, _, _ = resize_image(image, 800, 1333)
    assert min(small.shape[1:]) >= 1
    assert max(small.shape[1:]) <= 1333
    (found,) = lively().predict([image])
    assert found.boxes.isfinite().all()
    assert found.masks.shape[1:] == size


def test_too_many_pixels_are_refused_before_they_are_read(tmp_path: Path) -> None:
    """A picture of a few bytes that says it is 30000 pixels wide and high."""
    data = encoded(Image.new("1", (8, 8)), "PNG")
    assert data is not None
    head = b"IHDR" + struct.pack(">II", 30_000, 30_000) + data[24:29]
    path = fresh(tmp_path, "a.png", data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:])
    assert outcome(lambda: read_pixels(path), path) is None


def _places(folder: Path) -> list[Path]:
    (folder / "folder.png").mkdir()
    (folder / "nowhere.png").symlink_to(folder / "gone.png")
    (folder / "round.png").symlink_to(folder / "round.png")
    fresh(folder, "file.png", b"x")
    return [
        *(folder / "folder.png", folder / "nowhere.png", folder / "round.png", folder / "absent.png"),
        *(folder / "file.png" / "inner.png", folder / ("x" * 300), Path("a\0b.png"), Path("")),
    ]


@pytest.mark.parametrize("read", [read_pixels, lambda path: read_semantic_map(path, 2, 2, None)])
def test_paths_that_are_no_files(read: Callable[[Path], object], tmp_path: Path) -> None:
    for path in _places(tmp_path):
        assert outcome(lambda path=path: read(path)) is None, path


@given(st.integers(0, 65535), st.integers(0, 65535), st.sampled_from(["PNG", "TIFF", "JPEG2000"]))
@example(0, 255, "PNG")
@examples(100)
def test_deep_grey_goes_by_its_depth_and_not_by_its_brightest_pixel(low: int, high: int, kind: str) -> None:
    """Of two dark pictures, one with a pixel of 256, neither is read as a bright one."""
    values = np.linspace(low, high, 12).astype(np.uint16).reshape(3, 4)
    options = {"irreversible": False} if kind == "JPEG2000" else {}
    data = encoded(Image.fromarray(values), kind, **options)
    assert data is not None
    with tempfile.TemporaryDirectory() as folder:
        file = fresh(Path(folder), "a.bin", data)
        found = outcome(lambda: read_pixels(file), file)
    assert found is not None
    assert (found == (values >> 8)[..., None]).all()


def test_deep_colour_is_read_by_its_upper_bits(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, 3)).astype(np.uint16)
    _, data = cv2.imencode(".png", values[..., ::-1])
    path = fresh(tmp_path, "a.png", data.tobytes())
    found = outcome(lambda: read_pixels(path), path)
    assert found is not None
    assert np.abs(found.astype(int) - (values >> 8)).max() <= 1


# ---- semantic maps


def test_maps_of_each_mode_hold_their_indices_or_are_refused(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 8, (6, 9)).astype(np.uint8)
    lookup = np.full(256, 254, dtype=np.uint8)
    lookup[:8] = np.arange(8)
    palette = Image.fromarray(values).convert("P")
    palette.putpalette([v for k in range(256) for v in (255 - k, k, 7 * k % 256)])
    same = np.repeat(values[..., None], 3, axis=2)
    kinds = {
        "L": Image.fromarray(values),
        "P": palette,
        "I;16": Image.fromarray(values.astype(np.uint16)),
        "I": Image.fromarray(values.astype(np.int32)),
        "F": Image.fromarray(values.astype(np.float32)),
        "equal RGB": Image.fromarray(same),
        "LA": Image.fromarray(values).convert("LA"),
        "colour": palette.convert("RGB"),
        "fraction": Image.fromarray(values.astype(np.float32) + 0.5),
        "nan": Image.fromarray(np.where(values == 3, np.nan, values).astype(np.float32)),
        "negative": Image.fromarray(values.astype(np.int32) - 3),
        "over 255": Image.fromarray(values.astype(np.uint16) + 300),
        "256 more": Image.fromarray(values.astype(np.int32) + 256),
    }
    refused = {"colour", "fraction", "nan", "negative", "over 255", "256 more"}
    for name, made in kinds.items():
        for kind in ("PNG", "TIFF"):
            data = encoded(made, kind)
            if data is None:
                continue
            path = fresh(tmp_path, "a.png", data)
            found = outcome(lambda path=path: read_semantic_map(path, 6, 9, lookup), path)
            assert (found is None) == (name in refused) or name == "LA", (name, kind)
            if found is not None:
                assert (found == values).all(), (name, kind)


def test_broken_maps(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 8, (6, 9)).astype(np.uint8)
    for number, made in enumerate((Image.fromarray(values), Image.fromarray(values).convert("P"))):
        data = encoded(made, "PNG")
        assert data is not None
        for seed in range(times(200)):
            path = fresh(tmp_path, "a.png", broken_bytes(data, random.Random(f"{number} {seed}")))
            found = outcome(lambda path=path: read_semantic_map(path, 6, 9, None), path)
            if found is not None:
                assert found.shape == (6, 9)
                assert found.dtype == np.uint8
