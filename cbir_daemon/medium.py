"""The seam between what is indexed and how it is compared: all that other rooms ask of one kind of file.

In: nothing.  Out: the protocol `Medium`, and the values that its methods hand on.  Never here: a medium itself
(`matching.GREY64` is the only one), files.

Whoever starts a process passes a medium in; no room below imports one by name.  A running daemon keeps it in one place,
`Searcher.medium`, so that no two rooms compare by two media.

Every medium makes vectors of `records.VECTOR_BYTES` numbers of 8 bits.  What they count is its own affair: grey levels,
bands of a spectrum, words.  Codes, windows and views are its own, too; rooms only store, stack and rank them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Around, Judgement, Overlap, Quadrilateral, Reason, Trace, Transform, Window
from cbir_daemon.records import DescriptorKind

Floats = NDArray[np.float32]

Codes = NDArray[np.int8]
"""Packed codes (n, windows, terms) of n contents; the window of the whole content first."""


@dataclass(frozen=True, slots=True)
class CoarseViews:
    """A query under all views, scaled so that the product with a packed code is a correlation.

    Parameters
    ----------
    crops : (a, terms) ndarray of float32
        Compared with every window of a content: views in which the query may be a part of it.
    tilts : (b, terms) ndarray of float32
        Compared with the middle windows.
    frames : (c, terms) ndarray of float32
        Compared with the whole content: views in which the content may be a part of the query.

    Notes
    -----
    A medium that knows no such views has none: (0, terms).
    """

    crops: Floats
    tilts: Floats
    frames: Floats


@dataclass(frozen=True, slots=True)
class JoinViews:
    """The views of a content where many are looked up among each other.

    Parameters
    ----------
    crops : (a, terms) ndarray of float32
        Compared with every window of another content; its first `wholes` may be negatives.
    frames : (b, terms) ndarray of float32
        Compared with the whole of another content.
    affines : (a + b, 2, 3) ndarray of float32
        From the content to each view's own coordinates; read by the medium alone, zeros where it has no use for
        them.
    wholes : int
    """

    crops: Floats
    frames: Floats
    affines: Floats
    wholes: int

    @property
    def coarse(self) -> CoarseViews:
        """The views as `Medium.best_scores` takes them; frames are compared with the middle windows too."""
        return CoarseViews(self.crops, self.frames, self.frames)


@dataclass(frozen=True, slots=True)
class Guesses:
    """Promising pairs of a view of a query and a window of a content, g for each of m contents.

    Parameters
    ----------
    views, windows : (m * g,) ndarray of int64
        Rows of the medium's own tables.
    signs : (m * g,) ndarray of float32
        -1 for a negative, else 1.
    affines : (m * g, 2, 3) ndarray of float32
        From the query to the content; read by the medium alone, as in `JoinViews`.
    """

    views: NDArray[np.int64]
    windows: NDArray[np.int64]
    signs: Floats
    affines: Floats

    def take(self, rows: NDArray[np.int64]) -> Guesses:
        """Return the guesses of contents, when there is one for each.

        Parameters
        ----------
        rows : (k,) ndarray of int64
        """
        return Guesses(self.views[rows], self.windows[rows], self.signs[rows], self.affines[rows])


class Seen(StrEnum):
    """The answer of a second look at two files."""

    COPY = "copy"
    """One exposure."""
    SHOT = "shot"
    """Two exposures of one scene."""
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Sight:
    """The answer of a second look at two files, and the edits that each has and the other has not.

    Parameters
    ----------
    seen : Seen
    own_traces, traces : tuple of Trace
        Of the query and of the stored file; empty unless they are one exposure.
    """

    seen: Seen
    own_traces: tuple[Trace, ...] = ()
    traces: tuple[Trace, ...] = ()


@dataclass(frozen=True, slots=True)
class Fine:
    """A part of a picture, pixel by pixel as its file has it.

    Parameters
    ----------
    picture : (height, width) ndarray of uint8
        Grey, upright.
    window : Window
        Which part of the whole it is, as shares of that.
    """

    picture: NDArray[np.uint8]
    window: Window


class SecondLook(Protocol):
    """Compares two files that the vectors call copies, on more than the vectors hold."""

    @property
    def version(self) -> int:
        """Grows with every change of what `seen` says; recorded with each pair, which is compared again then."""
        ...

    @property
    def side_px(self) -> int:
        """Longer side, at most, at which the two are read."""
        ...

    def seen(
        self,
        query: NDArray[np.uint8],
        stored: NDArray[np.uint8],
        query_picture: NDArray[np.uint8],
        stored_picture: NDArray[np.uint8],
        affine: Sequence[float] = (),
        *,
        invert: bool = False,
    ) -> Seen:
        """Return whether two pictures are one exposure.

        Parameters
        ----------
        query, stored : (4096,) ndarray of uint8
            Their vectors.
        query_picture, stored_picture : (height, width) ndarray of uint8
            Grey, upright; the longer side at most `side_px`.
        affine : sequence of float
            How the vectors lie on each other, as `Judgement` has it; empty when that is not known.
        invert : bool
            Whether they agree as negatives, by what gave the affine.
        """
        ...

    def seen_in_place(
        self, query_picture: NDArray[np.uint8], stored_picture: NDArray[np.uint8], affine: NDArray[np.float64]
    ) -> tuple[Seen, float]:
        """Return whether two pictures are one exposure, of which something else may cover a part, and how they agree.

        Parameters
        ----------
        query_picture, stored_picture : (height, width) ndarray of uint8
            Grey, upright; the longer side at most `side_px`.
        affine : (2, 3) ndarray of float64
            From a point of the query to that of the stored picture, coordinates from -1 to 1 over each picture.

        Returns
        -------
        seen : Seen
        agreement : float
            Of what is seen in both, in [0, 1].
        """
        ...

    def homography(
        self,
        query: NDArray[np.uint8],
        stored: NDArray[np.uint8],
        query_picture: NDArray[np.uint8],
        stored_picture: NDArray[np.uint8],
    ) -> NDArray[np.float64] | None:
        """Return how two pictures of one exposure lie on each other; None where that cannot be told.

        Parameters
        ----------
        query, stored : (4096,) ndarray of uint8
            Their vectors.
        query_picture, stored_picture : (height, width) ndarray of uint8
            Grey, upright; the longer side at most `side_px`.

        Returns
        -------
        (3, 3) ndarray of float64 or None
            From a point of the query to that of the stored picture, coordinates from -1 to 1 over each picture.
        """
        ...

    def sight(
        self,
        query: NDArray[np.uint8],
        stored: NDArray[np.uint8],
        query_picture: NDArray[np.uint8],
        stored_picture: NDArray[np.uint8],
    ) -> Sight:
        """Return what `seen` does, and what was laid over or put around one of two pictures of one exposure.

        Parameters
        ----------
        query, stored : (4096,) ndarray of uint8
        query_picture, stored_picture : (height, width) ndarray of uint8
        """
        ...

    @property
    def detail_side_px(self) -> int:
        """Longer side, at most, of the part that `detail_traces` compares."""
        ...

    def busiest(self, picture: NDArray[np.uint8], width: float, height: float, /) -> Window:
        """Return the part of a picture that has most detail.

        Parameters
        ----------
        picture : (height, width) ndarray of uint8
            As `seen` takes it.
        width, height : float
            Of the part, as shares of the picture.
        """
        ...

    def detail_traces(self, query: Fine, stored: Fine, /) -> tuple[tuple[Trace, ...], tuple[Trace, ...]]:
        """Return the edits of detail that each of two pictures of one exposure has and the other has not.

        Parameters
        ----------
        query, stored : Fine
            The same part of both, which are neither turned nor mirrored against each other.
        """
        ...

    def sharpness(self, picture: NDArray[np.uint8], /) -> float:
        """Return the share of fine detail in a picture, by which the sharper of two shots is told.

        Parameters
        ----------
        picture : (height, width) ndarray of uint8
            As `seen` takes it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Placement:
    """How a content lies in a query that shows it.

    Parameters
    ----------
    transform : Transform
        What was done to the content.
    overlap : Overlap
    window : Window
        The upright part of the query around what it shows of the content.
    """

    transform: Transform
    overlap: Overlap
    window: Window


