"""Checkpoints of mmdet 2 and 3: read as our models, and written from them.

The names inside are the same as ours, so apart from the wrapping our weights are a file of theirs. Whatever
a file may hold besides the weights (optimiser, loss history, config text, an average of the weights) is
unwrapped here.
"""

import dataclasses
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from htc_lab.config import BackboneConfig, ModelConfig, Toggles, disagreement
from htc_lab.config_json import model_config_from_dict, to_dict
from htc_lab.errors import InputError
from htc_lab.files import write_atomically
from htc_lab.interop.coco_names import COCO_CLASSES
from htc_lab.interop.config_text import with_config_text
from htc_lab.interop.shapes import config_from_shapes, like_a_preset, with_toggles
from htc_lab.interop.torch_file import TorchFile, open_torch_file
from htc_lab.interop.unpickling import TensorRecord
from htc_lab.model import HybridTaskCascade

_OURS = "htc_lab"
_PREFIXES = ("module.", "model.", "ema_model.")
_BOX_HEAD = "roi_head.bbox_head.0.fc_cls.weight"


@dataclass(frozen=True)
class MmdetCheckpoint:
    """What a file of the reference holds: the model, its weights by name, the names of its classes."""

    config: ModelConfig
    weights: dict[str, Tensor]
    class_names: tuple[str, ...]


def read_mmdet(
    path: Path, toggles: Toggles | None = None, config: ModelConfig | None = None
) -> MmdetCheckpoint:
    """Read a ``.pth`` file of mmdet 2.x or 3.x, or one that :func:`save_mmdet` wrote.

    Nothing in the file is executed. The weights may be the file's whole content or under ``state_dict``, with
    anything beside them; if the file has averaged weights (EMA), those are used. Entries are returned as
    float32. What weights don't show is taken from the config text in the file; without one, a file that has
    "caffe" in its name is of that style.

    Args:
        path: the file.
        toggles: what shapes don't show (interleaved, semantic feature in boxes or masks, averaging); default:
            what the config text in the file says, or else what is usual for the family.
        config: the config of the model, if known; default: inferred.

    Raises:
        InputError: the file is damaged, of another architecture, or of mmdet 1.x; names the file and entries.
    """
    with open_torch_file(path) as file:
        meta = file.content.get("meta") if isinstance(file.content, dict) else None
        meta = meta if isinstance(meta, dict) else {}
        records = _renamed(_state_dict(file))
        _check_family(records, str(path))
        weights = {name: _float32(file.tensor(record, name)) for name, record in records.items()}
    _add_batch_counts(weights)
    if config is None:
        config = _config(path, weights, meta)
    if toggles is not None:
        config = with_toggles(config, toggles, str(path))
    return MmdetCheckpoint(config, weights, _class_names(meta, config))


def save_mmdet(model: HybridTaskCascade, path: Path) -> None:
    """Write ``path`` (``.pth``) as mmdet reads it: ``{"meta": ..., "state_dict": ...}``, by ``torch.save``.

    Raises:
        InputError: the file can't be written.
    """
    names = list(model.class_names)
    meta = {
        "CLASSES": names,
        "dataset_meta": {"classes": names},
        _OURS: json.dumps(to_dict(model.config)),
    }
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    # Into memory first: on a full disk torch's own writer raises an error about positions in its file.
    content = io.BytesIO()
    torch.save({"meta": meta, "state_dict": weights}, content)
    write_atomically(path, lambda temporary: _fill(temporary, content))


def _fill(path: Path, content: io.BytesIO) -> None:
    path.write_bytes(content.getbuffer())


