"""Downloads over bad lines, from servers that lie."""

import hashlib
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from htc_lab.data.fetch.download import Patience, fetch
from htc_lab.data.fetch.verify import Digest, require_room
from htc_lab.errors import InputError
from tests.data_scripts.server import Page, Server, noise

BODY = noise(300_000)
QUICK = Patience(attempts=4, pause=0.0, timeout=5.0)


def get(server: Server, path: Path, size: int | None = None, digest: Digest | None = None) -> Path:
    return fetch(server.url + "/f.bin", path, size=size, digest=digest, patience=QUICK, progress=False)


def md5(body: bytes) -> Digest:
    return Digest("md5", hashlib.md5(body).hexdigest())


def nothing_but(path: Path) -> None:
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_good_server(server: Server, tmp_path: Path) -> None:
    server.pages["/f.bin"] = Page(BODY)
    path = tmp_path / "a" / "f.bin"
    assert get(server, path, len(BODY), md5(BODY)) == path
    assert path.read_bytes() == BODY
    nothing_but(path)
    get(server, path, len(BODY), md5(BODY))
    assert len(server.asked) == 1


@pytest.mark.parametrize("digest", [None, md5(BODY)])
def test_dropped_connections_are_resumed(server: Server, tmp_path: Path, digest: Digest | None) -> None:
    # More drops than attempts: each got further, so none of them counts towards giving up.
    server.pages["/f.bin"] = Page(BODY, drop_after=40_000, drops=6)
    assert get(server, tmp_path / "f.bin", digest=digest).read_bytes() == BODY
    ranges = [asked for _, asked in server.asked]
    assert ranges[0] is None
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in ranges[1:] if asked]
    assert len(starts) == 6
    assert starts == sorted(starts)
    assert starts[-1] > 100_000
    nothing_but(tmp_path / "f.bin")


def test_the_next_run_goes_on(server: Server, tmp_path: Path) -> None:
    server.pages["/f.bin"] = Page(BODY, drop_after=100_000, drops=1)
    once = Patience(attempts=1, pause=0.0)
    with pytest.raises(InputError, match=r"f\.bin: .*1 times in a row; 100000 of 300000 bytes are there"):
        fetch(server.url + "/f.bin", tmp_path / "f.bin", patience=once, progress=False)
    assert not (tmp_path / "f.bin").exists()
    assert get(server, tmp_path / "f.bin").read_bytes() == BODY
    assert server.asked[-1] == ("/f.bin", "bytes=100000-")


def test_a_beginning_that_nobody_knows_is_not_continued(server: Server, tmp_path: Path) -> None:
    server.pages["/f.bin"] = Page(BODY)
    (tmp_path / "f.bin.part").write_bytes(b"x" * 1000)
    assert get(server, tmp_path / "f.bin").read_bytes() == BODY
    assert server.asked == [("/f.bin", None)]


@pytest.mark.parametrize(
    "manners", [{"ranges": False}, {"tag": False}, {"weak": True}, {"wrong_range": True}]
)
def test_what_cannot_be_resumed_starts_over(server: Server, tmp_path: Path, manners: dict[str, bool]) -> None:
    server.pages["/f.bin"] = Page(BODY, drop_after=120_000, drops=2, **manners)  # type: ignore[arg-type]
    assert get(server, tmp_path / "f.bin").read_bytes() == BODY
    if "tag" in manners or "weak" in manners:
        assert {asked for _, asked in server.asked} == {None}


def test_without_versions_a_digest_makes_resuming_safe(server: Server, tmp_path: Path) -> None:
    server.pages["/f.bin"] = Page(BODY, drop_after=120_000, drops=1, tag=False)
    assert get(server, tmp_path / "f.bin", digest=md5(BODY)).read_bytes() == BODY
    assert server.asked[-1][1] == "bytes=120000-"


@pytest.mark.parametrize("tag", [True, False])
@pytest.mark.parametrize("size", [300_000, 250_000, 100_000])
def test_the_file_changes_between_attempts(server: Server, tmp_path: Path, tag: bool, size: int) -> None:
    new = noise(size, 1)
    server.pages["/f.bin"] = Page(BODY, drop_after=110_000, drops=1, then=new, tag=tag)
    assert get(server, tmp_path / "f.bin", digest=md5(new)).read_bytes() == new


