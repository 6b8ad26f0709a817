"""How a map that is old is replaced.

In: the decision that one is due.  Out: a new active run with all its positions, or a refused one.  Never here: when a
fit is due (`refit_policy`), how a map is fitted (`fit_child`), which of two is better (`acceptance`).

One thread runs the fits of all media (`maps`).  Queries are answered from the old map until the new one, its artifact
complete on disk, is written together with every position in one commit (invariant I2) and swapped into the searcher.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.config import Config, ModelConfig
from cbir_daemon.errors import BadRequestError, CbirError, ChildError, ModelError, StorageError, TimedOutError
from cbir_daemon.map import (
    Fit,
    FitProgress,
    FitResult,
    FitSettings,
    FitWarning,
    Placement,
    Previous,
    Projector,
    acceptance,
    refit_policy,
    remove_artifacts,
)
from cbir_daemon.map.codes import codes_of
from cbir_daemon.map.mapped_codes import MappedCodes
from cbir_daemon.map.points import to_points
from cbir_daemon.map.projection import BATCH_CONTENTS, BATCH_TIMEOUT_S, Projection, as_placed
from cbir_daemon.map.refit_policy import Features, FitDecision
from cbir_daemon.medium import MapSpace, space_for
from cbir_daemon.records import IMAGE, DescriptorKind, FitKind, FitOutcome, FitReport, Origin
from cbir_daemon.search.part_searcher import PartSearcher
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.store import Baseline, Drift, FitBegun, ModelRun, Placed, Store
from cbir_daemon.system import heartbeat
from cbir_daemon.wording.counting import clause, counted

logger = logging.getLogger(__name__)

POLL_S = 0.2
"""How often a running fit is asked for news and whether it is to stop."""

CODED_AT_ONCE = 1_000
"""Vectors of which codes are made at once: 4 MB."""

HUNG_S = 600.0
"""A fit that has used no processor time for so long hangs.  A stage may be silent for as long as it likes."""

NEAR_SHARE = 0.95
"""Of the images fitted, so many count as near to the others."""

CANCELLED = "a user cancelled it"


@dataclass(frozen=True, slots=True)
class RefitState:
    """The stage of a running fit; `fraction` in [0, 1]."""

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
        The rooms it moves a map between; searcher and projection are of `medium`.
    models_dir : Path
        Folder of the artifacts.
    settings : ModelConfig
    quiet : callable
        Whether nothing is being indexed: a fit waits for the end of a large copy.
    undescribed : callable, optional
        Takes a kind of descriptors, returns how many contents wait for theirs.
    spaces : mapping of str to MapSpace, optional
        By what contents may be near each other; those of the medium by default.
    medium : str
        Of the contents that are fitted.
    start_fit : callable, optional
        Begins a fit; takes what `Fit.start` takes.
    batch_contents : int
        Contents projected at once before a map is taken into use.
    hung_s : float
        Seconds after which a fit that uses no processor time is ended.
    """

    def __init__(
        self,
        store: Store,
        searcher: Searcher | PartSearcher,
        projection: Projection,
        models_dir: Path,
        settings: ModelConfig,
        quiet: Callable[[], bool],
        undescribed: Callable[[DescriptorKind], int] = lambda _: 0,
        *,
        spaces: Mapping[str, MapSpace] | None = None,
        medium: str = IMAGE,
        start_fit: Callable[..., Fit] = Fit.start,
        batch_contents: int = BATCH_CONTENTS,
        hung_s: float = HUNG_S,
    ) -> None:
        self._store = store
        self._searcher = searcher
        self._projection = projection
        self._models_dir = models_dir
        self._quiet = quiet
        self._undescribed_contents = undescribed
        self._spaces = searcher.medium.spaces if spaces is None else spaces
        self.medium = medium
        self._start_fit = start_fit
        self._batch_contents = batch_contents
        self._hung_s = hung_s
        self.settings = settings
        self._said = ("", "")
        self._stopping = threading.Event()
        self._cancelled = threading.Event()
        self._changed = threading.Condition()
        self._asked_for = 0
        self._ended = 0
        self._ended_run: int | None = None
        self.state: RefitState | None = None

    def configure(self, config: Config) -> None:
        """Take the settings that may change while it runs: the next fit has them."""
        self.settings = config.model

    # -- asked from other threads ------------------------------------------------------------------------------------

    def decision(self) -> FitDecision:
        """Return whether a fit is due now, its reason, and what it waits for."""
        runs = self._store.runs.listed(self.medium)
        active = next((run for run in runs if run.outcome == FitOutcome.ACTIVE), None)
        drift = Drift() if active is None else self._store.positions.drift(active.id)
        features = Features(self._space().version, self._undescribed())
        return refit_policy.decide(
            self._store.positions.coverage(self.medium),
            drift,
            runs,
            self.settings,
            features,
            datetime.now().astimezone(),
        )

    def _undescribed(self) -> int:
        """Return how many contents the space of the settings waits for."""
        kind = self._space().descriptor
        return 0 if kind is None else self._undescribed_contents(kind)

    @property
    def idle(self) -> bool:
        """Whether no fit runs, is asked for or is due."""
        return self.state is None and self._asked_for <= self._ended and not self.decision().due

    def request(self) -> int:
        """Ask for a fit now, and return a ticket for `outcome`.

        Raises
        ------
        BadRequestError
            When the collection is too small for a map.
        """
        contents = self._store.positions.coverage(self.medium).contents
        if contents < self.settings.min_images:
            raise BadRequestError(
                f"{clause(contents, 'content', 'is', 'are')} too few for a map",
                hint=f"a map needs {self.settings.min_images} (model.min_images); queries work without one",
            )
        with self._changed:
            self._asked_for = self._ended + 1 if self.state is None else self._ended + 2
            ticket = self._asked_for
        self._store.wake()
        return ticket

    def outcome(self, ticket: int, timeout_s: float) -> ModelRun | None:
        """Return the run that answered a ticket, or None when it has not ended in time.

        Parameters
        ----------
        ticket : int
            From `request`.
        timeout_s : float
            How long to wait; a daemon that stops ends the wait.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended >= ticket or self._stopping.is_set(), timeout_s)
            run_id = self._ended_run if self._ended >= ticket else None
        return next((run for run in self._store.runs.listed(self.medium) if run.id == run_id), None)

    def cancel(self) -> bool:
        """Ask the running fit to end, and return whether there was one; the next waits for more changes."""
        with self._changed:
            if self.state is None:
                return False
            self._cancelled.set()
        return True

    def stop(self) -> None:
        """Ask the thread to end; a running fit is cancelled."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    # -- the thread --------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Fit when that is due or asked for; False when it is not, or the daemon stops.

        Raises
        ------
        StorageError
            When the index cannot be read or written; call it again later.
        """
        if self._stopping.is_set():
            return False
        decision = self._next()
        if decision.due:
            self.replace_map(decision)
        return decision.due

    def _next(self) -> FitDecision:
        decision = self.decision()
        if self._asked_for > self._ended:
            return replace(decision, reason="asked for", waits_for="", kind=FitKind.TUNED)
        if decision.reason and not self._quiet():
            decision = replace(decision, waits_for="the end of indexing")
        if (decision.reason, decision.waits_for) != self._said:
            self._said = (decision.reason, decision.waits_for)
            if decision.waits_for:
                waits_for, numbers = decision.waits_for, _logged(decision.numbers)
                logger.info(
                    "fit wanted medium=%s reason=%s waits_for=%s %s", self.medium, decision.reason, waits_for, numbers
                )
        return decision

    def replace_map(self, decision: FitDecision) -> None:
        """Fit now, as was decided, and take the new map into use unless it is worse; how it ended is in the run.

        Raises
        ------
        StorageError
            When the index cannot be read, or the end of the run cannot be written.
        """
        space = self._space()
        present = self._store.contents.counts().get(self.medium, 0)
        begun = FitBegun(decision.reason, space.version, present, decision.kind, decision.numbers, self.medium)
        run_id = self._store.runs.start(begun, time.time())
        self.state = RefitState(run_id, "graph", 0.0, "loading umap", time.monotonic())
        numbers = _logged(decision.numbers)
        logger.info(
            "fit starts run=%d medium=%s kind=%s reason=%s %s",
            run_id,
            self.medium,
            decision.kind,
            decision.reason,
            numbers,
        )
        try:
            self._fit(run_id, decision.kind, space)
        except (ModelError, ChildError, TimedOutError, StorageError) as error:
            outcome = FitOutcome.CANCELLED if self._stopping.is_set() or self._cancelled.is_set() else FitOutcome.FAILED
            if self._cancelled.is_set():
                self._store.runs.add_numbers(run_id, {refit_policy.BY_USER: 1})
            logger.warning("fit %s run=%d error=%s", outcome, run_id, error)
            self._store.runs.end(run_id, outcome, str(error), time.time())
        finally:
            with self._changed:
                self._ended += 1
                self._ended_run = run_id
                self.state = None
                self._cancelled.clear()
                self._changed.notify_all()

    def _fit(self, run_id: int, kind: str, space: MapSpace) -> None:
        started = time.monotonic()
        ids, mapped = self._codes(space)
        codes = mapped.rows
        offered = np.flatnonzero(~acceptance.held_out(ids))
        previous = self._previous() if kind == FitKind.WARM else None
        asked = MappedCodes(
            self._models_dir,
            space.size,
            (codes[offered[start : start + CODED_AT_ONCE]] for start in range(0, len(offered), CODED_AT_ONCE)),
        )
        fit = self._start_fit(
            asked.rows, self._models_dir, self._fit_settings(space, kind), ids=ids[offered], previous=previous
        )
        # For the minutes that it takes.
        asked.release()
        mapped.release()
        result = self._followed(fit, run_id)
        # What a user waited for, with the start of the process.
        report = replace(result.report, duration_s=time.monotonic() - started)
        projector = self._projection.projector(report.artifact, report.sha256, space.version)
        try:
            new = self._whole_map(ids, codes, offered[result.rows], result, projector)
            self._take_into_use(run_id, report, projector, new, self._compared(space, new, codes))
        except CbirError:
            projector.close()
            # Nobody will ever ask for this artifact.
            remove_artifacts(self._models_dir, keep=self._artifacts_in_use())
            raise

    def _space(self) -> MapSpace:
        """Return the space that the settings ask for."""
        return space_for(self._spaces, self.settings.features)

    def _fit_settings(self, space: MapSpace, kind: str) -> FitSettings:
        return FitSettings(
            n_components=self.settings.n_components,
            seed=self.settings.seed,
            threads=self.settings.threads,
            code_version=space.version,
            max_fit_images=self.settings.max_fit_images,
            min_dist=self.settings.min_dist,
            metric=space.metric,
            scheduler=self.settings.scheduler,
            is_rough=kind == FitKind.ROUGH,
        )

    def _previous(self) -> Previous | None:
        """Return the map in use, for a warm fit; None when it has gone meanwhile."""
        run = self._store.runs.active(self.medium)
        if run is None or run.n_neighbors is None or run.n_components is None:
            return None
        rows, flat = self._store.positions.listed(run.id), dict(self._store.positions.flat(run.id))
        ids = np.array([content_id for content_id, _ in rows if content_id in flat], dtype=np.int64)
        if len(ids) == 0:
            return None
        positions = np.frombuffer(b"".join(row for content_id, row in rows if content_id in flat), "<f4")
        picture = np.frombuffer(b"".join(flat[content_id] for content_id in ids.tolist()), "<f4")
        return Previous(
            ids, positions.reshape(len(ids), -1), picture.reshape(len(ids), 2), run.n_neighbors, run.n_components
        )

    def _whole_map(
        self,
        ids: NDArray[np.int64],
        codes: NDArray[np.float32],
        fitted: NDArray[np.intp],
        result: FitResult,
        projector: Projector,
    ) -> NewMap:
        """Return the places of everything: as fitted, or projected when it was held out or not in the sample."""
        new = NewMap(ids, np.empty((len(ids), result.positions.shape[1]), np.float32))
        new.put_fitted(fitted, result)
        unfitted = np.setdiff1d(np.arange(len(ids)), fitted)
        for start in range(0, len(unfitted), self._batch_contents):
            heartbeat.beat(BATCH_TIMEOUT_S + heartbeat.STALLED_S)
            rows = unfitted[start : start + self._batch_contents]
            new.put_projected(rows, projector.place(codes[rows], BATCH_TIMEOUT_S, measured=True))
        return new

    def _take_into_use(
        self, run_id: int, report: FitReport, projector: Projector, new: NewMap, comparison: acceptance.Comparison
    ) -> None:
        """Swap the new map in, or refuse it."""
        if comparison.compared:
            numbers = {"kept_before": round(comparison.recall_before, 4), "kept_after": round(comparison.recall, 4)}
            self._store.runs.add_numbers(run_id, numbers | {"compared": comparison.compared})
        if self._cancelled.is_set():
            raise ModelError(CANCELLED)
        if comparison.accepted:
            self._activate(run_id, self._with_curve(report), projector, new)
        else:
            self._refuse(run_id, projector, comparison)

    def _refuse(self, run_id: int, projector: Projector, comparison: acceptance.Comparison) -> None:
        projector.close()
        why = (
            f"neighbour recall of {counted(comparison.compared, 'image')}: {comparison.recall:.3f} on the new map,"
            f" {comparison.recall_before:.3f} on the one in use"
        )
        logger.info("fit refused run=%d reason=%s", run_id, why)
        self._store.runs.end(run_id, FitOutcome.REFUSED, why, time.time())
        remove_artifacts(self._models_dir, keep=self._artifacts_in_use())

    def _activate(self, run_id: int, report: FitReport, projector: Projector, new: NewMap) -> None:
        self._store.runs.activate(run_id, report, new.placed, time.time(), new.baseline())
        run = self._store.runs.active(self.medium)
        assert run is not None
        self._searcher.replace_map(run_id, self._store.positions.listed(run_id))
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

    def _with_curve(self, report: FitReport) -> FitReport:
        """Return the report of a warm fit with the curve its hyper-parameters were chosen by."""
        active = self._store.runs.active(self.medium)
        return report if report.curve or active is None else replace(report, curve=active.curve)

    def _compared(self, space: MapSpace, new: NewMap, codes: NDArray[np.float32]) -> acceptance.Comparison:
        """Compare a new map with the one in use on all contents; accepted when there is nothing to keep."""
        active, coverage = self._store.runs.active(self.medium), self._store.positions.coverage(self.medium)
        if active is None or active.numbers.get("min_dist", 0.0) != self.settings.min_dist:
            return acceptance.Comparison()
        if active.code_version != space.version:
            # Each is the best in its own space.
            return acceptance.Comparison()
        if active.kind == FitKind.ROUGH:
            # It was never to stay.
            return acceptance.Comparison()
        if coverage.fitted < acceptance.FEWEST_COVERED_FRACTION * len(new.ids):
            return acceptance.Comparison()
        before = self._places_on(active.id, new.ids, codes)
        if before is None:
            return acceptance.Comparison()
        rows = np.flatnonzero(acceptance.held_out(new.ids))
        if len(rows) < acceptance.FEWEST_HELD_OUT:
            rows = np.random.default_rng(self.settings.seed).permutation(len(new.ids))[: acceptance.MOST_HELD_OUT]
        return acceptance.compare(to_points(codes, space.metric), before, new.positions, rows)

    def _places_on(self, run_id: int, ids: NDArray[np.int64], codes: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return the (n, d) positions of contents on the map in use; None when any of them cannot be placed."""
        known = self._store.positions.listed(run_id)
        known_ids = np.array([content_id for content_id, _ in known], dtype=np.int64)
        known_places = np.frombuffer(b"".join(row for _, row in known), "<f4").reshape(len(known), -1)
        _, rows, known_rows = np.intersect1d(ids, known_ids, return_indices=True)
        places = np.zeros((len(ids), known_places.shape[1]), np.float32)
        places[rows] = known_places[known_rows]
        # On the contents that the map was fitted on alone, it would be compared where it is best.
        missing = np.setdiff1d(np.arange(len(ids)), rows)
        for start in range(0, len(missing), self._batch_contents):
            batch = missing[start : start + self._batch_contents]
            placed = self._projection.places(codes[batch], run_id)
            if placed is None:
                return None
            places[batch] = placed
        return places

    def _artifacts_in_use(self) -> set[str]:
        active = self._store.runs.active(self.medium)
        return set() if active is None or active.artifact is None else {active.artifact}

    def _followed(self, fit: Fit, run_id: int) -> FitResult:
        assert self.state is not None
        started = alive = self.state.started
        cpu_s, fraction = 0.0, 0.0
        while not self._stopping.is_set() and not self._cancelled.is_set():
            heartbeat.beat()
            news = fit.poll(POLL_S)
            if isinstance(news, FitResult):
                return news
            if isinstance(news, FitProgress):
                self.state = RefitState(run_id, news.stage, news.fraction, news.message, started)
            if isinstance(news, FitWarning):
                logger.warning("%s", news.message)
            # A fit whose work is done elsewhere uses no processor time here, but gets on.
            if fit.cpu_s > cpu_s or self.state.fraction > fraction:
                alive, cpu_s, fraction = time.monotonic(), fit.cpu_s, self.state.fraction
            elif time.monotonic() - alive > self._hung_s:
                fit.cancel()
                raise ModelError(f"the fit did nothing for {self._hung_s:g} s and was ended")
        fit.cancel()
        raise ModelError("the daemon stopped during the fit" if self._stopping.is_set() else CANCELLED)

    def _codes(self, space: MapSpace) -> tuple[NDArray[np.int64], MappedCodes]:
        ids: list[int] = []

        def parts() -> Iterator[NDArray[np.float32]]:
            for contents in self._store.contents.all_vectors(CODED_AT_ONCE, medium=self.medium):
                heartbeat.beat()
                ids.extend(content_id for content_id, _ in contents)
                yield codes_of(self._store, space, contents)

        codes = MappedCodes(self._models_dir, space.size, parts())
        return np.array(ids, dtype=np.int64), codes


