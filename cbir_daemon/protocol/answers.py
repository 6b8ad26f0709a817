"""The answers of the socket: one type for each method's, and for the parts that they are made of.

In: the words of `records`.  Out: `TypedDict`s.  Never here: bytes, checking, how an answer is made.

The handlers give these types and the client returns them; the tables of fields in docs/protocol.md and docs/commands.md
say the same, and tests hold all of them equal.  In an annotation a tuple lists the words, or the numbers, that a value
is one of, and a text is the manual's word for the type.

The client imports this module for type checkers only: to make the types takes 10 ms, a tenth of the start of `cbir`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, NotRequired, TypedDict

from cbir_daemon import kinds, records
from cbir_daemon.comparison import Around, LookedAt, Outcome, Reason
from cbir_daemon.kinds import Kind, kinds_that


class Base64Path(TypedDict):
    """A path whose bytes are not UTF-8."""

    b64: str


WirePath = Annotated[str | Base64Path, "path"]
Time = Annotated[str, "time"]
"""ISO 8601 in UTC, with milliseconds."""

State = Annotated[str, ("starting", "indexing", "ready")]
AlbumState = Annotated[str, tuple(records.AlbumState)]
MatchKind = Annotated[str, tuple(Kind)]
GroupKind = Annotated[str, kinds_that(lambda facts: facts.is_grouped)]
LookKind = Annotated[str, tuple(LookedAt)]
WhyKind = Annotated[str, tuple(Reason)]
CopyKind = Annotated[str, kinds_that(lambda facts: facts.shows_same_exposure)]
AlertKind = Annotated[str, tuple(kinds.AlertKind)]
TaskKind = Annotated[str, (*kinds_that(lambda facts: facts.may_go), "")]
TaskAction = Annotated[str, tuple(records.TaskAction)]
TaskState = Annotated[str, tuple(records.TaskState)]
FitStage = Annotated[str, ("graph", "tune", "fit", "save")]
FitKind = Annotated[str, tuple(records.FitKind)]
PlacedBy = Annotated[str, tuple(records.PlacedBy)]
FitOutcome = Annotated[str, tuple(records.FitOutcome)]
Turn = Annotated[int, (0, 90, 180, 270)]


# -- queries -----------------------------------------------------------------------------------------------------------


class Transform(TypedDict):
    """The edit that makes the query of the stored image."""

    flip: bool
    turn: Turn
    angle: float
    invert: bool


class Overlap(TypedDict):
    """The share of each image's area that the other one shows."""

    query: float
    match: float


class Tone(TypedDict):
    """How the greys follow from those of the stored image."""

    gain: float
    offset: float
    shift: float


class Window(TypedDict):
    """A part of an image, in shares of its sides."""

    left: float
    top: float
    right: float
    bottom: float


class Guess(Transform):
    """The view from which a verification began."""

    family: str
    query_window: Window
    stored_window: Window


class Explanation(TypedDict):
    """How a match was verified."""

    score: float
    threshold: float
    outcome: Annotated[str, tuple(Outcome)]
    guess: Guess
    scale_x: float
    scale_y: float
    correlation: float
    area_ratio: float
    cost: float
    strip: bool
    evidence_px: float | None
    evidence_needed_px: float


class PartPlace(TypedDict):
    """Where in two files their common part begins and ends, in the unit of their medium."""

    query: list[float]
    match: list[float]
    unit: str


class Match(TypedDict):
    """A file that is, copies or resembles the query."""

    path: WirePath
    digest: str
    kind: MatchKind
    look: LookKind | None
    features: int | None
    why: WhyKind | None
    part: Window | None
    score: float
    map_distance: float | None
    transform: Transform
    overlap: Overlap
    tone: Tone
    around: Annotated[str, tuple(Around)]
    match_around: Annotated[str, tuple(Around)]
    later_s: float | None
    origin: str
    width: int
    height: int
    size: int
    medium: str
    summary: str
    place: PartPlace | None
    site: NotRequired[str]
    missing: NotRequired[Literal[True]]
    explanation: NotRequired[Explanation]


class QueryImage(TypedDict):
    """The file that was asked about."""

    digest: str
    width: int
    height: int
    medium: str
    summary: str
    position: PlacedBy | None


class Query(TypedDict):
    """Answer of `query`."""

    clock: int
    took_ms: float
    query: QueryImage
    matches: list[Match]
    partial: NotRequired[list[str]]


class Sheet(TypedDict):
    """Answer of `sheet`, whose blob is the picture."""

    clock: int
    matches: int


# -- what there is -----------------------------------------------------------------------------------------------------


