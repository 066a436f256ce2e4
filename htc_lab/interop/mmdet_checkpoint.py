"""Checkpoints of mmdet: read as our models, and written from them.

The names inside are the same as ours, so apart from the wrapping our weights are a file of theirs. Whatever
a file may hold besides the weights (optimiser, loss history, config text, an average of the weights) is left
aside (:mod:`htc_lab.interop.wrappers`).
"""

import dataclasses
import io
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from htc_lab.config import BackboneConfig, ModelConfig, Toggles, disagreement
from htc_lab.config_json import model_config_from_dict, to_dict
from htc_lab.errors import InputError
from htc_lab.files import write_atomically
from htc_lab.interop import mmdet1
from htc_lab.interop.coco_names import COCO_CLASSES
from htc_lab.interop.config_text import with_config_text
from htc_lab.interop.shapes import config_from_shapes, like_a_preset, with_toggles
from htc_lab.interop.torch_file import open_torch_file
from htc_lab.interop.wrappers import BOX_HEAD, SINGLE_BOX_HEAD, Records, unwrapped
from htc_lab.model import HybridTaskCascade

_OURS = "htc_lab"


@dataclass(frozen=True)
class MmdetWeights:
    """The weights in a file of the reference, whatever network they are of.

    Attributes:
        weights: by the names of mmdet 3, float32.
        meta: what the file says about them; nothing in it has been checked.
        notes: what was chosen, converted or left aside, one sentence each.
    """

    weights: dict[str, Tensor]
    meta: dict[Any, Any]
    notes: tuple[str, ...]

    @property
    def said_classes(self) -> tuple[str, ...]:
        """The names of the classes, if the file says them."""
        data = self.meta.get("dataset_meta")
        data = data if isinstance(data, dict) else {}
        for names in (data.get("classes"), data.get("CLASSES"), self.meta.get("CLASSES")):
            if isinstance(names, list | tuple) and names and all(map(_is_name, names)):
                return tuple(names)
        return ()

    @property
    def config_text(self) -> str:
        """mmdet's config of the training, if the file has it."""
        texts = (self.meta.get(key) for key in ("cfg", "config"))
        return next((text for text in texts if isinstance(text, str)), "")


@dataclass(frozen=True)
class MmdetCheckpoint:
    """A model in a file of the reference.

    Attributes:
        config: of the model.
        weights: by name, float32.
        class_names: one for each class.
        notes: what was chosen, converted or left aside, one sentence each.
    """

    config: ModelConfig
    weights: dict[str, Tensor]
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_mmdet_weights(path: Path) -> MmdetWeights:
    """Read the weights in a file of ``torch.save``: of mmdet 1, 2 or 3, or of a trainer around it.

    Nothing in the file is executed. The weights may be the file's whole content or under ``state_dict``,
    ``model`` or another name, and their names may begin with "module.", "model.", "teacher." and the like. If
    there are averaged weights (EMA, or a student's teacher), those are used.

    Raises:
        InputError: the file is damaged, or holds no weights by name.
    """
    with open_torch_file(path) as file:
        meta = file.content.get("meta") if isinstance(file.content, dict) else None
        found = unwrapped(file)
        old = mmdet1.is_of_mmdet_1(found.records)
        records = _of_today(mmdet1.renamed(found.records) if old else found.records)
        weights = {name: _float32(file.tensor(record, name)) for name, record in records.items()}
    if old:
        weights = mmdet1.reordered(weights)
    _add_batch_counts(weights)
    notes = (*found.notes, mmdet1.NOTE) if old else found.notes
    return MmdetWeights(weights, meta if isinstance(meta, dict) else {}, notes)


