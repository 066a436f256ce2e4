"""``htc_lab.explore``: the stage explorer of a picture in one call."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from htc_lab.checkpoint.files import load, shipped_models
from htc_lab.config import HTC, Toggles
from htc_lab.data.classroom.samples import classroom_samples
from htc_lab.errors import InputError
from htc_lab.explorer.bits import OffMeans
from htc_lab.explorer.figure import state_figure
from htc_lab.explorer.pack import make_pack
from htc_lab.explorer.runs import progress_bar, run_models
from htc_lab.explorer.stage_session import Picture
from htc_lab.explorer.state import ExplorerState, check_knobs, state_of
from htc_lab.explorer.widget import StageExplorer
from htc_lab.model import HybridTaskCascade
from htc_lab.plots.figure import Picture as StillPicture

Named = HybridTaskCascade | str | Path
"""A model, or the name by which :func:`htc_lab.load` finds it."""


@dataclass(frozen=True)
class Shown:
    """What is shown, and how Python names it.

    Attributes:
        models: by name, loaded.
        picture: with its truth where it has one.
        title: of the picture.
        code: for "Copy as Python"; a part without a name of its own is left out.
    """

    models: dict[str, HybridTaskCascade]
    picture: Picture
    title: str
    code: dict[str, str]


def find(picture: Picture | int, models: Mapping[str, Named] | Named | None) -> Shown:
    """Load what is named.

    Args:
        picture: as for ``StageExplorer.from_models``, or the number of a classroom test scene.
        models: models or names of checkpoints, one or several by name; None: all classroom models of the lab.

    Raises:
        InputError: no such model or scene.
    """
    code: dict[str, str] = {}
    if models is None:
        models = {name: name for name in shipped_models() if name.startswith("classroom/")}
        code["models"] = ""
    elif isinstance(models, str | Path):
        models = {str(models): models}
    elif isinstance(models, HybridTaskCascade):
        models = {models.config.name: models}
    if "models" not in code and all(isinstance(model, str | Path) for model in models.values()):
        code["models"] = repr({name: str(model) for name, model in models.items()})
    loaded = {
        name: model if isinstance(model, HybridTaskCascade) else load(model) for name, model in models.items()
    }
    title = "picture"
    if isinstance(picture, int):
        if picture < 0:
            raise InputError(f"scene {picture}: classroom test scenes are numbered from 0")
        title, code["image"] = f"classroom test scene {picture}", str(picture)
        picture = classroom_samples(1, first=picture)[0]
    elif isinstance(picture, str | Path):
        title, code["image"] = Path(picture).name, repr(str(picture))
    return Shown(loaded, picture, title, code)


def explore(
    picture: Picture | int = 0,
    models: Mapping[str, Named] | Named | None = None,
    *,
    toggles: Toggles | None = None,
    compare: Toggles | None = None,
    split: float = 0.5,
    off_means: OffMeans = "trained_without",
    stage: int | str = "mean",
    threshold: float = 0.3,
    selected: int = 0,
    show: Sequence[str] = ("masks", "boxes", "labels"),
    against: str = "plain",
    curve: str = "mask",
    state: str | None = None,
    hide: Sequence[str] = (),
    static: bool = False,
) -> StageExplorer | StillPicture:
    """Toggle the ideas on a picture and see them, live.

    Args:
        picture: a path, an image (3, H, W) uint8, a sample with its truth, or the number of a classroom test
            scene.
        models: one or several by name; models, run folders, files or names of shipped models. Default: all
            classroom models that come with the lab.
        toggles: the ideas that are on at first; default: all that are not hidden.
        compare: compare with these, side by side.
        split, off_means, threshold, selected, show, against, curve: see
            :class:`htc_lab.explorer.state.ExplorerState`.
        stage: 1, 2, 3, "proposals" or "mean".
        state: a state string, instead of all of these.
        hide: knobs not to show, e.g. ``["semantic"]`` before the lesson that teaches it.
        static: a still figure of the same state instead, for places where widgets can't run.

    Raises:
        InputError: no such model, picture, state or knob.
    """
    hide = check_knobs(hide)
    shown = find(picture, models)
    if state is None:
        last = next(iter(shown.models.values())).config.toggles.stages
        start = state_of(
            toggles or _not_hidden(hide),
            compare,
            stage,
            last,
            split=split,
            off_means=off_means,
            threshold=threshold,
            selected=selected,
            show=tuple(show),
            against=against,
            curve=curve,
        )
    else:
        start = ExplorerState.parse(state)
    if static:
        with progress_bar(shown.title) as tell:
            runs = run_models(shown.models, shown.picture, progress=tell)
        return state_figure(make_pack(runs, shown.title), start)
    return StageExplorer.from_models(
        shown.models, shown.picture, title=shown.title, state=start, hide=hide, code=shown.code
    )


def _not_hidden(hide: Sequence[str]) -> Toggles:
    """All ideas whose switch is shown: what was not taught yet is not on either."""
    hidden = [idea.field for idea in HTC.ideas if set(idea.knob.split()) & set(hide)]
    return dataclasses.replace(HTC, **dict.fromkeys(hidden, False))
