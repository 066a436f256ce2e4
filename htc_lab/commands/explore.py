"""``htc-lab explore``."""

import time
from pathlib import Path
from typing import Annotated, Any

import tyro

from htc_lab.commands.flags import say
from htc_lab.commands.numbers import in_range
from htc_lab.errors import InputError
from htc_lab.files import require_room_for
from htc_lab.wording import counted


def explore(
    image: Annotated[Path | None, tyro.conf.Positional] = None,
    checkpoint: tuple[str, ...] = (),
    scene: int | None = None,
    html: Path = Path("explorer.html"),
    state: str = "",
    hide: tuple[str, ...] = (),
    json: bool = False,
) -> dict[str, Any] | None:
    """Write the stage explorer of a picture as one HTML file that needs no kernel and no network.

    Args:
        image: a picture file.
        checkpoint: run folders, .safetensors files or shipped models' names; with several you can see what
            models trained without an idea do. Default: all classroom models that come with the lab.
        scene: instead of a file, the number of a classroom test scene; its ground truth gives IoU and AP.
        html: the file to write.
        state: the initial state, as "Share state" in the explorer gives it.
        hide: controls to leave out, e.g. semantic.
        json: print figures as one JSON object.
    """
    if (image is None) == (scene is None):
        raise InputError("explore: give a picture file, or --scene with the number of a classroom test scene")

    if scene is not None:
        in_range("scene", scene, 0, 2**30)
    if html.suffix.lower() not in (".html", ".htm"):
        # A slip in the shell must not overwrite a picture with the page.
        raise InputError(f"--html {html}: must end in .html or .htm")
    require_room_for(html)

    from htc_lab.explorer.explore import find
    from htc_lab.explorer.pack import make_pack
    from htc_lab.explorer.runs import progress_bar, run_models
    from htc_lab.explorer.state import ExplorerState, check_knobs
    from htc_lab.files import write_text
    from htc_lab.web.export import to_html

    check_knobs(hide)
    start = str(ExplorerState.parse(state)) if state else ""
    picture = scene if image is None else image
    assert picture is not None
    shown = find(picture, {name: name for name in checkpoint} or None)
    began = time.perf_counter()
    with progress_bar(shown.title) as tell:
        runs = run_models(shown.models, shown.picture, progress=tell)
    pack = make_pack(runs, shown.title, shown.code)
    seconds = time.perf_counter() - began
    page = to_html(pack, start, hide, f"{shown.title}: Stage Explorer")
    write_text(html, page)
    say(f"{shown.title}: {counted(len(shown.models), 'model')} in {seconds:.1f} s -> {html}", json)
    figures = {
        "picture": shown.title,
        "models": list(shown.models),
        "seconds": seconds,
        "pack_bytes": len(pack),
        "html": str(html),
        "html_bytes": len(page.encode()),
    }
    return figures if json else None
