"""What each method of the socket means.

In: a request.  Out: one reply, or a stream of them.  Never here: sockets, framing, SQL, pixels.

A handler is a function of the `Rooms` and the request's parameters; `METHODS` is the list that `hello` gives.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbir_daemon import __version__, matching
from cbir_daemon.albums import Albums
from cbir_daemon.config import Config
from cbir_daemon.decode import DecodePool, SheetCell
from cbir_daemon.duplicates import Group, Pairing, copy_groups, exact_groups
from cbir_daemon.errors import (
    BadRequestError,
    ModelError,
    NotFoundError,
    TimedOutError,
    TooPlainError,
    UnavailableError,
    UnknownMethodError,
)
from cbir_daemon.ingest import Ingest
from cbir_daemon.projection import Projection
from cbir_daemon.protocol.messages import VERSION, Json, Params, Request, path_to_json
from cbir_daemon.records import Facts, Kind
from cbir_daemon.refit import Refit
from cbir_daemon.searching import Found, Searcher
from cbir_daemon.store import SCHEMA_VERSION, AlertRecord, Content, Image, ModelRun, Store

MAX_MATCHES = 1_000
DEFAULT_MATCHES = 10
MAX_SHEET_MATCHES = 60
SETTLE_POLL_S = 0.1
FOLLOW_POLL_S = 60.0
ALERTS_PAGE = 200
FIT_NEWS_S = 0.5
MAX_TIMEOUT_S = 7 * 86_400.0
CAPABILITIES = ("settle", "streams", "bytes", "sheet")


@dataclass(frozen=True, slots=True)
class Rooms:
    """Everything a handler may ask."""

    config: Config
    store: Store
    searcher: Searcher
    pool: DecodePool
    ingest: Ingest
    pairing: Pairing
    projection: Projection
    refit: Refit
    albums: Albums
    stopping: threading.Event


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; `blob` follows it as raw bytes, `more` says that another answer comes."""

    ok: Json
    blob: bytes = b""
    more: bool = False


Handler = Callable[[Rooms, Request], Reply | Iterator[Reply]]


def handle(rooms: Rooms, request: Request) -> Iterator[Reply]:
    """Yield the replies to a request.

    Raises
    ------
    CbirError
        When it cannot be answered.
    """
    handler = METHODS.get(request.method)
    if handler is None:
        raise UnknownMethodError(f"unknown method {request.method!r}", hint="`hello` lists the methods")
    reply = handler(rooms, request)
    if isinstance(reply, Reply):
        yield reply
    else:
        yield from reply


# -- what is there ---------------------------------------------------------------------------------------------


def hello(rooms: Rooms, request: Request) -> Reply:
    """Versions, methods, capabilities."""
    return Reply(
        {
            "version": __version__,
            "protocol": VERSION,
            "schema": SCHEMA_VERSION,
            "methods": sorted(METHODS),
            "capabilities": list(CAPABILITIES),
            "max_file_bytes": rooms.config.decode.max_file_bytes,
            "pid": os.getpid(),
        }
    )


