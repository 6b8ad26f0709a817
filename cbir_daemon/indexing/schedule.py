"""When each album is gone through next, and whether whole or only where something changed.

In: what walks and looks found and when they began, the settings, the clock.  Out: which album is due for what, and in
how many seconds.  Never here: the disk, the store, single files (`retries` has those whose disk failed).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cbir_daemon.config.settings import WatchConfig
from cbir_daemon.watching.events import Unwatched
from cbir_daemon.watching.walk import Folder, Found

WALK_SHARE = 100
"""A polled album is walked whole, which finds what was written in place, after so many times what a walk takes, and at
least every `rescan_s`; in between only its folders are looked at."""


class Due(StrEnum):
    """How an album is to be gone through."""

    WALK = "walk"
    """Every folder and file."""
    LOOK = "look"
    """The folders that changed since the last time."""


@dataclass(slots=True)
class _Plan:
    """When an album is gone through next, and what is remembered of it until then.

    Parameters
    ----------
    walk_at, last_at : float
        Seconds of the clock at the next walk, and at the last walk or look.
    polled : bool
        Whether its folders are looked at between walks.
    folders : mapping
        Relative path -> what the last walk or look knew of the folder.
    out_of_reach : int
        Files on a disk inside the album that is not mounted.
    """

    walk_at: float = 0.0
    last_at: float = 0.0
    polled: bool = False
    folders: Mapping[bytes, Folder] = field(default_factory=dict)
    out_of_reach: int = 0


class Schedule:
    """The walks and looks to come.

    Parameters
    ----------
    watch : WatchConfig
    clock : callable, optional
        Monotonic seconds; injected by tests.

    Notes
    -----
    The ingest thread writes it; `set_unwatched`, `unwatched` and `out_of_reach` may be called from any thread.
    """

    def __init__(self, watch: WatchConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._watch = watch
        self._clock = clock
        self._plans: dict[int, _Plan] = {}
        self._unwatched: dict[int, Unwatched] = {}

    def configure(self, watch: WatchConfig) -> None:
        """Take the settings that may change while it runs; a walk that is planned keeps its time."""
        self._watch = watch

    def set_unwatched(self, album_id: int, unwatched: Unwatched) -> bool:
        """Note from which folders of a watched album no events come, and return whether they are other ones now.

        Parameters
        ----------
        album_id : int
        unwatched : Unwatched
            All such folders; it replaces what was noted before.
        """
        changed = self.unwatched(album_id) != unwatched
        self._unwatched[album_id] = unwatched
        return changed

    def unwatched(self, album_id: int) -> Unwatched:
        """Return from which folders of an album no events come though it is watched."""
        return self._unwatched.get(album_id, Unwatched())

    def out_of_reach(self, album_id: int) -> int:
        """Return how many files of an album are on a disk inside it that is not mounted."""
        plan = self._plans.get(album_id)
        return 0 if plan is None else plan.out_of_reach

    def now(self) -> float:
        """Return the seconds of the clock, from which `began_at` is taken."""
        return self._clock()

    def retain(self, album_ids: Collection[int]) -> None:
        """Forget all albums but these: one that was removed would be due for ever."""
        self._plans = {album_id: plan for album_id, plan in self._plans.items() if album_id in album_ids}

    def has(self, album_id: int) -> bool:
        """Whether an album was gone through since the start."""
        return album_id in self._plans

    def due(self, album_id: int) -> Due | None:
        """Return the work that is due for an album now; a walk for a new one, None for nothing."""
        plan, now = self._plans.get(album_id), self._clock()
        if plan is None or now >= plan.walk_at:
            return Due.WALK
        return Due.LOOK if now >= self._look_at(album_id, plan) else None

    def due_in_s(self) -> float:
        """Return the seconds until the next walk or look; `rescan_s` when no album is known."""
        due = [min(plan.walk_at, self._look_at(album_id, plan)) for album_id, plan in self._plans.items()]
        now = self._clock()
        return max(0.0, min(due, default=self._watch.rescan_s + now) - now)

    def _look_at(self, album_id: int, plan: _Plan) -> float:
        """Return when an album's folders are looked at next; never when all of them are watched."""
        return plan.last_at + self._watch.poll_s if plan.polled or self.unwatched(album_id) else math.inf

    def is_polled(self, album_id: int) -> bool:
        """Whether all folders of an album are looked at between walks, not only the unwatched ones."""
        plan = self._plans.get(album_id)
        return plan is not None and plan.polled

    def folders(self, album_id: int) -> Mapping[bytes, Folder]:
        """Return the remembered state of an album's folders for the next look; empty when there is none."""
        plan = self._plans.get(album_id)
        return {} if plan is None else plan.folders

    def set_found(self, album_id: int, found: Found, began_at: float, *, polled: bool) -> None:
        """Note that an album was walked or looked through, and plan what comes next.

        Parameters
        ----------
        album_id : int
        found : Found
            A walk of the whole album, or a look at part of it: a look leaves the time of the next walk as it is.
        began_at : float
            Seconds of the clock.
        polled : bool
            Whether no events come from the album.
        """
        plan = self._plans.setdefault(album_id, _Plan())
        plan.last_at = began_at
        plan.polled = polled
        plan.folders = found.folders if polled or self.unwatched(album_id) else {}
        if found.listed is None:
            plan.walk_at = began_at + walk_pause_s(self._watch, self._clock() - began_at, polled=polled)

    def set_lost(self, album_id: int, began_at: float) -> None:
        """Note that an album looks like a lost disk: it is walked soon, because it may be back at any moment.

        Parameters
        ----------
        album_id : int
        began_at : float
            Monotonic time in seconds at which the walk began that found it so.
        """
        self._plans[album_id] = _Plan(began_at + min(self._watch.poll_s, self._watch.rescan_s), began_at)

    def set_out_of_reach(self, album_id: int, count: int) -> bool:
        """Note how many files are on a disk that is not mounted, and return whether these are the first.

        Parameters
        ----------
        album_id : int
        count : int
            Files of the album on disks inside it.
        """
        plan = self._plans[album_id]
        are_first = bool(count) and not plan.out_of_reach
        plan.out_of_reach = count
        return are_first


def walk_pause_s(watch: WatchConfig, took_s: float, *, polled: bool) -> float:
    """Return the seconds from the beginning of a walk to that of the next.

    Parameters
    ----------
    watch : WatchConfig
    took_s : float
        Seconds that the walk took.
    polled : bool
        Whether walks alone find what is written in place: then they come as often as one hundredth of the time allows.
    """
    return min(watch.rescan_s, max(watch.poll_s, WALK_SHARE * took_s)) if polled else watch.rescan_s
