"""Methods that say what is there: `hello`, `status`, `errors`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import cast

from cbir_daemon import __version__
from cbir_daemon.map.maps import MediumMap
from cbir_daemon.map.refit import RefitState
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.messages import VERSION, Request, path_to_json, when
from cbir_daemon.records import IMAGE, REASONS, FitOutcome
from cbir_daemon.serving.handlers.problems import problems
from cbir_daemon.serving.handlers.rooms import Reply, Rooms, paged
from cbir_daemon.serving.handlers.sites import shared_to_json
from cbir_daemon.store import SCHEMA_VERSION, Coverage, ModelRun
from cbir_daemon.wording.counting import clause

CAPABILITIES = ("settle", "streams", "bytes", "sheet")
MIB = 1024 * 1024
STARTED_AT = time.time()
"""Seconds since the epoch at which this process imported its handlers: within its first second."""


def hello(rooms: Rooms, methods: Iterable[str]) -> Reply[answers.Hello]:
    """Return versions, methods, capabilities.

    Parameters
    ----------
    rooms : Rooms
    methods : iterable of str
        Names of the methods that the daemon answers.
    """
    return Reply(
        {
            "version": __version__,
            "protocol": VERSION,
            "schema": SCHEMA_VERSION,
            "methods": sorted(methods),
            "capabilities": list(CAPABILITIES),
            "max_file_bytes": rooms.config.decode.max_file_bytes,
            "pid": os.getpid(),
        }
    )


def status(rooms: Rooms, request: Request) -> Reply[answers.Status]:
    """Return albums, counts, what is pending, the model, and how far it is from its next fit.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        Has no parameters.
    """
    # Before the problems: an album that is well again has none left.
    albums = albums_to_json(rooms)
    counts, maps = rooms.store.files.counts(), {each.medium: _map(rooms, each) for each in rooms.maps}
    return Reply(
        {
            "version": __version__,
            "clock": rooms.store.clock,
            "state": _state(rooms),
            "started_at": when(STARTED_AT),
            "problems": [{"what": problem.what, "do": problem.do} for problem in problems(rooms)],
            "albums": albums,
            "images": counts.images,
            "errors": counts.errors,
            "contents": counts.contents,
            "media": [
                {"medium": medium, "contents": rooms.store.contents.counts().get(medium, 0), **map_}
                for medium, map_ in maps.items()
            ],
            "pending": rooms.ingest.pending,
            "decoded": rooms.pool.decoded,
            "decode_peak_mib": round(rooms.pool.peak_memory_bytes() / MIB, 1),
            "missing_extras": list(rooms.pool.readers.missing_extras()),
            "progress": _progress(rooms),
            "duplicates_pending": counts.unmatched + counts.alerts_due + counts.parts_due,
            "looks_pending": rooms.describer.pending,
            "features_pending": rooms.features.pending,
            "meaning_pending": rooms.meanings.pending,
            "model": maps[IMAGE]["model"],
            "model_reason": maps[IMAGE]["model_reason"],
            "model_worker_running": rooms.maps.worker_running,
            "search_processes": rooms.processes.running,
            "searches_waiting": rooms.processes.waiting,
            "shared": shared_to_json(rooms),
            "refit": maps[IMAGE]["refit"],
        }
    )


def _map(rooms: Rooms, each: MediumMap) -> answers.MediumMap:
    """Return the map of a medium in short, or why there is none, and how far it is from its next fit."""
    run, coverage = rooms.store.runs.active(each.medium), rooms.store.positions.coverage(each.medium)
    return {
        "model": None if run is None else _model(run, coverage),
        "model_reason": "" if run is not None else why_no_model(rooms, each),
        "refit": _refit(each, None if run is None else coverage.changed_fraction),
    }


def _model(run: ModelRun, coverage: Coverage) -> answers.ModelInUse:
    described = {
        "kind": run.kind,
        "n_neighbors": run.n_neighbors,
        "n_components": run.n_components,
        "trustworthiness": run.trustworthiness,
        "fitted_images": run.fitted_images,
        "projected_images": coverage.present + coverage.added,
        "fitted_at": when(run.finished_at),
    }
    # A map comes into use with all its scores: none of them is null then.
    return cast(answers.ModelInUse, described)


def _refit(each: MediumMap, changed_fraction: float | None) -> answers.Refit:
    state, decision = each.refit.state, each.refit.decision()
    return {
        "running": state is not None,
        "reason": decision.reason,
        "waits_for": decision.waits_for,
        "changed_fraction": None if changed_fraction is None else round(changed_fraction, 4),
        "threshold": each.refit.settings.refit_changed_fraction,
        "far_fraction": decision.numbers.get("far_fraction"),
        "kept": decision.numbers.get("kept"),
        "kept_at_fit": decision.numbers.get("kept_at_fit"),
        "progress": None if state is None else {**fit_news(state), "elapsed_s": round(state.elapsed_s, 1)},
    }


def fit_news(state: RefitState) -> answers.FitProgress:
    """Return how far a running fit is."""
    return {"stage": state.stage, "fraction": round(state.fraction, 3), "message": state.message}


def albums_to_json(rooms: Rooms) -> list[answers.Album]:
    """Return every album with its state and counts, and how it is watched."""
    counts = rooms.store.files.counts_by_album()
    listed: list[answers.Album] = []
    for album in rooms.store.albums.listed():
        images, errors = counts.get(album.id, (0, 0))
        watching = rooms.albums.report(album)
        listed.append(
            {
                "path": path_to_json(album.path),
                "state": album.state,
                "images": images,
                "errors": errors,
                "file_system": watching.file_system,
                "unwatched_folders": watching.unwatched_folders,
                "out_of_reach": watching.out_of_reach,
                "events_lost": watching.overflows,
                "watch_restarts": watching.restarts,
            }
        )
    return listed


def _state(rooms: Rooms) -> str:
    if not rooms.ingest.started:
        return "starting"
    return "indexing" if rooms.ingest.pending else "ready"


def _progress(rooms: Rooms) -> answers.Progress | None:
    if not rooms.ingest.pending:
        return None
    progress = rooms.ingest.progress
    remaining_s = progress.remaining_s
    return {
        "found": progress.found,
        "done": progress.done,
        "errors": progress.errors,
        "rate": round(progress.rate, 1),
        "remaining_s": None if remaining_s is None else round(remaining_s, 1),
    }


def why_no_model(rooms: Rooms, each: MediumMap) -> str:
    """Return, as a sentence, why no map is in use.

    Parameters
    ----------
    rooms : Rooms
    each : MediumMap
    """
    contents, least = rooms.store.positions.coverage(each.medium).contents, each.refit.settings.min_images
    if contents < least:
        few = f"{clause(contents, 'content', 'is', 'are')} too few for a map"
        return f"{few} (model.min_images is {least}); vectors answer without it"
    if each.refit.state is not None:
        return "the first map is being fitted; vectors answer until it is there"
    failed = next(
        (
            run
            for run in rooms.store.runs.listed(each.medium)
            if run.outcome in (FitOutcome.FAILED, FitOutcome.SET_ASIDE)
        ),
        None,
    )
    return failed.message if failed is not None else "no map was fitted yet; vectors answer without it"


def errors(rooms: Rooms, request: Request) -> Iterator[Reply[answers.Errors]]:
    """Return the files that could not be read, and why, in order of path and in pages.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        Has no parameters.
    """
    rows: Iterator[answers.Unreadable] = (
        {"path": path_to_json(path), "code": code, "message": message, "drawable": REASONS[code].is_drawable}
        for path, code, message in rooms.store.files.errors()
    )
    return paged(rows, lambda page: {"errors": page})
