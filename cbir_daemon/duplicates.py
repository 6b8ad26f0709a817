"""Which images are the same picture: groups, the one to keep, and the background lookup of copies.

In: pairs, images.  Out: groups; pairs and alerts committed.  Never here: how two vectors are compared, who is told.

`Pairing` looks every new content up once, at low priority, and commits what it found together with the alerts that
follow from it; it goes on where it was after a restart.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cbir_daemon.records import Kind
from cbir_daemon.scan import state_at
from cbir_daemon.searching import Found, Searcher
from cbir_daemon.store import AlertMatch, Image, NewAlert, Pair, Store

logger = logging.getLogger(__name__)

BATCH_CONTENTS = 32
"""Contents looked up and committed together: a kill costs at most these once more."""

BATCH_ALERTS = 256
NICENESS = 10
POLL_S = 60.0


@dataclass(frozen=True, slots=True)
class Member:
    """An image in a group; `why` says why it is the one to keep, or what it is to that one."""

    image: Image
    keep: bool
    why: str


@dataclass(frozen=True, slots=True)
class Group:
    """Images that show the same picture, the one to keep first."""

    kind: Kind
    members: tuple[Member, ...]


def exact_groups(images: Iterable[Image]) -> list[Group]:
    """Return the groups of files with the same bytes.

    Names of one inode are one image: a hard link takes no space.
    """
    by_content: dict[int, list[Image]] = {}
    for image in images:
        by_content.setdefault(image.content.id, []).append(image)
    groups = [_group(Kind.EXACT, one_inode(same)) for same in by_content.values()]
    return [group for group in groups if len(group.members) > 1]


def copy_groups(pairs: Sequence[Pair], images: Mapping[int, Sequence[Image]]) -> list[Group]:
    """Return groups of contents that were verified to be copies.

    Every member is a verified copy of the one that is kept: A like B and B like C do not bring A and C together.

    Parameters
    ----------
    pairs : sequence of Pair
    images : mapping
        Content id -> its images.
    """
    partners: dict[int, set[int]] = {}
    for pair in pairs:
        if images.get(pair.content_id) and images.get(pair.other_id):
            partners.setdefault(pair.content_id, set()).add(pair.other_id)
            partners.setdefault(pair.other_id, set()).add(pair.content_id)
    groups: list[Group] = []
    left = set(partners)
    for keeper in sorted(partners, key=lambda content_id: _rank(images[content_id][0])):
        if keeper not in left:
            continue
        members = sorted({keeper} | (partners[keeper] & left), key=lambda one: (one != keeper, _rank(images[one][0])))
        left -= set(members)
        if len(members) > 1:
            groups.append(_group(Kind.COPY, [image for one in members for image in one_inode(images[one])]))
    return groups


def one_inode(images: Iterable[Image]) -> list[Image]:
    """Return one image for each file on disk, whatever number of names it has; the first path stands for it."""
    by_inode: dict[tuple[int, int, int], Image] = {}
    for image in images:
        by_inode.setdefault((image.state.inode, image.state.mtime_ns, image.state.size_bytes), image)
    return list(by_inode.values())


def _rank(image: Image) -> tuple[int, int, int, bytes]:
    """Sort key of the one to keep: most pixels, then most bytes, then oldest, then by path."""
    content = image.content
    return -content.width_px * content.height_px, -content.size_bytes, image.state.mtime_ns, image.path


def _group(kind: Kind, images: Sequence[Image]) -> Group:
    keeper, *others = sorted(images, key=_rank)
    members = [Member(keeper, keep=True, why=_why_kept(keeper, others))]
    members += [Member(other, keep=False, why=_why_not(other, keeper)) for other in others]
    return Group(kind, tuple(members))


def _why_kept(keeper: Image, others: Sequence[Image]) -> str:
    best = max((other.content.width_px * other.content.height_px for other in others), default=0)
    if keeper.content.width_px * keeper.content.height_px > best:
        return "has the most pixels"
    if keeper.content.size_bytes > max((other.content.size_bytes for other in others), default=0):
        return "has as many pixels and the most bytes"
    if keeper.state.mtime_ns < min((other.state.mtime_ns for other in others), default=0):
        return "is the oldest of equals"
    return "comes first by name among equals"


def _why_not(other: Image, keeper: Image) -> str:
    if other.content.id == keeper.content.id:
        return "has the same bytes as the one kept"
    ours, theirs = other.content, keeper.content
    if ours.width_px * ours.height_px < theirs.width_px * theirs.height_px:
        return f"is smaller: {ours.width_px}x{ours.height_px} against {theirs.width_px}x{theirs.height_px} pixels"
    return "is a copy of the one kept"


class Pairing:
    """Looks up the copies of each new content, and decides which new files raise an alert.

    Parameters
    ----------
    store : Store
    searcher : Searcher
    wanted : callable
        Takes an image and its matches and says which alert is wanted, if any (`alerts.Policy`).
    written : callable
        Called after a commit that wrote alerts.
    crowded : callable
        Whether so much is being indexed that looking up copies must wait.
    """

    def __init__(
        self,
        store: Store,
        searcher: Searcher,
        wanted: Callable[[Image, Sequence[AlertMatch]], NewAlert | None],
        written: Callable[[], None],
        crowded: Callable[[], bool],
    ) -> None:
        self._store = store
        self._searcher = searcher
        self._wanted = wanted
        self._written = written
        self._crowded = crowded
        self._stopping = threading.Event()

    @property
    def idle(self) -> bool:
        """Whether every content is looked up and every new file decided upon."""
        counts = self._store.counts()
        return not (counts.unmatched or counts.alerts_due)

    def stop(self) -> None:
        """Ask the thread to end after the content it is at."""
        self._stopping.set()

    def run(self) -> None:
        """Work through what is new until stopped."""
        # On Linux niceness belongs to the thread: queries and indexing go first.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while not self._stopping.is_set():
            moment = self._store.moment
            if self._crowded() or not (self._look_up() | self._alert()):
                self._store.wait_for_change(moment, POLL_S)

    def _look_up(self) -> bool:
        """Find the pairs of the next contents; False when there were none."""
        contents = self._store.unmatched(BATCH_CONTENTS)
        pairs: list[Pair] = []
        done: list[int] = []
        for content_id, vector in contents:
            if self._stopping.is_set():
                break
            found = self._searcher.copies(vector, without=content_id)
            pairs += [_pair(content_id, one) for one in found]
            done.append(content_id)
        if done:
            self._store.put_matched(done, pairs)
            logger.debug("looked up contents=%d pairs=%d", len(done), len(pairs))
        return bool(done)

    def _alert(self) -> bool:
        """Decide on the next new files; False when there were none."""
        images = self._store.images_due(BATCH_ALERTS)
        if not images:
            return False
        alerts = [alert for image in images if (alert := self._wanted(image, self._matches(image))) is not None]
        self._store.put_alerts([image.file_id for image in images], alerts, time.time())
        if alerts:
            self._written()
        return True

    def _matches(self, image: Image) -> list[AlertMatch]:
        """Return what is on disk besides `image` and shows the same, exact first."""
        content_id = image.content.id
        scores = {
            pair.other_id if pair.content_id == content_id else pair.content_id: pair.score
            for pair in self._store.pairs(content_id)
        }
        same = [other for other in self._store.images([content_id]) if not _one_file(other, image)]
        matches = [AlertMatch(other.path, Kind.EXACT, 1.0) for other in same if _is_there(other)]
        matches += [
            AlertMatch(other.path, Kind.COPY, scores[other.content.id])
            for other in self._store.images(list(scores))
            if _is_there(other)
        ]
        return sorted(matches, key=lambda match: (match.kind != Kind.EXACT, -match.score, match.path))


def _pair(content_id: int, found: Found) -> Pair:
    first, other = sorted((content_id, found.content_id))
    return Pair(first, other, found.score)


def _one_file(image: Image, other: Image) -> bool:
    """Whether two rows are one file: the same row, or a hard link to it."""
    return image.file_id == other.file_id or image.state == other.state


def _is_there(image: Image) -> bool:
    """Whether the file still stands where its row says; a missing album's files are taken to stand."""
    if image.missing:
        return True
    try:
        return state_at(image.path) is not None
    except OSError:
        return True
