r"""Norms of FPN and heads, and a convolution and the batch norm after it as one.

Batch norm brings each channel to the mean and variance that it learns, from those of the batch:

.. math::
    y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

For heads the batch are the RoIs of all pictures, and it may be empty: a picture without a positive has no RoI
for the masks. Torch's batch norms refuse that, or learn statistics that are no numbers.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from htc_lab.errors import InputError
from htc_lab.layers.norm_config import NormConfig

_MOMENTUM = 0.1


class BatchNorm(nn.Module):
    """Batch norm of maps that takes any number of them, none included; torch's names of weights.

    Attributes:
        synchronised: with several processes, statistics are taken over all of them (:meth:`share`).
    """

    # As torch's, which fills them in place.
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, synchronised: bool = False, eps: float = 1e-5) -> None:
        super().__init__()
        self.synchronised, self.eps = synchronised, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        self._shared = False
        self._group: dist.ProcessGroup | None = None

    def share(self, group: dist.ProcessGroup | None) -> None:
        """From now on, take statistics over all processes.

        Args:
            group: through which they tell each other; None: the default one.
        """
        self._shared, self._group = True, group

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """In training by the batch's statistics, otherwise by those learned."""
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        self.num_batches_tracked += 1
        if self._shared or x.numel() <= x.shape[1]:
            return self._by_hand(x)
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, True, _MOMENTUM, self.eps
        )

    def _by_hand(self, x: Tensor) -> Tensor:
        """Where torch has no function: over several processes, and for no value or a single one."""
        count = x.numel() // x.shape[1]
        values = x.float()
        mean = variance = values.sum(dim=(0, 2, 3))
        if count:
            variance, mean = torch.var_mean(values, dim=(0, 2, 3), correction=0)
        sums = self._over_all(torch.cat([count * mean, mean.new_full((1,), count)]))
        whole = sums[-1].clamp(min=1)
        whole_mean = sums[:-1] / whole
        # Of a part's values, the squares around the whole's mean are those around its own, and its shift's.
        squares = self._over_all(count * (variance + (mean - whole_mean) ** 2))
        with torch.no_grad():
            pull = _MOMENTUM * (sums[-1] > 0)
            unbiased = squares / (whole - 1).clamp(min=1)
            self.running_mean += pull * (whole_mean - self.running_mean)
            self.running_var += pull * (unbiased - self.running_var)
        factor = self.weight * (squares / whole + self.eps).rsqrt()
        centred = values - whole_mean[:, None, None]
        return torch.addcmul(self.bias[:, None, None], centred, factor[:, None, None]).to(x.dtype)

    def _over_all(self, values: Tensor) -> Tensor:
        """Summed over the processes; so are the gradients on their way back."""
        if not self._shared:
            return values
        # Here, as it loads what remote calls need, too.
        from torch.distributed.nn.functional import all_reduce

        total: Tensor = all_reduce(values, group=self._group)
        return total

    def extra_repr(self) -> str:
        """What is printed between the parentheses."""
        return f"{len(self.weight)}{', synchronised' if self.synchronised else ''}"


AnyBatchNorm = BatchNorm | nn.BatchNorm2d | nn.SyncBatchNorm


def norm_layer(config: NormConfig, channels: int) -> BatchNorm | nn.GroupNorm:
    """The norm of so many channels.

    Raises:
        InputError: its groups don't divide them.
    """
    fault = config.fault(channels)
    if fault is not None:
        raise InputError(f"norm.groups: {fault}")
    if config.kind == "group":
        return nn.GroupNorm(config.groups, channels)
    return BatchNorm(channels, synchronised=config.kind == "sync")


def folded(
    weight: Float[Tensor, "D C kh kw"], norm: AnyBatchNorm
) -> tuple[Float[Tensor, "D C kh kw"], Float[Tensor, " D"]]:
    """Weight and bias of a convolution that does what one without bias and a batch norm do.

    With stored statistics a norm is one factor and one offset a channel. They go into the convolution's
    weights, which are small, so that the maps, which are large, are not gone through again.
    """
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    factor = norm.weight * (variance + norm.eps).rsqrt()
    return weight * factor[:, None, None, None], norm.bias - mean * factor


def has_batch_norm(model: nn.Module) -> bool:
    """Whether FPN or a head has batch norm, whose statistics change in training."""
    return any(isinstance(module, BatchNorm) for module in model.modules())


def share_norms(model: nn.Module, group: dist.ProcessGroup | None, every: bool) -> None:
    """From now on, take the statistics of synchronised batch norms over all processes.

    Args:
        model: of this process.
        group: through which the processes tell each other; None: the default one.
        every: of every batch norm that learns them, the backbone's included.
    """
    for module in model.modules():
        if isinstance(module, BatchNorm) and (every or module.synchronised):
            module.share(group)
    if every:
        nn.SyncBatchNorm.convert_sync_batchnorm(model, group)
