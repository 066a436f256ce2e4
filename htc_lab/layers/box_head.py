"""The box head B_t: class logits and one set of deltas for each RoI."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class BoxHead(nn.Module):
    """Fully connected layers, then K + 1 class logits (background last) and 4 class-agnostic deltas."""

    def __init__(self, channels: int, size: int, hidden: int, fcs: int, classes: int) -> None:
        super().__init__()
        hidden_layers = [nn.Linear(channels * size * size if i == 0 else hidden, hidden) for i in range(fcs)]
        self.shared_fcs = nn.ModuleList(hidden_layers)
        self.fc_cls = nn.Linear(hidden, classes + 1)
        self.fc_reg = nn.Linear(hidden, 4)
        for layer in hidden_layers:
            nn.init.xavier_uniform_(layer.weight)
        nn.init.normal_(self.fc_cls.weight, std=0.01)
        nn.init.normal_(self.fc_reg.weight, std=0.001)
        for layer in (*hidden_layers, self.fc_cls, self.fc_reg):
            nn.init.zeros_(layer.bias)

    def hidden(self, features: Float[Tensor, "N C size size"]) -> Float[Tensor, "N hidden"]:
        """The box feature: what the fully connected layers make of a RoI, before classes and deltas."""
        x = features.flatten(1)
        for layer in self.shared_fcs:
            x = F.relu(layer(x))
        return x

    def forward(
        self, features: Float[Tensor, "N C size size"]
    ) -> tuple[Float[Tensor, "N classes"], Float[Tensor, "N 4"]]:
        """Class logits (N, K + 1) and deltas (N, 4)."""
        x = self.hidden(features)
        # What follows (softmax, the move of a box) needs more digits than bfloat16 has.
        return self.fc_cls(x).float(), self.fc_reg(x).float()
