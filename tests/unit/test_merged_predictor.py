"""Views and ensembles: against the same sums written out, and against each other where they must agree."""

import dataclasses
import itertools
import runpy

import pytest
import torch
from torchvision.ops import nms

from htc_lab import merged_predictor
from htc_lab.config import HTC, PLAIN_CASCADE, ImageConfig, SoftNMSConfig, Toggles, parse_toggles
from htc_lab.errors import InputError
from htc_lab.layers.boxes import decode_deltas
from htc_lab.looks import Look
from htc_lab.merged_predictor import MergedPredictor, predictor_of
from htc_lab.model import HybridTaskCascade
from htc_lab.predictors import ModelPredictor, Predictor
from htc_lab.same_weights import with_cascade, with_config
from htc_lab.structures import Proposals, RoIs
from htc_lab.views import OWN, View, parse_views
from tests.unit.test_detection import slow_detect
from tests.unit.tiny import TINY, assert_same, lively, picture, with_toggles

# The type checks of the test run would refuse a wrong word before the class itself does: so, without them.
PlainMergedPredictor = runpy.run_path(merged_predictor.__file__)["MergedPredictor"]

VIEWS = (View(), View(flip=True), View((48, 96)))
FLIPPED = (View(), View(flip=True))
MERGES = pytest.mark.parametrize("merge", ["roi", "detections"])

# Another backbone width, picture size, normalisation and number of proposals.
OTHER = dataclasses.replace(
    TINY,
    name="other",
    image=ImageConfig(short=80, long=120, mean=(110.0, 120.0, 130.0), std=(50.0, 60.0, 70.0)),
    backbone=dataclasses.replace(TINY.backbone, width=10),
    rpn=dataclasses.replace(TINY.rpn, test_after_nms=15),
)


@pytest.fixture(scope="module")
def model():
    return lively()


@pytest.fixture(scope="module")
def other():
    return lively(OTHER, seed=1)


def mirrored(boxes, width):
    x1, y1, x2, y2 = boxes.unbind(1)
    return torch.stack([width - x2, y1, width - x1, y2], 1)


class SlowLook:
    """One model on one view, by the model's own ``encode``, ``propose`` and ``cascade``."""

    def __init__(self, model, view, image):
        size = view.size or (model.config.image.short, model.config.image.long)
        sized = dataclasses.replace(model.config.image, short=size[0], long=size[1])
        self.model = with_config(model, dataclasses.replace(model.config, image=sized))
        upright = self.model.encode([image])
        (height, width), (rows, columns) = upright.pictures[0], upright.sizes[0]
        self.scale = torch.tensor([columns / width, rows / height] * 2)
        self.flip, self.width = view.flip, columns
        assert not (view.flip and upright.sizes != upright.pictures), (
            "resized and mirrored may round differently"
        )
        self.features = self.model.encode([image.flip(-1)]) if view.flip else upright
        self.proposals = self.model.propose(self.features)

    def into(self, boxes):
        boxes = boxes * self.scale
        return mirrored(boxes, self.width) if self.flip else boxes

    def back(self, boxes):
        return (mirrored(boxes, self.width) if self.flip else boxes) / self.scale

    def masks(self, boxes, labels):
        head, toggles = self.model.roi_head, self.model.config.toggles
        x = head.mask_features(self.features, RoIs.of([self.into(boxes)]), toggles)
        masks = torch.stack([logits.sigmoid() for logits in head.all_masks(x, labels, toggles)])
        return masks.flip(-1) if self.flip else masks