def status(rooms: Rooms, request: Request) -> Reply:
    """Albums, counts, what is pending, the model, and how far it is from its next fit."""
    counts, coverage, run = rooms.store.counts(), rooms.store.coverage(), rooms.store.active_run()
    by_album = rooms.store.counts_by_album()
    albums = [
        {
            "path": path_to_json(album.path),
            "state": album.state,
            "images": by_album.get(album.id, (0, 0))[0],
            "errors": by_album.get(album.id, (0, 0))[1],
        }
        for album in rooms.store.albums()
    ]
    state = rooms.refit.state
    return Reply(
        {
            "version": __version__,
            "clock": rooms.store.clock,
            "state": _state(rooms),
            "albums": albums,
            "images": counts.images,
            "errors": counts.errors,
            "contents": counts.contents,
            "pending": rooms.ingest.pending,
            "progress": _progress(rooms),
            "duplicates_pending": counts.unmatched + counts.alerts_due,
            "model": None
            if run is None
            else {
                "n_neighbors": run.n_neighbors,
                "n_components": run.n_components,
                "trustworthiness": run.trustworthiness,
                "fitted_images": run.fitted_images,
                "projected_images": coverage.present + coverage.added,
                "fitted_at": _when(run.finished_at),
            },
            "model_reason": "" if run is not None else _why_no_model(rooms, coverage.contents),
            "refit": {
                "running": state is not None,
                "changed_fraction": round(coverage.changed_fraction, 4) if run is not None else None,
                "threshold": rooms.refit.settings.refit_changed_fraction,
                "progress": None
                if state is None
                else {
                    "stage": state.stage,
                    "fraction": round(state.fraction, 3),
                    "message": state.message,
                    "elapsed_s": round(time.monotonic() - state.started, 1),
                },
            },
            "model_worker_running": rooms.projection.worker_running,
        }
    )


def _state(rooms: Rooms) -> str:
    if not rooms.ingest.started:
        return "starting"
    return "indexing" if rooms.ingest.pending else "ready"


def _progress(rooms: Rooms) -> Json | None:
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


def _why_no_model(rooms: Rooms, contents: int) -> str:
    least = rooms.refit.settings.min_images
    if contents < least:
        return f"{contents} contents are too few for a map (model.min_images is {least}); vectors answer without it"
    if rooms.refit.state is not None:
        return "the first map is being fitted; vectors answer until it is there"
    failed = next((run for run in rooms.store.runs() if run.outcome in ("failed", "set-aside")), None)
    return failed.message if failed is not None else "no map was fitted yet; vectors answer without it"


def errors(rooms: Rooms, request: Request) -> Reply:
    """Files that could not be read, and why."""
    rows = [
        {"path": path_to_json(path), "code": code, "message": message} for path, code, message in rooms.store.errors()
    ]
    return Reply({"errors": rows})


