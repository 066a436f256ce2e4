"""Changes of colours in training: HSV and back, each change against its formula, and where they happen."""

import colorsys
import dataclasses

import pytest
import torch

from htc_lab.data.colours import changed_colours, from_hsv, to_hsv
from htc_lab.data.image_config import ColourConfig
from htc_lab.data.transforms import TrainTransform
from tests.data.test_transforms import generator, make_sample

NOTHING = ColourConfig(brightness=0.0, contrast=(1.0, 1.0), saturation=(1.0, 1.0), hue=0.0)


def picture() -> torch.Tensor:
    return torch.randint(0, 256, (3, 7, 9), generator=generator(3)).float()


def test_hsv_is_that_of_the_standard_library() -> None:
    image = picture()
    image[:, 0, 0] = 0
    image[:, 0, 1] = 200
    hue, saturation, value = to_hsv(image)
    for y in range(7):
        for x in range(9):
            h, s, v = colorsys.rgb_to_hsv(*(image[:, y, x] / 255).tolist())
            assert (float(hue[y, x]), float(saturation[y, x]), float(value[y, x])) == pytest.approx(
                (h * 360, s, v * 255), abs=1e-3
            )
    assert torch.allclose(from_hsv(hue, saturation, value), image, atol=1e-3)


def outcomes(config: ColourConfig, image: torch.Tensor) -> list[torch.Tensor]:
    return [changed_colours(image, config, generator(seed)) for seed in range(200)]


def test_nothing_but_the_order_of_channels_changes_where_no_range_is_given() -> None:
    image = picture()
    orders = set()
    for out in outcomes(NOTHING, image):
        matches = [[k for k in range(3) if torch.allclose(out[c], image[k], atol=1e-3)] for c in range(3)]
        orders.add(tuple(match[0] for match in matches))
    assert len(orders) == 6


def test_each_change_reaches_its_limits_and_not_beyond() -> None:
    grey = torch.full((3, 2, 2), 100.0)
    added = [float(out.mean()) - 100 for out in outcomes(dataclasses.replace(NOTHING, brightness=32.0), grey)]
    assert -32 <= min(added) < -25
    assert 25 < max(added) <= 32
    assert sum(abs(change) < 1e-3 for change in added) > 60
    factors = [
        float(out.mean()) / 100 for out in outcomes(dataclasses.replace(NOTHING, contrast=(0.5, 1.5)), grey)
    ]
    assert 0.5 <= min(factors) < 0.6
    assert 1.4 < max(factors) <= 1.5
    red = torch.tensor([200.0, 100.0, 100.0]).view(3, 1, 1).expand(3, 2, 2)
    for out in outcomes(dataclasses.replace(NOTHING, saturation=(0.5, 3.0)), red):
        _, saturation, value = to_hsv(out)
        assert float(value.max()) == pytest.approx(200, abs=1e-3)
        assert 0.25 - 1e-3 <= float(saturation.max()) <= 1 + 1e-3
    for out in outcomes(dataclasses.replace(NOTHING, hue=18.0), red):
        hue = float(to_hsv(out)[0].max())
        # Exchanged channels are other hues: sixths of the circle apart, or mirrored.
        assert min(hue % 60, 60 - hue % 60) <= 18 + 1e-2


def test_a_training_changes_the_picture_alone() -> None:
    before = make_sample(20, 30, 3, 1)
    plain = TrainTransform((20,), 60, 0.5)
    coloured = TrainTransform((20,), 60, 0.5, colour=ColourConfig())
    for seed in range(8):
        one, other = plain(before, generator(seed)), coloured(before, generator(seed))
        assert one.image.dtype == torch.uint8
        assert other.image.dtype == torch.float32
        assert torch.equal(one.targets.masks, other.targets.masks)
        assert torch.equal(one.targets.boxes, other.targets.boxes)
    assert not torch.equal(one.image.float(), other.image)
