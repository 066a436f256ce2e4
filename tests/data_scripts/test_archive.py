"""Archives of strangers: whole or not at all, and never outside their folder."""

import io
import stat
import zipfile
from pathlib import Path

import pytest

from htc_lab.data.fetch.archive import unpack
from htc_lab.errors import InputError
from tests.data_scripts.server import noise, zipped

FILES = {f"val2017/{i}.jpg": noise(5000, i) for i in range(4)}


def saved(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_folder_of_an_archive(tmp_path: Path) -> None:
    others = {"__MACOSX/val2017/._0.jpg": b"x", "readme.txt": b"hello", "val2017/": b""}
    archive = saved(tmp_path / "a.zip", zipped(FILES | others))
    assert unpack(archive, {"val2017": tmp_path / "coco" / "val2017"}, progress=False) == {"val2017": 4}
    assert names(tmp_path) == [
        "a.zip",
        "coco",
        "coco/val2017",
        *(f"coco/val2017/{i}.jpg" for i in range(4)),
    ]
    for name, content in FILES.items():
        assert (tmp_path / "coco" / name).read_bytes() == content


def test_folders_at_any_depth_and_below(tmp_path: Path) -> None:
    archive = saved(tmp_path / "a.zip", zipped({"maps/train2017/x/1.png": b"1", "maps/val2017/2.png": b"2"}))
    unpack(archive, {"train2017": tmp_path / "t", "val2017": tmp_path / "m" / "v"}, progress=False)
    assert (tmp_path / "t" / "x" / "1.png").read_bytes() == b"1"
    assert (tmp_path / "m" / "v" / "2.png").read_bytes() == b"2"


def test_a_folder_that_is_there_keeps_its_own(tmp_path: Path) -> None:
    archive = saved(tmp_path / "a.zip", zipped({"a/x.json": b"new", "a/sub/y.json": b"new"}))
    (tmp_path / "a").mkdir()
    saved(tmp_path / "a" / "x.json", b"mine")
    unpack(archive, {"a": tmp_path / "a"}, progress=False)
    assert (tmp_path / "a" / "x.json").read_bytes() == b"mine"
    assert (tmp_path / "a" / "sub" / "y.json").read_bytes() == b"new"
    assert not (tmp_path / ".a.unpacking").exists()


def entry(name: str, mode: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (entry("../evil"), "leaves the folder"),
        (entry("val2017/../../evil"), "leaves the folder"),
        (entry("/etc/evil"), "leaves the folder"),
        (entry("val2017\\..\\..\\evil"), "leaves the folder"),
        (entry("C:/evil"), "leaves the folder"),
        (entry("val2017/link", stat.S_IFLNK | 0o777), "is a link or a device"),
        (entry("val2017/pipe", stat.S_IFIFO | 0o644), "is a link or a device"),
    ],
)
def test_unsafe_entries(tmp_path: Path, bad: zipfile.ZipInfo, words: str) -> None:
    out = io.BytesIO(zipped(FILES))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(bad, "/etc/passwd")
    path = saved(tmp_path / "in.zip", out.getvalue())
    with pytest.raises(InputError, match=rf"in\.zip: entry .*{words}.*; nothing was unpacked"):
        unpack(path, {"val2017": tmp_path / "coco" / "val2017"}, progress=False)
    assert names(tmp_path) == ["in.zip"]
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_twins_bombs_and_passwords(tmp_path: Path) -> None:
    out = io.BytesIO(zipped(FILES))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("val2017/0.jpg", b"another")
    with pytest.raises(InputError, match=r"0\.jpg' occurs twice"):
        unpack(saved(tmp_path / "t.zip", out.getvalue()), {"val2017": tmp_path / "v"}, progress=False)
    bomb = saved(tmp_path / "b.zip", zipped({"val2017/0.jpg": bytes(10_000_000)}))
    with pytest.raises(InputError, match=r"b\.zip: its \d+ bytes claim to hold 10000000"):
        unpack(bomb, {"val2017": tmp_path / "v"}, progress=False)
    locked = bytearray(zipped(FILES))
    # Bit 0 of the flags, in the first entry of the central directory.
    locked[bytes(locked).index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InputError, match="needs a password"):
        unpack(saved(tmp_path / "p.zip", bytes(locked)), {"val2017": tmp_path / "v"}, progress=False)
    assert names(tmp_path) == ["b.zip", "p.zip", "t.zip"]


@pytest.mark.parametrize("declared", [100, 4999, 5001])
def test_an_entry_that_lies_about_its_size(tmp_path: Path, declared: int) -> None:
    content = bytearray(zipped(FILES))
    place = bytes(content).index(b"PK\x01\x02") + 24
    content[place : place + 4] = declared.to_bytes(4, "little")
    with pytest.raises(InputError, match=r"in\.zip: is damaged \(.*delete it and download it again"):
        unpack(saved(tmp_path / "in.zip", bytes(content)), {"val2017": tmp_path / "v"}, progress=False)
    assert names(tmp_path) == ["in.zip"]


@pytest.mark.parametrize("harm", ["byte", "end", "beginning", "text", "empty"])
def test_damaged_archives_leave_nothing(tmp_path: Path, harm: str) -> None:
    whole = zipped(FILES)
    flipped = whole[:9000] + bytes([whole[9000] ^ 255]) + whole[9001:]
    content = {
        "byte": flipped,
        "end": whole[:-3000],
        "beginning": whole[3000:],
        "text": b"<html>" * 99,
        "empty": b"",
    }
    path = saved(tmp_path / "in.zip", content[harm])
    with pytest.raises(InputError, match=r"in\.zip: is damaged"):
        unpack(path, {"val2017": tmp_path / "v"}, progress=False)
    assert names(tmp_path) == ["in.zip"]


def test_other_archives(tmp_path: Path) -> None:
    archive = saved(tmp_path / "a.zip", zipped({"val2017/1.jpg": b"1", "b/val2017/1.jpg": b"2"}))
    with pytest.raises(InputError, match="holds several folders val2017"):
        unpack(archive, {"val2017": tmp_path / "v"}, progress=False)
    with pytest.raises(InputError, match="holds no folder train2017 with files"):
        unpack(archive, {"train2017": tmp_path / "v"}, progress=False)
    with pytest.raises(InputError, match="no such archive"):
        unpack(tmp_path / "none.zip", {"a": tmp_path / "v"}, progress=False)
