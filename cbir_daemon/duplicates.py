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

from cbir_daemon import pulse
from cbir_daemon.records import FileState, Kind
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
    # By the best file of each content: the one that is kept must be of the content that all others are copies of.
    for keeper in sorted(partners, key=lambda content_id: min(map(_rank, images[content_id]))):
        members = {keeper} | (partners[keeper] & left)
        if keeper in left and len(members) > 1:
            left -= members
            groups.append(_group(Kind.COPY, [image for one in members for image in one_inode(images[one])]))
    return groups


def one_inode(images: Iterable[Image]) -> list[Image]:
    """Return one image for each file on disk, whatever number of names it has; its first path stands for it."""
    by_file: dict[tuple[FileState, int], Image] = {}
    for image in sorted(images, key=lambda one: one.path):
        # Each disk counts its inodes for itself.
        by_file.setdefault((image.state, image.state.device), image)
    return list(by_file.values())


def _pixels(image: Image) -> int:
    return image.content.width_px * image.content.height_px


_MEASURES: tuple[tuple[Callable[[Image], int], str], ...] = (
    (lambda image: -_pixels(image), "has the most pixels"),
    (lambda image: -image.content.size_bytes, "has as many pixels and the most bytes"),
    (lambda image: image.state.mtime_ns, "is the oldest of equals"),
)
"""What makes an image the one to keep, smallest first, and how it is said of the one that is; then the path decides."""


def _rank(image: Image) -> tuple[tuple[int, ...], bytes]:
    return tuple(measure(image) for measure, _ in _MEASURES), image.path


def _group(kind: Kind, images: Sequence[Image]) -> Group:
    keeper, *others = sorted(images, key=_rank)
    members = [Member(keeper, keep=True, why=_why_kept(keeper, others))]
    members += [Member(other, keep=False, why=_why_not(other, keeper)) for other in others]
    return Group(kind, tuple(members))


def _why_kept(keeper: Image, others: Sequence[Image]) -> str:
    """Say what decided: each measure is asked only among those that were equal in the ones before."""
    for measure, why in _MEASURES:
        others = [other for other in others if measure(other) == measure(keeper)]
        if not others:
            return why
    return "comes first by name among equals"


def _why_not(other: Image, keeper: Image) -> str:
    if other.content.id == keeper.content.id:
        return "has the same bytes as the one kept"
    ours, theirs = other.content, keeper.content
    if _pixels(other) < _pixels(keeper):
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
        # What is committed comes into view a moment later.  Two contents that were looked up before would miss each
        # other; of two in view the later one finds the earlier.
        newest_id = self._searcher.newest_id
        contents = [row for row in self._store.unmatched(BATCH_CONTENTS) if row[0] <= newest_id]
        pairs: list[Pair] = []
        done: list[int] = []
        for content_id, vector in contents:
            if self._stopping.is_set():
                break
            pulse.beat()
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
    linked = image.state == other.state and image.state.device == other.state.device
    return image.file_id == other.file_id or linked


def _is_there(image: Image) -> bool:
    """Whether the file still stands where its row says; a missing album's files are taken to stand."""
    if image.missing:
        return True
    try:
        return state_at(image.path) is not None
    except OSError:
        return True
