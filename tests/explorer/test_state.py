import pytest
from hypothesis import given
from hypothesis import strategies as st

from htc_lab.config import HTC, MASK_FLOW, PLAIN_CASCADE
from htc_lab.errors import InputError
from htc_lab.explorer.bits import ALL_BITS, whole_bits
from htc_lab.explorer.state import LAYERS, ExplorerState, check_knobs, state_of

hundredths = st.integers(0, 100).map(lambda n: n / 100)
states = st.builds(
    ExplorerState,
    bits=st.sampled_from(ALL_BITS),
    compare=st.none() | st.sampled_from(ALL_BITS),
    split=hundredths,
    off_means=st.sampled_from(["trained_without", "switched_off"]),
    stage=st.integers(0, 4),
    threshold=hundredths,
    selected=st.integers(0, 99),
    show=st.lists(st.sampled_from(LAYERS), unique=True).map(
        lambda names: tuple(n for n in LAYERS if n in names)
    ),
    against=st.sampled_from(["plain", "prev"]),
    curve=st.sampled_from(["mask", "box"]),
)


@given(states)
def test_a_state_comes_back_from_its_string(state: ExplorerState) -> None:
    again = ExplorerState.parse(str(state))
    # Where nothing is compared the divider is not written.
    assert again == (state if state.compare is not None else ExplorerState.parse(str(state)))
    assert str(again) == str(state)


def test_the_strings_of_a_link_are_read() -> None:
    text = "#B=1100&A=0000&split=0.25&off=s&stage=2&thr=0.45&obj=3&show=masks.truth&ref=prev&life=box"
    assert ExplorerState.parse(text) == ExplorerState(
        "1100", "0000", 0.25, "switched_off", 2, 0.45, 3, ("masks", "truth"), "prev", "box"
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("B=12", "bits"),
        ("A=", "compare"),
        ("stage=7", "stage"),
        ("thr=nan", "thr"),
        ("thr=1.5", "threshold"),
        ("off=never", "off is"),
        ("show=masks.ghosts", "ghosts"),
        ("colour=red", "colour"),
    ],
)
def test_what_is_no_state_is_refused_with_its_name(text: str, names: str) -> None:
    with pytest.raises(InputError, match=names) as error:
        ExplorerState.parse(text)
    assert "\n" not in str(error.value)


def test_the_words_of_python_are_those_of_the_string() -> None:
    assert str(state_of(MASK_FLOW, PLAIN_CASCADE, "proposals", 3)).startswith(
        f"B={whole_bits('1100')}&A={whole_bits('0000')}&split=0.50&off=t&stage=0"
    )
    assert state_of(None, None, "mean", 2).stage == 3
    assert state_of(HTC, None, 2, 3) == ExplorerState(stage=2)
    with pytest.raises(InputError, match="stage=3"):
        state_of(HTC, None, 3, 2)


def test_an_unknown_knob_is_refused() -> None:
    assert check_knobs(("semantic", "open")) == ["semantic", "open"]
    with pytest.raises(InputError, match="'engine' is not a knob"):
        check_knobs(["engine"])