def read_mmdet(
    path: Path, toggles: Toggles | None = None, config: ModelConfig | None = None
) -> MmdetCheckpoint:
    """Read the model in a file of mmdet, of a trainer around it, or of :func:`save_mmdet`.

    What weights don't show is taken from the config text in the file; without one, a file that has "caffe" in
    its name is of that style.

    Args:
        path: the file.
        toggles: what shapes don't show (interleaved, semantic feature in boxes or masks, averaging); default:
            what the config text in the file says, or else what is usual for the family.
        config: the config of the model, if known; default: inferred.

    Raises:
        InputError: the file is damaged or of another architecture; names the file and entries.
    """
    found = read_mmdet_weights(path)
    _check_family(found.weights, str(path))
    if config is None:
        config = _config(path, found)
    if toggles is not None:
        config = with_toggles(config, toggles, str(path))
    return MmdetCheckpoint(config, found.weights, _class_names(found, config), found.notes)


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


def _of_today(records: Records) -> Records:
    """The same weights as mmdet 3 names them, without those that no model uses."""
    # The first stage gets no flow. mmdet 1 built the convolution anyway, and files converted from it still
    # have it. conv2_offset is what mmdet called the offsets' convolution before 2.0.
    return {
        name.replace(".conv2_offset.", ".conv2.conv_offset."): value
        for name, value in records.items()
        if not name.startswith("roi_head.mask_head.0.conv_res.")
    }


def _check_family(names: Collection[str], where: str) -> None:
    if BOX_HEAD in names and "roi_head.mask_head.0.conv_logits.weight" in names:
        return
    if BOX_HEAD in names:
        raise InputError(f"{where}: is a Cascade R-CNN without masks; use a Cascade Mask R-CNN or an HTC")
    if SINGLE_BOX_HEAD in names:
        raise InputError(f"{where}: has one stage, not a cascade; use a Cascade Mask R-CNN or an HTC")
    shown = ", ".join(list(names)[:3])
    raise InputError(
        f"{where}: has {len(names)} entries ({shown}, ...) but no {BOX_HEAD}: neither a "
        "Cascade Mask R-CNN nor an HTC; give the file of one"
    )


def _add_batch_counts(weights: dict[str, Tensor]) -> None:
    """Add batch norm's step counters, which torch before 0.4.1 didn't have and nothing here uses."""
    for name in [n for n in weights if n.endswith(".running_var")]:
        count = name.removesuffix("running_var") + "num_batches_tracked"
        weights.setdefault(count, torch.zeros((), dtype=torch.long))


def _config(path: Path, found: MmdetWeights) -> ModelConfig:
    ours = found.meta.get(_OURS)
    if isinstance(ours, str):
        try:
            values = json.loads(ours)
        except (ValueError, RecursionError):
            raise InputError(f"{path}: meta.{_OURS} is not JSON; convert the model again") from None
        return model_config_from_dict(values, f"{path}: meta.{_OURS}")
    shapes = {name: tuple(value.shape) for name, value in found.weights.items()}
    config = config_from_shapes(shapes, path.stem, str(path))
    config = as_the_file_says(config, path, found.config_text)
    fault = disagreement(config)
    if fault is not None:
        raise InputError(
            f"{path}: {fault}; its weights don't show this, so pass the model's config to load()"
        )
    return like_a_preset(config, path.stem)


def as_the_file_says(config: ModelConfig, path: Path, config_text: str) -> ModelConfig:
    """The config with what a file says of the model that produced it, by its name and by the config in it."""
    if "caffe" in path.name and path.suffix == ".pth" and isinstance(config.backbone, BackboneConfig):
        config = dataclasses.replace(
            config,
            backbone=dataclasses.replace(config.backbone, style="caffe"),
            image=dataclasses.replace(config.image, std=(1.0, 1.0, 1.0), bgr=True),
        )
    return with_config_text(config, config_text, str(path)) if config_text else config


def _class_names(found: MmdetWeights, config: ModelConfig) -> tuple[str, ...]:
    names = found.said_classes
    if len(names) == config.classes:
        return names
    if config.classes == len(COCO_CLASSES):
        return COCO_CLASSES
    return tuple(f"class {k}" for k in range(config.classes))


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()
