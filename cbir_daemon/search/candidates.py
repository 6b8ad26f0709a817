"""When inverted lists are made, grow and are saved, and what is used of them in the meantime.

In: rows that grow.  Out: rows worth scoring exactly, or None: score all.  Never here: scores, what a
list is (`inverted_lists`).

One background thread calls `step`; any thread asks.  What the lists do not cover yet is proposed as a whole, so they
may lag as far as they like.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.medium import CoarseViews, JoinViews, Medium
from cbir_daemon.search.code_table import FrozenRows, Rows
from cbir_daemon.search.list_bounds import USUAL, ListBounds

if TYPE_CHECKING:
    from cbir_daemon.search.inverted_lists import Lists

logger = logging.getLogger(__name__)

LISTED_ABOVE = 25_000
"""Living rows from which lists pay: scoring all of them exactly takes as long as asking the lists."""

SAMPLE_ROWS = 25_000
"""Rows that lists are trained with, at most."""

STEP_ROWS = 256
"""Rows added in one step, some 40 ms of work."""

SAVE_SHARE = 0.1
"""Share of the rows by which the saved lists lag before they are saved again; a start adds what is missing."""

EXTRA = "cbir-daemon[index]"


class CandidateSource(Protocol):
    """Generates candidates: the rows that a query is compared with."""

    def rows(self, views: CoarseViews, limit: int, frozen: FrozenRows) -> NDArray[np.int64] | None:
        """Return the living rows that may score highest.

        Parameters
        ----------
        views : CoarseViews
            Of the query.
        limit : int
            Rows that will be used, at most.
        frozen : FrozenRows
            The rows that are searched.

        Returns
        -------
        (k,) ndarray of int64, or None
            Each row once, ascending; None when it may be any.
        """
        ...

    def joined_rows(self, views: Sequence[JoinViews], frozen: FrozenRows) -> list[NDArray[np.int64]] | None:
        """Return for each of several images, looked up among each other, the living rows that may score highest.

        Parameters
        ----------
        views : sequence of JoinViews
            Of each image.
        frozen : FrozenRows
            The rows that are searched; the images are among them.

        Returns
        -------
        list of (k,) ndarray of int64, or None
            For each image, each row once, ascending; None when it may be any.
        """
        ...


class ExactScan:
    """Compares a query with all rows."""

    def rows(self, views: CoarseViews, limit: int, frozen: FrozenRows) -> None:
        """Return None: any row may score highest.

        Parameters
        ----------
        views : CoarseViews
        limit : int
        frozen : FrozenRows
            Not looked at: what is returned holds for every query.
        """

    def joined_rows(self, views: Sequence[JoinViews], frozen: FrozenRows) -> None:
        """Return None: any row may score highest for any of the images.

        Parameters
        ----------
        views : sequence of JoinViews
        frozen : FrozenRows
            Not looked at: what is returned holds for every query.
        """


class ListedCandidates:
    """The lists of one generation of rows.

    Parameters
    ----------
    rows : Rows
    path : Path or None
        Where the lists are saved; None does not save them.
    listed_above : int
        Living rows from which lists are made.
    bounds : ListBounds
        How large the lists are, and how many rows they propose.
    lists : Lists, optional
        Lists of these rows, in use from the start.
    """

    def __init__(
        self,
        rows: Rows,
        path: Path | None = None,
        listed_above: int = LISTED_ABOVE,
        bounds: ListBounds = USUAL,
        lists: Lists | None = None,
    ) -> None:
        self._rows = rows
        self._path = path
        self._listed_above = listed_above
        self._bounds = bounds
        self._lists = lists
        # Whether those in use lie in their file, mapped into memory: a kilobyte an image less of this process's own.
        self._is_mapped = False
        self._growing: Lists | None = None
        self._saved = 0
        self._began_s = 0.0
        self._missing = False

    # -- asked from any thread ---------------------------------------------------------------------------------------

    def rows(self, views: CoarseViews, limit: int, frozen: FrozenRows) -> NDArray[np.int64] | None:
        """Return the living rows that the lists propose, and those they do not cover; None before there are lists.

        Parameters
        ----------
        views : CoarseViews
            Of the query.
        limit : int
            Rows that will be used; twice as many are proposed at least.
        frozen : FrozenRows
            The rows that are searched, of the generation that the lists were made for.

        Returns
        -------
        (k,) ndarray of int64 or None
            Each row once, ascending.
        """
        return None if self._lists is None else _proposed(self._lists, views, limit, frozen)

    def joined_rows(self, views: Sequence[JoinViews], frozen: FrozenRows) -> list[NDArray[np.int64]] | None:
        """Return, for each of several images, the rows that the lists propose and those they do not cover.

        Parameters
        ----------
        views : sequence of JoinViews
            Of each image.
        frozen : FrozenRows
            The rows that are searched, of the generation that the lists were made for.

        Returns
        -------
        list of (k,) ndarray of int64, or None
            For each image, each living row once, ascending; None before there are lists.
        """
        return None if self._lists is None else _proposed_joined(self._lists, views, frozen)

    @property
    def covered(self) -> int:
        """Rows that lists in use cover."""
        return 0 if self._lists is None else self._lists.covered

    # -- the thread --------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Take up the saved lists, when they are those of these rows; they stay in their file until some are added."""
        self._take_saved(mapped=True)

    def _take_saved(self, *, mapped: bool) -> None:
        """Use the saved lists, or none when they are not those of these rows."""
        self._lists = self._saved_lists(mapped=mapped)
        self._is_mapped = mapped and self._lists is not None
        self._saved = 0 if self._lists is None else self._lists.covered

    def _saved_lists(self, *, mapped: bool) -> Lists | None:
        if self._path is None or not self._path.exists() or not self._can_list():
            return None
        try:
            lists = _library().load(
                self._path, self._rows.generation, self._rows.medium.terms, self._bounds, mapped=mapped
            )
        except (OSError, RuntimeError) as error:
            logger.warning("lists are made anew path=%s reason=%s", self._path, error)
            return None
        if lists is None or lists.covered > self._rows.count:
            logger.info("lists are made anew path=%s reason=damaged-or-of-other-codes", self._path)
            return None
        return lists

    def step(self) -> bool:
        """Train, extend or save the lists, one small piece of work; False when nothing is to be done."""
        frozen = self._rows.frozen()
        if self._lists is None and self._growing is None:
            return self._begin(frozen)
        lists = self._growing or self._lists
        assert lists is not None
        behind = len(frozen.ids) - lists.covered
        if behind >= self._bounds.lag_rows or (behind and lists is self._growing):
            if self._is_mapped:
                # Nothing can be added to what lies in a file.
                self._take_saved(mapped=False)
            else:
                self._extend(lists, frozen)
            return True
        if lists is self._growing:
            self._lists, self._growing = lists, None
            logger.info("lists made rows=%d seconds=%.1f", lists.covered, time.monotonic() - self._began_s)
        if lists.covered - self._saved > SAVE_SHARE * lists.covered and self.save():
            self._take_saved(mapped=True)
        return False

    def save(self) -> bool:
        """Write the lists to their file, so that the next start need not make them; False when they were not."""
        lists = self._lists
        if lists is None or self._path is None or not self._rows.in_file or lists.covered == self._saved:
            return False
        # Not tried again at every step when it fails.
        self._saved = lists.covered
        try:
            # A power cut must not take rows that the lists would then name wrongly.
            self._rows.sync()
            lists.save(self._path, self._rows.generation)
        except OSError as error:
            logger.warning("lists not saved path=%s reason=%s", self._path, error)
            return False
        return True

    def _begin(self, frozen: FrozenRows) -> bool:
        """Train lists when there are rows enough."""
        living = np.flatnonzero(frozen.alive)
        if len(living) < self._listed_above or not self._can_list():
            return False
        self._began_s = time.monotonic()
        random = np.random.default_rng(0)
        sample = np.sort(random.choice(living, min(len(living), SAMPLE_ROWS), replace=False))
        self._growing = _library().trained(frozen.take(sample), bounds=self._bounds)
        frozen.release()
        return True

    def _extend(self, lists: Lists, frozen: FrozenRows) -> None:
        end = min(len(frozen.ids), lists.covered + STEP_ROWS)
        rows = np.arange(lists.covered, end)[frozen.alive[lists.covered : end]]
        lists.add(rows, frozen.take(rows), end)
        frozen.release()

    def _can_list(self) -> bool:
        """Return whether lists can be made; says once when not."""
        if self._missing:
            return False
        try:
            _library()
        except ImportError:
            self._missing = True
            logger.info("large collection is searched exactly hint=install-%s", EXTRA)
        return not self._missing


