"""One self-contained HTML file of a pack: it opens from disk, without a kernel and without a network."""

import base64
import html
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from htc_lab.web.joiner import JoinError, join, modules_of

WEB = Path(__file__).resolve().parent

EXPLORER = "explorer/places.js"
BOARD = "board/board.js"
"""Modules whose default exports are the widgets; all others are reached from them by their imports."""

EXPLORER_STYLES = ("common/common.css", "explorer/explorer.css")
BOARD_STYLES = ("common/common.css", "board/board.css")

# No part of the page comes from elsewhere; the policy makes the browser hold it to that.
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; \
style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0; background: #ffffff; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #121518; }} }}
h1 {{ position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }}
{css}
</style></head><body>
<header><h1>{title}</h1></header>
<main class="htc-page"></main>
<script type="application/json" class="htc-settings">{settings}</script>
<script type="text/plain" class="htc-pack">{pack}</script>
<script type="module">
{script}
start();
</script>
</body></html>
"""


@cache
def _joined(entry: str) -> str:
    return join(WEB / entry)


@cache
def _together(*names: str) -> str:
    return "\n".join((WEB / name).read_text(encoding="utf-8") for name in names)


def script() -> str:
    """The explorer's ES module: one text, since a widget is given one."""
    return _joined(EXPLORER)


def styles() -> str:
    """The explorer's style sheet."""
    return _together(*EXPLORER_STYLES)


def board_script() -> str:
    """The training dashboard's ES module."""
    return _joined(BOARD)


def board_styles() -> str:
    """The training dashboard's style sheet."""
    return _together(*BOARD_STYLES)


def browser_files(web: Path = WEB) -> list[Path]:
    """All files that the explorer and the dashboard are made of.

    Args:
        web: the folder they lie in.

    Raises:
        JoinError: one is missing, or modules can't be joined.
    """
    modules = [module.path for entry in (EXPLORER, BOARD) for module in modules_of(web / entry)]
    sheets = [web / name for name in (*EXPLORER_STYLES, *BOARD_STYLES)]
    for sheet in sheets:
        if not sheet.is_file():
            raise JoinError(f"{sheet} is missing")
    return list(dict.fromkeys([*modules, *sheets]))


def to_html(pack: bytes, state: str = "", hide: Sequence[str] = (), title: str = "Stage Explorer") -> str:
    """The page.

    Args:
        pack: from :func:`htc_lab.explorer.pack.make_pack`.
        state: what is set when it opens; a state after ``#`` in its address takes precedence.
        hide: knobs to leave out.
        title: of the window.
    """
    # Written as an escape, "<" can't end the element.
    settings = json.dumps({"state": state, "hide": list(hide)}).replace("<", "\\u003c")
    return _PAGE.format(
        title=html.escape(title),
        css=styles(),
        settings=settings,
        pack=base64.b64encode(pack).decode("ascii"),
        script=script(),
    )
