"""StageView: the stages of the cascade under live switches, built of ipywidgets alone."""

import base64
import html
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets

from htc_lab.config import SWITCHES
from htc_lab.explorer.stage_session import LiveState, Pictures, StageSession
from htc_lab.explorer.state import MOST_STAGES, ExplorerState
from htc_lab.explorer.words import counts, remark, stage_words
from htc_lab.ideas import IDEAS
from htc_lab.layers.boxes import pairwise_iou
from htc_lab.model import HybridTaskCascade
from htc_lab.plots.palette import QUIET, rung_words
from htc_lab.wording import counted, signed

PROPOSALS, RESULT = 0, MOST_STAGES + 1
"""Values of the stage buttons besides 1, 2 and 3."""

SWITCH_WORDS: dict[str, str] = {idea.field: idea.name for idea in IDEAS} | {"average_masks": "Average masks"}

_HINTS = {idea.field: idea.hint for idea in IDEAS} | {
    "average_masks": "The result is the mean of the stages' masks"
}
_TOOLTIPS = {idea.field: f"In training: {idea.training}\nAt test time: {idea.test}" for idea in IDEAS} | {
    "average_masks": "At test time: off, the masks are the last stage's alone."
}
_LAYERS = {"masks": "Masks", "boxes": "Boxes", "labels": "Labels", "truth": "Truth"}
_SIDE = 512


