"""What several runs of the cascade over one picture have in common is computed once.

The cascade calls the parts that cost something through a *runner*: :func:`call`, which simply calls them, or
:meth:`SharedWork.run`, which keeps the results and doesn't make a call with the same arguments twice. So a
result is known by what it was made from, and by nothing else:

- boxes and detections by the features, the proposals, ``stages`` and ``semantic_box``;
- the features of a mask by the boxes they are pooled from and ``semantic_mask``;
- the output of a mask head's trunk by those features and, with ``mask_flow``, the trunk before it.

Sixteen settings of the paper's four switches thus take two box cascades instead of sixteen, and no trunk runs
twice on the same boxes.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from htc_lab.ideas import IDEAS
from htc_lab.toggles import HTC, Toggles

Run = Callable[..., Any]
"""``run(function, *arguments)``: the result of ``function(*arguments)``."""


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """The runner that keeps nothing."""
    return function(*arguments)


def sharing_order(toggles: Toggles) -> tuple[int, ...]:
    """Sort key that puts settings side by side that have boxes, mask features and later ideas in common."""
    beyond_the_paper = (idea in toggles.ideas for idea in IDEAS if idea not in HTC.ideas)
    return toggles.semantic_box, toggles.stages, toggles.semantic_mask, *beyond_the_paper


class SharedWork:
    """A runner that keeps the latest results, for runs of one model whose weights don't change in between.

    Settings in any order give the right traces; in :func:`sharing_order` they take the least work.
    """

    def __init__(self, most: int = 64) -> None:
        """See the class.

        Args:
            most: how many results are kept. Four settings that differ in ``interleaved`` and ``mask_flow``
                need 46 with three stages; the results of earlier settings may be dropped.
        """
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[tuple[Any, ...], Any]] = OrderedDict()

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The result of ``function(*arguments)``, which must depend on its arguments alone.

        Numbers and switches are the same argument if they are equal, everything else if it is the same
        object: tensors are never compared by their values.
        """
        key = (function, *(a if isinstance(a, bool | int | None) else id(a) for a in arguments))
        if key not in self._kept:
            # The arguments are kept too, because the id of an object that is gone may be used again.
            self._kept[key] = arguments, function(*arguments)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key][1]
