"""Which methods of the daemon the page may ask, and with which parameters.

In: a name and parameters.  Out: whether they pass.  Never here: what a method answers.

A list of what is allowed, by name: what the daemon learns later, or can do for its own user alone (add an album, write
a backup, read a file by its path), is not asked through the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cbir_daemon.errors import BadRequestError, UnknownMethodError
from cbir_daemon.protocol.messages import Json


@dataclass(frozen=True, slots=True)
class Method:
    """A method that is passed through.

    Parameters
    ----------
    params : frozenset of str
        Names of parameters that may be given.
    is_stream : bool
        Whether there may be several answers: they are sent line by line.
    """

    params: frozenset[str] = frozenset()
    is_stream: bool = False


def _single(*params: str) -> Method:
    return Method(frozenset(params))


def _stream(*params: str) -> Method:
    return Method(frozenset(params), is_stream=True)


METHODS: Mapping[str, Method] = {
    "status": _single(),
    "errors": _stream(),
    "album_list": _single(),
    "scan": _single("path"),
    "query": _single("digest", "limit", "kind", "min_score", "by", "explain"),
    "images": _stream("paths", "digests", "named"),
    "duplicates": _stream(
        *("kind", "album", "across", "unlooked", "folders", "min_score", "max_score", "since", "until"),
        *("order", "reverse", "offset", "limit", "at"),
    ),
    "align": _single("keep", "copy"),
    "dismiss": _single("first", "other"),
    "undismiss": _single("first", "other"),
    "dismiss_all": _single("pairs", "undo"),
    "decisions": _stream(),
    "resolve_runs": _stream(),
    "resolve_tasks": _stream("run"),
    "alerts": _stream("since", "follow"),
    "watch_list": _stream(),
    "map_grid": _single("medium"),
    "map_inside": _stream("run", "polygon"),
    "map_place": _single("digest"),
    "model_show": _single("medium"),
    "model_history": _stream("medium"),
    "model_fit": _stream("medium"),
    "model_cancel": _single("medium"),
}
"""Those of the daemon; `session`, `plan`, `apply` and `undo` are the page's own."""

ACTS: Mapping[str, frozenset[str]] = {
    "plan": frozenset({"decisions", "unlooked"}),
    "apply": frozenset({"plan"}),
    "undo": frozenset({"run", "tasks"}),
}
"""Requests of the page that the child answers, as they may touch files, with their parameters."""

LONG = ("model_fit",)
"""Streams that take minutes; those with `follow` have no end."""

QUERY = "query"
IMAGE_PARAMS = frozenset({"limit", "kind", "min_score", "by", "explain"})
"""Parameters of a query whose image is the body; they stand in the address."""


def method_of(name: str) -> Method:
    """Return a method by its name.

    Raises
    ------
    UnknownMethodError
        When the page may not ask it.
    """
    method = METHODS.get(name)
    if method is None:
        raise UnknownMethodError(f"the page has no method {name!r}")
    return method


def checked(params: object, allowed: frozenset[str]) -> Json:
    """Return parameters that may be passed on.

    Parameters
    ----------
    params : object
        The body of a request, as JSON.
    allowed : frozenset of str
        Names.

    Raises
    ------
    BadRequestError
        When it is no object, or has other parameters.
    """
    if not isinstance(params, dict):
        raise BadRequestError("the body must be a JSON object")
    strangers = sorted(params.keys() - allowed)
    if strangers:
        raise BadRequestError(f"unknown parameter {strangers[0]!r}")
    return {name: value for name, value in params.items() if value is not None}