# -- queries ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Match:
    """An image in an answer."""

    image: Image
    found: Found


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a query found."""

    facts: Facts
    matches: list[_Match] = field(default_factory=list)


def query(rooms: Rooms, request: Request) -> Reply:
    """Return what in the albums is, copies or resembles an image."""
    before = time.perf_counter()
    clock = rooms.store.clock
    answer = _find(rooms, request, MAX_MATCHES)
    return Reply(
        {
            "clock": clock,
            "took_ms": round((time.perf_counter() - before) * 1e3, 1),
            "query": {
                "digest": answer.facts.digest.hex(),
                "width": answer.facts.width_px,
                "height": answer.facts.height_px,
            },
            "matches": [_match_to_json(match) for match in answer.matches],
        }
    )


def sheet(rooms: Rooms, request: Request) -> Reply:
    """Draw the query and its matches, each with kind and score."""
    answer = _find(rooms, request, MAX_SHEET_MATCHES)
    cells = [SheetCell(match.image.path, _caption(match)) for match in answer.matches]
    facts = answer.facts
    caption = ("query", f"{facts.width_px} x {facts.height_px} {facts.format}")
    picture = rooms.pool.draw_sheet(_source(request), caption, cells)
    return Reply({"clock": rooms.store.clock, "matches": len(cells)}, picture)


def _find(rooms: Rooms, request: Request, most: int) -> _Answer:
    params = Params(request.params)
    limit = params.integer("limit", DEFAULT_MATCHES, least=1, most=most)
    kind = params.choice("kind", tuple(Kind))
    min_score = params.number("min_score", 0.0, least=0.0, most=1.0)
    facts = rooms.pool.read_image(_source(request))
    found = _search(rooms, facts, kind, limit)
    by_content: dict[int, list[Image]] = {}
    for image in rooms.store.images([one.content_id for one in found]):
        by_content.setdefault(image.content.id, []).append(image)
    matches = [
        _Match(image, one)
        for one in found
        if one.score >= min_score and kind in (None, one.kind)
        for image in by_content.get(one.content_id, ())
    ]
    return _Answer(facts, matches[:limit])


def _source(request: Request) -> Path | bytes:
    if request.blob:
        return request.blob
    if "path" not in request.params:
        raise BadRequestError("a query needs a 'path' or the bytes of an image", hint="the image sent may be empty")
    return Path(os.fsdecode(Params(request.params).path("path")))


def _search(rooms: Rooms, facts: Facts, kind: str | None, limit: int) -> list[Found]:
    """Return exact, then copies, then what resembles, each content once."""
    assert facts.vector is not None
    same = rooms.store.content_by_digest(facts.digest)
    exact = [] if same is None else [Found(same.id, Kind.EXACT, 1.0, 0.0)]
    if matching.is_plain(np.frombuffer(facts.vector, dtype=np.uint8)):
        if not exact:
            raise TooPlainError(
                "too plain to match: the image shows almost nothing but one tone",
                hint="only a file with the very same bytes would be found",
            )
        return exact
    if kind == Kind.EXACT:
        return exact
    position = None if kind == Kind.COPY else _position(rooms, facts, same)
    if position is None:
        exact = [Found(one.content_id, one.kind, one.score, None) for one in exact]
    others = rooms.searcher.search(facts.vector, position, 0 if kind == Kind.COPY else limit)
    return exact + [one for one in others if same is None or one.content_id != same.id]


def _position(rooms: Rooms, facts: Facts, same: Content | None) -> NDArray[np.float32] | None:
    current = rooms.searcher.view.map
    if current is None or facts.vector is None:
        return None
    stored = None if same is None else current.position_of(same.id)
    return stored if stored is not None else rooms.projection.position(facts.vector, current.run_id)


def _match_to_json(match: _Match) -> Json:
    image, found = match.image, match.found
    described = {
        "path": path_to_json(image.path),
        "kind": found.kind.value,
        "score": round(found.score, 4),
        "map_distance": None if found.map_distance is None else round(found.map_distance, 4),
        "transform": asdict(found.transform),
        "overlap": {"query": round(found.overlap.query, 3), "match": round(found.overlap.match, 3)},
        "width": image.content.width_px,
        "height": image.content.height_px,
        "size": image.content.size_bytes,
    }
    return {**described, "missing": True} if image.missing else described


def _caption(match: _Match) -> tuple[str, ...]:
    found = match.found
    return (f"{found.kind} {found.score:.3f}", os.fsdecode(match.image.path.rpartition(b"/")[2]))


# -- keeping up ------------------------------------------------------------------------------------------------


def settle(rooms: Rooms, request: Request) -> Reply:
    """Wait until all that was on disk when asked is indexed, alerts are written, and no fit is due or running."""
    timeout_s = Params(request.params).number("timeout_s", 600.0, least=0.0, most=MAX_TIMEOUT_S)
    deadline = time.monotonic() + timeout_s
    ticket = rooms.ingest.request_scan()
    while not _settled(rooms, ticket):
        if rooms.stopping.is_set():
            raise UnavailableError("the daemon is stopping")
        if time.monotonic() >= deadline:
            raise TimedOutError(f"not settled within {timeout_s:g} s", hint="`cbir status` shows what is pending")
        # Whoever sleeps until something changes looks again: time alone may have made a fit due.
        rooms.store.wake()
        rooms.stopping.wait(SETTLE_POLL_S)
    counts = rooms.store.counts()
    return Reply({"clock": rooms.store.clock, "images": counts.images, "errors": counts.errors})


def _settled(rooms: Rooms, ticket: int) -> bool:
    """Whether nothing is left to do; asked from the front of the line to its end, so that nothing slips behind."""
    return (
        rooms.ingest.scanned(ticket)
        and rooms.ingest.idle
        and rooms.pairing.idle
        and rooms.projection.idle
        and rooms.refit.idle
        and rooms.ingest.idle
    )


def scan(rooms: Rooms, request: Request) -> Reply:
    """Look again now."""
    params = Params(request.params)
    path = params.maybe_path("path")
    roots = [album.path for album in rooms.store.albums()]
    if path is not None:
        path = os.path.realpath(path)
        if not any(path == root or path.startswith(root + b"/") or root.startswith(path + b"/") for root in roots):
            raise NotFoundError(f"{os.fsdecode(path)}: lies in no album", hint="`cbir album list` shows them")
    rooms.ingest.request_scan(path, accept_losses=params.flag("accept_losses"))
    return Reply({"albums": len(roots)})


def album_add(rooms: Rooms, request: Request) -> Reply:
    """Watch a folder from now on."""
    path = Params(request.params).path("path")
    return Reply({"added": rooms.albums.add(path), "path": path_to_json(os.path.realpath(path))})


def album_remove(rooms: Rooms, request: Request) -> Reply:
    """Forget a folder."""
    path = Params(request.params).path("path")
    rooms.albums.remove(path)
    return Reply({"removed": True, "path": path_to_json(path)})


def album_list(rooms: Rooms, request: Request) -> Reply:
    """Return the watched folders."""
    return Reply({"albums": status(rooms, request).ok["albums"]})


# -- duplicates and alerts -------------------------------------------------------------------------------------


def duplicates(rooms: Rooms, request: Request) -> Reply:
    """Return groups of images that show the same, each with the one to keep."""
    params = Params(request.params)
    kind = params.choice("kind", (Kind.EXACT.value, Kind.COPY.value))
    below = params.maybe_path("album")
    clock = rooms.store.clock
    groups = _exact_groups(rooms) if kind != Kind.COPY else []
    groups += _copy_groups(rooms) if kind != Kind.EXACT else []
    if below is not None:
        groups = [group for group in groups if any(_lies_in(member.image, below) for member in group.members)]
    return Reply({"clock": clock, "groups": [_group_to_json(group) for group in groups]})


def _exact_groups(rooms: Rooms) -> list[Group]:
    return exact_groups(rooms.store.images(rooms.store.repeated_contents()))


def _copy_groups(rooms: Rooms) -> list[Group]:
    pairs = rooms.store.pairs()
    by_content: dict[int, list[Image]] = {}
    for image in rooms.store.images(sorted({one for pair in pairs for one in (pair.content_id, pair.other_id)})):
        by_content.setdefault(image.content.id, []).append(image)
    return copy_groups(pairs, by_content)


def _lies_in(image: Image, folder: bytes) -> bool:
    return image.path.startswith(folder.rstrip(b"/") + b"/")


def _group_to_json(group: Group) -> Json:
    return {
        "kind": group.kind.value,
        "images": [
            {
                "path": path_to_json(member.image.path),
                "width": member.image.content.width_px,
                "height": member.image.content.height_px,
                "size": member.image.content.size_bytes,
                "keep": member.keep,
                "why": member.why,
            }
            for member in group.members
        ],
    }


def dismiss(rooms: Rooms, request: Request) -> Reply:
    """Remember that two images are no duplicates."""
    first, other = _two_contents(rooms, request)
    return Reply({"changed": rooms.store.dismiss(first.digest, other.digest, time.time())})


def undismiss(rooms: Rooms, request: Request) -> Reply:
    """Forget that two images are no duplicates."""
    first, other = _two_contents(rooms, request)
    return Reply({"changed": rooms.store.undismiss(first.digest, other.digest)})


def _two_contents(rooms: Rooms, request: Request) -> tuple[Content, Content]:
    params = Params(request.params)
    first, other = (_content_at(rooms, params.path(name)) for name in ("first", "other"))
    if first.id == other.id:
        raise BadRequestError(
            "both files have the same bytes", hint="a decision is about two contents; these two are one"
        )
    return first, other


def _content_at(rooms: Rooms, path: bytes) -> Content:
    content = rooms.store.content_at(path) or rooms.store.content_at(os.path.realpath(path))
    if content is None:
        raise NotFoundError(f"{os.fsdecode(path)}: is not indexed", hint="name two images of your albums")
    return content


def alerts(rooms: Rooms, request: Request) -> Iterator[Reply]:
    """Past alerts, and with `follow` the coming ones as they are written."""
    params = Params(request.params)
    last, follow = params.integer("since", 0), params.flag("follow")
    while not rooms.stopping.is_set():
        moment = rooms.store.moment
        page = rooms.store.alerts(last, ALERTS_PAGE)
        last = page[-1].id if page else last
        more = follow or len(page) == ALERTS_PAGE
        if page or not follow:
            yield Reply({"alerts": [_alert_to_json(alert) for alert in page]}, more=more)
        if not more:
            return
        if not page:
            # An empty answer now and then tells a follower who is gone from one who merely waits.
            rooms.store.wait_for_change(moment, FOLLOW_POLL_S)
            yield Reply({"alerts": []}, more=True)
    raise UnavailableError("the daemon is stopping")


def _alert_to_json(alert: AlertRecord) -> Json:
    return {
        "id": alert.id,
        "time": _when(alert.time),
        "path": path_to_json(alert.path),
        "kind": alert.kind,
        "matches": [
            {"path": path_to_json(match.path), "kind": match.kind, "score": round(match.score, 4)}
            for match in alert.matches
        ],
    }


# -- the model -------------------------------------------------------------------------------------------------


def model_show(rooms: Rooms, request: Request) -> Reply:
    """Return hyper-parameters and scores of the map in use."""
    run = rooms.store.active_run()
    if run is None:
        raise NotFoundError("there is no model", hint=_why_no_model(rooms, rooms.store.coverage().contents))
    coverage = rooms.store.coverage()
    return Reply({**_run_to_json(run), "projected_images": coverage.present + coverage.added})


def model_history(rooms: Rooms, request: Request) -> Reply:
    """Return every run, newest first."""
    return Reply({"runs": [_run_to_json(run) for run in rooms.store.runs()]})


def model_fit(rooms: Rooms, request: Request) -> Iterator[Reply]:
    """Tune and fit now; progress, then the run."""
    ticket = rooms.refit.request()
    while (run := rooms.refit.outcome(ticket, FIT_NEWS_S)) is None:
        if rooms.stopping.is_set():
            raise UnavailableError("the daemon is stopping")
        state = rooms.refit.state
        if state is not None:
            news = {"stage": state.stage, "fraction": round(state.fraction, 3), "message": state.message}
            yield Reply({"progress": news}, more=True)
    if run.outcome == "failed":
        raise ModelError(f"the fit failed: {run.message}", hint="the map before is still in use")
    yield Reply({"run": _run_to_json(run)})


def _run_to_json(run: ModelRun) -> Json:
    return {
        "id": run.id,
        "reason": run.reason,
        "outcome": run.outcome,
        "message": run.message,
        "started_at": _when(run.started_at),
        "fitted_at": _when(run.finished_at),
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


def _when(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


# -- the index itself ------------------------------------------------------------------------------------------


def backup(rooms: Rooms, request: Request) -> Reply:
    """Write a consistent copy of the index to a new file."""
    target = Path(os.fsdecode(Params(request.params).path("path")))
    rooms.store.backup(target)
    return Reply({"path": path_to_json(os.fsencode(target)), "size": target.stat().st_size})


METHODS: Mapping[str, Handler] = {
    one.__name__: one
    for one in (
        hello,
        query,
        sheet,
        status,
        settle,
        scan,
        album_add,
        album_remove,
        album_list,
        duplicates,
        dismiss,
        undismiss,
        alerts,
        model_show,
        model_fit,
        model_history,
        errors,
        backup,
    )
}
