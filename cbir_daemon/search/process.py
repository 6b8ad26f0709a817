"""A search process: searches the state that the daemon searches, for one caller at a time.

In: first a frame that says what is searched, then parts of snapshots and operations.  Out: what the operations return.
Never here: changes, files of albums, bytes of images: all that comes was made by the daemon and its decode workers.

Vectors come from hostile bytes all the same, by way of a worker.  So the process confines itself once the index is
open: it can read the folders of the state and of libraries, and change, send and start nothing.
"""

from __future__ import annotations

import importlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from cbir_daemon import __version__
from cbir_daemon.errors import StorageError
from cbir_daemon.medium import Medium
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.search.operations import OPERATIONS
from cbir_daemon.search.published import Follower
from cbir_daemon.search.search import Search
from cbir_daemon.search.wire import decoded, encoded
from cbir_daemon.store import Store
from cbir_daemon.system.child import Channel, serve
from cbir_daemon.system.priority import be_nice
from cbir_daemon.system.sandbox import confine

SYSTEM_LIBRARIES: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
"""What faiss needs of the system, which a process imports when it meets the first inverted lists."""


class Process:
    """Answers frames: the first opens the index, the others bring parts of snapshots, or ask."""

    def __init__(self) -> None:
        self._opened: tuple[Store, Follower, float | None] | None = None
        self._stale = ""
        # Niceness belongs to a thread, and none can take its own back: what is not urgent has a thread for itself.
        self._nice = ThreadPoolExecutor(1, initializer=be_nice)

    def answer(self, frame: Frame, channel: Channel) -> None:
        """Do what a frame asks.

        Parameters
        ----------
        frame : Frame
            `do` is "open", "take" or "ask".
        channel : Channel
            Gets `ready`, with what the kernel has `granted` of the confinement, or `refused` for the first; nothing for
            a part; for a question one of `done`, with the result as the blob, `stale` when the rows of the snapshot are
            gone, and `failed` when the index cannot be read.
        """
        if self._opened is None:
            channel.send(self._open(frame.message))
        elif frame.message["do"] == "take":
            self._take(self._opened[1], frame, channel.take_descriptor())
        else:
            channel.send(*self._asked(frame, *self._opened))

    def _open(self, message: dict[str, Any]) -> dict[str, Any]:
        if message["release"] != __version__:
            return {"refused": f"release {__version__} was installed over {message['release']}, which still runs"}
        store = Store(Path(message["index"]))
        try:
            store.open_existing()
            # A connection that is kept: SQLite has the files of its log open from now on, which it wants to write to.
            store.contents.vectors([0])
        except StorageError as error:
            return {"refused": str(error)}
        self._opened = store, Follower(medium_at(message["medium"])), message["copy_threshold"]
        # No limit on memory: the codes of a million images are a gigabyte, mapped.
        granted = confine(None, [*message["folders"], *filter(None, sys.path), *SYSTEM_LIBRARIES], opens=True)
        return {"ready": True, "granted": granted}

    def _take(self, follower: Follower, frame: Frame, descriptor: int) -> None:
        try:
            follower.take(frame, descriptor)
        except (OSError, ValueError) as error:
            self._stale = str(error)
        else:
            self._stale = ""
        finally:
            os.close(descriptor)

    def _asked(
        self, frame: Frame, store: Store, follower: Follower, copy_threshold: float | None
    ) -> tuple[dict[str, Any], bytes]:
        operation = OPERATIONS[frame.message["ask"]]
        if self._stale and operation.reads:
            return {"stale": self._stale}, b""
        search = Search(follower.snapshot, store.contents, copy_threshold)
        arguments = decoded(operation.arguments, frame.blob)
        try:
            if frame.message["nice"]:
                found = self._nice.submit(operation.do, search, *arguments).result()
            else:
                found = operation.do(search, *arguments)
        except StorageError as error:
            return {"failed": error.message, "hint": error.hint}, b""
        return {"done": True}, encoded(found)


def medium_at(location: str) -> Medium:
    """Return the medium that has a `Medium.location`.

    Parameters
    ----------
    location : str
    """
    module, _, name = location.partition(":")
    medium: Medium = getattr(importlib.import_module(module), name)
    return medium


if __name__ == "__main__":
    serve(Process().answer)
