"""Training from cached features: the same numbers as without the cache, and a cache that can be trusted."""

import dataclasses
import json
import pickle
import shutil

import pytest
import torch
from safetensors import safe_open

from htc_lab import InputError
from htc_lab.ablation.ladder import train_dataset
from htc_lab.cli import main
from htc_lab.data.layout import find_data
from htc_lab.data.semantic import semantic_classes
from htc_lab.data.transforms import mirrored_image
from htc_lab.layers.timm_backbone import STRIDES
from htc_lab.model import build_model
from htc_lab.padded_batch import padded_batch, padded_maps
from htc_lab.train import loop
from htc_lab.train.batches import BatchOfStep, seeded
from htc_lab.train.feature_crops import FeatureCrops
from htc_lab.train.feature_file import FeatureFile, features_of, part_of
from htc_lab.train.loop import TrainOptions, train
from htc_lab.train.stopped_batch import read_batch
from htc_lab.train.whole_maps import whole_maps
from tests.train.test_train import assert_equal, lines, weights
from tests.training_fixtures import SCHEDULE
from tests.unit.tiny import assert_same, generator, picture, truth

QUIET = TrainOptions(progress=False, checkpoint_every=2)
CROPS = dataclasses.replace(SCHEDULE, cached_features=True, crop=32)


@pytest.fixture(scope="module")
def frozen(config):
    """The tiny model with a backbone that isn't trained."""
    backbone = dataclasses.replace(config.backbone, frozen_stages=4, frozen_norm=True)
    return dataclasses.replace(config, backbone=backbone)


@pytest.fixture(scope="module")
def dataset(data, config):
    return train_dataset(data, semantic_classes(data), config, SCHEDULE)


class Computed:
    """The maps of a picture, computed when they are asked for."""

    def __init__(self, model, dataset):
        self.model, self.dataset = model, dataset

    def window(self, index, mirrored, window):
        maps = whole_maps(self.model, self.dataset.read_picture(index), mirrored)
        return [part_of(whole, level, window).clone() for level, whole in enumerate(maps)]


@pytest.mark.parametrize("crop", [0, 32])
def test_the_cache_changes_no_number(tmp_path, frozen, dataset, monkeypatch, crop):
    schedule = dataclasses.replace(CROPS, crop=crop)
    cached = train(tmp_path / "a" / "run", frozen, schedule, dataset, QUIET)
    assert len(list((tmp_path / "a" / "features").glob("*.safetensors"))) == 1
    monkeypatch.setattr(loop, "features_of", lambda model, data, *_: Computed(model, data))
    assert_equal(weights(cached), weights(train(tmp_path / "b" / "run", frozen, schedule, dataset, QUIET)))
    assert not (tmp_path / "b" / "features").exists()


def test_the_frozen_backbone_stays_and_the_rest_learns(tmp_path, frozen, dataset):
    model = train(tmp_path / "run", frozen, CROPS, dataset, QUIET)
    fresh = build_model(frozen, QUIET.seed).state_dict()
    for name, value in model.state_dict().items():
        if name.startswith("backbone."):
            assert torch.equal(value, fresh[name]), name
    assert not torch.equal(model.neck.lateral_convs[0].conv.weight, fresh["neck.lateral_convs.0.conv.weight"])
    card = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (card["schedule"]["cached_features"], card["schedule"]["crop"]) == (True, 32)


@pytest.mark.parametrize("keep_features", [True, False])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path, frozen, dataset, keep_features):
    whole = train(tmp_path / "whole", frozen, CROPS, dataset, QUIET)

    class Stop(Exception):
        pass

    def stop_after_three(step, metrics):
        if step == 3:
            raise Stop

    with pytest.raises(Stop):
        train(tmp_path / "cut", frozen, CROPS, dataset, QUIET, stop_after_three)
    if not keep_features:
        shutil.rmtree(tmp_path / "features")
    again = train(tmp_path / "cut", frozen, CROPS, dataset, QUIET)
    assert_equal(weights(again), weights(whole))
    assert [line["loss"] for line in lines(tmp_path / "cut")] == [
        line["loss"] for line in lines(tmp_path / "whole")
    ]


def test_workers_change_nothing(tmp_path, frozen, dataset):
    alone = train(tmp_path / "alone", frozen, CROPS, dataset, QUIET)
    helped = train(tmp_path / "helped", frozen, CROPS, dataset, dataclasses.replace(QUIET, workers=1))
    assert_equal(weights(alone), weights(helped))


def test_losses_of_maps_are_those_of_their_pictures(frozen):
    model = build_model(frozen, seed=0).train()
    images, targets = [picture(0, 64, 96), picture(1, 60, 70)], [truth(0, 3, 64, 96), truth(1, 2, 60, 70)]
    sizes = [(64, 96), (60, 70)]
    with torch.no_grad():
        maps = model.backbone(padded_batch(images, frozen.image, (0, 0), model.device))
    wanted = model.losses(images, targets, generator=generator())
    found = model.losses_of_maps(maps, sizes, targets, generator=generator())
    assert_same(dict(found), dict(wanted))
    assert found.counts == wanted.counts