class SavedLists:
    """The lists that the writer of the rows, in another process, has saved last.

    Parameters
    ----------
    path : Path
    medium : Medium
    bounds : ListBounds
        How many rows they propose.
    """

    def __init__(self, path: Path, medium: Medium, bounds: ListBounds = USUAL) -> None:
        self._path = path
        self._medium = medium
        self._bounds = bounds
        self._lists: Lists | None = None
        self._taken: tuple[bytes, int, int] | None = None

    def refresh(self, frozen: FrozenRows) -> None:
        """Take up what was saved since the last time, for these rows and later ones of their generation.

        Parameters
        ----------
        frozen : FrozenRows
        """
        try:
            status = self._path.stat()
            taken = (frozen.generation, status.st_ino, status.st_mtime_ns)
            if taken == self._taken:
                return
            self._lists = _library().load(self._path, frozen.generation, self._medium.terms, self._bounds, mapped=True)
        except FileNotFoundError:
            self._lists = None
        except (OSError, RuntimeError, ImportError) as error:
            logger.warning("lists cannot be used path=%s reason=%s", self._path, error)
            self._lists = None
        else:
            self._taken = taken

    def rows(self, views: CoarseViews, limit: int, frozen: FrozenRows) -> NDArray[np.int64] | None:
        """Return the answer of `ListedCandidates.rows`.

        Parameters
        ----------
        views : CoarseViews
        limit : int
        frozen : FrozenRows

        Returns
        -------
        (k,) ndarray of int64, or None
            Each row once, ascending; None when it may be any.
        """
        return None if self._lists is None else _proposed(self._lists, views, limit, frozen)

    def joined_rows(self, views: Sequence[JoinViews], frozen: FrozenRows) -> list[NDArray[np.int64]] | None:
        """Return the answer of `ListedCandidates.joined_rows`.

        Parameters
        ----------
        views : sequence of JoinViews
        frozen : FrozenRows

        Returns
        -------
        list of (k,) ndarray of int64, or None
            For each image, each row once, ascending; None when it may be any.
        """
        return None if self._lists is None else _proposed_joined(self._lists, views, frozen)


def _proposed(lists: Lists, views: CoarseViews, limit: int, frozen: FrozenRows) -> NDArray[np.int64]:
    # Before asking: what is covered while it is asked is proposed twice, not never.
    covered = lists.covered
    return _with_uncovered(lists.propose(views, limit), covered, frozen)


def _proposed_joined(lists: Lists, views: Sequence[JoinViews], frozen: FrozenRows) -> list[NDArray[np.int64]]:
    covered = lists.covered
    return [_with_uncovered(proposed, covered, frozen) for proposed in lists.propose_joined(views)]


def _with_uncovered(proposed: NDArray[np.int64], covered: int, frozen: FrozenRows) -> NDArray[np.int64]:
    """Return the proposed rows and the rows that lists do not cover yet, without dead ones, each once, ascending."""
    count = len(frozen.ids)
    rows = np.union1d(proposed[proposed < count], np.arange(min(covered, count), count))
    return rows[frozen.alive[rows]]


def _library() -> type[Lists]:
    """Return the class behind the door to faiss, which takes half a second and 40 MB to open and which few need."""
    lists: type[Lists] = importlib.import_module("cbir_daemon.search.inverted_lists").Lists
    return lists