def test_a_changed_file_is_noticed_by_its_version_alone(server: Server, tmp_path: Path) -> None:
    new = noise(300_000, 1)
    server.pages["/f.bin"] = Page(BODY, drop_after=110_000, drops=1, then=new)
    assert get(server, tmp_path / "f.bin").read_bytes() == new


def test_it_gives_up_on_a_line_that_brings_nothing(server: Server, tmp_path: Path) -> None:
    server.pages["/f.bin"] = Page(BODY, drop_after=0, drops=99)
    with pytest.raises(InputError, match=r"4 times in a row; 0 of 300000 bytes.*check the connection"):
        get(server, tmp_path / "f.bin")
    assert len(server.asked) == 4


def test_a_length_that_is_too_long(server: Server, tmp_path: Path) -> None:
    server.pages["/f.bin"] = Page(BODY, lie=500)
    with pytest.raises(InputError, match=r"f\.bin: .*times in a row"):
        get(server, tmp_path / "f.bin")
    assert not (tmp_path / "f.bin").exists()


def test_a_length_that_is_too_short(server: Server, tmp_path: Path) -> None:
    server.pages["/f.bin"] = Page(BODY, lie=-500)
    with pytest.raises(InputError, match="says it has 299500 bytes, but the file has 300000; give another"):
        get(server, tmp_path / "f.bin", size=len(BODY))
    with pytest.raises(InputError, match=r"what it serves has the md5 .* not .*try again later"):
        get(server, tmp_path / "f.bin", digest=md5(BODY))
    assert list(tmp_path.iterdir()) == []


def test_no_length(server: Server, tmp_path: Path) -> None:
    server.pages["/f.bin"] = Page(BODY, chunked=True)
    assert get(server, tmp_path / "f.bin", digest=md5(BODY)).read_bytes() == BODY
    server.pages["/f.bin"] = Page(BODY[:-1], chunked=True)
    with pytest.raises(InputError, match="what it serves has 299999 bytes, not 300000"):
        get(server, tmp_path / "g.bin", size=len(BODY))


def test_answers_that_pass_and_answers_that_stay(server: Server, tmp_path: Path) -> None:
    server.pages["/f.bin"] = Page(BODY, failures=[500, 503, 429])
    assert get(server, tmp_path / "f.bin").read_bytes() == BODY
    for code in (403, 410):
        server.pages["/f.bin"] = Page(BODY, failures=[code] * 9)
        with pytest.raises(InputError, match=f"answers {code} .*check the address or give another --mirror"):
            get(server, tmp_path / "g.bin")
    del server.pages["/f.bin"]
    before = len(server.asked)
    with pytest.raises(InputError, match=r"/f\.bin: the server answers 404 Not Found; check the address"):
        get(server, tmp_path / "g.bin")
    assert len(server.asked) == before + 1


def test_addresses_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not an http or https address"):
        fetch("file:///etc/hostname", tmp_path / "f", progress=False)
    with pytest.raises(InputError, match="is not a valid address"):
        fetch("http://127.0.0.1:1/a b", tmp_path / "f", patience=QUICK, progress=False)
    with pytest.raises(InputError, match=r"no answer.*4 times in a row"):
        fetch("http://127.0.0.1:1/f", tmp_path / "f", patience=QUICK, progress=False)


def test_a_wrong_file_at_the_place_is_named_and_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.bin").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"f\.bin: has 4 bytes, not 300000; delete it to download it again"):
        get(server, tmp_path / "f.bin", size=len(BODY))
    assert (tmp_path / "f.bin").read_bytes() == b"mine"


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_no_room(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(10**9, 10**9 - 1000, 1000))
    server.pages["/f.bin"] = Page(BODY)
    with pytest.raises(InputError, match=r"f\.bin needs 0\.00 GB, but 0\.00 GB are free; free"):
        get(server, tmp_path / "f.bin")
    with pytest.raises(
        InputError, match=r"new: a thing needs 5\.00 GB.*free 5\.00 GB or choose another folder"
    ):
        require_room(tmp_path / "not" / "yet" / "new", 5e9, "a thing")
