"""What the library returns: frozen values, made of the answers of the socket.

In: answers, which draw nothing.  Out: values; those with pictures draw themselves in a notebook (`_repr_html_`).  Never
here: how an answer is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, overload

from cbir_daemon.library import html
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.messages import path_from_json

Thumbnail = Callable[[str], bytes]
"""Takes a digest, returns a small picture of the content as a WebP; empty when there is none."""


def path_of(value: answers.WirePath) -> Path:
    """Return a path as it travelled; one that is not UTF-8 has surrogates, as everywhere in Python."""
    return Path(os.fsdecode(path_from_json(value)))


def _time_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


@dataclass(frozen=True, slots=True)
class Transform:
    """The edit that makes the query of the stored image: mirrored first, then turned counter-clockwise.

    Parameters
    ----------
    flip : bool
        Mirrored left to right.
    turn : int
        0, 90, 180 or 270 degrees.
    angle : float
        Degrees on top of `turn`.
    invert : bool
        Made a negative.
    """

    flip: bool
    turn: int
    angle: float
    invert: bool


@dataclass(frozen=True, slots=True)
class Overlap:
    """The share of each image's area that the other one shows, 0 to 1.

    Parameters
    ----------
    query, match : float
    """

    query: float
    match: float


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an image, in shares of its sides.

    Parameters
    ----------
    left, top, right, bottom : float
    """

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Match:
    """A file that is, copies or resembles the query.

    Parameters
    ----------
    path : Path
    kind : str
        "exact", "copy", "shot" or "similar".
    score : float
        0 to 1, 1 = same.
    origin : str
        How the query follows from this file, in words.
    digest : str
        SHA-256 in hexadecimal digits.
    map_distance : float or None
        None when either of the two has no position on the map.
    transform : Transform
    overlap : Overlap
    part : Part or None
        Where in the query it was found; None for the whole.
    width, height, size : int
        Pixels and bytes.
    medium : str
        "image", or another one.
    missing : bool
        Whether its disk is away.
    """

    path: Path
    kind: str
    score: float
    origin: str
    digest: str
    map_distance: float | None
    transform: Transform
    overlap: Overlap
    part: Part | None
    width: int
    height: int
    size: int
    medium: str
    missing: bool

    @classmethod
    def of(cls, answer: answers.Match) -> Match:
        """Return the match of an answer."""
        path, part = path_of(answer["path"]), answer["part"]
        return cls(
            path=path,
            kind=answer["kind"],
            score=answer["score"],
            origin=answer["origin"].replace("{path}", path.name),
            digest=answer["digest"],
            map_distance=answer["map_distance"],
            transform=Transform(**_named(Transform, answer["transform"])),
            overlap=Overlap(**_named(Overlap, answer["overlap"])),
            part=None if part is None else Part(**_named(Part, part)),
            width=answer["width"],
            height=answer["height"],
            size=answer["size"],
            medium=answer["medium"],
            missing=answer.get("missing", False),
        )


@dataclass(frozen=True, slots=True)
class Matches(Sequence[Match]):
    """The matches of a query, best first.

    Parameters
    ----------
    found : tuple of Match
    digest : str
        Of the query.
    width, height : int
        Of the query, in pixels.
    took_ms : float
        How long the search took.
    thumbnail : callable
        Draws them in a notebook.
    """

    found: tuple[Match, ...]
    digest: str
    width: int
    height: int
    took_ms: float
    thumbnail: Thumbnail = field(repr=False, compare=False)

    @classmethod
    def of(cls, answer: answers.Query, thumbnail: Thumbnail) -> Matches:
        """Return the matches of an answer.

        Parameters
        ----------
        answer : Query
        thumbnail : callable
            Draws them.
        """
        query = answer["query"]
        found = tuple(map(Match.of, answer["matches"]))
        return cls(found, query["digest"], query["width"], query["height"], answer["took_ms"], thumbnail)

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Match]:
        return iter(self.found)

    @overload
    def __getitem__(self, place: int) -> Match: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Match, ...]: ...

    def __getitem__(self, place: int | slice) -> Match | tuple[Match, ...]:
        return self.found[place]

    def _repr_html_(self) -> str:
        cells = [
            html.Cell(self.thumbnail(match.digest), f"{match.kind} {match.score:.3f}", match.origin, str(match.path))
            for match in self.found
        ]
        return html.table(cells, nothing="nothing found")


@dataclass(frozen=True, slots=True)
class Image:
    """An indexed file.

    Parameters
    ----------
    path : Path
    digest : str
        SHA-256 in hexadecimal digits.
    width, height, size : int
        Pixels and bytes.
    format : str
    taken : datetime or None
        When it was taken, as the camera's clock had it.
    missing : bool
        Whether its disk is away.
    """

    path: Path
    digest: str
    width: int
    height: int
    size: int
    format: str
    taken: datetime | None
    missing: bool

    @classmethod
    def of(cls, answer: answers.IndexedImage) -> Image:
        """Return the image of an answer."""
        taken = answer["taken"]
        return cls(
            path=path_of(answer["path"]),
            digest=answer["digest"],
            width=answer["width"],
            height=answer["height"],
            size=answer["size"],
            format=answer["format"],
            taken=None if taken is None else _time_of(taken),
            missing=answer["missing"],
        )


