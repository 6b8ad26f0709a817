"""Plain vectors, codes and structure: what has too little to match matches nothing, wherever it stands."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from cbir_daemon import matching
from tests.pictures import photograph
from tests.places import CLOTHING

Vector = NDArray[np.uint8]
COUNT = 12
GARMENTS = 60


def vector_of(picture: Image.Image) -> Vector:
    """Return the 4096 grey numbers of a picture."""
    grey = picture.convert("L").resize((64, 64), Image.Resampling.LANCZOS)
    return np.asarray(grey, dtype=np.uint8).reshape(-1)


@pytest.fixture(scope="module")
def album() -> NDArray[np.uint8]:
    """Unrelated photographs as vectors."""
    return np.stack([vector_of(Image.fromarray(photograph(seed))) for seed in range(COUNT)])


PLAIN = {
    "white": np.full(4096, 255, np.uint8),
    "black": np.zeros(4096, np.uint8),
    "faint noise": np.random.default_rng(0).integers(250, 253, 4096, dtype=np.uint8),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_vectors_match_nothing(name: str, album: NDArray[np.uint8]) -> None:
    """A plain vector is called so and is no copy of anything, not even of itself."""
    plain = PLAIN[name]
    assert matching.is_plain(plain)
    others = np.concatenate([plain[None], *(vector[None] for vector in PLAIN.values()), album[:3]])
    assert not any(judgement.is_copy for judgement in matching.judge(plain, others))
    assert not any(judgement.is_copy for judgement in matching.judge(album[0], others[:4]))
    assert not any(matching.is_plain(vector) for vector in album)


@pytest.mark.parametrize("name", ["gradient", "hair on a page", "box"])
def test_too_little_structure_is_no_proof(name: str) -> None:
    """A gradient, a stroke or a single box is nobody's copy under another position or tone."""
    page, second = np.full((64, 64), 240, np.uint8), np.full((64, 64), 240, np.uint8)
    if name == "gradient":
        page[:], second[:] = np.linspace(0, 255, 64), np.linspace(40, 200, 64)[:, None]
    elif name == "hair on a page":
        page[20:22, 30:50], second[40:42, 10:30] = 150, 100
    else:
        page[20:40, 20:44], second[10:50, 14:40] = 40, 60
    assert not matching.judge(page.reshape(-1), second.reshape(1, -1))[0].is_copy


def drawn(shape: str, box: tuple[int, int, int, int], level: int) -> Vector:
    """Return one figure on a white page."""
    page = Image.new("L", (256, 256), 240)
    draw = ImageDraw.Draw(page)
    if shape == "disc":
        draw.ellipse(box, fill=level)
    elif shape == "box":
        draw.rectangle(box, fill=level)
    else:
        draw.rectangle((0, box[1], 256, 256), fill=level)
    return vector_of(page)


PLACES = (((60, 60, 150, 150), 20), ((100, 90, 230, 200), 60), ((30, 120, 130, 240), 90), ((80, 40, 180, 220), 120))


@pytest.mark.parametrize("shape", ["disc", "box", "horizon"])
def test_figures_elsewhere_are_no_copies(shape: str) -> None:
    """One disc, box or horizon is nobody's copy at another place, in another size or tone."""
    vectors = [drawn(shape, box, level) for box, level in PLACES]
    for query, stored in permutations(vectors, 2):
        assert not matching.judge(query, stored[None])[0].is_copy


def test_a_simple_figure_is_a_copy_where_it_stands() -> None:
    """What moved must hold more structure than what stands where it stood: a saved disc is a copy of itself."""
    disc = drawn("disc", *PLACES[1])
    softer = np.asarray(Image.fromarray(disc.reshape(64, 64)).filter(ImageFilter.GaussianBlur(0.4))).reshape(-1)
    still = matching.judge(softer, disc[None])[0]
    assert still.is_copy
    assert (
        still.explanation.evidence_needed_px
        < matching.judge(disc, drawn("disc", *PLACES[2])[None])[0].explanation.evidence_needed_px
    )


@pytest.mark.parametrize("side", [1, 2, 3])
def test_tiny_images_match_nothing(side: int, album: NDArray[np.uint8]) -> None:
    """An image of a few pixels is no copy of a photograph nor of another tiny one."""
    random = np.random.default_rng(side)
    tiny = [vector_of(Image.fromarray(random.integers(0, 256, (side, side), dtype=np.uint8))) for _ in range(6)]
    for query in tiny:
        others = np.stack([*(vector for vector in tiny if vector is not query), *album])
        assert not any(judgement.is_copy for judgement in matching.judge(query, others))


@pytest.mark.skipif(not CLOTHING.is_dir(), reason="no product photographs beside the checkout")
def test_no_garment_is_a_copy_of_another() -> None:
    """Product photographs on plain grounds match none of the likeliest others."""
    files = sorted(CLOTHING.glob("*.jpg"))[: 10 * GARMENTS : 10]
    vectors = np.stack([vector_of(Image.open(path)) for path in files])
    packed = matching.packed_codes(vectors)
    for row, vector in enumerate(vectors):
        scores = matching.best_scores(packed, matching.coarse_views(vector))
        scores[row] = -1
        likeliest = np.argsort(-scores)[:5]
        assert not any(judgement.is_copy for judgement in matching.judge(vector, vectors[likeliest]))


def test_codes_know_neither_brightness_nor_contrast(album: NDArray[np.uint8]) -> None:
    """Codes are unit vectors without a mean, the same for a darker and flatter copy, zero for a flat vector."""
    codes = matching.codes(album)
    assert codes.shape == (COUNT, matching.CODE_SIZE)
    assert codes.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(codes.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(matching.codes((album // 2 + 20).astype(np.uint8)), codes, atol=0.01)
    assert not matching.codes(PLAIN["white"][None]).any()


def test_likeness_ranks(album: NDArray[np.uint8]) -> None:
    """A vector is wholly like itself, and not at all like its negative or a flat one."""
    stored = np.stack([album[0], 255 - album[0], PLAIN["white"]])
    np.testing.assert_allclose(matching.likeness(album[0], stored), [1, 0, 0], atol=1e-5)


def test_structure_grows_with_detail() -> None:
    """A flat vector has no structure, a photograph more than its blur."""
    picture = Image.fromarray(photograph(3))
    vectors = np.stack([PLAIN["white"], vector_of(picture.filter(ImageFilter.GaussianBlur(12))), vector_of(picture)])
    flat, blurred, sharp = matching.structure(vectors)
    assert flat == pytest.approx(0, abs=1e-3)
    assert flat < blurred < sharp
