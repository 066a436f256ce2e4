"""Runs under several settings share what they have in common, and give the traces of runs alone."""

import itertools
import random
from collections import Counter

import pytest
import torch
from torch import Tensor

from htc_lab import cascade as cascade_module
from htc_lab.config import HTC, PLAIN_CASCADE, SWITCHES, Toggles
from htc_lab.errors import InputError
from htc_lab.ideas import IDEAS
from htc_lab.predictors import ModelPredictor
from htc_lab.shared_work import SharedWork, call, sharing_order
from htc_lab.toggles import EVERY_IDEA
from tests.unit.tiny import assert_same, lively, picture, with_toggles


def settings(fields: tuple[str, ...]) -> list[Toggles]:
    return [
        Toggles(**dict(zip(fields, on, strict=True)))
        for on in itertools.product((True, False), repeat=len(fields))
    ]


SIXTEEN = settings(("interleaved", "mask_flow", "semantic_box", "semantic_mask"))
EVERY = settings(SWITCHES)


@pytest.fixture(scope="module")
def seen():
    model = lively(with_toggles(EVERY_IDEA))
    with torch.no_grad():
        features = model.encode([picture(3)])
        return model, features, model.propose(features)


class Work:
    """Counts what the heads and the pooling of a model are asked to do."""

    def __init__(self, model, monkeypatch) -> None:
        self.counts: Counter[str] = Counter()
        self.sizes: set[int] = set()
        head = model.roi_head
        for t, box_head in enumerate(head.bbox_head):
            self._count(monkeypatch, box_head, "forward", f"box head {t}")
        for mask_head in head.mask_head:
            self._count(monkeypatch, mask_head, "trunk", "trunks")
            self._count(monkeypatch, mask_head, "class_logits", "logits")
        self._count(monkeypatch, cascade_module, "pool_pyramid", "poolings")
        self._count(monkeypatch, cascade_module, "detect", "detect")

    def _count(self, monkeypatch, owner, name: str, as_what: str) -> None:
        real = getattr(owner, name)

        def counting(*given):
            self.counts[as_what] += 1
            if as_what == "trunks":
                self.sizes.add(len(given[0]))
            return real(*given)

        monkeypatch.setattr(owner, name, counting)


@torch.no_grad()
def test_settings_run_together_are_those_run_one_by_one(seen) -> None:
    model, features, proposals = seen
    alone = {toggles: model.cascade(features, proposals, toggles) for toggles in EVERY}
    orders = (sorted(EVERY, key=sharing_order), random.Random(0).sample(EVERY, len(EVERY)))
    for order in orders:
        shared = SharedWork()
        for toggles in order:
            assert_same(model.cascade(features, proposals, toggles, shared=shared), alone[toggles])


@torch.no_grad()
def test_what_is_kept_and_for_whom_changes_no_trace(seen) -> None:
    """Few results, other stages, no view, other pictures and bfloat16 maps: it is only ever work."""
    model, features, proposals = seen
    other = model.encode([picture(4), picture(5)])
    with torch.autocast("cpu", torch.bfloat16):
        half = model.encode([picture(3)])
        given = [(half, model.propose(half)), (other, model.propose(other))]
    assert half.levels[0].dtype == torch.bfloat16
    asked = [HTC, EVERY_IDEA, Toggles(stages=2), Toggles(stages=1, interleaved=False), HTC]
    for most in (2, 64):
        shared = SharedWork(most)
        for f, p in [(features, proposals), *given]:
            for toggles, view in itertools.product(asked, (True, False)):
                ours = model.cascade(f, p, toggles, view, keep_features=True, shared=shared)
                assert_same(ours, model.cascade(f, p, toggles, view, keep_features=True))


@torch.no_grad()
def test_sixteen_settings_take_two_box_cascades_and_no_trunk_twice(seen, monkeypatch) -> None:
    model, features, proposals = seen
    work, shared = Work(model, monkeypatch), SharedWork()
    for toggles in sorted(SIXTEEN, key=sharing_order):
        model.cascade(features, proposals, toggles, shared=shared)
    # Masks are taken on four sets of boxes, with and without the semantic feature. Trunks, with the flow and
    # without: on the proposals stage 1; on its boxes 1, 2 and 2; then all five.
    trunks = 2 * 2 * (1 + 3 + 5 + 5)
    assert work.counts == {
        **{f"box head {t}": 2 for t in range(3)},
        "detect": 2,
        "poolings": 2 * (3 + 2 * 4),
        "trunks": trunks,
        # On the boxes of stage 2 the first trunk only hands on: no setting shows its mask there.
        "logits": trunks - 2 * 2 * 1,
    }
    # And again, without anything kept: what each setting takes alone.
    work.counts.clear()
    for toggles in SIXTEEN:
        model.cascade(features, proposals, toggles)
    assert work.counts["box head 0"] == work.counts["detect"] == 16
    assert work.counts["trunks"] == 2 * 2 * (6 + 9 + 5 + 6)


