"""A place that can't be written is known before the work is done, and looking at it makes nothing."""

import os
from pathlib import Path

import pytest

from htc_lab.errors import InputError
from htc_lab.files import require_room_for, write_text


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("", "Is a directory"),
        ("file/page.html", "Not a directory"),
        ("file/deeper/page.html", "Not a directory"),
        ("x" * 300, "File name too long"),
    ],
)
def test_places_where_no_file_can_be_put(place: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=f"cannot be written .*{says}"):
        require_room_for(tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("place", ["page.html", "new/deeper/page.html", "file"])
def test_places_where_one_can_be_put(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    require_room_for(tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    write_text(tmp_path / place, "page")
    assert (tmp_path / place).read_text() == "page"


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write everywhere, so the system's answer is made.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match=r"page\.html: cannot be written \(not writable\); choose"):
        require_room_for(tmp_path / "page.html")