@torch.no_grad()
def slow(models, views, merge, image):
    """Boxes, scores, labels and mask probabilities by stage, of one image, as the docs describe them."""
    looks = [SlowLook(model, view, image) for model in models for view in views]
    if merge == "roi":
        boxes = torch.cat([look.back(look.proposals.rois.boxes) for look in looks])
        scores = torch.cat([look.proposals.scores for look in looks])
        keep = nms(boxes, scores, TINY.rpn.nms_iou)[
            : max(model.config.rpn.test_after_nms for model in models)
        ]
        union = boxes[keep]
        boxes, scores = [], []
        for look in looks:
            given = Proposals(RoIs.of([look.into(union)]), torch.ones(len(union)))
            trace = look.model.cascade(look.features, given)
            boxes.append(look.back(trace.stages[-1].boxes))
            logits = torch.stack([record.class_logits for record in trace.stages]).mean(0)
            scores.append(logits.softmax(1)[:, :-1])
        boxes, scores = torch.stack(boxes).mean(0), torch.stack(scores).mean(0)
    else:
        traces = [look.model.cascade(look.features, look.proposals) for look in looks]
        boxes = torch.cat([look.back(trace.boxes) for look, trace in zip(looks, traces, strict=True)])
        rows = [torch.zeros(len(trace.scores), TINY.classes) for trace in traces]
        for row, trace in zip(rows, traces, strict=True):
            row[torch.arange(len(row)), trace.labels] = trace.scores
        scores = torch.cat(rows)
    found = slow_detect(boxes.tolist(), scores.tolist(), models[0].config.cascade)
    roi, labels = (torch.tensor(each) for each in zip(*found, strict=True))
    masks = torch.stack([look.masks(boxes[roi], labels) for look in looks]).mean(0)
    return boxes[roi], scores[roi, labels], labels, masks


