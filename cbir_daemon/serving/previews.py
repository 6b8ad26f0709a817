"""Previews of contents: the last ones that were asked for are kept in memory.

In: digests.  Out: encoded pictures.  Never here: drawing them, which confined workers do; the original bytes of a file,
which go nowhere.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path

from cbir_daemon.decode import DecodePool
from cbir_daemon.store import Store

MOST_BYTES = 64 * 1024 * 1024
"""Previews of 256 pixels have some 10 KB each: all that a person sees in an hour of reviewing."""


class Previews:
    """Draws previews, each once as long as it is kept.  Thread-safe.

    Parameters
    ----------
    store : Store
        Knows the files of a content.
    pool : DecodePool
        Its workers draw.
    most_bytes : int
        What is kept at most; the previews that nobody has asked for longest go first.
    """

    def __init__(self, store: Store, pool: DecodePool, most_bytes: int = MOST_BYTES) -> None:
        self._store = store
        self._pool = pool
        self._most_bytes = most_bytes
        # Guards what follows.
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[bytes, int, str], bytes] = OrderedDict()
        self._kept_bytes = 0

    @property
    def kept_bytes(self) -> int:
        """Bytes of the previews that are kept now."""
        return self._kept_bytes

    def of(self, digest: bytes, side_px: int, form: str) -> bytes | None:
        """Return a preview of a content, from the first of its files that can be read; None without such a file.

        Parameters
        ----------
        digest : bytes
            SHA-256 of the content.
        side_px : int
            Width and height at most.
        form : str
            "jpeg" or "webp".

        Raises
        ------
        ChildError
            When no worker can be started.
        UnavailableError
            When the pool is closed.
        """
        key = (digest, side_px, form)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept
        drawn = self._drawn(*key)
        if drawn is not None:
            self._keep(key, drawn)
        return drawn

    def _drawn(self, digest: bytes, side_px: int, form: str) -> bytes | None:
        content = self._store.contents.by_digest(digest)
        for image in () if content is None else self._store.files.images([content.id]):
            path = Path(os.fsdecode(image.path))
            drawn = None if image.missing else self._pool.draw_preview(path, digest, side_px, form)
            if drawn is not None:
                return drawn
        return None

    def _keep(self, key: tuple[bytes, int, str], drawn: bytes) -> None:
        with self._lock:
            # Two may have drawn the same.
            self._kept_bytes += len(drawn) - len(self._kept.pop(key, b""))
            self._kept[key] = drawn
            while self._kept_bytes > self._most_bytes:
                _, gone = self._kept.popitem(last=False)
                self._kept_bytes -= len(gone)
