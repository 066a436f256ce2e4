"""mmdet's config files as ours: :func:`config_from_mmdet`."""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

from htc_lab.config import ModelConfig
from htc_lab.config_json import model_config_from_dict, schedule_from_dict, to_dict
from htc_lab.errors import InputError
from htc_lab.interop.fields import Fields, Unsupported, shown
from htc_lab.interop.mmdet_model import model_config
from htc_lab.interop.mmdet_schedule import image_sizes, schedule
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
        unsupported: settings without an equivalent; empty unless they were allowed.
        notes: what the config asks for besides, and how to do it here; one sentence each, also on stderr.
    """

    model: ModelConfig
    schedule: Schedule
    unsupported: tuple[Unsupported, ...]
    notes: tuple[str, ...] = ()


def config_from_mmdet(path: str | Path, strict: bool = True) -> MmdetConfig:
    """Turn a config of mmdet 3's HTC or Cascade Mask R-CNN family into ours.

    ``_base_`` files and ``_delete_`` are followed. The file is Python, but nothing in it is executed: it
    may only hold assignments of plain values, as mmdet's own do (see :mod:`htc_lab.interop.python_config`).
    Paths of data, hooks, logging and evaluation are ignored. The batch is taken from ``auto_scale_lr``.
    Backbones start from torchvision's ImageNet weights, even where mmdet uses its own conversion of others.

    Args:
        path: the ``.py`` file.
        strict: refuse settings this lab can't express (a backbone other than ResNet, another loss, another
            augmentation, ...); if false, they are listed in ``unsupported`` and the rest is used.

    Raises:
        InputError: there are such settings (the first are named, with their values), it is another family,
            values are missing or malformed, or something in the file would have to be run.
    """
    path = Path(path)
    values = read_python_config(path)
    if "model" not in values:
        raise InputError(f"{path}: sets no 'model'; give the config of a model, not one of its base files")
    if {"data", "optimizer", "lr_config"} & set(values):
        raise InputError(f"{path}: laid out as in mmdet 2; give the same model's config of mmdet 3")
    fields = Fields(values, str(path))
    try:
        model = model_config(fields, path.stem, image_sizes(fields))
        training = schedule(fields)
    except InputError as error:
        # A dataclass that checks its own numbers doesn't know which file they come from.
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    fields.note_unread("model")
    if fields.unsupported and strict:
        first = "; ".join(map(str, fields.unsupported[:_NAMED]))
        left = len(fields.unsupported) - _NAMED
        raise InputError(
            f"{path}: can't be expressed here: {first}{f'; and {left} more' if left > 0 else ''}; change "
            "these, or pass strict=False to go without them"
        )
    # A value may be of the right type and still make no sense; our own reader checks that.
    model = model_config_from_dict(to_dict(model), f"{path}: model")
    training = schedule_from_dict(to_dict(training), f"{path}: schedule")
    for preset in PRESETS.values() if not fields.unsupported else ():
        if dataclasses.replace(model, name=preset.name) == preset and schedule_of(preset.name) == training:
            model = preset
    notes = _notes(fields)
    for note in notes:
        print(f"note: {path}: {note}", file=sys.stderr)
    return MmdetConfig(model, training, tuple(fields.unsupported), notes)


def _notes(fields: Fields) -> tuple[str, ...]:
    start = fields.get("load_from", None)
    if not isinstance(start, str) or not start:
        return ()
    return (
        f"load_from={shown(start, 200)} is not followed; get that file and start the training from it with "
        "htc-lab train --init FILE (in Python: TrainOptions(init=FILE))",
    )
