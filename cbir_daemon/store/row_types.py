"""The values that the store takes and returns: frozen, one for each row or change.

In: fields.  Out: values.  Never here: SQL, and values that other rooms share (`cbir_daemon.records`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cbir_daemon.comparison import LookedAt, Trace, Transform
from cbir_daemon.kinds import Kind
from cbir_daemon.records import (
    IMAGE,
    DescriptorKind,
    Detail,
    Facts,
    FileState,
    FitKind,
    Part,
    TaskState,
    Trial,
    Unreadable,
)


@dataclass(frozen=True, slots=True)
class Album:
    """A watched root.

    Parameters
    ----------
    id : int
    path : bytes
        Absolute, without a trailing slash.
    state : str
        "watching", "polling" or "missing".
    baseline : bool
        Whether its first scan is indexed; only what comes later raises alerts.
    device : int
        Number of the disk that its root was on when it was last walked; 0 when it is not known.
    """

    id: int
    path: bytes
    state: str
    baseline: bool
    device: int = 0


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of one or more files, by what is known of them.

    Parameters
    ----------
    taken : str or None
        When a camera took it, as `Facts.taken`; None when an older release read it.
    picture : float or None
        Share of its area inside plain bars and borders, in (0, 1]; None as long as no copy of it was found.
    medium : str
        Whose reader read it.
    details : mapping
        What only its medium knows of it.
    """

    id: int
    digest: bytes
    width_px: int
    height_px: int
    size_bytes: int
    format: str
    taken: str | None = None
    picture: float | None = None
    medium: str = IMAGE
    details: Mapping[str, Detail] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """An indexed file with its content.

    Parameters
    ----------
    path : bytes
        Absolute.
    missing : bool
        Whether its album is missing at the moment.
    since : int
        The clock when the file got this content; 0 for one that an older release indexed.
    """

    file_id: int
    album_id: int
    path: bytes
    state: FileState
    missing: bool
    content: Content
    since: int = 0


@dataclass(frozen=True, slots=True)
class Indexed:
    """A file that was read; `facts.vector` is None when its digest was known.

    `descriptors` are written with a content that is new, and so are its parts, each with its code.
    """

    album_id: int
    path: bytes
    state: FileState
    facts: Facts
    descriptors: tuple[tuple[DescriptorKind, bytes], ...] = ()
    codes: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """A file that could not be read."""

    album_id: int
    path: bytes
    state: FileState
    unreadable: Unreadable


@dataclass(frozen=True, slots=True)
class Moved:
    """A file row whose file is now somewhere else."""

    file_id: int
    album_id: int
    path: bytes


@dataclass(frozen=True, slots=True)
class Gone:
    """A file that is no longer there, and with `below` whatever lay below that path."""

    album_id: int
    path: bytes
    below: bool = True


Change = Indexed | Failed | Moved | Gone


@dataclass(frozen=True, slots=True)
class Applied:
    """The effect of a batch of changes on the contents.

    Parameters
    ----------
    clock : int
        After the commit.
    added : tuple of (content id, vector)
        Images.
    added_by_medium : mapping
        Medium -> ids of new contents, of other media.
    gone : tuple of content id
    again : tuple of Indexed
        Files of which nothing was written: their digest was known when they were read, and is no more.
    """

    clock: int
    added: tuple[tuple[int, bytes], ...]
    gone: tuple[int, ...]
    again: tuple[Indexed, ...] = ()
    added_by_medium: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two contents that the vectors call copies of each other; `content_id` < `other_id`.

    Parameters
    ----------
    score : float
        How sure that is, in [0, 1].
    overlap, other_overlap : float or None
        Share of each content's area that the other shows, in [0, 1]; None for a pair that an older release found and
        that is not looked up again yet.
    transform : Transform or None
        What was done to the first to get the other.
    kind : Kind
        `COPY`, or `SHOT` when the files show two shots of one scene.
    look : LookedAt
        Whether the files or the vectors alone say which kind it is.
    look_version : int
        Of the comparison of the files; 0 when it has not taken place.
    traces, other_traces : tuple of Trace
        What was done to each content that was not done to the other, as the files tell.
    lying : str
        JSON: how the first lies in the other, as its medium said; empty for images.
    """

    content_id: int
    other_id: int
    score: float
    overlap: float | None = None
    other_overlap: float | None = None
    transform: Transform | None = None
    kind: Kind = Kind.COPY
    look: LookedAt = LookedAt.VECTORS
    look_version: int = 0
    traces: tuple[Trace, ...] = ()
    other_traces: tuple[Trace, ...] = ()
    lying: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """Two contents that are no duplicates by somebody's word, the smaller digest first.

    Parameters
    ----------
    digest, other_digest : bytes
        The same twice: all files with these bytes are to stay.
    decided_at : float
        Seconds since the epoch.
    """

    digest: bytes
    other_digest: bytes
    decided_at: float


@dataclass(frozen=True, slots=True)
class ResolveRun:
    """A resolve: when it began, how many of its tasks are in which state, and when one of them last changed."""

    id: int
    started_at: float
    states: dict[str, int]
    changed_at: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it was interrupted: it can be continued or undone."""
        return bool(self.states.get(TaskState.PLANNED) or self.states.get(TaskState.BEGUN))


