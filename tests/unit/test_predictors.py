"""What a picture is brought to, by one rule; and the interface that everything predicts through."""

import dataclasses

import pytest
import torch

from htc_lab.config import HTC, PLAIN_CASCADE, Toggles
from htc_lab.config_json import to_dict
from htc_lab.data.transforms import resize_image
from htc_lab.errors import InputError
from htc_lab.predictors import ModelPredictor, Predictor
from tests.unit.tiny import TINY, assert_same, lively, picture, with_toggles

# Higher, wider, smaller and larger than the test size, the test size itself, and one pixel.
SIZES = [(40, 130), (131, 90), (33, 41), (500, 301), (64, 64), (1, 1)]


@pytest.fixture(scope="module")
def model():
    return lively()


@pytest.fixture(scope="module")
def pictures():
    return [picture(i, *size) for i, size in enumerate(SIZES)]


@pytest.mark.parametrize("together", [False, True])
@torch.no_grad()
def test_encode_propose_cascade_is_predict(model, pictures, together):
    groups = [pictures] if together else [[image] for image in pictures]
    for images in groups:
        features = model.encode(images)
        trace = model.cascade(features, model.propose(features))
        found = list(trace.in_pictures(TINY.cascade.mask_threshold))
        assert_same(found, model.predict(images))
        assert features.pictures == trace.pictures == [tuple(image.shape[1:]) for image in images]
        for one, image in zip(found, images, strict=True):
            assert one.masks.shape[1:] == image.shape[1:]
    assert any(len(one) for one in found)


@pytest.mark.parametrize("bf16", [False, True])
@torch.no_grad()
def test_encode_brings_pictures_to_the_test_size_once(model, pictures, bf16):
    fitted = [resize_image(image, TINY.image.short, TINY.image.long)[0] for image in pictures]
    assert [image.shape for image in fitted] != [image.shape for image in pictures]
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        ours, again, plain = model.encode(pictures), model.encode(fitted), model.features_of(fitted)
    sizes = [tuple(image.shape[1:]) for image in fitted]
    assert ours.sizes == again.sizes == plain.sizes == again.pictures == plain.pictures == sizes
    for features in (again, plain):
        assert_same(dataclasses.replace(features, pictures=ours.pictures), ours)


@torch.no_grad()
def test_features_of_takes_pictures_at_the_size_they_have(model):
    features = model.features_of([picture(0, 40, 50)], canvas=(96, 128))
    assert features.sizes == features.pictures == [(40, 50)]
    assert features.levels[0].shape[-2:] == (96 // 4, 128 // 4)


@torch.no_grad()
def test_floats_are_pictures_too(model):
    image = picture(0, 40, 50).float()
    assert len(model.predict([image])[0]) > 0


@pytest.mark.parametrize("toggles", [None, HTC, Toggles(mask_flow=False), Toggles(stages=2)])
@pytest.mark.parametrize("bf16", [False, True])
def test_a_predictor_says_what_its_model_says(model, pictures, toggles, bf16):
    predictor = ModelPredictor(model, toggles, bf16)
    assert isinstance(predictor, Predictor)
    assert predictor.class_names == model.class_names
    assert predictor.stages == (toggles or HTC).stages
    assert predictor.device == torch.device("cpu")
    found = model.predict(pictures, toggles, bf16)
    assert_same(predictor.predict(pictures), found)
    assert_same([one for (one,) in predictor.detect(pictures)], found)
    trace = model.trace(pictures, toggles, bf16=bf16)
    assert trace.toggles == (toggles or HTC)
    stages = [list(trace.in_pictures(TINY.cascade.mask_threshold, t)) for t in range(predictor.stages)]
    wanted = list(zip(found, *stages, strict=True))
    assert_same(list(predictor.detect(pictures, by_stage=True)), wanted)
    assert not torch.equal(stages[0][0].masks, found[0].masks)
    assert_same(predictor.trace(pictures[0]), model.trace(pictures[:1], toggles, bf16=bf16))


@pytest.mark.parametrize("bf16", [False, True])
def test_an_encoded_picture_runs_under_any_setting(model, pictures, bf16):
    model.train()
    encoded = ModelPredictor(model, bf16=bf16).encode(pictures[0])
    for toggles in (HTC, Toggles(mask_flow=False), Toggles(stages=2)):
        for per_stage_view in (True, False):
            whole = model.trace(pictures[:1], toggles, per_stage_view, bf16=bf16)
            assert_same(encoded.trace(toggles, per_stage_view), whole)
    assert model.training
    model.eval()


def test_a_predictor_describes_what_decides_its_detections(model):
    assert ModelPredictor(model).description() == to_dict(TINY)
    others = [ModelPredictor(model, PLAIN_CASCADE), ModelPredictor(model, bf16=True)]
    descriptions = [each.description() for each in others]
    assert descriptions[0]["toggles"] == to_dict(TINY)["toggles"] | {
        "interleaved": False,
        "mask_flow": False,
        "semantic_box": False,
        "semantic_mask": False,
    }
    assert descriptions[1] == to_dict(TINY) | {"precision": "bfloat16"}


def test_a_predictor_whose_weights_cannot_serve_its_toggles_is_refused():
    with pytest.raises(InputError, match=r"Toggles\.mask_flow.*model 'tiny'"):
        ModelPredictor(lively(with_toggles(PLAIN_CASCADE)), HTC)


def test_a_trace_leaves_the_model_in_its_mode(model):
    model.train()
    statistics = model.backbone.bn1.running_mean.clone()
    trace = model.trace([picture(0)])
    assert model.training
    assert torch.equal(model.backbone.bn1.running_mean, statistics)
    model.eval()
    assert_same(model.trace([picture(0)]), trace)
    plain = lively(with_toggles(PLAIN_CASCADE)).train()
    with pytest.raises(InputError, match="mask_flow"):
        plain.trace([picture(0)], HTC)
    assert plain.training
