"""What the numbers of a config may be, as annotations: ``nms_iou: Annotated[Share, Doc("...")] = 0.7``.

A config says beside each of its fields which values make sense and, in words, what the field is. The ranges
are ``annotated_types``', which pydantic understands and which cost next to nothing to import: pydantic itself
is loaded when a config is read or checked (:mod:`htc_lab.config_json`), not by ``import htc_lab``.
"""

from typing import Annotated

from annotated_types import Interval

Share = Annotated[float, Interval(ge=0, le=1)]
Weight = Annotated[float, Interval(ge=0, le=1e6)]
Positive = Annotated[float, Interval(ge=1e-6, le=1e6)]
Offset = Annotated[float, Interval(ge=-1e6, le=1e6)]
NoLimitBelowZero = Annotated[float, Interval(ge=-1, le=1e6)]

Side = Annotated[int, Interval(ge=1, le=100_000)]
Channels = Annotated[int, Interval(ge=1, le=65_536)]
Count = Annotated[int, Interval(ge=1, le=1_000_000)]
ManyBoxes = Annotated[int, Interval(ge=1, le=10_000_000)]
