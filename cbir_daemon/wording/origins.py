"""The edits of a picture, in words: "crop (38 %) of /albums/2019/IMG_1.jpg, mirrored, brighter".

In: how one image follows from another, as values.  Out: a line for people.  Never here: how that was found, what a
terminal can show.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from cbir_daemon.comparison import Around, Overlap, Tone, Transform
from cbir_daemon.kinds import facts_of
from cbir_daemon.wording.counting import counted

WHOLE = 0.97
"""Share of an area from which it counts as all of it: an alignment is good to about a pixel of 64."""

CUT_A_DEGREE, GROWN_A_DEGREE = 0.01, 0.036
"""Share of the area that a turn by a degree cuts off in the corners, or adds there when the frame grows with it."""

LEAST_CUT, LEAST_GROWN = 0.7, 0.4
"""Shares that a picture keeps, and has of the frame, at any angle, unless it is more than twice as long as wide."""

LEAST_DEGREES = 1.0
"""Tilt from which it is told: smaller ones are within the error of an alignment."""

SHIFT_LEVELS = 10.0
"""Grey levels of 0 to 255 from which a picture is brighter or darker: sepia moves them by 8."""

MORE_CONTRAST, LESS_CONTRAST = 1.25, 0.8
"""Gains from which there is more or less contrast: sepia leaves 0.86."""

SCALED_LEVELS = 10.0
"""Offset up to which a gain is light and no contrast: twice as much light is twice the difference, too."""

SAME_SIZE = 1.1
"""Ratio of sides up to which two pictures have one size."""

COPY = "copy"

_TURNS = {90: "turned 90 degrees left", 180: "turned upside down", 270: "turned 90 degrees right"}


@dataclass(frozen=True, slots=True)
class Edit:
    """How an image follows from another one.

    Parameters
    ----------
    kind : str
        A `kinds.Kind`.
    transform, overlap, tone, around
        See `comparison`.
    scale : float
        Sides of the image over those of the other; 0 when they are not known.
    match_around : Around
        What was put around the image to get the other.
    later_s : float or None
        Seconds by which the image was taken later, by EXIF; None when that is not known.
    """

    kind: str
    transform: Transform = field(default_factory=Transform)
    overlap: Overlap = field(default_factory=Overlap)
    tone: Tone = field(default_factory=Tone)
    around: Around = Around.NOTHING
    scale: float = 0.0
    match_around: Around = Around.NOTHING
    later_s: float | None = None


def origin(edit: Edit, path: str) -> str:
    """Return where an image comes from, and what was done to it.

    Parameters
    ----------
    edit : Edit
        How the image follows from its match; of an image that is only similar, nothing but the path is returned.
    path : str
        Path of the match.
    """
    facts = facts_of(edit.kind)
    said = facts.origin.format(path=path, edit=", ".join([f"{_noun(edit)} of {path}", *_held(edit), *_done(edit)]))
    if facts.shows_same_exposure or not facts.is_paired or edit.later_s is None:
        return said
    return f"{said}, {moment(edit.later_s)}"


def edits(edit: Edit) -> str:
    """Return the edits that make a copy, without a name: "crop (38 %), mirrored"; empty when there are none."""
    noun = _noun(edit)
    return ", ".join([*([noun] if noun != COPY else []), *_done(edit)])


def _done(edit: Edit) -> Iterator[str]:
    yield from _beside(edit)
    yield from turns(edit.transform)
    yield from _tones(edit)


def _noun(edit: Edit) -> str:
    """Return the relation of an image to another one, with the share or the size."""
    tilt = abs(edit.transform.angle)
    if edit.overlap.match < max(LEAST_CUT, WHOLE - CUT_A_DEGREE * tilt):
        share = f"({max(1, round(100 * edit.overlap.match))} %)"
        return f"{'part' if _is_inside(edit) else 'crop'} {share}"
    if _is_inside(edit) or not edit.scale or 1 / SAME_SIZE <= edit.scale <= SAME_SIZE:
        return COPY
    return f"{'smaller' if edit.scale < 1 else 'larger'} {COPY} ({max(1, round(100 * edit.scale))} %)"


def _is_inside(edit: Edit) -> bool:
    return edit.overlap.query < max(LEAST_GROWN, WHOLE - GROWN_A_DEGREE * abs(edit.transform.angle))


def _beside(edit: Edit) -> Iterator[str]:
    if _is_inside(edit):
        share = f"{max(1, round(100 * edit.overlap.query))} %"
        if edit.around is Around.PLAIN:
            yield f"with a border or caption ({share} is picture)"
        elif edit.around is Around.SCREEN:
            yield f"inside a screenshot or page ({share} of it)"
        elif edit.around is Around.PICTURE:
            yield f"inside a larger picture ({share} of it)"
        else:
            yield f"inside something larger ({share} of it)"


def _held(edit: Edit) -> Iterator[str]:
    """Yield what a match is that holds the image."""
    if edit.match_around is Around.SCREEN:
        yield "a screenshot or page that holds it"
    elif edit.match_around is Around.PLAIN:
        yield "which has a border or caption around it"
    elif edit.match_around is Around.PICTURE:
        yield "a larger picture that holds it"


def moment(seconds: float) -> str:
    """Return when a picture was taken beside another one: "2 s later by EXIF".

    Parameters
    ----------
    seconds : float
        From the other one to this one.
    """
    size = abs(seconds)
    if size == 0:
        return "at the same time by EXIF"
    units = (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800), ("days", 86_400, float("inf")))
    name, unit = next((name, unit) for name, unit, most in units if size < most)
    amount = f"{size:.1g}" if size < 1 else f"{round(size / unit)}"
    return f"{amount} {name} {'later' if seconds > 0 else 'earlier'} by EXIF"


def turns(done: Transform) -> Iterator[str]:
    """Yield how a picture was mirrored, turned and tilted."""
    if done.flip and done.turn == 180:
        yield "mirrored top to bottom"
    else:
        yield from ["mirrored"] if done.flip else []
        yield from [_TURNS[done.turn]] if done.turn in _TURNS else []
    if abs(done.angle) >= LEAST_DEGREES:
        yield f"tilted {_degrees(abs(done.angle))} {'left' if done.angle > 0 else 'right'}"


def _degrees(angle: float) -> str:
    rounded = round(angle)
    return counted(rounded, "degree")


def _tones(edit: Edit) -> Iterator[str]:
    tone = edit.tone
    if edit.transform.invert:
        yield "negative"
    is_shifted = abs(tone.shift) >= SHIFT_LEVELS
    if is_shifted:
        yield "brighter" if tone.shift > 0 else "darker"
    if is_shifted and abs(tone.offset) <= SCALED_LEVELS:
        return
    if tone.gain >= MORE_CONTRAST:
        yield "more contrast"
    elif tone.gain <= LESS_CONTRAST:
        yield "less contrast"
