"""The frozen values that cross rooms.

Nothing here imports another room, numpy or PIL: the client reads this module too.  Vectors travel as 4096 bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

VECTOR_SIDE_PX = 64
VECTOR_BYTES = VECTOR_SIDE_PX * VECTOR_SIDE_PX
CHROMA_SIDE_PX = VECTOR_SIDE_PX // 2
CHROMA_BYTES = 2 * CHROMA_SIDE_PX * CHROMA_SIDE_PX
"""Cb, then Cr, of every second row and column of the picture that a vector holds."""

DIGEST_BYTES = 32


class Kind(StrEnum):
    """How a match was found, strongest first."""

    EXACT = "exact"
    COPY = "copy"
    SHOT = "shot"
    """Another shot of the same scene."""
    SIMILAR = "similar"


@dataclass(frozen=True, slots=True)
class KindFacts:
    """What holds of every match of a kind.  Rooms ask this; those that find matches are the only ones to name kinds.

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
    """Return what holds of a kind; of one that only another release knows, nothing."""
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


class AlbumState(StrEnum):
    """How an album is kept up with."""

    WATCHING = "watching"
    POLLING = "polling"
    """Its file system tells of no changes: it is walked at intervals."""
    MISSING = "missing"


class AlertKind(StrEnum):
    """What an alert is about: a kind of match, or an album."""

    EXACT = Kind.EXACT.value
    COPY = Kind.COPY.value
    MISSING = "missing"
    """An album went missing."""
    BACK = "back"
    """An album that was missing is back."""


class SinkType(StrEnum):
    """What kind of place alerts go to."""

    COMMAND = "command"
    """A program."""
    WEBHOOK = "webhook"
    """An address that takes POST."""
    APPRISE = "apprise"
    """One of the services of apprise."""


class FitKind(StrEnum):
    """How a map is fitted."""

    TUNED = "tuned"
    """Hyper-parameters are sought."""
    WARM = "warm"
    """With the hyper-parameters of the map before, from its positions."""


class FitOutcome(StrEnum):
    """How far a fit is, or how it came out."""

    RUNNING = "running"
    ACTIVE = "active"
    """Its map is in use."""
    REPLACED = "replaced"
    REFUSED = "refused"
    """Its map was worse than the one in use."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    SET_ASIDE = "set-aside"
    """Its artifact fits no longer."""


class Origin(StrEnum):
    """How a content came to its position on the map."""

    FITTED = "fitted"
    PRESENT = "present"
    """There at the fit, but not fitted."""
    ADDED = "added"
    """Came later."""


class LookedAt(StrEnum):
    """By what a copy is told from another shot."""

    FILES = "files"
    """The two files, compared at a few hundred pixels."""
    VECTORS = "vectors"
    """The 64x64 numbers alone: a file could not be read, or shows too little to tell."""


class Trace(StrEnum):
    """What was done to a picture, as its pixels tell beside those of a copy that has no such trace."""

    OVERLAY = "overlay"
    """Letters, a sticker or a logo lie across it."""
    CAPTION = "caption"
    """A bar with letters or the like is beside it, or a screen around it."""
    BORDER = "border"
    """A plain border is around it, on one side at least."""
    ENLARGED = "enlarged"
    """It has more pixels and no finer detail."""
    BLURRED = "blurred"
    NOISY = "noisy"
    COMPRESSED = "compressed"
    """It was saved with greater loss."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells that a file is still the one that was read.

    Parameters
    ----------
    size_bytes, mtime_ns, inode : int
    device : int
        Number of the disk that the file's folder is on (`st_dev`); 0 when it is not known.  Two states are equal
        whatever their devices: a disk may have another number after each start of the machine.
    """

    size_bytes: int
    mtime_ns: int
    inode: int
    device: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Facts:
    """What reading an image tells.

    Parameters
    ----------
    digest : bytes
        SHA-256 of the file's bytes.
    vector : bytes or None
        64x64 grey numbers, row by row; None when the reader was told that this digest is known.
    width_px, height_px : int
        Size of the upright image; 0 when the digest was known.
    format : str
        Name of the file format in capitals, as Pillow spells it; empty when the digest was known.
    state : FileState or None
        The file as it was before and after it was read; None for bytes that came from no file.
    taken : str
        When a camera took it, by EXIF's DateTimeOriginal and SubSecTimeOriginal: "2019-07-14T12:45:01" or
        "2019-07-14T12:45:01.250000", local time; empty when that says nothing, or the digest was known.
    extractor : str
        Name and version of how the vector was made; see `decode.reader`.
    """

    digest: bytes
    vector: bytes | None
    width_px: int
    height_px: int
    format: str
    state: FileState | None = None
    taken: str = ""
    extractor: str = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class DescriptorKind:
    """By what contents are compared beside their vectors, and how it is made.

    Parameters
    ----------
    name : str
        "look", "meaning".
    version : str
        Another one means that descriptors of this name are made again.
    """

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a file could not be read.

    Parameters
    ----------
    code : str
        A word for programs: see `cbir_daemon.decode`.
    message : str
        A sentence for people.
    state : FileState or None
        The file as it was when it was looked at; it is looked at again when this changes.
    """

    code: str
    message: str
    state: FileState | None = None


