"""The model worker, as the daemon sees it: codes in, positions out, a process only while there is something to do.

In: codes.  Out: positions on the map of one artifact.  Never here: umap, numba, scikit-learn, joblib.  All the work is
done by `cbir_daemon.map.project_child`, which keeps the fitted codes and finds the neighbours.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.errors import ChildError, ModelError, TimedOutError
from cbir_daemon.map.artifact import ArtifactRefusedError, check_manifest
from cbir_daemon.map.environment import child_environment
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.system.child import Child

BATCH_ROWS = 128
"""Codes sent at once: what a query may have to wait for, about 0.1 s, while many new images are projected."""

START_LIMIT_S = 180.0
"""A process that has not opened its map by then hangs.  Compiling everything anew takes 25 s on an idle machine."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where images lie, and how well they belong there.

    Parameters
    ----------
    positions : (m, n_components) ndarray of float32
        On the map.
    flat : (m, 2) ndarray of float32
        On the flat map: between the nearest fitted images, the nearer the closer.
    distances : (m,) ndarray of float32
        Mean distance, 0 to 2, to the 10 nearest fitted images: cosine, or Euclidean in such a space.
    recalls : (m,) ndarray of float32
        Neighbour recall (see `quality`) by these 10, 0 to 1; NaN when it was not measured.
    """

    positions: NDArray[np.float32]
    flat: NDArray[np.float32]
    distances: NDArray[np.float32]
    recalls: NDArray[np.float32]

    @classmethod
    def joined(cls, parts: Sequence[Placement]) -> Placement:
        """Return the placements of several batches as one."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))


