"""Whether files still have the bytes that were indexed: a change that their times do not tell is damage.

In: files as the index has them, and as the disk has them.  Out: what is wrong with each; alerts that were not raised
before.  Never here: which files are looked at, who hears of it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from cbir_daemon.kinds import AlertKind, duplicate_kind
from cbir_daemon.store import AlertMatch, Image, NewAlert, Store

READ_BYTES = 1024 * 1024
SHOWN_DIGITS = 12
"""Of a SHA-256, in a sentence."""


class Bytes(StrEnum):
    """The bytes of a file, beside those that were indexed."""

    SAME = "same"
    CHANGED = "changed"
    """Its size or time says so, or it is away: a walk finds that."""
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Reread:
    """A file that was read again.

    Parameters
    ----------
    image : Image
    found : Bytes
    why : str
        A clause for people; empty for what is not damaged.
    """

    image: Image
    found: Bytes
    why: str = ""


def reread(image: Image) -> Reread:
    """Read a file from its disk and compare it with its digest.

    Parameters
    ----------
    image : Image
        As the index has it.
    """
    try:
        descriptor = os.open(image.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return Reread(image, Bytes.CHANGED)
    try:
        if not _is_as_indexed(image, descriptor):
            return Reread(image, Bytes.CHANGED)
        # What the memory of the kernel still has says nothing of the disk.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        digest = _digest(descriptor)
        if digest == image.content.digest:
            return Reread(image, Bytes.SAME)
        if not _is_as_indexed(image, descriptor):
            return Reread(image, Bytes.CHANGED)
    except OSError as error:
        return Reread(image, Bytes.DAMAGED, f"it cannot be read: {(error.strerror or 'error').lower()}")
    finally:
        os.close(descriptor)
    was, now = (digest.hex()[:SHOWN_DIGITS] for digest in (image.content.digest, digest))
    return Reread(image, Bytes.DAMAGED, f"its bytes changed and its time did not (SHA-256 {was}... became {now}...)")


def _is_as_indexed(image: Image, descriptor: int) -> bool:
    status = os.fstat(descriptor)
    return (status.st_size, status.st_mtime_ns) == (image.state.size_bytes, image.state.mtime_ns)


def _digest(descriptor: int) -> bytes:
    digest = hashlib.sha256()
    while data := os.read(descriptor, READ_BYTES):
        digest.update(data)
    return digest.digest()


def put_alerts(store: Store, files: Iterable[Reread], now: float) -> int:
    """Write an alert for each damaged file of which none says the same yet, and return how many.

    Parameters
    ----------
    store : Store
        Open for writing.
    files : iterable of Reread
    now : float
        Seconds since the epoch.
    """
    known = {(alert.path, alert.message) for alert in store.alerts.of_kind(AlertKind.DAMAGED)}
    alerts = [alert for alert in _alerts(store, files) if (alert.path, alert.message) not in known]
    if alerts:
        store.alerts.put([], alerts, now)
    return len(alerts)


def _alerts(store: Store, files: Iterable[Reread]) -> Iterator[NewAlert]:
    for file in files:
        if file.found is Bytes.DAMAGED:
            # Where the bytes may still be had.
            twins = [twin.path for twin in store.files.images([file.image.content.id]) if twin.path != file.image.path]
            kind = duplicate_kind(same_bytes=True)
            matches = tuple(AlertMatch(twin, kind, 1.0) for twin in twins)
            yield NewAlert(file.image.path, AlertKind.DAMAGED, matches, file.why)
