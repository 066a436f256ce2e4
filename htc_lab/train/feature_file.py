"""The features of a data set's pictures in one file, which is read as if it were memory.

It is a safetensors file: for each picture and its mirror image C2..C5 as :mod:`htc_lab.train.whole_maps`
defines them, (h, w, C) float16, and ``read``, 1 for each picture that could be read. Its name comes from
what it was made for: the backbone's weights, the size, and the picture files. The operating system keeps in
memory what there is room for; nothing else is.
"""

import contextlib
import hashlib
import json
import os
import shutil
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor
from tqdm.auto import tqdm

from htc_lab.data.dataset import CocoDataset
from htc_lab.data.mask_patches import Window
from htc_lab.errors import InputError
from htc_lab.files import remove_leftovers, write_atomically
from htc_lab.layers.timm_backbone import STRIDES
from htc_lab.model import HybridTaskCascade
from htc_lab.train.whole_maps import ALIGNED, map_shapes, training_size, whole_maps

_FORMAT = 1
_BYTES = 2
"""Of a number in 16 bits."""
_READ = "read"


class FeatureFile:
    """The maps of all pictures of a data set, of which :meth:`window` cuts out parts."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            InputError: it is no such file, or cut short.
        """
        self.path = path
        try:
            with path.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                entries = json.loads(file.read(length))
            self.made_for = json.loads(entries.pop("__metadata__")["made_for"])
            self._begin = 8 + length
            end = self._begin + max(entry["data_offsets"][1] for entry in entries.values())
            if path.stat().st_size != end:
                raise ValueError(f"{path.stat().st_size} bytes instead of {end}")
            self._entries = {
                name: (entry["data_offsets"][0] // _BYTES, tuple(entry["shape"]))
                for name, entry in entries.items()
            }
            self._numbers, (pictures,) = self._entries.pop(_READ)
            self._mapped: np.ndarray | None = None
            with path.open("rb") as file:
                file.seek(self._begin + self._numbers * _BYTES)
                self._read = file.read(pictures)
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            struct.error,
            MemoryError,
            OverflowError,
        ) as error:
            raise InputError(f"{path}: is no whole file of features ({error}); delete it") from None

    def __getstate__(self) -> dict[str, Any]:
        """Without what is mapped: another process maps the file itself."""
        return self.__dict__ | {"_mapped": None}

    def window(self, index: int, mirrored: bool, window: Window) -> list[Tensor]:
        """C2..C5 of a part of a picture: (h, w, C) float16, a copy.

        Args:
            index: of the picture in its data set.
            mirrored: left to right.
            window: top and left, which are multiples of ``ALIGNED`` px, height and width.

        Raises:
            InputError: the picture could not be read when the features were computed.
        """
        if not self._read[index]:
            raise InputError(f"{self.path}: the picture could not be read when its features were computed")
        if self._mapped is None:
            self._mapped = np.memmap(self.path, np.float16, "r", self._begin, (self._numbers,))
        maps = []
        for level in range(len(STRIDES)):
            offset, shape = self._entries[_name(index, mirrored, level)]
            whole = self._mapped[offset : offset + int(np.prod(shape))].reshape(shape)
            maps.append(torch.from_numpy(np.array(part_of(whole, level, window))))
        return maps


