"""The joiner of ES modules: what it makes of small ones, and what it refuses."""

from pathlib import Path

import pytest

from htc_lab.web.joiner import JoinError, join, modules_of, read_module


def written(folder: Path, **modules: str) -> Path:
    """Files ``name.js`` with these texts; gives the first one's path."""
    paths = []
    for name, text in modules.items():
        paths.append(folder / f"{name}.js")
        paths[-1].write_text(text, encoding="utf-8")
    return paths[0]


def test_modules_come_after_those_they_import_from_and_each_once(tmp_path: Path) -> None:
    entry = written(
        tmp_path,
        entry="import { two } from './two.js';\nimport {\n  one,\n} from './one.js';\n"
        "export default { two, one };\n",
        two="// Twice.\nimport { one } from './one.js';\nexport const two = 2 * one;\n",
        one='export const one = 1;\nconst kept = "import { x } from y";\n',
    )
    assert [module.path.name for module in modules_of(entry)] == ["one.js", "two.js", "entry.js"]
    assert join(entry) == (
        'const one = 1;\nconst kept = "import { x } from y";\n\n'
        "// Twice.\nconst two = 2 * one;\n\n"
        "export default { two, one };\n"
    )


def test_imports_lead_into_other_folders(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "common").mkdir()
    entry = written(
        tmp_path / "parts", entry="import { one } from '../common/one.js';\nexport default one;\n"
    )
    written(tmp_path / "common", one="export function one() {\n  return 1;\n}\n")
    assert join(entry) == "function one() {\n  return 1;\n}\n\nexport default one;\n"


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("const a = 1;", ["a"]),
        ("let a = 1, b = 2;", ["a", "b"]),
        ("const a = (x, y = 2) => [x, y], b = { c: 1, d: 2 };", ["a", "b"]),
        ("const a = 'x, y = 1', b = `x, z = ${1}`;", ["a", "b"]),
        ("const a = x => x <= 1, b = x => x === 1;", ["a", "b"]),
        ("const [a, b] = [1, 2];", ["a", "b"]),
        ("const { a, c: b, ...d } = given;", ["a", "b", "d"]),
        ("function a(x, y = 1) {\n  const z = 1;\n\n  return x;\n}", ["a"]),
        ("async function a() {\n}", ["a"]),
        ("function* a() {\n  yield 1;\n}", ["a"]),
        ("class a {\n  b = 1;\n}", ["a"]),
        ("// const a = 1;", []),
    ],
)
def test_the_names_of_a_declaration(tmp_path: Path, statement: str, names: list[str]) -> None:
    plain = read_module(written(tmp_path, plain=f"{statement}\n"))
    assert list(plain.declared) == names
    assert plain.exported == frozenset()
    if names:
        shared = read_module(written(tmp_path, shared=f"export {statement}\n"))
        assert shared.exported == frozenset(names)
        assert shared.body == statement


def test_two_modules_may_not_declare_one_name(tmp_path: Path) -> None:
    entry = written(
        tmp_path,
        entry="import { one } from './one.js';\nconst hidden = one;\nexport default hidden;\n",
        one="export const one = 1, hidden = 2;\n",
    )
    with pytest.raises(
        JoinError, match=r"'hidden' is declared in \S+one\.js and in \S+entry\.js: rename one"
    ):
        join(entry)


@pytest.mark.parametrize("how", ["const one = 1;", "// export const one = 1;", "export const other = 1;"])
def test_what_is_imported_must_be_exported(tmp_path: Path, how: str) -> None:
    entry = written(tmp_path, entry="import { one } from './one.js';\nexport default one;\n", one=f"{how}\n")
    with pytest.raises(JoinError, match=r"entry\.js: imports 'one', which one\.js does not export"):
        join(entry)


def test_imports_may_not_run_in_a_circle(tmp_path: Path) -> None:
    entry = written(
        tmp_path,
        entry="import { a } from './a.js';\nexport default a;\n",
        a="import { b } from './b.js';\nexport const a = () => b;\n",
        b="import { a } from './a.js';\nexport const b = () => a;\n",
    )
    with pytest.raises(JoinError, match=r"in a circle: a\.js -> b\.js -> a\.js"):
        join(entry)
    itself = written(tmp_path, itself="import { a } from './itself.js';\nexport const a = 1;\n")
    with pytest.raises(JoinError, match=r"in a circle: itself\.js -> itself\.js"):
        join(itself)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            "import { one as two } from './one.js';",
            "imports 'one as two' from './one.js'; a name can't be changed",
        ),
        ("import { default as one } from './one.js';", "a name can't be changed"),
        ("import { one } from 'library';", "imports from 'library'; only files beside it"),
        ("import { one } from 'https://example.com/one.js';", "only files beside it"),
        ("import one from './one.js';", "'import one from './one.js';' is neither an import in braces"),
        ("import * as one from './one.js';", "is neither an import in braces nor a declaration"),
        ("import './one.js';", "is neither an import in braces nor a declaration"),
        ("export { one };", "is neither an import in braces nor a declaration"),
        ("export * from './one.js';", "is neither an import in braces nor a declaration"),
        ("var one = 1;", "is neither an import in braces nor a declaration"),
        ("console.log(1);", "is neither an import in braces nor a declaration"),
        ("const one = () => import('./one.js');", "import(…) and import.meta work in files only"),
        ("const one = import.meta.url;", "import(…) and import.meta work in files only"),
        ("import { one } from './none.js';", "none.js is missing"),
        ("import { two } from './two.js';", "two.js: has a default export, which only the entry may have"),
    ],
)
def test_what_can_not_be_joined_is_refused(tmp_path: Path, statement: str, words: str) -> None:
    entry = written(
        tmp_path,
        entry=f"{statement}\n",
        one="export const one = 1;\n",
        two="export default 2;\nconst two = 2;\n",
    )
    with pytest.raises(JoinError) as refused:
        join(entry)
    assert words in str(refused.value)
