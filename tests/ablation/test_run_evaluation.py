"""What is kept of a run's evaluation is whole and of the images asked for, whenever it was interrupted."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from htc_lab.ablation import run_evaluation
from htc_lab.ablation.ladder import Ladder
from htc_lab.data.layout import DataFolder
from htc_lab.errors import InputError
from htc_lab.files import write_text
from htc_lab.train.lock import only_here
from tests.training_fixtures import SCHEDULE
from tests.unit.tiny import TINY

SHORT = dataclasses.replace(SCHEDULE, steps=1)


def ladder(data: DataFolder, out: Path, test_images: int) -> Ladder:
    """Of one rung, measured on so many test images."""
    return Ladder(data, TINY, SHORT, out, test_images=test_images)


def images_of(folder: Path) -> set[int]:
    """Ids in what is kept of the detections."""
    return {entry["image_id"] for entry in json.loads((folder / "detections.json").read_text())}


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


@pytest.mark.parametrize("last", ["detections.json", "detections_stage2.json", "detections_stage3.json"])
def test_an_evaluation_of_other_images_that_is_killed_leaves_no_mixture(
    last: str, data: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "plain_cascade_seed0"
    before = ladder(data, tmp_path, 4).run_rung("plain_cascade", progress=False)
    assert images_of(run) == {image["id"] for image in data.test.coco.images}

    def killed_after(path: Path, text: str) -> None:
        write_text(path, text)
        if path.name == last:
            raise Killed

    monkeypatch.setattr(run_evaluation, "write_text", killed_after)
    with pytest.raises(Killed):
        ladder(data, tmp_path, 2).run_rung("plain_cascade", progress=False)
    monkeypatch.undo()
    # Detections of two images lie there now: an old evaluation of four must not vouch for them.
    assert len(images_of(run)) <= 2
    assert not (run / "evaluation.json").exists()
    after = ladder(data, tmp_path, 4).run_rung("plain_cascade", progress=False)
    assert images_of(run) == {image["id"] for image in data.test.coco.images}
    assert (after.mask_ap, after.box_ap, after.statistics) == (
        before.mask_ap,
        before.box_ap,
        before.statistics,
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda card: card["ap"].pop("segm"), "field 'ap.segm.AP' must be a number"),
        (lambda card: card["ap"]["bbox"].update(AP="12"), "field 'ap.bbox.AP' must be a number"),
        (lambda card: card["ap"].update(stage_mask_ap=[1, {}]), "field 'ap.stage_mask_ap' must be a list"),
        (lambda card: card.update(parameters=[3]), "field 'parameters' must be a number"),
        (lambda card: card.update(ap=None), "field 'ap.bbox.AP' must be a number"),
    ],
)
def test_a_broken_evaluation_is_named(change: Any, says: str, data: DataFolder, tmp_path: Path) -> None:
    begun = ladder(data, tmp_path, 2)
    begun.run_rung("plain_cascade", progress=False)
    path = tmp_path / "plain_cascade_seed0/evaluation.json"
    card = json.loads(path.read_text())
    change(card)
    path.write_text(json.dumps(card))
    with pytest.raises(InputError) as refusal:
        begun.run_rung("plain_cascade", progress=False)
    assert str(path) in str(refusal.value)
    assert says in str(refusal.value)
    assert "delete it, and it will be written again" in str(refusal.value)
    path.unlink()
    begun.run_rung("plain_cascade", progress=False)


def test_two_do_not_evaluate_one_run_at_once(
    data: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = ladder(data, tmp_path, 2)
    begun.run_rung("plain_cascade", progress=False)
    run = tmp_path / "plain_cascade_seed0"
    (run / "evaluation.json").unlink()
    model = begun.load("plain_cascade")
    monkeypatch.setattr("htc_lab.train.lock._PATIENCE", 0.1)
    # A lock is held by its handle, so a second one of the same process is as good as another process.
    with only_here(run), pytest.raises(InputError, match="is training in it"):
        run_evaluation.evaluation_of(run, model, begun.test, begun.truth, 0.0, False)
