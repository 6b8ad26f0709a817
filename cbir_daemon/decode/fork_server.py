"""The process that decode workers are forked from: it has loaded all that they read by.

In: the names of the readers' and the worker's modules, and of what is loaded besides.  Out: workers.  Never here:
files, messages to workers.

Run as `python -m cbir_daemon.decode.fork_server FD LIFELINE`.  It is not confined; a worker confines itself before its
first file.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from cbir_daemon.decode.loading import load
from cbir_daemon.decode.reader import FileReader
from cbir_daemon.decode.worker import Loaded
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.system.child import Channel
from cbir_daemon.system.forking import serve_forks


def prepare(frame: Frame) -> Callable[[Frame, Channel], None]:
    """Load what the daemon names, and return what answers it in a worker.

    Parameters
    ----------
    frame : Frame
        From `messages.load_message`.
    """
    names = frozenset(frame.message["load"])
    readers: dict[str, FileReader] = {
        medium: importlib.import_module(module).FILE_READER for medium, module in frame.message["readers"].items()
    }
    loaded = Loaded(readers, names, load(readers.values(), names))
    answer: Callable[[Frame, Channel], None] = importlib.import_module(frame.message["worker"]).WORKER(loaded).answer
    return answer


if __name__ == "__main__":
    serve_forks(prepare)
