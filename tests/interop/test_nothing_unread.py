"""Every value of a config counts or is named: if it is changed, so is what is read, or what is told."""

import copy
import re

import pytest

from htc_lab.errors import InputError
from htc_lab.interop import mmdet_config
from htc_lab.interop.mmdet_config import config_from_mmdet
from htc_lab.interop.python_config import read_python_config
from tests.interop.configs import first, tree

_PARTS = (
    *("model", "train_dataloader", "test_dataloader", "train_cfg", "optim_wrapper", "param_scheduler"),
    *(
        "test_cfg",
        "auto_scale_lr",
        "data",
        "optimizer",
        "optimizer_config",
        "lr_config",
        "runner",
        "total_epochs",
    ),
)

# They may be anything, by how their paths end (of lists without the place in them), each with why.
_ALLOWED = (
    # Where the data is and how it is loaded; that of val is not read where there is one for test.
    *("dataset.type", ".train.type", ".test.type", ".ann_file", ".img_prefix", ".backend_args"),
    *("workers_per_gpu", "train_cfg.val_interval", "runner.type"),
    # Steps that bring the data into form.
    *(".with_bbox", ".with_mask", ".with_seg", ".meta_keys", ".keys"),
    # What is printed.
    ".debug",
    # Maps and masks are padded wherever there are any.
    "data_preprocessor.pad_seg",
    # The rate follows the batch here in any case, and for mmdet's own batch that is the same.
    "auto_scale_lr.enable",
    # The first stage gets no flow, with the convolution for it or without.
    "mask_head.0.with_conv_res",
    # Past its last milestone a scheduler has nothing left to do.
    "param_scheduler.1.end",
    # Of each level more than of all: no limit.
    ".nms_post",
)


def _leaves(value, path=""):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list | tuple):
        # Lists of numbers are read as one.
        for i, item in enumerate(value[:1] if isinstance(value[0], int | float) else value):
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


@pytest.mark.parametrize("layout", ["third", "first"])
def test_every_value_counts(layout, tmp_path, monkeypatch):
    path = (first if layout == "first" else tree)(tmp_path) / "htc.py"
    values = read_python_config(path)
    values = {name: value for name, value in values.items() if name in _PARTS}
    usual = _read(values, monkeypatch, path)
    assert not isinstance(usual, str)
    silent = [
        re.sub(r"(\.\d+)+$", "", leaf)
        for leaf, _ in _leaves(values)
        if _read(_changed(values, leaf), monkeypatch, path) == usual
    ]
    assert [leaf for leaf in silent if not leaf.endswith(_ALLOWED) and not leaf.startswith("data.val.")] == []