class PictureParts(Protocol):
    """Finds and cuts out the parts of a query that may each be a content."""

    def rectangles(self, picture: NDArray[np.uint8], /) -> Sequence[Window]:
        """Return the parts of a picture that have straight edges on all sides, likeliest first.

        Parameters
        ----------
        picture : (height, width) ndarray of uint8
            Grey, upright.
        """
        ...

    def around_part(self, picture: NDArray[np.uint8], part: Window, /) -> Around:
        """Return the surroundings of a part of a picture.

        Parameters
        ----------
        picture : (height, width) ndarray of uint8
        part : Window
        """
        ...

    def turned_parts(self, picture: NDArray[np.uint8], /) -> Sequence[Quadrilateral]:
        """Return the parts of a picture that may be contents turned or skewed, likeliest first.

        Parameters
        ----------
        picture : (height, width) ndarray of uint8
            Grey, upright.
        """
        ...

    def part_vector(self, picture: NDArray[np.uint8], part: Window | Quadrilateral, /) -> NDArray[np.uint8]:
        """Return the (4096,) vector of a part of a picture.

        Parameters
        ----------
        picture : (height, width) ndarray of uint8
        part : Window or Quadrilateral
        """
        ...

    def part_picture(
        self, picture: NDArray[np.uint8], part: Window | Quadrilateral, side_px: int, /
    ) -> NDArray[np.uint8]:
        """Return a part of a picture as `SecondLook.seen` takes it.

        Parameters
        ----------
        picture : (height, width) ndarray of uint8
        part : Window or Quadrilateral
        side_px : int
            Longer side, at most, of what is returned.
        """
        ...

    def placement(self, part: Quadrilateral, vector: NDArray[np.uint8], stored: NDArray[np.uint8], /) -> Placement:
        """Return how a content that a part shows lies in the whole picture.

        Parameters
        ----------
        part : Quadrilateral
        vector, stored : (4096,) ndarray of uint8
            Of the part and of the content.
        """
        ...