class Hello(TypedDict):
    """Answer of `hello`."""

    version: str
    protocol: int
    schema: int
    methods: list[str]
    capabilities: list[str]
    max_file_bytes: int
    pid: int


class Problem(TypedDict):
    """A fault and its remedy."""

    what: str
    do: str


class Album(TypedDict):
    """A watched folder."""

    path: WirePath
    state: AlbumState
    images: int
    errors: int
    file_system: str
    unwatched_folders: int
    out_of_reach: int
    events_lost: int
    watch_restarts: int


class Progress(TypedDict):
    """How far indexing is."""

    found: int
    done: int
    errors: int
    rate: float
    remaining_s: float | None


class ModelInUse(TypedDict):
    """The map in use, in short."""

    kind: FitKind
    n_neighbors: int
    n_components: int
    trustworthiness: float
    fitted_images: int
    projected_images: int
    fitted_at: Time


class FitProgress(TypedDict):
    """How far a fit is."""

    stage: FitStage
    fraction: float
    message: str


class RunningFit(FitProgress):
    """How far the running fit is, and how long it has run."""

    elapsed_s: float


class Refit(TypedDict):
    """How far the map is from its next fit."""

    running: bool
    reason: str
    waits_for: str
    changed_fraction: float | None
    threshold: float
    far_fraction: float | None
    kept: float | None
    kept_at_fit: float | None
    progress: RunningFit | None


class MediumMap(TypedDict):
    """The map of a medium."""

    model: ModelInUse | None
    model_reason: str
    refit: Refit


class MediumState(MediumMap):
    """How many contents of a medium there are, and its map."""

    medium: str
    contents: int


SharedState = Annotated[str, ("starting", "connected", "away", "refused")]


class Shared(TypedDict):
    """How the shared index is."""

    site: str
    state: SharedState
    published: int
    due: int
    due_since: Time | None
    unasked: int
    sites: list[str]


class Status(TypedDict):
    """Answer of `status`."""

    version: str
    clock: int
    state: State
    started_at: Time
    problems: list[Problem]
    albums: list[Album]
    images: int
    errors: int
    contents: int
    media: list[MediumState]
    pending: int
    decoded: int
    decode_peak_mib: float
    missing_extras: list[str]
    progress: Progress | None
    duplicates_pending: int
    looks_pending: int
    features_pending: int
    meaning_pending: int
    model: ModelInUse | None
    model_reason: str
    model_worker_running: bool
    search_processes: int
    searches_waiting: int
    shared: Shared | None
    refit: Refit


class Unreadable(TypedDict):
    """A file that could not be read, and why."""

    path: WirePath
    code: str
    message: str
    drawable: bool


class Errors(TypedDict):
    """Answer of `errors`."""

    errors: list[Unreadable]


class Settled(TypedDict):
    """Answer of `settle`."""

    clock: int
    images: int
    errors: int


class Scan(TypedDict):
    """Answer of `scan`."""

    albums: int


class Verified(TypedDict):
    """Answer of `verify`."""

    damaged: list[WirePath]
    alerts: int


class AlbumAdded(TypedDict):
    """Answer of `album_add`."""

    added: bool
    path: WirePath


class AlbumRemoved(TypedDict):
    """Answer of `album_remove`."""

    removed: Literal[True]
    path: WirePath


class AlbumList(TypedDict):
    """Answer of `album_list`."""

    albums: list[Album]


class Backup(TypedDict):
    """Answer of `backup`."""

    path: WirePath
    size: int


# -- duplicates --------------------------------------------------------------------------------------------------------


class GroupOverlap(TypedDict):
    """The share of the area of the image that is kept and of its copy that the other one shows."""

    kept: float
    copy: float


class GroupImage(TypedDict):
    """An image in a group of duplicates."""

    path: WirePath
    width: int
    height: int
    size: int
    keep: bool
    why: str
    score: float
    format: str
    taken: str | None
    mtime_ns: int
    digest: str
    names: list[WirePath]
    done: str
    transform: Transform | None
    overlap: GroupOverlap | None
    medium: str
    summary: str
    site: NotRequired[str]


class Group(TypedDict):
    """Images that show the same, or shots of one scene."""

    id: str
    kind: GroupKind
    look: LookKind | None
    saves: int
    images: list[GroupImage]


class FolderPair(TypedDict):
    """Two folders that have copies of each other."""

    folders: list[WirePath]
    groups: int
    saves: int


class Duplicates(TypedDict):
    """Answer of `duplicates`."""

    clock: int
    saves: int
    total: int
    files: int
    groups: list[Group]
    folder_pairs: NotRequired[list[FolderPair]]
    partial: NotRequired[list[str]]


