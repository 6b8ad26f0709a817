"""What an ordinary user may not do: tests often run as root, who may do everything."""

from __future__ import annotations

import codecs
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Run a block without root's rights."""
    before = os.geteuid()
    # Python may be in a folder that only root reads, and remembers for ever that it could not import an encoding.
    codecs.lookup("ascii")
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that an ordinary user can reach and read; pytest's own is for its owner alone."""
    folder = Path(tempfile.mkdtemp(prefix="cbir-test-"))
    folder.chmod(0o755)
    with ordinary_user():
        reached = os.access(folder, os.R_OK | os.X_OK, effective_ids=True)
    if reached:
        yield folder
    for parent, names, _ in os.walk(folder):
        for name in names:
            Path(parent, name).chmod(0o755)
    shutil.rmtree(folder)
    if not reached:
        pytest.skip("the folder for temporary files is closed to ordinary users")
