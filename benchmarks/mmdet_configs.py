"""How many public configs of the family are read, why others are refused, and whether what is read is right.

    python -m benchmarks.mmdet_configs FOLDER [FOLDER ...]

A folder is one with configs of mmdet in it: the ``mmdet/.mim/configs`` of a wheel of mmdet 2 or 3, say. Of
the family are those whose model is an HTC, or a Cascade R-CNN with masks. What is read is compared with
numbers that are looked up in the config's dict by another way than the lab's reader takes.
"""

import argparse
import collections
import json
import re
from pathlib import Path
from typing import Any

from htc_lab.errors import InputError
from htc_lab.interop.mmdet_config import MmdetConfig, config_from_mmdet
from htc_lab.interop.mmdet_defaults import plain_types
from htc_lab.interop.python_config import read_python_config

_HERE = ("ResNet", "ResNeXt")
_FAMILY = ("HybridTaskCascade", "CascadeRCNN")


def _of_family(values: dict[str, Any]) -> bool:
    model = values.get("model")
    if not isinstance(model, dict) or model.get("type") not in _FAMILY:
        return False
    head = model.get("roi_head", model)
    return isinstance(head, dict) and bool(head.get("mask_head"))


def _cause(message: str) -> str:
    """What is in the way, without the config's own name; of a setting, the last part of its path."""
    _, told, settings = message.partition("can't be expressed here: ")
    if not told:
        return re.sub(r"^\S+: (line \d+: )?", "", message)[:70]
    causes = set()
    for setting in re.sub(r"; (change these|give the config of|and \d+ more).*", "", settings).split("); "):
        path, _, value = setting.partition("=")
        name = ".".join(part for part in path.split(".")[-2:] if not part.isdigit())
        kind = re.match(r"(\{'type': )?'?(\w+)", value)
        causes.add(f"{name}={kind.group(2)}" if kind else name)
    return ", ".join(sorted(causes))


def _listed(value: Any, count: int) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value] * count


def _inner(dataset: Any) -> Any:
    while isinstance(dataset.get("dataset"), dict):
        dataset = dataset["dataset"]
    return dataset


def _wanted(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers of a config of mmdet 1, 2 or 3, as its dict has them."""
    model = values["model"]
    first = "roi_head" not in model
    head = model if first else model["roi_head"]
    training, test = (model.get(name) or values[name] for name in ("train_cfg", "test_cfg"))
    boxes = _listed(head["bbox_head"], head["num_stages"])
    old = "data" in values
    loaders = ("train", "test") if old else ("train_dataloader", "test_dataloader")
    train, tested = (
        _inner(values["data"][name] if old else values[name]["dataset"])["pipeline"] for name in loaders
    )
    optimizer = values["optimizer"] if old else values["optim_wrapper"]["optimizer"]
    by_type = {step["type"]: step for step in train}
    flip = by_type.get("RandomFlip", {})
    (test_step,) = (step for step in tested if step["type"] in ("Resize", "MultiScaleFlipAug"))
    loss = boxes[0].get("loss_bbox", {})
    wanted = {
        "depth": model["backbone"]["depth"],
        "groups": model["backbone"].get("groups", 1),
        "frozen_stages": model["backbone"].get("frozen_stages", -1),
        "fpn.levels": model["neck"]["num_outs"],
        "classes": boxes[0]["num_classes"] - first,
        "stds": [tuple((box if first else box["bbox_coder"])["target_stds"]) for box in boxes],
        "beta": loss.get("beta", 1.0) if loss.get("type") == "SmoothL1Loss" else None,
        "ious": [stage["assigner"]["pos_iou_thr"] for stage in training["rcnn"]],
        "low": training["rcnn"][0]["assigner"].get("match_low_quality", True),
        "samples": training["rcnn"][0]["sampler"]["num"],
        "weights": list(training["stage_loss_weights"] if first else head["stage_loss_weights"]),
        "proposals": tuple(
            rpn.get("max_per_img") or rpn["max_num"] for rpn in (training["rpn_proposal"], test["rpn"])
        ),
        "score": test["rcnn"]["score_thr"],
        "most": test["rcnn"]["max_per_img"],
        "lr": optimizer["lr"],
        "decay": optimizer.get("weight_decay"),
        "flip": flip.get("prob", flip.get("flip_ratio", 0)),
        "test": tuple(sorted(test_step.get("scale") or test_step["img_scale"])),
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _found(config: MmdetConfig) -> dict[str, Any]:
    model, schedule = config.model, config.schedule
    cascade, image = model.cascade, model.image
    return {
        "depth": model.backbone.depth,
        "groups": model.backbone.groups,
        "frozen_stages": model.backbone.frozen_stages,
        "fpn.levels": model.fpn.levels,
        "classes": model.classes,
        "stds": [stage.stds for stage in cascade.stages],
        "beta": cascade.smooth_l1_beta,
        "ious": [stage.iou for stage in cascade.stages],
        "low": cascade.low_quality_matches,
        "samples": cascade.samples,
        "weights": [stage.loss_weight for stage in cascade.stages],
        "proposals": (model.rpn.train_after_nms, model.rpn.test_after_nms),
        "score": cascade.score_threshold,
        "most": cascade.max_detections,
        "lr": schedule.lr,
        "decay": schedule.weight_decay,
        "flip": image.flip + image.flip_vertical + image.flip_both,
        "test": (image.short, image.long),
    }


def _differences(path: Path, folder: Path, config: MmdetConfig) -> list[str]:
    wanted, found = _wanted(plain_types(read_python_config(path, folder))), _found(config)
    return [f"{name}: {found[name]}, not {value}" for name, value in wanted.items() if found[name] != value]


def measure(folder: Path) -> dict[str, Any]:
    """The counts for one folder."""
    counts: collections.Counter[str] = collections.Counter()
    causes: dict[str, list[str]] = {}
    wrong: dict[str, list[str]] = {}
    told: collections.Counter[str] = collections.Counter()
    for path in sorted(folder.rglob("*.py")):
        name = str(path.relative_to(folder))
        if "_base_" in path.parts or name.startswith("common"):
            continue
        try:
            values = plain_types(read_python_config(path, folder))
        except InputError as error:
            counts["of any family, not read as Python"] += 1
            causes.setdefault(f"(any family) {_cause(str(error))}", []).append(name)
            continue
        if not _of_family(values):
            continue
        counts["of the family"] += 1
        here = values["model"].get("backbone", {}).get("type") in _HERE
        counts["with a backbone that is here"] += here
        try:
            config = config_from_mmdet(path, configs=folder)
        except InputError as error:
            causes.setdefault(_cause(str(error)), []).append(name)
            continue
        counts["converted"] += 1
        told.update(unsupported.path for unsupported in config.unsupported)
        if differences := _differences(path, folder, config):
            wrong[name] = differences
    return {
        "folder": str(folder),
        **counts,
        "wrong": wrong,
        "told": dict(told),
        "refused": {
            cause: {"configs": len(names), "first": names[0]}
            for cause, names in sorted(causes.items(), key=lambda item: -len(item[1]))
        },
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    for folder in parser.parse_args().folders:
        print(json.dumps(measure(folder), indent=1))


if __name__ == "__main__":
    main()
