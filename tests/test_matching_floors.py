"""What alignment gives up early: no copy, and most of what is none; a pass finds the pairs that judging all finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cbir_daemon.matching import GREY64, align
from cbir_daemon.matching.all_pairs import best_guesses, join_views
from cbir_daemon.matching.registration import FLOORS, JOINED_FLOORS, CorrelationFloors, Registered, register
from cbir_daemon.matching.views import content_box
from cbir_daemon.search import Collection
from cbir_daemon.search.search import Search
from cbir_daemon.search.snapshot import SearchSnapshot
from tests.pictures import Picture, cropped, lettered, mirrored, negative, photograph
from tests.rows import vector_of

Vector = NDArray[np.uint8]

COUNT = 24
STAGES = ("first", "half", "whole")
NO_FLOORS = CorrelationFloors((-1.0,) * 4, (-1.0,) * 6, (-1.0,) * 4)

STEPS = 2.78
"""For each stranger, at most: 2.73 are taken, 8.09 without the floors of the first stage, 2.85 without the next."""

JOINED_STEPS = 0.75
"""In a pass: 0.71 are taken, 4.0 without the floors of the first stage, after which no stranger is there any more."""

GIVEN_UP_IN_A_PASS = 1
"""Of the hard copies below, 32, which is more than of usual ones."""


def tilted(picture: Picture, degrees: float) -> Picture:
    """Turn a picture by a few degrees, and cut off its edges."""
    turned = Image.fromarray(picture).rotate(degrees, Image.Resampling.BICUBIC)
    width, height = turned.size
    return np.asarray(turned.crop((round(0.1 * width), round(0.1 * height), round(0.9 * width), round(0.9 * height))))


def corner(picture: Picture) -> Picture:
    """Cut out the upper left corner, a third of the area."""
    height, width = picture.shape[:2]
    return picture[: int(height * 0.55), : int(width * 0.55)]


def right_half(picture: Picture) -> Picture:
    """Cut off the left half."""
    return picture[:, int(picture.shape[1] * 0.45) :]


HARD: Sequence[Callable[[Picture], Picture]] = (
    lambda picture: tilted(corner(picture), 5.0),
    lambda picture: lettered(right_half(picture)),
    lambda picture: lettered(tilted(picture, 7.5)),
)
"""Edits after which alignment begins far away, or agrees badly when it is there."""

MILD: Sequence[Callable[[Picture], Picture]] = (cropped, mirrored, negative, lettered)


def vectors_of(pictures: Sequence[Picture]) -> Vector:
    """Return the (n, 4096) vectors of pictures."""
    return np.stack([np.frombuffer(vector_of(picture), np.uint8) for picture in pictures])


@pytest.fixture(scope="module")
def album() -> Vector:
    """Unrelated photographs."""
    return vectors_of([photograph(seed) for seed in range(COUNT)])


@pytest.fixture(scope="module")
def copies(album: Vector) -> list[tuple[Vector, Vector]]:
    """Return hard queries and what they are copies of, when nothing is given up."""
    pairs = [
        (query, album[seed])
        for edit in HARD
        for seed, query in zip(
            range(0, COUNT, 2), vectors_of([edit(photograph(seed)) for seed in range(0, COUNT, 2)]), strict=True
        )
    ]
    return [(query, stored) for query, stored in pairs if GREY64.judge(query, stored[None])[0].is_copy]


def registered(query: Vector, stored: Vector, floors: CorrelationFloors, *, joined: bool) -> Registered:
    """Return how a query lies on stored images (m, 4096), where all are looked up among each other or not."""
    image, images = (vectors.astype(np.float32).reshape(-1, 64, 64) for vectors in (query, stored))
    codes = GREY64.packed_codes(stored)
    start = best_guesses(codes, join_views(query))[1] if joined else codes
    return register(image[0], images, content_box(image[0]), start, floors)


def kept(copies: Sequence[tuple[Vector, Vector]], floors: CorrelationFloors, *, joined: bool) -> int:
    """Return how many copies are not given up; where all are looked up, from neither side."""
    sides = [copies, [(stored, query) for query, stored in copies]] if joined else [copies]
    near = [
        [bool(len(registered(query, stored[None], floors, joined=joined).near)) for query, stored in pairs]
        for pairs in sides
    ]
    return int(np.any(near, axis=0).sum())


def raised(floors: CorrelationFloors, stage: str, by: float) -> CorrelationFloors:
    """Return floors of which those of a stage are higher."""
    return replace(floors, **{stage: tuple(floor + by for floor in getattr(floors, stage))})


def test_no_copy_is_given_up(copies: list[tuple[Vector, Vector]]) -> None:
    """Neither for a query nor, but for one, in a pass; floors that are 0.2 higher, of any stage, would lose some."""
    assert len(copies) >= 30
    assert kept(copies, FLOORS, joined=False) == len(copies)
    in_a_pass = kept(copies, JOINED_FLOORS, joined=True)
    assert in_a_pass >= kept(copies, NO_FLOORS, joined=True) - GIVEN_UP_IN_A_PASS
    for stage in STAGES:
        assert kept(copies, raised(FLOORS, stage, 0.2), joined=False) < len(copies)
        assert kept(copies, raised(JOINED_FLOORS, stage, 0.2), joined=True) < in_a_pass


@pytest.mark.parametrize(
    ("floors", "most", "stages"), [(FLOORS, STEPS, STAGES), (JOINED_FLOORS, JOINED_STEPS, ["first"])]
)
def test_strangers_are_given_up_early(
    album: Vector, monkeypatch: pytest.MonkeyPatch, floors: CorrelationFloors, most: float, stages: Sequence[str]
) -> None:
    """They take few steps and none is judged; without the floors of a stage they take more, or some are."""
    taken: list[int] = []
    step = align.newton_step

    def counted(affines: NDArray[np.float32], *equations: NDArray[np.float32]) -> NDArray[np.float32]:
        taken.append(len(affines))
        return step(affines, *equations)

    monkeypatch.setattr(align, "newton_step", counted)

    seeds = range(0, COUNT, 3)
    queries = vectors_of([tilted(photograph(seed), 4.0) for seed in seeds])

    def is_little(tried: CorrelationFloors) -> bool:
        taken.clear()
        judged = [
            len(registered(query, np.delete(album, seed, axis=0), tried, joined=floors is JOINED_FLOORS).near)
            for seed, query in zip(seeds, queries, strict=True)
        ]
        return sum(taken) <= most * len(seeds) * (COUNT - 1) and not any(judged)

    assert is_little(floors)
    for stage in stages:
        assert not is_little(replace(floors, **{stage: getattr(NO_FLOORS, stage)}))


class Vectors:
    """Reads the vectors of an album; ids are rows."""

    def __init__(self, vectors: Vector) -> None:
        self._vectors = vectors

    def vectors(self, content_ids: Sequence[int], /) -> dict[int, bytes]:
        """Return them by id."""
        return {row: self._vectors[row].tobytes() for row in content_ids}


def test_a_pass_finds_the_pairs_that_judging_all_does(album: Vector) -> None:
    """Edits of photographs among strangers: each with each judged from either side, and no pair more or less."""
    edits = [vectors_of([edit(photograph(seed)) for seed in range(0, COUNT, 4)]) for edit in MILD]
    everything = np.concatenate([album, *edits])
    collection = Collection(GREY64)
    collection.add(range(len(everything)), everything)
    search = Search(SearchSnapshot(collection.snapshot(), None), Vectors(everything))
    contents = [(row, vector.tobytes()) for row, vector in enumerate(everything)]
    found = search.joined(contents, [()] * len(contents))
    by_pass = {frozenset((row, copy.content_id)) for row, copies in enumerate(found) for copy in copies}
    by_judging = {
        frozenset((row, stored))
        for row, vector in enumerate(everything)
        for stored, judgement in enumerate(GREY64.judge(vector, everything))
        if stored != row and judgement.is_copy
    }
    assert by_pass == by_judging
    # Of each photograph that was edited, and its four edits, all pairs or nearly all.
    assert len(by_pass) >= 6 * 8
