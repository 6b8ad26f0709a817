"""Where in a picture another one lies, by its straight edges."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cbir_daemon import matching
from cbir_daemon.comparison import Around, Window
from cbir_daemon.duplicates.places import around_query
from cbir_daemon.matching import GREY64
from tests import pictures

PHOTOGRAPH = pictures.real_photographs()[0].mean(axis=2).astype(np.uint8)
STRANGER = pictures.real_photographs()[1].mean(axis=2).astype(np.uint8)

HEIGHT, WIDTH = PHOTOGRAPH.shape


def share(picture: np.ndarray[tuple[int, int], np.dtype[np.uint8]], left: int, top: int) -> Window:
    """Return where in a picture the photograph was put."""
    height, width = picture.shape
    return Window(left / width, top / height, (left + WIDTH) / width, (top + HEIGHT) / height)


def common(part: Window, place: Window) -> float:
    """Return the area that two parts share over that of both together."""
    across = min(part.right, place.right) - max(part.left, place.left)
    down = min(part.bottom, place.bottom) - max(part.top, place.top)
    areas = [(window.right - window.left) * (window.bottom - window.top) for window in (part, place)]
    shared = max(0.0, across) * max(0.0, down)
    return shared / (sum(areas) - shared)


@pytest.mark.parametrize(
    "surroundings",
    [
        lambda shape: np.full(shape, 255, np.uint8),
        lambda shape: np.full(shape, 0, np.uint8),
        lambda shape: np.resize(STRANGER, shape),
    ],
    ids=["white page", "black page", "another photograph"],
)
def test_a_picture_inside_something_is_found(surroundings: Callable[[tuple[int, int]], np.ndarray]) -> None:
    """Its part is within a few pixels of where it was put, and its 64x64 numbers are nearly those of the picture."""
    whole = surroundings((HEIGHT * 2, WIDTH * 2))
    left, top = WIDTH // 3, HEIGHT // 2
    whole[top : top + HEIGHT, left : left + WIDTH] = PHOTOGRAPH
    best = max(matching.rectangles(whole), key=lambda part: common(part, share(whole, left, top)))
    assert common(best, share(whole, left, top)) > 0.95
    numbers = matching.part_vector(PHOTOGRAPH, Window()).astype(float)
    assert np.abs(matching.part_vector(whole, best) - numbers).mean() < 6


def test_a_plain_picture_has_no_parts() -> None:
    """Nothing has an edge."""
    assert matching.rectangles(np.full((300, 400), 128, np.uint8)) == []


def test_a_photograph_has_few_parts() -> None:
    """Its texture is no frame: a query that shows no other picture costs a few searches at most."""
    assert len(matching.rectangles(PHOTOGRAPH)) <= 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 7), (64, 64)])
def test_the_smallest_pictures(shape: tuple[int, int]) -> None:
    """They have no parts, and nothing fails."""
    assert matching.rectangles(np.zeros(shape, np.uint8)) == []


def test_a_part_of_no_size_is_a_pixel() -> None:
    """What lies in the last corner is cut out too."""
    assert matching.cut(PHOTOGRAPH, Window(1.0, 1.0, 1.0, 1.0)).shape == (1, 1)


def test_what_is_small_enough_keeps_its_size() -> None:
    """What is not has its longer side at the limit."""
    assert matching.within(PHOTOGRAPH, 10_000) is PHOTOGRAPH
    assert max(matching.within(PHOTOGRAPH, 100).shape) == 100


def test_what_lies_around_a_part_is_a_screen_a_border_or_a_picture() -> None:
    """By the tones of the pixels beside it."""
    around = matching.GREY64.picture_parts
    assert around is not None
    middle = Window(0.25, 1 / 3, 0.75, 2 / 3)
    page = pictures.on_a_page(pictures.real_photographs()[0]).mean(axis=2).astype(np.uint8)
    plain = np.full((3 * HEIGHT, 2 * WIDTH), 240, np.uint8)
    plain[HEIGHT : 2 * HEIGHT, WIDTH // 2 : WIDTH // 2 + WIDTH] = PHOTOGRAPH
    busy = np.kron(STRANGER, np.ones((3, 2), np.uint8))[: 3 * HEIGHT, : 2 * WIDTH]
    assert around.around_part(page, middle) is Around.SCREEN
    assert around.around_part(plain, middle) is Around.PLAIN
    assert around.around_part(busy, middle) is Around.PICTURE
    assert around.around_part(plain, Window()) is Around.NOTHING


def test_what_was_put_around_a_query_is_told() -> None:
    """A page is; what a crop of a photograph has lost is not."""
    whole = PHOTOGRAPH
    page = np.full((2 * whole.shape[0], 2 * whole.shape[1]), 250, np.uint8)
    page[:100] = 30
    page[150 : 150 + whole.shape[0], 60 : 60 + whole.shape[1]] = whole
    parts = GREY64.picture_parts
    assert parts is not None
    middle = 60 / whole.shape[1] - 0.5, 150 / whole.shape[0] - 0.5
    assert around_query(parts, page, np.array([[0.5, 0, middle[0]], [0, 0.5, middle[1]]])) is Around.SCREEN
    assert around_query(parts, whole, np.array([[0.5, 0, 0.1], [0, 0.5, -0.1]])) is Around.NOTHING