class NewMap:
    """The positions of all contents on a map that is not in use yet.

    Parameters
    ----------
    ids : (n,) ndarray of int64
    positions : (n, d) ndarray of float32
        Filled as contents are put.
    """

    def __init__(self, ids: NDArray[np.int64], positions: NDArray[np.float32]) -> None:
        self.ids = ids
        self.positions = positions
        self.placed: list[Placed] = []
        self._distances = np.empty(0, np.float32)
        self._recalls: list[float] = []

    def put_fitted(self, rows: NDArray[np.intp], result: FitResult) -> None:
        """Take the positions of the contents that were fitted.

        Parameters
        ----------
        rows : (m,) ndarray of intp
            Their rows in `ids`, in the order of `result.positions`.
        result : FitResult
        """
        self.positions[rows] = result.positions
        self._distances = result.distances
        for row, place, flat in zip(rows, result.positions.astype("<f4"), result.flat.astype("<f4"), strict=True):
            self.placed.append(Placed(int(self.ids[row]), Origin.FITTED, place.tobytes(), flat.tobytes()))

    def put_projected(self, rows: NDArray[np.intp], placement: Placement) -> None:
        """Take the positions of contents that were there at the fit and not fitted.

        Parameters
        ----------
        rows : (m,) ndarray of intp
            Their rows in `ids`, in the order of `placement.positions`.
        placement : Placement
            From `Projector.place`, measured.
        """
        self.positions[rows] = placement.positions
        self.placed += as_placed(self.ids[rows].tolist(), Origin.PRESENT, placement)
        self._recalls += placement.recalls.tolist()

    def baseline(self) -> Baseline:
        """Return the far distance of the fitted images and the recall of the held-out ones, if there are enough."""
        # Each image to the others is what a new image of the same kind is to all of them.
        far_distance = float(np.quantile(self._distances, NEAR_SHARE))
        return Baseline(
            far_distance, float(np.mean(self._recalls)) if len(self._recalls) >= acceptance.FEWEST_HELD_OUT else None
        )


def _logged(numbers: Mapping[str, float]) -> str:
    return " ".join(f"{name}={number:g}" for name, number in numbers.items())
