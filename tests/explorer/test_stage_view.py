import base64
import dataclasses
import re
from pathlib import Path

import pytest
from PIL import Image

from htc_lab.config import HTC, PLAIN_CASCADE
from htc_lab.errors import InputError
from htc_lab.explorer.stage_session import PROPOSALS, RESULT, StageSession, ViewState
from htc_lab.explorer.stage_view import StageView
from htc_lab.explorer.stage_words import describe, remark
from htc_lab.model import HybridTaskCascade, build_model
from htc_lab.presets import PRESETS
from tests.plots.made_trace import CLASS_NAMES, made_sample


def model_with(toggles=HTC) -> HybridTaskCascade:
    """An untrained classroom model that reports a handful of objects."""
    cascade = dataclasses.replace(PRESETS["classroom"].cascade, max_detections=6)
    model = build_model(dataclasses.replace(PRESETS["classroom"], toggles=toggles, cascade=cascade), seed=0)
    model.class_names = CLASS_NAMES
    return model.eval()


@pytest.fixture(scope="module")
def models() -> dict[str, HybridTaskCascade]:
    return {"htc": model_with(), "plain_cascade": model_with(PLAIN_CASCADE)}


@pytest.fixture
def view(models: dict[str, HybridTaskCascade]) -> StageView:
    return StageView(models, [made_sample(3), made_sample(4)], threshold=0.05)


def words(view: StageView) -> str:
    return re.sub(r"<[^>]+>", "", view.sentence.value)


def test_a_toggle_changes_the_picture_and_back(view: StageView) -> None:
    first = view.image.value
    assert first[:2] == b"\xff\xd8"
    view.switches["mask_flow"].value = False
    assert view.image.value != first
    assert "switched off in a model trained with it" in words(view)
    view.switches["mask_flow"].value = True
    assert view.image.value == first


def test_interleaving_at_test_time_leaves_the_result_and_says_so(view: StageView) -> None:
    first = view.image.value
    view.switches["interleaved"].value = False
    assert view.image.value == first
    assert "changes only the view of stages 1 to 3" in words(view)
    view.set(stage=1)
    assert "on the boxes it received" in words(view)
    after = view.image.value
    view.switches["interleaved"].value = True
    assert view.image.value != after


def test_a_toggle_runs_the_cascade_alone(view: StageView, monkeypatch: pytest.MonkeyPatch) -> None:
    model = view.session.models["htc"]
    calls = []
    monkeypatch.setattr(model, "encode", lambda *_: calls.append("encode"))
    monkeypatch.setattr(model, "propose", lambda *_: calls.append("propose"))
    view.switches["mask_flow"].value = False
    view.set(stage=2, truth=True)
    assert calls == []


def test_every_stage_has_its_own_picture(view: StageView) -> None:
    seen = set()
    for stage in (PROPOSALS, 1, 2, 3, RESULT):
        view.set(stage=stage)
        seen.add(view.image.value)
    assert len(seen) == 5


def test_switches_the_weights_cannot_serve_are_disabled_with_the_reason(view: StageView) -> None:
    view.set(model="plain_cascade")
    disabled = {name for name, switch in view.switches.items() if switch.disabled}
    assert disabled == {"mask_flow", "semantic_box", "semantic_mask"}
    assert "has no weights for it" in view._hints["mask_flow"].value
    assert view.state.toggles == PLAIN_CASCADE
    view.set(model="htc")
    assert not any(switch.disabled for switch in view.switches.values())
    assert view.state.toggles == HTC


def test_changing_the_model_draws_once(view: StageView, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(view, "update", lambda: drawn.append(view.state.toggles))
    view.set(model="plain_cascade")
    assert drawn == [PLAIN_CASCADE]


def test_fewer_stages_take_their_buttons_away(view: StageView) -> None:
    view.set(stage=3)
    view.set(stages=1)
    assert [value for _, value in view.stage.options] == [PROPOSALS, 1, RESULT]
    assert view.stage.value == RESULT
    view.set(stages=3, stage=2)
    assert view.state.stage == 2


def test_pictures_are_chosen_and_keep_their_switches(view: StageView) -> None:
    view.switches["semantic_box"].value = False
    first = view.image.value
    view.set(picture=1)
    assert view.image.value != first
    assert view.state.toggles == dataclasses.replace(HTC, semantic_box=False)


def test_truth_is_drawn_only_where_there_is_one(models: dict[str, HybridTaskCascade], tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.effect_noise((150, 90), 60).convert("RGB").save(path)
    view = StageView(models["htc"], [made_sample(3), path, made_sample(4).image], threshold=0.05)
    before = view.image.value
    view.set(truth=True)
    assert view.image.value != before
    for i in (1, 2):
        view.set(picture=i)
        assert view.layers["truth"].disabled
        assert "IoU" not in words(view)
    view.set(picture=0)
    assert not view.layers["truth"].disabled


def test_at_the_proposals_there_are_only_boxes(view: StageView) -> None:
    view.set(stage=PROPOSALS)
    assert view.layers["masks"].disabled
    assert "without class or mask" in words(view)
    view.set(stage=1)
    assert not view.layers["masks"].disabled


def test_nothing_shown_above_the_threshold(view: StageView) -> None:
    view.set(threshold=0.95)
    assert words(view).startswith("Mean of the stages: 0 of")


def test_a_notebook_without_a_kernel_shows_the_picture(view: StageView) -> None:
    bundle = view._repr_mimebundle_()
    assert base64.b64decode(bundle["image/jpeg"]) == view.image.value
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_the_words_agree_with_the_figures() -> None:
    session = StageSession({"htc": model_with()}, [made_sample(3)])
    state = ViewState("htc", HTC, threshold=0.05)
    iou = session.mean_iou(state)
    assert iou is not None
    assert f"{iou:.2f} in this picture" in describe(session, state)
    assert remark(session, state) == ""
    alone = dataclasses.replace(state, toggles=dataclasses.replace(HTC, average_masks=False))
    assert describe(session, alone).startswith("Last stage alone")
    assert "against the model as it was trained" in describe(session, alone)


def test_objects_keep_their_number_when_scores_are_ordered_anew() -> None:
    session = StageSession({"htc": model_with()}, [made_sample(3)])
    state = ViewState("htc", HTC, threshold=0.0)
    numbers = dict(zip(_boxes(session, state), session.numbers(state), strict=True))
    late = dataclasses.replace(state, stage=3)
    final = session.trace(late)
    order = session._chosen(late).tolist()
    for place, number in zip(order, session.numbers(late), strict=True):
        assert numbers[tuple(final.boxes[place].tolist())] == number


def _boxes(session: StageSession, state: ViewState) -> list[tuple[float, ...]]:
    return [tuple(box) for box in session.shown(state).boxes.tolist()]


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(InputError, match="give a model"):
        StageSession({}, [made_sample(3)])
    with pytest.raises(InputError, match="give at least one picture"):
        StageSession({"htc": model_with()}, [])


def test_a_single_picture_is_a_list_of_one(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.new("RGB", (64, 48)).save(path)
    for picture in (made_sample(3), made_sample(3).image, path, str(path)):
        assert len(StageSession({"htc": model_with()}, picture).pictures) == 1