class Appearance(Protocol):
    """Compares how contents look, beside their vectors, by what the reader tells; it ranks `similar` contents."""

    @property
    def kind(self) -> DescriptorKind:
        """Under which name and version descriptors are kept."""
        ...

    @property
    def size(self) -> int:
        """Bytes of a descriptor."""
        ...

    def norms(self, descriptors: NDArray[np.uint8], /) -> Floats:
        """Return the divisors of `alike`: (n,) float32 of (n, size) descriptors.

        Parameters
        ----------
        descriptors : (n, size) ndarray of uint8
        """
        ...

    def alike(self, query: NDArray[np.uint8], stored: NDArray[np.uint8], stored_norms: Floats, /) -> Floats:
        """Return how alike contents look.

        Parameters
        ----------
        query : (size,) ndarray of uint8
        stored : (m, size) ndarray of uint8
        stored_norms : (m,) ndarray of float32
            From `norms`.

        Returns
        -------
        (m,) ndarray of float32
            In [0, 1]: the share of matches of this score that show the same kind of thing.
        """
        ...

    def reasons(
        self, query: NDArray[np.uint8], stored: NDArray[np.uint8], sample: NDArray[np.uint8], /
    ) -> list[Reason]:
        """Return the part in which each content resembles a query most.

        Parameters
        ----------
        query : (size,) ndarray of uint8
        stored : (m, size) ndarray of uint8
        sample : (k, size) ndarray of uint8
            Of all contents, at least one: what is usual among them is no reason.
        """
        ...


class Metric(StrEnum):
    """How far apart the codes of a map are."""

    COSINE = "cosine"
    """By angle: codes have norm 1, or 0 for what has no structure."""
    EUCLIDEAN = "euclidean"
    """As they lie: codes have any norm up to 1."""


