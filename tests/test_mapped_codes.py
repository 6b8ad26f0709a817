"""Codes in a file, mapped: the same numbers, pages that can go, and a disk that refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cbir_daemon.errors import StorageError
from cbir_daemon.map.mapped_codes import MappedCodes

SIZE = 256
PARTS = 8
ROWS = 2_000


def parts() -> Iterator[NDArray[np.float32]]:
    """Yield codes, some at a time: 16 MB."""
    random = np.random.default_rng(7)
    for _ in range(PARTS):
        yield random.normal(size=(ROWS, SIZE)).astype(np.float32)


def resident_kib_of_files() -> int:
    """Return how much of files this process has in memory."""
    match = re.search(r"RssFile:\s+(\d+)", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1])


def test_all_codes_are_there_in_order_and_cannot_be_changed(tmp_path: Path) -> None:
    """Before and after their pages went, and nothing has a name in the folder."""
    codes = MappedCodes(tmp_path / "models", SIZE, parts())
    whole = np.concatenate(list(parts()))
    assert np.array_equal(codes.rows, whole)
    codes.release()
    assert np.array_equal(codes.rows, whole)
    assert not codes.rows.flags.writeable
    assert list((tmp_path / "models").iterdir()) == []


def test_released_codes_take_no_memory(tmp_path: Path) -> None:
    """Their pages have left the process."""
    codes = MappedCodes(tmp_path, SIZE, parts())
    assert codes.rows.sum() != 0
    read = resident_kib_of_files()
    codes.release()
    assert read - resident_kib_of_files() > codes.rows.nbytes / 1024 * 0.9


def test_no_codes_are_an_empty_array(tmp_path: Path) -> None:
    """Of codes of the right size."""
    codes = MappedCodes(tmp_path, SIZE, iter(()))
    codes.release()
    assert codes.rows.shape == (0, SIZE)


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    """A file where the folder belongs."""
    (tmp_path / "models").write_bytes(b"")
    with pytest.raises(StorageError, match="models: codes cannot be written"):
        MappedCodes(tmp_path / "models", SIZE, parts())
