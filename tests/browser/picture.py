"""Screenshots of the stage explorer: ``python -m tests.browser.picture --help``."""

import functools
import io
import tempfile
from pathlib import Path

import tyro
from PIL import Image

from htc_lab.explorer.explore import find
from htc_lab.explorer.export import to_html
from htc_lab.explorer.pack import make_pack
from htc_lab.explorer.runs import run_models
from htc_lab.files import write_atomically
from tests.browser.lab import browse


def main(
    out: Path = Path("docs/explorer.png"),
    scene: int = 10,
    models: tuple[str, ...] = (),
    state: str = "",
    width: int = 1280,
    dark: bool = False,
) -> None:
    """Draw the explorer of a classroom test scene as a browser shows it, in 256 colours.

    Args:
        out: the PNG to write.
        scene: its number.
        models: checkpoints; default: all classroom models that come with the lab.
        state: what is set.
        width: of the window, px.
        dark: for a system with a dark theme.
    """
    shown = find(scene, {name: name for name in models} or None)
    page = to_html(make_pack(run_models(shown.models, shown.picture), shown.title, shown.code), state)
    with tempfile.TemporaryDirectory() as folder, browse() as browser:
        path = Path(folder) / "explorer.html"
        path.write_text(page, encoding="utf-8")
        scheme = "dark" if dark else "light"
        tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        tab.goto(path.as_uri())
        tab.locator(".htc-explorer .swatch").first.wait_for()
        tab.wait_for_timeout(500)
        shot = tab.screenshot(full_page=True)
    picture = Image.open(io.BytesIO(shot)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    write_atomically(out, functools.partial(picture.save, format="PNG", optimize=True))
    print(f"{out}: {picture.width} x {picture.height} px, {out.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    tyro.cli(main)