def test_maps_of_several_sizes_are_padded_with_zeros():
    sizes = [(64, 96), (32, 128)]
    maps = [[torch.rand(h // s, w // s, 3 + s).half() for s in STRIDES] for h, w in sizes]
    batch = padded_maps(maps, (70, 100), torch.device("cpu"))
    assert [tuple(x.shape) for x in batch] == [(2, 3 + s, 96 // s, 128 // s) for s in STRIDES]
    for level, x in enumerate(batch):
        assert x.dtype == torch.float32
        for i, own in enumerate(maps):
            h, w, _ = own[level].shape
            assert torch.equal(x[i, :, :h, :w].permute(1, 2, 0), own[level].float())
            assert not x[i, :, h:].any()
            assert not x[i, :, :, w:].any()


def crops_of(frozen, dataset, folder, crop=32):
    model = build_model(frozen, seed=0)
    return model, FeatureCrops(dataset, features_of(model, dataset, folder, False), frozen.image, crop)


def test_a_crop_is_a_part_of_the_whole_picture(tmp_path, frozen, dataset):
    model, crops = crops_of(frozen, dataset, tmp_path)
    _, wholes = crops_of(frozen, dataset, tmp_path, crop=0)
    seen = set()
    for k in range(20):
        sample = crops.get(k % len(crops), seeded(0, k))
        top, left, height, width = sample.window
        assert (height, width) == sample.size == (32, 32)
        assert top % 32 == left % 32 == 0
        seen.add((top, left, sample.mirrored))
        pixels = dataset.read_picture(k % len(crops))
        pixels = mirrored_image(pixels) if sample.mirrored else pixels
        assert torch.equal(sample.with_pixels().image, pixels[:, top : top + 32, left : left + 32])
        maps = whole_maps(model, dataset.read_picture(k % len(crops)), sample.mirrored)
        for x, whole, stride in zip(sample.maps, maps, STRIDES, strict=True):
            y0, x0, side = top // stride, left // stride, 32 // stride
            assert torch.equal(x, whole[y0 : y0 + side, x0 : x0 + side])
        assert sample.targets.masks.shape[1:] == (32, 32)
        assert_same(sample, crops.get(k % len(crops), seeded(0, k)))
        whole = wholes.get(k % len(crops), seeded(0, k))
        assert (whole.mirrored, whole.size) == (sample.mirrored, (64, 64))
    assert len(seen) == 8


@pytest.mark.parametrize(("side", "crop", "places"), [(100, 64, {0: 64, 32: 64, 64: 36}), (50, 64, {0: 50})])
def test_a_square_may_reach_to_the_end_of_the_padding(side, crop, places):
    crops = FeatureCrops.__new__(FeatureCrops)
    crops.crop = crop
    assert dict(crops._side(side, seeded(k)) for k in range(40)) == places


def test_the_file_is_made_once_and_again_where_it_is_spoilt_or_of_something_else(
    tmp_path, frozen, dataset, capsys
):
    model = build_model(frozen, seed=0)
    made = features_of(model, dataset, tmp_path, False).path
    first, written = made.read_bytes(), made.stat().st_mtime_ns
    assert features_of(model, dataset, tmp_path, False).path.stat().st_mtime_ns == written
    for spoilt in (first[:-9], b"", first[:20], b"\0" * 64):
        made.write_bytes(spoilt)
        with pytest.raises(InputError, match=r"no whole file of features \(.*\); delete it"):
            FeatureFile(made)
        capsys.readouterr()
        assert features_of(model, dataset, tmp_path, False).path.read_bytes() == first
        assert "it is written again" in capsys.readouterr().err
    other = build_model(frozen, seed=1)
    assert features_of(other, dataset, tmp_path, False).path != made
    image = dataclasses.replace(frozen.image, train_short=(96,))
    larger = build_model(dataclasses.replace(frozen, image=image), seed=0)
    assert features_of(larger, dataset, tmp_path, False).path != made
    assert made.read_bytes() == first


def test_the_file_is_a_safetensors_file(tmp_path, frozen, dataset):
    model = build_model(frozen, seed=0)
    file = features_of(model, dataset, tmp_path, False)
    with safe_open(file.path, framework="pt") as tensors:
        assert tensors.get_tensor("read").tolist() == [1] * len(dataset)
        for level, x in enumerate(whole_maps(model, dataset.read_picture(2), True)):
            assert torch.equal(tensors.get_tensor(f"2.mirrored.c{level + 2}"), x)
    again = pickle.loads(pickle.dumps(file))
    assert_same(again.window(1, False, (0, 32, 64, 32)), file.window(1, False, (0, 32, 64, 32)))
    assert len(pickle.dumps(file)) < file.path.stat().st_size / 10


def test_another_picture_under_the_same_name_is_noticed(tmp_path, scenes, frozen):
    root = shutil.copytree(scenes, tmp_path / "scenes")
    data = find_data(root)
    dataset = train_dataset(data, semantic_classes(data), frozen, SCHEDULE)
    model = build_model(frozen, seed=0)
    made = features_of(model, dataset, tmp_path / "features", False).path
    one, other = (data.train.images / row["file_name"] for row in dataset.images[:2])
    shutil.copyfile(other, one)
    assert features_of(model, dataset, tmp_path / "features", False).path != made


def test_a_picture_that_cannot_be_read_is_skipped_and_named(tmp_path, scenes, frozen):
    root = shutil.copytree(scenes, tmp_path / "scenes")
    data = find_data(root)
    dataset = train_dataset(data, semantic_classes(data), frozen, SCHEDULE)
    (data.train.images / dataset.images[0]["file_name"]).write_bytes(b"torn")
    train(tmp_path / "runs" / "run", frozen, CROPS, dataset, QUIET)
    (line,) = [json.loads(text) for text in (tmp_path / "runs/run/skipped.jsonl").read_text().splitlines()]
    assert line["image_id"] == dataset.images[0]["id"]
    assert "could not be read" in line["why"]


def test_a_disk_without_room(tmp_path, frozen, dataset, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1000))
    with pytest.raises(InputError, match=r"features take .* MB, but 0 MB are free; free some"):
        features_of(build_model(frozen, seed=0), dataset, tmp_path, False)
    assert not list(tmp_path.glob("*.safetensors"))


def test_values_too_large_for_16_bits(frozen):
    model = build_model(frozen, seed=0)
    with torch.no_grad():
        model.backbone.bn1.weight.fill_(1e9)
    with pytest.raises(InputError, match=r"values that 16 bits can't hold; train without"):
        whole_maps(model, picture(0), False)


@pytest.mark.parametrize(
    ("schedule", "changed", "message"),
    [
        ({"crop": 64}, {}, r"schedule\.crop: is 64, but crops are taken of cached features only; set"),
        ({"cached_features": True, "crop": 48}, {}, r"schedule\.crop: is 48; it must be a multiple of 32 px"),
        (
            {"cached_features": True},
            {"train_short": (64, 80)},
            r"image\.train_short: is \[64, 80\], but cached",
        ),
        (
            {"cached_features": True},
            {"flip_vertical": 0.5},
            r"image\.flip_vertical: cached features are of .*leave it at 0\.0, or train without",
        ),
        ({"cached_features": True}, {"pad": 48}, r"image\.pad: is 48; for cached features give a multiple"),
    ],
)
def test_settings_that_do_not_go_together(tmp_path, frozen, dataset, schedule, changed, message):
    config = dataclasses.replace(frozen, image=dataclasses.replace(frozen.image, **changed))
    with pytest.raises(InputError, match=message):
        train(tmp_path / "run", config, dataclasses.replace(SCHEDULE, **schedule), dataset, QUIET)


def test_a_backbone_that_is_trained_is_refused(tmp_path, config, dataset):
    with pytest.raises(InputError, match=r"backbone must be frozen .*frozen_stages is -1; freeze all of it"):
        train(tmp_path / "run", config, CROPS, dataset, QUIET)


def test_a_batch_that_stops_the_training_is_kept_as_pixels(tmp_path, frozen, dataset):
    wild = dataclasses.replace(CROPS, lr=1e30, clip_norm=0.0, warmup_steps=0, steps=40)
    with pytest.raises(InputError, match=r"stopped_at_step_\d+\.safetensors"):
        train(tmp_path / "run", frozen, wild, dataset, QUIET)
    (kept,) = (tmp_path / "run").glob("stopped_at_step_*.safetensors")
    batch = read_batch(kept)
    source = BatchOfStep(
        crops_of(frozen, dataset, tmp_path / "features")[1], 2, 40, 0, alike=wild.group_by_shape
    )
    for found, sample in zip(batch.samples, source[batch.step - 1].samples, strict=True):
        assert torch.equal(found.image, sample.with_pixels().image)
        assert torch.equal(found.targets.masks, sample.targets.masks)
        assert found.image.shape[1:] == (32, 32)
        assert found.image_id == sample.image_id


def test_the_command_freezes_the_backbone_of_any_preset(tmp_path, scenes, capsys):
    given = ["--data", str(scenes), "--run", str(tmp_path / "run"), "--steps", "1", "--batch", "1"]
    kept = ["--cache-features", "--crop", "96", "--features", str(tmp_path / "kept")]
    main(["train", *given, *kept])
    assert "training from cached features of the frozen backbone" in capsys.readouterr().out
    card = json.loads((tmp_path / "run" / "config.json").read_text())
    assert card["model"]["backbone"]["frozen_stages"] == 4
    assert card["schedule"]["cached_features"] is True
    assert card["schedule"]["crop"] == 96
    assert len(list((tmp_path / "kept").glob("*.safetensors"))) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--crop", "64"], "error: schedule.crop: is 64, but crops are taken of cached features only; set"),
        (["--cache-features", "--crop", "50"], "error: schedule.crop: is 50; it must be a multiple of 32 px"),
        (["--crop", "-1"], "error: --crop -1: "),
    ],
)
def test_flags_that_make_no_sense(tmp_path, scenes, capsys, given, message):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--data", str(scenes), "--run", str(tmp_path / "run"), *given])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