@dataclass(frozen=True, slots=True)
class GroupImage:
    """An image in a group of duplicates.

    Parameters
    ----------
    path : Path
    digest : str
        SHA-256 in hexadecimal digits.
    keep : bool
        Whether it is the one to keep.
    why : str
        Why it is kept, or what it is a copy of, in words.
    score : float
        0 to 1, with the image that is kept.
    width, height, size : int
        Pixels and bytes.
    """

    path: Path
    digest: str
    keep: bool
    why: str
    score: float
    width: int
    height: int
    size: int

    @classmethod
    def of(cls, answer: answers.GroupImage) -> GroupImage:
        """Return the image of an answer."""
        return cls(
            path=path_of(answer["path"]),
            digest=answer["digest"],
            keep=answer["keep"],
            why=answer["why"],
            score=answer["score"],
            width=answer["width"],
            height=answer["height"],
            size=answer["size"],
        )


@dataclass(frozen=True, slots=True)
class Group:
    """Images that show the same, or shots of one scene.

    Parameters
    ----------
    id : str
    kind : str
        "exact", "copy" or "shot".
    saves : int
        Bytes that the images take that are not kept.
    images : tuple of GroupImage
        The one to keep first.
    thumbnail : callable
        Draws them in a notebook.
    """

    id: str
    kind: str
    saves: int
    images: tuple[GroupImage, ...]
    thumbnail: Thumbnail = field(repr=False, compare=False)

    @classmethod
    def of(cls, answer: answers.Group, thumbnail: Thumbnail) -> Group:
        """Return the group of an answer.

        Parameters
        ----------
        answer : Group
        thumbnail : callable
            Draws its images.
        """
        images = tuple(map(GroupImage.of, answer["images"]))
        return cls(answer["id"], answer["kind"], answer["saves"], images, thumbnail)

    def _repr_html_(self) -> str:
        cells = [
            html.Cell(self.thumbnail(image.digest), "keep" if image.keep else self.kind, image.why, str(image.path))
            for image in self.images
        ]
        return html.table(cells, nothing="an empty group")


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert.

    Parameters
    ----------
    id : int
    time : datetime
    path : Path
        Of the new file, or of the album.
    kind : str
    text : str
        What it says.
    """

    id: int
    time: datetime
    path: Path
    kind: str
    text: str

    @classmethod
    def of(cls, answer: answers.Alert) -> Alert:
        """Return the alert of an answer."""
        return cls(answer["id"], _time_of(answer["time"]), path_of(answer["path"]), answer["kind"], answer["text"])


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that could not be read.

    Parameters
    ----------
    path : Path
    code : str
        The reason as a word.
    message : str
        The reason as a sentence.
    """

    path: Path
    code: str
    message: str

    @classmethod
    def of(cls, answer: answers.Unreadable) -> Unreadable:
        """Return the file of an answer."""
        return cls(path_of(answer["path"]), answer["code"], answer["message"])


@dataclass(frozen=True, slots=True)
class Trial:
    """A point of the curve from which hyper-parameters are chosen.

    Parameters
    ----------
    n_neighbors, n_components : int
    trustworthiness, neighbor_recall : float
        0 to 1.
    """

    n_neighbors: int
    n_components: int
    trustworthiness: float
    neighbor_recall: float


@dataclass(frozen=True, slots=True)
class Model:
    """The map in use.

    Parameters
    ----------
    n_neighbors, n_components : int
        The hyper-parameters that were chosen.
    trustworthiness, neighbor_recall : float
        0 to 1.
    fitted_images, projected_images : int
        Contents that it was fitted on, and that were placed afterwards.
    fitted_at : datetime
    duration_s : float
    curve : tuple of Trial
        What was tried.
    """

    n_neighbors: int
    n_components: int
    trustworthiness: float
    neighbor_recall: float
    fitted_images: int
    projected_images: int
    fitted_at: datetime
    duration_s: float
    curve: tuple[Trial, ...]

    @classmethod
    def of(cls, answer: answers.ModelShown) -> Model:
        """Return the map of an answer."""
        return cls(
            n_neighbors=answer["n_neighbors"],
            n_components=answer["n_components"],
            trustworthiness=answer["trustworthiness"],
            neighbor_recall=answer["neighbor_recall"],
            fitted_images=answer["fitted_images"],
            projected_images=answer["projected_images"],
            fitted_at=_time_of(answer["fitted_at"]),
            duration_s=answer["duration_s"],
            curve=tuple(Trial(**_named(Trial, trial)) for trial in answer["curve"]),
        )


def _named(kind: type[Transform | Overlap | Part | Trial], answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return those fields of an answer that a value has: a daemon of a later release may tell more."""
    return {own.name: answer[own.name] for own in fields(kind)}
