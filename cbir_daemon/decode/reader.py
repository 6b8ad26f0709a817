"""The seam between workers and what they read: all that this room asks of one kind of file.

In: nothing.  Out: `Reader`, as which the daemon knows a kind of file, and `Readers`, several of them; the protocols
`FileReader` and `Pictures`, and the values that they return.  Never here: a reader itself (as `pictures.PICTURES`),
Pillow.

Whoever starts the daemon passes readers to the pool; no room below imports one by name.  A worker is another process,
so the code that reads is passed by the name of its module.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Protocol

from cbir_daemon.records import IMAGE, DescriptorKind, Detail, Part


@dataclass(frozen=True, slots=True)
class Extra:
    """A format that an optional package reads.

    Parameters
    ----------
    name : str
        As in `pip install cbir-daemon[NAME]`.
    format : str
        For people.
    module : str
        The package's module.
    folders : tuple of str
        From which it loads files while it reads; `~` is this user's home.
    """

    name: str
    format: str
    module: str
    folders: tuple[str, ...] = ()

    @property
    def is_installed(self) -> bool:
        """Whether the package is there; nothing is imported to find out."""
        return find_spec(self.module) is not None

    @property
    def words(self) -> str:
        """What is recorded of a file that needs it; the index is asked for these words when it is there."""
        return f"{self.format} is read by the extra {self.name!r}: pip install 'cbir-daemon[{self.name}]'"


@dataclass(frozen=True, slots=True)
class Reader:
    """A kind of file, as the daemon knows it.

    Parameters
    ----------
    extractor : str
        Name and version of how a file becomes a vector; recorded with each content.  A medium names the extractor
        whose vectors it compares.
    suffixes : frozenset of str
        Lower case, of the files that are looked at.  What a file is, its bytes decide.
    module : str
        Dotted name of the module whose `FILE_READER` reads in the workers.
    extras : tuple of Extra
        What it needs for some formats.
    descriptor : DescriptorKind or None
        Under which name and version what is read is described beside its vector; None when it is not.  A medium names
        the kind that it compares.
    descriptor_bytes : int
        Of a descriptor.
    medium : str
        Name of the medium that compares what it reads.
    """

    extractor: str
    suffixes: frozenset[str]
    module: str
    extras: tuple[Extra, ...] = ()
    descriptor: DescriptorKind | None = None
    descriptor_bytes: int = 0
    medium: str = IMAGE


class Readers:
    """The kinds of files that a daemon reads.

    Parameters
    ----------
    readers : sequence of Reader
        At least one, each of another medium.  Of readers that claim the same bytes, the first one reads them.
    """

    def __init__(self, readers: Sequence[Reader]) -> None:
        self._readers = {reader.medium: reader for reader in readers}

    def __iter__(self) -> Iterator[Reader]:
        return iter(self._readers.values())

    def of(self, medium: str) -> Reader:
        """Return the reader of a medium; raises `KeyError` where there is none."""
        return self._readers[medium]

    @property
    def suffixes(self) -> frozenset[str]:
        """Lower case, of the files that are looked at."""
        return frozenset().union(*(reader.suffixes for reader in self))

    @property
    def extractors(self) -> frozenset[str]:
        """Names and versions of how files become vectors."""
        return frozenset(reader.extractor for reader in self)

    @property
    def extras(self) -> tuple[Extra, ...]:
        """What they need for some formats."""
        return tuple(extra for reader in self for extra in reader.extras)

    def named(self, path: bytes) -> tuple[str, ...]:
        """Return the media one of which a file is of, by its name; empty where there is one only.

        Parameters
        ----------
        path : bytes

        Returns
        -------
        tuple of str
            All of them when the name says nothing.
        """
        if len(self._readers) == 1:
            return ()
        suffix = os.path.splitext(path.lower())[1].decode(errors="replace")  # noqa: PTH122 -- a path of bytes
        return tuple(medium for medium, reader in self._readers.items() if suffix in reader.suffixes) or (
            *self._readers,
        )

    def missing_extras(self) -> tuple[str, ...]:
        """Return the names of the extras that are not installed here; nothing is imported to find out."""
        return tuple(extra.name for extra in self._missing())

    def missing_words(self) -> frozenset[str]:
        """Return what is recorded of files that need an extra which is not installed here."""
        return frozenset(extra.words for extra in self._missing())

    def needed_extras(self, recorded: Collection[str]) -> tuple[str, ...]:
        """Return the names of the extras that are not installed here and that files with these recorded words need."""
        return tuple(extra.name for extra in self._missing() if extra.words in recorded)

    def _missing(self) -> tuple[Extra, ...]:
        return tuple(extra for extra in self.extras if not extra.is_installed)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the bytes of a file hold.

    Parameters
    ----------
    vector : bytes
        4096 numbers of 8 bits.
    width_px, height_px : int
        Size of the upright image; 0 of what is no image.
    format : str
        Name of the file format in capitals.
    taken : str
        When a camera took it, as ISO 8601 in local time; empty when it does not say so.
    descriptor : bytes
        How it looks: `Reader.descriptor_bytes` numbers; empty where the reader tells nothing of that.
    parts : tuple of Part
        Of a medium that compares parts.
    details : mapping
        What only its medium knows of it.
    """

    vector: bytes
    width_px: int
    height_px: int
    format: str
    taken: str = ""
    descriptor: bytes = b""
    parts: tuple[Part, ...] = ()
    details: Mapping[str, Detail] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pixels:
    """A small upright picture: `height_px` rows of `width_px` pixels, a byte for each of their channels."""

    width_px: int
    height_px: int
    data: bytes


