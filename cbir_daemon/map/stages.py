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
    """Files of one fit, the latest; `open` finds them.

    Parameters
    ----------
    folder : Path
        Where they lie.
    key : str
        Equal for fits that must come out equal.
    digests : dict of str to str
        SHA-256 of each stage that was kept under this key, by name.
    """

    def __init__(self, folder: Path, key: str, digests: dict[str, str]) -> None:
        self._folder = folder
        self._key = key
        # The map and the flat map may be finished at once.
        self._lock = threading.Lock()
        self._digests = digests

    @classmethod
    def open(cls, models_dir: Path, key: str) -> Stages:
        """Return the stages of a fit; what was kept under another key is deleted.

        Parameters
        ----------
        models_dir : Path
            Folder of all artifacts.
        key : str
            Equal for fits that must come out equal.

        Raises
        ------
        StorageError
            When the disk refuses.
        """
        folder = models_dir / STAGES_FOLDER
        digests = _listed(folder, key)
        stages = cls(folder, key, digests or {})
        if digests is None:
            shutil.rmtree(folder, ignore_errors=True)
            try:
                folder.mkdir(FOLDER_MODE, exist_ok=True)
            except OSError as error:
                raise StorageError(f"cannot make {folder}: {error.strerror}") from error
            stages._write_list()
        return stages

    def load(self, name: str) -> bytes | None:
        """Return the bytes of a stage; None when there are none, or they are not those that were written."""
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
        self._write(name, data)
        with self._lock:
            self._digests[name] = hashlib.sha256(data).hexdigest()
            self._write_list()

    def _write_list(self) -> None:
        self._write(LIST_FILE, json.dumps({"key": self._key, "digests": self._digests}).encode())

    def _write(self, name: str, data: bytes) -> None:
        with whole_file(self._folder / name) as file:
            file.write(data)


def _listed(folder: Path, key: str) -> dict[str, str] | None:
    """Return the digests of what is there; None when it belongs to another fit."""
    try:
        found = json.loads((folder / LIST_FILE).read_bytes())
        return dict(found["digests"]) if found["key"] == key else None
    except (OSError, ValueError, TypeError, KeyError):
        return None
