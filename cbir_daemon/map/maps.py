"""The maps of all media: each is fitted and projected for itself, by one thread for all fits and one for all else.

In: the rooms of each medium's map.  Out: what they do in turn, one fit at a time.  Never here: when a fit is due, how
contents are placed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cbir_daemon.config import Config
from cbir_daemon.errors import NotFoundError
from cbir_daemon.map.projection import Projection
from cbir_daemon.map.refit import Refit, RefitState
from cbir_daemon.records import FitOutcome
from cbir_daemon.store import Store

CHECK_S = 60.0
"""How often it is asked whether there is something to do when nothing changes: the shortest interval and quiet hours
pass too."""


@dataclass(frozen=True, slots=True)
class MediumMap:
    """The map of one medium: how contents are placed on it, and how it is replaced."""

    projection: Projection
    refit: Refit

    @property
    def medium(self) -> str:
        """Name of the medium."""
        return self.refit.medium


class Maps:
    """The maps of the media that are indexed.

    Parameters
    ----------
    store : Store
        Wakes the threads with each change.
    maps : sequence of MediumMap
        In the order in which they take turns.
    """

    def __init__(self, store: Store, maps: Sequence[MediumMap]) -> None:
        self._store = store
        self._maps = {each.medium: each for each in maps}
        self._stopping = threading.Event()

    def __iter__(self) -> Iterator[MediumMap]:
        return iter(self._maps.values())

    def of(self, medium: str) -> MediumMap:
        """Return the map of a medium.

        Raises
        ------
        NotFoundError
            When that medium is not indexed.
        """
        if medium not in self._maps:
            raise NotFoundError(
                f"no medium {medium!r} is indexed", hint=f"the setting `media` has {', '.join(self._maps)}"
            )
        return self._maps[medium]

    def configure(self, config: Config) -> None:
        """Take the settings that may change while they run."""
        for each in self:
            each.projection.configure(config)
            each.refit.configure(config)

    # -- asked from other threads ------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether all is placed that can be, and no fit runs, is asked for or is due."""
        return all(each.projection.idle for each in self) and all(each.refit.idle for each in self)

    @property
    def fitting(self) -> RefitState | None:
        """The state of the running fit, of any medium."""
        return next((each.refit.state for each in self if each.refit.state is not None), None)

    @property
    def worker_running(self) -> bool:
        """Whether a model worker lives at the moment."""
        return any(each.projection.worker_running for each in self)

    def close_if_idle(self, now: float) -> None:
        """End the workers that have been idle for long; `now` is monotonic seconds."""
        for each in self:
            each.projection.close_if_idle(now)

    def stop(self) -> None:
        """Ask both threads to end; a running fit is cancelled."""
        self._stopping.set()
        for each in self:
            each.refit.stop()
            each.projection.stop()

    # -- the threads -------------------------------------------------------------------------------------------------

    def run_fits(self) -> None:
        """Fit whichever map it is due or asked for, until stopped.

        Raises
        ------
        StorageError
            When the index cannot be read or written; call it again later.
        """
        # When the disk refused the end of a run, too, this comes before the next one, which must keep its distance.
        self._store.runs.end_interrupted(time.time(), FitOutcome.FAILED, "its end could not be written")
        self._in_turn([each.refit.step for each in self])

    def run_projections(self) -> None:
        """Place contents that have no position, until stopped.

        Raises
        ------
        StorageError
            When the index cannot be read or written; call it again later.
        """
        self._in_turn([each.projection.step for each in self])

    def _in_turn(self, steps: Sequence[Callable[[], bool]]) -> None:
        while not self._stopping.is_set():
            moment = self._store.moment
            # All of them, each time: a map with much to do keeps no other one waiting.
            done = [step() for step in steps]
            if not any(done):
                self._store.wait_for_change(moment, CHECK_S)
