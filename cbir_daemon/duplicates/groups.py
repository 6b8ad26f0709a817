"""Which images are the same picture: groups, each with the one to keep.

In: pairs, images, rules.  Out: groups.  Never here: how two vectors are compared, where pairs come from.

A group is a star: every member is a verified copy of the one that is kept, or has its bytes.  That A resembles B and B
resembles C does not bring A and C together: C is in no group as long as B is in that of A.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial

from cbir_daemon.comparison import LookedAt, Trace
from cbir_daemon.config import Config
from cbir_daemon.duplicates.exposures import seconds_between
from cbir_daemon.duplicates.keeping import (
    HAS_NOT,
    NO_FOLDERS,
    NO_MEDIA,
    CopyGraph,
    Folders,
    Keeping,
    VerifiedCopy,
    pixels,
    shows_more,
)
from cbir_daemon.kinds import Kind, kinds_that, rank
from cbir_daemon.part_medium import PartMedium
from cbir_daemon.records import FileState
from cbir_daemon.store import Image, Pair, Store
from cbir_daemon.wording.origins import moment

PROTECTED = "lies in a protected folder, so it stays"

ANOTHER_SHOT = "another shot of the scene"

SAME_BYTES = "has the same bytes as another that stays"

NOTHING_ACROSS = f"{HAS_NOT[Trace.OVERLAY]}, so it stays"

UNLOOKED = "told by the stored vectors alone, so it stays"


@dataclass(frozen=True, slots=True)
class Member:
    """An image in a group.

    Parameters
    ----------
    image : Image
    keep : bool
        Whether it stays.  The first member is the one to keep; others stay when they are protected, or show more.
    why : str
        Why it is the one to keep, what it is to that one, or why it stays.
    score : float
        How alike it is to the one that is kept, 0 to 1.
    names : tuple of bytes
        Further paths of the same file on disk.
    copied : VerifiedCopy or None
        How it follows from the one that is kept; None for that one, for what has its bytes, and where the two were not
        compared.
    """

    image: Image
    keep: bool
    why: str
    score: float = 1.0
    names: tuple[bytes, ...] = ()
    copied: VerifiedCopy | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Images that show the same picture, the one to keep first; or shots of one scene, of which all stay.

    Parameters
    ----------
    kind : Kind
        `EXACT`, `COPY` or `SHOT`.
    members : tuple of Member
    look : LookedAt or None
        By what all members were told to be copies, or shots; None for `EXACT`.
    """

    kind: Kind
    members: tuple[Member, ...]
    look: LookedAt | None = None

    @property
    def saves_bytes(self) -> int:
        """Space that is won when only those are left that are kept."""
        return sum(member.image.content.size_bytes for member in self.members if not member.keep)


