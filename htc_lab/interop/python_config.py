"""mmdet's config files, which are Python, read without running them, their ``_base_`` files merged in.

What a file may hold is in :mod:`htc_lab.interop.python_values`.
"""

from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from htc_lab.errors import InputError
from htc_lab.interop.python_values import BASE, copied, evaluate, named_bases, parsed

_DELETE = "_delete_"
_PACKAGE = "::"


def read_python_config(path: Path, configs: Path | None = None) -> dict[str, Any]:
    """The values of a config file with its ``_base_`` files merged in, as mmengine merges them.

    Args:
        path: a ``.py`` file; bases are found relative to its folder.
        configs: the folder that bases like ``mmdet::htc/htc_r50_fpn_1x_coco.py`` are in; if left out, they
            are those of the installed package, which is looked up but not imported.

    Raises:
        InputError: the file is missing, not Python, or has something in it that would have to be run.
    """
    return _read(Path(path), (), configs)


def _read(path: Path, children: tuple[Path, ...], configs: Path | None) -> dict[str, Any]:
    by = f", the base of {children[-1]}" if children else ""
    try:
        here = path.resolve()
        if here in children:
            raise InputError(f"{path}: is its own base, through {BASE}; take one file out of the circle")
        text = path.read_text(encoding="utf-8")
    except InputError:
        raise
    except UnicodeDecodeError:
        raise InputError(f"{path}: not text; give a config file (.py)") from None
    except ValueError:
        raise InputError(f"{path}: is not a possible file name{by}; correct {BASE}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read{by} ({error.strerror}); check the path") from None
    statements = parsed(text, str(path))
    base: dict[str, Any] = {}
    for name in named_bases(statements, str(path)):
        if not name.endswith(".py"):
            raise InputError(f"{path}: {BASE} names '{name}'; only .py files are followed: name one")
        file = _of_package(name, path, configs) if _PACKAGE in name else path.parent / name
        for key, value in _read(file, (*children, here), configs).items():
            if key in base:
                raise InputError(f"{path}: two files of {BASE} set '{key}'; leave one of them out")
            base[key] = value
    found = evaluate(statements, str(path), base)
    # The statements may have changed items of the base.
    return merged(found, copied(base, str(path)), str(path))


def _of_package(name: str, path: Path, configs: Path | None) -> Path:
    """The file that ``package::file`` stands for."""
    package, _, within = name.partition(_PACKAGE)
    folder = configs if configs is not None else _configs_of(package)
    if folder is None:
        raise InputError(
            f"{path}: {BASE} names '{name}', and {package} is not installed here; give the folder of its "
            "configs (--mmdet-configs FOLDER, or configs= in Python), or install it"
        )
    if not (folder / within).is_file():
        raise InputError(
            f"{path}: {BASE} names '{name}', and there is no {folder / within}; correct {BASE}, or give the "
            f"folder that has it (--mmdet-configs FOLDER, or configs= in Python)"
        )
    return folder / within


def _configs_of(package: str) -> Path | None:
    """Where an installed package of OpenMMLab has its configs; finding a package doesn't run it."""
    spec: ModuleSpec | None = None
    if package.isidentifier():
        try:
            spec = find_spec(package)
        except ValueError:
            spec = None
    if spec is None or spec.origin is None:
        return None
    # Beside an editable install the folder is in the clone instead.
    inside = Path(spec.origin).parent / ".mim" / "configs"
    beside = Path(spec.origin).parent.parent / "configs"
    return inside if inside.is_dir() or not beside.is_dir() else beside


def evaluate_text(text: str, where: str) -> dict[str, Any]:
    """The values of a config without bases, as stored in a checkpoint; raises as ``evaluate`` does."""
    return evaluate(parsed(text, where), where, {})


def merged(child: Any, base: Any, where: str) -> dict[str, Any]:
    """``child`` over ``base``: dicts are merged key by key, others replaced; ``_delete_`` drops the base's.

    Raises:
        InputError: a dict replaces something that isn't a dict, without ``_delete_``.
    """
    out = dict(base)
    for key, value in child.items():
        below = out.get(key)
        if isinstance(value, dict):
            fresh = key not in out or bool(value.get(_DELETE, False))
            if not fresh and not isinstance(below, dict):
                raise InputError(
                    f"{where}: '{key}' is a dict here but not in its base; add {_DELETE}=True to replace it"
                )
            value = merged(value, {} if fresh else below, where)
        if key != _DELETE:
            out[key] = value
    return out
