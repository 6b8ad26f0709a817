"""The frozen values that cross rooms.

Nothing here imports another room, numpy or PIL: the client reads this module too.  Vectors travel as 4096 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

VECTOR_SIDE_PX = 64
VECTOR_BYTES = VECTOR_SIDE_PX * VECTOR_SIDE_PX
DIGEST_BYTES = 32

EXTRACTOR = "grey64/1"
"""How a vector is made from an image; a new name makes every content be read again."""


class Kind(StrEnum):
    """How a match was found, strongest first."""

    EXACT = "exact"
    COPY = "copy"
    SIMILAR = "similar"


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells that a file is still the one that was read."""

    size_bytes: int
    mtime_ns: int
    inode: int


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
    """

    digest: bytes
    vector: bytes | None
    width_px: int
    height_px: int
    format: str
    state: FileState | None = None


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


@dataclass(frozen=True, slots=True)
class Overlap:
    """Share of each image's area that the other shows, in [0, 1]."""

    query: float = 1.0
    match: float = 1.0


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
    """

    is_copy: bool
    score: float
    transform: Transform = field(default_factory=Transform)
    overlap: Overlap = field(default_factory=Overlap)


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
