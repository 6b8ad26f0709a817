"""The model worker: a process that holds one map and places codes on it.

In: first a frame that names an artifact and its digest, then frames of codes.  Out: positions, or a sentence that says
why not.  Never here: fitting; loading anything that was not checked.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import umap
from numpy.typing import NDArray

from cbir_daemon.errors import ModelError
from cbir_daemon.map.artifact import (
    CODES_FILE,
    FLAT_FILE,
    MODEL_FILE,
    ArtifactRefusedError,
    check_artifact,
    check_manifest,
)
from cbir_daemon.map.between import between
from cbir_daemon.map.layout import project
from cbir_daemon.map.neighbors import NEAREST, nearest
from cbir_daemon.map.points import Points, to_points
from cbir_daemon.map.projector import Placement
from cbir_daemon.map.quality import recall
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.system.child import Channel, serve


class Map:
    """A loaded map; `opened` loads it.

    Parameters
    ----------
    model : umap.UMAP
        Projects codes.
    points : (n, f) Points
        The fitted ones.
    flat : (n, 2) ndarray of float32
        Their positions in two dimensions.
    """

    def __init__(self, model: umap.UMAP, points: Points, flat: NDArray[np.float32]) -> None:
        self._model = model
        self._points = points
        self._flat = flat

    @classmethod
    def opened(cls, message: dict[str, Any]) -> Map:
        """Return the map of an artifact.

        Parameters
        ----------
        message : dict
            Names the artifact: `models_dir`, `artifact`, `sha256`, `code_version`.

        Raises
        ------
        ArtifactRefusedError
            When it may not be loaded.
        """
        models_dir, name, sha256 = Path(message["models_dir"]), message["artifact"], bytes.fromhex(message["sha256"])
        check_artifact(models_dir, name, sha256, code_version=message["code_version"])
        manifest = check_manifest(models_dir, name, sha256)
        # The very bytes that are unpickled are checked, not a file that may be another by then.
        pickled = (models_dir / name / MODEL_FILE).read_bytes()
        if hashlib.sha256(pickled).hexdigest() != manifest.files[MODEL_FILE]:
            raise ArtifactRefusedError(f"{MODEL_FILE} of {name!r} changed while it was read")
        model = joblib.load(io.BytesIO(pickled))
        points = Points(np.load(models_dir / name / CODES_FILE, mmap_mode="r", allow_pickle=False), manifest.metric)
        flat = np.load(models_dir / name / FLAT_FILE, allow_pickle=False)
        # The first projection has compiled code loaded, or made: nobody is to wait for that once the map is open.
        project(model, nearest(points, points[:1], model.n_neighbors))
        return cls(model, points, flat)

    def place(self, codes: NDArray[np.float32], *, measured: bool) -> Placement:
        """Return where codes lie on the map, and how far from what was fitted.

        Parameters
        ----------
        codes : (m, f) ndarray of float32
            As `to_points` takes them.
        measured : bool
            Whether the neighbour recall of each is measured; NaN otherwise.

        Raises
        ------
        ModelError
            When the codes have another number of features than the map, or are not finite.
        """
        if codes.shape[1] != self._points.rows.shape[1] or not np.isfinite(codes).all():
            raise ModelError(f"the map takes codes of {self._points.rows.shape[1]} finite numbers")
        width = max(self._model.n_neighbors, min(NEAREST, len(self._points)))
        found = nearest(self._points, to_points(codes, self._points.metric), width)
        positions = project(self._model, found.first(self._model.n_neighbors))
        near = found.first(NEAREST)
        recalls = recall(self._model.embedding_, positions, near.ids) if measured else np.full(len(codes), np.nan)
        return Placement(
            positions,
            between(self._flat, near),
            near.distances.mean(axis=1, dtype=np.float64).astype(np.float32),
            recalls.astype(np.float32),
        )


class Worker:
    """Answers frames: the first opens the map, the others project."""

    def __init__(self) -> None:
        self._map: Map | None = None

    def answer(self, frame: Frame, channel: Channel) -> None:
        """Open the map that the first frame names, and project the codes of each later frame.

        Parameters
        ----------
        frame : Frame
            The first has the message that `Map` takes; each later one has `rows`, `columns` and `measured`, and the
            codes as float32 bytes.
        channel : Channel
            Gets `opened` or `refused` for the first; for each later one `columns` with positions, flat positions,
            distances and recalls as float32 bytes, or `failed`.
        """
        if self._map is None:
            self._open(frame, channel)
        else:
            self._project(self._map, frame, channel)

    def _open(self, frame: Frame, channel: Channel) -> None:
        try:
            self._map = Map.opened(frame.message)
        except ArtifactRefusedError as error:
            channel.send({"refused": error.message, "hint": error.hint})
        else:
            channel.send({"opened": True})

    def _project(self, loaded: Map, frame: Frame, channel: Channel) -> None:
        shape = (frame.message["rows"], frame.message["columns"])
        try:
            codes = np.frombuffer(frame.blob, np.float32).reshape(shape)
            placed = loaded.place(codes, measured=frame.message["measured"])
        except ModelError as error:
            channel.send({"failed": error.message})
        else:
            parts = (placed.positions, placed.flat, placed.distances, placed.recalls)
            channel.send({"columns": placed.positions.shape[1]}, b"".join(part.tobytes() for part in parts))


if __name__ == "__main__":
    serve(Worker().answer)
