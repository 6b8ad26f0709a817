"""Which of some images that show the same is the one to keep, and why.

In: images, the pairs between their contents, the order of the rules.  Out: a rank for each image, and sentences.  Never
here: which images belong together, files.

A rule says of each image how far it falls behind, 0 for not at all; images that are equal by one rule are asked by the
next, and the path decides last.  Rules about the picture itself compare a content with its verified copies only, over
the part that both show: a border adds pixels and no detail, and a crop has fewer and loses none.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cbir_daemon.comparison import Trace, Transform
from cbir_daemon.duplicates.part_pairing import done_in_words, facts_of_content
from cbir_daemon.part_medium import Merit, PartMedium
from cbir_daemon.store import Content, Image, Pair

FINER = 1.1
"""Times as many pixels over the common part from which a copy is finer: an alignment is good to a few percent."""

DENSER = 1.1
"""Times as many bytes a pixel from which a file is less compressed: saving again at one quality changes less."""

WHOLE = 0.9
"""Share of a picture that another must show to show all of it: a pixel of 64 lost at each edge leaves 0.94."""

KEPT_FOLDERS = 1024
"""Of which the rank is remembered."""

PROTECTED_RANK = 0

_CAMERA_FORMATS = ("DNG", "RAW", "CR2", "CR3", "NEF", "ARW", "RAF", "ORF", "RW2", "PEF", "SRW")
_FORMAT_RANKS = {**dict.fromkeys(_CAMERA_FORMATS, 0), "HEIF": 1, "HEIC": 1, "WEBP": 3, "AVIF": 3, "GIF": 3, "BMP": 3}
_ORDINARY_FORMAT = 2
"""JPEG, TIFF, PNG, JPEG XL: what cameras write beside RAW and HEIF, and what scanners and editors do.

