"""The studies beyond the ladder: what a variant changes, and what its table says."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from htc_lab import HTC, RUNGS
from htc_lab.ablation.ladder import Ladder
from htc_lab.ablation.rung_result import RungResult, common_seeds
from htc_lab.ablation.studies import (
    AVERAGING,
    BEYOND,
    FUSION,
    STAGE_MASKS,
    STUDIES,
    VARIANTS,
    measure_study,
    study_markdown,
)
from htc_lab.commands.ablate import StudyFlags
from htc_lab.config_json import to_dict
from htc_lab.ideas import BEYOND_THE_PAPER, IDEAS
from htc_lab.presets import CLASSROOM
from htc_lab.toggles import BESIDE_THE_LADDER
from tests.evaluate.test_statistics import detect, scenes
from tests.training_fixtures import SCHEDULE


def changed(name: str) -> dict[str, Any]:
    """The fields in which a variant differs from the htc rung, by their dotted names."""

    def leaves(value: Any, at: str) -> dict[str, Any]:
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, tuple) else ()
        )
        found = {k: v for key, inner in items for k, v in leaves(inner, f"{at}.{key}").items()}
        return found or {at[1:]: value}

    rung, variant = (leaves(to_dict(c), "") for c in (CLASSROOM, VARIANTS[name](CLASSROOM)))
    return {key: value for key, value in variant.items() if rung[key] != value}


def result(name: str, by_seed: dict[int, float], folder: Path = Path()) -> RungResult:
    """A rung of that mask AP; its stages have 3, 2 and 1 less."""
    ap = list(by_seed.values())
    return RungResult(
        name=name,
        toggles=RUNGS.get(name, HTC),
        seeds=list(by_seed),
        mask_ap=ap,
        box_ap=[2 * value for value in ap],
        stage_mask_ap=[[value - 3, value - 2, value - 1, value] for value in ap],
        statistics=[{"segm": {"AP75": value}} for value in ap],
        seconds=[1.0 for _ in ap],
        parameters=1,
        run_folders=[folder / f"{name}_seed{seed}" for seed in by_seed],
    )


def test_a_variant_changes_what_its_name_says_and_nothing_else():
    assert {name: changed(name) for name in VARIANTS} == {
        "htc_fusion_box": {"toggles.semantic_mask": False},
        "htc_fusion_mask": {"toggles.semantic_box": False},
        "htc_semantic_weight_0.5": {"semantic.loss_weight": 0.5},
        "htc_semantic_weight_1": {"semantic.loss_weight": 1.0},
        "htc_semantic_weight_2": {"semantic.loss_weight": 2.0},
        "htc_semantic_weight_3": {"semantic.loss_weight": 3.0},
        "htc_stages_1": {"toggles.stages": 1},
        "htc_stages_2": {"toggles.stages": 2},
        "htc_thresholds_50_50_50": {"cascade.stages.1.iou": 0.5, "cascade.stages.2.iou": 0.5},
        "htc_thresholds_60_70_80": {
            "cascade.stages.0.iou": 0.6,
            "cascade.stages.1.iou": 0.7,
            "cascade.stages.2.iou": 0.8,
        },
    } | {f"htc_{idea.field}": {f"toggles.{idea.field}": True} for idea in BEYOND_THE_PAPER} | {
        f"{idea.field}_alone": {f"toggles.{each.field}": each is idea for each in (*HTC.ideas, idea)}
        for idea in BEYOND_THE_PAPER
    }


def test_every_study_has_its_flag_and_whole_rows():
    assert [field.name for field in dataclasses.fields(StudyFlags)] == [study.name for study in STUDIES]
    assert StudyFlags(fusion=True).chosen() == [FUSION]
    for study in STUDIES:
        for place, row in enumerate(study.rows):
            assert (row.run in VARIANTS) == (row.change is not None)
            assert row.run in VARIANTS or row.run in RUNGS
            assert row.versus != place
            assert row.versus is None or row.versus < len(study.rows)


def test_rows_are_compared_over_the_seeds_all_runs_have():
    done = {
        "mask_flow": result("mask_flow", {0: 20.0, 1: 30.0, 2: 40.0}),
        "htc": result("htc", {0: 23.0, 1: 35.0, 2: 90.0}),
        "htc_fusion_box": result("htc_fusion_box", {1: 31.0, 0: 22.0}),
    }
    assert measure_study(FUSION, done, {}) is None
    done["htc_fusion_mask"] = result("htc_fusion_mask", {1: 31.0, 0: 22.0})
    assert common_seeds(done.values()) == [0, 1]
    table = measure_study(FUSION, done, {})
    assert table["seeds"] == [0, 1]
    assert [row["mask_ap"] for row in table["rows"]] == [[20, 30], [22, 31], [22, 31], [23, 35]]
    assert [row["gain"] and row["gain"]["value"] for row in table["rows"]] == [None, 1.5, 1.5, 4.0]
    text = study_markdown(table)
    assert "| boxes | 26.5 (22.0 to 31.0) | 53.0 (44.0 to 62.0) | +1.5 (" in text
    assert "| nowhere | 37.3 | +0.8 |" in text
    assert "paired over the seeds" in text
    done["htc_fusion_mask"] = result("htc_fusion_mask", {7: 31.0})
    assert measure_study(FUSION, done, {}) is None


def test_masks_of_stages_come_from_the_same_runs():
    done = {name: result(name, {0: 20.0 + 4 * i, 1: 21.0 + 4 * i}) for i, name in enumerate(RUNGS)}
    rows = measure_study(STAGE_MASKS, done, {})["rows"]
    assert [row["mask_ap"][0] for row in rows] == [21, 22, 23, 24, 25, 26, 27, 28]
    assert [row["gain"]["value"] for row in rows[4:]] == [4, 4, 4, 4]
    rows = measure_study(AVERAGING, done, {})["rows"]
    assert [row["gain"]["value"] for row in rows if row["gain"]] == [1, 1, 1, 1]
    assert [row["paper"] for row in rows] == [None, None, 35.9, 36.7, 36.8, 37.4, None, None]


def test_one_seed_is_compared_over_the_images_and_says_so(tmp_path):
    truth, done = scenes(20), {}
    for number, name in enumerate(RUNGS):
        done[name] = result(name, {0: 20.0}, tmp_path)
        (tmp_path / f"{name}_seed0").mkdir()
        for part, noise in (("", 1.0), ("_stage3", 3.0)):
            found = json.dumps(detect(truth, noise, number))
            (tmp_path / f"{name}_seed0" / f"detections{part}.json").write_text(found)
    table = measure_study(AVERAGING, done, truth)
    gain = table["rows"][1]["gain"]
    assert gain["unit"] == "image"
    assert gain["low"] < gain["value"] < gain["high"]
    assert gain["value"] > 0
    assert "One training seed (0)" in study_markdown(table)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("htc_fusion_box", "same"),
        ("htc_stages_1", "fewer"),
        ("htc_thresholds_60_70_80", "same"),
        ("feature_relay_alone", "more"),
    ],
)
def test_a_variant_is_trained_as_the_rungs_are(data, config, tmp_path, name, parameters):
    made = Ladder(data, config, dataclasses.replace(SCHEDULE, steps=2), tmp_path, seeds=(3,), test_images=2)
    whole, variant = made.run_rung("htc", progress=False), made.run_rung(name, progress=False)
    assert (variant.parameters < whole.parameters) == (parameters == "fewer")
    asked, of_rung = (
        json.loads((tmp_path / f"{n}_seed3" / "config.json").read_text()) for n in (name, "htc")
    )
    assert [key for key in asked if asked[key] != of_rung[key]] == ["model", "about"]
    again = Ladder(
        data, config, dataclasses.replace(SCHEDULE, steps=2), tmp_path, seeds=(2, 3), test_images=2
    )
    again.take_up()
    assert again.done == {name: variant}


def test_an_idea_beyond_the_paper_is_measured_alone_and_on_htc_without_being_named():
    assert [idea.field for idea in BEYOND_THE_PAPER] == ["feature_relay"]
    assert set(BEYOND_THE_PAPER) == set(IDEAS) - set(HTC.ideas)
    base = [RUNGS["plain_cascade"].ideas, HTC.ideas]
    for row in BEYOND.rows:
        on = (row.change(CLASSROOM).toggles if row.change else RUNGS[row.run]).ideas
        if row.versus is None:
            assert on in base
            continue
        below = RUNGS[BEYOND.rows[row.versus].run].ideas
        (added,) = set(on) - set(below)
        assert added in BEYOND_THE_PAPER
        assert added.name.lower() in row.setting.lower()
    assert sum(row.versus is not None for row in BEYOND.rows) == 2 * len(BEYOND_THE_PAPER)
    done = {row.run: result(row.run, {0: 20.0 + i, 1: 21.0 + i}) for i, row in enumerate(BEYOND.rows)}
    text = study_markdown(measure_study(BEYOND, done, {}))
    assert "| feature relay alone | 21.5 (21.0 to 22.0) |" in text
    assert "| HTC and feature relay | 23.5 (23.0 to 24.0) | 47.0 (46.0 to 48.0) | **+1.0 (" in text


def test_what_is_not_the_paper_s_stays_out_of_its_combinations():
    for toggles in (RUNGS | BESIDE_THE_LADDER).values():
        assert not set(toggles.ideas) & set(BEYOND_THE_PAPER)
