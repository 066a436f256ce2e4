"""A model as mmdet 1 laid it out, in the layout of mmdet 2 and 3.

There the heads of the stages stood in the model itself, anchors and box coding in the heads, and the
background was a class that was counted (81 for COCO).
"""

from typing import Any

from htc_lab.errors import InputError

_HEADS = {"HybridTaskCascade": "HybridTaskCascadeRoIHead", "CascadeRCNN": "CascadeRoIHead"}
_OF_HEAD = (
    "num_stages",
    "interleaved",
    "mask_info_flow",
    "semantic_fusion",
    "bbox_roi_extractor",
    "bbox_head",
    "mask_roi_extractor",
    "mask_head",
    "semantic_roi_extractor",
    "semantic_head",
    "shared_head",
)
_HEAD = "model.roi_head"


def from_first(model: dict[str, Any], where: str, written: dict[str, str]) -> None:
    """Change ``model`` to the newer layout; ``written`` gets each path that moved, and where it was.

    Raises:
        InputError: a count of classes is no number.
    """
    head: dict[str, Any] = {"type": _HEADS.get(str(model.get("type")), "a RoI head")}
    for name in _OF_HEAD:
        if name in model:
            head[name] = model.pop(name)
            written[f"{_HEAD}.{name}"] = f"model.{name}"
    training = model.get("train_cfg")
    if isinstance(training, dict) and "stage_loss_weights" in training:
        head["stage_loss_weights"] = training.pop("stage_loss_weights")
        at = written.get("model.train_cfg", "model.train_cfg")
        written[f"{_HEAD}.stage_loss_weights"] = f"{at}.stage_loss_weights"
    if isinstance(test := model.get("test_cfg"), dict) and test.get("keep_all_stages") is False:
        del test["keep_all_stages"]
    model["roi_head"] = head
    _rpn(model.get("rpn_head"))
    for name in ("bbox_head", "mask_head"):
        heads = head.get(name)
        for one in heads if isinstance(heads, list | tuple) else [heads]:
            if isinstance(one, dict):
                _without_background(one, f"{where}: model.{name}")
                _box_coder(one)
                if one.get("type") == "SharedFCBBoxHead" and one.pop("num_fcs", 2) == 2:
                    one["type"] = "Shared2FCBBoxHead"


def _without_background(head: dict[str, Any], where: str) -> None:
    classes = head.get("num_classes", 81)
    if type(classes) is not int:
        raise InputError(f"{where}.num_classes must be a whole number; correct it")
    head["num_classes"] = classes - 1


def _box_coder(head: dict[str, Any]) -> None:
    coder: dict[str, Any] = {name: head.pop(name) for name in ("target_means", "target_stds") if name in head}
    if coder:
        head.setdefault("bbox_coder", {"type": "DeltaXYWHBBoxCoder", **coder})


def _rpn(head: Any) -> None:
    if not isinstance(head, dict):
        return
    _box_coder(head)
    names = {
        "anchor_scales": "scales",
        "anchor_ratios": "ratios",
        "anchor_strides": "strides",
        "anchor_base_sizes": "base_sizes",
    }
    anchors = {new: head.pop(old) for old, new in names.items() if old in head}
    if anchors:
        usual = {"scales": [8, 16, 32], "ratios": [0.5, 1.0, 2.0], "strides": [4, 8, 16, 32, 64]}
        head.setdefault("anchor_generator", {"type": "AnchorGenerator", **usual, **anchors})


def with_pipeline(dataset: Any, testing: bool) -> None:
    """Give a data set of mmdet 0.6, which had settings for sizes and flips, the steps that they stand for."""
    if not isinstance(dataset, dict) or "pipeline" in dataset or "img_scale" not in dataset:
        return
    resize = {
        "type": "Resize",
        "img_scale": dataset.pop("img_scale"),
        "keep_ratio": dataset.pop("resize_keep_ratio", True),
        "multiscale_mode": dataset.pop("multiscale_mode", "value"),
    }
    norm, pad = dataset.pop("img_norm_cfg", None), dataset.pop("size_divisor", None)
    steps: list[dict[str, Any]] = [resize]
    flip: dict[str, Any] = {"type": "RandomFlip", "flip_ratio": dataset.pop("flip_ratio", 0)}
    if testing:
        steps = [{"type": "Resize", "img_scale": resize["img_scale"], "keep_ratio": resize["keep_ratio"]}]
    else:
        steps.append(flip)
    if isinstance(norm, dict):
        steps.append({"type": "Normalize", **norm})
    if pad is not None:
        steps.append({"type": "Pad", "size_divisor": pad})
    if "seg_scale_factor" in dataset:
        steps.append({"type": "SegRescale", "scale_factor": dataset.pop("seg_scale_factor")})
    # What else was done to the pictures.
    for name in ("extra_aug", "proposal_file"):
        if dataset.get(name) is not None:
            steps.append({"type": name, "settings": dataset[name]})
    dataset["pipeline"] = steps
