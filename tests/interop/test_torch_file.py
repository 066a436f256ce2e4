"""Files of torch.save are read whole, and whatever else is in them stays dead."""

import io
import pickle
import random
import struct
import warnings
import zipfile

import numpy as np
import pytest
import torch

from htc_lab.errors import InputError
from htc_lab.interop.torch_file import open_torch_file
from htc_lab.interop.unpickling import Foreign, read_pickle
from tests.interop.files import FORMATS, Calls, marking, runs, strangers, write

DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
)


def tensors(path):
    with open_torch_file(path) as file:
        return {name: file.tensor(record, name) for name, record in file.content.items()}


@pytest.mark.parametrize("form", FORMATS)
def test_every_dtype_and_layout_comes_back(tmp_path, form):
    base = torch.arange(24.0).reshape(4, 6)
    wanted = {str(dtype): (torch.arange(6).reshape(2, 3) % 2).to(dtype) for dtype in DTYPES}
    wanted |= {
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 4),
        "transposed": base.T,
        "part": base[1:3, ::2],
        "same storage": base[2],
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    found = tensors(write(tmp_path / "file.pth", wanted, form))
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype, name
        assert torch.equal(found[name], value.detach()), name
        assert found[name].is_contiguous()
    found["same storage"].zero_()
    assert torch.equal(found["part"], base[1:3, ::2]), "tensors share memory"


@pytest.mark.parametrize("form", FORMATS)
def test_plain_values_and_shared_ones_survive(tmp_path, form):
    shared = {"a": (1, 2.5, "x", None, True)}
    content = {"one": shared, "two": [shared, -(2**40)], "long": ["word"] * 1000}
    with open_torch_file(write(tmp_path / "file.pth", content, form)) as file:
        assert file.content == content


@pytest.mark.parametrize("form", FORMATS)
def test_objects_of_missing_classes_become_foreign(tmp_path, form):
    with strangers() as found:
        content = {"w": torch.ones(3), "meta": found, "number": np.float64(2), "array": np.ones(3)}
        path = write(tmp_path / "file.pth", content, form)
    with open_torch_file(path) as file:
        assert torch.equal(file.tensor(file.content["w"], "w"), torch.ones(3))
        meta = file.content["meta"]
        for name in ("history", "config", "names", "kinds", "ordered"):
            assert type(meta[name]) is Foreign, name
        assert meta["kind"] is Foreign
        assert type(file.content["number"]) is Foreign


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("place", ["top", "meta", "key", "state"])
def test_nothing_in_a_file_is_run(tmp_path, form, place):
    marker = tmp_path / "marker"
    for i, evil in enumerate(marking(marker)):
        assert runs(evil, marker)
        content = {
            "top": evil,
            "meta": {"w": torch.ones(2), "meta": {"deep": [evil]}},
            "key": {"w": torch.ones(2), evil: 1},
            "state": {"w": torch.ones(2), "more": Calls(type(evil), evil)},
        }[place]
        path = write(tmp_path / f"{i}.pth", content, form)
        # Such files that torch itself would run: reading them its way would have left the marker.
        with open_torch_file(path) as file:
            if place != "top":
                assert torch.equal(file.tensor(file.content["w"], "w"), torch.ones(2))
        assert not marker.exists()


def opcodes(*parts: bytes) -> io.BytesIO:
    return io.BytesIO(b"\x80\x02" + b"".join(parts) + b".")


NAMED = b"ccollections\nOrderedDict\n"


@pytest.mark.parametrize(
    "pickled",
    [
        # BUILD with (None, {...}) sets attributes: on a known function, on Foreign, on a record.
        opcodes(NAMED, b"N}X\x05\x00\x00\x00_makeN", b"s\x86b"),
        opcodes(b"cos\nsystem\n", b"N}X\x08\x00\x00\x00__call__N", b"s\x86b"),
        # A known function has no __new__ to be called with, and an extension code names from a cache.
        opcodes(NAMED, b")\x81"),
        opcodes(b"\x82\x01"),
        # A memo index of two thousand million: an array of that length would be made.
        opcodes(b"Nr\xff\xff\xff\x7f"),
        opcodes(b"Np2000000000\n"),
        # A storage of an unknown kind, and no storage at all.
        opcodes(b"(X\x07\x00\x00\x00storageK\x01K\x01K\x01K\x01tQ"),
        opcodes(b"NQ"),
    ],
)
def test_pickles_that_reach_for_the_reader_itself(pickled):
    before = (Foreign.__call__, Foreign.__setstate__, dict(Foreign.__dict__))
    try:
        value, _ = read_pickle(pickled)
    except Exception:
        value = Foreign()
    assert (Foreign.__call__, Foreign.__setstate__, dict(Foreign.__dict__)) == before
    assert isinstance(value, Foreign)
    found, _ = read_pickle(opcodes(NAMED, b")R"))
    assert found == {}
    assert isinstance(found, dict)


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_cut_anywhere_is_refused_in_one_line(tmp_path, form):
    path = write(tmp_path / "file.pth", {"w": torch.arange(300.0), "v": torch.ones(2)}, form)
    whole = path.read_bytes()
    for end in [*range(0, len(whole) - 1, 23), len(whole) - 1]:
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match=r"get the file again|give one of these") as error:
            tensors(path)
        assert str(error.value).startswith(str(path))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("form", FORMATS)
