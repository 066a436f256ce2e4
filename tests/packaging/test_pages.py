"""What the pages name is there: files, tests, links to other pages, and the commands' own names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md")])

_FOLDERS = "htc_lab|tests|docs|benchmarks|data_scripts|notebooks|\\.ci|\\.github"
_PATH = re.compile(rf"(?<![\w/.-])((?:{_FOLDERS})/[\w./{{}},*-]*[\w}}*])")
_LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
# Names that stand for one that a person chooses.
_INVENTED = re.compile("YOUR|NAME|CASE|09_name|lesson09|LESSON|STUDENT")


def named(text: str) -> set[str]:
    """Paths in a page, of the repository's own folders; `a/{b,c}.py` is two."""
    found = set()
    for path in _PATH.findall(text):
        braces = re.fullmatch(r"(.*)\{(.*)\}(.*)", path)
        parts = (
            [path] if braces is None else [braces[1] + inner + braces[3] for inner in braces[2].split(",")]
        )
        found.update(part for part in parts if not _INVENTED.search(part))
    return found


def there(path: str) -> bool:
    """Whether a path, which may end without its suffix or hold a *, is in the repository."""
    return any(any(ROOT.glob(path + suffix)) for suffix in ("", ".py", ".md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    missing = sorted(path for path in named(page.read_text(encoding="utf-8")) if not there(path))
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = _LINK.findall(page.read_text(encoding="utf-8"))
    missing = sorted(link for link in links if not (page.parent / link).exists())
    assert not missing


def test_the_reader_of_paths_sees_them() -> None:
    text = "`tests/fuzz/`, see htc_lab/{a,b}.py, x/tests/y and `docs/*.md`; notebooks/src/09_name.py, http://a/docs/b"
    assert named(text) == {"tests/fuzz", "htc_lab/a.py", "htc_lab/b.py", "docs/*.md"}
