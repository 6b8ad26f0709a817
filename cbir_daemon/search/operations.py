"""The operations of a search, by name: in the daemon's own process, or in a search process.

In: the searches of a snapshot, and arguments.  Out: what they return.  Never here: where it is done, and in
which order.

The annotations are the protocol between the two processes: `wire` reads arguments and results by them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Judgement, Trace, Window
from cbir_daemon.medium import Fine, SecondLook, Seen, Sight
from cbir_daemon.search.parts import copies_in_parts, copies_in_turned_parts
from cbir_daemon.search.search import Found, Search

Picture = NDArray[np.uint8]
Vector = NDArray[np.uint8]
Traces = tuple[Trace, ...]


def _copies(search: Search, vector: bytes, without: int | None) -> list[Found]:
    """Call `Search.copies` and return its answer."""
    return search.copies(vector, without=without)


def _joined(search: Search, contents: list[tuple[int, bytes]], known: list[frozenset[int]]) -> list[list[Found]]:
    """Call `Search.joined` and return its answer."""
    return search.joined(contents, known)


def _ranked(
    search: Search, vector: bytes, position: NDArray[np.float32] | None, limit: int, look: bytes | None
) -> list[Found]:
    """Call `Search.search` and return its answer."""
    return search.search(vector, position, limit, look)


def _judgements(search: Search, vector: bytes, content_ids: list[int]) -> dict[int, Judgement]:
    """Call `Search.judgements` and return its answer."""
    return search.judgements(vector, content_ids)


def _in_parts(search: Search, picture: Picture) -> list[Found]:
    """Call `parts.copies_in_parts` and return its answer."""
    return copies_in_parts(search, picture)


def _in_turned_parts(search: Search, picture: Picture) -> list[Found]:
    """Call `parts.copies_in_turned_parts` and return its answer."""
    return copies_in_turned_parts(search, picture)


def _seen(
    search: Search,
    query: Vector,
    stored: Vector,
    query_picture: Picture,
    stored_picture: Picture,
    affine: tuple[float, ...],
    invert: bool,
) -> Seen:
    """Call `SecondLook.seen` and return its answer."""
    return _second_look_of(search).seen(query, stored, query_picture, stored_picture, affine, invert=invert)


def _seen_in_place(
    search: Search, query_picture: Picture, stored_picture: Picture, affine: NDArray[np.float64]
) -> tuple[Seen, float]:
    """Call `SecondLook.seen_in_place` and return its answer."""
    return _second_look_of(search).seen_in_place(query_picture, stored_picture, affine)


def _sight(search: Search, query: Vector, stored: Vector, query_picture: Picture, stored_picture: Picture) -> Sight:
    """Call `SecondLook.sight` and return its answer."""
    return _second_look_of(search).sight(query, stored, query_picture, stored_picture)


def _homography(
    search: Search, query: Vector, stored: Vector, query_picture: Picture, stored_picture: Picture
) -> NDArray[np.float64] | None:
    """Call `SecondLook.homography` and return its answer."""
    return _second_look_of(search).homography(query, stored, query_picture, stored_picture)


def _busiest(search: Search, picture: Picture, width: float, height: float) -> Window:
    """Call `SecondLook.busiest` and return its answer."""
    return _second_look_of(search).busiest(picture, width, height)


def _detail_traces(search: Search, query: Fine, stored: Fine) -> tuple[Traces, Traces]:
    """Call `SecondLook.detail_traces` and return its answer."""
    return _second_look_of(search).detail_traces(query, stored)


def _sharpness(search: Search, picture: Picture) -> float:
    """Call `SecondLook.sharpness` and return its answer."""
    return _second_look_of(search).sharpness(picture)


def _second_look_of(search: Search) -> SecondLook:
    """Return the second look of a medium that has one."""
    second_look = search.medium.second_look
    assert second_look is not None
    return second_look


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that a search process does.

    Parameters
    ----------
    do : callable
        Takes a `Search` and the arguments.
    reads : frozenset of str
        The parts of the snapshot that it reads: "rows", "map", "looks".  A process is brought up to date on these.
    arguments, result : type
        As annotated.
    """

    do: Callable[..., Any]
    reads: frozenset[str]
    arguments: Any
    result: Any


def _operation(do: Callable[..., Any], *reads: str) -> Operation:
    _, *arguments, result = get_type_hints(do).values()
    return Operation(do, frozenset(reads), tuple[tuple(arguments)], result)  # type: ignore[misc]  # a type made here


OPERATIONS: Mapping[str, Operation] = {
    operation.do.__name__.removeprefix("_"): operation
    for operation in (
        _operation(_ranked, "rows", "map", "looks"),
        *(_operation(do, "rows") for do in (_copies, _joined, _judgements, _in_parts, _in_turned_parts)),
        *(_operation(do) for do in (_seen, _seen_in_place, _sight, _homography)),
        *(_operation(do) for do in (_busiest, _detail_traces, _sharpness)),
    )
}
