"""Methods about the map: `model_show`, `model_fit`, `model_history`, `model_cancel`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from cbir_daemon.errors import ModelError, NotFoundError, UnavailableError
from cbir_daemon.protocol.messages import Json, Request, when
from cbir_daemon.serving.handlers.overview import fit_news, why_no_model
from cbir_daemon.serving.handlers.rooms import Reply, Rooms, paged
from cbir_daemon.store import ModelRun

FIT_NEWS_S = 0.5


def model_show(rooms: Rooms, request: Request) -> Reply:
    """Return hyper-parameters and scores of the map in use."""
    run = rooms.store.runs.active()
    if run is None:
        raise NotFoundError("there is no model", hint=why_no_model(rooms, rooms.store.positions.coverage().contents))
    coverage = rooms.store.positions.coverage()
    return Reply({**_run_to_json(run), "projected_images": coverage.present + coverage.added})


def model_history(rooms: Rooms, request: Request) -> Iterator[Reply]:
    """Return every run, newest first."""
    return paged("runs", (_run_to_json(run) for run in rooms.store.runs.listed()))


def model_fit(rooms: Rooms, request: Request) -> Iterator[Reply]:
    """Tune and fit now; progress, then the run."""
    ticket = rooms.refit.request()
    while (run := rooms.refit.outcome(ticket, FIT_NEWS_S)) is None:
        if rooms.stopping.is_set():
            raise UnavailableError("the daemon is stopping")
        state = rooms.refit.state
        if state is not None:
            yield Reply({"progress": fit_news(state)}, more=True)
    if run.outcome == "cancelled":
        raise ModelError("the fit was cancelled", hint="the map before is still in use; `cbir model fit` fits again")
    if run.outcome == "failed":
        raise ModelError(f"the fit failed: {run.message}", hint="the map before is still in use")
    yield Reply({"run": _run_to_json(run)})


def model_cancel(rooms: Rooms, request: Request) -> Reply:
    """End the running fit."""
    return Reply({"cancelled": rooms.refit.cancel()})


def _run_to_json(run: ModelRun) -> Json:
    return {
        "id": run.id,
        "reason": run.reason,
        "kind": run.kind,
        "numbers": dict(run.numbers),
        "outcome": run.outcome,
        "message": run.message,
        "started_at": when(run.started_at),
        "fitted_at": when(run.finished_at),
        "n_neighbors": run.n_neighbors,
        "n_components": run.n_components,
        "trustworthiness": run.trustworthiness,
        "neighbor_recall": run.neighbor_recall,
        "fitted_images": run.fitted_images,
        "present_images": run.present_images,
        "seed": run.seed,
        "duration_s": run.duration_s,
        "peak_mib": run.peak_mib,
        "curve": [asdict(candidate) for candidate in run.curve],
    }
