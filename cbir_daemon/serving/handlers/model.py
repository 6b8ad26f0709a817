"""Methods about the map: `model_show`, `model_fit`, `model_history`, `model_cancel`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from cbir_daemon.errors import ModelError, NotFoundError, UnavailableError
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.messages import Params, Request, when
from cbir_daemon.records import FitOutcome, Trial
from cbir_daemon.serving.handlers.overview import fit_news, why_no_model
from cbir_daemon.serving.handlers.rooms import Reply, Rooms, asked_map, paged
from cbir_daemon.store import ModelRun

FIT_NEWS_S = 0.5


def model_show(rooms: Rooms, request: Request) -> Reply[answers.ModelShown]:
    """Return hyper-parameters and scores of the map in use.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `medium` (text, "image"): whose map.

    Raises
    ------
    NotFoundError
        When no map is in use; the hint says why.
    """
    asked = asked_map(rooms, Params(request.params))
    run = rooms.store.runs.active(asked.medium)
    if run is None:
        raise NotFoundError("there is no map", hint=why_no_model(rooms, asked))
    coverage = rooms.store.positions.coverage(asked.medium)
    described = {**_run_to_json(run), "projected_images": coverage.present + coverage.added}
    # A map comes into use with all its scores: none of them is null then.
    return Reply(cast(answers.ModelShown, described))


def model_history(rooms: Rooms, request: Request) -> Iterator[Reply[answers.ModelHistory]]:
    """Return every run, newest first, in pages.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `medium` (text, "image"): whose fits.
    """
    asked = asked_map(rooms, Params(request.params))
    return paged(map(_run_to_json, rooms.store.runs.listed(asked.medium)), lambda page: {"runs": page})


def model_fit(rooms: Rooms, request: Request) -> Iterator[Reply[answers.ModelFit]]:
    """Tune and fit now: yield progress every `FIT_NEWS_S` seconds, then the run.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `medium` (text, "image"): whose map.

    Raises
    ------
    BadRequestError
        When there are fewer contents than `model.min_images`.
    ModelError
        When the fit failed or was cancelled; the earlier map stays in use.
    UnavailableError
        When the daemon stops during the fit.

    Notes
    -----
    A fit that is running already, of any medium, goes on; another one follows it, and that one answers.
    """
    refit = asked_map(rooms, Params(request.params)).refit
    ticket = refit.request()
    while (run := refit.outcome(ticket, FIT_NEWS_S)) is None:
        if rooms.stopping.is_set():
            raise UnavailableError("the daemon is stopping")
        state = refit.state
        if state is not None:
            yield Reply({"progress": fit_news(state)}, more=True)
    if run.outcome == FitOutcome.CANCELLED:
        raise ModelError("the fit was cancelled", hint="the earlier map is still in use; `cbir model fit` fits again")
    if run.outcome == FitOutcome.FAILED:
        raise ModelError(f"the fit failed: {run.message}", hint="the earlier map is still in use")
    yield Reply({"run": _run_to_json(run)})


def model_cancel(rooms: Rooms, request: Request) -> Reply[answers.ModelCancelled]:
    """End the running fit, and say whether there was one.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `medium` (text, "image"): whose fit.
    """
    return Reply({"cancelled": asked_map(rooms, Params(request.params)).refit.cancel()})


def _run_to_json(run: ModelRun) -> answers.ModelRun:
    return {
        "id": run.id,
        "reason": run.reason,
        "kind": run.kind,
        # The fields are chosen where a fit is decided upon; the index keeps them as they are.
        "numbers": cast(answers.FitNumbers, dict(run.numbers)),
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
        "curve": [_trial_to_json(trial) for trial in run.curve],
    }


def _trial_to_json(trial: Trial) -> answers.Trial:
    return {
        "n_neighbors": trial.n_neighbors,
        "n_components": trial.n_components,
        "trustworthiness": trial.trustworthiness,
        "neighbor_recall": trial.neighbor_recall,
    }
