"""A screenshot of the training dashboard: ``python -m tests.browser.board_picture --help``."""

import base64
import functools
import io
import json
import tempfile
from pathlib import Path
from typing import Annotated

import tyro
from PIL import Image

from htc_lab.board.report import Place, report_of
from htc_lab.files import write_atomically
from htc_lab.web.export import board_script, board_styles
from tests.browser.lab import browse

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Trainings</title><style>
:root {{ color-scheme: light dark; }} body {{ margin: 0; background: #ffffff; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #121518; }} }}
h1 {{ position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }}
{css}</style></head><body><header><h1>Trainings</h1></header><main></main><script type="module">
{script}
const data = {data};
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
for (const each of Object.values(data.pictures)) each.png = bytes(each.png);
const model = {{ get: name => data[name], on() {{}}, off() {{}}, send() {{}} }};
render({{ model, el: document.querySelector('main') }});
</script></body></html>
"""


def page_of(folders: tuple[Path, ...], command: list[str] | None = None) -> str:
    """The dashboard of some folders as it stands, as a page without a kernel; ``command`` fills them."""
    places = [Place(folder, command) for folder in folders]
    for place in places:
        place.look()
    report = report_of(places)
    readers = [reader for place in places for reader in place.readers]
    pictures = {}
    for run, reader in zip(report["runs"], readers, strict=True):
        for step, path in reader.samples()[-1:]:
            png = base64.b64encode(path.read_bytes()).decode("ascii")
            pictures[run["name"]] = {"step": step, "png": png}
    data = json.dumps({"report": report, "pictures": pictures}).replace("<", "\\u003c")
    return _PAGE.format(css=board_styles(), script=board_script(), data=data)


def main(
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional],
    out: Path = Path("docs/dashboard.png"),
    width: int = 1180,
    dark: bool = False,
) -> None:
    """Draw the dashboard of run folders as a browser shows it, in 256 colours.

    Args:
        folders: run folders, or folders of them.
        out: the PNG to write.
        width: of the window, px.
        dark: for a system with a dark theme.
    """
    with tempfile.TemporaryDirectory() as folder, browse() as browser:
        path = Path(folder) / "board.html"
        path.write_text(page_of(folders), encoding="utf-8")
        scheme = "dark" if dark else "light"
        tab = browser.new_page(viewport={"width": width, "height": 700}, color_scheme=scheme)
        tab.on("pageerror", lambda error: print(f"error: {error}"))
        tab.goto(path.as_uri())
        tab.locator(".htc-board .run").first.wait_for()
        tab.wait_for_timeout(500)
        shot = tab.screenshot(full_page=True)
    picture = Image.open(io.BytesIO(shot)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    write_atomically(out, functools.partial(picture.save, format="PNG", optimize=True))
    print(f"{out}: {picture.width} x {picture.height} px, {out.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    tyro.cli(main)