class StageView:
    """A picture with the boxes and masks of a stage; every switch re-runs only the cascade.

    Attributes:
        widget: the ipywidget, for a layout of your own; in a notebook the view itself is shown.
        switches: the checkboxes of the toggles, by the names of ``Toggles``.
        stage: the stage buttons; values 0 (proposals), 1, 2, 3 and 4 (result).
        image: the picture, a JPEG.
    """

    def __init__(
        self,
        models: HybridTaskCascade | Mapping[str, HybridTaskCascade],
        pictures: Pictures,
        *,
        threshold: float = 0.3,
    ) -> None:
        """See the class.

        Args:
            models: one model, or several by name; the names of the ladder's rungs are put in words.
            pictures: one or a list of samples, images (3, H, W) uint8 or paths, or a data set. Samples and
                data sets bring their truth.
            threshold: score from which an object is shown at first.

        Raises:
            InputError: there is no model or no picture.
        """
        by_name = models if isinstance(models, Mapping) else {models.config.name: models}
        self.session = StageSession(by_name, pictures)
        first = next(iter(self.session.models))
        self._quiet = False

        names = [(rung_words(name), name) for name in self.session.models]
        self.model = widgets.Dropdown(options=names, value=first, description="Model")
        self.picture = widgets.BoundedIntText(
            value=1, min=1, max=len(self.session.pictures), description="Picture"
        )
        for chooser in (self.model, self.picture):
            chooser.style.description_width = "52px"
            chooser.layout.width = "97%"
        self.switches = {
            name: widgets.Checkbox(
                description=SWITCH_WORDS[name],
                tooltip=_TOOLTIPS[name],
                indent=False,
                layout=widgets.Layout(width="auto", margin="6px 0 0 0"),
            )
            for name in SWITCHES
        }
        self._hints = {name: widgets.HTML(layout=widgets.Layout(margin="-6px 0 0 20px")) for name in SWITCHES}
        self.stages = widgets.ToggleButtons(
            options=[1, 2, 3],
            description="Stages run",
            style={"button_width": "40px", "description_width": "76px"},
        )
        self.stage = widgets.ToggleButtons(
            options=self._stage_options(3), value=RESULT, style={"button_width": "94px"}
        )
        self.layers = {
            name: widgets.Checkbox(
                value=name != "truth", description=words, indent=False, layout=widgets.Layout(width="76px")
            )
            for name, words in _LAYERS.items()
        }
        self.threshold = widgets.FloatSlider(
            value=threshold,
            min=0.05,
            max=0.95,
            step=0.05,
            description="score ≥",
            style={"description_width": "52px"},
            layout=widgets.Layout(width="220px"),
        )
        self.image = widgets.Image(
            format="jpeg", layout=widgets.Layout(max_width="100%", align_self="flex-start")
        )
        self.sentence = widgets.HTML(layout=widgets.Layout(max_width=f"{_SIDE + 60}px", min_height="72px"))
        self.widget = self._arranged(len(self.session.models) > 1, len(self.session.pictures) > 1)
        self._take_toggles_of_model()
        self.update()
        self._watch()

    def _arranged(self, choose_model: bool, choose_picture: bool) -> widgets.Box:
        choosers = [self.model] * choose_model + [self.picture] * choose_picture
        ideas = [part for name in SWITCHES for part in (self.switches[name], self._hints[name])]
        side = widgets.VBox(
            [*choosers, *ideas, self.stages], layout=widgets.Layout(width="300px", flex="0 0 auto")
        )
        layers = widgets.HBox(
            [*self.layers.values(), self.threshold], layout=widgets.Layout(flex_flow="row wrap")
        )
        main = widgets.VBox(
            [self.stage, self.image, layers, self.sentence],
            layout=widgets.Layout(flex="1 1 540px", min_width="0"),
        )
        view = widgets.Box([side, main], layout=widgets.Layout(flex_flow="row wrap", grid_gap="24px"))
        view.add_class("htc-lab-stage-view")
        return view

    def _watch(self) -> None:
        self.model.observe(self._model_changed, "value")
        self.stages.observe(self._stages_changed, "value")
        parts = [self.picture, self.stage, self.threshold, *self.switches.values(), *self.layers.values()]
        for part in parts:
            part.observe(self._changed, "value")

    @contextmanager
    def _silence(self) -> Iterator[None]:
        """Several settings change as one."""
        was, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = was

    def _changed(self, _: Any) -> None:
        if not self._quiet:
            self.update()

    def _model_changed(self, _: Any) -> None:
        with self._silence():
            self._take_toggles_of_model()
        self.update()

    def _stages_changed(self, _: Any) -> None:
        if not self._quiet:
            with self._silence():
                self._offer_stages()
            self.update()

    def _stage_options(self, count: int) -> list[tuple[str, int]]:
        stages = [(f"Stage {t}", t) for t in range(1, count + 1)]
        return [("Proposals", PROPOSALS), *stages, ("Mean", RESULT)]

    def _offer_stages(self) -> None:
        """Buttons for the stages that run; the choice stays if its button does."""
        options = self._stage_options(self.stages.value)
        wanted = self.stage.value if self.stage.value in dict(options).values() else RESULT
        if options != list(self.stage.options):
            self.stage.options = options
        self.stage.value = wanted

    def _take_toggles_of_model(self) -> None:
        """Set the switches as the model was trained, and disable those its weights can't serve."""
        trained = self.session.models[self.model.value].config.toggles
        refusals = self.session.refusals(self.model.value)
        for name, switch in self.switches.items():
            switch.value = getattr(trained, name)
            switch.disabled = name in refusals
            hint = f"Not available: {refusals[name]}" if name in refusals else _HINTS[name]
            self._hints[name].value = _small(hint)
        self.stages.options = list(range(1, trained.stages + 1))
        self.stages.value = trained.stages
        self._offer_stages()

    @property
    def state(self) -> LiveState:
        """What is set now."""
        bits = "".join(str(int(self.switches[idea.field].value)) for idea in IDEAS)
        shown = ExplorerState(
            bits=bits,
            stage=self.stage.value,
            threshold=self.threshold.value,
            show=tuple(name for name, layer in self.layers.items() if layer.value),
        )
        return LiveState(
            model=self.model.value,
            picture=self.picture.value - 1,
            average_masks=self.switches["average_masks"].value,
            stages=self.stages.value,
            shown=shown,
        )

    def update(self) -> None:
        """Show what is set now."""
        state = self.state
        for name, layer in self.layers.items():
            layer.disabled = (state.stage == PROPOSALS and name != "truth") or (
                name == "truth" and self.session.picture(state.model, state.picture)[1] is None
            )
        self.image.value = self.session.jpeg(state, _SIDE)
        words, more = self._words(state)
        self.sentence.value = (
            f'<div role="status" aria-live="polite" style="line-height:1.45">{html.escape(words)} '
            f'<span style="color:{QUIET}">{html.escape(more)}</span></div>'
        )

    def _words(self, state: LiveState) -> tuple[str, str]:
        """What is seen, and what to keep in mind of it."""
        side, trained = self.session.side(state), self.session.models[state.model].config.toggles
        looked_at = stage_words(state.stage, state.last, state.average_masks)
        run = "" if state.stages == trained.stages else f", {state.stages} of its {trained.stages} stages"
        words = f"{side.title}{run}. {looked_at[:1].upper()}{looked_at[1:]}: {counts(side)}"
        if side.mean_iou is not None:
            words += f"; mean mask IoU with the truth {side.mean_iou:.2f} in this picture"
            alike = state.toggles == trained
            before = None if alike else self.session.side(state.with_toggles(trained)).mean_iou
            if before is not None:
                change = signed(side.mean_iou - before, 2).replace("-", "\N{MINUS SIGN}")
                words += f", {change} against the model as it was trained"
            words += ". A missed object counts 0"
        elif state.stage == 0:
            words += self._nearest(state)
        return words + ".", remark(state.stage, state.last, state.toggles, trained)

    def _nearest(self, state: LiveState) -> str:
        """How near the proposals come to the true objects."""
        _, targets = self.session.picture(state.model, state.picture)
        boxes = self.session.trace(state).proposals.rois.boxes.cpu()
        words = f". {counted(len(boxes), 'proposal')} in all"
        if targets is None or len(targets.boxes) == 0 or len(boxes) == 0:
            return words
        best = float(pairwise_iou(targets.boxes, boxes).max(dim=1).values.mean())
        return f"{words}; mean box IoU of each true object with its nearest: {best:.2f}"

    def set(self, **changes: Any) -> None:
        """Set switches, layers and what else is shown by name, e.g. ``view.set(mask_flow=False, stage=3)``.

        Raises:
            KeyError: no such field.
        """
        parts = {**self.switches, **self.layers, "stages": self.stages, "stage": self.stage}
        parts |= {"model": self.model, "threshold": self.threshold, "picture": self.picture}
        for name, value in changes.items():
            parts[name].value = value + 1 if name == "picture" else value

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The widget, and the current picture for readers without a kernel."""
        shown: dict[str, Any] = self.widget._repr_mimebundle_(**options)
        state = self.state
        words = f"StageView of {state.model}, picture {state.picture + 1}: {state.shown}"
        picture = base64.b64encode(self.image.value).decode("ascii")
        return {**shown, "image/jpeg": picture, "text/plain": words}


def _small(words: str) -> str:
    return (
        f'<span style="font-size:12px;line-height:1.3;display:block;opacity:0.75">{html.escape(words)}</span>'
    )
