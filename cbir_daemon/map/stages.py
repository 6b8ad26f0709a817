"""The finished stages of a fit: a fit that was killed resumes behind its last finished stage.

In: a folder, and a key that says what is being fitted.  Out: bytes that were kept under a name, whole or not at all.
Never here: what the bytes mean, which stages there are.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from pathlib import Path

from cbir_daemon.errors import StorageError
from cbir_daemon.map.artifact import FOLDER_MODE, whole_file

STAGES_FOLDER = "stages"
LIST_FILE = "stages.json"


class Stages:
    """Files of one fit, the latest.

    Parameters
    ----------
    models_dir : Path
        Folder of all artifacts.
    key : str
        Equal for fits that must come out equal.  What was kept under another key is deleted.

    Raises
    ------
    StorageError
        When the disk refuses.
    """

    def __init__(self, models_dir: Path, key: str) -> None:
        self._folder = models_dir / STAGES_FOLDER
        self._key = key
        # The map and the flat map may be finished at once.
        self._lock = threading.Lock()
        self._digests = self._listed()
        if self._digests is None:
            self._digests = {}
            shutil.rmtree(self._folder, ignore_errors=True)
            try:
                self._folder.mkdir(FOLDER_MODE, exist_ok=True)
            except OSError as error:
                raise StorageError(f"cannot make {self._folder}: {error.strerror}") from error
            self._write_list()

    def load(self, name: str) -> bytes | None:
        """Return the bytes of a stage; None when there are none, or they are not those that were written."""
        assert self._digests is not None
        try:
            data = (self._folder / name).read_bytes()
        except OSError:
            return None
        return data if self._digests.get(name) == hashlib.sha256(data).hexdigest() else None

    def keep(self, name: str, data: bytes) -> None:
        """Write the bytes of a stage to disk, in place of earlier ones.  Any thread may call it.

        Parameters
        ----------
        name : str
            Of the stage; a file name.
        data : bytes

        Raises
        ------
        StorageError
            When the disk refuses.
        """
        assert self._digests is not None
        self._write(name, data)
        with self._lock:
            self._digests[name] = hashlib.sha256(data).hexdigest()
            self._write_list()

    def _listed(self) -> dict[str, str] | None:
        """Return the digests of what is there; None when it belongs to another fit."""
        try:
            found = json.loads((self._folder / LIST_FILE).read_bytes())
            return dict(found["digests"]) if found["key"] == self._key else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _write_list(self) -> None:
        self._write(LIST_FILE, json.dumps({"key": self._key, "digests": self._digests}).encode())

    def _write(self, name: str, data: bytes) -> None:
        with whole_file(self._folder / name) as file:
            file.write(data)
