"""A model and pictures small enough that a test takes milliseconds, and the comparisons tests share."""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from htc_lab.config import FPNConfig, ImageConfig, ModelConfig, NormConfig, SemanticConfig, Toggles
from htc_lab.model import HybridTaskCascade, build_model
from htc_lab.presets import PRESETS
from htc_lab.structures import RoIs, Targets

_CLASSROOM = PRESETS["classroom"]

# Every width differs from its neighbours, so that a swapped one can't go unnoticed.
TINY = dataclasses.replace(
    _CLASSROOM,
    name="tiny",
    classes=3,
    image=ImageConfig(short=64, long=96, train_short=(64,), train_long=96),
    backbone=dataclasses.replace(
        _CLASSROOM.backbone, width=8, frozen_stages=-1, frozen_norm=False, pretrained=False
    ),
    fpn=FPNConfig(channels=16, levels=4),
    rpn=dataclasses.replace(
        _CLASSROOM.rpn,
        samples=32,
        train_before_nms=100,
        train_after_nms=40,
        test_before_nms=60,
        test_after_nms=12,
    ),
    cascade=dataclasses.replace(
        _CLASSROOM.cascade, fc_channels=24, mask_channels=12, samples=24, max_detections=6
    ),
    semantic=SemanticConfig(classes=5, channels=10, convs=1, level=0, loss_weight=0.2, mean_over_valid=True),
)

# Fresh heads hardly move a box and hardly prefer a class; so much louder, they do.
_LOUDER = {"fc_cls": 20.0, "rpn_cls": 20.0, "rpn_reg": 5.0}


def with_toggles(toggles: Toggles, config: ModelConfig = TINY) -> ModelConfig:
    """The config of a model that has only the parts ``toggles`` ask for."""
    return dataclasses.replace(config, toggles=toggles)


def with_norms(kind: str, config: ModelConfig = TINY) -> ModelConfig:
    """The config with a norm wherever there may be one, and convolutions in the box heads to have it."""
    norm = NormConfig(kind, groups=2)
    return dataclasses.replace(
        config,
        fpn=dataclasses.replace(config.fpn, norm=norm),
        cascade=dataclasses.replace(
            config.cascade, box_convs=2, box_channels=20, fcs=1, box_norm=norm, mask_norm=norm
        ),
        semantic=dataclasses.replace(config.semantic, norm=norm),
    )


def lively(config: ModelConfig = TINY, seed: int = 0, moves: float = 150.0) -> HybridTaskCascade:
    """A fresh model in eval mode whose boxes move (6 px in stage 1, or in proportion) and scores differ."""
    model = build_model(config, seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            for part, factor in (*_LOUDER.items(), ("fc_reg", moves)):
                if part in name and name.endswith("weight"):
                    value.mul_(factor)
    return model.eval()


def picture(seed: int, height: int = 64, width: int = 64) -> Tensor:
    """uint8 RGB (3, height, width), smooth with some noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((1, 3, 5, 5), generator=generator) * 255
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[0]
    noise = torch.randn((3, height, width), generator=generator) * 12
    return (smooth + noise).clamp(0, 255).to(torch.uint8)


def truth(seed: int, objects: int = 3, height: int = 64, width: int = 64) -> Targets:
    """Ellipses in their boxes on a semantic map of tiles whose top rows are ignored."""
    generator = torch.Generator().manual_seed(100 + seed)
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    boxes, masks = torch.zeros(objects, 4), torch.zeros(objects, height, width, dtype=torch.uint8)
    tiles = torch.randint(3, 5, (4, 4), generator=generator, dtype=torch.uint8)
    semantic = tiles.repeat_interleave(-(-height // 4), 0).repeat_interleave(-(-width // 4), 1)
    semantic = semantic[:height, :width].clone()
    labels = torch.randint(0, 3, (objects,), generator=generator)
    for i in range(objects):
        w, h = (14 + 20 * torch.rand(2, generator=generator)).tolist()
        left = float(torch.rand((), generator=generator)) * (width - w)
        top = float(torch.rand((), generator=generator)) * (height - h)
        boxes[i] = torch.tensor([left, top, left + w, top + h])
        inside = ((x - left - w / 2) / (w / 2)) ** 2 + ((y - top - h / 2) / (h / 2)) ** 2 <= 1
        masks[i] = inside
        semantic[inside] = labels[i].to(torch.uint8)
    semantic[: height // 16] = 255
    return Targets(boxes, labels, masks, semantic)


def batch(images: int = 2) -> tuple[list[Tensor], list[Targets]]:
    """Pictures of one size and what is on them."""
    return [picture(i) for i in range(images)], [truth(i) for i in range(images)]


def near_truth(targets: list[Targets]) -> RoIs:
    """RoIs about 1 px off the objects: where boxes move little, enough stay positives in all stages."""
    jitter = generator(9)
    boxes = [t.boxes.repeat(6, 1) for t in targets]
    return RoIs.of([(b + torch.randn(b.shape, generator=jitter)).clamp(0, 64) for b in boxes])


def generator(seed: int = 5) -> torch.Generator:
    """Equal draws for runs that are to be compared."""
    return torch.Generator().manual_seed(seed)


def assert_same(ours: Any, theirs: Any, where: str = "trace") -> None:
    """Bitwise equality of dataclasses, tuples, lists, dicts and tensors; ``toggles`` are what differs."""
    if isinstance(ours, Tensor):
        assert isinstance(theirs, Tensor), where
        assert ours.dtype == theirs.dtype, where
        assert torch.equal(ours, theirs), where
    elif dataclasses.is_dataclass(ours) and not isinstance(ours, Toggles):
        for field in dataclasses.fields(ours):
            assert_same(getattr(ours, field.name), getattr(theirs, field.name), f"{where}.{field.name}")
    elif isinstance(ours, dict):
        assert list(ours) == list(theirs), where
        for name in ours:
            assert_same(ours[name], theirs[name], f"{where}[{name}]")
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs), where
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(a, b, f"{where}[{i}]")
    else:
        assert ours == theirs, where
