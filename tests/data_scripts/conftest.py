"""The server that misbehaves, one for each test."""

from collections.abc import Iterator

import pytest

from tests.data_scripts.server import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running
