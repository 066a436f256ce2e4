"""Every value of a config matters or is named: changed, it changes what is read or is told.

Those that neither happens to are listed here, each with why it may be so.
"""

import copy
import re

import pytest

from htc_lab.errors import InputError
from htc_lab.interop import mmdet_config
from htc_lab.interop.mmdet_config import config_from_mmdet
from htc_lab.interop.python_config import read_python_config
from tests.interop.configs import first, second, tree

_PARTS = (
    *("model", "train_dataloader", "test_dataloader", "train_cfg", "optim_wrapper", "param_scheduler"),
    *("auto_scale_lr", "data", "optimizer", "optimizer_config", "lr_config", "runner", "total_epochs"),
)

# Where the data lies, how it is loaded, and what is reported.
_DATA = (
    ".ann_file",
    ".img_prefix",
    ".batch_size_of_test",
    ".backend_args",
    "workers_per_gpu",
    "val_interval",
    ".keys",
)
# Steps whose settings concern the form of the data alone.
_FORMS = (".with_bbox", ".with_mask", ".with_seg", ".meta_keys")
# Messages of the sampling code.
_PRINTED = (".debug",)
# Padding of maps and masks follows from there being any.
_PADDED = ("data_preprocessor.pad_seg",)
# The test pipeline's step flips only where the step around it asks for it.
_FLIPS = (".flip_ratio_of_test",)
# The rate follows the batch here as if it was on, and it is off in all of mmdet's configs.
_SCALED = ("auto_scale_lr.enable",)
# The first stage of the mask heads gets no flow, with the convolution for it or without.
_FLOW = ("mask_head.0.with_conv_res",)
# The end of a scheduler that has nothing left to do.
_END = ("param_scheduler.1.end",)


def _leaves(value, path=""):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{path}.{i}")
    else:
        yield path, value


def _changed(values, path):
    """The config with another value there."""
    values = copy.deepcopy(values)
    *above, last = path.split(".")
    parents = []
    holder = values
    for key in above:
        parents.append((holder, key))
        inner = holder[int(key) if isinstance(holder, list | tuple) else key]
        if isinstance(inner, tuple):
            inner = list(inner)
            holder[int(key) if isinstance(holder, list | tuple) else key] = inner
        holder = inner
    key = int(last) if isinstance(holder, list) else last
    old = holder[key]
    if isinstance(old, bool):
        holder[key] = not old
    elif isinstance(old, int | float):
        holder[key] = old * 2 + 3
    else:
        holder[key] = "Changed"
    return values


def _read(values, monkeypatch, path):
    monkeypatch.setattr(mmdet_config, "read_python_config", lambda *_: copy.deepcopy(values))
    try:
        found = config_from_mmdet(path, strict=False)
    except InputError as error:
        return str(error)
    return found.model, found.schedule, tuple(map(str, found.unsupported))


@pytest.mark.parametrize("layout", ["third", "second", "first", "cascade"])
def test_every_value_counts(layout, tmp_path, monkeypatch):
    make = {"second": second, "first": first}.get(layout, tree)
    path = make(tmp_path) / ("cascade.py" if layout == "cascade" else "htc.py")
    values = read_python_config(path)
    values = {name: value for name, value in values.items() if name in _PARTS}
    usual = _read(values, monkeypatch, path)
    assert not isinstance(usual, str)
    silent = [
        re.sub(r"(\.\d+)+$", "", leaf)
        for leaf, _ in _leaves(values)
        if _read(_changed(values, leaf), monkeypatch, path) == usual
    ]
    allowed = (*_DATA, *_FORMS, *_PRINTED, *_PADDED, *_FLIPS, *_SCALED, *_FLOW, *_END)
    assert [leaf for leaf in silent if not leaf.endswith(allowed)] == []