class Projector:
    """Projects codes onto a saved map.  Any thread may call it.

    Parameters
    ----------
    models_dir : Path
        Folder of all artifacts.
    artifact : str
        Name of the artifact.
    sha256 : bytes
        Its digest, as recorded when it was fitted.
    idle_s : float
        Seconds without work after which `close_if_idle` ends the process.
    threads : int
        For the search of neighbours.
    code_version : str, optional
        How codes are made now; None accepts any artifact's.
    """

    def __init__(
        self,
        models_dir: Path,
        artifact: str,
        sha256: bytes,
        *,
        idle_s: float,
        threads: int,
        code_version: str | None = None,
    ) -> None:
        self._models_dir = models_dir
        self._artifact = artifact
        self._sha256 = sha256
        self.idle_s = idle_s
        self.threads = threads
        self._code_version = code_version
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._closings = 0
        self._child: Child | None = None
        self._opened = False
        self._started_s = 0.0
        self._used_s = 0.0

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        child = self._child
        return child is not None and child.running

    @property
    def busy(self) -> bool:
        """Whether a batch is with the process, which starts for it when it has to."""
        return self._lock.locked()

    @property
    def process_id(self) -> int | None:
        """Id of the process; None when there is none."""
        child = self._child
        return None if child is None else child.pid

    @property
    def cpu_s(self) -> float:
        """Processor time that the process has used, in seconds; 0 when there is none."""
        child = self._child
        return 0.0 if child is None else child.cpu_s

    def project(self, codes: NDArray[np.float32], timeout_s: float) -> NDArray[np.float32]:
        """Return the positions of `codes`.  A code has the same position alone and in any batch.

        Parameters
        ----------
        codes : (m, f) ndarray of float32
            As the map's codes were made.
        timeout_s : float
            For all of it; a process that must be started needs 2 to 4 s of it.

        Returns
        -------
        (m, n_components) ndarray of float32

        Raises
        ------
        ArtifactRefusedError
            When the artifact may not be loaded.
        ModelError
            When the codes do not fit the map.
        ChildError
            When the process died; the next call starts another.
        TimedOutError
            When time is up.  A process that is still starting goes on; one that was at work is replaced.
        """
        return self.place(codes, timeout_s).positions

    def place(self, codes: NDArray[np.float32], timeout_s: float, *, measured: bool = False) -> Placement:
        """Return the positions of `codes`, and how well they belong there.

        Parameters
        ----------
        codes : (m, f) ndarray of float32
            As the map's codes were made.
        timeout_s : float
            For all of it; a process that must be started needs 2 to 4 s of it.
        measured : bool
            Whether the neighbour recall of each is measured.

        Raises
        ------
        ArtifactRefusedError
            When the artifact may not be loaded.
        ModelError
            When the codes do not fit the map.
        ChildError
            When the process died; the next call starts another.
        TimedOutError
            When time is up.  A process that is still starting goes on; one that was at work is replaced.
        """
        deadline_s = time.monotonic() + timeout_s
        closings = self._closings
        parts = [
            self._place_batch(codes[start : start + BATCH_ROWS], deadline_s, closings, measured=measured)
            for start in range(0, max(1, len(codes)), BATCH_ROWS)
        ]
        return Placement.joined(parts)

    def is_ready(self) -> bool:
        """Return at once whether `place` would not have to wait for the process to open the map; have it start else.

        Raises
        ------
        ArtifactRefusedError
            When the artifact may not be loaded.
        ChildError
            When the process cannot be started, or died.
        """
        # Whoever holds the lock has it start, or has it at work.
        if self._lock.acquire(blocking=False):
            try:
                self._open(time.monotonic())
            except TimedOutError:
                if time.monotonic() - self._started_s > START_LIMIT_S:
                    self._close()
                return False
            except (ChildError, ArtifactRefusedError):
                self._close()
                raise
            finally:
                self._lock.release()
        return self._opened

    def close(self) -> None:
        """End the process, whatever it does.

        A thread that waits for the process gets a `ChildError`.  The next `project` starts another.
        """
        child = self._child
        if child is not None and child.running:
            # Killed before the lock is asked for: a daemon that stops must not wait for a large batch.
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
        with self._lock:
            self._closings += 1
            self._close()

    def configure(self, *, idle_s: float, threads: int) -> None:
        """Take settings that may change while the daemon runs.

        Parameters
        ----------
        idle_s : float
            Seconds without work after which `close_if_idle` ends the process; in force at once.
        threads : int
            For the search of neighbours; the next process has them.
        """
        self.idle_s = idle_s
        self.threads = threads

    def close_if_idle(self, now: float) -> None:
        """End the process when nothing was projected for `idle_s` before `now` (of the monotonic clock).

        One that starts is left alone: a query has it start, and does not wait for it.
        """
        # A call that holds the lock is at work: not idle, and not worth waiting for.
        if self._lock.acquire(blocking=False):
            try:
                starts = not self._opened and now - self._started_s <= START_LIMIT_S
                if now - self._used_s >= self.idle_s and not starts:
                    self._close()
            finally:
                self._lock.release()

    def _start(self) -> Child:
        if self._child is not None and self._child.running:
            return self._child
        self._close()
        # The child checks every byte; what the manifest tells is told without waiting for a child.
        check_manifest(self._models_dir, self._artifact, self._sha256, code_version=self._code_version)
        self._child = Child.started(
            "cbir_daemon.map.project_child",
            {
                "models_dir": str(self._models_dir),
                "artifact": self._artifact,
                "sha256": self._sha256.hex(),
                "code_version": self._code_version,
            },
            threads=self.threads,
            env=child_environment(self._models_dir),
        )
        self._started_s = self._used_s = time.monotonic()
        return self._child

    def _open(self, deadline_s: float) -> Child:
        child = self._start()
        if not self._opened:
            answer = child.receive(_remaining(deadline_s)).message
            if "refused" in answer:
                raise ArtifactRefusedError(answer["refused"], hint=answer["hint"])
            self._opened = True
        return child

    def _place_batch(
        self, codes: NDArray[np.float32], deadline_s: float, closings: int, *, measured: bool
    ) -> Placement:
        rows = np.ascontiguousarray(codes, dtype=np.float32)
        with self._own_turn(deadline_s):
            if self._closings != closings:
                # Closed between two batches: starting another worker would be against the will of who closed it.
                raise ChildError("the model worker was closed")
            try:
                child = self._open(deadline_s)
                child.send({"rows": len(rows), "columns": rows.shape[1], "measured": measured}, rows.tobytes())
                frame = child.receive(_remaining(deadline_s))
            except TimedOutError:
                # Its late answer must not be taken for the next one; but to be late with starting is no fault, and
                # callers in a hurry must not kill each worker before it is ready.
                if self._opened or time.monotonic() - self._started_s > START_LIMIT_S:
                    self._close()
                raise
            except (ChildError, ArtifactRefusedError):
                self._close()
                raise
            self._used_s = time.monotonic()
        return _placement(frame, len(rows))

    @contextmanager
    def _own_turn(self, deadline_s: float) -> Iterator[None]:
        """Hold the worker for one batch.  Callers take turns batch by batch, not call by call."""
        # A lock alone is not fair: the caller that releases it is the first to take it again.
        with self._turn:
            if not self._lock.acquire(timeout=_remaining(deadline_s)):
                raise TimedOutError("the model worker is busy")
        try:
            yield
        finally:
            self._lock.release()

    def _close(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None
            self._opened = False


def _placement(frame: Frame, rows: int) -> Placement:
    if "failed" in frame.message:
        raise ModelError(frame.message["failed"])
    columns = frame.message["columns"]
    positions, flat, distances, recalls = np.split(
        np.frombuffer(frame.blob, np.float32), np.cumsum([rows * columns, rows * 2, rows])
    )
    return Placement(positions.reshape(rows, columns), flat.reshape(rows, 2), distances, recalls)


def _remaining(deadline_s: float) -> float:
    return max(0.0, deadline_s - time.monotonic())