@dataclass(frozen=True, slots=True)
class AlertMatch:
    """One indexed file that a new file is a copy of; `done` says in words what was done to get the new one.

    `site` names the site at which it lies; it is empty for a file of this one.
    """

    path: bytes
    kind: str
    score: float
    done: str = ""
    site: str = ""


@dataclass(frozen=True, slots=True)
class ContainedWork:
    """One of the user's works that a file contains: its name, "exact" or "copy", and a score in [0, 1]."""

    name: str
    kind: str
    score: float


@dataclass(frozen=True, slots=True)
class NewWork:
    """A file that is about to be put on the watch list; see `Work`."""

    digest: bytes
    vector: bytes
    extractor: str
    name: str
    path: bytes
    medium: str = IMAGE
    format: str = ""
    details: Mapping[str, Detail] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """A picture on the watch list.

    Parameters
    ----------
    path : bytes
        The file that it was read from, which need not be there any more; empty when only its bytes came.
    added_at : float
        Seconds since the epoch.
    matches : int
        Contents that were found to contain it.
    """

    id: int
    digest: bytes
    name: str
    path: bytes
    added_at: float
    matches: int = 0


@dataclass(frozen=True, slots=True)
class WorkMatch:
    """A content, by its digest, that contains a work."""

    work_id: int
    digest: bytes
    kind: str
    score: float


@dataclass(frozen=True, slots=True)
class SinkState:
    """How far a sink is with the alerts.

    Parameters
    ----------
    delivered_id : int
        The sink has had this alert and all before it.
    trying_id : int or None
        Last alert of the message under way; a message that is tried again is the same one.
    sent_at : float or None
        When the sink had its last message, in seconds since the epoch.
    """

    delivered_id: int
    trying_id: int | None = None
    sent_at: float | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """The alerts above an id: how many there are, the last one's id, and the times of the oldest and the newest."""

    count: int
    last_id: int
    oldest: float
    newest: float


