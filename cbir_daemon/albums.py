"""Which folders are watched, and how.

In: folders from the command line, the configuration and clients.  Out: rows in the store, watches in the kernel, walks
asked for.  Never here: what is in a folder.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from cbir_daemon.config import AlbumConfig
from cbir_daemon.errors import BadRequestError, NoAccessError, NotFoundError
from cbir_daemon.ingest import Ingest
from cbir_daemon.problems import Problem
from cbir_daemon.searching import Searcher
from cbir_daemon.store import Album, Store
from cbir_daemon.watch import Watcher

logger = logging.getLogger(__name__)


class Albums:
    """Adds, removes and watches albums.  Thread-safe.

    Parameters
    ----------
    store, searcher : Store, Searcher
    settings : sequence of AlbumConfig
        What the configuration says of single albums.
    """

    def __init__(self, store: Store, searcher: Searcher, settings: Sequence[AlbumConfig]) -> None:
        self._store = store
        self._searcher = searcher
        self._settings = {_root(album.path): album for album in settings}
        self._turn = threading.RLock()
        self._watcher: Watcher | None = None
        self._ingest: Ingest | None = None

    def remember(self, settings: Sequence[AlbumConfig]) -> None:
        """Take up what the configuration says, and remember each album that it names.

        Raises
        ------
        NotFoundError, NoAccessError, BadRequestError
            When a new one cannot be watched.  One that is known may be missing: its disk may come back.
        """
        self._settings = {_root(album.path): album for album in settings}
        known = {album.path for album in self._store.albums()}
        for root in self._settings:
            if root not in known:
                self._add(root)

    def start(self, ingest: Ingest) -> None:
        """Begin to watch every album, and ask for the first walk."""
        self._ingest = ingest
        self._watcher = Watcher(ingest.hint)
        for album in self._store.albums():
            self.watch(album)
        ingest.request_scan()

    def stop(self) -> None:
        """Stop watching."""
        with self._turn:
            if self._watcher is not None:
                self._watcher.close()
                self._watcher = None

    def add(self, path: bytes) -> bool:
        """Watch a folder from now on; False when it was watched already."""
        with self._turn:
            root = os.path.realpath(path)
            if any(album.path == root for album in self._store.albums()):
                return False
            self._add(root)
            for album in self._store.albums():
                if album.path == root:
                    self.watch(album)
            if self._ingest is not None:
                self._ingest.request_scan(root)
            return True

    def remove(self, path: bytes) -> None:
        """Forget a folder and all that is known of its files; the files stay as they are.

        Raises
        ------
        NotFoundError
            When it is not watched.
        """
        with self._turn:
            for album in self._store.albums():
                if album.path in (path, os.path.realpath(path)):
                    if self._watcher is not None:
                        self._watcher.forget(album.path)
                    self._searcher.change((), self._store.remove_album(album.id).gone)
                    return
            raise NotFoundError(f"{os.fsdecode(path)}: is no album", hint="`cbir album list` shows them")

    def watch(self, album: Album) -> None:
        """Watch or poll one album, as its settings and the kernel allow; stop watching it when it is missing."""
        with self._turn:
            if self._watcher is None:
                return
            if album.state == "missing":
                self._watcher.forget(album.path)
                return
            if self._watcher.stands(album.path) and not self._watcher.is_alive(album.path):
                logger.warning("watch died album=%s", os.fsdecode(album.path))
                self._watcher.forget(album.path)
            settings = self._settings.get(album.path)
            polled = settings is not None and settings.watch == "poll"
            if polled:
                self._watcher.forget(album.path)
            watched = not polled and self._watcher.watch(album.path)
            self._store.set_album_state(album.id, "watching" if watched else "polling")

    def changed(self, album_id: int) -> None:
        """Watch anew after an album became missing or came back."""
        for album in self._store.albums():
            if album.id == album_id:
                self.watch(album)

    def check(self) -> None:
        """Begin anew where a watching thread has died; what it missed is found by a walk."""
        with self._turn:
            for album in self._store.albums():
                watcher = self._watcher
                if watcher is not None and watcher.stands(album.path) and not watcher.is_alive(album.path):
                    self.watch(album)
                    if self._ingest is not None:
                        self._ingest.request_scan(album.path)

    def problems(self) -> list[Problem]:
        """Return what is wrong with the albums now."""
        return [
            Problem(
                f"album {os.fsdecode(album.path)} is missing: its folder is away, empty, or short of most of its files;"
                " nothing is forgotten",
                "mount the disk again, or accept the loss: cbir scan --accept-losses",
            )
            for album in self._store.albums()
            if album.state == "missing"
        ]

    def _add(self, root: bytes) -> None:
        shown = os.fsdecode(root)
        if not os.path.lexists(root):
            raise NotFoundError(f"{shown}: no such folder", hint="give the path of a folder of pictures")
        if not Path(shown).is_dir():
            raise BadRequestError(f"{shown}: is not a folder", hint="an album is a folder; `cbir query` takes a file")
        if root == b"/":
            raise BadRequestError("/: the whole machine is no album", hint="name the folders that hold pictures")
        if not os.access(root, os.R_OK | os.X_OK, effective_ids=True):
            raise NoAccessError(f"{shown}: cannot be read", hint="give this user the right to read it")
        for album in self._store.albums():
            inner, outer = sorted((root, album.path), key=len, reverse=True)
            if inner.startswith(outer.rstrip(b"/") + b"/"):
                raise BadRequestError(
                    f"{shown}: lies in, or holds, the album {os.fsdecode(album.path)}",
                    hint="an album holds all folders below it; remove the other one first with `cbir album remove`",
                )
        self._store.add_album(root)


def _root(path: Path) -> bytes:
    return os.fsencode(os.path.realpath(path))