class Heals(StrEnum):
    """By what a file that could not be read is read again, besides a start with another extractor."""

    CHANGE = "change"
    """By a change of its size, mtime or inode."""

    EXTRA = "extra"
    """By a start of the daemon with the extra that reads its format."""

    RIGHTS = "rights"
    """By a right given back, which changes nothing of the file: each walk tries it."""

    PAUSE = "pause"
    """By itself: it is tried again after a pause that grows."""

    AT_ONCE = "at-once"
    """Nothing is recorded, for nothing is known of the file as it is now: it is looked at again."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why files cannot be read.

    Parameters
    ----------
    meaning : str
        For people.
    heals : Heals
    tries : int or None
        How often a file is tried again after a pause, from each start; None for as long as it fails.
    """

    meaning: str
    heals: Heals = Heals.CHANGE
    tries: int | None = None


REASONS: Mapping[str, Reason] = {
    "empty": Reason("the file has no bytes"),
    "not-an-image": Reason("the bytes are in no format that is read here"),
    "needs-extra": Reason("the format is read by an extra that is not installed", Heals.EXTRA),
    "truncated": Reason("the file ends before the picture does"),
    "damaged": Reason("the format is known, but this file is damaged, or a variant of it that is not read"),
    "too-many-pixels": Reason("width x height is above `max_pixels`"),
    "too-large": Reason("the file is above `max_file_bytes`"),
    # A slow disk or a busy machine may be the cause, which passes.  A file that takes too long by itself does so each
    # time, and each try costs a worker `timeout_s`: five more of them come within half an hour.
    "timed-out": Reason("reading took longer than `timeout_s`", Heals.PAUSE, tries=5),
    "crashed": Reason("two worker processes in a row died while they read this file"),
    "out-of-memory": Reason("reading needs more memory than a worker may have"),
    "no-access": Reason("permission denied", Heals.RIGHTS),
    "vanished": Reason("the file was gone when it was opened", Heals.AT_ONCE),
    "changed-while-reading": Reason("the file was written to while it was read", Heals.AT_ONCE),
    "not-a-file": Reason("a folder, link, pipe or device"),
    "read-failed": Reason("the disk or the network share reported an error", Heals.PAUSE),
}
"""Every word that an `Unreadable.code` can be.  Store, indexing and `docs/decoding.md` go by this table."""

SIZE_UNKNOWN = -1
"""Size in the state of a row whose file is to be read whatever it is now: it equals no file's."""


def reasons_healed_by(*ways: Heals) -> frozenset[str]:
    """Return the codes of the reasons that heal in one of these ways."""
    return frozenset(code for code, reason in REASONS.items() if reason.heals in ways)


@dataclass(frozen=True, slots=True)
class Transform:
    """What was done to the stored image to get the query: mirrored first, then turned counter-clockwise.

    Parameters
    ----------
    flip : bool
        Mirrored left to right.
    turn : int
        Quarter turns in degrees: 0, 90, 180 or 270, counter-clockwise.
    angle : float
        Degrees counter-clockwise on top of `turn`.
    invert : bool
        Made a negative.
    """

    flip: bool = False
    turn: int = 0
    angle: float = 0.0
    invert: bool = False

    def reversed(self) -> Transform:
        """Return what leads back: a mirror after a turn is the opposite turn after the mirror."""
        if self.flip:
            return self
        # No angle is 0.0 and not -0.0.
        return replace(self, turn=-self.turn % 360, angle=-self.angle or 0.0)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Share of each image's area that the other shows, in [0, 1]."""

    query: float = 1.0
    match: float = 1.0


