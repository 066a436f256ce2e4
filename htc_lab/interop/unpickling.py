"""Untrusted pickles, read without looking up or calling anything they name.

A pickle is a program: it may name any function of any package and have it called with any arguments. Here
the names that a torch checkpoint needs (dict, tensor, storage) stand for records of this module, and every
other name stands for :class:`Foreign`, which accepts anything that is done to it and does nothing.
"""

import io
import mmap
import pickle
import pickletools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

import torch


class StorageRecord(NamedTuple):
    """Where the bytes of a tensor are; nothing in it has been checked."""

    key: Any
    dtype: torch.dtype
    numel: Any


class TensorRecord(NamedTuple):
    """A tensor that has not been built yet; nothing in it has been checked."""

    storage: Any
    offset: Any
    size: Any
    stride: Any


class Foreign:
    """Stands for any class, function or object that is not needed; swallows anything done to it."""

    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> "Foreign":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return Foreign()

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        pass

    def extend(self, items: Iterable[Any]) -> None:
        pass

    def add(self, item: Any) -> None:
        pass


class _Maker(Foreign):
    """One of this module's own functions; as it is Foreign, a pickle can call it but not change it."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._make(*args)


class Mapping(dict[Any, Any]):
    """An ordered dict whose attributes (where torch stores versions) are dropped."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class _StorageType(NamedTuple):
    dtype: torch.dtype


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorRecord:
    return TensorRecord(storage, offset, size, stride)


def _inner(data: Any, *_: Any) -> Any:
    return data


def _of_subclass(function: Any, kind: Any, args: Any, state: Any) -> Any:
    return _tensor(*args) if isinstance(function, _Maker) else Foreign()


_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Maker(Mapping),
    ("torch", "Size"): _Maker(tuple),
    ("torch._utils", "_rebuild_tensor"): _Maker(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Maker(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Maker(_inner),
    ("torch._tensor", "_rebuild_from_type_v2"): _Maker(_of_subclass),
    **{
        (module, name): _StorageType(dtype)
        for module in ("torch", "torch.cuda")
        for name, dtype in _STORAGES.items()
    },
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.storages: list[StorageRecord] = []

    def find_class(self, module: str, name: str) -> Any:
        return _KNOWN.get((module, name), Foreign)

    def persistent_load(self, pid: Any) -> StorageRecord:
        kind, storage_type, key, _, numel, *view = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType) or any(view):
            raise pickle.UnpicklingError("a storage of unknown kind")
        self.storages.append(StorageRecord(key, storage_type.dtype, numel))
        return self.storages[-1]


_MEMO = ("PUT", "BINPUT", "LONG_BINPUT")
_EXTENSIONS = ("EXT1", "EXT2", "EXT4")


def read_pickle(stream: io.BytesIO | mmap.mmap) -> tuple[Any, list[StorageRecord]]:
    """The next pickle of ``stream``, which is left just after it.

    Args:
        stream: at the pickle's first byte.

    Returns:
        The value: plain values, :class:`Mapping`, :class:`TensorRecord`, and :class:`Foreign` for anything
        else. And every storage it mentioned, including those that went into something Foreign.

    Raises:
        Exception: of any kind, if the pickle is damaged; the caller knows what to say about the file.
    """
    begin = stream.tell()
    for count, (code, argument, _) in enumerate(pickletools.genops(cast(Any, stream))):
        # The unpickler's memo is an array as long as the largest index: a damaged one would fill the memory.
        if code.name in _MEMO and (argument is None or argument > count):
            raise pickle.UnpicklingError("a memo index out of order")
        # These name a global by number, and one looked up before would come from a cache without asking us.
        if code.name in _EXTENSIONS:
            raise pickle.UnpicklingError("an extension code")
    end = stream.tell()
    stream.seek(begin)
    unpickler = _Unpickler(io.BytesIO(stream.read(end - begin)))
    return unpickler.load(), unpickler.storages
