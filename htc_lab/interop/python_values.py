"""What the statements of a config file assign, found without running them.

A config is Python, of which this reads the part that describes values: assignments, also to an item
(``model['roi_head']['num_stages'] = 2``) or in a chain (``a = b = 1``); literals, names and items;
arithmetic; f-strings; lists of what is made from each item of another; and the few functions in ``_MAKERS``.
Anything else (imports, conditions, other calls) is refused with its line.

Lists and dicts are shared between names as they are in Python, so a change to one shows in the other. A short
text can therefore describe more than there is memory, or a list that holds itself: see :func:`copied`.
"""

import ast
import operator
from collections.abc import Callable
from typing import Any, cast

from htc_lab.errors import InputError

BASE = "_base_"
_ROWS = (str, list, tuple)
_SCALARS = (str, int, float, bool, type(None))
_LONGEST = 10_000
_LARGEST = 2**63
_HIGHEST_POWER = 64
_MOST_VALUES = 200_000
_DEEPEST = 100

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_CONTAINERS: dict[str, Callable[..., Any]] = {"dict": dict, "list": list, "tuple": tuple, "len": len}
# Only of numbers and text. Written out, a list can be longer than its text by far.
_OF_SCALARS: dict[str, Callable[..., Any]] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "round": round,
    "abs": abs,
    "min": min,
    "max": max,
    "range": range,
}
_MAKERS = _CONTAINERS | _OF_SCALARS


