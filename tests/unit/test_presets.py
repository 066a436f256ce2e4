"""Every preset is the reference's model: as many parameters, the same entries; and each one trains."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch

from htc_lab.checkpoint.filling import empty_model, fill
from htc_lab.cli import main
from htc_lab.config import TimmBackboneConfig
from htc_lab.interop.shapes import config_from_shapes
from htc_lab.model import HybridTaskCascade, build_model, total_loss
from htc_lab.preset_table import PAGE, as_markdown, rows
from htc_lab.presets import PRESET_RECORDS, PRESETS, schedule_of
from tests.unit.tiny import generator, picture, truth

# The paper's largest single model is not among the reference's.
SENET = "htc_senet154_dcn_syncbn_ms_20e"
OWN = ("classroom", "photos", SENET)
FULL_SIZE = [name for name in PRESETS if name not in OWN]

SEMANTIC_BRANCH = 5 * (256 * 256 + 256) + 4 * (9 * 256 * 256 + 256) + (256 * 256 + 256) + (183 * 256 + 183)
FLOW = 2 * (256 * 256 + 256)
# Offsets in c3, c4 and c5 of a 101-layer ResNeXt 64x4d: 4, 23 and 3 convolutions of 512, 1024, 2048 channels,
# each with 3x3 kernels to 2 x 9 offset channels, and a bias.
OFFSETS = sum(n * (9 * c * 18 + 18) for n, c in ((4, 512), (23, 1024), (3, 2048)))

# Total and trainable, measured on the reference.
R50, R101 = (80_258_293, 80_032_949), (99_250_421, 99_025_077)
X101_32, X101_64 = (98_878_965, 98_663_605), (138_156_533, 137_753_781)


def _more(counts: tuple[int, int], by: int) -> tuple[int, int]:
    return counts[0] + by, counts[1] + by


# A Cascade Mask R-CNN is the HTC of its backbone without the branch and the flow; all of these are trainable.
PLAIN = -SEMANTIC_BRANCH - FLOW
COUNTS = {
    "cascade_r50_1x": (77_324_606, 77_099_262),
    "cascade_r50_20e": (77_324_606, 77_099_262),
    "cascade_r101_20e": _more(R101, PLAIN),
    "cascade_x101_32x4d_20e": _more(X101_32, PLAIN),
    "cascade_x101_64x4d_20e": _more(X101_64, PLAIN),
    "htc_without_semantic_r50_1x": (77_456_190, 77_230_846),
    "htc_r50_1x": R50,
    "htc_r50_20e": R50,
    "htc_r101_20e": R101,
    "htc_x101_32x4d_20e": X101_32,
    "htc_x101_64x4d_20e": X101_64,
    "htc_x101_64x4d_dcn_ms_20e": _more(X101_64, OFFSETS),
}

# Of the sorted "name shape" lines of the reference's own model (mmdet 3.3.0): number, start of the SHA-256.
ENTRIES = {
    "cascade_r50_1x": (400, "d30910b22cd3e201"),
    "cascade_r50_20e": (400, "d30910b22cd3e201"),
    "cascade_r101_20e": (706, "7627de162db8ac80"),
    "cascade_x101_32x4d_20e": (706, "3a925c0d3def745c"),
    "cascade_x101_64x4d_20e": (706, "cc1ebd33bc65b0b8"),
    "htc_without_semantic_r50_1x": (404, "fc12ef299de7cf76"),
    "htc_r50_1x": (426, "3502a69723fe03d0"),
    "htc_r50_20e": (426, "3502a69723fe03d0"),
    "htc_r101_20e": (732, "f48d761b008d170f"),
    "htc_x101_32x4d_20e": (732, "7484aa206c8c0c85"),
    "htc_x101_64x4d_20e": (732, "4d664a76a3faa0b6"),
    "htc_x101_64x4d_dcn_ms_20e": (792, "8d1393ca1d9dd38f"),
}


def _shapes(model: HybridTaskCascade) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def test_hand_arithmetic_agrees_with_what_was_measured():
    assert SEMANTIC_BRANCH == 2_802_103
    assert FLOW == 131_584
    assert _more(R50, PLAIN) == COUNTS["cascade_r50_1x"]
    assert _more(R50, -SEMANTIC_BRANCH) == COUNTS["htc_without_semantic_r50_1x"]
    assert COUNTS["htc_x101_64x4d_dcn_ms_20e"] == (143_299_601, 142_896_849)


@pytest.fixture(scope="module")
def table():
    return rows()


def test_parameters_are_the_references_to_the_digit(table):
    found = {row.name: (row.parameters, row.trainable) for row in table if row.name not in OWN}
    assert found == COUNTS


def test_parameters_of_the_challenge_system_by_hand(table):
    (row,) = [row for row in table if row.name == SENET]
    # SENet-154 without its classifier, and offsets in the three blocks of its last layer.
    backbone = 113_039_984 + 3 * (9 * 1024 * 18 + 18)
    resnet = 23_508_032
    # A norm has a scale and a shift for each channel where the convolution had a bias: one number more.
    fpn, masks, semantic = 8 * 256, (3 * 4 + 2) * 256, (5 + 4 + 1) * 256
    convs = 4 * (9 * 256 * 256 + 2 * 256)
    # The second linear layer goes, four convolutions come.
    boxes = 3 * (convs - (1024 * 1024 + 1024))
    assert row.parameters == R50[0] - resnet + backbone + fpn + masks + semantic + boxes


@pytest.mark.parametrize("name", FULL_SIZE)
def test_the_entries_are_the_references(name):
    lines = sorted(
        f"{entry} {'x'.join(map(str, shape))}" for entry, shape in _shapes(empty_model(PRESETS[name])).items()
    )
    assert (len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]) == ENTRIES[name]


def test_each_entry_of_htc_r50_by_name_and_shape():
    text = (Path(__file__).parent / "htc_r50_state_dict.txt").read_text()
    wanted = dict(line.split(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    found = {name: str(shape) for name, shape in _shapes(empty_model(PRESETS["htc_r50_1x"])).items()}
    assert found == wanted


@pytest.mark.parametrize("name", [*FULL_SIZE, "classroom", SENET])
def test_shapes_alone_rebuild_the_model(name):
    model = empty_model(PRESETS[name])
    seen = config_from_shapes(_shapes(model), name, name)
    # Raises where an entry is missing, left over or of another shape.
    fill(empty_model(seen), model.state_dict(), name)


def _kinds() -> list[str]:
    """A preset of each kind of network; of one kind are those that differ in depth and width alone."""
    seen: dict[object, str] = {}
    for name, config in PRESETS.items():
        body = (
            config.backbone.name
            if isinstance(config.backbone, TimmBackboneConfig)
            else (type(config.backbone), config.backbone.groups > 1, config.backbone.deformable)
        )
        seen.setdefault((body, config.toggles, config.classes), name)
    return list(seen.values())


@pytest.mark.parametrize("name", _kinds())
def test_a_training_step(name):
    config = PRESETS[name]
    few = dataclasses.replace(config.rpn, train_before_nms=60, train_after_nms=20)
    config = dataclasses.replace(
        config, rpn=few, cascade=dataclasses.replace(config.cascade, samples=min(32, config.cascade.samples))
    )
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = build_model(config).train()
        # Fresh residual branches, each as loud as its input, would double the variance a hundred-layer body
        # hands on in every block.
        for entry, value in model.backbone.named_parameters():
            if entry.endswith("bn3.weight"):
                value.fill_(0.2)
    losses = model.losses([picture(0, 96, 128)], [truth(0, 2, 96, 128)], generator=generator())
    assert ("loss_semantic_seg" in losses) == config.toggles.semantic
    total_loss(losses).backward()
    for entry, value in model.named_parameters():
        assert (value.grad is not None) == value.requires_grad, entry
        assert value.grad is None or bool(value.grad.isfinite().all()), entry
    assert sum(not value.requires_grad for value in model.parameters()) > 0
    if getattr(config.backbone, "deformable", ()):
        # Offsets start at zero and learn at once.
        assert bool(model.get_parameter("backbone.layer4.2.conv2.conv_offset.weight").grad.any())


def test_the_page_is_what_the_program_writes(table):
    assert PAGE.read_text() == as_markdown(table), "run python -m htc_lab.preset_table"


def test_released_figures_are_of_presets():
    released = {name: one.released for name, one in PRESET_RECORDS.items() if one.released}
    missing = set(FULL_SIZE) - set(released)
    assert missing == {"htc_without_semantic_r50_1x"}
    assert set(released) <= set(PRESETS)
    # The published gain: 1.5 to 1.9 points of mask AP over the cascade of the same backbone and schedule.
    for backbone in ("r50_1x", "r50_20e", "r101_20e", "x101_32x4d_20e", "x101_64x4d_20e"):
        gain = released[f"htc_{backbone}"].mask_ap - released[f"cascade_{backbone}"].mask_ap
        assert 1.45 < gain < 1.95


def test_the_multi_scale_preset_draws_from_400_to_1400():
    image = PRESETS["htc_x101_64x4d_dcn_ms_20e"].image
    assert (min(image.train_short), max(image.train_short), image.train_long) == (400, 1400, 1600)
    assert (image.short, image.long) == (800, 1333)
    assert schedule_of("htc_x101_64x4d_dcn_ms_20e").batch == 16


def test_the_command_lists_them(capsys):
    main(["train", "--list"])
    shown = capsys.readouterr().out
    for name in PRESETS:
        assert name in shown
    assert "143,299,601" in shown
    assert "mmdet 3.3.0 model zoo" in shown
    main(["train", "--list", "--json"])
    found = json.loads(capsys.readouterr().out)
    listed = {row["name"]: row for row in found["presets"]}
    assert listed["htc_r50_1x"]["released"]["mask_ap"] == 37.4
    assert listed["classroom"]["released"] is listed["photos"]["released"] is None
    assert listed["htc_r101_20e"]["parameters"] == COUNTS["htc_r101_20e"][0]


@pytest.mark.parametrize(
    ("given", "lacking"), [([], "data"), (["--data", "somewhere"], "run"), (["--run", "somewhere"], "data")]
)
def test_a_training_still_needs_data_and_a_place(capsys, given, lacking):
    with pytest.raises(SystemExit) as stop:
        main(["train", *given])
    assert stop.value.code == 2
    assert f"error: --{lacking}: is missing" in capsys.readouterr().err
