"""The kinds of matches, and what holds of each.

In: nothing.  Out: `Kind`, the table `KINDS`, and what is asked of it.  Never here: finding matches; numpy, for the
client reads this module too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a match was found, strongest first."""

    EXACT = "exact"
    COPY = "copy"
    SHOT = "shot"
    """Another shot of the same scene."""
    SIMILAR = "similar"


@dataclass(frozen=True, slots=True)
class KindFacts:
    """The facts of a kind, which hold of every match of it.

    Rooms ask for facts; only those that find matches name kinds.

    Parameters
    ----------
    origin : str
        Where a query is from, by a match at `{path}`; `{edit}` is what was done to the match's image.
    alert : str
        What an alert says of a new file before the path of a match of `{score}`; empty for a kind that raises none.
    has_same_bytes : bool
        Whether the two files do: there is nothing to compare and nothing was done to either.
    shows_same_exposure : bool
        Whether both show one exposure: the one may stand for the other.
    is_paired : bool
        Whether it is found by comparing vectors, then told by a look at the files where that can be, and written as a
        pair.
    is_by_position : bool
        Whether it is found by position on the map.
    is_grouped : bool
        Whether `cbir duplicates` has groups of it.
    is_listed : bool
        Whether it has them without being asked for this kind.
    may_go : bool
        Whether one image of a group is kept and `cbir resolve` may take the others.
    raises_alerts : bool
        Whether a new file does that has such a match.
    """

    origin: str = "{path}"
    alert: str = ""
    has_same_bytes: bool = False
    shows_same_exposure: bool = False
    is_paired: bool = False
    is_by_position: bool = False
    is_grouped: bool = False
    is_listed: bool = False
    may_go: bool = False
    raises_alerts: bool = False


KINDS: Mapping[str, KindFacts] = {
    Kind.EXACT: KindFacts(
        "same bytes as {path}",
        "has the same bytes as",
        has_same_bytes=True,
        shows_same_exposure=True,
        is_grouped=True,
        is_listed=True,
        may_go=True,
        raises_alerts=True,
    ),
    Kind.COPY: KindFacts(
        "{edit}",
        "is a copy ({score:.3f}) of",
        shows_same_exposure=True,
        is_paired=True,
        is_grouped=True,
        is_listed=True,
        may_go=True,
        raises_alerts=True,
    ),
    Kind.SHOT: KindFacts("another shot of the scene of {path}", is_paired=True, is_grouped=True),
    Kind.SIMILAR: KindFacts(is_by_position=True),
}
"""Of each kind of match.  The contract's tests and the CHECKs of the schema go by it."""

_UNKNOWN = KindFacts()
_RANKS: Mapping[str, int] = {kind: place for place, kind in enumerate(Kind)}


def facts_of(kind: str) -> KindFacts:
    """Return the facts of a kind; of one that only another release knows, none hold."""
    return KINDS.get(kind, _UNKNOWN)


def kinds_that(holds: Callable[[KindFacts], bool]) -> tuple[Kind, ...]:
    """Return the kinds of which something holds, strongest first."""
    return tuple(kind for kind in Kind if holds(KINDS[kind]))


def rank(kind: str) -> int:
    """Return the place of a kind among all, 0 for the strongest; one that is not known comes last."""
    return _RANKS.get(kind, len(_RANKS))


def duplicate_kind(*, same_bytes: bool) -> Kind:
    """Return the kind of a file that may go for one that stays."""
    return Kind.EXACT if same_bytes else Kind.COPY


class AlertKind(StrEnum):
    """The subject of an alert: a kind of match, an album, or a file that is damaged."""

    EXACT = Kind.EXACT.value
    COPY = Kind.COPY.value
    MISSING = "missing"
    """An album went missing."""
    BACK = "back"
    """An album that was missing is back."""
    DAMAGED = "damaged"
    """The bytes of a file changed and its time did not."""


ABOUT_ALBUMS = frozenset({AlertKind.MISSING, AlertKind.BACK})
"""Alerts whose path is that of an album."""
