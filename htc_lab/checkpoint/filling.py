"""Weights into a model that has none yet: each of them, or not at all."""

import torch
from torch import Tensor

from htc_lab.config import ModelConfig
from htc_lab.errors import InputError, in_one_line
from htc_lab.model import HybridTaskCascade


def empty_model(config: ModelConfig) -> HybridTaskCascade:
    """The network without weights, to be filled by :func:`fill`: no time is spent on initialising them."""
    try:
        with torch.device("meta"):
            return HybridTaskCascade(config)
    except InputError:
        raise
    # Values that are each in range may still not fit together, such as groups that don't divide a width.
    except (ValueError, RuntimeError, TypeError, ArithmeticError) as error:
        raise InputError(
            f"config of {config.name:.60}: no network can be built from it ({in_one_line(error)}); correct it"
        ) from None


def fill(
    model: HybridTaskCascade,
    weights: dict[str, Tensor],
    source: str,
    fix: str = "it belongs to another config",
) -> None:
    """Load weights into the model; they must match it exactly.

    Args:
        model: on any device, including "meta" (without data).
        weights: by the model's own names.
        source: what the message calls them.
        fix: what to do about it, as the message ends.

    Raises:
        InputError: entries are missing, left over, or have another shape; the message names the first few.
    """
    wanted = model.state_dict()
    missing = sorted(set(wanted) - set(weights))
    left_over = sorted(set(weights) - set(wanted))
    differ = [
        f"{n} {kind_of(weights[n])} for {kind_of(wanted[n])}"
        for n in sorted(set(wanted) & set(weights))
        if wanted[n].shape != weights[n].shape
        or wanted[n].is_floating_point() != weights[n].is_floating_point()
    ]
    complaints = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in (("missing", missing), ("left over", left_over), ("of another shape", differ))
        if names
    ]
    if complaints:
        raise InputError(f"{source}: entries {'; '.join(complaints)}; {fix}")
    require_finite(weights, source)
    model.load_state_dict(weights, assign=True)


def require_finite(weights: dict[str, Tensor], source: str) -> None:
    """Refuse weights with a NaN or an infinity among them.

    Raises:
        InputError: names the first entries.
    """
    # Weights on "meta" are only shapes, without values.
    numbers = {n: v for n, v in weights.items() if v.is_floating_point() and not v.is_meta}
    spoilt = [n for n, v in numbers.items() if not v.isfinite().all()]
    if spoilt:
        raise InputError(
            f"{source}: {len(spoilt)} entries have values that are not finite ({', '.join(spoilt[:3])}): "
            "its training diverged or the file is damaged; use an earlier checkpoint"
        )


def kind_of(value: Tensor) -> str:
    """The shape, for a message, and whether the values are whole numbers."""
    return f"{tuple(value.shape)}{'' if value.is_floating_point() else ' of whole numbers'}"
