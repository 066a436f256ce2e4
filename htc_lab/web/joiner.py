"""ES modules joined to the one text that a widget, or a page that opens from disk, can be given.

It follows the real imports from an entry module, so the same files also run in a browser as they are. Joined,
all modules share one scope: what native modules would keep apart is refused here. It understands
``import { a, b } from './file.js'`` and ``export`` before a declaration; each statement begins at the start
of a line, and what belongs to it is indented.
"""

import re
from dataclasses import dataclass
from pathlib import Path

_NAME = r"[A-Za-z_$][\w$]*"
_IMPORT = re.compile(r"""^import\s*\{([^{}]*)\}\s*from\s*(['"])([^'"]*)\2;[ \t]*\n""", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=const\b|let\b|class\b|function\b|async function\b)", re.MULTILINE)
_STATEMENT = re.compile(r"^\S.*(?:\n(?:[ \t].*|[})\]].*)?)*", re.MULTILINE)
_FUNCTION = re.compile(rf"(?:async )?function\*? ({_NAME})|class ({_NAME})")
_VARIABLE = re.compile(rf"(?:const|let) (?:({_NAME})|\{{([^{{}}]*)\}}|\[([^\[\]]*)\])\s*=")
_STRING = re.compile(r"'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"|`(?:\\.|[^`\\])*`|//.*")
_INNERMOST = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}")
_FURTHER = re.compile(rf",\s*({_NAME})\s*=(?![=>])")
_DYNAMIC = re.compile(r"(?<![\w$.])import\s*[(.]")


class JoinError(Exception):
    """Modules that cannot be joined: the message names the file and says why."""


@dataclass(frozen=True)
class Module:
    """One file, taken apart.

    Attributes:
        path: of the file.
        imports: the names it takes, by the file they come from.
        declared: the names at its top level.
        exported: those of them that others may import.
        body: its text without import statements and without ``export`` before declarations.
    """

    path: Path
    imports: dict[Path, tuple[str, ...]]
    declared: tuple[str, ...]
    exported: frozenset[str]
    body: str


def read_module(path: Path, is_entry: bool = False) -> Module:
    """Take a file apart.

    Args:
        path: of the file.
        is_entry: nothing imports it; it alone may have a default export, which stays in its body.

    Raises:
        JoinError: the file is missing, or holds a statement that can't be joined.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise JoinError(f"{path} is missing") from None
    imports: dict[Path, tuple[str, ...]] = {}
    for match in _IMPORT.finditer(text):
        source = (path.parent / match[3]).resolve()
        imports[source] = imports.get(source, ()) + _imported(path, match[1], match[3])
    rest = _IMPORT.sub("", text)
    if _DYNAMIC.search(_STRING.sub("", rest)):
        raise JoinError(f"{path}: import(…) and import.meta work in files only; import at the top")
    declared: list[str] = []
    exported: list[str] = []
    for match in _STATEMENT.finditer(rest):
        names = _declared(path, match[0], is_entry)
        declared += names
        exported += names if match[0].startswith("export ") else []
    return Module(path, imports, tuple(declared), frozenset(exported), _EXPORT.sub("", rest).strip("\n"))


def _imported(path: Path, names: str, source: str) -> tuple[str, ...]:
    if not source.startswith(("./", "../")):
        raise JoinError(f"{path}: imports from '{source}'; only files beside it can be joined, './name.js'")
    found = tuple(name.strip() for name in names.split(",") if name.strip())
    for name in found:
        if not re.fullmatch(_NAME, name):
            raise JoinError(f"{path}: imports '{name}' from '{source}'; a name can't be changed by it")
    return found


def _declared(path: Path, statement: str, is_entry: bool) -> list[str]:
    """The names a top-level statement declares."""
    if statement.startswith("//"):
        return []
    if statement.startswith("export default "):
        if not is_entry:
            raise JoinError(f"{path}: has a default export, which only the entry may have; export it by name")
        return []
    declaration = statement.removeprefix("export ")
    function, variable = _FUNCTION.match(declaration), _VARIABLE.match(declaration)
    if function is not None:
        return [function[1] or function[2]]
    if variable is None:
        first = statement.splitlines()[0]
        raise JoinError(
            f"{path}: '{first[:60]}' is neither an import in braces nor a declaration, "
            "the statements that a module to be joined may have at its top"
        )
    names = [variable[1]] if variable[1] else []
    for part in (variable[2] or variable[3] or "").split(","):
        bound = part.split(":")[-1].split("=")[0].strip().removeprefix("...")
        names += [bound] if bound else []
    # Without strings and without the text in brackets, only the statement's own commas are left.
    flat, before = _STRING.sub("", declaration[variable.end() :]), ""
    while flat != before:
        flat, before = _INNERMOST.sub("", flat), flat
    return names + _FURTHER.findall(flat)


def modules_of(entry: Path) -> list[Module]:
    """The modules an entry needs and the entry itself, each after those it imports from.

    Raises:
        JoinError: one is missing or can't be joined, the imports run in a circle, a name is imported that is
            not exported, or two modules declare the same name.
    """
    ordered: dict[Path, Module] = {}

    def visit(path: Path, on_the_way: tuple[Path, ...]) -> None:
        if path in on_the_way:
            circle = [*on_the_way[on_the_way.index(path) :], path]
            raise JoinError(f"imports run in a circle: {' -> '.join(each.name for each in circle)}")
        if path in ordered:
            return
        module = read_module(path, is_entry=not on_the_way)
        for source in module.imports:
            visit(source, (*on_the_way, path))
        for source, names in module.imports.items():
            for name in names:
                if name not in ordered[source].exported:
                    raise JoinError(f"{path}: imports '{name}', which {source.name} does not export")
        ordered[path] = module

    visit(entry.resolve(), ())
    owners: dict[str, Path] = {}
    for module in ordered.values():
        for name in module.declared:
            if name in owners:
                raise JoinError(f"'{name}' is declared in {owners[name]} and in {module.path}: rename one")
            owners[name] = module.path
    return list(ordered.values())


def join(entry: Path) -> str:
    """The entry and all it imports as the text of one ES module; it exports the entry's default alone.

    Raises:
        JoinError: as for :func:`modules_of`.
    """
    return "\n\n".join(module.body for module in modules_of(entry)) + "\n"
