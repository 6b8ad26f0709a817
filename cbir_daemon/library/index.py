"""`Index`: reads and searches an index, by its daemon or from the folder of its state.

In: where it is, pictures.  Out: values.  Never here: changes; numpy, unless a folder is opened.
"""

from __future__ import annotations

import importlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from cbir_daemon.client import Client
from cbir_daemon.config import load
from cbir_daemon.config.places import client_socket_paths
from cbir_daemon.errors import BadRequestError, CbirError, NotFoundError, UnavailableError
from cbir_daemon.library.values import Alert, Group, Image, Matches, Model, Unreadable
from cbir_daemon.protocol import answers

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from cbir_daemon.protocol.framing import Frame

AnyPath = str | os.PathLike[str]

PREVIEW_PX = 256
"""Longer side of the pictures that a notebook shows: 10 KB each."""


class Answering(Protocol):
    """What answers methods: a client of a daemon, or a reader of a state."""

    def frames(self, method: str, params: dict[str, Any], blob: bytes = b"") -> Iterator[Frame]:
        """Yield the messages of an answer.

        Parameters
        ----------
        method : str
        params : dict
        blob : bytes
        """
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class Index:
    """An index, for reading; use it with `with`, or `close` it.

    Parameters
    ----------
    place : path, optional
        The socket of a daemon; or the folder of a state, which a daemon may use at the same time.  Without one: the
        daemon that `cbir` would ask, and when none runs the state that `cbir-daemon` would use.

    Raises
    ------
    NotFoundError
        When there is neither a socket nor an index.
    UnavailableError, ForbiddenError
        When no daemon answers at the socket, or it is not for this user.
    StorageError
        When the index is damaged, or of another release.
    ConfigError
        When the configuration has a fault.

    Notes
    -----
    A daemon answers from what it has now.  A folder is read when it is opened: its codes are made in the memory of this
    process, 1 KiB a file, and what comes later is seen by the next `Index`.  For one thread.

    Examples
    --------
    >>> from cbir_daemon import Index
    >>> with Index() as index:  # doctest: +SKIP
    ...     for match in index.search("from-a-friend.jpg", limit=3):
    ...         print(match.kind, match.score, match.path)
    """

    def __init__(self, place: AnyPath | None = None) -> None:
        self._answering: Answering | None = _found() if place is None else _opened(Path(place).expanduser().absolute())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the index; what it returned stays, without pictures."""
        answering, self._answering = self._answering, None
        if answering is not None:
            answering.close()

    # -- questions ---------------------------------------------------------------------------------------------------

    def search(
        self,
        image: AnyPath | bytes,
        *,
        limit: int = 10,
        kind: str | None = None,
        min_score: float = 0.0,
        by: str | None = None,
    ) -> Matches:
        """Return the files that are, copy or resemble an image, best first.

        Parameters
        ----------
        image : path or bytes
            A file, or the bytes of one.
        limit : int
            Matches at most, 1 to 1000.
        kind : str, optional
            "exact", "copy", "shot" or "similar": only these.
        min_score : float
            Only matches with at least this score, 0 to 1.
        by : str, optional
            By what `similar` matches are ranked: "look", "grey" or "meaning"; by default the best there is.

        Raises
        ------
        NotFoundError, UnreadableImageError, TooPlainError
            When there is no such file, it is no image, or shows almost nothing.
        """
        # Of this machine only: what lies on another has no picture here.
        here: list[str] = []
        params = {"limit": limit, "kind": kind, "min_score": min_score, "by": by, "sites": here}
        answer = cast("answers.Query", self._about_image("query", image, params).message["ok"])
        return Matches.of(answer, self._picture)

    def sheet(self, image: AnyPath | bytes, *, limit: int = 8) -> bytes:
        """Return a PNG of an image beside its matches, each with kind and score.

        Parameters
        ----------
        image : path or bytes
            A file, or the bytes of one.
        limit : int
            Matches at most; with 8 the picture has three rows of three.
        """
        return self._about_image("sheet", image, {"limit": limit}).blob

    def images(self, named: str) -> list[Image]:
        """Return the indexed files whose paths have all of some words, 200 at most.

        Parameters
        ----------
        named : str
            Words, in any case.
        """
        return [Image.of(image) for image in self._rows("images", "images", {"named": named})]

    def groups(self, kind: str | None = None) -> list[Group]:
        """Return the groups of duplicates, those first that take most space.

        Parameters
        ----------
        kind : str, optional
            "exact", "copy" or "shot"; exact and copy by default.
        """
        return [Group.of(group, self._picture) for group in self._rows("groups", "duplicates", {"kind": kind})]

    def alerts(self, since: int = 0) -> list[Alert]:
        """Return the alerts so far, oldest first.

        Parameters
        ----------
        since : int
            Only alerts with a larger id.
        """
        return [Alert.of(alert) for alert in self._rows("alerts", "alerts", {"since": since})]

    def errors(self) -> list[Unreadable]:
        """Return the files that could not be read, and why."""
        return [Unreadable.of(error) for error in self._rows("errors", "errors", {})]

    def model(self) -> Model | None:
        """Return the map in use with the curve from which it was chosen; None without one."""
        try:
            return Model.of(cast("answers.ModelShown", self._first("model_show", {}).message["ok"]))
        except NotFoundError:
            return None

    def preview(self, digest: str, *, side_px: int = 1024) -> bytes:
        """Return an upright picture of a content as a WebP; its file must be there.

        Parameters
        ----------
        digest : str
            SHA-256 in hexadecimal digits.
        side_px : int
            Width and height at most, 256 to 2048.
        """
        return self._first("preview", {"digest": digest, "side_px": side_px, "form": "webp"}).blob

    def thumbnail(self, digest: str) -> bytes:
        """Return the 64x64 grey numbers of a content as a WebP, also when its file is away.

        Parameters
        ----------
        digest : str
            SHA-256 in hexadecimal digits.
        """
        return self._first("thumbnail", {"digest": digest}).blob

    # -- how they are asked ------------------------------------------------------------------------------------------

    def _picture(self, digest: str) -> bytes:
        """Return a small picture of a content; empty when there is none any more."""
        with suppress(CbirError):
            return self.preview(digest, side_px=PREVIEW_PX)
        with suppress(CbirError):
            return self.thumbnail(digest)
        return b""

    def _about_image(self, method: str, image: AnyPath | bytes, params: Mapping[str, Any]) -> Frame:
        if isinstance(image, bytes):
            return self._first(method, params, image)
        # The bytes and not the path: a daemon may see other files than this process.
        path = Path(image).expanduser()
        try:
            data = path.read_bytes()
        except OSError as error:
            raise NotFoundError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error
        return self._first(method, params, data)

    def _first(self, method: str, params: Mapping[str, Any], blob: bytes = b"") -> Frame:
        # An answer is read to its end: the next one comes by the same connection.
        first, *_ = self._frames(method, params, blob)
        return first

    def _rows(self, name: str, method: str, params: Mapping[str, Any]) -> list[Any]:
        return [row for frame in self._frames(method, params) for row in frame.message["ok"][name]]

    def _frames(self, method: str, params: Mapping[str, Any], blob: bytes = b"") -> Iterator[Frame]:
        if self._answering is None:
            raise UnavailableError("the index is closed", hint="ask inside of its `with` block")
        return self._answering.frames(method, dict(params), blob)


def _found() -> Answering:
    """Return the daemon that `cbir` would ask; when none runs, the state that `cbir-daemon` would use."""
    try:
        return Client(client_socket_paths(None, os.environ, Path.cwd()))
    except UnavailableError as error:
        folder = load(environ=os.environ).state_dir
        try:
            return _reader(folder)
        except NotFoundError:
            raise error from None


def _opened(place: Path) -> Answering:
    try:
        mode = place.stat().st_mode
    except OSError as error:
        hint = "name the folder of a state, or the socket of a daemon"
        raise NotFoundError(f"{place}: {(error.strerror or 'cannot be read').lower()}", hint=hint) from error
    if stat.S_ISSOCK(mode):
        return Client([place])
    if stat.S_ISDIR(mode):
        return _reader(place)
    raise BadRequestError(f"{place}: is neither a folder nor a socket", hint="name the folder of a daemon's state")


def _reader(folder: Path) -> Answering:
    # The daemon's side, with numpy: a client of a socket does without.
    reader = importlib.import_module("cbir_daemon.daemon.reading").StateReader(folder)
    reader.open()
    return cast("Answering", reader)
