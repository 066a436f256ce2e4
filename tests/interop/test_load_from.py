"""A config that starts from a checkpoint says so, and how to do it here."""

import pytest

from htc_lab.interop.mmdet_config import config_from_mmdet
from tests.interop.configs import child, tree


@pytest.mark.parametrize(
    ("text", "notes"),
    [("", 0), ("load_from = None", 0), ("load_from = 'https://example.org/htc_r50.pth'", 1)],
)
def test_load_from_is_told_once_with_the_flag_that_does_it(tmp_path, capsys, text, notes):
    path = child(tree(tmp_path), "mine", "htc", text)
    found = config_from_mmdet(path)
    assert len(found.notes) == notes
    assert capsys.readouterr().err.splitlines() == [f"note: {path}: {note}" for note in found.notes]
    if notes:
        assert found.notes[0].startswith("load_from='https://example.org/htc_r50.pth' is not followed")
        assert "htc-lab train --init FILE" in found.notes[0]
