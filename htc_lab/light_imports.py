"""Importing a library without a large part of it that is wanted for one name, which the lab never uses.

``torchvision.ops`` takes a function from torch's compiler, and so loads the compiler and sympy; ``mmcv.cnn``
takes a loader of checkpoints from mmengine, and so loads its trainers and torch's distributed ones. Together
they are more than half of the wait for a first picture. While :func:`postponed` is open, such a module is
stood in for by one that loads the true one when the name is called, or when anything else is asked of it.
Afterwards nothing of the stand-in is left but that name.
"""

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class _StandIn(ModuleType):
    def __init__(self, module: str, function: str) -> None:
        super().__init__(module)
        self._function = function

    def __getattr__(self, name: str) -> Any:
        if name == self._function:
            return _called_later(self.__name__, name)
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_true(self.__name__), name)


def _true(module: str) -> ModuleType:
    """The module itself, in the stand-in's place if that is still there."""
    if isinstance(sys.modules.get(module), _StandIn):
        del sys.modules[module]
    return importlib.import_module(module)


def _called_later(module: str, function: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(_true(module), function)(*args, **kwargs)

    call.__name__ = call.__qualname__ = function
    return call


@contextmanager
def postponed(names: Mapping[str, str]) -> Iterator[None]:
    """While inside, importing a function (or a class, to be called) from its module does not load it.

    Without effect where it is loaded already.

    Args:
        names: for each module, by its full name, the one name that is imported from it.
    """
    absent = names.keys() - sys.modules.keys()
    stand_ins = {module: _StandIn(module, names[module]) for module in absent}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for module, stand_in in stand_ins.items():
            if sys.modules.get(module) is stand_in:
                del sys.modules[module]
