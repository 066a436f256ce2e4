"""mmdet's config files as ours: :func:`config_from_mmdet`."""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

from htc_lab.config import ModelConfig
from htc_lab.config_json import model_config_from_dict, schedule_from_dict, to_dict
from htc_lab.errors import InputError
from htc_lab.interop.fields import Fields, Unsupported
from htc_lab.interop.mmdet_defaults import complete, plain_types
from htc_lab.interop.mmdet_layouts import in_third_layout
from htc_lab.interop.mmdet_model import model_config
from htc_lab.interop.mmdet_pipeline import image_sizes
from htc_lab.interop.mmdet_schedule import schedule
from htc_lab.interop.python_config import read_python_config
from htc_lab.presets import PRESETS, schedule_of
from htc_lab.schedule import Schedule

_NAMED = 6


@dataclass(frozen=True)
class MmdetConfig:
    """What a config of mmdet says, in this lab's terms.

    Attributes:
        model: for ``build_model``, or for ``load`` of a checkpoint trained with it.
        schedule: for training.
        unsupported: what isn't taken over as it is. Those that are ``refused`` are there only if they were
            allowed; the others say what was assumed or left aside.
    """

    model: ModelConfig
    schedule: Schedule
    unsupported: tuple[Unsupported, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed or left aside, one sentence each; they have been printed to stderr."""
        return tuple(str(told) for told in self.unsupported if not told.refused)


def config_from_mmdet(
    path: str | Path, strict: bool = True, configs: str | Path | None = None
) -> MmdetConfig:
    """Turn a config of mmdet's HTC or Cascade Mask R-CNN family into ours, in the layout of mmdet 1, 2 or 3.

    ``_base_`` files and ``_delete_`` are followed. The file is Python, but nothing in it is executed: it
    may only hold assignments of plain values (see :mod:`htc_lab.interop.python_values`). What it doesn't set
    is as in mmdet. Paths of data, hooks that report, logging and evaluation are ignored. Backbones start from
    torchvision's ImageNet weights, even where mmdet uses its own conversion of others.

    Args:
        path: the ``.py`` file.
        strict: refuse settings this lab can't express (a backbone other than ResNet, another loss, another
            augmentation, ...); if false, they are listed in ``unsupported`` and the rest is used.
        configs: the folder of mmdet's own configs, for bases like ``mmdet::htc/htc_r50_fpn_1x_coco.py``;
            default: that of the installed mmdet.

    Raises:
        InputError: there are such settings (the first are named, with their values), it is another family,
            values are missing or malformed, or something in the file would have to be run.
    """
    refused = "or pass strict=False to go without them" if strict else None
    return _read(Path(path), configs, refused, of_training=True)


def model_from_mmdet(path: str | Path, configs: str | Path | None = None) -> MmdetConfig:
    """As :func:`config_from_mmdet`, for a model that is trained already: how it was trained is no matter.

    Raises:
        InputError: as there, but of the settings without an equivalent only for the model's own.
    """
    refused = "or leave the config out, so that the weights and the text stored with them tell the model"
    return _read(Path(path), configs, refused, of_training=False)


def _refusal(path: Path, refused: list[Unsupported], otherwise: str) -> InputError:
    first = "; ".join(map(str, refused[:_NAMED]))
    left = len(refused) - _NAMED
    return InputError(
        f"{path}: can't be expressed here: {first}{f'; and {left} more' if left > 0 else ''}; change these, "
        f"{otherwise}"
    )


def _read(path: Path, configs: str | Path | None, otherwise: str | None, of_training: bool) -> MmdetConfig:
    """The config; ``otherwise`` ends the error about what can't be expressed, and None lets that pass."""
    values = read_python_config(path, None if configs is None else Path(configs))
    if "model" not in values:
        raise InputError(f"{path}: sets no 'model'; give the config of a model, not one of its base files")
    layout = in_third_layout(plain_types(values), str(path))
    complete(layout.values["model"])
    fields = Fields(layout.values, str(path), layout.written)
    if layout.first:
        fields.tell(
            "model.roi_head.bbox_roi_extractor.roi_layer",
            "is computed as in mmdet 2 and 3; mmdet 1 had boxes a pixel wider and RoIs half a pixel aside",
        )
    try:
        model = model_config(fields, path.stem, image_sizes(fields, layout.old))
        training = schedule(fields)
    except InputError as error:
        # A dataclass that checks its own numbers doesn't know which file they come from.
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    fields.note_unread("model")
    refused = [u for u in fields.unsupported if u.refused and (of_training or not u.of_training)]
    if refused and otherwise is not None:
        raise _refusal(path, refused, otherwise)
    # A value may be of the right type and still make no sense; our own reader checks that.
    model = model_config_from_dict(to_dict(model), f"{path}: model")
    training = schedule_from_dict(to_dict(training), f"{path}: schedule")
    if not any(unsupported.refused for unsupported in fields.unsupported):
        for preset in PRESETS.values():
            if (
                dataclasses.replace(model, name=preset.name) == preset
                and schedule_of(preset.name) == training
            ):
                model = preset
    for told in fields.unsupported:
        if not told.refused and (of_training or not told.of_training):
            print(f"note: {path}: {told}", file=sys.stderr)
    return MmdetConfig(model, training, tuple(fields.unsupported))