def copied(values: dict[str, Any], where: str) -> dict[str, Any]:
    """A copy in which no list or dict is in two places.

    Raises:
        InputError: it would hold more than 200,000 values, or lists nested a hundred deep, as one does that
            holds itself.
    """
    left = _MOST_VALUES

    def copy(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > _DEEPEST:
            raise InputError(
                f"{where}: describes more values than a config has, or a list that holds itself; correct it"
            )
        if isinstance(value, dict):
            return {key: copy(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [copy(item, depth + 1) for item in value]
        if isinstance(value, tuple):
            return tuple(copy(item, depth + 1) for item in value)
        return value

    return {name: copy(value, 0) for name, value in values.items()}


def parsed(text: str, where: str) -> list[ast.stmt]:
    """The statements of a text.

    Raises:
        InputError: it isn't Python.
    """
    try:
        return ast.parse(text).body
    except SyntaxError as error:
        raise InputError(f"{where}: line {error.lineno}: not Python ({error.msg}); correct it") from None
    except (ValueError, RecursionError, MemoryError):
        raise InputError(f"{where}: not Python; give a config file (.py)") from None


def evaluate(statements: list[ast.stmt], where: str, base: dict[str, Any]) -> dict[str, Any]:
    """What a config's statements assign, in order, without merging the bases.

    Args:
        statements: a parsed module.
        where: what messages call the file.
        base: what ``_base_`` stands for; it is changed where the statements assign to its items.

    Raises:
        InputError: there is something other than an assignment of plain values; names the line.
    """
    values = _Values({BASE: base}, where)
    for statement in statements:
        values.run(statement)
    return copied({name: value for name, value in values.names.items() if name != BASE}, where)


def named_bases(statements: list[ast.stmt], where: str) -> list[str]:
    """The file names that ``_base_`` is set to.

    Raises:
        InputError: it is set to something else.
    """
    found: Any = []
    for statement in statements:
        if isinstance(statement, ast.Assign) and any(map(_is_base, statement.targets)):
            found = _Values({}, where).of(statement.value)
    names = [found] if isinstance(found, str) else found
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{where}: {BASE} is not a list of file names; correct it")
    return list(names)


def _is_base(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) and target.id == BASE


class _Values:
    """The names assigned so far, and what expressions make of them."""

    def __init__(self, names: dict[str, Any], where: str) -> None:
        self.names = names
        self.where = where
        # Loops in loops are short to write; this is how often all of them together may go round.
        self.left = _LONGEST

    def refuse(self, node: ast.AST) -> InputError:
        try:
            code = " ".join(ast.unparse(node).split())
        # Nested too deeply, or a number with thousands of digits.
        except (ValueError, RecursionError):
            code = "..."
        return InputError(
            f"{self.where}: line {getattr(node, 'lineno', '?')}: '{code[:60]}' would have to be run, and "
            "config files are only read; write the values out (Config.fromfile(FILE).dump(NEW_FILE) of "
            "mmengine or mmcv does)"
        )

    def of(self, node: ast.expr) -> Any:
        """The value of an expression."""
        return self._told(node, lambda: self._of(node))

    def run(self, statement: ast.stmt) -> None:
        """Do what a statement says, if it is one that assigns."""
        self._told(statement, lambda: self._run(statement))

    def _told(self, node: ast.stmt | ast.expr, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except InputError:
            raise
        except (TypeError, ValueError, LookupError, ArithmeticError, RecursionError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{self.where}: line {node.lineno}: has no value ({reason}); correct it"
            ) from None

    # ---- statements

    def _run(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            return
        if isinstance(statement, ast.AugAssign):
            self._add_to(statement)
            return
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets: list[ast.expr] = [statement.target]
        elif isinstance(statement, ast.Assign):
            targets = statement.targets
        else:
            raise self.refuse(statement)
        value = None if all(map(_is_base, targets)) else self._of(cast(ast.expr, statement.value))
        for target in targets:
            self._assign(target, value, statement)

    def _assign(self, target: ast.expr, value: Any, statement: ast.stmt | ast.expr) -> None:
        if isinstance(target, ast.Name):
            if target.id != BASE:
                self.names[target.id] = value
        elif isinstance(target, ast.Tuple | ast.List) and isinstance(value, list | tuple):
            for inner, item in zip(target.elts, value, strict=True):
                self._assign(inner, item, statement)
        elif isinstance(target, ast.Attribute) and isinstance(owner := self._of(target.value), dict):
            owner[target.attr] = value
        elif isinstance(target, ast.Subscript):
            owner, key = self._of(target.value), self._of(target.slice)
            if not isinstance(owner, dict | list) or not isinstance(key, _SCALARS):
                raise self.refuse(statement)
            cast(dict[Any, Any], owner)[key] = value
        else:
            raise self.refuse(statement)

    def _add_to(self, statement: ast.AugAssign) -> None:
        old = self._of(statement.target)
        new = self._computed(statement, statement.op, old, self._of(statement.value))
        if isinstance(old, list):
            # In place, as Python does it: other names of the list see it too.
            old[:] = new
        else:
            self._assign(statement.target, new, statement)

    # ---- expressions

    def _of(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name) and node.id in self.names:
            return self.names[node.id]
        if isinstance(node, ast.List | ast.Tuple):
            items = self._items(node)
            return items if isinstance(node, ast.List) else tuple(items)
        if isinstance(node, ast.Dict):
            made: dict[Any, Any] = {}
            for key, value in zip(node.keys, node.values, strict=True):
                made |= self._dict(value) if key is None else {self._key(key): self._of(value)}
            return made
        if isinstance(node, ast.Set) and len(node.elts) == 1 and isinstance(node.elts[0], ast.Set):
            # {{_base_.name}}: mmengine's notation for a value of a base; for Python it is a set in a set.
            (inner,) = node.elts[0].elts
            return self._of(inner)
        if isinstance(node, ast.Call):
            return self._made(node)
        if isinstance(node, ast.ListComp):
            return self._each(node, node.elt, node.generators)
        if isinstance(node, ast.Attribute) and isinstance(owner := self._of(node.value), dict):
            return owner[node.attr]
        if isinstance(node, ast.Subscript):
            return self._of(node.value)[self._key(node.slice)]
        if isinstance(node, ast.UnaryOp) and type(node.op) in _SIGNS:
            return _SIGNS[type(node.op)](self._of(node.operand))
        if isinstance(node, ast.BinOp):
            return self._computed(node, node.op, self._of(node.left), self._of(node.right))
        if isinstance(node, ast.JoinedStr):
            return self._small(node, "".join(self._of(part) for part in node.values))
        if isinstance(node, ast.FormattedValue) and node.format_spec is None and node.conversion == -1:
            return self._scalar_text(node)
        raise self.refuse(node)

    def _scalar_text(self, node: ast.FormattedValue) -> str:
        value = self._of(node.value)
        if not isinstance(value, _SCALARS):
            raise self.refuse(node)
        return str(value)

    def _dict(self, node: ast.expr) -> dict[Any, Any]:
        value = self._of(node)
        if not isinstance(value, dict):
            raise self.refuse(node)
        return value

    def _each(self, node: ast.expr, item: ast.expr, loops: list[ast.comprehension]) -> list[Any]:
        """The items of ``[item for name in a_list]``, for a list that is written out somewhere."""
        loop, *inner = loops
        rows = self._of(loop.iter)
        if loop.ifs or loop.is_async or not isinstance(rows, list | tuple):
            raise self.refuse(node)
        outside, made = self.names, []
        for row in rows:
            self.left -= 1
            if self.left < 0:
                raise self.refuse(node)
            self.names = dict(outside)
            self._assign(loop.target, row, node)
            made += self._each(node, item, inner) if inner else [self._of(item)]
        self.names = outside
        return made

    def _items(self, node: ast.List | ast.Tuple) -> list[Any]:
        items: list[Any] = []
        for item in node.elts:
            if not isinstance(item, ast.Starred):
                items.append(self._of(item))
                continue
            more = self._of(item.value)
            if not isinstance(more, list | tuple) or len(items) + len(more) > _LONGEST:
                raise self.refuse(item)
            items += more
        return items

    def _key(self, node: ast.expr) -> Any:
        """A key of a dict, or a place or range of places in a list."""
        if isinstance(node, ast.Slice):
            ends = (node.lower, node.upper, node.step)
            return slice(*(None if end is None else self._of(end) for end in ends))
        key = self._of(node)
        if not isinstance(key, _SCALARS):
            raise self.refuse(node)
        return key

    def _made(self, node: ast.Call) -> Any:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in _MAKERS or name in self.names:
            raise self.refuse(node)
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            named |= (
                self._dict(keyword.value) if keyword.arg is None else {keyword.arg: self._of(keyword.value)}
            )
        given = [self._of(argument) for argument in node.args]
        if name == "dict":
            usable = all(isinstance(value, dict) or _are_pairs(value) for value in given)
        elif name in _OF_SCALARS:
            usable = all(map(_is_flat, [*given, *named.values()]))
        else:
            usable = True
        if not usable:
            raise self.refuse(node)
        made = _MAKERS[name](*given, **named)
        if isinstance(made, range):
            if len(made) > _LONGEST:
                raise self.refuse(node)
            made = list(made)
        return self._small(node, made)

    def _computed(self, node: ast.AST, how: ast.operator, left: Any, right: Any) -> Any:
        numbers = all(isinstance(side, int | float) for side in (left, right))
        joined = isinstance(how, ast.Add) and isinstance(left, _ROWS) and type(left) is type(right)
        repeated = isinstance(how, ast.Mult) and isinstance(left, list | tuple) and type(right) is int
        # A short line can ask for more than there is memory: [0] * 999999999, or a number squared again.
        allowed = numbers or joined or (repeated and len(left) * right <= _LONGEST)
        if isinstance(how, ast.Pow):
            allowed = numbers and abs(right) <= _HIGHEST_POWER
        if not allowed or type(how) not in _OPERATORS:
            raise self.refuse(node)
        return self._small(node, _OPERATORS[type(how)](left, right))

    def _small(self, node: ast.AST, made: Any) -> Any:
        large = (isinstance(made, _ROWS) and len(made) > _LONGEST) or (
            isinstance(made, int | float) and abs(made) > _LARGEST
        )
        if large or isinstance(made, complex):
            raise self.refuse(node)
        return made


def _is_flat(value: Any) -> bool:
    """Whether it is a number, a text, or a list of those."""
    return isinstance(value, _SCALARS) or (
        isinstance(value, list | tuple) and all(isinstance(item, _SCALARS) for item in value)
    )


def _are_pairs(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], _SCALARS) for pair in value
    )
