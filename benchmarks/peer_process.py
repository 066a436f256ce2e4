"""A peer in a process of its own: ``python -m benchmarks.peer_process JSON``; see :mod:`benchmarks.peers`.

It imports nothing of the lab, whose memory settings are its own process's affair: the yardstick runs as it
comes. On each line of stdin it does its work once and answers with one line of JSON.
"""

import json
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.figures import gflop_of, peak_gb, seconds_of
from benchmarks.pictures import Objects, objects, picture, proposals_near

# So many proposals go into the second stage, here as in HTC.
_PROPOSALS = 2000


def main() -> None:
    """Build, warm up, say how much work it is, then work when told to."""
    # Libraries that print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(asked["threads"])
    work = {"torchvision": _torchvision, "mmdet": _mmdet}[asked["who"]](asked)
    answers.write(json.dumps({"gflop": gflop_of(work)}) + "\n")
    answers.flush()
    for _ in sys.stdin:
        seconds = seconds_of(work, asked["device"])
        answers.write(json.dumps({"seconds": seconds, "peak_gb": peak_gb(asked["device"])}) + "\n")
        answers.flush()


def _material(asked: dict[str, Any]) -> tuple[list[Tensor], list[Objects]]:
    height, width = asked["height"], asked["width"]
    pictures = [picture(height, width, i) for i in range(asked["batch"])]
    return pictures, [objects(height, width, asked["objects"], seed=i) for i in range(asked["batch"])]


def _torchvision(asked: dict[str, Any]) -> Callable[[], Any]:
    """Mask R-CNN R-50 with random weights, float32: one inference, or forward and backward of a step."""
    from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    torch.manual_seed(0)
    pictures, truths = _material(asked)
    sides = {
        "min_size": min(asked["height"], asked["width"]),
        "max_size": max(asked["height"], asked["width"]),
    }
    pixels = [p.to(asked["device"]).float() / 255 for p in pictures]
    if asked["work"] == "inference":
        model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, box_score_thresh=0.0, **sides)
        return torch.no_grad()(partial(model.to(asked["device"]).eval(), pixels))
    # What maskrcnn_resnet50_fpn builds around a pretrained backbone: norm frozen, three layers trained, as in
    # HTC. Without weights it would train all of it.
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, trainable_layers=3)
    model = MaskRCNN(backbone, 91, **sides).to(asked["device"]).train()
    targets = [
        {
            "boxes": t.boxes.to(asked["device"]),
            "labels": t.labels.to(asked["device"]) + 1,
            "masks": t.masks.to(asked["device"]),
        }
        for t in truths
    ]
    near = [n.to(asked["device"]) for n in _near(asked, truths)]
    select = model.roi_heads.select_training_samples

    def select_training_samples(proposals: list[Tensor], wanted: Any) -> Any:
        return select([torch.cat([n, p])[:_PROPOSALS] for n, p in zip(near, proposals, strict=True)], wanted)

    model.roi_heads.select_training_samples = select_training_samples

    def step() -> None:
        torch.manual_seed(1)
        model.zero_grad(set_to_none=True)
        sum(model(pixels, targets).values()).backward()

    return step


def _near(asked: dict[str, Any], truths: list[Objects]) -> list[Tensor]:
    return [
        proposals_near(t.boxes, asked["height"], asked["width"], asked["on_objects"], seed=i)
        for i, t in enumerate(truths)
    ]


def _mmdet(asked: dict[str, Any]) -> Callable[[], Any]:
    """The reference: its own config of HTC R-50 with random weights, float32."""
    import mmdet
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmdet.utils import register_all_modules
    from mmengine.config import Config
    from mmengine.structures import InstanceData, PixelData

    # It would print a line or two for every weight it initialises.
    logging.disable(logging.INFO)
    register_all_modules()
    torch.manual_seed(0)
    folder = Path(mmdet.__file__).parent / ".mim" / "configs" / "htc"
    config = Config.fromfile(folder / "htc_r50_fpn_1x_coco.py")
    config.model.backbone.init_cfg = None
    model = MODELS.build(config.model)
    model.init_weights()
    model = model.to(asked["device"])
    pictures, truths = _material(asked)
    height, width = asked["height"], asked["width"]
    about = {
        "img_shape": (height, width),
        "ori_shape": (height, width),
        "scale_factor": (1.0, 1.0),
        "img_id": 0,
    }
    samples = []
    for truth in truths:
        sample = DetDataSample(metainfo=about)
        masks = BitmapMasks(truth.masks.numpy(), height, width)
        sample.gt_instances = InstanceData(bboxes=truth.boxes, labels=truth.labels, masks=masks)
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
        sample.gt_sem_seg = PixelData(sem_seg=truth.semantic[None].long())
        samples.append(sample)
    training = asked["work"] != "inference"
    data = {"inputs": [p.flip(0) for p in pictures], "data_samples": samples}
    ready = model.data_preprocessor(data, training)
    if not training:
        return torch.no_grad()(partial(model.eval().predict, ready["inputs"], ready["data_samples"]))
    model.train()
    near = [n.to(asked["device"]) for n in _near(asked, truths)]
    if asked["on_objects"]:
        # As ours: boxes that lie on objects stay there.
        for head in model.roi_head.bbox_head:
            torch.nn.init.zeros_(head.fc_reg.weight)
    propose = model.rpn_head.loss_and_predict

    def loss_and_predict(*args: Any, **kwargs: Any) -> Any:
        losses, found = propose(*args, **kwargs)
        for proposals, extra in zip(found, near, strict=True):
            boxes = torch.cat([extra, proposals.bboxes])[:_PROPOSALS]
            for name in list(proposals.keys()):
                delattr(proposals, name)
            proposals.bboxes = boxes
            proposals.scores = boxes.new_ones(len(boxes))
            proposals.labels = boxes.new_zeros(len(boxes), dtype=torch.long)
        return losses, found

    model.rpn_head.loss_and_predict = loss_and_predict

    def step() -> None:
        torch.manual_seed(1)
        model.zero_grad(set_to_none=True)
        losses = model.loss(ready["inputs"], ready["data_samples"])
        model.parse_losses(losses)[0].backward()

    return step


if __name__ == "__main__":
    main()