def test_flipped_bits_raise_nothing_else(tmp_path, form):
    wanted = {f"layer.{i}": torch.arange(float(i)) for i in range(30)}
    path = write(tmp_path / "file.pth", wanted, form)
    whole = bytearray(path.read_bytes())
    draw = random.Random(1)
    messages = []
    for _ in range(200):
        at, bit = draw.randrange(len(whole)), 1 << draw.randrange(8)
        whole[at] ^= bit
        path.write_bytes(whole)
        whole[at] ^= bit
        try:
            with open_torch_file(path) as file:
                for name, record in dict(file.content).items():
                    file.tensor(record, str(name))
        except InputError as error:
            messages.append(str(error))
        # What was a dict of records may have become any other plain value.
        except (TypeError, ValueError):
            pass
    assert len(messages) > 20
    assert all("\n" not in message for message in messages)


def zip_of(path, records, folder="archive", compression=zipfile.ZIP_STORED):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as archive:
        warnings.simplefilter("ignore")
        for name, data in records.items():
            archive.writestr(f"{folder}/{name}", data)
    return path


def record_of(size, stride, offset, numel):
    """A data.pkl with one tensor of these numbers."""
    storage = Persistent(("storage", Named("torch", "FloatStorage"), "0", "cpu", numel))
    tensor = Calls(Named("torch._utils", "_rebuild_tensor_v2"), storage, offset, size, stride, False, {})
    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump({"w": tensor})
    return stream.getvalue()


class Named:
    """A global of that name, which need not be what pickle finds under it."""

    def __init__(self, module, name):
        self.place = (module, name)

    def __call__(self):
        raise AssertionError


class Persistent:
    def __init__(self, pid):
        self.pid = pid


class Pickler(pickle._Pickler):
    """Writes Named as the global it stands for, and Persistent as a persistent id."""

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Persistent) else None

    def save_named(self, obj):
        self.write(b"c" + "\n".join(obj.place).encode() + b"\n")

    dispatch = {**pickle._Pickler.dispatch, Named: save_named}  # noqa: RUF012


@pytest.mark.parametrize(
    ("size", "stride", "offset", "numel", "fits"),
    [
        ((2, 3), (3, 1), 0, 6, True),
        ((2, 3), (3, 1), 1, 6, False),
        ((6,), (2,), 0, 6, False),
        ((2, 3), (3, 1), -1, 6, False),
        ((2, 3), (-3, 1), 3, 6, False),
        ((10**12,), (0,), 0, 6, False),
        ((7,), (0,), 0, 6, False),
        ((2, 3), (3,), 0, 6, False),
        ((2**62, 4), (1, 1), 0, 6, False),
        ((2.0, 3), (3, 1), 0, 6, False),
        ((1,) * 40, (1,) * 40, 0, 6, False),
        ((2, 3), (3, 1), 0, 7, False),
        ((2, 3), (3, 1), 0, 10**15, False),
        ("ab", (3, 1), 0, 6, False),
    ],
)
def test_a_tensor_stays_within_its_storage(tmp_path, size, stride, offset, numel, fits):
    data = struct.pack("<6f", *range(6))
    records = {"data.pkl": record_of(size, stride, offset, numel), "byteorder": "little", "data/0": data}
    path = zip_of(tmp_path / "file.pth", records)
    if fits:
        assert torch.equal(tensors(path)["w"], torch.arange(6.0).reshape(2, 3))
    else:
        with pytest.raises(InputError, match="damaged"):
            tensors(path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: p.write_bytes(b""), "damaged or cut short"),
        (lambda p: p.write_bytes(b"not a checkpoint at all"), "neither a .safetensors file"),
        (lambda p: p.write_bytes(pickle.dumps({"state_dict": {}})), "neither a .safetensors file"),
        (lambda p: zip_of(p, {"word/document.xml": "x"}), "zip archive without data.pkl"),
        (lambda p: zip_of(p, {"data.pkl": b"N.", "constants.pkl": b"N."}), "TorchScript"),
        (lambda p: zip_of(p, {"data.pkl": b"N.", "byteorder": "big"}), "big-endian"),
        (lambda p: zip_of(p, {"data.pkl": record_of((2,), (1,), 0, 2)}), "no record data/0"),
        (
            lambda p: zip_of(p, {"data.pkl": b"N." * 99}, compression=zipfile.ZIP_DEFLATED),
            "record data.pkl is compressed",
        ),
        (lambda p: p.mkdir(), "cannot be read"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path, make, says):
    path = tmp_path / "file.pth"
    make(path)
    with pytest.raises(InputError, match=says) as error:
        tensors(path)
    assert str(path) in str(error.value)


def test_a_flipped_weight_is_found_by_the_checksum(tmp_path):
    path = write(tmp_path / "file.pth", {"w": torch.full((100,), 7.0)})
    data = path.read_bytes()
    at = data.index(struct.pack("<2f", 7, 7)) + 40
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(InputError, match="CRC"):
        tensors(path)
