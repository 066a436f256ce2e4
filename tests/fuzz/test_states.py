"""State strings and packs of the explorer."""

import json
import random
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from htc_lab.explorer.pack_format import BlockWriter, read_pack
from htc_lab.explorer.state import KNOBS, LAYERS, ExplorerState, check_knobs
from tests.fuzz.mutate import broken_bytes, broken_tree
from tests.fuzz.outcome import examples, outcome, times

_keys = st.sampled_from(["B", "A", "split", "off", "stage", "thr", "obj", "show", "ref", "life", "x", ""])
_words = st.one_of(
    st.sampled_from(["1111", "0000", "2", "0.5", "t", "s", "masks.boxes", "prev", "box", "", "1e9", "nan"]),
    st.sampled_from(
        ["9" * 400, "-1", "1.5", "٣", "4.0", ".5", "1111\n", "<img src=x>", "%00", "%ff", "0" * 99]
    ),
    st.text(max_size=12),
    st.integers(-5, 10**6).map(str),
    st.floats().map(str),
)
_strings = st.lists(st.tuples(_keys, _words), max_size=8).map(
    lambda parts: "&".join(f"{key}={word}" for key, word in parts)
)


@given(st.one_of(_strings, st.text(max_size=60)))
@example("stage=" + "9" * 400)
@example("stage=1.5")
@example("thr=٣")
@examples(600)
def test_any_text_for_a_state(text: str) -> None:
    state = outcome(lambda: ExplorerState.parse(text), "state")
    if state is not None:
        # What is shared once stays what it is.
        assert str(ExplorerState.parse(str(state))) == str(state)
        assert 0 <= state.stage <= 4
        assert str(state).isascii()


def test_broken_links() -> None:
    whole = "#B=1100&A=0000&split=0.25&off=s&stage=2&thr=0.45&obj=3&show=masks.truth&ref=prev&life=box"
    for seed in range(times(400)):
        text = broken_bytes(whole.encode(), random.Random(seed)).decode("latin-1")
        state = outcome(lambda text=text: ExplorerState.parse(text), "state")
        if state is not None:
            assert set(state.show) <= set(LAYERS)
            assert str(ExplorerState.parse(str(state))) == str(state)


@given(st.lists(st.one_of(st.sampled_from(KNOBS), st.text(max_size=8)), max_size=4))
@examples(100)
def test_any_names_of_knobs(names: list[str]) -> None:
    assert (outcome(lambda: check_knobs(names), "hide") is None) == bool(set(names) - set(KNOBS))


# ---- packs


def _pack() -> tuple[bytes, list[np.ndarray]]:
    blocks = BlockWriter()
    arrays = [
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.arange(7, dtype=np.uint8),
        np.arange(6, dtype=np.int16).reshape(2, 3),
        np.zeros((0, 4), dtype=np.float32),
    ]
    numbers = [blocks.add(array) for array in arrays]
    return blocks.finish({"title": "é <b>", "numbers": numbers}), arrays


def test_a_whole_pack_comes_back() -> None:
    pack, arrays = _pack()
    opened = outcome(lambda: read_pack(pack), "pack")
    assert opened is not None
    for number, array in zip(opened.index["numbers"], arrays, strict=True):
        assert (opened.blocks[number] == array).all()


def test_broken_packs() -> None:
    pack, _ = _pack()
    for seed in range(times(500)):
        data = broken_bytes(pack, random.Random(seed))
        opened = outcome(lambda data=data: read_pack(data), "pack")
        if opened is not None:
            assert isinstance(opened.index, dict)
    for length in range(len(pack)):
        assert outcome(lambda length=length: read_pack(pack[:length]), "pack") is None, length


@pytest.mark.parametrize("part", range(2))
def test_packs_with_a_broken_index(part: int) -> None:
    """The bytes fit together, what they say does not."""
    pack, _ = _pack()
    _, version, length = struct.unpack_from("<4sII", pack)
    index = json.loads(pack[12 : 12 + length])
    for seed in range(times(200)):
        text = json.dumps(broken_tree(index, random.Random(f"{part} {seed}"))).encode()
        data = struct.pack("<4sII", b"HTCX", version, len(text)) + text + pack[12 + length :]
        opened = outcome(lambda data=data: read_pack(data), "pack")
        if opened is not None:
            assert all(isinstance(block, np.ndarray) for block in opened.blocks)


def test_a_pack_that_would_fill_the_memory_is_refused() -> None:
    """A few kilobytes that inflate to as many megabytes as one likes: refused without inflating them."""
    text = b'{"version":1,"blocks":[[0,"u1",[4]]]}'
    squeezer = zlib.compressobj(9)
    zeros = bytes(2**24)
    body = b"".join(squeezer.compress(zeros) for _ in range(8)) + squeezer.flush()
    data = struct.pack("<4sII", b"HTCX", 1, len(text)) + text + body
    tracemalloc.start()
    assert outcome(lambda: read_pack(data), "pack") is None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
