"""mmdet's config files, which are Python, read without running them.

Only descriptions of plain values are evaluated: assignments of literals, ``dict(...)``, ``list(...)``,
``tuple(...)``, names assigned above, values of the base files (``_base_.name``, also in double braces),
arithmetic, f-strings. Anything else (imports, conditions, calls) is refused with its line number.
"""

import ast
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

from htc_lab.errors import InputError

_BASE = "_base_"
_DELETE = "_delete_"
_ROWS = (str, list, tuple)
_LONGEST = 10_000
_LARGEST = 2**63

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_MAKERS: dict[str, Callable[..., Any]] = {"dict": dict, "list": list, "tuple": tuple}


def read_python_config(path: Path) -> dict[str, Any]:
    """The values of a config file with its ``_base_`` files merged in, as mmengine merges them.

    Args:
        path: a ``.py`` file; bases are found relative to its folder.

    Raises:
        InputError: the file is missing, not Python, or has something in it that would have to be run.
    """
    return _read(Path(path), ())


def _read(path: Path, children: tuple[Path, ...]) -> dict[str, Any]:
    by = f", the base of {children[-1]}" if children else ""
    try:
        here = path.resolve()
        if here in children:
            raise InputError(f"{path}: is its own base, through {_BASE}; take one file out of the circle")
        text = path.read_text(encoding="utf-8")
    except InputError:
        raise
    except UnicodeDecodeError:
        raise InputError(f"{path}: not text; give a config file (.py)") from None
    except ValueError:
        raise InputError(f"{path}: is not a possible file name{by}; correct {_BASE}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read{by} ({error.strerror}); check the path") from None
    statements = _parse(text, str(path))
    base: dict[str, Any] = {}
    for name in _bases(statements, str(path)):
        if "::" in name or not name.endswith(".py"):
            raise InputError(f"{path}: {_BASE} names '{name}'; only paths of .py files are followed")
        for key, value in _read(path.parent / name, (*children, here)).items():
            if key in base:
                raise InputError(f"{path}: two files of {_BASE} set '{key}'; leave one of them out")
            base[key] = value
    return merged(evaluate(statements, str(path), base), base, str(path))


def evaluate_text(text: str, where: str) -> dict[str, Any]:
    """The values of a config without bases, as stored in a checkpoint; raises as ``evaluate`` does."""
    return evaluate(_parse(text, where), where, {})


def _parse(text: str, where: str) -> list[ast.stmt]:
    try:
        return ast.parse(text).body
    except SyntaxError as error:
        raise InputError(f"{where}: line {error.lineno}: not Python ({error.msg}); correct it") from None
    except (ValueError, RecursionError, MemoryError):
        raise InputError(f"{where}: not Python; give a config file (.py)") from None


def _bases(statements: list[ast.stmt], where: str) -> list[str]:
    found: Any = []
    for statement in statements:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else None
        if isinstance(statement, ast.Assign) and isinstance(target, ast.Name) and target.id == _BASE:
            found = _Values({}, where).of(statement.value)
    names = [found] if isinstance(found, str) else found
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{where}: {_BASE} is not a list of file names; correct it")
    return list(names)


def evaluate(statements: list[ast.stmt], where: str, base: dict[str, Any]) -> dict[str, Any]:
    """What a config's statements assign, in order, without merging the bases.

    Args:
        statements: a parsed module.
        where: what messages call the file.
        base: what ``_base_`` stands for in expressions.

    Raises:
        InputError: there is something other than an assignment of plain values; names the line.
    """
    values = _Values({_BASE: base}, where)
    for statement in statements:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        target = statement.targets[0] if isinstance(statement, ast.Assign) else None
        if not isinstance(statement, ast.Assign) or not isinstance(target, ast.Name):
            raise values.refuse(statement)
        if target.id != _BASE:
            values.names[target.id] = values.of(statement.value)
    return {name: value for name, value in values.names.items() if name != _BASE}


class _Values:
    """Evaluates expressions, given the names assigned so far."""

    def __init__(self, names: dict[str, Any], where: str) -> None:
        self.names = names
        self.where = where

    def refuse(self, node: ast.AST) -> InputError:
        try:
            code = " ".join(ast.unparse(node).split())
        # Nested too deeply, or a number with thousands of digits.
        except (ValueError, RecursionError):
            code = "..."
        return InputError(
            f"{self.where}: line {getattr(node, 'lineno', '?')}: '{code[:60]}' would have to be run, and "
            "config files are only read; write the values out (mmengine's Config.dump does)"
        )

    def of(self, node: ast.expr) -> Any:
        try:
            return self._of(node)
        except InputError:
            raise
        except (TypeError, ValueError, LookupError, ArithmeticError, RecursionError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{self.where}: line {node.lineno}: has no value ({reason}); correct it"
            ) from None

    def _of(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name) and node.id in self.names:
            return self.names[node.id]
        if isinstance(node, ast.List | ast.Tuple):
            items = [self._of(item) for item in node.elts]
            return items if isinstance(node, ast.List) else tuple(items)
        if isinstance(node, ast.Dict):
            made: dict[Any, Any] = {}
            for key, value in zip(node.keys, node.values, strict=True):
                made |= self._of(value) if key is None else {self._of(key): self._of(value)}
            return made
        if isinstance(node, ast.Set) and len(node.elts) == 1 and isinstance(node.elts[0], ast.Set):
            # {{_base_.name}}: mmengine's notation for a value of a base; for Python it is a set in a set.
            (inner,) = node.elts[0].elts
            return self._of(inner)
        if isinstance(node, ast.Call):
            return self._made(node)
        if isinstance(node, ast.Attribute) and isinstance(owner := self._of(node.value), dict):
            return owner[node.attr]
        if isinstance(node, ast.Subscript):
            return self._of(node.value)[self._of(node.slice)]
        if isinstance(node, ast.Slice):
            ends = (node.lower, node.upper, node.step)
            return slice(*(None if end is None else self._of(end) for end in ends))
        if isinstance(node, ast.UnaryOp) and type(node.op) in _SIGNS:
            return _SIGNS[type(node.op)](self._of(node.operand))
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return self._computed(node)
        if isinstance(node, ast.JoinedStr):
            return "".join(str(self._of(part)) for part in node.values)
        if isinstance(node, ast.FormattedValue) and node.format_spec is None and node.conversion == -1:
            return str(self._of(node.value))
        raise self.refuse(node)

    def _made(self, node: ast.Call) -> Any:
        if not isinstance(node.func, ast.Name) or node.func.id not in _MAKERS:
            raise self.refuse(node)
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            value = self._of(keyword.value)
            named |= value if keyword.arg is None else {keyword.arg: value}
        return _MAKERS[node.func.id](*[self._of(argument) for argument in node.args], **named)

    def _computed(self, node: ast.BinOp) -> Any:
        left, right = self._of(node.left), self._of(node.right)
        numbers = all(isinstance(side, int | float) for side in (left, right))
        joined = isinstance(node.op, ast.Add) and isinstance(left, _ROWS) and type(left) is type(right)
        repeated = isinstance(node.op, ast.Mult) and isinstance(left, list | tuple) and type(right) is int
        # A short line can ask for more than there is memory: [0] * 999999999, or a number squared again.
        if not (numbers or joined or (repeated and len(left) * right <= _LONGEST)):
            raise self.refuse(node)
        made = _OPERATORS[type(node.op)](left, right)
        if len(made) > _LONGEST if isinstance(made, _ROWS) else abs(made) > _LARGEST:
            raise self.refuse(node)
        return made


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
