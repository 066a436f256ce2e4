"""Our entries have the reference's names and shapes, and by these a preset is told."""

import dataclasses

import pytest

from htc_lab.checkpoint.filling import empty_model
from htc_lab.interop.shapes import config_from_shapes, like_a_preset
from htc_lab.presets import PRESETS

# Their shapes show the network, but not how its batch norm is trained, or the number of RoIs.
UNTOLD = ("classroom", "photos", "htc_senet154_dcn_syncbn_ms_20e")


def shapes_of(config):
    return {name: tuple(value.shape) for name, value in empty_model(config).state_dict().items()}


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in UNTOLD])
def test_every_preset_is_recognised_by_its_shapes(name):
    config = PRESETS[name]
    shapes = shapes_of(config)
    found = like_a_preset(config_from_shapes(shapes, "a_file", "a_file.pth"), f"some_{name}_coco_20200101-ab")
    assert dataclasses.replace(found, name=name) == config
    assert found.name.removesuffix("_1x").removesuffix("_20e") == name.removesuffix("_1x").removesuffix(
        "_20e"
    )
    assert shapes_of(found) == shapes


def reference_names(htc: bool, semantic: bool) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the reference's R-50 models, written from its documentation of them."""
    out: dict[str, tuple[int, ...]] = {}

    def conv(name, o, i, k, bias=True):
        out[f"{name}.weight"] = (o, i, k, k)
        if bias:
            out[f"{name}.bias"] = (o,)

    def norm(name, n):
        out.update({f"{name}.{part}": (n,) for part in ("weight", "bias", "running_mean", "running_var")})
        out[f"{name}.num_batches_tracked"] = ()

    conv("backbone.conv1", 64, 3, 7, bias=False)
    norm("backbone.bn1", 64)
    before = 64
    for layer, count in ((1, 3), (2, 4), (3, 6), (4, 3)):
        planes = 32 * 2**layer
        for unit in range(count):
            at = f"backbone.layer{layer}.{unit}"
            for i, (o, k, n) in enumerate(
                ((planes, 1, before), (planes, 3, planes), (4 * planes, 1, planes))
            ):
                conv(f"{at}.conv{i + 1}", o, n, k, bias=False)
                norm(f"{at}.bn{i + 1}", o)
            if unit == 0:
                conv(f"{at}.downsample.0", 4 * planes, before, 1, bias=False)
                norm(f"{at}.downsample.1", 4 * planes)
            before = 4 * planes
        conv(f"neck.lateral_convs.{layer - 1}.conv", 256, before, 1)
        conv(f"neck.fpn_convs.{layer - 1}.conv", 256, 256, 3)
    conv("rpn_head.rpn_conv", 256, 256, 3)
    conv("rpn_head.rpn_cls", 3, 256, 1)
    conv("rpn_head.rpn_reg", 12, 256, 1)
    for t in range(3):
        box, mask = f"roi_head.bbox_head.{t}", f"roi_head.mask_head.{t}"
        for name, o, i in (
            ("shared_fcs.0", 1024, 12544),
            ("shared_fcs.1", 1024, 1024),
            ("fc_cls", 81, 1024),
            ("fc_reg", 4, 1024),
        ):
            out[f"{box}.{name}.weight"], out[f"{box}.{name}.bias"] = (o, i), (o,)
        for i in range(4):
            conv(f"{mask}.convs.{i}.conv", 256, 256, 3)
        conv(f"{mask}.upsample", 256, 256, 2)
        conv(f"{mask}.conv_logits", 80, 256, 1)
        if htc and t > 0:
            conv(f"{mask}.conv_res.conv", 256, 256, 1)
    if semantic:
        at = "roi_head.semantic_head"
        for i in range(5):
            conv(f"{at}.lateral_convs.{i}.conv", 256, 256, 1)
        for i in range(4):
            conv(f"{at}.convs.{i}.conv", 256, 256, 3)
        conv(f"{at}.conv_embedding.conv", 256, 256, 1)
        conv(f"{at}.conv_logits", 183, 256, 1)
    return out


@pytest.mark.parametrize(
    ("name", "entries"),
    [("cascade_r50_1x", 400), ("htc_without_semantic_r50_1x", 404), ("htc_r50_1x", 426)],
)
def test_our_names_are_the_references(name, entries):
    toggles = PRESETS[name].toggles
    theirs = reference_names(toggles.mask_flow, toggles.semantic)
    assert len(theirs) == entries
    assert shapes_of(PRESETS[name]) == theirs