def _float32(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _state_dict(file: TorchFile) -> dict[str, TensorRecord]:
    """The weights by name, wherever they are in the file."""
    content = file.content
    found = content
    if isinstance(content, dict):
        # mmengine swaps the two before it saves: "state_dict" already has the averaged weights.
        for key in ("state_dict", "ema_state_dict"):
            if isinstance(content.get(key), dict):
                found = content[key]
                break
    if not isinstance(found, dict) or not any(isinstance(value, TensorRecord) for value in found.values()):
        raise InputError(
            f"{file.path}: holds no weights by name, neither at the top nor under 'state_dict'; give a "
            "checkpoint, not a pickled model or other data"
        )
    if "state_dict" not in content and "ema_state_dict" in content:
        found = {name: value for name, value in found.items() if name != "steps"}
    for name, value in found.items():
        if not isinstance(name, str) or not name.isprintable() or not isinstance(value, TensorRecord):
            raise InputError(
                f"{file.path}: entry {str(name)[:80]!r} among the weights is not a named tensor; give a "
                "checkpoint of a detector"
            )
    return found


def _renamed(records: dict[str, TensorRecord]) -> dict[str, TensorRecord]:
    """The same weights under the names of mmdet 3, without those that no model uses."""
    prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in records)), None)
    while prefix is not None:
        records = {name.removeprefix(prefix): value for name, value in records.items()}
        prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in records)), None)
    # With averaged weights, mmdet 2 saved the average under the plain names and the other set as
    # ema_backbone_conv1_weight, ...
    other = {f"ema_{name.replace('.', '_')}" for name in records}
    renamed = {}
    for name, value in records.items():
        # The first stage gets no flow. mmdet 1 built the convolution anyway, and files converted from it
        # still have it.
        if name in other or name.startswith("roi_head.mask_head.0.conv_res."):
            continue
        # conv2_offset is what mmdet called the offsets' convolution before 2.0.
        renamed[name.replace(".conv2_offset.", ".conv2.conv_offset.")] = value
    return renamed


def _check_family(records: dict[str, TensorRecord], where: str) -> None:
    if _BOX_HEAD in records and "roi_head.mask_head.0.conv_logits.weight" in records:
        return
    if "bbox_head.0.fc_cls.weight" in records:
        raise InputError(
            f"{where}: is from mmdet 1.x, which defines boxes and RoI pooling differently (a pixel wider, "
            "half a pixel off); use the same model's file from mmdet 2 or 3"
        )
    if _BOX_HEAD in records:
        raise InputError(f"{where}: is a Cascade R-CNN without masks; use a Cascade Mask R-CNN or an HTC")
    if "roi_head.bbox_head.fc_cls.weight" in records:
        raise InputError(f"{where}: has one stage, not a cascade; use a Cascade Mask R-CNN or an HTC")
    names = list(records)
    raise InputError(
        f"{where}: has {len(names)} entries ({', '.join(names[:3])}, ...) but no {_BOX_HEAD}: neither a "
        "Cascade Mask R-CNN nor an HTC; give the file of one"
    )


def _add_batch_counts(weights: dict[str, Tensor]) -> None:
    """Add batch norm's step counters, which torch before 0.4.1 didn't have and nothing here uses."""
    for name in [n for n in weights if n.endswith(".running_var")]:
        count = name.removesuffix("running_var") + "num_batches_tracked"
        weights.setdefault(count, torch.zeros((), dtype=torch.long))


def _config(path: Path, weights: dict[str, Tensor], meta: dict[Any, Any]) -> ModelConfig:
    ours = meta.get(_OURS)
    if isinstance(ours, str):
        try:
            values = json.loads(ours)
        except (ValueError, RecursionError):
            raise InputError(f"{path}: meta.{_OURS} is not JSON; convert the model again") from None
        return model_config_from_dict(values, f"{path}: meta.{_OURS}")
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    config = config_from_shapes(shapes, path.stem, str(path))
    if "caffe" in path.name and isinstance(config.backbone, BackboneConfig):
        config = dataclasses.replace(
            config,
            backbone=dataclasses.replace(config.backbone, style="caffe"),
            image=dataclasses.replace(config.image, std=(1.0, 1.0, 1.0), bgr=True),
        )
    for key in ("cfg", "config"):
        if isinstance(meta.get(key), str):
            config = with_config_text(config, meta[key], str(path))
            break
    fault = disagreement(config)
    if fault is not None:
        raise InputError(
            f"{path}: {fault}; its weights don't show this, so pass the model's config to load()"
        )
    return like_a_preset(config, path.stem)


def _class_names(meta: dict[Any, Any], config: ModelConfig) -> tuple[str, ...]:
    data = meta.get("dataset_meta")
    data = data if isinstance(data, dict) else {}
    for names in (data.get("classes"), data.get("CLASSES"), meta.get("CLASSES")):
        if isinstance(names, list | tuple) and len(names) == config.classes and all(map(_is_name, names)):
            return tuple(names)
    if config.classes == len(COCO_CLASSES):
        return COCO_CLASSES
    return tuple(f"class {k}" for k in range(config.classes))


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()
