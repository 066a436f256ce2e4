"""Configs as plain JSON values, and back with every field checked.

pydantic reads the dataclasses and holds each field to its type and to the range in its annotation; this file
turns the first of its errors into the lab's one line. It is imported by commands before they know whether
they will read a config, so pydantic is loaded by the first call.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import Interval
from typing_extensions import Doc

from htc_lab.config import ModelConfig, disagreement
from htc_lab.errors import InputError, in_one_line
from htc_lab.files import plain
from htc_lab.schedule import Schedule
from htc_lab.toggles import written_fields
from htc_lab.wording import listed

Config = TypeVar("Config", ModelConfig, Schedule)

_AGAIN = "write the config again"
_WORDS = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}


def to_dict(config: Any) -> dict[str, Any]:
    """A config as plain JSON values (tuples become lists)."""
    return dataclasses.asdict(config)


def model_config_from_dict(values: Any, where: str = "config") -> ModelConfig:
    """The inverse of :func:`to_dict` for a :class:`ModelConfig`.

    Args:
        values: plain JSON values, of whatever kind.
        where: what error messages call the source, e.g. a file name.

    Raises:
        InputError: an unknown or malformed field, a number out of its range, or two that don't go together.
    """
    if isinstance(values, dict) and isinstance(values.get("toggles"), dict):
        values = values | {"toggles": written_fields(values["toggles"])}
    config = _read(ModelConfig, values, where)
    fault = disagreement(config)
    if fault:
        raise InputError(f"{where}.{fault}")
    return config


def model_config_in_full(values: Any) -> Any:
    """A model's config as a file of an older lab has it, with the fields that were added since.

    For comparing it with a config of today.

    Returns:
        Plain JSON values; ``values`` unchanged where they are no config.
    """
    try:
        return plain(to_dict(model_config_from_dict(values)))
    except InputError:
        return values


def schedule_from_dict(values: Any, where: str = "schedule") -> Schedule:
    """The inverse of :func:`to_dict` for a :class:`Schedule`; raises InputError like its sibling."""
    return _read(Schedule, values, where)


def schedule_in_full(values: Any) -> Any:
    """What :func:`model_config_in_full` is for a model's config."""
    try:
        return plain(to_dict(schedule_from_dict(values)))
    except InputError:
        return values


def _read(kind: type[Config], values: Any, where: str) -> Config:
    from pydantic import ValidationError

    try:
        # As JSON, where a list is what a tuple is written as; of Python values pydantic would want the tuple.
        config: Config = _readers()[kind].validate_json(json.dumps(values))
        return config
    except ValidationError as error:
        raise InputError(where + _told(kind, _meant(kind, error.errors(include_url=False), values))) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{where}: can't be written as JSON ({in_one_line(error)}); {_AGAIN}") from None


@cache
def _readers() -> dict[type, Any]:
    """A pydantic TypeAdapter for each kind of config."""
    from pydantic import ConfigDict, TypeAdapter, with_config

    # What is in them inherits this: a truth value or "3" is no number, 3 is a float, NaN is in no range.
    strict = with_config(ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
    return {kind: TypeAdapter(strict(kind)) for kind in (ModelConfig, Schedule)}


def _meant(kind: type, errors: Sequence[Any], values: Any) -> Mapping[str, Any]:
    """The first of pydantic's errors.

    Where a value may be one of several configs, it is the first of the one that the value was meant to be, as
    the names of its fields tell.
    """
    place = errors[0]["loc"]
    for i, step in enumerate(place):
        members = _members(_annotation(kind, place[:i])[0])
        if step in members:
            given = values if isinstance(values, dict) else {}
            common = {
                name: sum(f.name in given for f in dataclasses.fields(one)) for name, one in members.items()
            }
            meant = (*place[:i], max(common, key=lambda name: common[name]))
            return next(error for error in errors if error["loc"][: i + 1] == meant)
        try:
            values = values[step]
        except (LookupError, TypeError):
            break
    return errors[0]


def _told(kind: type, error: Mapping[str, Any]) -> str:
    """pydantic's error as ".field: what; fix"."""
    place, value = error["loc"], error["input"]
    too_short = error["type"] == "missing" and isinstance(place[-1], int)
    if too_short:
        # It is the list that is wrong, not the number it lacks.
        place = place[:-1]
    steps = [step for i, step in enumerate(place) if step not in _members(_annotation(kind, place[:i])[0])]
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step:.60}" for step in steps)
    match error["type"]:
        case "unexpected_keyword_argument":
            holder, _ = _annotation(kind, place[:-1])
            return (
                f"{path}: no such field; fields are {', '.join(f.name for f in dataclasses.fields(holder))}"
            )
        case "missing" if not too_short:
            holder_path = path.removesuffix(f".{place[-1]}")
            return f"{holder_path}: field '{place[-1]}' is missing; add it, or {_AGAIN}"
        case "value_error":
            return f"{path}: {error['ctx']['error']}"
        case "dataclass_type" | "dataclass_exact_type":
            return f"{path}: expected an object, found {type(value).__name__}; {_AGAIN}"
        case "json_invalid":
            return f"{path}: is not JSON as others read it ({in_one_line(error['msg'])}); {_AGAIN}"
    annotation, said = _annotation(kind, place)
    shown = f"{value!r:.60}"
    words = "".join(f" ({note.documentation})" for note in said if isinstance(note, Doc))
    ranges = [note for note in said if isinstance(note, Interval)]
    match error["type"]:
        case "greater_than_equal" | "less_than_equal" | "finite_number" if ranges:
            low, high = ranges[-1].ge, ranges[-1].le
            return f"{path}: is {shown}; it must be from {low:g} to {high:g}{words}"
        case "tuple_type":
            return f"{path}: expected a list, found {type(value).__name__}; {_AGAIN}"
        case "too_short" if not value:
            return f"{path}: is empty; give at least one number{words}"
    return f"{path}: {shown} is not {_name_of(annotation)}; correct it{words}"


def _annotation(kind: Any, place: Sequence[int | str]) -> tuple[Any, list[Any]]:
    """The type at a place in a config, and the notes of its annotation and of that of the list it is in."""
    kind, said = _unwrapped(kind)
    for step in place:
        if isinstance(step, int):
            # Lists are of one kind of thing.
            kind, more = _unwrapped(get_args(kind)[0])
            said = said + more
        elif step in (members := _members(kind)):
            kind = members[step]
        else:
            kind, said = _unwrapped(get_type_hints(kind, include_extras=True)[step])
    return kind, said


def _members(kind: Any) -> dict[str, type]:
    """The configs that a value may be one of, by the names pydantic has for them; elsewhere none."""
    return {one.__name__: one for one in get_args(kind)} if get_origin(kind) in (Union, UnionType) else {}


def _unwrapped(kind: Any) -> tuple[Any, list[Any]]:
    """A type without "or None", and the notes of its annotation; one of several stays a union."""
    said: list[Any] = []
    while (origin := get_origin(kind)) in (Annotated, Union, UnionType):
        inner = get_args(kind)
        if origin is not Annotated and inner[1:] != (NoneType,):
            break
        said += inner[1:] if origin is Annotated else ()
        kind = inner[0]
    return kind, said


def _name_of(kind: Any) -> str:
    # The one thing left that may be wrong with a list is the length of one whose length is given.
    if get_origin(kind) is tuple:
        return f"a list of {len(get_args(kind))} numbers"
    if get_origin(kind) is Literal:
        return listed([f"'{word}'" for word in get_args(kind)], "or")
    return _WORDS.get(kind, str(kind))
