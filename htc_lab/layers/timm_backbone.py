"""A backbone that timm builds, cut off after its last map and tapped at the strides FPN wants.

timm is imported when the first such backbone is built.
"""

import difflib
import re
from collections import Counter
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from htc_lab.errors import InputError, in_one_line
from htc_lab.layers.timm_backbone_config import TimmBackboneConfig
from htc_lab.wording import counted, listed

STRIDES = (4, 8, 16, 32)
_OTHERS = "take one that has maps of all four, such as tf_efficientnet_lite0, resnet50 or convnext_tiny"


class TimmBackbone(nn.Module):
    """``timm.create_model(name, features_only=True)``; its weights carry timm's names, below ``body``.

    ``forward`` takes normalised images (B, 3, H, W) and returns C2..C5, of strides 4, 8, 16, 32 px; where the
    network has several maps of a stride, the last of them.

    Attributes:
        out_channels: of C2..C5.
    """

    def __init__(self, config: TimmBackboneConfig) -> None:
        """See the class.

        Raises:
            InputError: timm has no such network, or it lacks a map; or it has fewer stages than are to be
                frozen.
        """
        super().__init__()
        self.config = config
        self.body = built(config.name)
        if _lost_on_meta(self.body):
            # No file brings these back, so they are computed.
            with torch.random.fork_rng(devices=[]), torch.device("cpu"):
                self.body = built(config.name)
        self.out_channels: list[int] = list(self.body.feature_info.channels())  # type: ignore[union-attr, operator]
        self._channels_last = getattr(self.body, "output_fmt", "NCHW") == "NHWC"
        self._stage_of = _stages(self.body)
        stages = max(self._stage_of.values()) + 1
        self._frozen = stages if config.frozen_stages is None else config.frozen_stages
        if self._frozen > stages:
            raise InputError(
                f"backbone.frozen_stages: is {self._frozen}, but {config.name} has "
                f"{counted(stages, 'stage')} with its stem; give at most that, or null for the whole backbone"
            )
        for name, module in self.body.named_modules():
            if self._stage_of[name] < self._frozen:
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> "TimmBackbone":
        """As ``nn.Module.train``, but frozen stages stay as at test time.

        So does batch norm everywhere, where the config says that it keeps its stored statistics.
        """
        super().train(mode)
        for name, module in self.body.named_modules():
            norm = isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm) and self.config.frozen_norm
            if mode and (norm or self._stage_of[name] < self._frozen):
                module.training = False
        return self

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """C2..C5."""
        maps: list[Tensor] = self.body(images)
        return [x.permute(0, 3, 1, 2) for x in maps] if self._channels_last else maps


def built(name: str, **options: Any) -> nn.Module:
    """timm's network of that name, which returns the maps of :data:`STRIDES`.

    Args:
        name: as timm writes it, with or without a tag ("resnet50.a1_in1k").
        options: further ones of ``timm.create_model``, such as ``pretrained``.

    Raises:
        InputError: there is no such network, or it lacks a map.
    """
    import timm

    if ":" in name or "/" in name or not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=4, cutoff=0.5)
        meant = f"; is it {listed(near, 'or')}?" if near else "; timm.list_models() lists them"
        raise InputError(f"backbone.name: timm {timm.__version__} has no '{name:.60}'{meant}")
    return timm.create_model(name, features_only=True, out_indices=_taps(name), **options)


def _lost_on_meta(body: nn.Module) -> bool:
    """Whether it was made without memory and has values that its state dict leaves out."""
    kept = body.state_dict().keys()
    return any(value.is_meta and name not in kept for name, value in body.named_buffers())


def _taps(name: str) -> tuple[int, ...]:
    """Which of timm's maps are those of :data:`STRIDES`."""
    import timm

    try:
        one_size = timm.get_pretrained_cfg_value(name, "fixed_input_size")
        # Without memory for weights, and without moving the generator that draws them: this is about shapes.
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            network: Any = timm.create_model(name, features_only=True)
            info = network.feature_info.info
    # What a network without such maps raises is its own affair: RuntimeError, AssertionError, TypeError...
    except Exception as error:
        raise InputError(
            f"backbone.name: {name} gives no maps of its stages ({in_one_line(error)}); {_OTHERS}"
        ) from None
    if one_size:
        raise InputError(f"backbone.name: {name} takes pictures of one size only; {_OTHERS}")
    last = {entry["reduction"]: index for index, entry in enumerate(info)}
    missing = [str(stride) for stride in STRIDES if stride not in last]
    if missing:
        have = listed([str(stride) for stride in sorted(last)])
        raise InputError(
            f"backbone.name: {name} has no map of stride {listed(missing)} (it has {have}); {_OTHERS}"
        )
    return tuple(last[stride] for stride in STRIDES)


_NUMBERED = re.compile(r"(.*?)(\d+)")


def _stages(body: nn.Module) -> dict[str, int]:
    """The stage of every module, by its name: 0 is the stem.

    A stage is what timm numbers and takes maps from: "layer1", "stages.0", "blocks.3". What stands between
    two of them in the order of the modules, which is that of the computation, belongs to the earlier one.
    """
    names = [entry["module"] for entry in body.feature_info.info]  # type: ignore[union-attr]
    heads = Counter(match[1] for match in map(_NUMBERED.match, names) if match)
    # timm joins the two parts of a name by an underscore where it unpacks a Sequential.
    head = re.escape(heads.most_common(1)[0][0]).replace(r"\.", "[._]") if heads else "(?!)"
    pattern = re.compile(rf"(?:^|\.){head}\d+(?=\.|$)")
    stage_of, seen = {}, [""]
    for name, _ in body.named_modules():
        match = pattern.search(name)
        if match and name[: match.end()] not in seen:
            seen.append(name[: match.end()])
        stage_of[name] = len(seen) - 1
    return stage_of
