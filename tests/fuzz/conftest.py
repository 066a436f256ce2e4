"""Counts the cases of each test; the sum is printed at the end of the run (see ``tests/conftest.py``)."""

from collections.abc import Callable, Iterator

import pytest

from tests.fuzz.outcome import tried


@pytest.fixture(autouse=True)
def _counted(record_property: Callable[[str, object], None]) -> Iterator[None]:
    before = dict(tried)
    yield
    for how, count in tried.items():
        record_property(f"fuzz_{how}", count - before[how])
