"""The result of comparing two images: how one lies in the other, what was done to it, and how that was found out.

In: nothing.  Out: frozen values.  Never here: comparing; numpy, for the client reads this module too.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum


class LookedAt(StrEnum):
    """By what a copy is told from another shot."""

    FILES = "files"
    """The two files, compared at a few hundred pixels."""
    VECTORS = "vectors"
    """The 64x64 numbers alone: a file could not be read, or shows too little to tell."""


class Trace(StrEnum):
    """An edit of a picture, as its pixels tell beside those of a copy that has no such trace."""

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
class Transform:
    """The edit that makes the query of the stored image: mirrored first, then turned counter-clockwise.

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
        """Return the inverse: a mirror after a turn is the opposite turn after the mirror."""
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
    """The part of a query that lies beside the stored image."""

    NOTHING = "nothing"
    """The query is all on the stored image."""
    PLAIN = "plain"
    """Bars, a border, a caption: mostly one tone on each side."""
    SCREEN = "screen"
    """A screen or a page: mostly of two tones, with something on it."""
    PICTURE = "picture"
    """More of a picture."""


class Family(StrEnum):
    """The family of views of a first guess; see `Guess`."""

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
    """The result of comparing two vectors.

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
    affine : tuple of float
        From a point of the query to the point of the stored image that shows the same thing, row by row, coordinates
        from -1 to 1 over each; empty where it is not told.
    """

    is_copy: bool
    score: float
    transform: Transform
    overlap: Overlap
    explanation: Explanation
    tone: Tone = field(default_factory=Tone)
    around: Around = Around.NOTHING
    affine: tuple[float, ...] = ()


class Likeness(StrEnum):
    """By what contents that resemble a query are found and ranked."""

    LOOK = "look"
    """Colours, edges, texture."""
    GREY = "grey"
    """The map's neighbourhood, and the greys."""
    MEANING = "meaning"
    """The meaning that a network sees in them."""


class Reason(StrEnum):
    """The part in which a content resembles a query most."""

    COLOUR = "colour"
    LAYOUT = "layout"
    """Where edges run."""
    TEXTURE = "texture"
    GREY = "grey"
    MEANING = "meaning"