class Groups:
    """The groups of an index by the settings in force.  Thread-safe.

    Parameters
    ----------
    store : Store
    config : Config
        Its albums and its section [duplicates].
    media : mapping of str to PartMedium
        Those besides images.

    Notes
    -----
    To group 10 000 contents takes a second, so what was grouped is kept until the index or the settings change: 1 KB an
    image in a group.
    """

    def __init__(self, store: Store, config: Config, media: Mapping[str, PartMedium] = NO_MEDIA) -> None:
        self._store = store
        self._media = media
        self.revision = 0
        # Guards what follows; held while contents are grouped, so that two who ask at once have it done once.
        self._lock = threading.Lock()
        self._kept: dict[tuple[Kind, bool], tuple[Group, ...]] = {}
        self._kept_of = (0, 0)
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Take up other settings; `revision` grows, for groups found before may be others now."""
        self.revision += 1
        roots = [os.fsencode(os.path.realpath(album.path)) for album in config.albums if album.protected]
        protect, prefer = (
            [os.path.expanduser(glob) for glob in globs]  # noqa: PTH111 -- a pattern, no path
            for globs in (config.duplicates.protect, config.duplicates.prefer)
        )
        self.folders = Folders(roots, protect, prefer)
        self.keeping = Keeping(config.duplicates.keep)

    def found(
        self, kind: Kind | None = None, below: bytes | None = None, *, across: bool = False, unlooked: bool = False
    ) -> list[Group]:
        """Return the groups, those first that win most space.

        Parameters
        ----------
        kind : Kind, optional
            Only groups of this kind; without it those of the kinds that are listed.
        below : bytes, optional
            Only groups with an image below this folder.
        across : bool
            Only groups with images of more than one album.
        unlooked : bool
            Whether copies may go, too, that the vectors alone call so.
        """
        kinds = [kind] if kind is not None else kinds_that(lambda facts: facts.is_listed)
        with self._lock:
            groups = [group for asked in kinds for group in self._of(asked, unlooked=unlooked and asked is Kind.COPY)]
        if below is not None:
            folder = below.rstrip(b"/") + b"/"
            groups = [
                group for group in groups if any(member.image.path.startswith(folder) for member in group.members)
            ]
        if across:
            groups = [group for group in groups if len({member.image.album_id for member in group.members}) > 1]
        return sorted(groups, key=lambda group: (-group.saves_bytes, rank(group.kind), group.members[0].image.path))

    def _of(self, kind: Kind, *, unlooked: bool) -> tuple[Group, ...]:
        # Taken before the index is read: what is kept is as new as this, or newer.
        now = (self._store.clock, self.revision)
        if now != self._kept_of:
            self._kept, self._kept_of = {}, now
        if (kind, unlooked) not in self._kept:
            made: dict[Kind, Callable[[], list[Group]]] = {
                Kind.EXACT: self._exact,
                Kind.COPY: partial(self._copies, unlooked=unlooked),
                Kind.SHOT: self._shots,
            }
            self._kept[kind, unlooked] = tuple(made[kind]())
        return self._kept[kind, unlooked]

    def _exact(self) -> list[Group]:
        images = self._store.files.images(self._store.contents.repeated())
        return exact_groups(images, self.keeping, self.folders)

    def _copies(self, *, unlooked: bool) -> list[Group]:
        pairs, images = self._pairs(Kind.COPY)
        twins = self._store.decisions.dismissed_twins()
        return copy_groups(pairs, images, self.keeping, self.folders, twins, unlooked=unlooked, media=self._media)

    def _shots(self) -> list[Group]:
        pairs, images = self._pairs(Kind.SHOT)
        return shot_groups(pairs, images, self._store.contents.sharpness(list(images)))

    def _pairs(self, kind: Kind) -> tuple[list[Pair], dict[int, list[Image]]]:
        """Return the pairs of a kind, and the images of their contents by content id."""
        pairs = [pair for pair in self._store.pairs.listed() if pair.kind is kind]
        by_content: dict[int, list[Image]] = {}
        for image in self._store.files.images(
            sorted({content_id for pair in pairs for content_id in (pair.content_id, pair.other_id)})
        ):
            by_content.setdefault(image.content.id, []).append(image)
        return pairs, by_content


def exact_groups(images: Iterable[Image], keeping: Keeping | None = None, folders: Folders = NO_FOLDERS) -> list[Group]:
    """Return the groups of files with the same bytes.

    Names of one inode are one image: a hard link takes no space.

    Parameters
    ----------
    images : iterable of Image
        In any order.  A content of which only one inode is among them makes no group.
    keeping : Keeping, optional
        The rules by which an image is kept; without it all rules in their usual order.
    folders : Folders
        Which folders are protected or preferred.
    """
    by_content: dict[int, list[Image]] = {}
    for image in images:
        by_content.setdefault(image.content.id, []).append(image)
    graph = CopyGraph(by_content, (), folders)
    several = [same for same in by_content.values() if len(one_inode(same)) > 1]
    return [_group(Kind.EXACT, same, keeping or Keeping(), graph) for same in several]


def copy_groups(
    pairs: Sequence[Pair],
    images: Mapping[int, Sequence[Image]],
    keeping: Keeping | None = None,
    folders: Folders = NO_FOLDERS,
    twins: Set[bytes] = frozenset(),
    *,
    unlooked: bool = True,
    media: Mapping[str, PartMedium] = NO_MEDIA,
) -> list[Group]:
    """Return groups of contents that were verified to be copies.

    Every member is a verified copy of the one that is kept: A like B and B like C do not bring A and C together.

    Parameters
    ----------
    pairs : sequence of Pair
    images : mapping
        Content id -> its images.
    keeping : Keeping, optional
        The rules; all of them in their order by default.
    folders : Folders
    twins : set of bytes
        Digests of which all files are to stay: such a file is in no group with another one of the same bytes.
    unlooked : bool
        Whether copies may go, too, that the vectors alone call so.
    media : mapping of str to PartMedium
        Those besides images.
    """
    known = [pair for pair in pairs if images.get(pair.content_id) and images.get(pair.other_id)]
    graph = CopyGraph(images, known, folders, media)
    by_vectors = frozenset(
        frozenset((pair.content_id, pair.other_id)) for pair in known if pair.look is LookedAt.VECTORS
    )
    grouping = _Grouping(images, graph, keeping or Keeping(), twins)
    return [
        _with_looks(group, by_vectors, unlooked=unlooked)
        for content_ids in _connected(graph)
        for group in grouping.of(content_ids)
    ]


def shot_groups(
    pairs: Sequence[Pair], images: Mapping[int, Sequence[Image]], sharpness: Mapping[int, float]
) -> list[Group]:
    """Return groups of shots of one scene, each with its sharpest and its largest marked; all stay.

    Parameters
    ----------
    pairs : sequence of Pair
        Of kind `SHOT`.  Contents that hang together by them are a group.
    images : mapping
        Content id -> its images.
    sharpness : mapping
        Content id -> share of fine detail; contents of which it is not known are never the sharpest.
    """
    known = [pair for pair in pairs if images.get(pair.content_id) and images.get(pair.other_id)]
    graph = CopyGraph(images, known, NO_FOLDERS)
    return [_burst(content_ids, graph, images, sharpness) for content_ids in _connected(graph)]


def _burst(
    content_ids: Sequence[int],
    graph: CopyGraph,
    images: Mapping[int, Sequence[Image]],
    sharpness: Mapping[int, float],
) -> Group:
    # Files of the same bytes are the same shot: the first stands for them.
    shots = [min(images[content_id], key=lambda image: (image.missing, image.path)) for content_id in content_ids]
    sharpest = max(sharpness.get(shot.content.id, 0.0) for shot in shots)
    largest = max(pixels(shot.content) for shot in shots)
    shots.sort(key=lambda shot: (sharpness.get(shot.content.id, 0.0) < sharpest, shot.path))
    members = []
    for shot in shots:
        marks = [
            *(["the sharpest"] if sharpest > 0 and sharpness.get(shot.content.id) == sharpest else ()),
            *(["the largest"] if pixels(shot.content) == largest and not _all_as_large(shots) else ()),
        ]
        score = max(copy.score for copy in graph.copies(shot.content.id).values())
        later_s = None if shot is shots[0] else seconds_between(shots[0].content.taken, shot.content.taken)
        when = [] if later_s is None else [moment(later_s)]
        why = ", ".join([*(marks or [ANOTHER_SHOT]), *when])
        copied = graph.verified(shots[0].content, shot.content)
        members.append(Member(shot, keep=True, why=why, score=score, copied=copied))
    return Group(Kind.SHOT, tuple(members), LookedAt.FILES)


def _all_as_large(shots: Sequence[Image]) -> bool:
    return len({pixels(shot.content) for shot in shots}) == 1


def _with_looks(group: Group, by_vectors: Set[frozenset[int]], *, unlooked: bool) -> Group:
    """Return a group of copies with what it is told by; unless `unlooked`, what only the vectors tell stays."""
    keeper = group.members[0].image.content.id
    are_unlooked = [frozenset((keeper, member.image.content.id)) in by_vectors for member in group.members]
    members = list(group.members)
    stay = {member.image.content.id for member in members if member.keep}
    for place, (member, is_unlooked) in enumerate(zip(group.members, are_unlooked, strict=True)):
        if unlooked or member.keep or not is_unlooked:
            continue
        # Of files with the same bytes the first one stays for all.
        is_first = member.image.content.id not in stay
        stay.add(member.image.content.id)
        members[place] = replace(member, keep=is_first, why=UNLOOKED if is_first else SAME_BYTES)
    return replace(group, members=tuple(members), look=LookedAt.VECTORS if any(are_unlooked) else LookedAt.FILES)


class _Grouping:
    """Splits contents that hang together by copies into groups around the best of them."""

    def __init__(
        self, images: Mapping[int, Sequence[Image]], graph: CopyGraph, keeping: Keeping, twins: Set[bytes]
    ) -> None:
        self._images = images
        self._graph = graph
        self._keeping = keeping
        self._twins = twins

    def of(self, content_ids: Iterable[int]) -> Iterator[Group]:
        best = {content_id: self._best(content_id) for content_id in content_ids}
        while best:
            keeper = min(best, key=lambda content_id: best[content_id][0])
            members = set(self._graph.copies(keeper))
            if members:
                yield self._around(best[keeper][1], members)
            # Only what is in no group yet is compared: the one that beats a content may be kept elsewhere.
            touched = self._graph.drop(members | {keeper})
            best = {
                content_id: entry
                for content_id, entry in best.items()
                if content_id != keeper and content_id not in members
            }
            best |= {content_id: self._best(content_id) for content_id in touched if content_id in best}

    def _best(self, content_id: int) -> tuple[tuple[tuple[int, ...], bytes], Image]:
        """Return the best file of a content, after its rank."""
        ranked = [(self._keeping.rank(image, self._graph), image) for image in self._images[content_id]]
        return min(ranked, key=lambda ranked_image: ranked_image[0])

    def _around(self, keeper: Image, members: Iterable[int]) -> Group:
        # The one that is kept is of the content that all others are copies of.
        is_twin = keeper.content.digest in self._twins
        images = [keeper] if is_twin else list(self._images[keeper.content.id])
        images += [image for member_id in sorted(members) for image in self._images[member_id]]
        return _group(Kind.COPY, images, self._keeping, self._graph)


def _connected(graph: CopyGraph) -> Iterator[list[int]]:
    """Yield contents in sets between which there is no pair."""
    seen: set[int] = set()
    for start in graph.contents:
        if start in seen:
            continue
        seen.add(start)
        connected = [start]
        for content_id in connected:
            fresh = [copy_id for copy_id in graph.copies(content_id) if copy_id not in seen]
            seen.update(fresh)
            connected += fresh
        yield connected


def one_inode(images: Iterable[Image]) -> list[list[Image]]:
    """Return the names of each file on disk, in order of path; the first stands for it."""
    by_file: dict[tuple[FileState, int], list[Image]] = {}
    for image in sorted(images, key=lambda image: image.path):
        # Each disk counts its inodes for itself.
        by_file.setdefault((image.state, image.state.device), []).append(image)
    return list(by_file.values())


def _group(kind: Kind, images: Sequence[Image], keeping: Keeping, graph: CopyGraph) -> Group:
    files = {same[0].path: same for same in one_inode(images)}
    keeper, *copies = sorted((same[0] for same in files.values()), key=lambda image: keeping.rank(image, graph))
    names = {path: tuple(copy.path for copy in same[1:]) for path, same in files.items()}
    why = keeping.why_kept(keeper, copies, graph)
    members = [Member(keeper, keep=True, why=why, names=names[keeper.path])]
    members += [_member(copy, names[copy.path], keeper, keeping, graph) for copy in copies]
    return Group(kind, tuple(members))


def _member(image: Image, names: tuple[bytes, ...], keeper: Image, keeping: Keeping, graph: CopyGraph) -> Member:
    verified = graph.verified(image.content, keeper.content)
    score = 1.0 if verified is None else verified.score
    shown = shows_more(image.content, keeper.content, graph)
    if any(graph.folders.is_protected(path) for path in (image.path, *names)):
        why, keep = PROTECTED, True
    elif shown is not None:
        why, keep = f"shows more, so it stays: the one kept is {shown:.0%} of it", True
    elif keeping.shows_hidden(image, keeper, graph):
        why, keep = NOTHING_ACROSS, True
    else:
        why, keep = keeping.why_not(image, keeper, graph), False
    return Member(image, keep, why, score, names, graph.verified(keeper.content, image.content))
