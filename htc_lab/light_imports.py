"""Importing a library without a large part of it that it needs for a single name, which the lab never uses.

``torchvision.ops`` takes a function from torch's compiler, and so loads the compiler and sympy, and
``torchvision.tv_tensors`` has it decorate one; ``mmcv.cnn`` takes a loader of checkpoints from mmengine,
and so loads its trainers and torch's distributed ones. Together they are more than half of the wait for a
first picture: ``htc_lab.build_model`` in a fresh Python takes 2.6 to 3.1 s of processor time, and 7.2 to
7.9 s without this module (two starts each, alternating, two busy cores). While :func:`postponed` is open,
such a module is replaced by a stand-in, which loads the real one when the name or something it decorates is
called, or when anything else is asked of it. Afterwards only that name is left of the stand-in.
"""

import functools
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType, ModuleType
from typing import Any

_Later = Callable[[str, str], Callable[..., Any]]


class _StandIn(ModuleType):
    def __init__(self, module: str, function: str, later: _Later) -> None:
        super().__init__(module)
        self._function, self._later = function, later

    def __getattr__(self, name: str) -> Any:
        if name == self._function:
            return self._later(self.__name__, name)
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


def _decorates_later(module: str, decorator: str) -> Callable[..., Any]:
    def decorate(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
        @functools.cache
        def decorated() -> Callable[..., Any]:
            true: Callable[..., Any] = getattr(_true(module), decorator)(function, *args, **kwargs)
            return true

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return decorated()(*args, **kwargs)

        return call

    return decorate


@contextmanager
def postponed(
    names: Mapping[str, str], decorators: Mapping[str, str] = MappingProxyType({})
) -> Iterator[None]:
    """While inside, importing a function (or a class, to be called) from its module does not load it.

    This has no effect if the module is already loaded.

    Args:
        names: for each module, by its full name, the one name that is imported from it.
        decorators: likewise; each decorates functions while this is open, and a function is decorated when it
            is first called.
    """
    wanted: dict[str, tuple[str, _Later]] = {module: (name, _called_later) for module, name in names.items()}
    wanted |= {module: (name, _decorates_later) for module, name in decorators.items()}
    absent = wanted.keys() - sys.modules.keys()
    stand_ins = {module: _StandIn(module, *wanted[module]) for module in absent}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for module, stand_in in stand_ins.items():
            if sys.modules.get(module) is stand_in:
                del sys.modules[module]
