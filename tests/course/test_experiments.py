"""The lessons' experiments: what they must give where the answer is known."""

import numpy as np
import pytest
import torch

import htc_lab
from htc_lab.course.exercises import EXERCISES
from htc_lab.course.lesson02.boxes import box_journey, boxes_of, toward_truth
from htc_lab.course.lesson03.masks import (
    chained_masks,
    heads_on_boxes,
    kept_or_rerun,
    loss_reach,
    mask_iou,
    mask_training_boxes,
)
from htc_lab.course.lesson04.passes import mask_passes, pass_table
from htc_lab.course.lesson05.context import class_iou, count_decoys, predicted_map
from htc_lab.course.lesson06.exercises import average_precision
from htc_lab.course.lesson06.gain import image_scores
from htc_lab.course.lesson07.own_data import write_example
from htc_lab.course.lesson08.full_size import rehearse, reproduction_table, val_of
from htc_lab.course.lesson08.size_ap import size_ap
from htc_lab.course.looked_at import Seen, look_at
from htc_lab.course.plugging import decoding_with, flowing_with, fusing_with
from htc_lab.data.classroom.samples import classroom_samples
from htc_lab.data.classroom.scenes import SCENE_THINGS
from htc_lab.evaluate.coco_ap import encode_masks, evaluate
from htc_lab.layers.boxes import pairwise_iou
from htc_lab.structures import RoIs


@pytest.fixture(scope="module")
def model() -> htc_lab.HybridTaskCascade:
    return htc_lab.load("classroom/htc")


@pytest.fixture(scope="module")
def scenes(model) -> list[Seen]:
    return look_at(model, classroom_samples(3))


def test_the_dummy_head_halves_the_way() -> None:
    boxes, truth = torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.tensor([[4.0, 0.0, 14.0, 10.0]])
    torch.testing.assert_close(toward_truth(boxes, truth), torch.tensor([[2.0, 0.0, 12.0, 10.0]]))
    torch.testing.assert_close(toward_truth(boxes, truth, 1.0), truth)


def test_the_journey_starts_near_objects_and_follows_them(model, scenes) -> None:
    journey = box_journey(model, scenes)
    assert journey.iou.shape[0] == 4
    assert float(journey.iou[0].min()) >= 0.3
    assert journey.positives(0.5)[0] >= journey.positives(0.7)[0]
    assert len(journey.deltas) == 3


def test_heads_run_again_are_the_models_own_masks(model, scenes) -> None:
    scene = scenes[1]
    trace = model.cascade(scene.features, scene.proposals, per_stage_view=False)
    x = model.roi_head.mask_features(scene.features, RoIs.of([trace.boxes]), model.config.toggles)
    again = chained_masks(model, x, x, trace.labels)
    torch.testing.assert_close(again, trace.stages[-1].final_mask_logits)
    torch.testing.assert_close(
        chained_masks(model, x, x, trace.labels, EXERCISES["04.2"].reference), again, rtol=0, atol=0
    )


def test_features_kept_from_the_same_boxes_change_nothing(model, scenes) -> None:
    found = kept_or_rerun(model, scenes, shifts=(0.0, 0.4))
    assert float(found.box_iou[0]) == pytest.approx(1)
    assert float(found.kept[0]) == pytest.approx(found.rerun)
    assert float(found.box_iou[1]) < 0.6


def test_a_perfect_mask_has_iou_one(scenes) -> None:
    targets = scenes[0].targets
    height, width = targets.masks.shape[-2:]
    whole = torch.tensor([[0.0, 0.0, width, height]])
    logits = (targets.masks[:1].float() - 0.5) * 100
    assert float(mask_iou(logits, whole, targets, torch.tensor([0]))) == pytest.approx(1)