@dataclass(frozen=True, slots=True)
class Tone:
    """How the greys of a query follow from those of the stored image, or of its negative, where the two overlap.

    Parameters
    ----------
    gain, offset : float
        query = gain * stored + offset, in grey levels of 0 to 255; above 1 there is more contrast.
    shift : float
        Grey levels by which the query is brighter on average.
    """

    gain: float = 1.0
    offset: float = 0.0
    shift: float = 0.0


class Around(StrEnum):
    """What of a query lies beside the stored image."""

    NOTHING = "nothing"
    """The query is all on the stored image."""
    PLAIN = "plain"
    """Bars, a border, a caption: mostly one tone on each side."""
    SCREEN = "screen"
    """A screen or a page: mostly of two tones, with something on it."""
    PICTURE = "picture"
    """More of a picture."""


class Family(StrEnum):
    """What a first guess took a query for; see `Guess`."""

    WHOLE = "whole"
    """The whole stored image."""
    CROP = "crop"
    """A part of the stored image: its window."""
    CONTENT = "content"
    """The picture inside the plain bars or borders that were found in the query."""
    BORDER = "border"
    """The stored image inside a border on all sides."""
    CAPTION = "caption"
    """The stored image with a bar on one side."""
    BARS = "bars"
    """The stored image between two bars."""
    PART = "part"
    """A picture of which the stored image is a part."""
    TILT = "tilt"
    """The stored image turned by a small angle, its corners cut off."""
    GROWN = "grown"
    """The stored image turned by a small angle, in a frame that grew with it."""


class Outcome(StrEnum):
    """Why a candidate is a copy or is none."""

    COPY = "copy"
    """The score reaches the threshold."""
    BELOW = "below"
    """Aligned to the end; the score does not reach the threshold."""
    GIVEN_UP = "given-up"
    """The correlation on half-size images was so low that no more was tried; the score is that correlation."""
    PLAIN = "plain"
    """The query has too little structure to be called a copy of anything but the same bytes."""


@dataclass(frozen=True, slots=True)
class Window:
    """A part of an image as shares of its width and height from its upper left corner, in [0, 1]."""

    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0


