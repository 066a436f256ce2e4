"""The loop: deterministic, resumable, and it learns."""

import dataclasses
import json

import pytest
import torch

from htc_lab import InputError
from htc_lab.ablation.ladder import train_dataset
from htc_lab.data.semantic import semantic_classes
from htc_lab.model import build_model
from htc_lab.schedule import PartRates
from htc_lab.train.batches import BatchOfStep
from htc_lab.train.loop import TrainOptions, steps_of, train
from htc_lab.train.rates import learning_rate
from tests.training_fixtures import SCHEDULE

QUIET = TrainOptions(progress=False, checkpoint_every=2)


@pytest.fixture(scope="module")
def dataset(data, config):
    return train_dataset(data, semantic_classes(data), config, SCHEDULE)


def weights(model):
    return model.state_dict()


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_same_seed_gives_the_same_run_and_another_another(tmp_path, config, dataset):
    a = train(tmp_path / "a", config, SCHEDULE, dataset, QUIET)
    b = train(tmp_path / "b", config, SCHEDULE, dataset, QUIET)
    c = train(tmp_path / "c", config, SCHEDULE, dataset, dataclasses.replace(QUIET, seed=1))
    assert_equal(weights(a), weights(b))
    assert not torch.equal(weights(a)["rpn_head.rpn_cls.weight"], weights(c)["rpn_head.rpn_cls.weight"])
    assert [line["step"] for line in lines(tmp_path / "a")] == [1, 2, 3, 4, 5, 6]


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path, config, dataset):
    whole = train(tmp_path / "whole", config, SCHEDULE, dataset, QUIET)

    class Stop(Exception):
        pass

    def stop_after_five(step, metrics):
        if step == 5:
            raise Stop

    with pytest.raises(Stop):
        train(tmp_path / "cut", config, SCHEDULE, dataset, QUIET, stop_after_five)
    # A line cut short, as a kill in the middle of writing leaves it.
    with (tmp_path / "cut" / "metrics.jsonl").open("a") as log:
        log.write('{"step": 6, "los')
    resumed = train(tmp_path / "cut", config, SCHEDULE, dataset, QUIET)
    assert_equal(weights(whole), weights(resumed))
    unmeasured = {"seconds"}
    for a, b in zip(lines(tmp_path / "whole"), lines(tmp_path / "cut"), strict=True):
        assert {k: v for k, v in a.items() if k not in unmeasured} == {
            k: v for k, v in b.items() if k not in unmeasured
        }


def test_workers_change_nothing(tmp_path, config, dataset):
    alone = train(tmp_path / "a", config, dataclasses.replace(SCHEDULE, steps=2), dataset, QUIET)
    helped = train(
        tmp_path / "b",
        config,
        dataclasses.replace(SCHEDULE, steps=2),
        dataset,
        dataclasses.replace(QUIET, workers=1),
    )
    assert_equal(weights(alone), weights(helped))


def test_a_finished_run_is_returned(tmp_path, config, dataset):
    first = train(tmp_path / "a", config, SCHEDULE, dataset, QUIET)
    seen = []
    again = train(tmp_path / "a", config, SCHEDULE, dataset, QUIET, lambda step, metrics: seen.append(step))
    assert seen == []
    assert_equal(weights(first), weights(again))


