"""A state that is only read: the answers that a daemon would give on it, in this process.

In: the folder of a state, also one that a daemon uses now.  Out: the answers of the methods that change nothing.
Never here: a change of the state, threads, the socket.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cbir_daemon import config
from cbir_daemon.config import Config
from cbir_daemon.daemon.rooms import INDEX_FILE, open_rooms
from cbir_daemon.errors import BadRequestError, NotFoundError
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.protocol.messages import Request, answer
from cbir_daemon.serving import handlers

READING = frozenset(
    {
        *("query", "sheet", "images", "preview", "thumbnail"),
        *("duplicates", "decisions", "alerts", "errors", "album_list", "watch_list"),
        *("model_show", "model_history"),
    }
)
"""Methods that need no thread of the daemon and write nothing."""


class StateReader:
    """Answers from the folder of a state.

    Parameters
    ----------
    folder : Path
        Absolute.
    environ : mapping of str to str
        Of the process; names the configuration, of which thresholds, media and limits are taken.

    Notes
    -----
    Sees the contents that were there when it was opened.  What goes afterwards is no match any more; what comes is
    seen by the next reader.  One thread.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str] = os.environ) -> None:
        self._folder = folder
        self._environ = environ
        self._closing = ExitStack()
        self._rooms: handlers.Rooms | None = None

    def open(self) -> None:
        """Open the index for reading and make the codes of all contents.

        Raises
        ------
        NotFoundError
            When the folder has no index.
        StorageError
            When the index is of another release, or damaged.
        ConfigError
            When the configuration has a fault.
        """
        if not (self._folder / INDEX_FILE).is_file():
            raise NotFoundError(f"{self._folder}: has no index", hint="name the folder of a daemon's state")
        settings = config.load(state=self._folder, environ=self._environ)
        with ExitStack() as closing:
            self._rooms = self._opened(lambda: settings, closing)
            self._closing = closing.pop_all()

    @staticmethod
    def _opened(settings: Callable[[], Config], closing: ExitStack) -> handlers.Rooms:
        rooms = open_rooms(settings, threading.Event(), closing, read_only=True).handled
        closing.callback(rooms.maps.stop)
        for filler in (rooms.features, rooms.meanings):
            if filler.enabled:
                filler.load()
        return rooms

    def frames(self, method: str, params: Mapping[str, Any], blob: bytes = b"") -> Iterator[Frame]:
        """Yield the messages of an answer, as `Client.frames` does.

        Parameters
        ----------
        method : str
            One of `READING`.
        params : mapping
            Those that are None are left out.
        blob : bytes
            What comes after the message.

        Raises
        ------
        BadRequestError
            When the method is none of these, or the reader is closed.
        CbirError
            What a daemon would refuse with.
        """
        if method not in READING:
            raise BadRequestError(f"{method} needs a running daemon", hint="name its socket in place of its state")
        if self._rooms is None:
            raise BadRequestError(f"{self._folder}: is closed")
        request = Request(0, method, {name: value for name, value in params.items() if value is not None}, blob)
        for reply in handlers.handle(self._rooms, request):
            yield Frame(answer(request.id, reply.ok, self._rooms.store.clock, more=reply.more), reply.blob)

    def close(self) -> None:
        """End its processes and close the index."""
        self._rooms = None
        self._closing.close()
