"""Where in a picture another one lies that is not upright, by its outline on plain ground."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cbir_daemon import matching
from cbir_daemon.comparison import Quadrilateral, Window
from cbir_daemon.search import Collection
from cbir_daemon.search.parts import copies_in_turned_parts
from cbir_daemon.search.search import Found, Search
from cbir_daemon.search.snapshot import SearchSnapshot
from tests import pictures

PHOTOGRAPH = Image.fromarray(pictures.real_photographs()[0].mean(axis=2).astype(np.uint8))
WIDTH, HEIGHT = PHOTOGRAPH.size
NUMBERS = matching.part_vector(np.asarray(PHOTOGRAPH), Window())

Grey = NDArray[np.uint8]


def turned(angle: float, *, grown: bool = True, ground: int = 255) -> Grey:
    """Return the photograph turned counter-clockwise on plain ground."""
    return np.asarray(PHOTOGRAPH.rotate(angle, Image.Resampling.BICUBIC, expand=grown, fillcolor=ground))


def skewed() -> Grey:
    """Return the photograph sheared by a quarter of its height in a frame that grew."""
    size = WIDTH + HEIGHT // 4, HEIGHT
    shear = (1.0, 0.25, -0.25 * HEIGHT, 0.0, 1.0, 0.0)
    return np.asarray(PHOTOGRAPH.transform(size, Image.Transform.AFFINE, shear, Image.Resampling.BICUBIC, fillcolor=0))


def in_perspective() -> Grey:
    """Return the photograph as seen from a side, on grey."""
    seen = (1.5, 0.05, -60.0, 0.08, 1.6, -70.0, 0.0002, 0.0003)
    perspective, smooth = Image.Transform.PERSPECTIVE, Image.Resampling.BICUBIC
    return np.asarray(PHOTOGRAPH.transform(PHOTOGRAPH.size, perspective, seen, smooth, fillcolor=90))


class Album:
    """The photograph and made ones, searched."""

    def __init__(self) -> None:
        made = [pictures.photograph(seed).mean(axis=2).astype(np.uint8) for seed in range(12)]
        self._vectors = np.stack([NUMBERS, *(matching.part_vector(picture, Window()) for picture in made)])
        collection = Collection(matching.GREY64)
        collection.add(range(len(self._vectors)), self._vectors)
        self.search = Search(SearchSnapshot(collection.snapshot(), None), self)

    def vectors(self, content_ids: Sequence[int], /) -> dict[int, bytes]:
        """Return the vectors of contents."""
        return {row: self._vectors[row].tobytes() for row in content_ids}


def found(picture: Grey) -> list[Found]:
    """Return what the turned parts of a picture are copies of."""
    return copies_in_turned_parts(Album().search, picture)


@pytest.mark.parametrize(
    "make",
    [lambda: turned(33.0), lambda: turned(-77.0, ground=0), skewed, in_perspective],
    ids=["turned", "turned the other way", "skewed", "in perspective"],
)
def test_a_picture_on_plain_ground_is_cut_out(make: Callable[[], Grey]) -> None:
    """What was done to it is undone, but for quarter turns: its 64x64 numbers are nearly those of the picture."""
    picture = make()
    vector = matching.turned_vector(picture, matching.turned_parts(picture)[0]).reshape(64, 64)
    differences = [
        np.abs(np.rot90(vector, quarters).reshape(-1).astype(float) - NUMBERS).mean() for quarters in range(4)
    ]
    assert min(differences) < 8


@pytest.mark.parametrize("angle", [14.0, 27.0, 45.0, -38.0, 75.0, 110.0, 196.0])
def test_a_turned_picture_is_found(angle: float) -> None:
    """With the angle by which it was turned, and shares of the whole query and of all of the picture."""
    picture = turned(angle)
    (copy,) = found(picture)
    assert copy.content_id == 0
    degrees = copy.transform.turn + copy.transform.angle
    assert (degrees - angle + 180) % 360 - 180 == pytest.approx(0, abs=1)
    assert copy.overlap.match > 0.97
    assert copy.overlap.query == pytest.approx(WIDTH * HEIGHT / picture.size, abs=0.03)
    assert copy.part is None, "it fills the query"
    assert copy.compared is not None


@pytest.mark.parametrize("angle", [16.0, -35.0, 80.0, 105.0])
def test_corners_may_be_cut_off(angle: float) -> None:
    """In a frame that did not grow; the overlap is of all that the query shows, not of the part that was compared."""
    (copy,) = found(turned(angle, grown=False))
    degrees = copy.transform.turn + copy.transform.angle
    assert (degrees - angle + 180) % 360 - 180 == pytest.approx(0, abs=1)
    shown = np.asarray(Image.new("L", PHOTOGRAPH.size, 1).rotate(angle)).mean()
    assert copy.overlap.query == pytest.approx(shown, abs=0.03)
    assert copy.overlap.match == pytest.approx(shown, abs=0.03)


def test_where_it_lies_is_told() -> None:
    """When the ground is larger than the frame that grew: `part` is the window about it."""
    picture = turned(25.0)
    height, width = picture.shape
    ground = np.full((2 * height, 2 * width), 255, np.uint8)
    ground[height // 4 :][:height, width // 2 :][:, :width] = picture
    (copy,) = found(ground)
    assert copy.part is not None
    sides = [copy.part.left, copy.part.top, copy.part.right, copy.part.bottom]
    assert sides == pytest.approx([1 / 4, 1 / 8, 3 / 4, 5 / 8], abs=0.02)


@pytest.mark.parametrize("make", [skewed, in_perspective])
def test_a_skewed_picture_is_found(make: Callable[[], Grey]) -> None:
    """It was turned by no angle that could be told."""
    (copy,) = found(make())
    assert (copy.content_id, copy.transform.turn) == (0, 0)
    assert abs(copy.transform.angle) < 6


def test_a_stranger_is_none() -> None:
    """However it was turned."""
    stranger = Image.fromarray(pictures.real_photographs()[1].mean(axis=2).astype(np.uint8))
    assert found(np.asarray(stranger.rotate(30, expand=True))) == []


@pytest.mark.parametrize(
    "picture",
    [
        pictures.photograph(1).mean(axis=2).astype(np.uint8),
        np.full((300, 400), 128, np.uint8),
        np.pad(np.asarray(PHOTOGRAPH), 80, constant_values=255),
        np.zeros((1, 500), np.uint8),
        np.zeros((64, 64), np.uint8),
    ],
    ids=["no ground", "nothing else", "upright", "a line", "small"],
)
def test_what_has_no_turned_part(picture: Grey) -> None:
    """It costs no search."""
    assert matching.turned_parts(picture) == []


def test_a_part_is_cut_out_at_its_own_size() -> None:
    """A look sees all the pixels that the query has."""
    picture = turned(33.0)
    height, width = matching.turned_picture(picture, matching.turned_parts(picture)[0]).shape
    assert (width, height) == pytest.approx((WIDTH, HEIGHT), abs=8)


def test_the_whole_as_a_quadrilateral() -> None:
    """Its numbers are those of the whole, within bilinear samples."""
    whole = Quadrilateral(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)))
    assert np.abs(matching.turned_vector(np.asarray(PHOTOGRAPH), whole).astype(float) - NUMBERS).mean() < 2
    lies = matching.placement(whole, NUMBERS, NUMBERS)
    assert lies.transform.turn == 0
    assert abs(lies.transform.angle) < 0.2
    assert math.isclose(lies.window.right, 1.0, abs_tol=0.01)
