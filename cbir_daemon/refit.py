"""When the map is old, and how it is replaced.

In: how well the map covers the collection.  Out: a new active run with all its positions.  Never here: how a map is
fitted (a child process of `model`), what a client asked.

One thread runs `Refit.run`.  Queries are answered from the old map until the new one, its artifact complete on disk, is
written together with every position in one commit (invariant I2) and swapped into the searcher.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbir_daemon import matching, pulse
from cbir_daemon.config import ModelConfig, is_within
from cbir_daemon.errors import BadRequestError, CbirError, ChildError, ModelError, StorageError, TimedOutError
from cbir_daemon.model import Fit, FitProgress, FitResult, FitSettings, remove_artifacts
from cbir_daemon.projection import BATCH_CONTENTS, BATCH_TIMEOUT_S, Projection
from cbir_daemon.searching import Searcher, as_vectors
from cbir_daemon.store import Coverage, FitBegun, ModelRun, Placed, Store

logger = logging.getLogger(__name__)

POLL_S = 0.2
"""How often a running fit is asked for news and whether it is to stop."""

HUNG_S = 600.0
"""A fit that has used no processor time for so long hangs.  A stage may be silent for as long as it likes."""

CHECK_S = 60.0
"""How often it is asked whether a fit is due when nothing changes: the shortest interval and quiet hours pass too."""

FAILURE_BACK_OFF_S = 600.0
"""Shortest wait after a failed fit, so that a fit that cannot work is not tried without end."""


def why_due(coverage: Coverage, runs: list[ModelRun], settings: ModelConfig, now: datetime) -> str | None:
    """Say why a fit is due now, or None.

    Parameters
    ----------
    coverage : Coverage
        Of the active map; `present_at_fit` is 0 without one.
    runs : list of ModelRun
        Every run, newest first.
    settings : ModelConfig
    now : datetime
        With a time zone; quiet hours are local time.
    """
    if coverage.contents < settings.min_images:
        return None
    if settings.fit_hours is not None and not is_within(settings.fit_hours, now.time()):
        return None
    # A fit cut short by the daemon's own end says nothing.
    ended = [run for run in runs if run.outcome in ("active", "replaced", "failed", "set-aside")]
    last = ended[0] if ended else None
    since_last_s = float("inf") if last is None else now.timestamp() - (last.finished_at or 0.0)
    if since_last_s < 0:
        # The clock was set back: how long ago it was cannot be told, and waiting for that time could take years.
        since_last_s = float("inf")
    # One map that cannot be used is replaced at once; when the next cannot be used either, a third will not help.
    failed = [run.outcome for run in ended[:1]] == ["failed"] or [run.outcome for run in ended[:2]] == ["set-aside"] * 2
    if failed and since_last_s < max(FAILURE_BACK_OFF_S, settings.refit_min_interval_s):
        return None
    if coverage.present_at_fit == 0:
        return "there is no map"
    if (
        coverage.changed_fraction <= settings.refit_changed_fraction
        or coverage.changed < settings.refit_min_changes
        or since_last_s < settings.refit_min_interval_s
    ):
        return None
    return f"{coverage.changed} of {coverage.present_at_fit} contents changed ({coverage.changed_fraction:.0%})"


@dataclass(frozen=True, slots=True)
class RefitState:
    """What a running fit is at; `fraction` in [0, 1]."""

    run_id: int
    stage: str
    fraction: float
    message: str
    started: float

    @property
    def elapsed_s(self) -> float:
        """Seconds since the fit began."""
        return time.monotonic() - self.started


class Refit:
    """Fits a new map when the old one no longer covers the collection.

    Parameters
    ----------
    store, searcher, projection
        The rooms it moves a map between.
    models_dir : Path
        Folder of the artifacts.
    settings : ModelConfig
    quiet : callable
        Whether nothing is being indexed: a fit waits for the end of a large copy.
    """

    def __init__(
        self,
        store: Store,
        searcher: Searcher,
        projection: Projection,
        models_dir: Path,
        settings: ModelConfig,
        quiet: Callable[[], bool],
    ) -> None:
        self._store = store
        self._searcher = searcher
        self._projection = projection
        self._models_dir = models_dir
        self._quiet = quiet
        self.settings = settings
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._asked_for = 0
        self._ended = 0
        self._ended_run: int | None = None
        self.state: RefitState | None = None

    # -- asked from other threads ------------------------------------------------------------------------------------

    def due(self) -> str | None:
        """Say why a fit is due now, or None."""
        now = datetime.now().astimezone()
        return why_due(self._store.coverage(), self._store.runs(), self.settings, now)

    @property
    def idle(self) -> bool:
        """Whether no fit runs, is asked for or is due."""
        return self.state is None and self._asked_for <= self._ended and self.due() is None

    def request(self) -> int:
        """Ask for a fit now, and return a ticket for `outcome`.

        Raises
        ------
        BadRequestError
            When the collection is too small for a map.
        """
        contents = self._store.coverage().contents
        if contents < self.settings.min_images:
            raise BadRequestError(
                f"{contents} contents are too few for a map",
                hint=f"the least is {self.settings.min_images} (model.min_images); queries work without a map",
            )
        with self._changed:
            self._asked_for = self._ended + 1 if self.state is None else self._ended + 2
            ticket = self._asked_for
        self._store.wake()
        return ticket

    def outcome(self, ticket: int, timeout_s: float) -> ModelRun | None:
        """Return the run that answered a ticket, or None when it has not ended within `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended >= ticket or self._stopping.is_set(), timeout_s)
            run_id = self._ended_run if self._ended >= ticket else None
        return next((run for run in self._store.runs() if run.id == run_id), None)

    def stop(self) -> None:
        """Ask the thread to end; a running fit is cancelled."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    # -- the thread --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Fit whenever it is due or asked for, until stopped.

        Raises
        ------
        StorageError
            When the index cannot be read or written; call it again later.
        """
        # When the disk refused the end of a run, too, this comes before the next one, which must keep its distance.
        self._store.end_interrupted_runs(time.time(), "failed", "its end could not be written")
        while not self._stopping.is_set():
            moment = self._store.moment
            reason = self._reason()
            if reason is None:
                self._store.wait_for_change(moment, CHECK_S)
            else:
                self._replace_map(reason)

    def _reason(self) -> str | None:
        if self._asked_for > self._ended:
            return "asked for"
        return self.due() if self._quiet() else None

    def _replace_map(self, reason: str) -> None:
        ids, codes = self._codes()
        run_id = self._store.start_run(FitBegun(reason, matching.CODE_VERSION, len(ids)), time.time())
        self.state = RefitState(run_id, "graph", 0.0, "loading umap", time.monotonic())
        logger.info("fit starts run=%d contents=%d reason=%s", run_id, len(ids), reason)
        try:
            self._fit(run_id, ids, codes)
        except (ModelError, ChildError, TimedOutError, StorageError) as error:
            outcome = "cancelled" if self._stopping.is_set() else "failed"
            logger.warning("fit %s run=%d error=%s", outcome, run_id, error)
            self._store.end_run(run_id, outcome, str(error), time.time())
        finally:
            with self._changed:
                self._ended += 1
                self._ended_run = run_id
                self.state = None
                self._changed.notify_all()

    def _fit(self, run_id: int, ids: NDArray[np.int64], codes: NDArray[np.float32]) -> None:
        started = time.monotonic()
        settings = FitSettings(
            n_components=self.settings.n_components,
            seed=self.settings.seed,
            threads=self.settings.threads,
            code_version=matching.CODE_VERSION,
            max_fit_images=self.settings.max_fit_images,
        )
        result = self._followed(Fit.start(codes, self._models_dir, settings), run_id)
        # What a user waited for, with the start of the process.
        report = replace(result.report, duration_s=time.monotonic() - started)
        projector = self._projection.projector(report.artifact, report.sha256)
        try:
            placed = _placed(ids[result.rows], "fitted", result.positions)
            left = np.setdiff1d(np.arange(len(ids)), result.rows)
            for start in range(0, len(left), BATCH_CONTENTS):
                pulse.beat(BATCH_TIMEOUT_S + pulse.STALLED_S)
                rows = left[start : start + BATCH_CONTENTS]
                placed += _placed(ids[rows], "present", projector.project(codes[rows], BATCH_TIMEOUT_S))
            self._store.activate_run(run_id, report, placed, time.time())
        except CbirError:
            projector.close()
            # Nobody will ever ask for this artifact.
            remove_artifacts(self._models_dir, keep=self._artifacts_in_use())
            raise
        run = self._store.active_run()
        assert run is not None
        self._searcher.replace_map(run_id, self._store.positions(run_id))
        self._projection.adopt(run, projector)
        remove_artifacts(self._models_dir, keep={report.artifact})
        logger.info(
            "fit done run=%d n_neighbors=%d n_components=%d trustworthiness=%.4f neighbor_recall=%.4f took_s=%.1f",
            run_id,
            report.n_neighbors,
            report.n_components,
            report.trustworthiness,
            report.neighbor_recall,
            report.duration_s,
        )

    def _artifacts_in_use(self) -> set[str]:
        active = self._store.active_run()
        return set() if active is None or active.artifact is None else {active.artifact}

    def _followed(self, fit: Fit, run_id: int) -> FitResult:
        assert self.state is not None
        started = alive = self.state.started
        cpu_s = 0.0
        while not self._stopping.is_set():
            pulse.beat()
            news = fit.poll(POLL_S)
            if isinstance(news, FitResult):
                return news
            if isinstance(news, FitProgress):
                self.state = RefitState(run_id, news.stage, news.fraction, news.message, started)
            if fit.cpu_s > cpu_s:
                alive, cpu_s = time.monotonic(), fit.cpu_s
            elif time.monotonic() - alive > HUNG_S:
                fit.cancel()
                raise ModelError(f"the fit did nothing for {HUNG_S:g} s and was ended")
        fit.cancel()
        raise ModelError("the daemon stopped during the fit")

    def _codes(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        ids: list[int] = []
        parts = [np.empty((0, matching.CODE_SIZE), dtype=np.float32)]
        for piece_ids, vectors in self._pieces():
            pulse.beat()
            ids += piece_ids
            parts.append(matching.codes(as_vectors(vectors)))
        return np.array(ids, dtype=np.int64), np.concatenate(parts)

    def _pieces(self) -> Iterator[tuple[list[int], list[bytes]]]:
        for rows in self._store.all_vectors():
            yield [content_id for content_id, _ in rows], [vector for _, vector in rows]


def _placed(ids: NDArray[np.int64], origin: str, positions: NDArray[np.float32]) -> list[Placed]:
    rows = positions.astype("<f4")
    return [Placed(content_id, origin, row.tobytes()) for content_id, row in zip(ids.tolist(), rows, strict=True)]