@dataclass(frozen=True, slots=True)
class MapSpace:
    """By what contents are near each other on a map.

    Parameters
    ----------
    version : str
        How codes are made; recorded with each map, which is fitted again when this changes.
    size : int
        Numbers of a code.
    codes : callable
        Takes (n, 4096) vectors, and (n, descriptor_bytes) descriptors, rows of zeros where there are none.  Returns
        (n, size) codes of float32, of L2 norm 1, and zeros for what has no structure; of any norm up to 1 in a
        Euclidean space.
    descriptor : DescriptorKind or None
        Which descriptors it takes.
    descriptor_bytes : int
        Of each.
    metric : Metric
        How far apart codes are.
    """

    version: str
    size: int
    codes: Callable[[NDArray[np.uint8], NDArray[np.uint8]], Floats]
    descriptor: DescriptorKind | None = None
    descriptor_bytes: int = 0
    metric: Metric = Metric.COSINE


def space_for(spaces: Mapping[str, MapSpace], features: str) -> MapSpace:
    """Return the space that a setting asks for; the first where there is none of that name.

    Parameters
    ----------
    spaces : mapping of str to MapSpace
    features : str
        Of `model.features`.
    """
    return spaces.get(features) or next(iter(spaces.values()))


def space_of(spaces: Mapping[str, MapSpace], version: str) -> MapSpace | None:
    """Return the space whose codes are made so; None when no space makes them any more.

    Parameters
    ----------
    spaces : mapping of str to MapSpace
    version : str
    """
    return next((space for space in spaces.values() if space.version == version), None)


