"""Small and read-only disks for tests: a tmpfs where root may mount one, else the test is skipped.

In: a folder, a size.  Out: a disk mounted there while a block runs.  Never here: what is done on it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BLOCK_BYTES = 4096


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[None]:
    """Mount a disk of a size on an empty folder, made if needed, and take it away afterwards."""
    folder.mkdir(mode=0o700, exist_ok=True)
    command = ["/bin/mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=700", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 -- ours
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        # Lazily: a daemon that a failed test left behind may still have its index open.
        subprocess.run(["/bin/umount", "--lazy", folder], check=True)  # noqa: S603 -- ours


def make_read_only(folder: Path) -> None:
    """Remount a disk on which no file is open for writing."""
    subprocess.run(["/bin/mount", "-o", "remount,ro", folder], check=True)  # noqa: S603 -- ours


@contextmanager
def filled(folder: Path, *, free_bytes: int = 0) -> Iterator[None]:
    """Leave no more than some bytes free on a disk while a block runs."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(BLOCK_BYTES))
        except OSError:
            file.truncate(max(0, file.tell() - free_bytes))
    try:
        yield
    finally:
        filler.unlink()
