"""A config that starts from a checkpoint says so, and how to do it here."""

import pytest

from htc_lab.interop.mmdet_config import config_from_mmdet
from tests.interop.configs import child, tree


@pytest.mark.parametrize(
    ("text", "told"),
    [("", 0), ("load_from = None", 0), ("load_from = 'https://example.org/htc_r50.pth'", 1)],
)
def test_load_from_is_told_once_with_the_flag_that_does_it(tmp_path, text, told):
    found = config_from_mmdet(child(tree(tmp_path), "mine", "htc", text))
    assert len(found.unsupported) == told
    if told:
        assert not found.unsupported[0].refused
        assert str(found.unsupported[0]).startswith("load_from='https://example.org/htc_r50.pth'")
        assert "htc-lab train --init FILE" in str(found.unsupported[0])
