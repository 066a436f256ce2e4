"""Where in a torch file the weights of a detector are, and under which prefix.

Trainers wrap a model: its weights lie in a dict beside the optimiser's, their names begin with "module.",
"model." or "teacher.", and some files hold the model twice, once as it was trained and once averaged over the
steps. The weights are recognised by the one entry that every detector of a family has. Of two sets the
averaged one is taken, because that is the one its trainer evaluates; whatever is not taken is named.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from htc_lab.errors import InputError
from htc_lab.interop.torch_file import TorchFile
from htc_lab.interop.unpickling import TensorRecord
from htc_lab.wording import counted

Records = dict[str, TensorRecord]

BOX_HEAD = "roi_head.bbox_head.0.fc_cls.weight"
"""What every cascade of mmdet 2 and 3 has."""
OLD_BOX_HEAD = "bbox_head.0.fc_cls.weight"
"""The same in mmdet 1."""
SINGLE_BOX_HEAD = "roi_head.bbox_head.fc_cls.weight"
"""What a detector with one stage has."""

_SIGNS = (BOX_HEAD, OLD_BOX_HEAD, SINGLE_BOX_HEAD, "backbone.conv1.weight")
_HOLDERS = ("state_dict", "model", "model_state_dict", "model_state", "weights", "module", "net", "network")
_AVERAGED = re.compile(r"(^|[._])(ema|teacher|swa|averaged?)([._]|$)")
# How deep a file may wrap its weights: {"checkpoint": {"model": {"state_dict": ...}}}.
_DEEPEST = 3
# What averaging counts beside the weights.
_COUNTERS = ("steps", "n_averaged")
_SHOWN = 3


@dataclass(frozen=True)
class Unwrapped:
    """The weights of one model.

    Attributes:
        records: by name, without prefix.
        notes: what was chosen and what was left aside, one sentence each.
    """

    records: Records
    notes: tuple[str, ...]


def unwrapped(file: TorchFile) -> Unwrapped:
    """The weights of the model in a file.

    Raises:
        InputError: the file has no weights by name, or something that is no weight is among them.
    """
    found, notes = _holder(file)
    prefixes = _prefixes(found)
    prefix = min(prefixes, key=_preference, default=_common_prefix(found))
    records = {name.removeprefix(prefix): v for name, v in found.items() if name.startswith(prefix)}
    aside = [name for name in found if not name.startswith(prefix)]
    records = {name: value for name, value in records.items() if name not in _COUNTERS}
    for name, value in records.items():
        if not name.isprintable() or not isinstance(value, TensorRecord):
            raise _no_weight(file, name)
    others = [other for other in prefixes if other != prefix]
    if others:
        why = " (averaged weights)" if _AVERAGED.search(prefix) else ""
        notes += (f"holds the model as {_quoted([prefix, *others])}; {_quoted([prefix])} is taken{why}",)
    rest = [name for name in aside if name not in _COUNTERS and not name.startswith(tuple(others) or " ")]
    if rest:
        shown = ", ".join(rest[:_SHOWN]) + (", ..." if len(rest) > _SHOWN else "")
        notes += (
            f"{counted(len(rest), 'entry', 'entries')} outside {_quoted([prefix])} left aside ({shown})",
        )
    plain = {f"ema_{name.replace('.', '_')}" for name in records}
    if plain & records.keys():
        # mmdet 2 swaps the two before it saves.
        records = {name: value for name, value in records.items() if name not in plain}
        notes += ("holds the model twice; the averaged weights are taken, which have the plain names",)
    return Unwrapped(records, notes)


def _quoted(prefixes: list[str]) -> str:
    return " and ".join(f"'{prefix}*'" for prefix in prefixes)


def _no_weight(file: TorchFile, name: object) -> InputError:
    return InputError(
        f"{file.path}: entry {str(name)[:80]!r} among the weights is not a named tensor; give a checkpoint "
        "of a detector"
    )


def _dicts(
    content: Any, path: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every dict of a file that holds tensors by name, once, with the keys that lead there."""
    if not isinstance(content, dict) or len(path) > _DEEPEST or id(content) in seen:
        return
    seen.add(id(content))
    if any(isinstance(key, str) and isinstance(value, TensorRecord) for key, value in content.items()):
        yield path, content
    for key, value in content.items():
        if isinstance(key, str):
            yield from _dicts(value, (*path, key), seen)


def _holder(file: TorchFile) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The dict that holds the model, and what is to be said about others that also hold one."""
    found = list(_dicts(file.content, (), set()))
    if not found:
        raise InputError(
            f"{file.path}: holds no weights by name, neither at the top nor under 'state_dict', 'model' or "
            "another name; give a checkpoint, not a pickled model or other data"
        )
    # mmengine swaps the two before it saves: its "state_dict" already has the averaged weights.
    swapped = {"state_dict", "ema_state_dict"} <= file.content.keys()

    def averaged(path: tuple[str, ...]) -> bool:
        last = path[-1] if path else ""
        return last == "state_dict" if swapped else bool(_AVERAGED.search(last))

    def preference(entry: tuple[tuple[str, ...], dict[str, Any]]) -> tuple[int, bool, int, int]:
        path, held = entry
        known = path[-1] if path and path[-1] in _HOLDERS else _HOLDERS[-1]
        return _sign(held), not averaged(path), _HOLDERS.index(known), len(path)

    path, held = min(found, key=preference)
    for name in held:
        if not isinstance(name, str):
            raise _no_weight(file, name)
    others = [
        ".".join(other)
        for other, content in found
        if other != path and _sign(content) == _sign(held) < len(_SIGNS)
    ]
    if not others:
        return held, ()
    which = f"'{'.'.join(path)}'{' (averaged weights)' if averaged(path) else ''}"
    return held, (f"holds the model more than once; {which} is taken, {', '.join(others)} left aside",)


def _sign(names: Iterable[Any]) -> int:
    """The first sign of a detector among the names, as a place in the list; its length: none."""
    ends = [name for name in names if isinstance(name, str)]
    for place, sign in enumerate(_SIGNS):
        if any(name.endswith(sign) for name in ends):
            return place
    return len(_SIGNS)


def _prefixes(names: Iterable[str]) -> list[str]:
    """What stands before the sign of a detector: once for each model among the names."""
    names = list(names)
    place = _sign(names)
    if place == len(_SIGNS):
        return []
    found = [name.removesuffix(_SIGNS[place]) for name in names if name.endswith(_SIGNS[place])]
    return [prefix for prefix in dict.fromkeys(found) if not prefix or prefix.endswith((".", "_"))]


def _preference(prefix: str) -> tuple[bool, int]:
    return not _AVERAGED.search(prefix), len(prefix)


def _common_prefix(names: Iterable[str]) -> str:
    """The wrapper that all entries are in, for a network without a sign of a detector."""
    prefix, names = "", list(names)
    wrappers = ("module.", "model.", "ema_model.")
    while wrapper := next((w for w in wrappers if all(n.startswith(prefix + w) for n in names)), ""):
        prefix += wrapper
    return prefix