def test_a_loss_reaches_earlier_trunks_through_the_flow_alone(model, scenes) -> None:
    on, off = (loss_reach(model, scenes[0], flow=flow) for flow in (True, False))
    assert min(on[part] for part in ("trunk 1", "trunk 2", "trunk 3", "G 2", "G 3")) > 0
    assert [off[part] for part in ("trunk 1", "trunk 2", "G 2", "G 3")] == [0] * 4
    assert off["trunk 3"] > 0
    assert on["logits 1"] == on["logits 2"] == 0
    assert all(weight.grad is None for weight in model.parameters())


def test_mask_boxes_are_at_or_above_the_stages_threshold(model, scenes) -> None:
    boxes = mask_training_boxes(model, scenes)
    for stage, plain, refined in zip(
        model.config.cascade.stages, boxes.plain, boxes.interleaved, strict=True
    ):
        # A low-quality match may hand an object its best box though that overlaps another one more.
        assert float(plain.median()) >= stage.iou
        assert float(refined.median()) >= stage.iou


def test_final_boxes_are_the_last_column_of_the_heads(model, scenes) -> None:
    table = heads_on_boxes(model, scenes)
    assert table.shape == (3, 4)
    assert float(table.min()) > 0.3


def test_the_semantic_map_has_the_pictures_size_and_a_perfect_one_has_iou_one(model, scenes) -> None:
    scene = scenes[0]
    assert predicted_map(scene).shape == scene.image.shape[1:]
    iou = class_iou([scene], 12)
    present = set(scene.targets.semantic.unique().tolist()) | set(predicted_map(scene).unique().tolist())
    assert [not torch.isnan(v) for v in iou] == [k in present for k in range(12)]


def test_decoys_are_counted_from_the_scenes_themselves(model, scenes) -> None:
    count = count_decoys(model, scenes, first=0, semantic=True)
    assert count.objects == sum(len(scene.targets.boxes) for scene in scenes)
    assert 0 <= count.fooled <= count.decoys
    assert 0 < count.found <= count.objects


def test_a_students_part_works_in_the_model_and_leaves_no_trace(model, scenes) -> None:
    scene = scenes[0]
    before = model.cascade(scene.features, scene.proposals)
    for plug, part in (
        (decoding_with, EXERCISES["02.3"].reference),
        (flowing_with, EXERCISES["04.2"].reference),
        (fusing_with, EXERCISES["05.2"].reference),
    ):
        with plug(part):
            same = model.cascade(scene.features, scene.proposals)
        torch.testing.assert_close(same.mask_probabilities, before.mask_probabilities)
    with decoding_with(lambda boxes, *_: boxes):
        still = model.cascade(scene.features, scene.proposals)
    assert torch.equal(boxes_of(still)[0], boxes_of(still)[3])

    def fails(*_):
        raise ValueError("a student's slip")

    with pytest.raises(ValueError, match="slip"), flowing_with(fails):
        model.cascade(scene.features, scene.proposals)
    after = model.cascade(scene.features, scene.proposals)
    assert torch.equal(after.mask_probabilities, before.mask_probabilities)


def test_the_exercises_ap_is_cocos() -> None:
    rng = np.random.default_rng(3)
    images = [{"id": i, "width": 100, "height": 100} for i in range(8)]
    truth, results, scores, hits = [], [], [], []
    for image in images:
        box = [10.0 + 5 * image["id"], 20.0, 30.0, 30.0]
        truth.append(
            {"id": len(truth) + 1, "image_id": image["id"], "category_id": 1, "bbox": box, "area": 900.0}
        )
        for _ in range(2):
            move, score = float(rng.uniform(0, 20)), float(rng.random())
            results.append(
                {"image_id": image["id"], "category_id": 1, "bbox": [box[0] + move, *box[1:]], "score": score}
            )
    for image in images:
        taken = False
        mine = sorted((r for r in results if r["image_id"] == image["id"]), key=lambda r: -r["score"])
        for found in mine:
            x, y, w, h = found["bbox"]
            a, b, c, d = truth[image["id"]]["bbox"]
            boxes = torch.tensor([[x, y, x + w, y + h]]), torch.tensor([[a, b, a + c, b + d]])
            hit = float(pairwise_iou(*boxes)) >= 0.5 and not taken
            taken |= hit
            scores.append(found["score"])
            hits.append(hit)
    tree = {"images": images, "annotations": truth, "categories": [{"id": 1, "name": "thing"}]}
    wanted = evaluate(tree, results, "bbox")["AP50"] / 100
    assert average_precision(np.array(scores), np.array(hits), len(truth)) == pytest.approx(wanted)


