"""``StageExplorer``: the explorer in a notebook. The browser answers toggles; the kernel makes packs."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from htc_lab.data.dataset import read_image
from htc_lab.errors import InputError
from htc_lab.explorer.figure import state_figure
from htc_lab.explorer.pack import make_pack
from htc_lab.explorer.runs import progress_bar, run_models
from htc_lab.explorer.stage_session import Picture
from htc_lab.explorer.state import ExplorerState, check_knobs
from htc_lab.files import write_text
from htc_lab.model import HybridTaskCascade
from htc_lab.plots.figure import Picture as StillPicture
from htc_lab.web.export import script, styles, to_html


class StageExplorer(anywidget.AnyWidget):
    """One picture, the ideas as switches, every object at every stage.

    Make one with :func:`htc_lab.explore` or :meth:`from_models`.

    Attributes:
        state: all that is set, as a string (:class:`htc_lab.explorer.state.ExplorerState`); set it to set the
            explorer, observe it to follow a person.
        hide: knobs that are not shown (:data:`htc_lab.explorer.state.KNOBS`).
        pack: what the browser looks everything up in (:mod:`htc_lab.explorer.pack`).
        status: what the kernel is doing, or what went wrong with a picture.
        title: what the picture is called.
    """

    _esm = script()
    _css = styles()

    pack = traitlets.Bytes().tag(sync=True)
    state = traitlets.Unicode().tag(sync=True)
    hide = traitlets.List(traitlets.Unicode()).tag(sync=True)
    status = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        pack: bytes,
        *,
        title: str = "picture",
        state: str | ExplorerState = "",
        hide: Sequence[str] = (),
        models: Mapping[str, HybridTaskCascade] | None = None,
        code: Mapping[str, str] | None = None,
        semantic_names: Sequence[str] = (),
    ) -> None:
        """An explorer of an existing pack.

        Args:
            pack: from :func:`htc_lab.explorer.pack.make_pack`.
            title: what the picture is called.
            state: what is set at first.
            hide: knobs not to show.
            models: run on the pictures a person drops on the explorer; without them it accepts no pictures.
            code: how Python names the models, for "Copy as Python".
            semantic_names: of the semantic classes, for new pictures.

        Raises:
            InputError: no such state or knob.
        """
        super().__init__(pack=pack, state=str(state), hide=check_knobs(hide), status={})
        self.title = title
        self._models = dict(models or {})
        self._code = dict(code or {})
        self._semantic_names = tuple(semantic_names)
        self.on_msg(self._heard)

    @classmethod
    def from_models(
        cls,
        models: HybridTaskCascade | Mapping[str, HybridTaskCascade],
        picture: Picture,
        *,
        title: str | None = None,
        state: str | ExplorerState = "",
        hide: Sequence[str] = (),
        code: Mapping[str, str] | None = None,
        semantic_names: Sequence[str] = (),
    ) -> "StageExplorer":
        """Run models on a picture and show what they said.

        Which settings show a model "trained without it" follows from each model's ``config.toggles``; the
        richest model is the one ideas are "switched off" in.

        Args:
            models: one, or several by name, of the same classes, stages and test size.
            picture: a sample (it brings its truth), an image (3, H, W) uint8, or a path.
            title, state, hide, code, semantic_names: as for the class.

        Raises:
            InputError: models that can't be shown together, an unreadable picture, no such state or knob.
        """
        by_name = models if isinstance(models, Mapping) else {models.config.name: models}
        names = tuple(semantic_names)
        if title is None:
            title = Path(picture).name if isinstance(picture, str | Path) else "picture"
        with progress_bar(title) as tell:
            runs = run_models(by_name, picture, names, tell)
        pack = make_pack(runs, title, code)
        return cls(pack, title=title, state=state, hide=hide, models=by_name, code=code, semantic_names=names)

    @traitlets.validate("state")
    def _checked_state(self, proposal: Any) -> str:
        return str(ExplorerState.parse(proposal["value"])) if proposal["value"] else ""

    def show(self, picture: Picture, title: str | None = None) -> None:
        """Show another picture in this explorer and keep everything that is set.

        Raises:
            InputError: the explorer has no models, or the picture can't be read.
        """
        if not self._models:
            raise InputError("explorer: was made without models and can't take pictures; use from_models")
        if title is None:
            title = Path(picture).name if isinstance(picture, str | Path) else "picture"
        named = {"image": repr(str(picture))} if isinstance(picture, str | Path) else {}
        runs = run_models(self._models, picture, self._semantic_names, self._tell)
        self.status = {"text": "Packing…"}
        self.title, self.pack = title, make_pack(runs, title, {**self._code, **named})
        self.status = {}

    def _tell(self, done: int, of: int) -> None:
        self.status = {"text": f"Running the models: {100 * done // of} %"}

    def html(self) -> str:
        """One self-contained HTML page of the explorer as it stands."""
        return to_html(self.pack, self.state, self.hide, f"{self.title}: Stage Explorer")

    def __repr__(self) -> str:
        """What is shown instead of the explorer where widgets can't run."""
        return (
            f"Stage Explorer of {self.title}: nothing to click here, this place does not run widgets. "
            "explorer.figure() draws its state; explorer.save_html('page.html') writes a page for a browser."
        )

    def figure(self) -> StillPicture:
        """The state as a still figure (:func:`htc_lab.explorer.figure.state_figure`)."""
        return state_figure(self.pack, self.state)

    def save_html(self, path: str | Path) -> Path:
        """Write :meth:`html` to a file.

        Raises:
            InputError: the place can't be written.
        """
        write_text(Path(path), self.html())
        return Path(path)

    def _heard(self, _: Any, message: dict[str, Any], buffers: list[Any]) -> None:
        """What the browser asks the kernel for: a pack of a person's own picture, or the HTML file."""
        if message.get("kind") == "export":
            page = to_html(self.pack, message["state"], self.hide, f"{self.title}: Stage Explorer")
            self.send({"kind": "html"}, [page.encode()])
        elif message.get("kind") == "picture":
            self._take(str(message["name"]), bytes(buffers[0]))

    def _take(self, name: str, data: bytes) -> None:
        """A dropped file: show it, or say what is wrong with it where it was dropped."""
        # Said first, so that a second failure is news to the browser even if it is the same.
        self.status = {"text": f"Reading {name}…"}
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "picture"
                path.write_bytes(data)
                try:
                    image = read_image(path)
                except InputError as error:
                    raise InputError(str(error).replace(str(path), name)) from None
            self.show(image, name)
        except Exception as error:
            self.status = {"text": str(error), "failed": True}
            if not isinstance(error, InputError):
                raise