@dataclass(frozen=True, slots=True)
class Quadrilateral:
    """A part of an image with four straight sides that need not be upright.

    Parameters
    ----------
    corners : tuple of (x, y)
        In shares of the image's width and height: the upper left one of what it shows, then clockwise.
    """

    corners: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Guess:
    """The pair of views from which an alignment began.

    Parameters
    ----------
    family : Family
        What the query was taken for.
    query_window, stored_window : Window
        The parts of the two images that looked alike.
    flip, turn, angle, invert
        What was taken to have been done to the stored image; see `Transform`.
    """

    family: Family = Family.WHOLE
    query_window: Window = field(default_factory=Window)
    stored_window: Window = field(default_factory=Window)
    flip: bool = False
    turn: int = 0
    angle: float = 0.0
    invert: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a judgement was reached.

    Parameters
    ----------
    outcome : Outcome
        Why the candidate is a copy or is none.
    guess : Guess
        Where the alignment began.
    scale_x, scale_y : float
        Pixels of the stored 64x64 vector that one pixel of the query's spans, along the query's x and y; below 1 the
        query shows a part enlarged, above 1 it shows more than the stored image.
    correlation : float
        Of the two equalised images over their overlap, -1 to 1: on the vectors, or on half-size ones when given up.
    area_ratio : float
        How many times larger the one image would be than the other at one scale, at least 1.
    cost : float
        What disagreement is multiplied by: the area ratio, more for a negative, for little evidence and when a strip
        is left out.
    strip : bool
        Whether a strip of the query that disagrees, as letters written across, was left out.
    evidence_px : float or None
        Pixels of the overlap that hold structure, of 4096; None when given up.
    evidence_needed_px : float
        Evidence below which the score is reduced in proportion.
    threshold : float
        Score from which a candidate is a copy.

    Notes
    -----
    score = (1 - (1 - correlation) * cost) * min(1, evidence_px / evidence_needed_px), within 0 and 1.
    """

    outcome: Outcome
    guess: Guess
    scale_x: float
    scale_y: float
    correlation: float
    area_ratio: float
    cost: float
    strip: bool
    evidence_px: float | None
    evidence_needed_px: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """What comparing two vectors says.

    Parameters
    ----------
    is_copy : bool
        Whether the score passes the threshold for a copy.
    score : float
        0 to 1, 1 = same.
    transform, overlap
        The alignment at which the score was reached.
    explanation : Explanation
        How it was reached.
    tone, around
        Measured of copies only.
    """

    is_copy: bool
    score: float
    transform: Transform
    overlap: Overlap
    explanation: Explanation
    tone: Tone = field(default_factory=Tone)
    around: Around = Around.NOTHING


@dataclass(frozen=True, slots=True)
class Candidate:
    """One value of `n_neighbors` that tuning tried."""

    n_neighbors: int
    n_components: int
    trustworthiness: float
    neighbor_recall: float


@dataclass(frozen=True, slots=True)
class FitReport:
    """How a finished fit came out.

    Parameters
    ----------
    n_neighbors, n_components : int
        The hyper-parameters chosen.
    trustworthiness, neighbor_recall : float
        Scores of the chosen map, in [0, 1], both at the fixed k of the tuner; the recall is the mean of that of
        fitted and that of held-out images.
    fitted_images : int
        Contents that the map was fitted on.
    seed : int
        Of every random choice.
    duration_s, peak_mib : float
        Wall time in seconds, and largest resident memory of the fitting process.
    curve : tuple of Candidate
        All that was tried.
    artifact : str
        Name of the artifact's folder, below the state's folder of models.
    sha256 : bytes
        Of the artifact's manifest, which holds the digests of its files.
    """

    n_neighbors: int
    n_components: int
    trustworthiness: float
    neighbor_recall: float
    fitted_images: int
    seed: int
    duration_s: float
    peak_mib: float
    curve: tuple[Candidate, ...]
    artifact: str
    sha256: bytes


class TaskAction(StrEnum):
    """What can be done to a file that is not kept."""

    TRASH = "trash"
    MOVE = "move"
    HARD_LINK = "hardlink"
    CLONE = "reflink"


class TaskState(StrEnum):
    """How far a task of `cbir resolve` is."""

    PLANNED = "planned"
    BEGUN = "begun"
    """Its target is noted; its file may have been touched or not."""
    DONE = "done"
    SKIPPED = "skipped"
    """The file was left alone; the reason says why."""
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class ResolveTask:
    """What `cbir resolve` is to do to one file: the daemon decides and remembers it, the client does it.

    Parameters
    ----------
    action : str
        One of `protocol.plan.ACTIONS`.
    kind : str
        "exact" or "copy"; empty when nothing was found that stays in the file's place.
    path : Path
        The file that is not kept; absolute, as all paths.
    keep : Path or None
        The one that is; None when none was found.
    digest, keep_digest : bytes
        SHA-256 of the two; `keep_digest` is empty without `keep`.
    size_bytes, mtime_ns : int
        The file when the plan was made.
    folder : Path or None
        Where `move` puts the file.
    state : TaskState
    reason : str
        Why the file was left alone; a sentence that begins with its path.
    target : Path or None
        Where the file is once it is done, noted when it is begun: its place in the trash or the folder; for links the
        name under which the file's own bytes wait until the link stands.
    id : int
        In the journal; 0 before it is written there.
    """

    action: str
    kind: str
    path: Path
    keep: Path | None
    digest: bytes
    keep_digest: bytes
    size_bytes: int
    mtime_ns: int
    folder: Path | None
    state: TaskState
    reason: str = ""
    target: Path | None = None
    id: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong and what to do about it: the value that rooms hand up to `cbir status`.

    A room in which something can go wrong has a method `problems()`.  It returns what is wrong now, each fault once,
    worst first.  What heals by itself within seconds is no problem.

    Parameters
    ----------
    what : str
        What is wrong, and what still works; names the folder, file or setting.
    do : str
        What to do about it: a command where there is one.
    """

    what: str
    do: str
