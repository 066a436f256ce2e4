"""What ``check`` says of right, wrong, hanging and crashing answers, and that none of them gets through."""

import contextlib
import json
import os
import sys
import threading
import time

import numpy as np
import pytest
import torch

from htc_lab.course.checking import check, yours_or_ours
from htc_lab.course.compare import changed, first_difference
from htc_lab.course.exercises import EXERCISES
from htc_lab.course.grading.limits import CAN_FORK, run_here, run_limited
from htc_lab.errors import InputError

needs_fork = pytest.mark.skipif(not CAN_FORK, reason="answers run in this process here")


def right(x, previous, flow):
    return x if previous is None else x + flow(previous)


def test_a_right_answer_passes() -> None:
    verdict = check("04.2", right)
    assert verdict.passed
    assert str(verdict) == "✓ 04.2 F: what mask head t looks at: passed."
    assert "✓" in verdict._repr_markdown_()


def test_a_wrong_answer_is_told_where_and_why() -> None:
    text = str(check("04.2", lambda x, previous, flow: x if previous is None else x + previous))
    assert "not yet right" in text
    assert "the first is [0, 0, 0, 0]:" in text
    assert "G_t is left out" in text


def test_shape_and_dtype_come_first() -> None:
    assert "the shape is" in str(check("04.2", lambda x, previous, flow: x[:1]))
    assert "the dtype is float64" in str(check("04.2", lambda x, previous, flow: x.double()))
    assert "perhaps because the `return` is missing." in str(check("04.2", lambda x, previous, flow: None))


def test_the_function_is_found_by_its_name(monkeypatch) -> None:
    assert check("04.2").status == "missing"
    monkeypatch.setattr(sys.modules["__main__"], "fuse", right, raising=False)
    assert check("04.2").passed


def test_an_unknown_number_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"choose from 01\.1"):
        check("9.9")


def test_a_crash_names_the_line_of_the_student() -> None:
    def careless(x, previous, flow):
        return previous.mean() + x

    verdict = check("04.2", careless)
    assert verdict.status == "crashed"
    assert "AttributeError" in str(verdict)
    assert "return previous.mean() + x" in str(verdict)


def test_an_error_without_words_is_its_name_alone() -> None:
    def unfinished(x, previous, flow):
        raise MemoryError

    assert "  MemoryError. Your line: `raise MemoryError`." in str(check("04.2", unfinished))


def test_every_sentence_of_a_verdict_ends_once() -> None:
    def none(x, previous, flow):
        return None

    def refuses(x, previous, flow):
        raise ValueError("give a size.")

    def chooses(x, previous, flow):
        raise RuntimeError("expected one of:\n  cpu, cuda\n  and more")

    assert "because the `return` is missing.\n" in str(check("04.2", none)) + "\n"
    assert "ValueError: give a size. Your line" in str(check("04.2", refuses))
    assert "RuntimeError: expected one of: cpu, cuda. Your line" in str(check("04.2", chooses))


def test_a_crash_inside_a_library_names_the_line_that_called_it() -> None:
    def careless(x, previous, flow):
        return json.loads("no json")

    text = str(check("04.2", careless))
    assert 'return json.loads("no json")' in text
    assert "raise" not in text


def test_changing_an_argument_in_place_is_noticed() -> None:
    def in_place(x, previous, flow):
        return x if previous is None else x.add_(flow(previous).detach())

    assert "changed in place" in str(check("04.2", in_place))


def test_an_endless_answer_is_stopped() -> None:
    def endless(*_):
        while True:
            pass

    verdict = check("04.2", endless, seconds=0.5)
    assert verdict.status == "too slow"
    assert "loop that never ends" in str(verdict)


@needs_fork
def test_an_answer_that_catches_everything_is_stopped_too() -> None:
    def stubborn(*_):
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(5)

    assert check("04.2", stubborn, seconds=0.5).status == "too slow"


@needs_fork
@pytest.mark.parametrize("code", [0, 1])
def test_an_answer_that_ends_the_process_is_reported(code: int) -> None:
    verdict = check("04.2", lambda *_: os._exit(code))
    assert verdict.status == "crashed"
    assert "ended the process" in str(verdict)


@needs_fork
def test_a_crash_of_the_interpreter_is_reported() -> None:
    verdict = check("04.2", lambda *_: os.kill(os.getpid(), 11))
    assert "SIGSEGV" in str(verdict)


def test_exit_and_print_do_no_harm(capfd) -> None:
    def leaves(*_):
        print("noise")
        raise SystemExit(0)

    assert check("04.2", leaves).status == "crashed"
    assert "noise" not in capfd.readouterr().out


@needs_fork
def test_an_answer_cannot_change_the_notebook() -> None:
    seen = []
    check("04.2", lambda *arguments: seen.append(1))
    assert seen == []


@needs_fork
def test_many_threads_of_torch_do_not_stop_the_child() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.randn(512, 512) @ torch.randn(512, 512)
        assert check("04.3", EXERCISES["04.3"].reference).passed
    finally:
        torch.set_num_threads(before)


def test_the_way_without_a_child_stops_a_python_loop_and_an_exit() -> None:
    def endless() -> dict:
        while True:
            pass

    def leaves() -> dict:
        raise SystemExit(3)

    assert run_here(endless, 0.3).how == "late"
    assert run_here(leaves, 5.0).how == "died"
    assert run_here(lambda: {"a": 1}, 5.0).value == {"a": 1}
    ended = []
    other = threading.Thread(target=lambda: ended.append(run_here(lambda: {"a": 2}, 0.01).value))
    other.start()
    other.join()
    assert ended == [{"a": 2}]


def test_what_is_no_result_counts_as_died() -> None:
    assert run_limited(lambda: {"a": object()}, 5.0).how == "died" if CAN_FORK else True


def test_yours_or_ours_never_fails(capsys) -> None:
    def wrong(x, previous, flow):
        return x

    assert yours_or_ours("04.2", right) is right
    assert "your fuse is used here" in capsys.readouterr().out
    assert yours_or_ours("04.2", wrong) is EXERCISES["04.2"].reference
    assert yours_or_ours("04.2") is EXERCISES["04.2"].reference
    assert "the lab's own fuse is used instead" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("got", "wanted", "words"),
    [
        (1.0, 1.0, None),
        (float("nan"), float("nan"), None),
        (torch.tensor(2.0), 2.0, None),
        (2, 3, "the result is 2, but should be 3"),
        (True, 1, "expected a number"),
        ("better", "worse", "'better'"),
        ([1, 2], [1, 2, 3], "expected 3 items, but you returned 2"),
        ((1, 5), [1, 2], "item 1 of the result"),
        (3, [1], "expected a list of 1, but you returned an int"),
        ([1.0], torch.ones(1), "expected a torch.Tensor, but you returned a list"),
        (torch.ones(2), np.ones(2), "expected a numpy array"),
        (np.ones(2), np.ones(3), "the shape is (2,), but should be (3,)"),
        (np.array([1.0, 2.0]), np.array([1.0, 2.1]), "[1]: 2, but should be 2.1"),
        (torch.tensor([float("inf")]), torch.tensor([float("inf")]), None),
    ],
)
def test_first_differences_in_words(got, wanted, words) -> None:
    found = first_difference(got, wanted)
    assert found is None if words is None else words in (found or "")


def test_only_arrays_count_as_changed() -> None:
    assert not changed((1, "a", [torch.ones(1)]), (2, "b", [torch.ones(1)]))
    assert changed((np.ones(1),), (np.zeros(1),))
