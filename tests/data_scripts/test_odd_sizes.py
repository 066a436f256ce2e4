"""COCO's pictures have any size: the semantic target at 1/8 of 427 x 641."""

import dataclasses

import torch
from torch.nn import functional as F

from tests.unit.tiny import TINY, generator, lively, picture, truth


def test_the_semantic_loss_reads_every_eighth_pixel_of_odd_pictures() -> None:
    config = dataclasses.replace(TINY, semantic=dataclasses.replace(TINY.semantic, level=1))
    model = lively(config)
    sizes = [(427, 641), (333, 500)]
    images = [picture(i, *size) for i, size in enumerate(sizes)]
    targets = [truth(i, 2, *size) for i, size in enumerate(sizes)]
    with torch.no_grad():
        logits = model.features_of(images).semantic_logits
        loss = model.losses(images, targets, generator=generator())["loss_semantic_seg"]
    assert logits is not None
    assert logits.shape[-2:] == (448 // 8, 672 // 8)
    total, count = 0.0, 0
    for i, (height, width) in enumerate(sizes):
        semantic = targets[i].semantic
        assert semantic is not None
        cells = [(y, x) for y in range(0, height, 8) for x in range(0, width, 8) if semantic[y, x] != 255]
        wanted = torch.tensor([int(semantic[y, x]) for y, x in cells])
        said = torch.stack([logits[i, :, y // 8, x // 8] for y, x in cells])
        total += float(F.cross_entropy(said, wanted, reduction="sum"))
        count += len(cells)
    assert abs(float(loss) - config.semantic.loss_weight * total / count) < 1e-4
