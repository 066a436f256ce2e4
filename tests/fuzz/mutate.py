"""Ways to break bytes and JSON values, each decided by a seed."""

import copy
import random
from collections.abc import Callable
from typing import Any

_ODD_BYTES = (0, 1, 0x7F, 0x80, 0xFF, ord("0"), ord("-"), ord('"'))


def broken_bytes(data: bytes, draw: random.Random) -> bytes:
    """A few of: bits flipped, bytes set, a stretch cut, doubled, zeroed or swapped, the end cut off."""
    out = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        if not out:
            return bytes(out)
        # Heads and tails of files decide more than the middle.
        span = draw.choice((len(out), min(64, len(out)), min(512, len(out))))
        place = draw.randrange(span)
        if draw.random() < 0.3:
            place = len(out) - 1 - place
        length = draw.choice((1, 2, 4, 8, 64, 1024))
        match draw.randrange(8):
            case 0:
                out[place] ^= 1 << draw.randrange(8)
            case 1:
                out[place] = draw.choice(_ODD_BYTES)
            case 2:
                out[place] = draw.randrange(256)
            case 3:
                del out[place : place + length]
            case 4:
                out[place:place] = out[place : place + length]
            case 5:
                out[place : place + length] = bytes(min(length, len(out) - place))
            case 6:
                other = draw.randrange(len(out))
                out[place : place + length] = out[other : other + length]
            case 7:
                del out[place:]
    return bytes(out)


ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 255, 256, 2**31, 2**63, -(2**63), 10**30, 10**400, 0.5, -0.5, 1e9),
    *(1e308, -1e308, 1e-320, float("nan"), float("inf"), float("-inf"), "", "0", "é", "名", "a\nb", "\x00"),
    *(
        "\ud800",
        "..",
        ".",
        "/",
        "../x",
        "/etc/passwd",
        "x" * 300,
        [],
        {},
        [[]],
        [None],
        [0],
        {"a": 1},
        [1, 2],
    ),
    *([0, 0, 0, 0], [-1, -1, 2, 2], "<img src=x onerror=alert(1)>", "\u202e", [0.5] * 7, {"size": [1, 1]}),
)
"""Values that one would not expect."""


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything in nested dicts and lists."""
    found = [at] if at else []
    if isinstance(value, dict):
        items: Any = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return found
    for key, inner in items:
        found += places(inner, (*at, key))
    return found


def broken_tree(tree: Any, draw: random.Random, odd: Callable[[random.Random], Any] | None = None) -> Any:
    """A copy of a JSON value in which one to three things are replaced, removed, doubled or exchanged."""
    out = copy.deepcopy(tree)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        known = places(out)
        if not known:
            return out
        *outer, last = draw.choice(known)
        holder = out
        for key in outer:
            holder = holder[key]
        match draw.randrange(6):
            case 0:
                del holder[last]
            case 1 if isinstance(holder, list):
                holder.insert(last, copy.deepcopy(holder[last]))
            case 2:
                *there, other = draw.choice(known)
                found = out
                for key in there:
                    found = found[key] if isinstance(found, dict | list) and _has(found, key) else None
                if isinstance(found, dict | list) and _has(found, other):
                    holder[last] = copy.deepcopy(found[other])
            case 3 if isinstance(holder, dict):
                holder[str(draw.choice(("x", "", "id", "name\n")))] = holder.pop(last)
            case 4 if type(holder[last]) in (int, float):
                holder[last] = draw.choice((-1, 0.5, 2, 10, 1e6, 1e12)) * holder[last]
            case _:
                holder[last] = copy.deepcopy(draw.choice(ODD) if odd is None else odd(draw))
    return out


def _has(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else isinstance(key, int) and key < len(holder)
