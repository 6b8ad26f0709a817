"""The real daemon for each test, left clean."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.process.daemon import Daemon, living


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """Give a daemon that is not started yet and fits no map."""
    with living() as daemon:
        yield daemon
