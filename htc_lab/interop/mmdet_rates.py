"""How an mmdet config's learning rate rises and falls, and for which weights it is another, as fields.

mmengine's schedulers count epochs or steps from their ``begin``; here everything is a share of the training.
"""

from typing import Any

from htc_lab.interop.fields import Fields
from htc_lab.schedule import PartRates

_CURVES = {"CosineAnnealingLR": "cosine", "PolyLR": "polynomial"}
_WARMUPS = {"LinearLR": "linear", "ConstantLR": "constant", "ExponentialWarmup": "exponential"}
_NO_END = 10**9
_LONGEST = 1000


def rate_fields(fields: Fields, length: int, by_epoch: bool, lr: float) -> dict[str, Any]:
    """The fields of a Schedule that ``param_scheduler`` sets.

    Args:
        fields: of a whole config in mmdet 3's layout.
        length: of the training, in epochs or in steps.
        by_epoch: whether it is in epochs.
        lr: the learning rate.
    """
    found: dict[str, Any] = {"warmup_steps": 0, "decay_at": ()}
    for i in range(fields.length("param_scheduler")):
        at = f"param_scheduler.{i}"
        kind = fields.text(f"{at}.type")
        counts_epochs = fields.switch(f"{at}.by_epoch", True)
        if kind in _WARMUPS and not counts_epochs:
            _warm_up(fields, at, kind, found)
        elif kind in ("MultiStepLR", "StepLR", *_CURVES) and counts_epochs == by_epoch:
            if found["decay_at"] or "curve" in found:
                fields.cannot(at, "one scheduler besides the warm-up")
            elif kind in _CURVES:
                _curve(fields, at, kind, found, length, lr)
            else:
                _steps(fields, at, kind, found, length)
        elif kind in ("MultiStepLR", "StepLR", *_CURVES):
            unit = "epochs (EpochBasedTrainLoop)" if by_epoch else "steps (IterBasedTrainLoop)"
            fields.cannot(f"{at}.by_epoch", f"the training is counted in {unit}")
            fields.skip(at)
        else:
            fields.cannot(
                at,
                "a warm-up by steps (LinearLR, ConstantLR), then MultiStepLR, StepLR, CosineAnnealingLR or "
                "PolyLR",
            )
        fields.note_unread(at)
    return found


def _warm_up(fields: Fields, at: str, kind: str, found: dict[str, Any]) -> None:
    fields.expect(f"{at}.begin", 0)
    name = "factor" if kind == "ConstantLR" else "start_factor"
    if kind == "LinearLR":
        fields.expect(f"{at}.end_factor", 1.0)
    fields.skip(f"{at}.verbose")
    found |= {
        "warmup": _WARMUPS[kind],
        "warmup_from": fields.number(f"{at}.{name}", 1 / 3),
        "warmup_steps": fields.integer(f"{at}.end"),
    }


def _steps(fields: Fields, at: str, kind: str, found: dict[str, Any], length: int) -> None:
    fields.expect(f"{at}.begin", 0)
    end = min(fields.number(f"{at}.end", _NO_END), length)
    if kind == "StepLR":
        size = fields.integer(f"{at}.step_size")
        if size < 1:
            raise fields.wrong(f"{at}.step_size", "above 0")
        milestones = [float(size * i) for i in range(1, -(-length // size))] if size < length else []
    else:
        milestones = sorted(fields.numbers(f"{at}.milestones"))
    gamma = fields.number(f"{at}.gamma", 0.1)
    if gamma <= 0:
        raise fields.wrong(f"{at}.gamma", "above 0")
    found |= {"decay_at": tuple(m / length for m in milestones if m < end), "decay": 1 / gamma}


def _curve(fields: Fields, at: str, kind: str, found: dict[str, Any], length: int, lr: float) -> None:
    begin = fields.number(f"{at}.begin", 0)
    end = fields.number(f"{at}.end", _NO_END)
    if kind == "PolyLR":
        # The last one of its epochs, or steps, has the last rate.
        over = end - begin - 1
        found["power"] = fields.number(f"{at}.power", 1.0)
    elif fields.has(f"{at}.T_max"):
        over = fields.number(f"{at}.T_max")
        if not begin <= min(end, length) - 1 <= begin + over:
            fields.cannot(f"{at}.T_max", "up to the end of the training, so that the rate only falls")
    else:
        over = min(end, length) - begin
    each_step = not fields.switch(f"{at}.by_epoch", True) or fields.switch(
        f"{at}.convert_to_iter_based", False
    )
    if not 0 <= begin < length or over <= 0:
        raise fields.wrong(at, f"a curve within the {length} of the training")
    stops_early = kind == "CosineAnnealingLR" and end < length and not each_step
    if stops_early or end < min(length, begin + over):
        fields.cannot(f"{at}.end", "the end of the curve")
    if begin + over > _LONGEST * length:
        fields.cannot(at, f"a curve at most {_LONGEST} times as long as the training")
    floor = fields.number(f"{at}.eta_min", 0.0) / lr if lr > 0 else 0.0
    if fields.has(f"{at}.eta_min_ratio"):
        floor = fields.number(f"{at}.eta_min_ratio")
    if not 0 <= floor <= 1:
        raise fields.wrong(f"{at}.eta_min", "from 0 to the learning rate")
    found |= {
        "curve": _CURVES[kind],
        "curve_from": begin / length,
        "curve_to": min((begin + over) / length, float(_LONGEST)),
        "curve_end": floor,
        "curve_levels": 0 if each_step else length,
    }


def weight_fields(fields: Fields, at: str) -> dict[str, Any]:
    """The fields of a Schedule that ``paramwise_cfg`` sets, and what of it has none."""
    found: dict[str, Any] = {}
    if not fields.has(at):
        return found
    for name, field in (
        ("bias_lr_mult", "bias_lr"),
        ("bias_decay_mult", "bias_decay"),
        ("norm_decay_mult", "norm_decay"),
    ):
        if fields.has(f"{at}.{name}"):
            found[field] = fields.number(f"{at}.{name}")
    # No convolution here is depth-wise, and no weight is in the model twice.
    fields.skip(f"{at}.dwconv_decay_mult", f"{at}.bypass_duplicate")
    for name in ("dcn_offset_lr_mult", "flat_decay_mult"):
        if fields.has(f"{at}.{name}"):
            fields.expect(f"{at}.{name}", 1)
    keys = fields.get(f"{at}.custom_keys", None)
    if keys is not None:
        found["parts"] = _parts(fields, f"{at}.custom_keys", keys)
    fields.note_unread(at)
    return {name: value for name, value in found.items() if value != 1}


def _parts(fields: Fields, at: str, keys: Any) -> tuple[PartRates, ...]:
    parts = []
    for key, factors in keys.items() if isinstance(keys, dict) else [("", keys)]:
        own = factors if isinstance(factors, dict) else {"": factors}
        numbers = [own.get(name, 1.0) for name in ("lr_mult", "decay_mult")]
        if not isinstance(key, str) or any(type(number) not in (int, float) for number in numbers):
            raise fields.wrong(at, "texts with lr_mult and decay_mult, which are numbers")
        if own.keys() - {"lr_mult", "decay_mult"}:
            fields.cannot(at, "only lr_mult and decay_mult")
        parts.append(PartRates(key, float(numbers[0]), float(numbers[1])))
    return tuple(parts)
