"""The groups of duplicates as a person goes through them: filtered, sorted, a window at a time.

In: the groups of an index, what is asked for.  Out: a list, and what it sums up to.  Never here: what a group is.

To group an index of 10 000 groups takes a second, and a person scrolls: the lists that were asked for last are kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

from cbir_daemon.duplicates import Group, Groups
from cbir_daemon.kinds import Kind, rank
from cbir_daemon.store import Image, Store

KEPT_LISTS: Final = 6
MOST_PAIRS: Final = 100
"""Pairs of folders that are named: more than a person looks through."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which groups are asked for, and in which order.

    Parameters
    ----------
    kind : Kind or None
        Only groups of this kind; None for those that are listed.
    below : bytes or None
        Only groups with an image below this folder.
    across : bool
        Only groups with images of more than one album.
    unlooked : bool
        Whether copies may go, too, that the vectors alone call so.
    folders : tuple of bytes
        Two folders: only groups with an image in each, not counting those below it.  Empty for all.
    min_score, max_score : float
        Bounds of the score of a group's least alike image.
    since, until : str
        Bounds of a group's day, as the beginning of an ISO 8601 date; empty for none.
    order : str
        One of `ORDERS`.
    is_reversed : bool
    """

    kind: Kind | None = None
    below: bytes | None = None
    across: bool = False
    unlooked: bool = False
    folders: tuple[bytes, ...] = ()
    min_score: float = 0.0
    max_score: float = 1.0
    since: str = ""
    until: str = ""
    order: str = "space"
    is_reversed: bool = False


@dataclass(frozen=True, slots=True)
class FolderPair:
    """Two folders that have copies of each other, how many groups do, and what is won there."""

    folders: tuple[bytes, bytes]
    groups: int
    saves_bytes: int


@dataclass(frozen=True, slots=True)
class Spare:
    """How many files may go, and what they take; a file that is in a group of each kind counts once."""

    files: int
    saves_bytes: int


@dataclass(frozen=True)
class Listed:
    """A list of groups.

    Parameters
    ----------
    clock : int
        Of the index when it was made.
    groups : tuple of Group
    """

    clock: int
    groups: tuple[Group, ...]

    @cached_property
    def spare(self) -> Spare:
        """What may go of these groups."""
        sizes = {
            member.image.path: member.image.content.size_bytes
            for group in self.groups
            for member in group.members
            if not member.keep
        }
        return Spare(len(sizes), sum(sizes.values()))

    @cached_property
    def folder_pairs(self) -> list[FolderPair]:
        """The pairs of folders that have most groups, of these groups."""
        found: dict[tuple[bytes, bytes], list[int]] = {}
        for group in self.groups:
            for pair in _pairs_of(group):
                counts = found.setdefault(pair, [0, 0])
                counts[0] += 1
                counts[1] += group.saves_bytes
        most = sorted(found.items(), key=lambda entry: (-entry[1][0], entry[0]))[:MOST_PAIRS]
        return [FolderPair(pair, groups, saves) for pair, (groups, saves) in most]


class Queue:
    """Makes lists of groups, and keeps the last ones.  Thread-safe.

    Parameters
    ----------
    store : Store
    groups : Groups
    kept : int
        Lists that are kept.
    """

    def __init__(self, store: Store, groups: Groups, kept: int = KEPT_LISTS) -> None:
        self._store = store
        self._groups = groups
        self._most_kept = kept
        # Guards what follows; held while a list is made, so that two who ask at once have it made once.
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int, Selection], Listed] = OrderedDict()

    def listed(self, selection: Selection, at: int | None = None) -> Listed:
        """Return the groups that are asked for.

        Parameters
        ----------
        selection : Selection
        at : int, optional
            Clock of a list that was given before: as long as that is kept, it is given again, so that what a person
            scrolls through does not move.
        """
        revision = self._groups.revision
        with self._lock:
            clock = self._store.clock
            for key in ((clock if at is None else at, revision, selection), (clock, revision, selection)):
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
            listed = Listed(clock, tuple(self._made(selection)))
            self._kept[clock, revision, selection] = listed
            while len(self._kept) > self._most_kept:
                self._kept.popitem(last=False)
            return listed

    def _made(self, selection: Selection) -> list[Group]:
        across, unlooked = selection.across, selection.unlooked
        groups = self._groups.found(selection.kind, selection.below, across=across, unlooked=unlooked)
        kept = [group for group in groups if _passes(group, selection)]
        # They come by the space that is won: what is equal stays in that order.
        return sorted(kept, key=ORDERS[selection.order], reverse=selection.is_reversed)


def _passes(group: Group, selection: Selection) -> bool:
    if selection.folders and not _lies_in(group, selection.folders):
        return False
    if (selection.since or selection.until) and not _is_between(day_of(group), selection):
        return False
    return selection.min_score <= least_score(group) <= selection.max_score


def _is_between(day: str, selection: Selection) -> bool:
    since, until = selection.since, selection.until
    # By as much of a date as is given: all days of 2026-01 begin with it.
    return since <= day[: len(since)] and (not until or day[: len(until)] <= until)


def _lies_in(group: Group, folders: Sequence[bytes]) -> bool:
    """Whether each folder has an image of its own: the same folder twice has two."""
    present = [folder_of(member.image) for member in group.members]
    return all(present.count(folder) >= list(folders).count(folder) for folder in folders)


def _pairs_of(group: Group) -> set[tuple[bytes, bytes]]:
    """Return the folders of the image to keep and of each other one, in order."""
    kept = folder_of(group.members[0].image)
    others = {folder_of(member.image) for member in group.members[1:]}
    return {(min(kept, folder), max(kept, folder)) for folder in others}


def folder_of(image: Image) -> bytes:
    """Return the folder that a file lies in."""
    return image.path.rpartition(b"/")[0]


def least_score(group: Group) -> float:
    """Return the score of the image that is least like the one to keep."""
    return min(member.score for member in group.members)


def day_of(group: Group) -> str:
    """Return the day of a group's newest image, as ISO 8601: when a camera took it, else when its file was written."""
    return max(
        (member.image.content.taken or _written(member.image.state.mtime_ns))[: len("2026-01-31")]
        for member in group.members
    )


def _written(mtime_ns: int) -> str:
    return datetime.fromtimestamp(mtime_ns / 1e9, UTC).isoformat()


def _days_before_today(group: Group) -> int:
    """Return a number that is smaller for a newer group."""
    return -datetime.fromisoformat(day_of(group)).toordinal()


ORDERS: Final[Mapping[str, Callable[[Group], Any]]] = {
    "space": lambda group: -group.saves_bytes,
    "kind": lambda group: rank(group.kind),
    "folders": lambda group: sorted(_pairs_of(group)),
    "score": lambda group: -least_score(group),
    "date": _days_before_today,
}
"""Word -> what groups are sorted by: most space, strongest kind, folders by name, surest, newest first."""
