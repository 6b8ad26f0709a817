"""The second look: an edited copy is a copy, another shot of the same scene is a shot."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cbir_daemon import matching
from cbir_daemon.matching import LOOK_SIDE_PX, Look
from cbir_daemon.matching.in_place import compared_in_place
from cbir_daemon.matching.look import UNSURE_SHIFT_PX
from cbir_daemon.medium import Seen
from tests import pictures

Picture = NDArray[np.uint8]
REAL = pictures.real_photographs()


def grey_of(picture: Picture) -> Picture:
    """Return the picture that is looked at."""
    grey = Image.fromarray(picture).convert("L")
    grey.thumbnail((LOOK_SIDE_PX, LOOK_SIDE_PX), Image.Resampling.LANCZOS)
    return np.asarray(grey, dtype=np.uint8)


def vector_of(picture: Picture) -> Picture:
    """Return the 4096 numbers of a picture."""
    small = Image.fromarray(picture).convert("L").resize((64, 64), Image.Resampling.LANCZOS)
    return np.asarray(small, dtype=np.uint8).reshape(-1)


def looked(query: Picture, stored: Picture) -> Look:
    """Return what a look says, aligned as the vectors are."""
    affine, invert = matching.affine_between(vector_of(query), vector_of(stored))
    return matching.compared(grey_of(query), grey_of(stored), affine, invert=invert)


def jpeg(picture: Picture, quality: int) -> Picture:
    """Return a picture saved with loss."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))


def turned(picture: Picture, angle_deg: float) -> Picture:
    """Return a picture turned by some degrees, corners black."""
    return np.asarray(Image.fromarray(picture).rotate(angle_deg, Image.Resampling.BICUBIC))


EDITS: dict[str, Callable[[Picture], Picture]] = {
    "unchanged": lambda picture: picture,
    "JPEG 20": lambda picture: jpeg(picture, 20),
    "two thirds of the size": lambda picture: pictures.resized(picture, 0.66),
    "brighter": pictures.brighter,
    "gamma": pictures.gamma,
    "blurred": pictures.blurred,
    "noisy": pictures.noisy,
    "cropped": lambda picture: pictures.cropped(picture, 0.1),
    "bordered": pictures.bordered,
    "captioned": pictures.captioned,
    "negative": pictures.negative,
    "mirrored": pictures.mirrored,
    "quarter turn": pictures.turned,
    "turned by 3 degrees": lambda picture: turned(picture, 3),
}


@pytest.mark.parametrize("photograph", range(len(REAL)), ids=["temple", "flower"])
@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_copy_is_a_copy(photograph: int, edit: str) -> None:
    """Whatever was done to it, no part of a real photograph lies beside its counterpart."""
    look = looked(EDITS[edit](REAL[photograph]), REAL[photograph])
    assert look.seen is Seen.COPY, look


def stepped_aside(picture: Picture, parallax_px: float) -> Picture:
    """Return a picture as from a step aside: what lies near, below, moves by some pixels, what lies far stays.

    Hills and hollows in depth make it more than a plane could do.
    """
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    depth = y / height + 0.5 * np.sin(x / 37) * np.sin(y / 29)
    across = np.clip(x + parallax_px * depth, 0, width - 1.001)
    column = across.astype(np.int64)
    share = (across - column)[..., None]
    rows = y.astype(np.int64)
    moved = picture[rows, column] * (1 - share) + picture[rows, column + 1] * share
    return np.asarray(np.rint(moved), dtype=np.uint8)


@pytest.mark.parametrize("photograph", range(len(REAL)), ids=["temple", "flower"])
@pytest.mark.parametrize("parallax_px", [3.0, 6.0])
def test_a_step_aside_makes_another_shot(photograph: int, parallax_px: float) -> None:
    """A parallax of half a percent of the width, which 64x64 numbers cannot see, is seen."""
    shot = jpeg(stepped_aside(REAL[photograph], parallax_px), 90)
    (judgement,) = matching.judge(vector_of(shot), vector_of(REAL[photograph])[None])
    assert judgement.is_copy
    assert looked(shot, REAL[photograph]).seen is Seen.SHOT


def noisy(picture: Picture) -> Picture:
    """Return a picture as of a sensor in the dark."""
    noise = np.random.default_rng(5).normal(0, 30, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


RUINED: dict[str, Callable[[Picture], Picture]] = {
    "JPEG 10": lambda picture: jpeg(picture, 10),
    "JPEG 5": lambda picture: jpeg(picture, 5),
    "noisy": noisy,
}


@pytest.mark.parametrize("loss", RUINED)
def test_what_great_loss_hides_in_each_block_is_seen_in_all(loss: str) -> None:
    """Of a shot of so small a parallax no block is sure to have moved; that neighbours moved alike is."""
    look = looked(RUINED[loss](stepped_aside(REAL[0], 1.5)), REAL[0])
    assert look.seen is not Seen.COPY, look
    assert look.common_shift_px > UNSURE_SHIFT_PX
    copy = looked(RUINED[loss](REAL[0]), REAL[0])
    assert copy.seen is Seen.COPY, copy


def test_what_great_loss_hides_is_seen_in_a_place_too() -> None:
    """A shot that was saved again with great loss is no copy where local features aligned it."""
    seen = []
    for parallax_px in (1.2, 0.0):
        query = jpeg(stepped_aside(REAL[0], parallax_px), 4)
        affine, _ = matching.affine_between(vector_of(query), vector_of(REAL[0]))
        look = compared_in_place(grey_of(query), grey_of(REAL[0]), affine.astype(np.float64), ())
        seen.append(look.seen)
    assert seen == [Seen.UNCLEAR, Seen.COPY]


def test_the_order_of_two_pictures_does_not_matter() -> None:
    """The coarser one gives the grid, whichever is the query."""
    whole, shot = REAL[0], stepped_aside(REAL[0], 5.0)
    part = pictures.resized(pictures.cropped(whole, 0.1), 0.8)
    assert looked(part, whole).seen is looked(whole, part).seen is Seen.COPY
    assert looked(shot, whole).seen is looked(whole, shot).seen is Seen.SHOT


def test_what_is_too_small_cannot_be_told() -> None:
    """Below 220 pixels a parallax is too small a part of a pixel."""
    assert looked(pictures.resized(REAL[0], 0.3), REAL[0]).seen is Seen.UNCLEAR


def test_what_has_no_structure_cannot_be_told() -> None:
    """A flat picture has no blocks whose shift could be measured."""
    flat = np.full((300, 400), 128, np.uint8)
    identity = np.eye(2, 3, dtype=np.float32)
    assert matching.compared(flat, flat, identity) == Look(Seen.UNCLEAR)


def test_a_letterboxed_copy_is_a_copy() -> None:
    """Bars are no part of the picture."""
    boxed = np.asarray(ImageOps.pad(Image.fromarray(REAL[0]), (640, 640)))
    assert looked(boxed, REAL[0]).seen is Seen.COPY


def test_looks_at_pictures_of_many_sizes_keep_little_memory() -> None:
    """What a look keeps for the next one is bounded: a daemon runs for years, and albums have pictures of all sizes."""
    sizes = [pictures.resized(REAL[0], 0.4 + 0.05 * number) for number in range(4)]
    tracemalloc.start()
    try:
        for picture in sizes:
            looked(pictures.blurred(picture), picture)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 12 * 2**20
