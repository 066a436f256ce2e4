"""Configs as plain JSON values, and back with every field checked."""

import dataclasses
from types import UnionType
from typing import Any

from htc_lab.config import CascadeConfig, ModelConfig, Schedule, StageConfig
from htc_lab.errors import InputError


def to_dict(config: Any) -> dict[str, Any]:
    """A config as plain JSON values (tuples become lists)."""
    return dataclasses.asdict(config)


def _scalars(kind: Any) -> Any:
    """The JSON types that may stand for a field: a whole number also where a float is asked for."""
    return (int, float) if kind is float else kind if isinstance(kind, type | UnionType) else object


def _name_of(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)


def _build(kind: type, values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected an object, found {type(values).__name__}; write the config anew")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for name in values:
        if name not in fields:
            raise InputError(f"{where}.{name}: no such field; fields are {', '.join(fields)}")
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
        elif isinstance(value, list):
            value = tuple(value)
        elif not isinstance(value, _scalars(fields[name].type)):
            raise InputError(f"{where}.{name}: {value!r} is no {_name_of(fields[name].type)}; correct it")
        built[name] = value
    try:
        return kind(**built)
    except TypeError as error:
        raise InputError(f"{where}: {error}; write the config anew") from None


def model_config_from_dict(values: dict[str, Any], where: str = "config") -> ModelConfig:
    """The inverse of :func:`to_dict` for a :class:`ModelConfig`.

    Args:
        values: plain JSON values.
        where: what error messages call the source, e.g. a file name.

    Raises:
        InputError: an unknown or malformed field, named.
    """
    config: ModelConfig = _build(ModelConfig, values, where)
    return config


def schedule_from_dict(values: dict[str, Any], where: str = "schedule") -> Schedule:
    """The inverse of :func:`to_dict` for a :class:`Schedule`; raises InputError like its sibling."""
    schedule: Schedule = _build(Schedule, values, where)
    return schedule
