"""Numbers and sentences as people write them."""

import pytest

from htc_lab.wording import counted, listed, sentence, signed


def test_one_is_no_plural() -> None:
    assert [counted(n, "object") for n in (0, 1, 2)] == ["0 objects", "1 object", "2 objects"]
    assert [counted(n, "class", "classes") for n in (1, 3)] == ["1 class", "3 classes"]


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.04, 1, "0.0"),
        (-0.04, 1, "0.0"),
        (0.0, 2, "0.00"),
        (-0.004, 2, "0.00"),
        (1.25, 1, "+1.2"),
        (-3.0, 1, "-3.0"),
    ],
)
def test_a_difference_that_rounds_to_zero_has_no_sign(value: float, decimals: int, text: str) -> None:
    assert signed(value, decimals) == text


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        ("it is wrong", "it is wrong."),
        ("is the `return` missing?", "is the `return` missing?"),
        ("give a size.", "give a size."),
        ("expected one of:", "expected one of."),
    ],
)
def test_a_sentence_ends_once(text: str, ended: str) -> None:
    assert sentence(text) == ended


def test_words_are_listed() -> None:
    assert [listed(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