@torch.no_grad()
def test_no_setting_of_the_ideas_runs_a_trunk_twice(seen, monkeypatch) -> None:
    model, features, proposals = seen
    work, counts = Work(model, monkeypatch), []
    for shared in (SharedWork(), SharedWork(most=10**6)):
        work.counts.clear()
        for toggles in sorted(settings(tuple(idea.field for idea in IDEAS)), key=sharing_order):
            model.cascade(features, proposals, toggles, shared=shared)
        counts.append(dict(work.counts))
    assert counts[0]["trunks"] == counts[1]["trunks"]
    assert counts[0]["box head 0"] == counts[1]["box head 0"] == 2


@torch.no_grad()
def test_without_sharing_one_run_does_each_thing_once(seen, monkeypatch) -> None:
    model, features, proposals = seen
    work = Work(model, monkeypatch)
    model.cascade(features, proposals, HTC, per_stage_view=False)
    once = {f"box head {t}": 1 for t in range(3)} | {"detect": 1}
    assert work.counts == once | {"poolings": 4, "trunks": 3, "logits": 3}
    work.counts.clear()
    model.cascade(features, proposals, PLAIN_CASCADE)
    assert work.counts == once | {"poolings": 3 + 4, "trunks": 3 + 3, "logits": 3 + 3}


def test_a_mask_is_made_of_the_chosen_detections_alone(seen, monkeypatch) -> None:
    model, features, proposals = seen
    whole = {toggles: model.cascade(features, proposals, toggles) for toggles in SIXTEEN}
    work, done = Work(model, monkeypatch), []
    asked: list[Tensor] = []

    def choose(scores: Tensor) -> Tensor:
        asked.append(scores)
        return scores[-1].argsort()[:2]

    few = ModelPredictor(model).under(SIXTEEN, picture(3), choose, lambda: done.append(None))
    assert work.sizes == {2}
    # One part is the picture, one is each setting.
    assert len(done) == 1 + len(SIXTEEN)
    assert work.counts["trunks"] == 2 * 2 * (1 + 3 + 5 + 5)
    # Two box cascades, of which the scores of three stages and of the result were given.
    assert [len(scores) for scores in asked] == [4, 4]
    assert_same(few.features, features)
    assert list(few.traces) == SIXTEEN
    for toggles, trace in few.traces.items():
        least = whole[toggles].scores.argsort()[:2]
        torch.testing.assert_close(trace.scores, whole[toggles].scores[least])
        torch.testing.assert_close(trace.mask_probabilities, whole[toggles].mask_probabilities[least])
    by_stage = torch.stack([whole[HTC].stage_scores(t) for t in range(3)])
    torch.testing.assert_close(asked[-1][:3], by_stage)


def test_settings_the_weights_cannot_serve_are_refused_before_any_work(monkeypatch) -> None:
    model = lively(with_toggles(PLAIN_CASCADE))
    work = Work(model, monkeypatch)
    with pytest.raises(InputError, match="mask_flow"):
        ModelPredictor(model).under([PLAIN_CASCADE, HTC], picture(3))
    assert not work.counts


def test_a_call_is_made_once_for_each_set_of_arguments() -> None:
    made: list[tuple] = []

    def add(a: Tensor, b: int) -> Tensor:
        made.append((a, b))
        return a + b

    shared, one, same = SharedWork(most=2), torch.ones(2), torch.ones(2)
    first = shared.run(add, one, 1)
    assert shared.run(add, one, 1) is first
    # Equal numbers are the same argument, equal tensors are not.
    assert shared.run(add, same, 1) is not first
    assert len(made) == 2
    # The one that has not been asked for the longest has to go.
    shared.run(add, one, 1)
    shared.run(add, one, 2)
    shared.run(add, one, 1)
    assert len(made) == 3
    shared.run(add, same, 1)
    assert len(made) == 4
    assert call(add, one, 1) is not call(add, one, 1)


def test_a_result_of_tensors_that_are_gone_is_no_others() -> None:
    """A new tensor may get the id of one that nobody holds any more."""
    shared = SharedWork(most=1000)
    for value in range(200):
        assert float(shared.run(torch.Tensor.sum, torch.full((2,), float(value)))) == 2 * value
