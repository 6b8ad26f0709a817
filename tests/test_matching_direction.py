"""Of two copies the pixels tell which one was worked on, and say nothing where they are not sure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from cbir_daemon.comparison import Trace, Window
from cbir_daemon.matching.detail import DETAIL_SIDE_PX, busiest, detail_traces
from cbir_daemon.matching.grey64 import Parallax
from cbir_daemon.medium import Fine, Seen
from tests import pictures
from tests.test_matching_look import grey_of, jpeg, vector_of

Picture = NDArray[np.uint8]
Edit = Callable[[Picture], Picture]
REAL = pictures.real_photographs()
LOOK = Parallax()
NOTHING: tuple[Trace, ...] = ()


def laid_over(query: Picture, stored: Picture) -> tuple[tuple[Trace, ...], tuple[Trace, ...]]:
    """Return what a look tells of two pictures of one exposure."""
    sight = LOOK.sight(vector_of(query), vector_of(stored), grey_of(query), grey_of(stored))
    assert sight.seen is Seen.COPY
    return sight.own_traces, sight.traces


def done(query: Picture, stored: Picture) -> tuple[tuple[Trace, ...], tuple[Trace, ...]]:
    """Return what is told of the detail of two pictures."""
    return detail_traces(
        *(Fine(np.asarray(Image.fromarray(picture).convert("L")), Window()) for picture in (query, stored))
    )


def stuck(picture: Picture) -> Picture:
    """Return a picture with a face stuck onto it."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    side = image.height // 3
    left, top = image.width // 3, image.height // 3
    draw.ellipse((left, top, left + side, top + side), fill=(250, 210, 40))
    for eye in (0.3, 0.6):
        draw.ellipse(
            (left + eye * side, top + 0.3 * side, left + (eye + 0.1) * side, top + 0.4 * side), fill=(20, 20, 20)
        )
    return np.asarray(image)


def captioned(picture: Picture) -> Picture:
    """Return a picture with a line of letters below it."""
    height, width, _ = picture.shape
    return np.concatenate(
        [picture, pictures.lettered(np.zeros((height // 6, width, 3), np.uint8), "summer by the sea")]
    )


def sharpened(picture: Picture) -> Picture:
    """Return a picture with more of its fine detail."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.UnsharpMask(2, 120, 0)))


def enlarged(picture: Picture) -> Picture:
    """Return a picture with more pixels."""
    image = Image.fromarray(picture)
    return np.asarray(image.resize((image.width * 3 // 2, image.height * 3 // 2), Image.Resampling.BICUBIC))


OVER: dict[str, tuple[Edit, Trace]] = {
    "letters": (pictures.lettered, Trace.OVERLAY),
    "a sticker": (stuck, Trace.OVERLAY),
    "a border": (pictures.bordered, Trace.BORDER),
    "a caption": (captioned, Trace.CAPTION),
}

DETAIL: dict[str, tuple[Edit, Trace]] = {
    "blurred": (pictures.blurred, Trace.BLURRED),
    "noisy": (pictures.noisy, Trace.NOISY),
    "saved with loss": (lambda picture: jpeg(picture, 20), Trace.COMPRESSED),
    "enlarged": (enlarged, Trace.ENLARGED),
}

NEUTRAL: dict[str, Edit] = {
    "saved again": lambda picture: jpeg(picture, 90),
    "smaller": lambda picture: pictures.resized(picture, 0.7),
    "brighter": pictures.brighter,
    "gamma": pictures.gamma,
    "more contrast": lambda picture: np.asarray(ImageEnhance.Contrast(Image.fromarray(picture)).enhance(1.4)),
    "sharpened": sharpened,
}


@pytest.mark.parametrize("photograph", range(len(REAL)), ids=["temple", "flower"])
@pytest.mark.parametrize("edit", OVER)
def test_what_was_laid_over_or_put_around_is_told_of_the_edit(photograph: int, edit: str) -> None:
    """Whichever of the two comes first, and after another save."""
    make, trace = OVER[edit]
    original, edited = REAL[photograph], jpeg(make(REAL[photograph]), 85)
    assert laid_over(edited, original) == ((trace,), NOTHING)
    assert laid_over(original, edited) == (NOTHING, (trace,))


@pytest.mark.parametrize("photograph", range(len(REAL)), ids=["temple", "flower"])
@pytest.mark.parametrize("edit", DETAIL)
def test_what_happened_to_the_detail_is_told_of_the_edit(photograph: int, edit: str) -> None:
    """Whichever of the two comes first."""
    make, trace = DETAIL[edit]
    original, edited = REAL[photograph], jpeg(make(REAL[photograph]), 90)
    assert done(edited, original) == ((trace,), NOTHING)
    assert done(original, edited) == (NOTHING, (trace,))


@pytest.mark.parametrize("photograph", range(len(REAL)), ids=["temple", "flower"])
@pytest.mark.parametrize("edit", NEUTRAL)
def test_where_nothing_is_sure_nothing_is_told(photograph: int, edit: str) -> None:
    """Neither of the edit nor, worse, of the original."""
    edited = jpeg(NEUTRAL[edit](REAL[photograph]), 90)
    assert laid_over(edited, REAL[photograph]) == (NOTHING, NOTHING)
    assert done(edited, REAL[photograph]) == (NOTHING, NOTHING)


@pytest.mark.parametrize("photograph", range(len(REAL)), ids=["temple", "flower"])
def test_a_crop_says_nothing_of_the_whole(photograph: int) -> None:
    """What lies around it belongs to the picture."""
    whole = REAL[photograph]
    assert laid_over(pictures.cropped(whole, 0.15), whole) == (NOTHING, NOTHING)


def test_letters_are_told_beside_an_enlarged_copy_without_them() -> None:
    """Each has its own."""
    lettered, large = pictures.lettered(REAL[0]), jpeg(enlarged(REAL[0]), 90)
    assert laid_over(lettered, large) == ((Trace.OVERLAY,), NOTHING)
    assert done(lettered, large) == (NOTHING, (Trace.ENLARGED,))


def test_parts_of_two_sizes_are_laid_on_each_other_by_their_windows() -> None:
    """A part of a large picture need not begin where a pixel of the small one does."""
    original = np.asarray(Image.fromarray(REAL[0]).convert("L"))
    large = np.asarray(Image.fromarray(original).resize((960, 641), Image.Resampling.BICUBIC))
    height, width = original.shape
    own = Fine(large[101:501, 133:733], Window(133 / 960, 101 / 641, 733 / 960, 501 / 641))
    left, top, right, bottom = 88, 67, 489, 334
    part = Fine(original[top:bottom, left:right], Window(left / width, top / height, right / width, bottom / height))
    assert detail_traces(own, part) == ((Trace.ENLARGED,), NOTHING)


def test_the_busiest_part_has_the_detail() -> None:
    """It lies where something is to be seen, inside the picture."""
    plain = np.full((240, 320), 90, np.uint8)
    plain[150:230, 200:310] = np.asarray(Image.fromarray(REAL[1]).convert("L").resize((110, 80)))
    window = busiest(plain, 0.4, 0.4)
    assert window.left > 0.4
    assert window.top > 0.4
    assert 0 <= window.left < window.right <= 1
    assert busiest(plain, 1.0, 1.0) == Window()
    assert DETAIL_SIDE_PX >= 512


def test_what_is_small_says_nothing_of_its_detail() -> None:
    """There are too few waves to compare."""
    small = pictures.resized(REAL[0], 0.2)
    assert done(pictures.blurred(small), small) == (NOTHING, NOTHING)
