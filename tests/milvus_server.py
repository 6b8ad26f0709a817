"""A real Milvus for tests and benchmarks: the standalone server of the wheel `milvus`, in a folder of its own.

In: a folder.  Out: a server on a free port of this machine, which can be killed, frozen and started again.  Never here:
what is asked of it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

STOP_TIMEOUT_S = 60.0
CHILD = Path(__file__).with_name("milvus_child.py")


def missing() -> str:
    """Return why no server can be started here; empty when one can."""
    for module in ("pymilvus", "milvus"):
        if importlib.util.find_spec(module) is None:
            return f"the package {module} is not installed"
    return ""


class Milvus:
    """A server, started by `start`.

    Parameters
    ----------
    folder : Path
        With a short name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._pid = 0
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, or start again on the same port, and return when it answers."""
        self._child = subprocess.Popen(  # noqa: S603 -- ours
            [sys.executable, CHILD, self.folder, str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self.folder.parent,
        )
        assert self._child.stdout is not None
        said = self._child.stdout.readline().split()
        if len(said) != 2:
            self.stop()
        assert len(said) == 2, f"no server came up: see {self.folder}/logs"
        self._pid, self.port = int(said[0]), int(said[1])

    def signal(self, number: signal.Signals) -> None:
        """Send the server a signal."""
        os.kill(self._pid, number)

    def kill(self) -> None:
        """End it as the kernel does when memory is out."""
        self.signal(signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        """End it, and wait until it has."""
        if self._child is not None:
            self._child.communicate(timeout=STOP_TIMEOUT_S)
            self._child = None

    def flush(self, *names: str) -> None:
        """Have collections written, and wait until all of their rows are in an index."""
        import pymilvus  # noqa: PLC0415 -- it may be missing

        client = pymilvus.MilvusClient(uri=self.uri)
        for name in names:
            client.flush(name)
            (index,) = client.list_indexes(name)
            while client.describe_index(name, index)["pending_index_rows"]:
                time.sleep(0.5)
        client.close()

    def resident_mib(self) -> float:
        """Return the memory of the server, in MiB."""
        status = dict(line.split(":", 1) for line in Path(f"/proc/{self._pid}/status").read_text().splitlines())
        return int(status["VmRSS"].split()[0]) / 1024

    def empty(self) -> None:
        """Forget all that a stopped server has."""
        shutil.rmtree(self.folder / "data")