def test_a_folder_with_another_run_is_refused_and_left_alone(tmp_path, config, dataset):
    train(tmp_path / "a", config, dataclasses.replace(SCHEDULE, steps=2), dataset, QUIET)
    before = (tmp_path / "a" / "checkpoint.safetensors").read_bytes()
    with pytest.raises(InputError, match=r"config.json: field 'schedule' differs"):
        train(tmp_path / "a", config, SCHEDULE, dataset, QUIET)
    (tmp_path / "a" / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config.json: not JSON"):
        train(tmp_path / "a", config, SCHEDULE, dataset, QUIET)
    assert (tmp_path / "a" / "checkpoint.safetensors").read_bytes() == before


def test_a_checkpoint_of_a_run_that_cannot_be_told_is_not_gone_on_from(tmp_path, config, dataset):
    train(tmp_path / "a", config, dataclasses.replace(SCHEDULE, steps=2), dataset, QUIET)
    (tmp_path / "a" / "config.json").unlink()
    with pytest.raises(InputError, match=r"config.json: is missing, .* may be of any training"):
        train(tmp_path / "a", config, SCHEDULE, dataset, QUIET)


def test_a_folder_that_is_moved_is_not_begun_anew_and_goes_on_where_it_is(tmp_path, config, dataset):
    def move(step: int, metrics: dict[str, float]) -> None:
        if step == 3:
            (tmp_path / "a").rename(tmp_path / "b")

    whole = train(tmp_path / "whole", config, SCHEDULE, dataset, QUIET)
    with pytest.raises(InputError, match=r"a/config.json: is gone; .* moved or deleted during the training"):
        train(tmp_path / "a", config, SCHEDULE, dataset, QUIET, move)
    assert not (tmp_path / "a").exists()
    assert_equal(weights(whole), weights(train(tmp_path / "b", config, SCHEDULE, dataset, QUIET)))


def test_it_learns_two_pictures(tmp_path, config, dataset):
    schedule = dataclasses.replace(SCHEDULE, steps=40, batch=2, lr=0.02, warmup_steps=5)
    train(tmp_path / "a", config, schedule, dataset, dataclasses.replace(QUIET, checkpoint_every=40))
    losses = [line["loss"] for line in lines(tmp_path / "a")]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_images(tmp_path, config, dataset):
    schedule = dataclasses.replace(SCHEDULE, steps=30, lr=1e30, warmup_steps=0, clip_norm=0.0)
    with pytest.raises(
        InputError, match=r"the loss is (nan|inf) at step \d+ \(image ids [\d, ]+\); start a new run"
    ):
        train(tmp_path / "a", config, schedule, dataset, QUIET)


def test_each_epoch_shows_every_image_once(dataset):
    source = BatchOfStep(dataset, 2, 6, seed=5)
    order = [sample.image_id for step in range(3) for sample in source[step].samples]
    second = [sample.image_id for step in range(3, 6) for sample in source[step].samples]
    assert sorted(order) == sorted(second) == sorted(dataset.image_ids)
    assert order != second


def test_learning_rate_follows_the_schedule():
    schedule = dataclasses.replace(SCHEDULE, steps=None, lr=0.02, lr_batch=16, batch=8, warmup_steps=10)
    rate = [learning_rate(schedule, step, 100) for step in range(100)]
    assert rate[0] == pytest.approx(1e-5)
    assert rate[10] == rate[60] == pytest.approx(0.01)
    assert rate[67] == pytest.approx(0.001)
    assert rate[92] == pytest.approx(0.0001)
    assert rate == sorted(rate[:11]) + sorted(rate[11:], reverse=True)
    assert steps_of(dataclasses.replace(schedule, epochs=3), 33) == 13


def test_data_of_other_classes_are_refused(tmp_path, config, dataset):
    with pytest.raises(InputError, match="categories has 6 entries"):
        train(tmp_path / "a", dataclasses.replace(config, classes=7), SCHEDULE, dataset, QUIET)


@pytest.mark.parametrize("adaptive", [True, False])
def test_a_backbone_may_learn_at_a_rate_of_its_own(tmp_path, config, dataset, adaptive):
    def moved(factor: float) -> dict[str, float]:
        schedule = dataclasses.replace(
            SCHEDULE,
            steps=1,
            warmup_steps=0,
            clip_norm=0.0,
            adaptive=adaptive,
            parts=(PartRates("backbone", lr=factor),),
        )
        before = build_model(config, 0).state_dict()
        after = train(tmp_path / f"{adaptive}_{factor}", config, schedule, dataset, QUIET).named_parameters()
        return {name: float((value.detach() - before[name]).abs().sum()) for name, value in after}

    usual, slower, still = moved(1.0), moved(0.1), moved(0.0)
    for name in usual:
        own = name.startswith("backbone.")
        assert still[name] == pytest.approx(0.0 if own else usual[name]), name
        assert slower[name] == pytest.approx(usual[name] * (0.1 if own else 1.0), rel=2e-2, abs=1e-6), name


def test_a_run_of_an_older_lab_goes_on(tmp_path, config, dataset):
    short = dataclasses.replace(SCHEDULE, steps=2)
    train(tmp_path / "a", config, short, dataset, QUIET)
    path = tmp_path / "a" / "config.json"
    card = json.loads(path.read_text())
    for field in ("parts", "cached_features", "crop"):
        del card["schedule"][field]
    path.write_text(json.dumps(card))
    train(tmp_path / "a", config, short, dataset, QUIET)
    card["schedule"]["lr"] = 0.5
    path.write_text(json.dumps(card))
    with pytest.raises(InputError, match=r"field 'schedule' differs"):
        train(tmp_path / "a", config, short, dataset, QUIET)
