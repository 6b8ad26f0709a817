"""Vectors in, candidates and verdicts out: every edit is found and named, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cbir_daemon import matching
from cbir_daemon.records import Transform
from tests.pictures import photograph

Vector = NDArray[np.uint8]
COUNT = 40


def vector_of(picture: Image.Image) -> Vector:
    """Return the 4096 grey numbers of a picture."""
    grey = picture.convert("L").resize((64, 64), Image.Resampling.LANCZOS)
    return np.asarray(grey, dtype=np.uint8).reshape(-1)


def picture_of(seed: int) -> Image.Image:
    """Return a photograph made from a seed."""
    return Image.fromarray(photograph(seed))


@pytest.fixture(scope="module")
def album() -> NDArray[np.uint8]:
    """Forty unrelated photographs as vectors."""
    return np.stack([vector_of(picture_of(seed)) for seed in range(COUNT)])


@pytest.fixture(scope="module")
def snapshot(album: NDArray[np.uint8]) -> matching.Snapshot:
    """Return the forty as a frozen collection; ids start at 100."""
    collection = matching.Collection()
    collection.add(range(100, 100 + COUNT), album)
    return collection.snapshot()


EDITS: dict[str, tuple[Callable[[Image.Image], Image.Image], Transform]] = {
    "unchanged": (lambda picture: picture, Transform()),
    "mirrored": (lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), Transform(flip=True)),
    "turned 90": (lambda picture: picture.transpose(Image.Transpose.ROTATE_90), Transform(turn=90)),
    "turned 180": (lambda picture: picture.transpose(Image.Transpose.ROTATE_180), Transform(turn=180)),
    "turned 270": (lambda picture: picture.transpose(Image.Transpose.ROTATE_270), Transform(turn=270)),
    "upside down": (
        lambda picture: picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        Transform(flip=True, turn=180),
    ),
    "transposed": (lambda picture: picture.transpose(Image.Transpose.TRANSPOSE), Transform(flip=True, turn=90)),
    "transversed": (lambda picture: picture.transpose(Image.Transpose.TRANSVERSE), Transform(flip=True, turn=270)),
    "inverted": (lambda picture: picture.point([255 - i for i in range(256)] * 3), Transform(invert=True)),
    "tilted 5": (lambda picture: picture.rotate(5, Image.Resampling.BICUBIC), Transform(angle=5.0)),
    "tilted -10": (lambda picture: picture.rotate(-10, Image.Resampling.BICUBIC), Transform(angle=-10.0)),
    "cropped": (
        lambda picture: picture.crop((30, 30, picture.width - 30, picture.height - 30)),
        Transform(),
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_edit_is_found_and_named(name: str, album: NDArray[np.uint8], snapshot: matching.Snapshot) -> None:
    """The original of an edited picture comes first, is a copy, and the edit is reported."""
    edit, expected = EDITS[name]
    query = vector_of(edit(picture_of(7)))
    assert snapshot.candidates(query, 3)[0][0] == 107
    judgement = matching.judge(query, album[[7]])[0]
    assert judgement.is_copy
    found = judgement.transform
    assert (found.flip, found.turn, found.invert) == (expected.flip, expected.turn, expected.invert)
    assert found.angle == pytest.approx(expected.angle, abs=0.5)


def test_no_copy_among_unrelated(album: NDArray[np.uint8]) -> None:
    """No photograph is a copy of another."""
    for row, query in enumerate(album):
        others = np.delete(album, row, axis=0)[row % 3 :: 3]
        assert not any(judgement.is_copy for judgement in matching.judge(query, others))
