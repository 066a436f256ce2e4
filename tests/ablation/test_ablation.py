"""The ladder, whole and for real, at the smallest size."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from htc_lab import RUNGS, InputError
from htc_lab.ablation.ladder import Ladder, open_ladder
from htc_lab.ablation.rung_result import RungResult
from htc_lab.model import build_model
from htc_lab.presets import CLASSROOM, PHOTOS
from htc_lab.toggles import BESIDE_THE_LADDER
from htc_lab.train.batches import BatchOfStep
from tests.training_fixtures import SCHEDULE


@pytest.fixture(scope="module")
def ladder(tmp_path_factory, data, config):
    out = tmp_path_factory.mktemp("ablation")
    made = Ladder(data, config, dataclasses.replace(SCHEDULE, steps=3), out, seeds=(0, 1), test_images=3)
    for name in made.rungs:
        made.run_rung(name, progress=False)
    made.save()
    return made


def test_results_have_what_was_promised(ladder):
    results = json.loads((ladder.out / "results.json").read_text())
    assert [rung["name"] for rung in results["rungs"]] == list(RUNGS)
    for rung in results["rungs"]:
        assert len(rung["mask_ap"]) == len(rung["box_ap"]) == len(rung["seconds"]) == 2
        assert all(0 <= ap <= 100 for ap in rung["mask_ap"] + rung["box_ap"])
        assert len(rung["stage_mask_ap"][0]) == 4
        assert len(rung["statistics"][0]["segm"]) == 12
    assert results["seconds"] > 0
    assert results["machine"]["cores"] >= 1
    assert results["config"]["test_images"] == 3
    assert set(results["gain"]) >= {"value", "low", "high"}
    assert (results["studies"], results["costs"]) == ([], None)


def test_rungs_cost_what_their_parts_weigh(ladder):
    counts = [ladder.done[name].parameters for name in RUNGS]
    assert counts[0] == counts[1] < counts[2] < counts[3]


def test_rungs_see_the_same_pictures_and_start_equal(ladder):
    a = BatchOfStep(ladder._train, 2, 3, seed=1)[2].samples
    b = BatchOfStep(ladder._train, 2, 3, seed=1)[2].samples
    assert all(torch.equal(x.image, y.image) for x, y in zip(a, b, strict=True))
    plain = build_model(
        dataclasses.replace(ladder.config, toggles=RUNGS["plain_cascade"]), seed=1
    ).state_dict()
    whole = build_model(dataclasses.replace(ladder.config, toggles=RUNGS["htc"]), seed=1).state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in plain.items())


def test_a_finished_rung_is_read_not_trained(ladder, data, config):
    again = Ladder(
        data, config, dataclasses.replace(SCHEDULE, steps=3), ladder.out, seeds=(0, 1), test_images=3
    )
    stamp = (ladder.out / "htc_seed0" / "checkpoint.safetensors").stat().st_mtime_ns
    assert again.run_rung("htc", progress=False) == ladder.done["htc"]
    assert (ladder.out / "htc_seed0" / "checkpoint.safetensors").stat().st_mtime_ns == stamp
    assert again.load("htc", 1).config.toggles == RUNGS["htc"]


def test_stage_detections_are_kept_beside_the_result(ladder):
    card = json.loads((ladder.out / "htc_seed0" / "evaluation.json").read_text())
    assert len(card["ap"]["stage_mask_ap"]) == 4
    whole = json.loads((ladder.out / "htc_seed0" / "detections.json").read_text())
    for t in (1, 2, 3):
        stage = json.loads((ladder.out / "htc_seed0" / f"detections_stage{t}.json").read_text())
        assert [row["bbox"] for row in stage] == [row["bbox"] for row in whole]


def test_effects_are_differences_between_neighbouring_combinations(data, config, tmp_path):
    made = Ladder(data, config, dataclasses.replace(SCHEDULE, steps=3), tmp_path, seeds=(0,), test_images=2)
    assert made.effects() == {}
    assert made.effects_markdown() == ""
    for name, toggles in (RUNGS | BESIDE_THE_LADDER).items():
        # Interleaving gives 1, the flow 2 and 4 more with the semantic branch, which alone takes 0.5.
        ap = 20.0 + toggles.interleaved + 2 * toggles.mask_flow - 0.5 * toggles.semantic
        ap += 4 * (toggles.mask_flow and toggles.semantic)
        made.done[name] = RungResult(
            name, toggles, [0], [ap], [50.0], [[ap] * 4], [{"segm": {"AP75": ap}}], [1.0], 1, [tmp_path]
        )
    assert made.effects() == {
        "interleaved": [1, 1, 1, 1],
        "mask_flow": [2, 2, 6, 6],
        "semantic": [-0.5, -0.5, 3.5, 3.5],
    }
    assert "| mask flow | +2.0 | +2.0 | +6.0 | +6.0 | +4.0 |" in made.effects_markdown()


def test_other_test_images_are_evaluated_anew(ladder, data, config):
    fewer = Ladder(
        data, config, dataclasses.replace(SCHEDULE, steps=3), ladder.out, seeds=(0,), test_images=2
    )
    fewer.run_rung("interleaved", progress=False)
    card = json.loads((ladder.out / "interleaved_seed0" / "evaluation.json").read_text())
    assert len(card["asked"]["images"]) == 2


def test_table_and_verdict_speak_of_every_rung(ladder):
    table = ladder.markdown()
    assert table.count("\n") == 5
    assert "+ Semantic branch (HTC)" in table
    assert "| 38.0 | +0.6 |" in table
    assert "(HTC)" in ladder.verdict()


def test_steps_and_pixels_can_be_chosen(data, tmp_path):
    usual = open_ladder(data, tmp_path, size="tiny")
    chosen = open_ladder(data, tmp_path, size="tiny", steps=7, short_side=320)
    assert (usual.schedule.steps, usual.config.image.short) == (3, 160)
    assert (chosen.schedule.steps, chosen.config.image.short) == (7, 320)
    assert chosen.config.image.train_short == (288, 320, 352)
    assert dataclasses.replace(chosen.config, image=usual.config.image) == usual.config


def test_bad_questions_get_one_line(ladder, data, config):
    with pytest.raises(InputError, match="rung 'resnext'"):
        ladder.run_rung("resnext")
    with pytest.raises(InputError, match="--seeds"):
        Ladder(data, config, SCHEDULE, ladder.out, seeds=())
    with pytest.raises(InputError, match="size 'huge'"):
        open_ladder(data, size="huge")


def test_photographs_get_the_photo_model_and_scenes_the_classrooms(data, tmp_path):
    nuts = Path(__file__).parents[1] / "data" / "nuts_excerpt"
    quick, whole = (open_ladder(nuts, tmp_path, size=size) for size in ("quick", "classroom"))
    assert quick.config.backbone == PHOTOS.backbone
    assert (quick.config.image.short, quick.config.image.train_short) == (320, (320,))
    assert (quick.schedule.cached_features, quick.schedule.crop, quick.schedule.steps) == (True, 0, 250)
    assert (whole.config.image, whole.schedule.crop) == (PHOTOS.image, 512)
    chosen = open_ladder(nuts, tmp_path, size="quick", short_side=640, crop=320, steps=9)
    assert (chosen.config.image.short, chosen.schedule.crop, chosen.schedule.steps) == (640, 320, 9)
    assert open_ladder(data, tmp_path).config.backbone == CLASSROOM.backbone
    assert open_ladder(data, tmp_path, preset="photos").config.backbone == PHOTOS.backbone
    asked = open_ladder(nuts, tmp_path, preset="classroom")
    assert (asked.config.backbone, asked.schedule.cached_features) == (CLASSROOM.backbone, False)
    with pytest.raises(
        InputError, match=r"--preset htc_r50_1x: the ladder is for classroom and photos; take"
    ):
        open_ladder(nuts, tmp_path, preset="htc_r50_1x")
    with pytest.raises(InputError, match=r"--crop 64: only the photo model takes crops; add --preset photos"):
        open_ladder(data, tmp_path, crop=64)
