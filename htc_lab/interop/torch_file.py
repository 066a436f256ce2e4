"""Files of ``torch.save``, in both formats, read without running anything in them.

Since torch 1.6 such a file is a zip archive (``data.pkl`` and one record per storage). Before, it was a
sequence of pickles followed by the storages' bytes. The reference's files of 2020 are of the older kind.
"""

import io
import mmap
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from htc_lab.errors import InputError
from htc_lab.interop.unpickling import StorageRecord, TensorRecord, read_pickle

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_MOST_DIMENSIONS = 16


@dataclass(frozen=True)
class TorchFile:
    """What a file holds: ``content``, with a :class:`TensorRecord` for each tensor, built on demand."""

    path: Path
    content: Any
    _bytes_of: Callable[[StorageRecord], memoryview]

    def tensor(self, record: TensorRecord, name: str) -> Tensor:
        """The tensor, contiguous and in its own memory.

        Raises:
            InputError: it reaches outside its storage, or the storage is missing or cut short.
        """
        storage, offset, size, stride = record
        if not (_is_storage(storage) and _is_whole(offset) and _are_whole(size) and _are_whole(stride)):
            raise self._damaged(name, "its record makes no sense")
        if len(size) != len(stride):
            raise self._damaged(name, "its shape and its strides have different lengths")
        count, reach = 1, 0
        for n, step in zip(size, stride, strict=True):
            count *= n
            reach += (n - 1) * step
        if count == 0:
            return torch.empty(size, dtype=storage.dtype)
        # The second check keeps a few bytes from being expanded (stride 0) until they fill the memory.
        if offset + reach >= storage.numel or count > storage.numel:
            raise self._damaged(name, f"shape {tuple(size)} does not fit its {storage.numel} stored numbers")
        item = storage.dtype.itemsize
        part = self._bytes_of(storage)[offset * item : (offset + reach + 1) * item]
        flat = torch.frombuffer(bytearray(part), dtype=storage.dtype)
        return flat.as_strided(tuple(size), tuple(stride)).contiguous()

    def _damaged(self, name: str, reason: str) -> InputError:
        return damaged(self.path, f"entry '{name}': {reason}")


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48


def _are_whole(values: Any) -> bool:
    return isinstance(values, tuple) and len(values) <= _MOST_DIMENSIONS and all(map(_is_whole, values))


def _is_storage(value: Any) -> bool:
    return isinstance(value, StorageRecord) and isinstance(value.key, str) and _is_whole(value.numel)


def damaged(path: Path, reason: object) -> InputError:
    """The error for a damaged file, in one line."""
    line = " ".join(str(reason).split()) or "no reason known"
    return InputError(f"{path}: damaged or cut short ({line[:200]}); get the file again")


@contextmanager
def open_torch_file(path: Path) -> Iterator[TorchFile]:
    """Open a file that ``torch.save`` wrote, in this or any older version.

    Raises:
        InputError: the file doesn't exist, is damaged, or is of another kind.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    with file:
        try:
            start = file.read(2)
            file.seek(0)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); give a file") from None
        if start == b"PK":
            yield _open_zip(path, file)
        else:
            yield _open_legacy(path, file)


def _open_zip(path: Path, file: io.BufferedReader) -> TorchFile:
    try:
        archive = zipfile.ZipFile(file)
        names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        raise damaged(path, error) from None
    folders = {name.removesuffix("/data.pkl") for name in names if name.endswith("/data.pkl")}
    if len(folders) != 1 or any(name.endswith("/constants.pkl") for name in names):
        kind = "TorchScript" if folders else "zip archive without data.pkl"
        raise InputError(f"{path}: a {kind}, not a checkpoint; give a file that torch.save wrote")
    folder = folders.pop()

    def member(name: str) -> bytes:
        where = f"{folder}/{name}"
        if where not in names:
            raise damaged(path, f"no record {name}")
        # torch stores records uncompressed; decompressing one could turn a few bytes into gigabytes.
        if archive.getinfo(where).compress_type != zipfile.ZIP_STORED:
            raise damaged(path, f"record {name} is compressed")
        try:
            return archive.read(where)
        except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, EOFError, struct.error) as error:
            raise damaged(path, error) from None

    if f"{folder}/byteorder" in names and member("byteorder") != b"little":
        raise InputError(f"{path}: written on a big-endian machine; save it again on a little-endian one")

    def bytes_of(storage: StorageRecord) -> memoryview:
        data = member(f"data/{storage.key}")
        if len(data) != storage.numel * storage.dtype.itemsize:
            raise damaged(path, f"record data/{storage.key} has {len(data)} bytes")
        return memoryview(data)

    content, _ = _unpickled(path, io.BytesIO(member("data.pkl")))
    return TorchFile(path, content, bytes_of)


def _open_legacy(path: Path, file: io.BufferedReader) -> TorchFile:
    try:
        # Memory-mapped, so that a length read from a damaged file can't ask for more than the file has.
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (ValueError, OSError) as error:
        raise damaged(path, error) from None
    unknown = InputError(
        f"{path}: neither a .safetensors file of this lab nor a file that torch.save wrote; give one of these"
    )
    try:
        if read_pickle(data)[0] != _MAGIC:
            raise unknown
    except InputError:
        raise
    # Any byte may be wrong, so any error may occur; none of them means more than this.
    except Exception:
        raise unknown from None
    protocol, _ = _unpickled(path, data)
    system, _ = _unpickled(path, data)
    content, storages = _unpickled(path, data)
    keys, _ = _unpickled(path, data)
    if protocol != _PROTOCOL or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise InputError(f"{path}: a torch file of unknown version or byte order; save it again with torch")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise damaged(path, "its list of storages makes no sense")
    # A storage's length is counted in its own elements, so finding what follows it requires its type.
    sizes = {s.key: s.dtype.itemsize for s in storages if _is_storage(s)}
    places: dict[str, tuple[int, int]] = {}
    position = data.tell()
    for key in keys:
        head = data[position : position + 8]
        if len(head) < 8:
            raise damaged(path, f"the file ends before storage {key}")
        if key not in sizes:
            raise damaged(path, f"storage {key} belongs to nothing")
        (numel,) = struct.unpack("<q", head)
        begin, position = position + 8, position + 8 + numel * sizes[key]
        if numel < 0 or position > len(data):
            raise damaged(path, f"the file ends within storage {key}")
        places[key] = (begin, numel)

    def bytes_of(storage: StorageRecord) -> memoryview:
        if storage.key not in places or places[storage.key][1] != storage.numel:
            raise damaged(path, f"storage {storage.key} is missing or has the wrong length")
        begin, numel = places[storage.key]
        return memoryview(data)[begin : begin + numel * storage.dtype.itemsize]

    return TorchFile(path, content, bytes_of)


def _unpickled(path: Path, stream: io.BytesIO | mmap.mmap) -> tuple[Any, list[StorageRecord]]:
    try:
        return read_pickle(stream)
    # As above: a damaged pickle may raise anything, and that says no more than that it is damaged.
    except Exception as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from None
