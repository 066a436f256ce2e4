"""Checkpoints as mmdet and torch write them, and as nobody should."""

import collections
import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from htc_lab.config import HTC, Toggles
from htc_lab.model import HybridTaskCascade, build_model
from tests.unit.tiny import with_toggles

FORMATS = {"zip": True, "legacy": False}


def model(toggles: Toggles = HTC, seed: int = 0) -> HybridTaskCascade:
    """A tiny model whose batch norm has statistics of its own."""
    made = build_model(with_toggles(toggles), seed)
    generator = torch.Generator().manual_seed(seed)
    for name, value in made.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return made.eval()


def write(path: Path, content: Any, form: str = "zip") -> Path:
    """``torch.save`` in one of its two formats."""
    torch.save(content, path, _use_new_zipfile_serialization=FORMATS[form])
    return path


def assert_holds(loaded: HybridTaskCascade, wanted: dict[str, Tensor]) -> None:
    """Bitwise the same weights, under the same names, with nothing more."""
    found = loaded.state_dict()
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype, name
        assert torch.equal(found[name], value), name


class Calls:
    """An object whose pickle says: call this function with these arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.what = (function, arguments)

    def __reduce__(self) -> Any:
        return self.what


def marking(marker: Path) -> list[Calls]:
    """Objects that write ``marker`` when unpickled by pickle itself, in three ways."""
    import os

    line = f"open({str(marker)!r}, 'w').close()"
    return [Calls(os.system, f"touch '{marker}'"), Calls(eval, line), Calls(exec, line)]


def runs(evil: Calls, marker: Path) -> bool:
    """Whether plain pickle would run it: so a test that nothing ran means something."""
    pickle.loads(pickle.dumps(evil))
    ran = marker.exists()
    marker.unlink(missing_ok=True)
    return ran


@contextmanager
def strangers() -> Iterator[dict[str, Any]]:
    """What mmengine puts into checkpoints, as instances of classes that exist only inside this context."""
    module = types.ModuleType("gone_package.logging")
    for name, base in (
        ("History", object),
        ("Config", dict),
        ("Names", list),
        ("Kinds", set),
        ("Ordered", collections.OrderedDict),
    ):
        kind = type(name, (base,), {"__module__": module.__name__})
        setattr(module, name, kind)
    sys.modules["gone_package"] = types.ModuleType("gone_package")
    sys.modules[module.__name__] = module
    try:
        history = module.History()
        history.values = torch.arange(5.0)
        history.window = {"loss": 10}
        yield {
            "history": history,
            "config": module.Config(depth=50, nested=module.Config(a=[1, 2])),
            "names": module.Names(["cat", "dog"]),
            "kinds": module.Kinds({1, 2}),
            "ordered": module.Ordered(a=1),
            "kind": module.History,
        }
    finally:
        del sys.modules["gone_package"], sys.modules[module.__name__]
