"""Configs as plain JSON values, and back with every field checked."""

import dataclasses
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from htc_lab.config import CascadeConfig, ModelConfig, Schedule, StageConfig
from htc_lab.config_check import model_fault, schedule_fault
from htc_lab.errors import InputError, in_one_line
from htc_lab.files import plain
from htc_lab.toggles import Toggles, written_fields


def to_dict(config: Any) -> dict[str, Any]:
    """A config as plain JSON values (tuples become lists)."""
    return dataclasses.asdict(config)


_LARGEST = 2**53


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a field's type; a whole number may stand for a float, but no truth value."""
    if isinstance(kind, UnionType):
        return any(_fits(value, one) for one in get_args(kind))
    if kind is NoneType:
        return value is None
    if kind is float:
        return type(value) is float or (type(value) is int and abs(value) < _LARGEST)
    if kind is int:
        return type(value) is int and abs(value) < _LARGEST
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        if not isinstance(value, tuple):
            return False
        if parts[-1] is Ellipsis:
            return all(_fits(item, parts[0]) for item in value)
        return len(value) == len(parts) and all(map(_fits, value, parts))
    return isinstance(value, kind)


_WORDS = {float: "number", int: "whole number", str: "text", bool: "true or false", NoneType: "null"}


def _as_float(value: Any, kind: Any) -> Any:
    """Whole numbers of a field of floats as floats."""
    if isinstance(value, tuple):
        return tuple(_as_float(item, get_args(kind)[0]) for item in value)
    return float(value) if kind is float else value


def _name_of(kind: Any) -> str:
    if isinstance(kind, UnionType):
        return " or ".join(map(_name_of, get_args(kind)))
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        count = "" if parts[-1] is Ellipsis else f"{len(parts)} times "
        return f"list ({count}{_name_of(parts[0])})"
    return _WORDS.get(kind, str(kind))


def _shown(value: Any) -> str:
    """For a message; Python refuses to write out numbers of thousands of digits."""
    try:
        return f"{value!r:.60}"
    except ValueError:
        return "a number of thousands of digits"


def _build(kind: type, values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected an object, found {type(values).__name__}; write the config anew")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for name in values:
        if name not in fields:
            raise InputError(f"{where}.{name:.60}: no such field; fields are {', '.join(fields)}")
    if kind is Toggles:
        values = written_fields(values)
    built = {}
    for name, value in values.items():
        nested = fields[name].type
        if isinstance(nested, type) and dataclasses.is_dataclass(nested):
            value = _build(nested, value, f"{where}.{name}")
        elif name == "stages" and kind is CascadeConfig:
            if not isinstance(value, (list, tuple)):
                found = type(value).__name__
                raise InputError(f"{where}.{name}: expected a list, found {found}; write the config anew")
            value = tuple(_build(StageConfig, v, f"{where}.{name}[{i}]") for i, v in enumerate(value))
        else:
            value = tuple(value) if isinstance(value, list) else value
            if not _fits(value, nested):
                raise InputError(f"{where}.{name}: {_shown(value)} is no {_name_of(nested)}; correct it")
            value = _as_float(value, nested)
        built[name] = value
    try:
        return kind(**built)
    except (TypeError, ArithmeticError) as error:
        raise InputError(f"{where}: {in_one_line(error)}; write the config anew") from None
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def model_config_from_dict(values: Any, where: str = "config") -> ModelConfig:
    """The inverse of :func:`to_dict` for a :class:`ModelConfig`.

    Args:
        values: plain JSON values, of whatever kind.
        where: what error messages call the source, e.g. a file name.

    Raises:
        InputError: an unknown or malformed field, named.
    """
    config: ModelConfig = _build(ModelConfig, values, where)
    fault = model_fault(config)
    if fault:
        raise InputError(f"{where}{fault}")
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
    schedule: Schedule = _build(Schedule, values, where)
    fault = schedule_fault(schedule)
    if fault:
        raise InputError(f"{where}{fault}")
    return schedule
