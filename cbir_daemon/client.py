"""The Python client: one method for each of the daemon's.

In: a socket path.  Out: the answers as they travel.  Never here: numpy, SQLite, printing.

A client speaks to one daemon over one connection and is used by one thread.  An answer is said to be of its type in
`protocol.answers` and not held against it: a daemon of a later release may tell more.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Sequence

from cbir_daemon.errors import ForbiddenError, ProtocolError, TimedOutError, UnavailableError
from cbir_daemon.protocol.framing import Frame, FrameReader, encode
from cbir_daemon.protocol.messages import VERSION, Request, error_from, path_to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import cast

    from cbir_daemon.protocol import answers
    from cbir_daemon.protocol.messages import Json
else:

    def cast(_kind: str, value: object) -> object:
        """Return a value as it is: to load `typing` for this would be a twentieth of the start of `cbir`."""
        return value


AnyPath = str | os.PathLike[str]

IMAGE = "image"
"""The medium of images; `records`, which names it too, takes 20 ms to load."""

CONNECT_TIMEOUT_S = 5.0
MAX_ANSWER_BLOB_BYTES = 256 * 1024 * 1024
RECEIVE_BYTES = 256 * 1024


class Client:
    """A connection to a daemon; use it with `with`.

    Parameters
    ----------
    sockets : sequence of path
        Where the daemon may listen, tried in order.
    timeout_s : float, optional
        Longest wait for an answer to begin; None waits without end.

    Raises
    ------
    UnavailableError
        When no daemon answers.
    ForbiddenError
        When none answers and one of the sockets is not for this user.
    """

    def __init__(self, sockets: Sequence[AnyPath], *, timeout_s: float | None = None) -> None:
        self._connection = _connect(sockets)
        self._connection.settimeout(timeout_s)
        self._reader = FrameReader(MAX_ANSWER_BLOB_BYTES)
        self._frames: list[Frame] = []
        self._last_id = 0

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    # -- methods -----------------------------------------------------------------------------------------------------

    def hello(self) -> answers.Hello:
        """Return versions, methods and capabilities of the daemon."""
        return cast("answers.Hello", self.ask("hello"))

    def query(
        self,
        image: AnyPath | bytes,
        *,
        limit: int = 10,
        kind: str | None = None,
        min_score: float = 0.0,
        by: str | None = None,
        explain: bool = False,
        sites: Sequence[str] | None = None,
    ) -> answers.Query:
        """Return the images of the albums that are, copy or resemble an image.

        Parameters
        ----------
        image : path or bytes
            A file that the daemon can read, absolute; or the bytes of one.
        limit : int
            Matches at most.
        kind : str, optional
            "exact", "copy", "shot" or "similar": only these.
        min_score : float
            Only matches with at least this score, 0 to 1.
        by : str, optional
            By what `similar` matches are found and ranked: "look" or "grey"; by default the best there is.
        explain : bool
            Whether each match tells how it was verified.
        sites : sequence of str, optional
            Only images of these sites; an empty one asks no other site, None asks all.
        """
        asked = {} if sites is None else {"sites": list(sites)}
        params = {"limit": limit, "kind": kind, "min_score": min_score, "by": by, "explain": explain, **asked}
        return cast("answers.Query", self.ask("query", *_image(params, image)))

    def sheet(
        self,
        image: AnyPath | bytes,
        *,
        limit: int = 10,
        kind: str | None = None,
        min_score: float = 0.0,
        by: str | None = None,
    ) -> bytes:
        """Return a PNG of an image and its matches, each with kind and score.

        Parameters
        ----------
        image : path or bytes
            A file that the daemon can read, absolute; or the bytes of one.
        limit : int
            Matches at most.
        kind : str, optional
            "exact", "copy", "shot" or "similar": only these.
        min_score : float
            Only matches with at least this score, 0 to 1.
        by : str, optional
            As for `query`.
        """
        params, blob = _image({"limit": limit, "kind": kind, "min_score": min_score, "by": by}, image)
        return self._exchange("sheet", params, blob).blob

    def status(self) -> answers.Status:
        """Return albums, counts, what is pending, the model and how far the map is from its next fit."""
        return cast("answers.Status", self.ask("status"))

    def settle(self, timeout_s: float = 600.0) -> answers.Settled:
        """Wait until all that was on disk is indexed, alerts are written, and no fit is due or running."""
        return cast("answers.Settled", self.ask("settle", {"timeout_s": timeout_s}))

    def scan(self, path: AnyPath | None = None, *, accept_losses: bool = False) -> answers.Scan:
        """Compare files with the index now.

        Parameters
        ----------
        path : path, optional
            A file or folder to look at, with all that is below it; without it, all albums.
        accept_losses : bool
            Whether to forget the files of an album that is missing or nearly empty.
        """
        return cast("answers.Scan", self.ask("scan", {"path": _path(path), "accept_losses": accept_losses}))

    def verify(self, paths: Sequence[AnyPath]) -> answers.Verified:
        """Have files read again and compared with their digests; one that is damaged raises an alert.

        Parameters
        ----------
        paths : sequence of path
            Absolute, at most 1000.
        """
        return cast("answers.Verified", self.ask("verify", {"paths": [_path(path) for path in paths]}))

    def album_add(self, path: AnyPath) -> answers.AlbumAdded:
        """Watch a folder from now on."""
        return cast("answers.AlbumAdded", self.ask("album_add", {"path": _path(path)}))

    def album_remove(self, path: AnyPath) -> answers.AlbumRemoved:
        """Forget a folder; its files stay where they are."""
        return cast("answers.AlbumRemoved", self.ask("album_remove", {"path": _path(path)}))

    def album_list(self) -> answers.AlbumList:
        """Return the watched folders."""
        return cast("answers.AlbumList", self.ask("album_list"))

    def duplicates(
        self,
        *,
        kind: str | None = None,
        album: AnyPath | None = None,
        across: bool = False,
        unlooked: bool = False,
        folders: Sequence[AnyPath] = (),
        min_score: float = 0.0,
        max_score: float = 1.0,
        since: str = "",
        until: str = "",
        order: str = "space",
        reverse: bool = False,
        offset: int = 0,
        limit: int = 0,
        at: int = 0,
        sites: bool = False,
    ) -> answers.Duplicates:
        """Return groups of images that show the same, each with the one to keep.

        Parameters
        ----------
        kind : str, optional
            "exact", "copy" or "shot": only these; without it groups of "exact" and "copy".
        album : path, optional
            Only groups with an image below this folder.
        across : bool
            Only groups with images of more than one album.
        unlooked : bool
            Whether copies may go, too, whose files could not be compared.
        folders : sequence of path
            Two folders: only groups with an image in each, not counting those below it.
        min_score, max_score : float
            Bounds, 0 to 1, of the score of a group's least alike image.
        since, until : str
            Bounds of the day of a group's newest image: a date such as "2026-01-31", or its beginning.
        order : str
            "space" (most space first), "kind", "folders", "score" (surest first) or "date" (newest first).
        reverse : bool
            The other way round.
        offset, limit : int
            Groups to leave out, and groups at most, up to 200; with a limit of 0 all.
        at : int
            The `clock` of an answer before: its list is gone on with while the daemon keeps it.
        sites : bool
            Instead of these the images of which other sites have copies; only `kind` limits them.
        """
        params = {
            "kind": kind,
            "album": _path(album),
            "across": across,
            "unlooked": unlooked,
            "folders": [_path(folder) for folder in folders],
            "min_score": min_score,
            "max_score": max_score,
            "since": since,
            "until": until,
            "order": order,
            "reverse": reverse,
            "offset": offset,
            "limit": limit,
            "at": at,
            "sites": sites,
        }
        return cast("answers.Duplicates", self._pages("groups", "duplicates", params))

    def dismiss(self, first: AnyPath, second: AnyPath) -> answers.Changed:
        """Remember for ever that two images are no duplicates.

        Parameters
        ----------
        first, second : path
            Absolute, of indexed images; their order means nothing.
        """
        return cast("answers.Changed", self.ask("dismiss", {"first": _path(first), "other": _path(second)}))

    def undismiss(self, first: AnyPath, second: AnyPath) -> answers.Changed:
        """Forget that two images are no duplicates.

        Parameters
        ----------
        first, second : path
            Absolute, as for `dismiss`; their order means nothing.
        """
        return cast("answers.Changed", self.ask("undismiss", {"first": _path(first), "other": _path(second)}))

    def dismiss_all(self, pairs: Sequence[Sequence[str]], *, undo: bool = False) -> answers.ChangedAll:
        """Remember of many pairs that they are no duplicates, or forget it.

        Parameters
        ----------
        pairs : sequence of (str, str)
            SHA-256 of the two contents in hexadecimal digits; the same twice to have all files with these bytes stay.
        undo : bool
            Whether to forget.
        """
        return cast("answers.ChangedAll", self.ask("dismiss_all", {"pairs": [*map(list, pairs)], "undo": undo}))

    def align(self, keep: str, copy: str) -> answers.Aligned:
        """Return how a copy lies on the image that it is a copy of.

        Parameters
        ----------
        keep, copy : str
            SHA-256 of the two contents in hexadecimal digits.
        """
        return cast("answers.Aligned", self.ask("align", {"keep": keep, "copy": copy}))

    def decisions(self) -> answers.Decisions:
        """Return the dismissed pairs, oldest first."""
        return cast("answers.Decisions", self._pages("decisions", "decisions", {}))

    def decisions_import(self, lines: bytes) -> answers.DecisionsImported:
        """Remember decisions, one JSON document a line."""
        return cast("answers.DecisionsImported", self.ask("decisions_import", blob=lines))

    def resolve_start(self, plan: bytes, *, unlooked: bool = False) -> answers.ResolveStarted:
        """Write the tasks of a plan into the journal and return the number of the run.

        Parameters
        ----------
        plan : bytes
            JSON lines, as `cbir resolve --plan` writes them.
        unlooked : bool
            Whether copies may go, too, whose files could not be compared.
        """
        return cast("answers.ResolveStarted", self.ask("resolve_start", {"unlooked": unlooked}, blob=plan))

    def resolve_check(self, plan: bytes, *, unlooked: bool = False) -> answers.ResolveChecked:
        """Return the tasks that `resolve_start` would write for a plan; nothing is written.

        Parameters
        ----------
        plan : bytes
            JSON lines, as `cbir resolve --plan` writes them.
        unlooked : bool
            Whether copies may go, too, whose files could not be compared.
        """
        params = {"unlooked": unlooked}
        return cast("answers.ResolveChecked", self._pages("tasks", "resolve_check", params, plan))

    def resolve_note(
        self, task: int, state: str, *, target: bytes | None = None, reason: str = ""
    ) -> answers.ResolveNoted:
        """Write the new state of a task into the journal; returns when it is committed.

        Parameters
        ----------
        task : int
            Number of the task, from `resolve_tasks`.
        state : str
            "planned", "begun", "done", "skipped" or "undone".
        target : bytes, optional
            Path of the file from now on; None leaves what was noted before.
        reason : str
            Why the file was left alone.
        """
        place = None if target is None else path_to_json(target)
        return cast(
            "answers.ResolveNoted",
            self.ask("resolve_note", {"task": task, "state": state, "target": place, "reason": reason}),
        )

    def resolve_tasks(self, run: int) -> answers.ResolveTasks:
        """Return the tasks of a run of the journal."""
        return cast("answers.ResolveTasks", self._pages("tasks", "resolve_tasks", {"run": run}))

    def resolve_runs(self) -> answers.ResolveRuns:
        """Return every run of the journal, newest first."""
        return cast("answers.ResolveRuns", self._pages("runs", "resolve_runs", {}))

    def alerts(self, *, since: int = 0, follow: bool = False) -> Iterator[answers.Alert]:
        """Yield alerts in order of id.

        Parameters
        ----------
        since : int
            Only alerts with a larger id.
        follow : bool
            Whether to wait for further alerts without end, and yield each as it is written.
        """
        for message in self._stream("alerts", {"since": since, "follow": follow}):
            yield from cast("answers.Alerts", message)["alerts"]

    def alerts_test(self, sink: str) -> answers.AlertsTested:
        """Send a test message through one place that alerts can go to."""
        return cast("answers.AlertsTested", self.ask("alerts_test", {"sink": sink}))

    def watch_add(self, image: AnyPath | bytes, *, name: str = "") -> answers.WatchAdded:
        """Put a picture on the watch list, and return in which files of the albums it is now.

        Parameters
        ----------
        image : path or bytes
            A file that the daemon can read, absolute; or the bytes of one.
        name : str
            What alerts call it; the file's own name when empty.
        """
        params, blob = _image({"name": name}, image)
        return cast("answers.WatchAdded", self.ask("watch_add", params, blob))

    def watch_remove(self, name: str) -> answers.WatchRemoved:
        """Take a picture off the watch list."""
        return cast("answers.WatchRemoved", self.ask("watch_remove", {"name": name}))

    def watch_list(self) -> answers.WatchList:
        """Return the watch list, oldest first."""
        return cast("answers.WatchList", self._pages("works", "watch_list", {}))

    def model_show(self, medium: str = IMAGE) -> answers.ModelShown:
        """Return the hyper-parameters and scores of the map in use.

        Parameters
        ----------
        medium : str
            Whose map.
        """
        return cast("answers.ModelShown", self.ask("model_show", _of(medium)))

    def model_fit(self, medium: str = IMAGE) -> Iterator[answers.ModelFit]:
        """Tune and fit now; yield progress, and last the run.

        Parameters
        ----------
        medium : str
            Whose map.
        """
        for message in self._stream("model_fit", _of(medium)):
            yield cast("answers.ModelFit", message)

    def model_cancel(self, medium: str = IMAGE) -> answers.ModelCancelled:
        """End the running fit.

        Parameters
        ----------
        medium : str
            Whose map.
        """
        return cast("answers.ModelCancelled", self.ask("model_cancel", _of(medium)))

    def model_history(self, medium: str = IMAGE) -> answers.ModelHistory:
        """Return every run, newest first.

        Parameters
        ----------
        medium : str
            Whose map.
        """
        return cast("answers.ModelHistory", self._pages("runs", "model_history", _of(medium)))

    def map(
        self, *, form: str = "png", size_px: int = 2400, medium: str = IMAGE
    ) -> Iterator[tuple[answers.MapPart, bytes]]:
        """Draw the collection; yield each answer with its blob.

        Parameters
        ----------
        form : str
            "png": one answer, whose blob is the picture.  "page": places, then atlases.
        size_px : int
            Longer side of the picture.
        medium : str
            Whose map.
        """
        for frame in self.frames("map", {"form": form, "size_px": size_px, **_of(medium)}):
            yield cast("answers.MapPart", frame.message["ok"]), frame.blob

    def map_grid(self, medium: str = IMAGE) -> answers.MapGrid:
        """Return how large the map is, in cells and levels of tiles.

        Parameters
        ----------
        medium : str
            Whose map.
        """
        return cast("answers.MapGrid", self.ask("map_grid", _of(medium)))

    def map_tile(self, run: str, level: int, column: int, row: int, *, dark: bool = False) -> bytes:
        """Return a tile of the map as a WebP of 256 x 256 pixels.

        Parameters
        ----------
        run : str
            Of `map_grid`.
        level, column, row : int
            At level 0 one tile shows all; each level has twice the tiles along a side.
        dark : bool
            Whether the ground is dark.
        """
        asked: Json = {"run": run, "level": level, "column": column, "row": row, "dark": dark}
        return self._exchange("map_tile", asked).blob

    def map_inside(self, run: str, polygon: Sequence[tuple[float, float]]) -> answers.MapInside:
        """Return the images whose cells lie in a polygon.

        Parameters
        ----------
        run : str
            Of `map_grid`.
        polygon : sequence of (float, float)
            Columns and rows of three corners or more, in cells.
        """
        asked: Json = {"run": run, "polygon": [list(corner) for corner in polygon]}
        return cast("answers.MapInside", self._pages("images", "map_inside", asked))

    def map_place(self, digest: str) -> answers.MapPlace:
        """Return the cell of a content.

        Parameters
        ----------
        digest : str
            SHA-256 in hexadecimal digits.
        """
        return cast("answers.MapPlace", self.ask("map_place", {"digest": digest}))

    def images(self, *, paths: Sequence[AnyPath] = (), digests: Sequence[str] = (), named: str = "") -> answers.Images:
        """Return the indexed files at paths, those of contents, or those whose paths have some words.

        Parameters
        ----------
        paths : sequence of path
            Absolute, at most 1000.
        digests : sequence of str
            SHA-256 in hexadecimal digits, at most 1000.
        named : str
            Words, each of which occurs in the path: the first 200 such files.
        """
        asked: Json = {"paths": [_path(path) for path in paths], "digests": list(digests), "named": named}
        return cast("answers.Images", self._pages("images", "images", asked))

    def preview(self, digest: str, *, side_px: int = 1024, form: str = "jpeg") -> bytes:
        """Return an upright picture of a content, as a file without metadata.

        Parameters
        ----------
        digest : str
            SHA-256 of the content in hexadecimal digits.
        side_px : int
            Width and height at most, 256 to 2048.
        form : str
            "jpeg" or "webp".
        """
        return self._exchange("preview", {"digest": digest, "side_px": side_px, "form": form}).blob

    def error_preview(self, path: AnyPath, *, side_px: int = 1024, form: str = "jpeg") -> bytes:
        """Return a picture of what is there of a file that could not be read.

        Parameters
        ----------
        path : path
            Of a file that `errors` lists.
        side_px : int
            Width and height at most, 256 to 2048.
        form : str
            "jpeg" or "webp".
        """
        return self._exchange("error_preview", {"path": _path(path), "side_px": side_px, "form": form}).blob

    def thumbnail(self, digest: str) -> bytes:
        """Return the 64x64 grey numbers of a content as a WebP."""
        return self._exchange("thumbnail", {"digest": digest}).blob

    def errors(self) -> answers.Errors:
        """Return the files that could not be read, and why."""
        return cast("answers.Errors", self._pages("errors", "errors", {}))

    def backup(self, target: AnyPath) -> answers.Backup:
        """Write a consistent copy of the index to a new file."""
        return cast("answers.Backup", self.ask("backup", {"path": _path(target)}))

    # -- exchange ----------------------------------------------------------------------------------------------------

    def ask(self, method: str, params: Json | None = None, blob: bytes = b"") -> Json:
        """Return the answer to any method, for those that this class has no function for.

        Parameters
        ----------
        method : str
        params : dict, optional
            Those that are None are left out.
        blob : bytes
            What comes after the message: an image, or the lines of a file.

        Raises
        ------
        CbirError
            What the daemon refuses with, or when it cannot be reached.
        """
        ok: Json = self._exchange(method, params or {}, blob).message["ok"]
        return ok

    def _exchange(self, method: str, params: Json, blob: bytes = b"") -> Frame:
        request_id = self._send(method, params, blob)
        return self._answer(request_id)

    def _pages(self, name: str, method: str, params: Json, blob: bytes = b"") -> Json:
        """Return a long answer whole: the first of its messages, with the rows of all under `name`."""
        pages: list[Json] = [frame.message["ok"] for frame in self.frames(method, params, blob)]
        first = pages[0]
        for page in pages[1:]:
            first[name] += page[name]
        return first

    def _stream(self, method: str, params: Json) -> Iterator[Json]:
        for frame in self.frames(method, params):
            yield frame.message["ok"]

    def frames(self, method: str, params: Json, blob: bytes = b"") -> Iterator[Frame]:
        """Yield the messages of an answer that has several, as they come, each with its blob.

        Parameters
        ----------
        method : str
        params : dict
            Those that are None are left out.
        blob : bytes
            What comes after the message.

        Raises
        ------
        CbirError
            What the daemon refuses with, or when it cannot be reached.
        """
        request_id = self._send(method, params, blob)
        more = True
        while more:
            frame = self._answer(request_id)
            more = frame.message.get("more", False)
            yield frame

    def _send(self, method: str, params: Json, blob: bytes = b"") -> int:
        self._last_id += 1
        present = {name: value for name, value in params.items() if value is not None}
        message = encode(Request(self._last_id, method, present).to_message(), blob)
        # A daemon that refuses a large blob answers before it has read it all: the refusal is what counts.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.sendall(message)
        return self._last_id

    def _answer(self, request_id: int) -> Frame:
        while True:
            frame = self._next_frame()
            message = frame.message
            if "error" in message and message.get("id") in (request_id, None):
                raise error_from(message["error"])
            if message.get("v") != VERSION:
                raise ProtocolError(
                    f"the daemon speaks version {message.get('v')!r} of the protocol, not {VERSION}",
                    hint="use the `cbir` that came with the daemon",
                )
            if message.get("id") == request_id:
                return frame

    def _next_frame(self) -> Frame:
        while not self._frames:
            try:
                data = self._connection.recv(RECEIVE_BYTES)
            except TimeoutError as error:
                raise TimedOutError("the daemon does not answer", hint="try again; its log may say why") from error
            except OSError as error:
                raise UnavailableError(f"the connection broke: {error.strerror}", hint="try again") from error
            if not data:
                raise UnavailableError("the daemon closed the connection", hint="is it stopping? see its log")
            self._reader.receive(data)
            self._frames.extend(self._reader.frames())
        return self._frames.pop(0)


def _connect(sockets: Sequence[AnyPath]) -> socket.socket:
    tried: list[str] = []
    closed: list[str] = []
    for path in [os.fspath(path) for path in sockets]:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(CONNECT_TIMEOUT_S)
        try:
            connect_patiently(connection, path)
        except OSError as error:
            connection.close()
            tried.append(f"{path} ({error.strerror or error})")
            if isinstance(error, PermissionError):
                closed.append(path)
        else:
            return connection
    if closed:
        # To start another daemon would be no help to somebody whom this one may not serve.
        raise ForbiddenError(
            f"{closed[0]}: this user may not connect", hint="only its owner and members of server.group may"
        )
    first = tried[0] if tried else "no socket is configured"
    raise UnavailableError(
        f"no daemon listens on {first}", hint="start one with `cbir-daemon run ALBUM`, or name its socket with --socket"
    )


def connect_patiently(connection: socket.socket, path: str) -> None:
    """Connect, trying again while the daemon's queue of connections is full.

    Parameters
    ----------
    connection : socket
        A unix stream socket that is not connected yet.
    path : str
        Where the daemon listens.

    Raises
    ------
    OSError
        When nothing listens there, or the queue is full for `CONNECT_TIMEOUT_S`.
    """
    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    while True:
        try:
            return connection.connect(path)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)


def _path(path: AnyPath | None) -> answers.WirePath | None:
    return None if path is None else path_to_json(os.fsencode(path))


def _image(params: Json, image: AnyPath | bytes) -> tuple[Json, bytes]:
    return (params, image) if isinstance(image, bytes) else ({**params, "path": _path(image)}, b"")


def _of(medium: str) -> Json:
    """Return the parameter that names a medium; none for images, which a daemon of an earlier release has alone."""
    return {} if medium == IMAGE else {"medium": medium}
