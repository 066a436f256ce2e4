"""From pictures to the network's input: the order of channels, and what lies beside a picture."""

import dataclasses

import pytest
import torch

from htc_lab.config import ImageConfig
from htc_lab.errors import InputError
from htc_lab.padded_batch import padded_batch
from tests.unit.tiny import TINY, lively, picture

CPU = torch.device("cpu")
CAFFE = ImageConfig(mean=(123.675, 116.28, 103.53), std=(1.0, 1.0, 1.0), bgr=True)


def test_a_bgr_network_gets_what_the_reference_gives_it():
    """The reference reads pictures as BGR, and subtracts 103.53, 116.28, 123.675 in that order."""
    image = picture(0, 20, 30)
    as_read_there = image.flip(0).float()
    wanted = as_read_there - torch.tensor([103.53, 116.28, 123.675]).view(3, 1, 1)
    found = padded_batch([image], CAFFE, (0, 0), CPU)
    assert found.shape == (1, 3, 32, 32)
    assert torch.equal(found[0, :, :20, :30], wanted)
    assert float(found[0, :, 20:].abs().max()) == float(found[0, :, :, 30:].abs().max()) == 0


def test_only_the_order_of_channels_changes():
    image = picture(0, 20, 30)
    config = ImageConfig()
    rgb = padded_batch([image], config, (0, 0), CPU)
    bgr = padded_batch([image], dataclasses.replace(config, bgr=True), (0, 0), CPU)
    assert torch.equal(bgr, rgb.flip(1))
    assert bgr.is_contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def test_a_network_whose_first_weights_are_turned_round_sees_the_same():
    """Once and for all: nothing else of the lab knows about the order."""
    rgb = lively()
    bgr = lively(dataclasses.replace(TINY, image=dataclasses.replace(TINY.image, bgr=True)))
    weights = rgb.state_dict()
    weights["backbone.conv1.weight"] = weights["backbone.conv1.weight"].flip(1)
    bgr.load_state_dict(weights)
    one, other = (model.trace([picture(3)]) for model in (rgb, bgr))
    assert len(one.scores) > 0
    torch.testing.assert_close(one.scores, other.scores, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.boxes, other.boxes, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("images", [[], [torch.zeros(1, 4, 4)], [torch.zeros(3, 0, 4)]])
def test_what_is_no_picture_is_refused(images):
    with pytest.raises(InputError, match="encode: "):
        padded_batch(images, CAFFE, (0, 0), CPU)
