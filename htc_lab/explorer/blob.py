"""The file format of a pack: arrays as blocks of one deflated body, and a JSON index in front.

``HTCX``, version and length of the index as little-endian uint32, the index as UTF-8 JSON, then the body.
The index's ``blocks`` list says of each block where in the inflated body it lies, its kind and its shape.
Equal blocks are stored once. Blocks start at multiples of four bytes, so that a browser can look at them
without a copy.
"""

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from htc_lab.errors import InputError

MAGIC = b"HTCX"
VERSION = 1
_HEAD = struct.Struct("<4sII")
_ALIGN = 4
_KINDS = {"f4": np.float32, "u1": np.uint8, "i2": np.int16}


class BlockWriter:
    """Collects blocks."""

    def __init__(self) -> None:
        self._body = bytearray()
        self._blocks: list[list[Any]] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], int] = {}

    def add(self, array: np.ndarray) -> int:
        """The number of the block that holds this array (float32, uint8 or int16)."""
        kind = next(name for name, dtype in _KINDS.items() if array.dtype == dtype)
        data = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
        key = (kind, array.shape, data)
        if key not in self._known:
            self._known[key] = len(self._blocks)
            self._blocks.append([len(self._body), kind, list(array.shape)])
            self._body += data + bytes(-len(data) % _ALIGN)
        return self._known[key]

    def add_bytes(self, data: bytes) -> int:
        """The number of the block that holds these bytes."""
        return self.add(np.frombuffer(data, dtype=np.uint8))

    def finish(self, index: dict[str, Any]) -> bytes:
        """The whole pack: ``index`` with the blocks' places in it, and the body."""
        whole = {"version": VERSION, **index, "blocks": self._blocks}
        text = json.dumps(whole, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        return _HEAD.pack(MAGIC, VERSION, len(text)) + text + zlib.compress(bytes(self._body), 6)


@dataclass(frozen=True)
class OpenPack:
    """A pack taken apart.

    Attributes:
        index: what the JSON in front says.
        blocks: the arrays, by number.
    """

    index: dict[str, Any]
    blocks: list[np.ndarray]


def read_pack(data: bytes) -> OpenPack:
    """Take a pack apart.

    Raises:
        InputError: no pack, of another version, or cut.
    """
    if len(data) < _HEAD.size or data[:4] != MAGIC:
        raise InputError("pack: does not begin as a pack of the stage explorer; make it anew")
    _, version, length = _HEAD.unpack_from(data)
    if version != VERSION:
        raise InputError(f"pack: is of version {version}, this lab reads {VERSION}; make it anew")
    try:
        index = json.loads(data[_HEAD.size : _HEAD.size + length])
        body = zlib.decompress(data[_HEAD.size + length :])
    except (json.JSONDecodeError, UnicodeDecodeError, zlib.error) as error:
        raise InputError(f"pack: is damaged ({error}); make it anew") from None
    blocks = []
    for offset, kind, shape in index["blocks"]:
        dtype = np.dtype(_KINDS[kind]).newbyteorder("<")
        flat = np.frombuffer(body, dtype, count=int(np.prod(shape)), offset=offset)
        blocks.append(flat.reshape(shape))
    return OpenPack(index, blocks)
