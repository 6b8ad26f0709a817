"""Days in the life of an album, in seconds; `scripts/soak days` lets thirty pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cbir_daemon.decode import DecodePool
from cbir_daemon.pictures import PICTURES
from tests.days import lived
from tests.house import LIMITS


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    """Two real workers."""
    with closing(DecodePool(2, LIMITS, PICTURES)) as pool:
        yield pool


def test_days_end_as_a_fresh_look(tmp_path: Path, pool: DecodePool) -> None:
    """Files come, go and move, each day the disk is away once and the daemon is killed once."""
    days = lived(tmp_path, pool, days=3, events=80, seed=7)
    assert len(days) == 3
    assert all(day.files > 20 for day in days)
    assert days[-1].alerts > 0
