"""What commands say about a data set before they use it."""

from typing import TYPE_CHECKING, Any, Literal

from htc_lab.commands.flags import say

if TYPE_CHECKING:
    from htc_lab.data.layout import DataFolder
    from htc_lab.data.notices import Notice
    from htc_lab.data.semantic import SemanticClasses

SplitName = Literal["train", "val", "test"]


def tell_data(
    folder: "DataFolder",
    semantic: "SemanticClasses | None",
    json: bool,
    cap: int | None = None,
) -> "list[Notice]":
    """Describe the data, and warn once of each thing that would go wrong silently.

    Args:
        folder: the data set.
        semantic: the meaning of its maps; None: no maps are used.
        json: print to stderr.
        cap: the most detections of a picture that the model will report, if that is known.
    """
    say(folder.describe(), json)
    return warn_of_data(folder, semantic, json, cap)


def warn_of_data(
    folder: "DataFolder",
    semantic: "SemanticClasses | None",
    json: bool,
    cap: int | None = None,
    everything: bool = False,
) -> "list[Notice]":
    """The warnings of :func:`tell_data` alone.

    Args:
        folder, semantic, json, cap: as there.
        everything: look at all pictures, not only at some of each split.
    """
    from htc_lab.data.notices import SOME, cap_notice, notices

    found = notices(folder, semantic, None if everything else SOME)
    if cap is not None:
        capped = cap_notice("val", folder.val.coco, cap, "htc-lab eval --max-detections N")
        found += [] if capped is None else [capped]
    for notice in found:
        say(f"  warning: {notice}", json)
    return found


def tell_cap(folder: "DataFolder", split: SplitName, description: dict[str, Any], json: bool) -> None:
    """Warn if pictures have more objects than the predictor reports.

    Args:
        folder: the data set.
        split: which pictures will be evaluated.
        description: of the predictor.
        json: print to stderr.
    """
    from htc_lab.data.notices import cap_notice

    caps = list(_caps(description))
    if not caps:
        return
    part = getattr(folder, split)
    capped = cap_notice(
        split, part.coco, max(caps), "--max-detections N (COCO's AP itself counts the best 100)"
    )
    if capped is not None:
        say(f"  warning: {capped}", json)


def _caps(value: Any) -> "list[int]":
    """Every ``max_detections`` in a description, whatever it is a description of."""
    if isinstance(value, list | tuple):
        return [cap for item in value for cap in _caps(item)]
    if not isinstance(value, dict):
        return []
    own = [value["max_detections"]] if isinstance(value.get("max_detections"), int) else []
    return own + [cap for item in value.values() for cap in _caps(item)]
