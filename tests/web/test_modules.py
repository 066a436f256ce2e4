"""The browser's files as modules: small, and each imports exactly what it uses."""

import re
from pathlib import Path

import pytest

from htc_lab.web.export import BOARD, EXPLORER, WEB, board_script, script
from htc_lab.web.joiner import modules_of

MOST_LINES = 300
_SKIPPED = re.compile(r"//[^\n]*|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"")


def code_of(text: str) -> str:
    """A module's text without comments, strings, and the words of templates."""
    code: list[str] = []
    inside: list[str] = []
    at = 0
    while at < len(text):
        here = text[at]
        in_words = inside[-1:] == ["`"]
        skipped = None if in_words else _SKIPPED.match(text, at)
        if skipped is not None:
            at = skipped.end()
        elif in_words and text.startswith("${", at):
            inside.append("{")
            at += 2
        elif in_words and here != "`":
            at += 2 if here == "\\" else 1
        else:
            if (here == "`" and in_words) or here == "}":
                inside.pop()
            elif here in "`{":
                inside.append(here)
            code.append(" " if here == "`" else here)
            at += 1
    return "".join(code)


def uses(code: str, name: str) -> bool:
    """Whether the name stands in the code other than as a property's."""
    escaped = re.escape(name)
    return re.search(rf"(?<![\w$]|(?<!\.\.)\.){escaped}(?![\w$:])", code) is not None


def test_code_is_what_is_neither_comment_nor_text() -> None:
    text = "a('b', `c ${d ? `e ${f}` : \"g\"} h`); // i\nconst j = { k: l, ...m, n: o.p };\n"
    code = code_of(text)
    assert [name for name in "abcdefghijklmnop" if uses(code, name)] == ["a", "d", "f", "j", "l", "m", "o"]


@pytest.mark.parametrize(
    "path", sorted(WEB.rglob("*.js")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_a_module_is_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("entry", [EXPLORER, BOARD])
def test_a_module_imports_what_it_uses_and_nothing_else(entry: str) -> None:
    """Joined, all modules share one scope: what one of them forgot to import would not be missed there."""
    modules = modules_of(WEB / entry)
    owners = {name: module for module in modules for name in module.exported}
    assert len(owners) > 10
    wrong = []
    for module in modules:
        code = code_of(module.body)
        imported = {name for names in module.imports.values() for name in names}
        wrong += [f"{module.path.name} does not use {name}" for name in imported if not uses(code, name)]
        others = {name for name, owner in owners.items() if owner is not module} - imported
        wrong += [f"{module.path.name} does not import {name}" for name in others if uses(code, name)]
    assert wrong == []


def test_what_is_exported_is_imported_somewhere() -> None:
    modules = [module for entry in (EXPLORER, BOARD) for module in modules_of(WEB / entry)]
    imported = {name for module in modules for names in module.imports.values() for name in names}
    # The exported page calls it.
    assert {name for module in modules for name in module.exported} - imported == {"start"}


@pytest.mark.parametrize("text", [script(), board_script()], ids=["explorer", "board"])
def test_the_joined_module_imports_nothing_and_exports_the_widget_alone(text: str) -> None:
    assert re.findall(r"^(?:import|export)\b.*", text, re.MULTILINE) == ["export default { render };"]
