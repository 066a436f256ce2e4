"""The answers in a submitted notebook, found without running it.

A lesson trains, draws and reads files; a grader needs none of that. It takes the notebook's functions and
classes, its assignments of plain constants, and the imports these use, in order, and ignores the rest.
"""

import ast
import builtins
import importlib
import linecache
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

MOST_BYTES = 20 * 2**20
"""A larger notebook is not read."""

_TRUSTED = ("htc_lab", "torch", "torchvision", "numpy", "scipy", "matplotlib", "IPython", "pycocotools")
_IMPORTS = (ast.Import, ast.ImportFrom)
_KEPT = (*_IMPORTS, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Answers:
    """What is taken from a student's notebooks.

    Attributes:
        statements: in order, each with the name of its cell.
        texts: the source of each cell, by that name.
        problems: what could not be read; these messages quote nothing the student wrote.
    """

    statements: list[tuple[str, ast.stmt]]
    texts: dict[str, str]
    problems: list[str]

    def namespace(self) -> dict[str, Any]:
        """Run the statements, which are untrusted code, and return the names they define; skip failures."""
        names: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
        for name, text in self.texts.items():
            linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        for name, statement in self.statements:
            try:
                exec(compile(ast.Module([statement], []), name, "exec"), names)
            except Exception:
                # The missing import may belong to a cell that no answer needs; if one does need it, its
                # function will fail when called and report that.
                continue
        return names

    def load_libraries(self) -> None:
        """Import what the notebooks import from the lab and from the packages it is built on."""
        wanted = {name for _, statement in self.statements for name in _modules(statement)}
        for name in sorted(wanted):
            if name.split(".")[0] in _TRUSTED and not name.endswith("__main__"):
                try:
                    importlib.import_module(name)
                # Not every module of a library is meant to be imported; some run a program.
                except (Exception, SystemExit):
                    continue


def _modules(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    return [statement.module] if isinstance(statement, ast.ImportFrom) and statement.module else []


def _is_constant(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
        return False
    try:
        ast.literal_eval(statement.value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _without_magics(text: str) -> str:
    """The text with IPython's own lines emptied, so that line numbers stay the same."""
    if text.startswith("%%"):
        return ""
    return "\n".join("" if line.lstrip()[:1] in ("%", "!", "?") else line for line in text.split("\n"))


def read_answers(paths: Sequence[Path]) -> Answers:
    """The answers in a student's notebooks; what could not be read is reported in ``problems``."""
    answers = Answers([], {}, [])
    for number, path in enumerate(paths):
        where = f"notebook {number + 1}" if len(paths) > 1 else "the notebook"
        if path.is_symlink():
            answers.problems.append(f"{where} is a link and was not followed")
        elif not path.is_file():
            answers.problems.append(f"{where} is not a file")
        elif path.stat().st_size > MOST_BYTES:
            answers.problems.append(f"{where} is larger than {MOST_BYTES // 2**20} MiB")
        else:
            _read(path, where, answers)
    used = {
        node.id
        for _, statement in answers.statements
        if not isinstance(statement, _IMPORTS)
        for node in ast.walk(statement)
        if isinstance(node, ast.Name)
    }
    answers.statements[:] = [(name, s) for name, s in answers.statements if _is_used(s, used)]
    return answers


def _is_used(statement: ast.stmt, used: set[str]) -> bool:
    """Whether the statement is not an import, or imports a name that is used."""
    if not isinstance(statement, _IMPORTS):
        return True
    names = {alias.asname or alias.name.split(".")[0] for alias in statement.names}
    return "*" in names or bool(names & used)


def _read(path: Path, where: str, answers: Answers) -> None:
    try:
        notebook = nbformat.read(path, as_version=4)
        texts = [str(cell.source) for cell in notebook.cells if cell.cell_type == "code"]
    except Exception:
        # nbformat raises many kinds of errors for many kinds of broken files.
        answers.problems.append(f"{where} cannot be read as a notebook")
        return
    for i, text in enumerate(texts, start=1):
        name = f"{path.stem}, code cell {i}"
        clean = _without_magics(text)
        try:
            tree = ast.parse(clean)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            answers.problems.append(f"{where}: code cell {i} is not valid Python")
            continue
        kept = [s for s in tree.body if isinstance(s, _KEPT) or _is_constant(s)]
        answers.texts[name] = clean
        answers.statements.extend((name, statement) for statement in kept)
