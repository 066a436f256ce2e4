import base64
import dataclasses
import html
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import htc_lab
from htc_lab.config import HTC, INTERLEAVED, PLAIN_CASCADE
from htc_lab.course.plugging import flowing_with
from htc_lab.errors import InputError
from htc_lab.evaluate.matching import compare_with_truth
from htc_lab.explorer.bits import bits_of, whole_bits
from htc_lab.explorer.judge import FOUND
from htc_lab.explorer.lookup import side_of
from htc_lab.explorer.pack import make_pack
from htc_lab.explorer.pack_format import read_pack
from htc_lab.explorer.runs import run_models
from htc_lab.explorer.stage_session import LiveState, StageSession
from htc_lab.explorer.stage_view import PROPOSALS, RESULT, StageView
from htc_lab.explorer.state import ExplorerState
from htc_lab.explorer.words import counts
from htc_lab.ideas import IDEAS
from htc_lab.model import HybridTaskCascade, build_model
from htc_lab.predictors import ModelPredictor
from htc_lab.presets import PRESETS
from htc_lab.trace import StageTrace
from tests.plots.made_trace import CLASS_NAMES, made_sample
from tests.unit.tiny import assert_same

BEYOND_THE_PAPER = {idea.field for idea in IDEAS if idea not in HTC.ideas}


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
    return html.unescape(re.sub(r"<[^>]+>", "", view.sentence.value))


def test_a_toggle_changes_the_picture_and_back(view: StageView) -> None:
    first = view.image.value
    assert first[:2] == b"\xff\xd8"
    view.switches["mask_flow"].value = False
    assert view.image.value != first
    assert "Interleaved + Semantic, switched off in HTC. " in words(view)
    assert "switched off in a model trained with it. A model trained without it can do better" in words(view)
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
    assert disabled == {"mask_flow", "semantic_box", "semantic_mask"} | BEYOND_THE_PAPER
    assert "has no weights for it" in view._hints["mask_flow"].value
    assert view.state.toggles == PLAIN_CASCADE
    view.set(model="htc")
    assert {name for name, switch in view.switches.items() if switch.disabled} == BEYOND_THE_PAPER
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
    assert view.state.shown.stage == 2


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
    assert "no class yet, no masks" in words(view)
    assert "mean box IoU of each true object with its nearest" in words(view)
    view.set(stage=1)
    assert not view.layers["masks"].disabled


def test_nothing_shown_above_the_threshold(view: StageView) -> None:
    view.set(threshold=0.95)
    assert words(view).startswith("HTC, trained so. Mean of the stages' masks: 0 of")


def test_a_notebook_without_a_kernel_shows_the_picture(view: StageView) -> None:
    bundle = view._repr_mimebundle_()
    assert base64.b64decode(bundle["image/jpeg"]) == view.image.value
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/plain"].startswith(f"StageView of htc, picture 1: B={bits_of(HTC)}&")


def test_the_words_agree_with_the_figures(view: StageView) -> None:
    side = view.session.side(view.state)
    assert side.mean_iou is not None
    assert f"{side.mean_iou:.2f} in this picture" in words(view)
    assert counts(side) in words(view)
    assert words(view).endswith("A missed object counts 0. ")
    view.switches["average_masks"].value = False
    assert "The last stage's masks alone: " in words(view)
    assert "against the model as it was trained" in words(view)
    view.set(average_masks=True, stages=2)
    assert "HTC, trained so, 2 of its 3 stages. " in words(view)
    assert "switched off" not in words(view)


def test_the_mean_iou_is_that_of_the_objects_found(view: StageView) -> None:
    side, (_, targets) = view.session.side(view.state), view.session.picture("htc", 0)
    assert targets is not None
    comparison = compare_with_truth(side.detections, targets)
    assert side.mean_iou == pytest.approx(comparison.mean(comparison.mask_iou))
    assert side.false == comparison.false
    assert side.missed == list(comparison.missed)


@pytest.mark.parametrize("bits", [bits_of(HTC), whole_bits("0111"), bits_of(INTERLEAVED)])
def test_live_and_packed_are_one_view(bits: str) -> None:
    """Titles, words, objects, verdicts and masks of a stage view are those of the explorer's figure."""
    models = {"htc": htc_lab.load("classroom/htc")}
    opened = read_pack(make_pack(run_models(models, made_sample(3))))
    session, found = StageSession(models, made_sample(3)), 0
    for stage in range(RESULT + 1):
        shown = ExplorerState(bits=bits, stage=stage, threshold=0.05)
        packed, live = side_of(opened, shown, bits), session.side(LiveState("htc", shown=shown))
        assert (live.title, live.stage, live.true) == (packed.title, packed.stage, packed.true)
        assert (live.missed, live.false) == (packed.missed, packed.false)
        assert counts(live) == counts(packed)
        assert len(live.objects) == len(packed.objects) > 0
        for mine, theirs in zip(live.objects, packed.objects, strict=True):
            assert (mine.label, mine.error) == (theirs.label, theirs.error)
            # What is false is numbered as it is met, and a pack has met it under other settings before.
            if stage == RESULT and mine.error == FOUND:
                found += 1
                assert mine.thing == theirs.thing < (packed.true or 0)
            assert mine.score == pytest.approx(theirs.score, abs=1e-5)
            np.testing.assert_allclose(mine.box, theirs.box, atol=1e-2)
            if stage:
                assert mine.mask is not None
                assert theirs.mask is not None
                # The pack's masks are in 8 bits: a pixel may fall on the other side of one half.
                assert (mine.mask != theirs.mask).mean() < 0.01
    assert found > 1


def test_a_session_asks_a_predictor_and_leaves_the_model_as_it_was() -> None:
    model, state = model_with().train(), LiveState("htc")
    for given in (model, ModelPredictor(model), ModelPredictor(model, bf16=True)):
        session = StageSession({"htc": given}, [made_sample(3)])
        fitted, bf16 = session.picture("htc", 0)[0], isinstance(given, ModelPredictor) and given.bf16
        assert_same(session.trace(state), model.trace([fitted], per_stage_view=False, bf16=bf16))
    assert model.training


def test_objects_keep_their_number_at_every_stage() -> None:
    session = StageSession({"htc": model_with()}, [made_sample(3)])
    every = LiveState("htc", shown=ExplorerState(threshold=0.0))
    trace = session.trace(every)
    numbers = {roi: each.thing for roi, each in zip(_keys(trace), session.side(every).objects, strict=True)}
    assert len(set(numbers.values())) == len(numbers)
    for stage in range(RESULT):
        late = session.side(dataclasses.replace(every, shown=dataclasses.replace(every.shown, stage=stage)))
        assert [each.thing for each in late.objects] == list(numbers.values())


def _keys(trace: StageTrace) -> list[tuple[int, int]]:
    return list(zip(trace.detected.tolist(), trace.labels.tolist(), strict=True))


def test_a_student_s_function_is_seen_at_once_and_gone_with_it(view: StageView) -> None:
    view.set(stage=3)
    before = view.image.value
    with flowing_with(lambda x, previous, flow: x if previous is None else 3 * flow(previous)):
        view.update()
        assert view.image.value != before
    view.update()
    assert view.image.value == before


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