class Medium(Protocol):
    """One kind of file: how its vectors are named, coded and compared.

    Notes
    -----
    Any thread calls any method; none keeps anything between two calls.
    """

    # -- names and sizes ---------------------------------------------------------------------------------------------

    @property
    def location(self) -> str:
        """Where another process imports it from: `module:name`."""
        ...

    @property
    def extractor(self) -> str:
        """The extractor whose vectors it compares, as `decode.reader.Reader` names it; stands in the cache of codes."""
        ...

    @property
    def windows(self) -> int:
        """Windows of a packed code, the whole content's first; at least two where there may be inverted lists."""
        ...

    @property
    def terms(self) -> int:
        """Numbers of a window's code."""
        ...

    @property
    def few_windows(self) -> tuple[int, ...]:
        """The windows whose codes tell most, for a source that pays for each code; the whole content first."""
        ...

    @property
    def copy_floor(self) -> float:
        """Coarse score, 0 to 1, below which verifying is not worth its time."""
        ...

    @property
    def second_look(self) -> SecondLook | None:
        """Compares two files besides their vectors; None where vectors are all there is."""
        ...

    @property
    def picture_parts(self) -> PictureParts | None:
        """Finds the parts of a query that is a picture; None for other media."""
        ...

    @property
    def appearance(self) -> Appearance | None:
        """Describes how contents look; None for contents that cannot be looked at."""
        ...

    # -- one vector, two vectors -------------------------------------------------------------------------------------

    def is_plain(self, vector: NDArray[np.uint8], /) -> bool:
        """Return whether a vector is too plain to match anything but the same bytes.

        Parameters
        ----------
        vector : (4096,) ndarray of uint8
        """
        ...

    def filled_share(self, vector: NDArray[np.uint8], /) -> float:
        """Return the share of a content that is no plain border around it, in (0, 1].

        Parameters
        ----------
        vector : (4096,) ndarray of uint8
        """
        ...

    def likeness(self, query: NDArray[np.uint8], stored: NDArray[np.uint8], /) -> Floats:
        """Return how alike vectors are as they stand, with no view tried; ranks `similar`.

        Parameters
        ----------
        query : (4096,) ndarray of uint8
        stored : (m, 4096) ndarray of uint8

        Returns
        -------
        (m,) ndarray of float32
            In [0, 1], 1 = same.
        """
        ...

    def judge(
        self,
        query: NDArray[np.uint8],
        stored: NDArray[np.uint8],
        /,
        *,
        threshold: float | None = None,
        guesses: Guesses | None = None,
        codes: Codes | None = None,
    ) -> list[Judgement]:
        """Verify each stored vector as a copy of a query.

        Parameters
        ----------
        query : (4096,) ndarray of uint8
        stored : (m, 4096) ndarray of uint8
        threshold : float, optional
            Score from which a match is a copy; the medium's own when not given.
        guesses : Guesses, optional
            From `best_guesses`, one for each stored vector: less is tried.
        codes : (m, windows, terms) ndarray of int8, optional
            From `packed_codes`, of the stored vectors, where they are at hand.

        Returns
        -------
        list of Judgement
            One for each stored vector, in order.
        """
        ...

    # -- the map -----------------------------------------------------------------------------------------------------

    @property
    def spaces(self) -> Mapping[str, MapSpace]:
        """By what contents may be near each other on the map, by the words of `model.features`; the default first."""
        ...

    # -- candidate generation ----------------------------------------------------------------------------------------

    def packed_codes(self, vectors: NDArray[np.uint8], /) -> Codes:
        """Return the codes by which contents are candidates.

        Parameters
        ----------
        vectors : (n, 4096) ndarray of uint8

        Returns
        -------
        (n, windows, terms) ndarray of int8
        """
        ...

    def probe_vectors(self) -> NDArray[np.uint8]:
        """Return the (n, 4096) vectors by whose packed codes one way to make codes is told from another."""
        ...

    def coarse_views(self, query: NDArray[np.uint8], /) -> CoarseViews:
        """Return the views under which a query is compared with packed codes.

        Parameters
        ----------
        query : (4096,) ndarray of uint8
        """
        ...

    def few_views(self, query: NDArray[np.uint8], /) -> CoarseViews:
        """Return the likeliest views of a query, for a source that pays for each view; the crops come first.

        Parameters
        ----------
        query : (4096,) ndarray of uint8
        """
        ...

    def best_scores(self, codes: Codes | Floats, views: CoarseViews, /) -> Floats:
        """Return for each content the best correlation over all pairs of windows and views, (n,) float32 in [0, 1].

        Parameters
        ----------
        codes : (n, windows, terms) ndarray of int8, or the same numbers as float32
            May be strided.
        views : CoarseViews
        """
        ...

    def join_views(self, vector: NDArray[np.uint8], /) -> JoinViews:
        """Return the views by which a content is compared where many are looked up among each other.

        Parameters
        ----------
        vector : (4096,) ndarray of uint8
        """
        ...

    def best_guesses(self, codes: Codes, views: JoinViews, /) -> tuple[Floats, Guesses]:
        """Return the best correlation of each content with another one, and where verifying starts.

        Parameters
        ----------
        codes : (n, windows, terms) ndarray of int8
        views : JoinViews

        Returns
        -------
        (n,) ndarray of float32
            In [0, 1].
        Guesses
            One for each.
        """
        ...

    # -- parts -------------------------------------------------------------------------------------------------------

    def whole_codes(self, vectors: NDArray[np.uint8], /) -> Floats:
        """Return the codes of whole contents, by which `contained` looks for them.

        Parameters
        ----------
        vectors : (n, 4096) ndarray of uint8

        Returns
        -------
        (n, k) ndarray of float32
            With a row for each vector; k is the medium's own.
        """
        ...

    def contained(
        self,
        query: NDArray[np.uint8],
        vectors: NDArray[np.uint8],
        codes: Floats,
        /,
        *,
        threshold: float | None = None,
    ) -> Mapping[int, float]:
        """Return row -> score of the contents that a part of a query is a copy of; empty where there are no parts.

        Parameters
        ----------
        query : (4096,) ndarray of uint8
        vectors : (n, 4096) ndarray of uint8
        codes : (n, k) ndarray of float32
            Their `whole_codes`.
        threshold : float, optional
            Score from which a match is a copy; the medium's own when not given.
        """
        ...