class Aligned(TypedDict):
    """Answer of `align`."""

    matrix: list[float] | None
    look: LookKind
    invert: bool
    gain: float
    offset: float
    score: float


class ChangedAll(TypedDict):
    """Answer of `dismiss_all`."""

    changed: int


class Changed(TypedDict):
    """Answer of `dismiss` and `undismiss`."""

    changed: bool


class Decision(TypedDict):
    """Two contents that are no duplicates."""

    digest: str
    other_digest: str
    decided_at: Time
    paths: list[WirePath]
    other_paths: list[WirePath]


class Decisions(TypedDict):
    """Answer of `decisions`."""

    decisions: list[Decision]


class DecisionsImported(TypedDict):
    """Answer of `decisions_import`."""

    read: int
    added: int


class ResolveStarted(TypedDict):
    """Answer of `resolve_start`."""

    run: int


class ResolveTask(TypedDict):
    """A task in the journal of resolves."""

    task: int
    action: TaskAction
    kind: TaskKind
    path: WirePath
    keep: WirePath | None
    digest: str
    keep_digest: str
    size: int
    mtime_ns: int
    to: WirePath | None
    state: TaskState
    target: WirePath | None
    reason: str


class ResolveNoted(TypedDict):
    """Answer of `resolve_note`."""

    task: ResolveTask


class ResolveChecked(TypedDict):
    """Answer of `resolve_check`."""

    tasks: list[ResolveTask]


class ResolveTasks(TypedDict):
    """Answer of `resolve_tasks`."""

    run: int
    tasks: list[ResolveTask]


class ResolveRun(TypedDict):
    """A run of the journal; how many of its tasks are in each state."""

    run: int
    started_at: Time
    open: bool
    planned: int
    begun: int
    done: int
    skipped: int
    undone: int


class ResolveRuns(TypedDict):
    """Answer of `resolve_runs`."""

    runs: list[ResolveRun]


# -- alerts ------------------------------------------------------------------------------------------------------------


class AlertMatch(TypedDict):
    """A file that an alert is about."""

    path: WirePath
    kind: CopyKind
    score: float
    done: str
    site: NotRequired[str]


class WatchedMatch(TypedDict):
    """A work that an alert is about."""

    name: str
    kind: CopyKind
    score: float


class Alert(TypedDict):
    """An alert."""

    id: int
    time: Time
    path: WirePath
    kind: AlertKind
    text: str
    returned: Time | None
    watched: list[WatchedMatch]
    matches: list[AlertMatch]
    message: str


class AlertMessage(TypedDict):
    """The message to a program or an address: alerts that go to a place at once."""

    id: str
    test: bool
    title: str
    text: str
    count: int
    ids: list[int]
    alerts: list[Alert]


class Alerts(TypedDict):
    """Each answer of `alerts`."""

    alerts: list[Alert]


class AlertsTested(TypedDict):
    """Answer of `alerts_test`."""

    sink: str
    took_ms: float
    used: bool


class Work(TypedDict):
    """A picture on the watch list."""

    name: str
    path: WirePath | None
    digest: str
    added_at: Time
    found: int


class WorkMatch(TypedDict):
    """A file in which a work was seen."""

    path: WirePath
    kind: CopyKind
    score: float


class WatchAdded(TypedDict):
    """Answer of `watch_add`."""

    added: bool
    work: Work
    found: list[WorkMatch]


class WatchRemoved(TypedDict):
    """Answer of `watch_remove`."""

    removed: Literal[True]
    work: Work


class WatchList(TypedDict):
    """Answer of `watch_list`."""

    works: list[Work]


# -- pictures ----------------------------------------------------------------------------------------------------------


class IndexedImage(TypedDict):
    """A file of an album with the facts of its content."""

    path: WirePath
    digest: str
    width: int
    height: int
    size: int
    format: str
    taken: str | None
    mtime_ns: int
    missing: bool


class Images(TypedDict):
    """Each answer of `images`."""

    images: list[IndexedImage]


class Preview(TypedDict):
    """Answer of `preview`, whose blob is the picture."""

    digest: str
    form: Annotated[str, ("jpeg", "webp")]


class ErrorPreview(TypedDict):
    """Answer of `error_preview`, whose blob is the picture."""

    form: Annotated[str, ("jpeg", "webp")]


class Thumbnail(TypedDict):
    """Answer of `thumbnail`, whose blob is the picture."""

    digest: str


# -- the map -----------------------------------------------------------------------------------------------------------


class Trial(TypedDict):
    """A point of the curve from which hyper-parameters are chosen."""

    n_neighbors: int
    n_components: int
    trustworthiness: float
    neighbor_recall: float


