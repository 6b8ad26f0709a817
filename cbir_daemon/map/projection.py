"""Places on the map in use: of contents that came after the fit, and of queries.

In: vectors.  Out: positions.  Never here: fitting, when to fit, umap itself (a worker process has it).

One thread runs the projections of all media (`maps`); `position` is asked by any.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.config import Config, ModelConfig
from cbir_daemon.errors import CbirError, ChildError, ModelError, TimedOutError
from cbir_daemon.map import ArtifactRefusedError, Placement, Projector, check_artifact
from cbir_daemon.map.between import interpolated
from cbir_daemon.map.codes import code_of, codes_of
from cbir_daemon.medium import MapSpace, space_of
from cbir_daemon.records import IMAGE, DescriptorKind, FitOutcome, Origin, PlacedBy
from cbir_daemon.search.part_searcher import PartSearcher
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.store import ModelRun, Placed, Store
from cbir_daemon.system import heartbeat

logger = logging.getLogger(__name__)

BATCH_CONTENTS = 1_024
BATCH_TIMEOUT_S = 120.0
QUERY_TIMEOUT_S = 30.0
"""Seconds after which a query goes on without the map when the worker does not answer."""

BACK_OFF_S = 60.0
"""Wait after a projection failed before the next batch is tried."""


@dataclass(frozen=True, slots=True)
class QueryPosition:
    """Where a query lies on a map.

    Parameters
    ----------
    coordinates : (n_components,) ndarray of float32
    placed_by : PlacedBy
    """

    coordinates: NDArray[np.float32]
    placed_by: PlacedBy


@dataclass(frozen=True, slots=True)
class _InUse:
    """The map in use: its run, by what contents are placed on it, its artifact, and who places contents."""

    run_id: int
    space: MapSpace
    folder: Path
    projector: Projector


class Projection:
    """Keeps every content placed on the map in use.

    Parameters
    ----------
    store : Store
    searcher : Searcher or PartSearcher
        Of `medium`.
    models_dir : Path
        Folder of the artifacts.
    settings : ModelConfig
    batch_contents : int
        Contents placed and committed together.
    spaces : mapping of str to MapSpace, optional
        By what contents may be near each other; those of the medium by default.
    medium : str
        Of the contents that are placed.
    tried_id : callable, optional
        Takes a kind of descriptors, returns up to which id contents do not wait for theirs any more.
    make_projector : callable, optional
        Makes a projector onto an artifact; takes what `Projector` takes.
    clock : callable, optional
        Monotonic seconds, by which a worker that failed is left alone; injected by tests.

    Attributes
    ----------
    failing : str
        Why new contents are not placed at the moment; empty when they are.
    """

    def __init__(
        self,
        store: Store,
        searcher: Searcher | PartSearcher,
        models_dir: Path,
        settings: ModelConfig,
        *,
        batch_contents: int = BATCH_CONTENTS,
        spaces: Mapping[str, MapSpace] | None = None,
        medium: str = IMAGE,
        tried_id: Callable[[DescriptorKind], int] = lambda _: sys.maxsize,
        make_projector: Callable[..., Projector] = Projector,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._searcher = searcher
        self._models_dir = models_dir
        self._settings = settings
        self._batch_contents = batch_contents
        self._spaces = searcher.medium.spaces if spaces is None else spaces
        self.medium = medium
        self._tried_id = tried_id
        self._make_projector = make_projector
        self._clock = clock
        self._lock = threading.Lock()
        self._current: _InUse | None = None
        self._retry_at = 0.0
        self.failing = ""
        self._stopping = threading.Event()

    def configure(self, config: Config) -> None:
        """Take the settings that may change while it runs, for the map in use too."""
        # Held so that `adopt` does not take up a projector that was made with the settings before.
        with self._lock:
            self._settings = config.model
            if self._current is not None:
                self._current.projector.configure(idle_s=config.model.model_idle_s, threads=config.model.threads)

    # -- asked from other threads ------------------------------------------------------------------------------------

    def open(self) -> None:
        """Take up the active run, or set it aside when its artifact cannot be used any more."""
        run = self._store.runs.active(self.medium)
        if run is None or run.artifact is None or run.sha256 is None:
            return
        try:
            space = space_of(self._spaces, run.code_version)
            # Codes that nothing makes any more are no codes of the artifact.
            version = "" if space is None else space.version
            check_artifact(self._models_dir, run.artifact, run.sha256, code_version=version)
        except ArtifactRefusedError as error:
            self._set_aside(run.id, error)
        else:
            self.adopt(run)

    def projector(self, artifact: str, sha256: bytes, code_version: str) -> Projector:
        """Return a projector onto an artifact; its process starts with the first code.

        Parameters
        ----------
        artifact : str
            Name of the artifact's folder.
        sha256 : bytes
            Digest recorded when it was fitted.
        code_version : str
            How the codes are made that it was fitted on.
        """
        return self._make_projector(
            self._models_dir,
            artifact,
            sha256,
            idle_s=self._settings.model_idle_s,
            threads=self._settings.threads,
            code_version=code_version,
        )

    def adopt(self, run: ModelRun, projector: Projector | None = None) -> None:
        """Place new contents and queries on the map of `run` from now on.

        Parameters
        ----------
        run : ModelRun
            With artifact and digest.
        projector : Projector, optional
            Onto its artifact, which the fit used already; by default a new one.
        """
        assert run.artifact is not None
        assert run.sha256 is not None
        space = space_of(self._spaces, run.code_version)
        assert space is not None
        projector = projector or self.projector(run.artifact, run.sha256, run.code_version)
        with self._lock:
            # A fit made it, maybe before the settings changed.
            projector.configure(idle_s=self._settings.model_idle_s, threads=self._settings.threads)
            before, self._current = self._current, _InUse(run.id, space, self._models_dir / run.artifact, projector)
            self._retry_at = 0.0
            self.failing = ""
        if before is not None:
            before.projector.close()
        # What came during the fit has no place on this map yet.
        self._store.wake()

    @property
    def idle(self) -> bool:
        """Whether every content is placed, or placing is not possible at the moment."""
        if self._current is None or self._clock() < self._retry_at:
            return True
        return self._store.positions.coverage(self.medium).unplaced == 0

    @property
    def worker_running(self) -> bool:
        """Whether the model worker lives at the moment."""
        current = self._current
        return current is not None and current.projector.running

    def position(
        self, vector: bytes, descriptor: Callable[[DescriptorKind], bytes | None], run_id: int
    ) -> QueryPosition | None:
        """Return where a query lies on a map: between the nearest fitted images while the worker starts.

        None when the map is not in use, when its worker fails, or when the query has nothing that the map goes by.

        Parameters
        ----------
        vector : bytes
            4096 grey levels.
        descriptor : callable
            Takes a kind of descriptors, returns the query's, or None.
        run_id : int
            Of the map; another one than the map in use gives None.

        Notes
        -----
        Waits for `QUERY_TIMEOUT_S` at most: for other callers of the worker, or for its start when the map was saved by
        a release that kept no positions beside it.
        """
        current = self._current
        if current is None or current.run_id != run_id:
            return None
        kind = current.space.descriptor
        codes = code_of(current.space, vector, None if kind is None else descriptor(kind))
        if not codes.any():
            return None
        try:
            if not current.projector.is_ready():
                near = interpolated(current.folder, codes, current.space.metric)
                if near is not None:
                    return QueryPosition(near, PlacedBy.INTERPOLATED)
            return QueryPosition(current.projector.project(codes, QUERY_TIMEOUT_S)[0], PlacedBy.PROJECTED)
        except ArtifactRefusedError as error:
            self._set_aside(run_id, error)
        except (ModelError, ChildError, TimedOutError) as error:
            logger.warning("query not placed on the map run=%d error=%s", run_id, error)
        return None

    def places(self, codes: NDArray[np.float32], run_id: int) -> NDArray[np.float32] | None:
        """Return where a batch of contents lies on a map; None when the map is not in use, or its worker fails.

        Parameters
        ----------
        codes : (n, f) ndarray of float32
            As the map's codes were made.
        run_id : int
            Of the map; another one than the map in use gives None.

        Returns
        -------
        (n, n_components) ndarray of float32 or None

        Notes
        -----
        Waits for `BATCH_TIMEOUT_S` at most.
        """
        current = self._current
        if current is None or current.run_id != run_id:
            return None
        heartbeat.beat(BATCH_TIMEOUT_S + heartbeat.STALLED_S)
        try:
            return current.projector.project(codes, BATCH_TIMEOUT_S)
        except (ModelError, ChildError, TimedOutError) as error:
            logger.warning("contents not placed on the map run=%d error=%s", run_id, error)
        return None

    def close_if_idle(self, now: float) -> None:
        """End the worker when it has been idle for long; `now` is monotonic seconds."""
        current = self._current
        if current is not None:
            current.projector.close_if_idle(now)

    def stop(self) -> None:
        """End the worker and ask the thread to end."""
        self._stopping.set()
        current = self._current
        if current is not None:
            current.projector.close()

    # -- the thread --------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Place the next contents; False when all have a position, or placing is not possible at the moment."""
        current = self._current
        if current is None or self._stopping.is_set() or self._clock() < self._retry_at:
            return False
        return self._place(current)

    def _place(self, current: _InUse) -> bool:
        """Place the next contents; False when all have a position."""
        run_id = current.run_id
        kind = current.space.descriptor
        tried_id = sys.maxsize if kind is None else self._tried_id(kind)
        contents = self._store.positions.unplaced(run_id, self._batch_contents, kind, tried_id)
        if not contents:
            return False
        heartbeat.beat(BATCH_TIMEOUT_S + heartbeat.STALLED_S)
        try:
            codes = codes_of(self._store, current.space, contents)
            placement = current.projector.place(codes, BATCH_TIMEOUT_S, measured=True)
        except ArtifactRefusedError as error:
            self._set_aside(run_id, error)
            return False
        except (ModelError, ChildError, TimedOutError) as error:
            return self._retry_later(run_id, error)
        placed = as_placed([content_id for content_id, _ in contents], Origin.ADDED, placement)
        self._store.positions.put(run_id, placed)
        self._searcher.place(run_id, [(place.content_id, place.coordinates) for place in placed])
        self.failing = ""
        logger.debug("projected contents=%d run=%d", len(placed), run_id)
        return True

    def _retry_later(self, run_id: int, error: CbirError) -> bool:
        """Wait before the next try after a failure; True when another map is in use now, which may be tried at once."""
        with self._lock:
            if self._stopping.is_set() or (self._current is not None and self._current.run_id != run_id):
                return True
            self._retry_at = self._clock() + BACK_OFF_S
            self.failing = str(error)
        logger.warning("projection failed run=%d retry_s=%s error=%s", run_id, BACK_OFF_S, error)
        return False

    def _set_aside(self, run_id: int, error: ModelError) -> None:
        with self._lock:
            active = self._store.runs.active(self.medium)
            if active is None or active.id != run_id:
                # A fit has replaced this map meanwhile, and its artifact went with it: nothing is wrong.
                return
            if self._current is not None and self._current.run_id == run_id:
                self._current.projector.close()
                self._current = None
        logger.warning("model set aside run=%d reason=%s", run_id, error)
        self._store.runs.end(run_id, FitOutcome.SET_ASIDE, error.message, time.time())
        self._searcher.drop_map()


def as_placed(ids: Sequence[int], origin: str, placement: Placement) -> list[Placed]:
    """Return placements as rows of the store.

    Parameters
    ----------
    ids : sequence of int
        Content ids, one for each row of the placement.
    origin : str
        "present" or "added".
    placement : Placement
        From `Projector.place`, measured.
    """
    coordinates, flat = placement.positions.astype("<f4"), placement.flat.astype("<f4")
    return [
        Placed(content_id, origin, coordinates[row].tobytes(), flat[row].tobytes(), distance, recall)
        for row, (content_id, distance, recall) in enumerate(
            zip(ids, placement.distances.tolist(), placement.recalls.tolist(), strict=True)
        )
    ]
