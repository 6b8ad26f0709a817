"""The codes of all contents while a map is fitted: in a file without a name, mapped into memory.

In: codes, some at a time.  Out: all of them as one array.  Never here: how codes are made (`codes`), what is done with
them (`refit`).

A fit takes minutes, in which the daemon does nothing with the codes, and those of 100 000 images are 280 MiB.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.errors import StorageError
from cbir_daemon.map.artifact import FOLDER_MODE

Floats = NDArray[np.float32]


class MappedCodes:
    """Codes that lie in a file.

    Parameters
    ----------
    folder : Path
        On whose disk; it is made.
    size : int
        Numbers of a code.
    parts : iterable of (n, size) ndarray of float32
        The codes, in order.

    Attributes
    ----------
    rows : (n, size) ndarray of float32
        All of them; nobody can write to it.

    Raises
    ------
    StorageError
        When the disk refuses.
    """

    def __init__(self, folder: Path, size: int, parts: Iterable[Floats]) -> None:
        self._mapped: mmap.mmap | None = None
        self.rows: Floats = np.empty((0, size), dtype=np.float32)
        try:
            folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                # Written and not filled in place: a page for which a disk has no room would end the process.
                for part in parts:
                    file.write(np.ascontiguousarray(part, dtype=np.float32).data)
                file.flush()
                if file.tell():
                    self._mapped = mmap.mmap(file.fileno(), file.tell(), access=mmap.ACCESS_READ)
        except OSError as error:
            raise StorageError(f"{folder}: codes cannot be written: {error.strerror}") from error
        if self._mapped is not None:
            self.rows = np.frombuffer(self._mapped, dtype=np.float32).reshape(-1, size)

    def release(self) -> None:
        """Let the pages go that this process has read; the next access reads them from the file."""
        if self._mapped is not None:
            self._mapped.madvise(mmap.MADV_DONTNEED)
