"""The frozen values that cross rooms, besides what comparing two images tells (`comparison`).

In: nothing.  Out: frozen values, states and the table `REASONS`.  Never here: another room, numpy, PIL, for the client
reads this module too.  Vectors travel as 4096 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

VECTOR_SIDE_PX = 64
VECTOR_BYTES = VECTOR_SIDE_PX * VECTOR_SIDE_PX

DIGEST_BYTES = 32


class AlbumState(StrEnum):
    """How an album is kept up with."""

    WATCHING = "watching"
    POLLING = "polling"
    """Its file system tells of no changes: it is walked at intervals."""
    MISSING = "missing"


class SinkType(StrEnum):
    """The kind of place that alerts go to."""

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
    ROUGH = "rough"
    """Of a sample, with usual hyper-parameters and few rounds: in use until a tuned map is there."""


class PlacedBy(StrEnum):
    """How a query got its position on the map."""

    INDEXED = "indexed"
    """A file of the same bytes is indexed: it has the position of that content."""
    PROJECTED = "projected"
    """By the map itself."""
    INTERPOLATED = "interpolated"
    """Between the nearest fitted images: the process that holds the map is still starting."""


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


@dataclass(frozen=True, slots=True)
class FileState:
    """The state of a file on its disk: while it is equal, the file is the one that was read.

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


IMAGE = "image"
"""The medium of pictures; any other is compared by its parts."""

Detail = str | int | float | bool
"""A fact of a file that only its medium knows: a title, a length."""

MAX_PARTS = 8_000
MAX_DETAIL_BYTES = 64 * 1024
MAX_DETAILS = 64
"""Of a file; a worker that sends more is not believed."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file that has parts.

    Parameters
    ----------
    vector : bytes
        4096 numbers of 8 bits.
    start, end : float
        Where it is in the file, in the unit of its medium.
    label : str
        The same for people: "page 3"; empty where the numbers say it.
    detail : bytes
        What its medium judges by besides; `MAX_DETAIL_BYTES` at most.
    """

    vector: bytes
    start: float
    end: float
    label: str = ""
    detail: bytes = b""


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that reading a file gives.

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
    descriptor : bytes
        How the image looks, as `decode.reader.Reader` names it; empty where the reader tells nothing of that, or when
        the digest was known.
    medium : str
        Whose reader read it.
    parts : tuple of Part
        Of a medium that has parts; empty when the digest was known.
    details : mapping
        What only its medium knows of it.
    """

    digest: bytes
    vector: bytes | None
    width_px: int
    height_px: int
    format: str
    state: FileState | None = None
    taken: str = ""
    extractor: str = field(kw_only=True)
    descriptor: bytes = b""
    medium: str = IMAGE
    parts: tuple[Part, ...] = ()
    details: Mapping[str, Detail] = field(default_factory=dict)


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


LOOK = DescriptorKind("look", "1")
LOOK_PARTS = (378, 72, 30)
"""Bytes that tell how a picture looks: its colours, its edges, its texture."""
LOOK_BYTES = sum(LOOK_PARTS)


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
    is_drawable : bool
        Whether a part of the picture may be there to be seen.
    """

    meaning: str
    heals: Heals = Heals.CHANGE
    tries: int | None = None
    is_drawable: bool = False


REASONS: Mapping[str, Reason] = {
    "empty": Reason("the file has no bytes"),
    "not-an-image": Reason("the bytes are in no format that is read here", is_drawable=True),
    "needs-extra": Reason("the format is read by an extra that is not installed", Heals.EXTRA, is_drawable=True),
    "truncated": Reason("the file ends before the picture does", is_drawable=True),
    "damaged": Reason(
        "the format is known, but this file is damaged, or a variant of it that is not read", is_drawable=True
    ),
    "too-many-pixels": Reason("width x height is above `max_pixels`", is_drawable=True),
    "too-large": Reason("the file is above `max_file_bytes`"),
    # A slow disk or a busy machine may be the cause, which passes.  A file that takes too long by itself does so each
    # time, and each try costs a worker `timeout_s`: five more of them come within half an hour.
    "timed-out": Reason("reading took longer than `timeout_s`", Heals.PAUSE, tries=5),
    "crashed": Reason("two worker processes in a row died while they read this file"),
    "out-of-memory": Reason("reading needs more memory than a worker may have", is_drawable=True),
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
class Trial:
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
    curve : tuple of Trial
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
    curve: tuple[Trial, ...]
    artifact: str
    sha256: bytes


class TaskAction(StrEnum):
    """The ways to deal with a file that is not kept."""

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
    """A task of `cbir resolve` about one file: the daemon decides and remembers it, the client does it.

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
    """A fault and its remedy: the value that rooms hand up to `cbir status`.

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
