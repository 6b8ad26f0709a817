"""Whether two pictures are one exposure or two shots of one scene: by their pixels, and by the times of the camera.

In: two pictures, how their vectors lie on each other, what EXIF says of them.  Out: copy, shot, or that it cannot be
told.  Never here: files, the index, which pictures are compared.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import LookedAt, Transform
from cbir_daemon.kinds import Kind
from cbir_daemon.medium import SecondLook, Seen, Sight
from cbir_daemon.records import Facts
from cbir_daemon.search.search import Found, as_vector
from cbir_daemon.store import Content

MOST = 0.55
"""Share of both pictures that a copy must show to be of one exposure with the other.

Two pictures that each show most of a third one show a part of each other; two halves of a collage do not.  Shares are
measured to about 0.01.
"""

WHOLE_FRAME, STILL_CONTRAST, STILL_LEVELS = 0.98, 0.08, 6.0
"""Shares of both pictures, share of contrast and grey levels of brightness within which no edit is seen."""

ONE_FRAME, TILT_DEG = 0.97, 0.5
"""Shares of both pictures, and degrees, within which an alignment is that of two pictures of one frame."""

TIME_ZONE_STEP = timedelta(minutes=15)

Picture = NDArray[np.uint8]


def seen_between(
    second_look: SecondLook,
    vector: bytes,
    picture: Picture,
    stored: bytes,
    stored_picture: Picture,
    copy: Found | None = None,
) -> Seen:
    """Compare two pictures, each with the 4096 numbers by which the two are aligned first.

    Parameters
    ----------
    second_look : SecondLook
        Compares them.
    vector : bytes
        4096 grey numbers.
    picture : (height, width) ndarray of uint8
        Grey, upright; the longer side at most `SecondLook.side_px`.
    stored : bytes
        4096 grey numbers.
    stored_picture : (height, width) ndarray of uint8
        Grey, upright; the longer side at most `SecondLook.side_px`.
    copy : Found, optional
        What a search found of the two, which tells how they lie on each other: they need not be aligned again.
    """
    query, known = as_vector(vector), as_vector(stored)
    if copy is None:
        return second_look.seen(query, known, picture, stored_picture)
    return second_look.seen(query, known, picture, stored_picture, copy.affine, invert=copy.transform.invert)


def sight_of(second_look: SecondLook, vector: bytes, picture: Picture, stored: bytes, stored_picture: Picture) -> Sight:
    """Compare two pictures, as `seen_between`, and return the edits of each of them, too.

    Parameters
    ----------
    second_look : SecondLook
    vector : bytes
    picture : (height, width) ndarray of uint8
    stored : bytes
    stored_picture : (height, width) ndarray of uint8
    """
    return second_look.sight(as_vector(vector), as_vector(stored), picture, stored_picture)


def is_held(copy: Found) -> bool:
    """Whether a copy shows all of the query and something else besides: the query is a crop of it, or is on a page.

    Parameters
    ----------
    copy : Found
    """
    return copy.overlap.query >= ONE_FRAME > copy.overlap.match


def shows_most(copy: Found) -> bool:
    """Whether both pictures show so much of each other that a copy of the one is a copy of the other."""
    return min(copy.overlap.query, copy.overlap.match) > MOST


def shows_same_frame(copy: Found) -> bool:
    """Whether a copy shows the whole of the other picture, upright: the same share of both is the same part.

    Parameters
    ----------
    copy : Found
    """
    done = copy.transform
    is_upright = not (done.flip or done.turn or done.invert) and abs(done.angle) < TILT_DEG
    return is_upright and min(copy.overlap.query, copy.overlap.match) >= ONE_FRAME


def is_same_frame(copy: Found, picture: Picture, stored_picture: Picture) -> bool:
    """Whether no edit is seen: not turned, mirrored, cropped or scaled, and as bright and contrasty as before.

    Parameters
    ----------
    copy : Found
        How the two lie on each other.
    picture, stored_picture : (height, width) ndarray of uint8
    """
    if picture.shape != stored_picture.shape or copy.transform != Transform():
        return False
    contrast, stored_contrast = float(picture.std()), float(stored_picture.std())
    return (
        min(copy.overlap.query, copy.overlap.match) >= WHOLE_FRAME
        and abs(float(picture.mean()) - float(stored_picture.mean())) < STILL_LEVELS
        and abs(contrast - stored_contrast) < STILL_CONTRAST * max(contrast, stored_contrast)
    )


def are_two_frames(first: Facts | Content, second: Facts | Content) -> bool:
    """Whether a camera took two pictures at two times, and neither was made smaller since.

    Parameters
    ----------
    first, second : Facts or Content
    """
    is_one_size = (first.width_px, first.height_px) == (second.width_px, second.height_px)
    return is_one_size and are_two_moments(first.taken, second.taken)


def are_two_moments(first: str | None, second: str | None) -> bool:
    """Whether two times of EXIF are of two moments.

    Parameters
    ----------
    first, second : str or None
        As `Facts.taken`: local time, with a fraction of a second where the camera wrote one; empty or None when it is
        not known.

    Notes
    -----
    Times that differ by whole quarters of an hour are one moment: a time zone that was set right afterwards.
    """
    between_s = seconds_between(first, second)
    return between_s is not None and timedelta(seconds=between_s) % TIME_ZONE_STEP != timedelta(0)


def seconds_between(first: str | None, second: str | None) -> float | None:
    """Return the seconds from one time of EXIF to another one; None when one of them is not known.

    Parameters
    ----------
    first, second : str or None
        As `Facts.taken`; fractions count when both have them.
    """
    try:
        moments = [datetime.fromisoformat(time) for time in (first or "", second or "")]
    except ValueError:
        return None
    if not ("." in (first or "") and "." in (second or "")):
        moments = [moment.replace(microsecond=0) for moment in moments]
    return (moments[1] - moments[0]).total_seconds()


def seen_as(copy: Found, seen: Seen | None, version: int) -> Found:
    """Return a found copy as what its files show.

    Parameters
    ----------
    copy : Found
    seen : Seen or None
        What a look says; None when there was none: the copy stays as it is.
    version : int
        Of the look.
    """
    if seen is None:
        return copy
    look = LookedAt.VECTORS if seen is Seen.UNCLEAR else LookedAt.FILES
    kind = Kind.SHOT if seen is Seen.SHOT else Kind.COPY
    return replace(copy, kind=kind, look=look, look_version=version)
