"""The box head B_t: class logits and deltas for each RoI."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from htc_lab.layers.conv import conv_relu
from htc_lab.layers.norm_config import NormConfig


class BoxHead(nn.Module):
    """Convolutions or none, fully connected layers, then K + 1 class logits (background last) and deltas.

    The deltas are four for a RoI, whatever it is, or with ``class_agnostic`` off four for each class.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        hidden: int,
        fcs: int,
        classes: int,
        *,
        convs: int = 0,
        conv_channels: int = 256,
        norm: NormConfig | None = None,
        class_agnostic: bool = True,
    ) -> None:
        super().__init__()
        self.class_agnostic = class_agnostic
        self.shared_convs = nn.ModuleList(
            conv_relu(channels if i == 0 else conv_channels, conv_channels, 3, norm) for i in range(convs)
        )
        inputs = (conv_channels if convs else channels) * size * size
        hidden_layers = [nn.Linear(inputs if i == 0 else hidden, hidden) for i in range(fcs)]
        self.shared_fcs = nn.ModuleList(hidden_layers)
        self.fc_cls = nn.Linear(hidden, classes + 1)
        self.fc_reg = nn.Linear(hidden, 4 if class_agnostic else 4 * classes)
        for layer in hidden_layers:
            nn.init.xavier_uniform_(layer.weight)
        nn.init.normal_(self.fc_cls.weight, std=0.01)
        nn.init.normal_(self.fc_reg.weight, std=0.001)
        for layer in (*hidden_layers, self.fc_cls, self.fc_reg):
            nn.init.zeros_(layer.bias)

    def hidden(self, features: Float[Tensor, "N C size size"]) -> Float[Tensor, "N hidden"]:
        """The box feature: what the layers before classes and deltas make of a RoI."""
        x = features
        for layer in self.shared_convs:
            x = layer(x)
        x = x.flatten(1)
        for layer in self.shared_fcs:
            x = F.relu(layer(x))
        return x

    def forward(
        self, features: Float[Tensor, "N C size size"]
    ) -> tuple[Float[Tensor, "N classes"], Float[Tensor, "N *K 4"]]:
        """Class logits (N, K + 1) and deltas (N, 4), or (N, K, 4) where each class has its own."""
        x = self.hidden(features)
        # What follows (softmax, the move of a box) needs more digits than bfloat16 has.
        logits, deltas = self.fc_cls(x).float(), self.fc_reg(x).float()
        return logits, deltas if self.class_agnostic else deltas.unflatten(1, (-1, 4))