def part_of(whole: Any, level: int, window: Window) -> Any:
    """The cells of C2..C5's ``level`` (0..3) that a window covers, of a map (h, w, C)."""
    top, left, height, width = window
    stride = STRIDES[level]
    # A picture's last rows may fill a cell of the coarsest map in part only.
    rows, columns = (-(-side // ALIGNED) * (ALIGNED // stride) for side in (height, width))
    return whole[top // stride : top // stride + rows, left // stride : left // stride + columns]


def _name(index: int, mirrored: bool, level: int) -> str:
    return f"{index}{'.mirrored' if mirrored else ''}.c{level + 2}"


def features_of(
    model: HybridTaskCascade, dataset: CocoDataset, folder: Path, progress: bool = True
) -> FeatureFile:
    """The file of a data set's features in a folder; written first if there is none, or no whole one.

    If another process is writing it, this one waits.

    Args:
        model: its backbone is frozen.
        dataset: all of its pictures, at the training's size.
        folder: of the file.
        progress: show a progress bar.

    Raises:
        InputError: the disk has no room, or the folder can't be written to.
    """
    made_for = _made_for(model, dataset)
    key = hashlib.sha256(json.dumps(made_for, sort_keys=True).encode()).hexdigest()
    path = folder / f"features_{key[:16]}.safetensors"
    with _alone(path):
        if path.is_file():
            with contextlib.suppress(InputError):
                found = FeatureFile(path)
                if found.made_for == made_for:
                    return found
            tqdm.write(f"{path}: is no whole file of these features; it is written again", sys.stderr)
        remove_leftovers(path)
        _write(path, model, dataset, made_for, progress)
    return FeatureFile(path)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    lock = FileLock(path.with_suffix(".lock"), fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        # A file system without locks: two processes would do the same work, and the later file wins.
        if not path.is_file() and not os.access(path.parent, os.W_OK):
            raise InputError(f"{path}: cannot be written ({error.strerror}); choose another folder") from None
    try:
        yield
    finally:
        lock.release()


def _made_for(model: HybridTaskCascade, dataset: CocoDataset) -> dict[str, Any]:
    """All that the numbers in the file depend on, as JSON values."""
    weights = hashlib.sha256()
    for name, value in sorted(model.backbone.state_dict().items()):
        weights.update(name.encode())
        weights.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    pictures = hashlib.sha256()
    for row in dataset.images:
        try:
            on_disk = (dataset.split.images / row["file_name"]).stat()
            file = (on_disk.st_size, on_disk.st_mtime_ns)
        except OSError:
            file = (0, 0)
        pictures.update(
            json.dumps([row["id"], row["file_name"], row["height"], row["width"], *file]).encode()
        )
    image = model.config.image
    return {
        "format": _FORMAT,
        "backbone": weights.hexdigest(),
        "pictures": pictures.hexdigest(),
        "size": [image.train_short[0], image.train_long, image.pad],
        "normalised": [list(image.mean), list(image.std)],
        "mirrored": image.flip > 0,
    }


def _write(
    path: Path, model: HybridTaskCascade, dataset: CocoDataset, made_for: dict[str, Any], progress: bool
) -> None:
    image = model.config.image
    sides = (False, True) if made_for["mirrored"] else (False,)
    entries: dict[str, Any] = {}
    end = 0
    for i, row in enumerate(dataset.images):
        shapes = map_shapes(
            training_size(row["height"], row["width"], image), model.backbone.out_channels, image.pad
        )
        for mirrored in sides:
            for level, shape in enumerate(shapes):
                size = _BYTES * int(np.prod(shape))
                entries[_name(i, mirrored, level)] = _entry("F16", shape, end, size)
                end += size
    entries[_READ] = _entry("U8", (len(dataset),), end, len(dataset))
    header = json.dumps({"__metadata__": {"made_for": json.dumps(made_for)}} | entries).encode()
    header += b" " * (-len(header) % 8)
    needed, free = 8 + len(header) + end + len(dataset), shutil.disk_usage(path.parent).free
    if needed > free:
        raise InputError(
            f"{path}: the features take {needed / 1e6:,.0f} MB, but {free / 1e6:,.0f} MB are free; free "
            "some, take fewer px, or keep the runs on another disk"
        )
    if progress:
        tqdm.write(f"{path}: {needed / 1e6:,.0f} MB of features; delete it when you are done", sys.stderr)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            read = [
                _add(file, model, dataset, i, sides, entries)
                for i in tqdm(range(len(dataset)), desc="features", disable=not progress)
            ]
            file.write(bytes(read))

    write_atomically(path, write)


def _entry(kind: str, shape: tuple[int, ...], begin: int, size: int) -> dict[str, Any]:
    return {"dtype": kind, "shape": list(shape), "data_offsets": [begin, begin + size]}


def _add(
    file: BinaryIO,
    model: HybridTaskCascade,
    dataset: CocoDataset,
    i: int,
    sides: tuple[bool, ...],
    entries: dict[str, Any],
) -> bool:
    """Write the maps of picture ``i``, zeros if it can't be read; return whether it can."""
    picture: Tensor | None = None
    # The training skips such a picture, says so, and stops if there are many of them.
    with contextlib.suppress(InputError):
        picture = dataset.read_picture(i)
    for mirrored in sides:
        maps = [] if picture is None else whole_maps(model, picture, mirrored)
        for level in range(len(STRIDES)):
            entry = entries[_name(i, mirrored, level)]
            begin, end = entry["data_offsets"]
            if picture is None:
                file.write(bytes(end - begin))
                continue
            assert list(maps[level].shape) == entry["shape"]
            file.write(maps[level].numpy().tobytes())
    return picture is not None