def test_a_missed_object_counts_nothing(model) -> None:
    values = image_scores(model, classroom_samples(2))
    assert ((values >= 0) & (values <= 1)).all()
    assert (image_scores(model, classroom_samples(2), threshold=1.1) == 0).all()


def test_training_runs_six_trunks_and_a_test_three_on_the_final_boxes(model, scenes) -> None:
    passes = mask_passes(model, scenes[0])
    assert passes["training"].trunks == [3, 2, 1]
    assert passes["test"].trunks == [1, 1, 1]
    assert len(passes["training"].boxes) == 3
    (boxes,) = passes["test"].boxes
    final = model.cascade(scenes[0].features, scenes[0].proposals).boxes
    assert torch.equal(boxes, final)
    rows = pass_table(passes).data.splitlines()
    assert rows[2].startswith("| training | 3 × | 2 × | 1 × | 3 (of ")
    assert rows[3] == f"| test | 1 × | 1 × | 1 × | 1 (of {len(final)} boxes) |"
    assert "mask_features" not in vars(model.roi_head), "the model is as it was"
    assert not any(head.convs[0]._forward_hooks for head in model.roi_head.mask_head)


def test_the_rule_for_a_detections_size_moves_ap_by_size_and_not_ap() -> None:
    """A frame 40 px wide whose mask is 304 px large: medium by its box, small by its mask."""
    frame = torch.zeros(2, 100, 100, dtype=torch.bool)
    frame[0, 10:50, 10:50] = True
    frame[0, 12:48, 12:48] = False
    frame[1, 30:70, 55:95] = True
    frame[1, 32:68, 57:93] = False
    code, false = encode_masks(frame)
    image = {"id": 1, "width": 100, "height": 100}
    row = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": code}
    row |= {"bbox": [10.0, 10.0, 40.0, 40.0], "area": float(frame[0].sum())}
    truth = {"images": [image], "annotations": [row], "categories": [{"id": 1, "name": "frame"}]}
    found = {"image_id": 1, "category_id": 1, "bbox": [0.0, 0.0, 1.0, 1.0]}
    results = [
        {**found, "segmentation": false, "score": 0.9},
        {**found, "segmentation": code, "score": 0.5},
    ]
    by_mask, by_box = (size_ap(truth, results, way, (32.0, 96.0)) for way in (False, True))
    assert by_mask[:2] == pytest.approx([50.0, 50.0])
    # The false frame, medium by its box, no longer counts against the small ones.
    assert by_box[:2] == pytest.approx([50.0, 100.0])
    assert np.isnan(by_mask[2:]).all()
    wanted = evaluate(truth, results, "segm", engine="pycocotools")
    assert by_mask[:2] == pytest.approx([wanted["AP"], wanted["APs"]])


def test_a_rehearsal_with_random_weights_finds_no_gain(tmp_path) -> None:
    folder = write_example(tmp_path / "own", classroom_samples(5), SCENE_THINGS)
    outcome = rehearse(val_of(folder), tmp_path / "out", images=1, short=64)
    assert outcome.images == 1
    assert outcome.statistics["htc"]["segm"]["AP"] < 1
    shown = reproduction_table(outcome).data
    assert "| gain, 95 % interval |" in shown
    assert "is not significant" in shown