@dataclass(frozen=True, slots=True)
class NewAlert:
    """An alert that is about to be written; one about an album has its path, a sentence and no matches.

    Parameters
    ----------
    watched : tuple of ContainedWork
        The user's works that the file contains.
    """

    path: bytes
    kind: str
    matches: tuple[AlertMatch, ...]
    message: str = ""
    returned: float | None = None
    watched: tuple[ContainedWork, ...] = ()


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """An alert in the outbox; `time` is seconds since the epoch."""

    id: int
    time: float
    path: bytes
    kind: str
    matches: tuple[AlertMatch, ...]
    message: str = ""
    returned: float | None = None
    watched: tuple[ContainedWork, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelRun:
    """One fit, from its start to its end.

    Parameters
    ----------
    outcome : str
        "running", "active", "replaced", "refused" (its map was worse than the one in use), "failed", "cancelled" or
        "set-aside" (its artifact fits no longer).
    started_at, finished_at : float
        Seconds since the epoch.
    present_images : int or None
        Contents in the collection when the fit began.
    kind : str
        A member of `FitKind`.
    numbers : mapping of str to number
        What the decisions to fit, and to take the map into use or not, were made by.
    far_distance, kept : float or None
        See `Baseline`.
    """

    id: int
    reason: str
    started_at: float
    finished_at: float | None
    outcome: str
    message: str
    code_version: str
    n_neighbors: int | None = None
    n_components: int | None = None
    trustworthiness: float | None = None
    neighbor_recall: float | None = None
    fitted_images: int | None = None
    present_images: int | None = None
    seed: int | None = None
    duration_s: float | None = None
    peak_mib: float | None = None
    curve: tuple[Trial, ...] = field(default=())
    artifact: str | None = None
    sha256: bytes | None = None
    kind: str = FitKind.TUNED
    numbers: Mapping[str, float] = field(default_factory=dict)
    far_distance: float | None = None
    kept: float | None = None
    medium: str = IMAGE


@dataclass(frozen=True, slots=True)
class FitBegun:
    """A fit that is about to be recorded; the fields are those of `ModelRun`."""

    reason: str
    code_version: str
    present_images: int
    kind: str = FitKind.TUNED
    numbers: Mapping[str, float] = field(default_factory=dict)
    medium: str = IMAGE


@dataclass(frozen=True, slots=True)
class Baseline:
    """The baseline of new contents: distances and recall of a map when it was fitted.

    Parameters
    ----------
    far_distance : float or None
        19 of 20 fitted contents have a smaller mean distance to their nearest fitted contents.
    kept : float or None
        Mean neighbour recall of the contents that the fit had not seen; None when there were too few.
    """

    far_distance: float | None = None
    kept: float | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A content's place on a map.

    Parameters
    ----------
    content_id : int
    origin : str
        "fitted", "present" (there at the fit, but not fitted) or "added" (came later).
    coordinates : bytes
        float32, little-endian.
    flat : bytes or None
        x and y in the two-dimensional picture, float32, little-endian.
    distance : float or None
        Mean distance to the nearest fitted images, of what was projected.
    kept : float or None
        Neighbour recall: the share of these fitted images that lie in its neighbourhood on the map.
    """

    content_id: int
    origin: str
    coordinates: bytes
    flat: bytes | None = None
    distance: float | None = None
    kept: float | None = None


@dataclass(frozen=True, slots=True)
class AlbumDrift:
    """Of the contents added to an album since the fit, how many there are and how many lie far."""

    path: bytes
    added: int
    far: int


@dataclass(frozen=True, slots=True)
class Drift:
    """How the contents added since a fit lie to what it was fitted on.

    Parameters
    ----------
    added : int
        Contents added whose distance can be judged.
    far : int
        Those of them that lie farther than `Baseline.far_distance`.
    measured : int
        How many of the contents added last `kept` is the mean of.
    kept : float or None
        Mean neighbour recall, as `Baseline.kept`.
    albums : tuple of AlbumDrift
        Albums that got some of them.
    """

    added: int = 0
    far: int = 0
    measured: int = 0
    kept: float | None = None
    albums: tuple[AlbumDrift, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """How many files and contents the index has, and how many of them wait for something.

    Parameters
    ----------
    images, errors : int
        Files with a content, files without.
    contents : int
    unmatched : int
        Contents whose copies have not been looked up yet.
    alerts_due : int
        Files of which it is not decided yet whether they raise an alert.
    parts_due : int
        New files that are a copy of nothing, and whose parts are still to be looked up.
    """

    images: int
    errors: int
    contents: int
    unmatched: int
    alerts_due: int
    parts_due: int = 0


@dataclass(frozen=True, slots=True)
class Coverage:
    """How well the active map covers the contents.

    Parameters
    ----------
    contents : int
        Contents now.
    fitted, present, added : int
        Contents now that have a position of that origin.
    present_at_fit : int
        Contents there were when the map was fitted.
    """

    contents: int
    fitted: int
    present: int
    added: int
    present_at_fit: int

    @property
    def unplaced(self) -> int:
        """Contents without a position."""
        return self.contents - self.fitted - self.present - self.added

    @property
    def changed(self) -> int:
        """Contents added or gone since the fit."""
        gone = self.present_at_fit - self.fitted - self.present
        return gone + self.added + self.unplaced

    @property
    def changed_fraction(self) -> float:
        """`changed` as a share of what there was at the fit."""
        return self.changed / max(1, self.present_at_fit)
