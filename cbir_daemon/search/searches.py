"""The searches of a snapshot for callers of one urgency, each done wherever there is a place for it.

In: queries.  Out: what `Search`, `parts` and the medium's second look return.  Never here: how it is found; where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Judgement, Trace, Window
from cbir_daemon.medium import Fine, SecondLook, Seen, Sight
from cbir_daemon.search.operations import OPERATIONS
from cbir_daemon.search.processes import Processes
from cbir_daemon.search.search import Found, Search
from cbir_daemon.search.turns import Urgency

Picture = NDArray[np.uint8]
Vector = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Searches:
    """The questions to a snapshot.

    Parameters
    ----------
    search : Search
    urgency : Urgency
        Of those who ask.
    processes : Processes or None
        Knows the places; without them all is done in the caller's thread, at once.
    """

    search: Search
    urgency: Urgency
    processes: Processes | None

    def ask(self, name: str, *arguments: object) -> Any:  # noqa: ANN401 -- see `OPERATIONS`
        """Return the result of an operation.

        Parameters
        ----------
        name : str
            Key of `OPERATIONS`.
        *arguments : object

        Raises
        ------
        StorageError, ChildError, UnavailableError
            As `Processes.run`.
        """
        if self.processes is None:
            return OPERATIONS[name].do(self.search, *arguments)
        return self.processes.run(self.urgency, self.search, name, *arguments)

    def copies(self, vector: bytes, *, without: int | None = None) -> list[Found]:
        """Return the answer of `Search.copies`.

        Parameters
        ----------
        vector : bytes
        without : int, optional
        """
        return cast(list[Found], self.ask("copies", vector, without))

    def joined(self, contents: Sequence[tuple[int, bytes]], known: Sequence[Iterable[int]]) -> list[list[Found]]:
        """Return the answer of `Search.joined`.

        Parameters
        ----------
        contents : sequence of (content id, vector)
        known : sequence of iterable of int
        """
        return cast(list[list[Found]], self.ask("joined", list(contents), [frozenset(ids) for ids in known]))

    def ranked(
        self, vector: bytes, position: NDArray[np.float32] | None, limit: int, look: bytes | None
    ) -> list[Found]:
        """Return the answer of `Search.search`.

        Parameters
        ----------
        vector : bytes
        position : (n_components,) ndarray of float32 or None
        limit : int
        look : bytes or None
        """
        return cast(list[Found], self.ask("ranked", vector, position, limit, look))

    def judgements(self, vector: bytes, content_ids: Sequence[int]) -> dict[int, Judgement]:
        """Return the answer of `Search.judgements`.

        Parameters
        ----------
        vector : bytes
        content_ids : sequence of int
        """
        return cast(dict[int, Judgement], self.ask("judgements", vector, list(content_ids)))

    def in_parts(self, picture: Picture) -> list[Found]:
        """Return the answer of `parts.copies_in_parts`.

        Parameters
        ----------
        picture : (height, width) ndarray of uint8
        """
        return cast(list[Found], self.ask("in_parts", picture))

    def in_turned_parts(self, picture: Picture) -> list[Found]:
        """Return the answer of `parts.copies_in_turned_parts`.

        Parameters
        ----------
        picture : (height, width) ndarray of uint8
        """
        return cast(list[Found], self.ask("in_turned_parts", picture))


@dataclass(frozen=True, slots=True)
class PlacedLook:
    """A second look that is taken wherever there is a place for it; a `SecondLook`.

    Parameters
    ----------
    second_look : SecondLook
    ask : callable
        `Searches.ask` of any snapshot whose medium has that second look.
    """

    second_look: SecondLook
    ask: Callable[..., Any]

    @property
    def version(self) -> int:
        """That of the second look."""
        return self.second_look.version

    @property
    def side_px(self) -> int:
        """Longer side, at most, at which two files are read."""
        return self.second_look.side_px

    @property
    def detail_side_px(self) -> int:
        """Longer side, at most, of the part that `detail_traces` compares."""
        return self.second_look.detail_side_px

    def seen(
        self,
        query: Vector,
        stored: Vector,
        query_picture: Picture,
        stored_picture: Picture,
        affine: Sequence[float] = (),
        *,
        invert: bool = False,
    ) -> Seen:
        """Return the answer of `SecondLook.seen`."""
        return cast(Seen, self.ask("seen", query, stored, query_picture, stored_picture, tuple(affine), invert))

    def seen_in_place(
        self, query_picture: Picture, stored_picture: Picture, affine: NDArray[np.float64]
    ) -> tuple[Seen, float]:
        """Return the answer of `SecondLook.seen_in_place`."""
        return cast(tuple[Seen, float], self.ask("seen_in_place", query_picture, stored_picture, affine))

    def sight(self, query: Vector, stored: Vector, query_picture: Picture, stored_picture: Picture) -> Sight:
        """Return the answer of `SecondLook.sight`."""
        return cast(Sight, self.ask("sight", query, stored, query_picture, stored_picture))

    def homography(
        self, query: Vector, stored: Vector, query_picture: Picture, stored_picture: Picture
    ) -> NDArray[np.float64] | None:
        """Return the answer of `SecondLook.homography`.

        Returns
        -------
        (3, 3) ndarray of float64 or None
        """
        return cast(NDArray[np.float64] | None, self.ask("homography", query, stored, query_picture, stored_picture))

    def busiest(self, picture: Picture, width: float, height: float, /) -> Window:
        """Return the answer of `SecondLook.busiest`."""
        return cast(Window, self.ask("busiest", picture, width, height))

    def detail_traces(self, query: Fine, stored: Fine, /) -> tuple[tuple[Trace, ...], tuple[Trace, ...]]:
        """Return the answer of `SecondLook.detail_traces`."""
        return cast(tuple[tuple[Trace, ...], tuple[Trace, ...]], self.ask("detail_traces", query, stored))

    def sharpness(self, picture: Picture, /) -> float:
        """Return the answer of `SecondLook.sharpness`."""
        return cast(float, self.ask("sharpness", picture))
