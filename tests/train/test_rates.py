"""Learning rates: warm-ups and curves against their formulas, and factors of parts of the model."""

import dataclasses
import math

import pytest
import torch

from htc_lab.config_json import schedule_from_dict, to_dict
from htc_lab.errors import InputError
from htc_lab.layers.deformable import DeformConv
from htc_lab.schedule import PartRates, Schedule
from htc_lab.train.optimizer import optimizer_of
from htc_lab.train.rates import learning_rate, parameter_groups

FLAT = Schedule(lr=1.0, lr_batch=16, batch=16, warmup_steps=0, decay_at=())


def _rates(schedule, steps, *at):
    return [learning_rate(schedule, step, steps) for step in at]


def test_a_cosine_falls_from_the_rate_to_its_end():
    cosine = dataclasses.replace(FLAT, curve="cosine", curve_end=0.1)
    assert _rates(cosine, 100, 0, 50) == pytest.approx([1.0, 0.55])
    assert _rates(cosine, 100, 25) == pytest.approx([0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2])
    late = dataclasses.replace(cosine, curve_from=0.5, curve_to=0.75)
    assert _rates(late, 100, 0, 50, 75, 99) == pytest.approx([1.0, 1.0, 0.1, 0.1])


def test_a_training_may_end_on_the_way_down():
    cosine = dataclasses.replace(FLAT, curve="cosine", curve_to=2.0)
    assert _rates(cosine, 100, 50) == pytest.approx([(1 + math.cos(math.pi / 4)) / 2])


def test_a_polynomial_falls_to_its_end():
    line = dataclasses.replace(FLAT, curve="polynomial", curve_end=0.2)
    assert _rates(line, 10, 0, 5) == pytest.approx([1.0, 0.6])
    assert _rates(dataclasses.replace(line, power=2.0), 10, 5) == pytest.approx([0.4])


def test_a_curve_may_move_once_an_epoch():
    """Twelve epochs of ten steps: the rate is the same through an epoch."""
    cosine = dataclasses.replace(FLAT, curve="cosine", curve_levels=12)
    rates = _rates(cosine, 120, *range(120))
    wanted = [(1 + math.cos(math.pi * (step // 10) / 12)) / 2 for step in range(120)]
    assert rates == pytest.approx(wanted)


def test_warm_ups():
    warm = dataclasses.replace(FLAT, warmup_steps=10, warmup_from=0.01)
    assert _rates(warm, 100, 0, 5, 10) == pytest.approx([0.01, 0.505, 1.0])
    assert _rates(dataclasses.replace(warm, warmup="constant"), 100, 0, 9, 10) == [0.01, 0.01, 1.0]
    assert _rates(dataclasses.replace(warm, warmup="exponential"), 100, 0, 5, 10) == pytest.approx(
        [0.01, 0.1, 1.0]
    )


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.ModuleDict(
            {
                "conv1": torch.nn.Conv2d(3, 4, 1),
                "bn1": torch.nn.BatchNorm2d(4),
                "layer1": torch.nn.Conv2d(4, 4, 3),
                "conv2": DeformConv(torch.nn.Conv2d(4, 4, 3), 1),
            }
        )
        self.head = torch.nn.Linear(4, 2)


def _factors(schedule):
    """By name: of the learning rate, and of the weight decay."""
    model = Small()
    weights = dict(model.named_parameters())
    names = {id(weight): name for name, weight in weights.items()}
    groups = parameter_groups(model, weights, schedule)
    assert sum(len(group["params"]) for group in groups) == len(weights)
    return {
        names[id(weight)]: (group["lr_factor"], round(group["weight_decay"] / schedule.weight_decay, 9))
        for group in groups
        for weight in group["params"]
    }


def test_without_factors_all_weights_are_one_group():
    model = Small()
    weights = dict(model.named_parameters())
    (group,) = parameter_groups(model, weights, Schedule())
    assert [id(weight) for weight in group["params"]] == [id(weight) for weight in weights.values()]
    assert (group["lr_factor"], group["weight_decay"]) == (1.0, 1e-4)


def test_norms_and_biases_have_factors_of_their_own():
    found = _factors(Schedule(norm_decay=0.0, bias_lr=2.0, bias_decay=0.5))
    assert found["backbone.bn1.weight"] == found["backbone.bn1.bias"] == (1.0, 0.0)
    assert found["backbone.conv1.bias"] == found["head.bias"] == (2.0, 0.5)
    # The offsets of a deformable convolution are no bias in this sense.
    assert found["backbone.conv2.conv_offset.bias"] == found["head.weight"] == (1.0, 1.0)


def test_the_longest_text_in_a_name_decides_and_nothing_else_counts():
    parts = (PartRates("backbone", 0.1, 0.5), PartRates("backbone.layer1", 0.3), PartRates("absent", 9.0))
    found = _factors(Schedule(parts=parts, norm_decay=0.0, bias_lr=2.0))
    assert found["backbone.conv1.bias"] == found["backbone.bn1.weight"] == (0.1, 0.5)
    assert found["backbone.layer1.weight"] == (0.3, 1.0)
    assert found["head.bias"] == (2.0, 1.0)


@pytest.mark.parametrize("adaptive", [False, True])
def test_an_optimiser_takes_the_groups(adaptive):
    model = Small()
    schedule = Schedule(adaptive=adaptive, parts=(PartRates("head", 0.0, 0.0),), lr=0.1)
    optimizer = optimizer_of(model, dict(model.named_parameters()), schedule)
    for group in optimizer.param_groups:
        group["lr"] = schedule.lr * group["lr_factor"]
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer.step()
    moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == {name for name in dict(model.named_parameters()) if not name.startswith("head")}


def test_a_schedule_is_kept_as_json():
    schedule = Schedule(
        curve="cosine",
        warmup="exponential",
        parts=(PartRates("backbone", 0.1),),
        curve_levels=12,
        bias_lr=2.0,
    )
    assert schedule_from_dict(to_dict(schedule)) == schedule
    old = to_dict(Schedule())
    for name in ("warmup", "curve", "curve_from", "curve_to", "curve_end", "power", "curve_levels", "parts"):
        del old[name]
    assert schedule_from_dict(old) == Schedule()
    with pytest.raises(
        InputError, match=r"curve: 'sine' is not 'steps', 'cosine' or 'polynomial'; correct it"
    ):
        schedule_from_dict(to_dict(Schedule()) | {"curve": "sine"})