WebP, AVIF, GIF and BMP come from web pages, messengers and screen shots.
"""


NO_MEDIA: Mapping[str, PartMedium] = {}

HAS: Mapping[Trace, str] = {
    Trace.OVERLAY: "has letters or a sticker across it",
    Trace.CAPTION: "has a caption or a screen around it",
    Trace.BORDER: "has a border around it",
    Trace.ENLARGED: "is enlarged: it shows no finer detail",
    Trace.BLURRED: "is blurred",
    Trace.NOISY: "has noise over it",
    Trace.COMPRESSED: "was saved with greater loss",
}
"""The words for an edited picture, beside one without that edit."""

HAS_NOT: Mapping[Trace, str] = {
    Trace.OVERLAY: "has no letters or stickers across it",
    Trace.CAPTION: "has no caption or screen around it",
    Trace.BORDER: "has no border around it",
    Trace.ENLARGED: "is not enlarged",
    Trace.BLURRED: "is not blurred",
    Trace.NOISY: "has no noise over it",
    Trace.COMPRESSED: "was saved with less loss",
}

_WITHOUT_DETAIL = frozenset({Trace.ENLARGED, Trace.BLURRED})
"""Edits that leave pixels which show nothing."""


@dataclass(frozen=True, slots=True)
class VerifiedCopy:
    """A verified copy of a content.

    Parameters
    ----------
    content : Content
        The copy.
    own_area, area : float
        Shares of the areas of the content and of the copy that the two show of each other, in [0, 1].
    own_share, share : float
        The same shares of what is picture, plain bars and borders left out.
    score : float
    transform : Transform or None
        What was done to the content to get the copy; None where an older release found the two.
    done : str
        The same in the words of a medium that compares parts; empty for images.
    """

    content: Content
    own_area: float
    area: float
    score: float
    own_share: float
    share: float
    transform: Transform | None = None
    done: str = ""


class Folders:
    """Which folders are protected or preferred.

    Parameters
    ----------
    protected_roots : iterable of bytes
        Albums of which nothing is removed; absolute, without links.
    protect, prefer : sequence of str
        Globs.  One without a slash is held against the name of each folder above a file, one with a slash against the
        folder's absolute path.
    """

    def __init__(self, protected_roots: Iterable[bytes], protect: Sequence[str], prefer: Sequence[str]) -> None:
        self._roots = tuple(root.rstrip(b"/") + b"/" for root in protected_roots)
        self._protect = [re.compile(fnmatch.translate(glob)) for glob in protect]
        self._prefer = [re.compile(fnmatch.translate(glob)) for glob in prefer]
        # Files of one folder are asked about one after the other, each several times.
        self._rank = lru_cache(KEPT_FOLDERS)(self._rank_of)

    def is_protected(self, path: bytes) -> bool:
        """Whether a file is never to be removed."""
        return self.rank(path) == PROTECTED_RANK

    def rank(self, path: bytes) -> int:
        """Return 0 for a protected folder, then the place of the preferred ones, then that of all others."""
        return self._rank(path[: path.rfind(b"/") + 1])

    def _rank_of(self, folder: bytes) -> int:
        """Return the rank of the files in a folder, whose path ends with a slash."""
        if folder.startswith(self._roots) or self._first(self._protect, folder) is not None:
            return PROTECTED_RANK
        found = self._first(self._prefer, folder)
        return PROTECTED_RANK + 1 + (len(self._prefer) if found is None else found)

    @staticmethod
    def _first(globs: Sequence[re.Pattern[str]], folder: bytes) -> int | None:
        names = os.fsdecode(folder).split("/")[:-1]
        above = {"/".join(names[:end]) for end in range(1, len(names) + 1)} | set(names)
        return next((number for number, glob in enumerate(globs) if any(map(glob.match, above))), None)


NO_FOLDERS = Folders((), (), ())


@dataclass(frozen=True, slots=True)
class Surpassed:
    """The rules by which some copy surpasses a content: see `RULES`."""

    by_original: bool
    by_pixels: bool
    by_bytes: bool
    by_extent: bool


class CopyGraph:
    """The verified copies of each content, and what the files tell of both.

    Parameters
    ----------
    images : mapping
        Content id -> its images.
    pairs : sequence of Pair
        Those of contents that have images.
    folders : Folders
    media : mapping of str to PartMedium
        Those besides images that say what their files are worth.
    """

    def __init__(
        self,
        images: Mapping[int, Sequence[Image]],
        pairs: Iterable[Pair],
        folders: Folders,
        media: Mapping[str, PartMedium] = NO_MEDIA,
    ) -> None:
        self.folders = folders
        self._media = media
        self._copies: dict[int, dict[int, VerifiedCopy]] = {}
        self._surpassed: dict[int, Surpassed] = {}
        self._traces: dict[int, set[Trace]] = {}
        for pair in pairs:
            first, second = (images[content_id][0].content for content_id in (pair.content_id, pair.other_id))
            area, other_area = _or_all(pair.overlap), _or_all(pair.other_overlap)
            back = None if pair.transform is None else pair.transform.reversed()
            self._put(first, second, area, other_area, pair.score, pair.transform, self._done(pair, first, second))
            self._put(second, first, other_area, area, pair.score, back, self._done(pair, second, first))
            self._traces.setdefault(first.id, set()).update(pair.traces)
            self._traces.setdefault(second.id, set()).update(pair.other_traces)

    def _put(
        self,
        content: Content,
        copy: Content,
        own_area: float,
        area: float,
        score: float,
        transform: Transform | None,
        done: str,
    ) -> None:
        shares = (min(1.0, own_area / _or_all(content.picture)), min(1.0, area / _or_all(copy.picture)))
        self._copies.setdefault(content.id, {})[copy.id] = VerifiedCopy(
            copy, own_area, area, score, *shares, transform=transform, done=done
        )

    def _done(self, pair: Pair, content: Content, copy: Content) -> str:
        """Return what was done to a content to get its copy, in the words of its medium; empty for images."""
        medium = self._media.get(content.medium)
        return done_in_words(pair, copy, content, medium) if medium is not None and pair.lying else ""

    def merits(self, content: Content) -> tuple[Merit, ...]:
        """Return what a content is worth beside its copies, as its medium says; nothing for images."""
        medium = self._media.get(content.medium)
        return () if medium is None else medium.merits(facts_of_content(content))

    @property
    def contents(self) -> list[int]:
        """The contents that have, or had, a verified copy."""
        return list(self._copies)

    def copies(self, content_id: int) -> Mapping[int, VerifiedCopy]:
        """Return the verified copies of a content by their ids."""
        return self._copies.get(content_id, {})

    def verified(self, content: Content, copy: Content) -> VerifiedCopy | None:
        """Return a content as a verified copy of another one.

        Parameters
        ----------
        content : Content
            Seen from this one.
        copy : Content
            The other one.

        Returns
        -------
        VerifiedCopy or None
            `copy` as a copy of `content`; None when it is none.
        """
        return self.copies(content.id).get(copy.id)

    def traces(self, content: Content) -> list[Trace]:
        """Return the edits of a content, as the files of any of its copies tell; in the order of `Trace`.

        Parameters
        ----------
        content : Content

        Notes
        -----
        A copy of a copy is not compared with every other one: what was done to a content holds beside all of them.
        """
        known = self._traces.get(content.id, set())
        return [trace for trace in Trace if trace in known]

    def surpassed(self, content: Content) -> Surpassed:
        """Return the rules by which some copy surpasses a content."""
        found = self._surpassed.get(content.id)
        if found is None:
            found = self._surpassed[content.id] = _surpassed(content, self.copies(content.id).values(), self)
        return found

    def drop(self, content_ids: Iterable[int]) -> set[int]:
        """Take contents out of the graph; return those that were copies of them."""
        touched: set[int] = set()
        for content_id in content_ids:
            for copy_id in self._copies.pop(content_id, {}):
                self._copies.get(copy_id, {}).pop(content_id, None)
                self._surpassed.pop(copy_id, None)
                touched.add(copy_id)
        return touched


def _or_all(share: float | None) -> float:
    return 1.0 if share is None else share


def pixels(content: Content) -> int:
    """Return the number of pixels of a content."""
    return content.width_px * content.height_px


def shows_more(content: Content, copy: Content, graph: CopyGraph) -> float | None:
    """Return the share of a content's picture that its copy shows, when that is not all of it; else None.

    Parameters
    ----------
    content : Content
        Whose picture is measured, plain bars and borders left out.
    copy : Content
        Of which is asked how much of it it shows.
    graph : CopyGraph
        Knows the verified copies.

    Returns
    -------
    float or None
        In [0, `WHOLE`); None when the copy shows all of the picture, or is no verified copy.
    """
    verified = graph.verified(content, copy)
    return verified.own_share if verified is not None and verified.own_share < WHOLE else None


@dataclass(frozen=True, slots=True)
class Rule:
    """One reason to keep an image.

    Parameters
    ----------
    behind : callable
        How far an image falls behind its copies, 0 for not at all.
    wins : callable
        Says why the image is kept, given one that falls behind it.
    loses : callable
        Says why an image is not kept, given the one that is.
    """

    behind: Callable[[Image, CopyGraph], int]
    wins: Callable[[Image, Image, CopyGraph], str]
    loses: Callable[[Image, Image, CopyGraph], str]


def _surpassed(content: Content, copies: Iterable[VerifiedCopy], graph: CopyGraph) -> Surpassed:
    by_original = by_pixels = by_bytes = by_extent = False
    traces = graph.traces(content)
    gained_pixels = not _WITHOUT_DETAIL.isdisjoint(traces)
    own_pixels, own_density = pixels(content), _density(content)
    for copy in copies:
        seen, own_seen = pixels(copy.content) * copy.area, own_pixels * copy.own_area
        # What was made smaller is no original either, unless the pixels of the other one are empty.
        is_original = bool(traces) and not graph.traces(copy.content)
        by_original |= is_original and (gained_pixels or own_seen <= FINER * seen)
        by_pixels |= seen > FINER * own_seen
        by_extent |= copy.share < WHOLE <= copy.own_share
        # A part of a picture, or one of another size, may need more bytes a pixel and tells nothing about this one.
        alike = (
            own_pixels > 0
            and min(copy.own_share, copy.share) >= WHOLE
            and seen <= FINER * own_seen
            and own_seen <= FINER * seen
        )
        by_bytes |= alike and copy.content.format == content.format and _density(copy.content) > DENSER * own_density
    return Surpassed(by_original, by_pixels, by_bytes, by_extent)


def _edited(image: Image, graph: CopyGraph) -> int:
    return int(graph.surpassed(image.content).by_original)


def _coarser(image: Image, graph: CopyGraph) -> int:
    return int(graph.surpassed(image.content).by_pixels)


def _re_encoded(image: Image, _: CopyGraph) -> int:
    return _FORMAT_RANKS.get(image.content.format, _ORDINARY_FORMAT)


def _density(content: Content) -> float:
    # A plain border takes no bytes.
    return content.size_bytes / max(1.0, pixels(content) * _or_all(content.picture))


def _more_compressed(image: Image, graph: CopyGraph) -> int:
    return int(graph.surpassed(image.content).by_bytes)


def _worth(merits: Iterable[Merit]) -> tuple[float, ...]:
    return tuple(merit.value for merit in merits)


def _of_less_worth(image: Image, graph: CopyGraph) -> int:
    own = _worth(graph.merits(image.content))
    return int(any(_worth(graph.merits(copy.content)) > own for copy in graph.copies(image.content.id).values()))


def _why_worth(first: Image, second: Image, graph: CopyGraph) -> str:
    """Return the first thing by which two files differ in worth: "bit rate: 320 kbit/s against 128 kbit/s"."""
    both = zip(graph.merits(first.content), graph.merits(second.content), strict=True)
    return next(
        (f"{own.name}: {own.words} against {merit.words}" for own, merit in both if own.value != merit.value), ""
    )


def _undated(image: Image, _: CopyGraph) -> int:
    # What an older release read has no known date: that is no reason against it.
    return int(image.content.taken == "")


def _partial(image: Image, graph: CopyGraph) -> int:
    return int(graph.surpassed(image.content).by_extent)


def _size_of(image: Image) -> str:
    return f"{image.content.width_px}x{image.content.height_px}"


def _why_original(keeper: Image, edited: Image, graph: CopyGraph) -> str:
    return ", ".join(HAS_NOT[trace] for trace in graph.traces(edited.content))


def _why_edited(image: Image, keeper: Image, graph: CopyGraph) -> str:
    return ", ".join(HAS[trace] for trace in graph.traces(image.content))


def _why_coarser(image: Image, keeper: Image, _: CopyGraph) -> str:
    if pixels(image.content) < pixels(keeper.content):
        return f"is smaller: {_size_of(image)} against {_size_of(keeper)} pixels"
    return "shows the same in fewer pixels"


def _why_partial(image: Image, keeper: Image, graph: CopyGraph) -> str:
    verified = graph.verified(image.content, keeper.content)
    return f"is a part of the one kept: {verified.share:.0%} of it" if verified else "is a part of another copy"


def _why_folder(image: Image, keeper: Image, _: CopyGraph) -> str:
    return "lies in a folder that is less preferred"


RULES: Mapping[str, Rule] = {
    "original": Rule(_edited, _why_original, _why_edited),
    "resolution": Rule(
        _coarser,
        lambda keeper, next_best, _: f"has the most pixels: {_size_of(keeper)} against {_size_of(next_best)}",
        _why_coarser,
    ),
    "format": Rule(
        _re_encoded,
        lambda keeper, next_best, _: (
            f"is in an original format: {keeper.content.format}, not {next_best.content.format}"
        ),
        lambda image, keeper, _: f"was encoded again: {image.content.format} against {keeper.content.format}",
    ),
    "compression": Rule(
        _more_compressed,
        lambda keeper, next_best, _: (
            f"is least compressed: {_density(keeper.content):.2f} bytes a pixel"
            f" against {_density(next_best.content):.2f}"
        ),
        lambda image, keeper, _: (
            f"is more compressed: {_density(image.content):.2f} bytes a pixel against {_density(keeper.content):.2f}"
        ),
    ),
    "merits": Rule(
        _of_less_worth,
        lambda keeper, next_best, graph: f"is the better file, by its {_why_worth(keeper, next_best, graph)}",
        lambda image, keeper, graph: f"is the poorer file, by its {_why_worth(image, keeper, graph)}",
    ),
    "date": Rule(
        _undated,
        lambda keeper, next_best, _: "has the date on which it was taken",
        lambda image, keeper, _: "has lost the date on which it was taken",
    ),
    "whole": Rule(_partial, lambda keeper, next_best, _: "shows the whole picture, others a part of it", _why_partial),
    "folder": Rule(
        lambda image, graph: graph.folders.rank(image.path),
        lambda keeper, next_best, _: "lies in a protected or preferred folder",
        _why_folder,
    ),
    "oldest": Rule(
        lambda image, _: image.state.mtime_ns,
        lambda keeper, next_best, _: "is the oldest of equals",
        lambda image, keeper, _: "is newer than the one kept",
    ),
}
"""Name in the configuration -> rule.  `config.settings.KEEP_RULES` has the same names."""

BY_NAME = "comes first by name among equals"


class Keeping:
    """The rules in the order in which they are asked.

    Parameters
    ----------
    names : sequence of str
        Keys of `RULES`.
    """

    def __init__(self, names: Sequence[str] = tuple(RULES)) -> None:
        self.rules = [RULES[name] for name in names]

    def rank(self, image: Image, graph: CopyGraph) -> tuple[tuple[int, ...], bytes]:
        """Return the key that sorts the images of a group, the one to keep first.

        Parameters
        ----------
        image : Image
            An image of the group.
        graph : CopyGraph
            Knows the verified copies of its content, and which folders are preferred.

        Returns
        -------
        tuple of (tuple of int, bytes)
            How far the image falls behind by each rule, in the order of the rules, then its path.
        """
        return tuple(rule.behind(image, graph) for rule in self.rules), image.path

    def shows_hidden(self, image: Image, keeper: Image, graph: CopyGraph) -> bool:
        """Whether an image shows what lies hidden below letters or a sticker in the one that is kept.

        That can be where the image was made smaller: neither is the original.  No where a rule before `original` puts
        the image behind: that is somebody's wish.

        Parameters
        ----------
        image, keeper : Image
        graph : CopyGraph
        """
        for rule in self.rules:
            if rule is RULES["original"]:
                traces = graph.traces(image.content), graph.traces(keeper.content)
                return Trace.OVERLAY in traces[1] and Trace.OVERLAY not in traces[0]
            if rule.behind(image, graph) > rule.behind(keeper, graph):
                return False
        return False

    def why_kept(self, keeper: Image, copies: Sequence[Image], graph: CopyGraph) -> str:
        """Say what decided: each rule is asked only among those that were equal by the ones before.

        Parameters
        ----------
        keeper : Image
            The image that is kept.
        copies : sequence of Image
            The rest of the group, at least one.
        graph : CopyGraph
            The one by which `keeper` was found.

        Returns
        -------
        str
            A clause without a subject: "is the oldest of equals".
        """
        for rule in self.rules:
            own = rule.behind(keeper, graph)
            equal = [copy for copy in copies if rule.behind(copy, graph) == own]
            if not equal:
                return rule.wins(keeper, max(copies, key=lambda copy: pixels(copy.content)), graph)
            copies = equal
        return BY_NAME

    def why_not(self, image: Image, keeper: Image, graph: CopyGraph) -> str:
        """Say why an image is not kept.

        Parameters
        ----------
        image : Image
            An image of the group.
        keeper : Image
            The one that is kept.
        graph : CopyGraph
            The one by which `keeper` was found.

        Returns
        -------
        str
            A clause without a subject: "is newer than the one kept".
        """
        if image.content.id == keeper.content.id:
            return "has the same bytes as the one kept"
        for rule in self.rules:
            if rule.behind(image, graph) > rule.behind(keeper, graph):
                return rule.loses(image, keeper, graph)
        return "is a copy of the one kept"
