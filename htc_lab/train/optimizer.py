"""The optimiser of a training, and what it remembers from one session to the next."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from htc_lab.schedule import Schedule
from htc_lab.train.rates import parameter_groups

# What SGD and AdamW store for each weight.
_STATE = ("momentum_buffer", "exp_avg", "exp_avg_sq", "step")


def optimizer_of(
    model: nn.Module, weights: Mapping[str, nn.Parameter], schedule: Schedule
) -> torch.optim.Optimizer:
    """SGD or AdamW, with the weights in groups by :func:`htc_lab.train.rates.parameter_groups`."""
    groups = parameter_groups(model, weights, schedule)
    if schedule.adaptive:
        # Fused: one pass over all weights. Otherwise the optimizer takes a tenth of a small model's step.
        return torch.optim.AdamW(groups, lr=schedule.lr, betas=schedule.betas, fused=True)
    return torch.optim.SGD(groups, lr=schedule.lr, momentum=schedule.momentum)


def remembered(optimizer: torch.optim.Optimizer, weights: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """What the optimiser stores, as entries of a checkpoint: "exp_avg.backbone.conv1.weight" and so on."""
    return {
        f"{key}.{name}": optimizer.state[weight][key]
        for name, weight in weights.items()
        for key in _STATE
        if optimizer.state[weight].get(key) is not None
    }


def restore(
    optimizer: torch.optim.Optimizer, weights: Mapping[str, nn.Parameter], kept: Mapping[str, Tensor]
) -> None:
    """Give the optimiser back what :func:`remembered` has kept."""
    for name, weight in weights.items():
        for key in _STATE:
            value = kept.get(f"{key}.{name}")
            if value is not None:
                optimizer.state[weight][key] = value.to(weight.device)
