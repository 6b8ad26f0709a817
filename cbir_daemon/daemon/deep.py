"""A sample of the files read again: whether they, and their vectors, are still what was indexed.

In: a configuration.  Out: what was read, findings, and an alert for each damaged file.  Never here: which bytes are
damage (`indexing.rereading`), mending anything.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cbir_daemon.client import Client
from cbir_daemon.config import Config
from cbir_daemon.daemon.rooms import INDEX_FILE, READER, open_pool
from cbir_daemon.daemon.service import locked_state
from cbir_daemon.decode import DecodePool
from cbir_daemon.errors import CbirError, InUseError, UnreadableImageError
from cbir_daemon.indexing.rereading import Bytes, Reread, put_alerts, reread
from cbir_daemon.records import IMAGE
from cbir_daemon.store import Store
from cbir_daemon.wording.counting import counted

USUAL_FILES = 1000
MOST_DIFFERENCE = 2.0
"""Mean difference of the 4096 grey levels that another release of a decoder may make."""

TOLD_AT_ONCE = 1000
"""Paths that the daemon verifies for one question."""


@dataclass(frozen=True, slots=True)
class Deep:
    """What a sample showed.

    Parameters
    ----------
    files, size_bytes : int
        That were read again.
    changed : int
        Files that are away, or changed since they were indexed.
    findings : tuple of str
    """

    files: int
    size_bytes: int
    changed: int
    findings: tuple[str, ...]


def check_files(config: Config, files: int, seed: int) -> Deep:
    """Read a sample of the files again, and raise an alert for each that is damaged.

    Parameters
    ----------
    config : Config
    files : int
        Read at most.
    seed : int
        Of the sample.

    Raises
    ------
    CbirError
        When the index cannot be read, or no worker can be started.
    """
    with ExitStack() as closing:
        store = Store(config.state_dir / INDEX_FILE)
        store.open_existing()
        closing.callback(store.close)
        pool = open_pool(config, READER, (), closing)
        every = [reread(image) for image in store.files.sampled(files, seed)]
        differing = list(_differing(store, pool, every))
    damaged = [file for file in every if file.found is Bytes.DAMAGED]
    same = [file for file in every if file.found is Bytes.SAME]
    findings = [f"files: {os.fsdecode(file.image.path)} is damaged: {file.why}" for file in damaged]
    findings += [f"vectors: {path} has another vector now: `cbir-daemon reindex` makes all anew" for path in differing]
    findings += _raise_alerts(config, damaged)
    size_bytes = sum(file.image.state.size_bytes for file in same)
    return Deep(len(same) + len(damaged), size_bytes, len(every) - len(same) - len(damaged), tuple(findings))


def _differing(store: Store, pool: DecodePool, files: Sequence[Reread]) -> Iterator[str]:
    """Yield the paths of images that have their bytes and get another vector of them."""
    for file in files:
        content = file.image.content
        if file.found is not Bytes.SAME or content.medium != IMAGE:
            continue
        path = os.fsdecode(file.image.path)
        stored = store.contents.vectors([content.id]).get(content.id)
        try:
            made = pool.read_image(Path(path)).vector
        except UnreadableImageError:
            yield path
            continue
        if stored is not None and made is not None and _difference(stored, made) > MOST_DIFFERENCE:
            yield path


def _difference(stored: bytes, made: bytes) -> float:
    """Return the mean difference of two vectors, in grey levels."""
    return sum(abs(before - now) for before, now in zip(stored, made, strict=True)) / len(stored)


def _raise_alerts(config: Config, damaged: Sequence[Reread]) -> list[str]:
    """Raise the alerts: by the daemon, which alone writes while it runs; return why none could be raised."""
    if not damaged:
        return []
    index = config.state_dir / INDEX_FILE
    if index.stat().st_uid != os.geteuid():
        # A log that root has made would keep the daemon out of its own index.
        return [f"alerts: none are raised: {index} is another user's; run this as that user"]
    try:
        try:
            with locked_state(config.state_dir):
                _put(index, damaged)
        except InUseError:
            paths = [os.fsdecode(file.image.path) for file in damaged]
            with Client([config.socket_path]) as client:
                for start in range(0, len(paths), TOLD_AT_ONCE):
                    client.verify(paths[start : start + TOLD_AT_ONCE])
    except CbirError as error:
        return [f"alerts: none are raised for {counted(len(damaged), 'damaged file')}: {error}"]
    return []


def _put(index: Path, damaged: Sequence[Reread]) -> None:
    store = Store(index)
    store.open()
    try:
        put_alerts(store, damaged, time.time())
    finally:
        store.close()