@MERGES
@pytest.mark.parametrize(("which", "views"), [("one", VIEWS), ("two", OWN), ("two", FLIPPED)])
def test_a_merge_is_what_it_says(model, other, which, views, merge):
    models = [model] if which == "one" else [model, other]
    if which == "two" and views is FLIPPED:
        # SlowLook mirrors no picture that it resizes.
        models = [model, lively(dataclasses.replace(OTHER, image=TINY.image), seed=1)]
    image = picture(3, 64, 64)
    predictor = predictor_of(models, views, merge)
    trace = predictor.trace(image)
    boxes, scores, labels, masks = slow(models, views, merge, image)
    assert len(scores) > 2
    assert torch.equal(trace.labels, labels)
    torch.testing.assert_close(trace.scores, scores)
    torch.testing.assert_close(trace.boxes, boxes, atol=1e-3, rtol=1e-5)
    for record, mask in zip(trace.stages, masks, strict=True):
        torch.testing.assert_close(record.final_mask_logits.sigmoid(), mask, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(trace.mask_probabilities, masks.mean(0), atol=1e-4, rtol=1e-4)
    (found,) = predictor.predict([image])
    torch.testing.assert_close(found.boxes, boxes, atol=1e-3, rtol=1e-5)
    assert not torch.equal(found.boxes, ModelPredictor(model).predict([image])[0].boxes)


@MERGES
def test_a_mirrored_picture_has_mirrored_detections(model, merge):
    """Two views that are each other's mirror image see the same in both pictures."""
    predictor = MergedPredictor((ModelPredictor(model),), FLIPPED, merge)
    image = picture(5, 64, 64)
    (found,), (other,) = predictor.predict([image]), predictor.predict([image.flip(-1)])
    assert len(found) > 2
    torch.testing.assert_close(other.scores, found.scores)
    assert torch.equal(other.labels, found.labels)
    torch.testing.assert_close(mirrored(other.boxes, 64), found.boxes, atol=1e-3, rtol=1e-5)
    differing = (other.masks.flip(-1) != found.masks).float().mean()
    assert float(differing) < 1e-3
    alone, turned = model.predict([image])[0], model.predict([image.flip(-1)])[0]
    assert (alone.scores[:3] - turned.scores[:3]).abs().max() > 1e-4


def test_one_view_is_the_model_at_that_size(model):
    images = [picture(0, 50, 70), picture(1, 64, 64)]
    same = predictor_of([model])
    assert_same(same.predict(images), model.predict(images))
    sized = lively(dataclasses.replace(TINY, image=dataclasses.replace(TINY.image, short=48, long=70)))
    predictor = predictor_of([model], (View((48, 70)),))
    assert isinstance(predictor, ModelPredictor)
    assert_same(predictor.predict(images), sized.predict(images))
    assert_same(predictor.trace(images[0]), sized.trace(images[:1]))
    assert predictor.description()["image"]["short"] == 48
    assert model.config == TINY


def test_joined_with_itself_a_model_finds_what_it_finds_alone(model):
    image = picture(2, 57, 83)
    alone = model.trace([image]).at_picture_size()
    trace = predictor_of([model, model], merge="detections").trace(image)
    assert torch.equal(trace.labels, alone.labels)
    assert torch.equal(trace.scores, alone.scores)
    torch.testing.assert_close(trace.boxes, alone.boxes)
    torch.testing.assert_close(trace.mask_probabilities, alone.mask_probabilities, atol=1e-4, rtol=1e-4)
    for ours, theirs in zip(trace.stages, alone.stages, strict=True):
        for name in ("rois", "boxes"):
            wanted = getattr(theirs, name)[alone.detected]
            torch.testing.assert_close(getattr(ours, name)[trace.detected], wanted)
        probabilities = theirs.class_logits[alone.detected].softmax(1)
        torch.testing.assert_close(ours.class_logits[trace.detected].softmax(1), probabilities)
        torch.testing.assert_close(ours.mask_boxes, theirs.mask_boxes)
        torch.testing.assert_close(
            ours.mask_logits.sigmoid(), theirs.mask_logits.sigmoid(), atol=1e-4, rtol=1e-4
        )


@MERGES
def test_a_trace_and_its_detections_agree(model, other, merge):
    predictor = predictor_of([model, other], FLIPPED, merge)
    image = picture(4, 57, 83)
    trace = predictor.trace(image)
    assert trace.sizes == trace.pictures == [(57, 83)]
    assert len(trace.stages) == predictor.stages == 3
    objectness = trace.proposals.scores
    assert torch.equal(objectness, objectness.sort(descending=True).values)
    torch.testing.assert_close(trace.stages[-1].boxes[trace.detected], trace.boxes)
    for before, after in itertools.pairwise(trace.stages):
        assert torch.equal(before.boxes, after.rois)
    limits = torch.tensor([[83.0, 57.0]]).expand(len(objectness), 2)
    for record, stage in zip(trace.stages, TINY.cascade.stages, strict=True):
        moved = decode_deltas(record.rois, record.deltas, stage.stds, limits)
        solid = (
            torch.stack([each[:, 2:] - each[:, :2] for each in (record.rois, record.boxes)]).amin((0, 2)) > 1
        )
        assert int(solid.sum()) > 5
        torch.testing.assert_close(moved[solid], record.boxes[solid], atol=1e-2, rtol=1e-4)
    ((result, *stages),) = predictor.detect([image], by_stage=True)
    threshold = TINY.cascade.mask_threshold
    assert_same(result, predictor.predict([image])[0])
    assert_same(result, next(trace.in_pictures(threshold)))
    assert_same(stages, [next(trace.in_pictures(threshold, t)) for t in range(3)])
    assert result.masks.shape == (len(result), 57, 83)
    assert not torch.equal(stages[0].masks, stages[2].masks)


def test_each_view_is_encoded_once_by_each_model(model, other, monkeypatch):
    seen = []
    encode = HybridTaskCascade.features_of
    monkeypatch.setattr(
        HybridTaskCascade,
        "features_of",
        lambda self, images: seen.append((self.config.name, images[0].shape[1:])) or encode(self, images),
    )
    predictor_of([model, other], (*FLIPPED, View((48, 96)))).trace(picture(0, 50, 70))
    own = {"tiny": (64, 90), "other": (80, 112)}
    assert seen == [(name, size) for name in own for size in (own[name], own[name], (48, 67))]


@MERGES
def test_toggles_precision_and_settings_reach_every_look(model, other, merge):
    image = picture(1, 64, 64)
    gaussian = SoftNMSConfig("gaussian")
    soft = predictor_of([with_cascade(each, soft_nms=gaussian) for each in (model, other)], merge=merge)
    few = predictor_of([with_cascade(each, max_detections=3) for each in (model, other)], merge=merge)
    assert len(soft.predict([image])[0]) == 6
    assert len(few.predict([image])[0]) == 3
    plain = predictor_of([model, other], FLIPPED, merge, Toggles(mask_flow=False, stages=2))
    assert plain.stages == 2
    assert plain.trace(image).toggles == Toggles(mask_flow=False, stages=2)
    half = predictor_of([model, other], merge=merge, bf16=True)
    whole = predictor_of([model, other], merge=merge)
    close, exact = half.predict([image])[0], whole.predict([image])[0]
    assert abs(float(close.scores[0] - exact.scores[0])) < 0.2
    assert not torch.equal(close.scores[:1], exact.scores[:1])


def test_the_last_stage_alone_where_a_model_does_not_average(model):
    last = Toggles(average_masks=False)
    trace = predictor_of([model], FLIPPED, toggles=last).trace(picture(0))
    torch.testing.assert_close(
        trace.mask_probabilities, trace.stages[-1].final_mask_logits.sigmoid(), atol=1e-5, rtol=1e-4
    )


@MERGES
def test_nothing_found_is_no_detection(model, merge):
    blind = with_cascade(model, score_threshold=1.0)
    predictor = predictor_of([blind], FLIPPED, merge)
    (found,) = predictor.predict([picture(0, 40, 50)])
    assert len(found) == 0
    assert found.masks.shape == (0, 40, 50)
    assert len(predictor.trace(picture(0, 40, 50)).boxes) == 0


def test_it_is_a_predictor_and_says_what_decides(model, other):
    predictor = MergedPredictor(tuple(ModelPredictor(each) for each in (model, other)), FLIPPED, "detections")
    assert isinstance(predictor, Predictor)
    assert predictor.class_names == model.class_names
    assert predictor.device == torch.device("cpu")
    assert predictor.description() == {
        "merge": "detections",
        "views": ["own", "own flip"],
        "models": [ModelPredictor(model).description(), ModelPredictor(other).description()],
    }
    assert predictor_of([model, other]).description()["merge"] == "roi"


def test_a_look_is_the_models_own(model):
    with torch.no_grad():
        look = Look.at(picture(0, 50, 70), View(), ModelPredictor(model))
        assert_same(look.features.levels, model.encode([picture(0, 50, 70)]).levels)


def _refusal(*members, views=OWN, merge="roi"):
    with pytest.raises(InputError) as error:
        MergedPredictor(members, views, merge)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_what_cannot_be_merged_is_refused(model):
    one = ModelPredictor(model)
    said = "merge 'roi': needs several views or several models; give more (such as --views own flip"
    assert _refusal(one).startswith(said)
    with pytest.raises(InputError, match="merge 'detections': needs several views"):
        predictor_of([model], merge="detections")
    with pytest.raises(InputError, match="merge 'roi': needs several views"):
        predictor_of([model], (View(flip=True),))
    with pytest.raises(InputError, match="merge 'mean': is not known; give roi or detections"):
        PlainMergedPredictor((one, one), OWN, "mean")

    strange = lively(TINY)
    strange.class_names = ("class 0", "class 1", "cat")
    said = _refusal(one, ModelPredictor(strange))
    assert said.startswith("models[1] 'tiny' and models[0] 'tiny': have other classes (not in both: cat, ")
    strange.class_names = ("class 1", "class 0", "class 2")
    assert "(in another order)" in _refusal(one, ModelPredictor(strange))

    two = Toggles(mask_flow=False, stages=2)
    said = _refusal(one, ModelPredictor(model, two))
    assert "run 2 and 3 stages; give both the same toggles, such as --toggles" in said
    words = said.split("--toggles ")[1]
    assert ModelPredictor(model, two).running == parse_toggles(words)

    for field, value, fix in (
        ("score_threshold", 0.05, "--score-threshold"),
        ("max_detections", 9, "--max-detections"),
        ("soft_nms", SoftNMSConfig(), "--soft-nms"),
        ("nms_iou", 0.4, "with_cascade"),
        ("mask_threshold", 0.4, "with_cascade"),
    ):
        said = _refusal(one, ModelPredictor(with_cascade(model, **{field: value})))
        assert f"cascade.{field} is {value} and" in said
        assert fix in said
    cascade = dataclasses.replace(TINY.cascade, box_size=3, mask_size=6)
    small = lively(dataclasses.replace(TINY, cascade=cascade))
    assert "cascade.mask_size is 6 and 14; masks on different grids" in _refusal(one, ModelPredictor(small))
    with pytest.raises(InputError, match=r"Toggles\.mask_flow"):
        predictor_of([model, lively(with_toggles(PLAIN_CASCADE))], toggles=HTC)
    with pytest.raises(InputError, match="the list of images is empty"):
        predictor_of([model], FLIPPED).predict([])
    with pytest.raises(InputError, match="image 0 has shape"):
        predictor_of([model], parse_views(["flip"])).trace(torch.zeros(1, 4, 4))
