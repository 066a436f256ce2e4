"""One self-contained HTML file of a pack: it opens from disk, without a kernel and without a network."""

import base64
import html
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

STATIC = Path(__file__).resolve().parent / "static"

SCRIPT = (
    "elements.js",
    "words.js",
    "pack.js",
    "masks.js",
    "state.js",
    "layout.js",
    "explorer.js",
    "places.js",
)
"""Parts of the explorer's ES module, in this order: one module, since a widget is given one text."""

STYLE = ("common.css", "explorer.css")

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
def _joined(*names: str) -> str:
    """Parts of an ES module, or of a style sheet, as the one text a browser is given."""
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in names)


def script() -> str:
    """The explorer's ES module."""
    return _joined(*SCRIPT)


def styles() -> str:
    """The explorer's style sheet."""
    return _joined(*STYLE)


def board_script() -> str:
    """The training dashboard's ES module."""
    return _joined("elements.js", "board.js")


def board_styles() -> str:
    """The training dashboard's style sheet."""
    return _joined("common.css", "board.css")


def to_html(pack: bytes, state: str = "", hide: Sequence[str] = (), title: str = "Stage Explorer") -> str:
    """The page.

    Args:
        pack: from :func:`htc_lab.explorer.pack.make_pack`.
        state: what is set when it opens; a state after ``#`` in its address goes before.
        hide: knobs to leave out.
        title: of the window.
    """
    # "<" can't end the element it stands in where it is written as an escape.
    settings = json.dumps({"state": state, "hide": list(hide)}).replace("<", "\\u003c")
    return _PAGE.format(
        title=html.escape(title),
        css=styles(),
        settings=settings,
        pack=base64.b64encode(pack).decode("ascii"),
        script=script(),
    )