class Pictures(Protocol):
    """What draws small upright pictures of files; each method raises `UnreadableError` as `FileReader.read` does."""

    def colour(self, data: bytes, max_pixels: int, side_px: int, /) -> Pixels:
        """Return a picture in RGB.

        Parameters
        ----------
        data : bytes
            The whole file.
        max_pixels : int
            Largest width x height of the image, checked before memory is taken.
        side_px : int
            Width and height of the picture at most; a smaller image keeps its size.
        """
        ...

    def preview(self, data: bytes, max_pixels: int, side_px: int, /) -> Pixels:
        """Return a picture in RGB for people; see `colour`.

        Parameters
        ----------
        data : bytes
        max_pixels : int
        side_px : int
            The picture may be a tenth smaller where that is faster.
        """
        ...

    def remains(self, data: bytes, max_pixels: int, side_px: int, /) -> Pixels:
        """Return a picture in RGB of what is there of an image that cannot be read whole; see `preview`.

        Parameters
        ----------
        data : bytes
        max_pixels : int
        side_px : int
        """
        ...

    def grey(self, data: bytes, max_pixels: int, side_px: int, /) -> Pixels:
        """Return a picture in grey; see `colour`.

        Parameters
        ----------
        data : bytes
        max_pixels : int
        side_px : int
        """
        ...

    def crop(self, data: bytes, max_pixels: int, box: tuple[int, int, int, int], /) -> Pixels:
        """Return a part in grey, pixel by pixel as the file has it.

        Parameters
        ----------
        data : bytes
        max_pixels : int
        box : tuple of int
            Left, top, right and bottom in pixels of the upright image.
        """
        ...

    def palette(self, descriptor: bytes, /) -> bytes:
        """Return the colours that the greys of a vector stand for: red, green and blue of each, 768 bytes.

        Parameters
        ----------
        descriptor : bytes
            `Reader.descriptor_bytes` numbers; all 0 when the image was not described, or none at all.
        """
        ...


class FileReader(Protocol):
    """The code that reads one kind of file: `FILE_READER` of the module that a `Reader` names.

    Notes
    -----
    Only workers import it.  A worker calls `load`, confines itself, and calls the others for file after file: from then
    on it can open no file but in `folders`.
    """

    @property
    def pictures(self) -> Pictures | None:
        """What draws small pictures of files; None where there is nothing to look at."""
        ...

    def load(self, extras: AbstractSet[str], /) -> frozenset[str]:
        """Load all that reading takes, and the extras that are named and installed.

        Parameters
        ----------
        extras : set of str
            Names.

        Returns
        -------
        frozenset of str
            Names of the extras that are installed here and were not loaded.
        """
        ...

    def folders(self, extras: AbstractSet[str], /) -> Sequence[str]:
        """Return the folders from which loaded extras load files while they read.

        Parameters
        ----------
        extras : set of str
            Names.
        """
        ...

    def claims(self, data: bytes, /) -> bool:
        """Return whether a file is of this kind, by its bytes alone; asked where the name does not tell.

        Parameters
        ----------
        data : bytes
            The whole file; its beginning should do.
        """
        ...

    def extra_for(self, data: bytes, /) -> str:
        """Return the name of the extra that reads a file; empty when it takes none.

        Parameters
        ----------
        data : bytes
            The whole file.
        """
        ...

    def read(self, data: bytes, max_pixels: int, /) -> Reading:
        """Return the vector and the facts of a file.

        Parameters
        ----------
        data : bytes
            The whole file.
        max_pixels : int
            Largest width x height, checked before memory is taken.

        Raises
        ------
        UnreadableError
            `not-an-image`, `needs-extra`, `truncated`, `damaged`, `too-many-pixels` or `out-of-memory`.
        """
        ...