class FitNumbers(TypedDict, total=False):
    """Numbers by which was decided about a fit."""

    contents: int
    changed: int
    changed_fraction: float
    far_fraction: float
    kept: float
    kept_at_fit: float
    min_dist: float
    cancelled_by_user: int
    compared: int
    kept_before: float
    kept_after: float


class FitBegun(TypedDict):
    """The facts of a fit from its beginning."""

    id: int
    reason: str
    kind: FitKind
    numbers: FitNumbers
    message: str
    started_at: Time


class ModelRun(FitBegun):
    """A fit; null stands for what no map came of, or not yet."""

    outcome: FitOutcome
    fitted_at: Time | None
    n_neighbors: int | None
    n_components: int | None
    trustworthiness: float | None
    neighbor_recall: float | None
    fitted_images: int | None
    present_images: int | None
    seed: int | None
    duration_s: float | None
    peak_mib: float | None
    curve: list[Trial]


class ModelShown(FitBegun):
    """Answer of `model_show`: the fit of the map in use, which has all its scores."""

    outcome: Annotated[str, (records.FitOutcome.ACTIVE,)]
    fitted_at: Time
    n_neighbors: int
    n_components: int
    trustworthiness: float
    neighbor_recall: float
    fitted_images: int
    present_images: int
    seed: int
    duration_s: float
    peak_mib: float
    curve: list[Trial]
    projected_images: int


class ModelFit(TypedDict, total=False):
    """Each answer of `model_fit`: one of these."""

    progress: FitProgress
    run: ModelRun


class ModelCancelled(TypedDict):
    """Answer of `model_cancel`."""

    cancelled: bool


class ModelHistory(TypedDict):
    """Answer of `model_history`."""

    runs: list[ModelRun]


class Place(TypedDict):
    """A content on the map."""

    column: int
    row: int
    path: WirePath
    names: list[WirePath]
    width: int
    height: int
    size: int
    taken: str | None
    summary: str
    group: int | None


class Atlas(TypedDict):
    """The squares of a blob."""

    first: int
    count: int
    side_px: int
    columns: int


class MapPart(TypedDict):
    """Each answer of `map`: with places, with an atlas and its squares as a blob, or with the picture as a blob."""

    clock: int
    images: int
    shown: int
    groups: int
    grid_columns: int
    grid_rows: int
    places: NotRequired[list[Place]]
    atlas: NotRequired[Atlas]


class MapGrid(TypedDict):
    """Answer of `map_grid`."""

    run: str
    images: int
    columns: int
    rows: int
    levels: int
    tile_px: int
    cell_px: int


class MapTile(TypedDict):
    """Answer of `map_tile`, whose blob is the picture."""

    images: int


class PlacedImage(TypedDict):
    """An image on the map, by the cell of its content."""

    column: int
    row: int
    path: WirePath
    digest: str
    width: int
    height: int
    size: int
    taken: str | None
    summary: str
    group: int | None


class MapInside(TypedDict):
    """Each answer of `map_inside`."""

    images: list[PlacedImage]


class MapPlace(TypedDict):
    """Answer of `map_place`."""

    run: str
    medium: str
    column: int
    row: int


ANSWERS: Mapping[str, type] = {
    "hello": Hello,
    "query": Query,
    "sheet": Sheet,
    "status": Status,
    "errors": Errors,
    "settle": Settled,
    "scan": Scan,
    "verify": Verified,
    "album_add": AlbumAdded,
    "album_remove": AlbumRemoved,
    "album_list": AlbumList,
    "backup": Backup,
    "duplicates": Duplicates,
    "dismiss": Changed,
    "undismiss": Changed,
    "dismiss_all": ChangedAll,
    "align": Aligned,
    "decisions": Decisions,
    "decisions_import": DecisionsImported,
    "resolve_start": ResolveStarted,
    "resolve_check": ResolveChecked,
    "resolve_note": ResolveNoted,
    "resolve_tasks": ResolveTasks,
    "resolve_runs": ResolveRuns,
    "alerts": Alerts,
    "alerts_test": AlertsTested,
    "watch_add": WatchAdded,
    "watch_remove": WatchRemoved,
    "watch_list": WatchList,
    "model_show": ModelShown,
    "model_fit": ModelFit,
    "model_cancel": ModelCancelled,
    "model_history": ModelHistory,
    "map": MapPart,
    "map_grid": MapGrid,
    "map_tile": MapTile,
    "map_inside": MapInside,
    "map_place": MapPlace,
    "images": Images,
    "preview": Preview,
    "error_preview": ErrorPreview,
    "thumbnail": Thumbnail,
}
"""Method -> type of what stands in `ok`; of a stream, in each of its answers."""
