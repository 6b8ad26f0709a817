"""Vectors in, candidates and verdicts out: every edit is found and named, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cbir_daemon import matching
from cbir_daemon.comparison import Family, Outcome, Transform, Window
from cbir_daemon.matching import GREY64
from cbir_daemon.matching.agreement import overlaps, polish
from cbir_daemon.matching.views import STORED_WINDOWS, WHOLE, content_box, guess_of
from cbir_daemon.search import Collection, CollectionSnapshot
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
def snapshot(album: NDArray[np.uint8]) -> CollectionSnapshot:
    """Return the forty as a frozen collection; ids start at 100."""
    collection = Collection(GREY64)
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
def test_edit_is_found_and_named(name: str, album: NDArray[np.uint8], snapshot: CollectionSnapshot) -> None:
    """The original of an edited picture comes first, is a copy, and the edit is reported."""
    edit, expected = EDITS[name]
    query = vector_of(edit(picture_of(7)))
    assert snapshot.candidates(query, 3)[0][0] == 107
    judgement = matching.judge(query, album[[7]])[0]
    assert judgement.is_copy
    found = judgement.transform
    assert (found.flip, found.turn, found.invert) == (expected.flip, expected.turn, expected.invert)
    assert found.angle == pytest.approx(expected.angle, abs=0.5)
    guess = judgement.explanation.guess
    assert (guess.flip, guess.turn, guess.invert) == (expected.flip, expected.turn, expected.invert)


CROPS = {
    "middle half": (0.25, 0.25, 0.75, 0.75),
    "left two thirds": (0.0, 0.0, 0.667, 1.0),
    "bottom half": (0.0, 0.5, 1.0, 1.0),
    "corner": (0.3, 0.3, 1.0, 1.0),
}


@pytest.mark.parametrize("name", CROPS)
def test_overlap_of_a_crop(name: str, album: NDArray[np.uint8], snapshot: CollectionSnapshot) -> None:
    """A crop shows nothing but its original, and of that as much as was cut out; the other way round likewise."""
    picture, (left, top, right, bottom) = picture_of(7), CROPS[name]
    sides = picture.width, picture.height
    corners = [round(share * side) for share, side in zip((left, top, right, bottom), sides * 2, strict=True)]
    crop = vector_of(picture.crop((corners[0], corners[1], corners[2], corners[3])))
    area = (right - left) * (bottom - top)
    assert 107 in dict(snapshot.candidates(crop, 5))
    of_crop, of_original = matching.judge(crop, album[[7]])[0], matching.judge(album[7], crop[None])[0]
    assert of_crop.is_copy
    assert of_crop.overlap.query == pytest.approx(1, abs=0.06)
    assert of_crop.overlap.match == pytest.approx(area, abs=0.05)
    assert of_original.is_copy
    assert of_original.overlap.query == pytest.approx(area, abs=0.05)
    assert of_original.overlap.match == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize(("bars", "share"), [((0, 120), 0.571), ((200, 0), 0.545), ((40, 40), 0.686)])
def test_framed_picture_is_found_inside(bars: tuple[int, int], share: float, album: NDArray[np.uint8]) -> None:
    """Bars and borders are no part of the picture: all of the original is in the rest."""
    picture = picture_of(7)
    framed = Image.new("RGB", (picture.width + 2 * bars[0], picture.height + 2 * bars[1]), (0, 0, 0))
    framed.paste(picture, bars)
    judgement = matching.judge(vector_of(framed), album[[7]])[0]
    assert judgement.is_copy
    assert judgement.overlap.query == pytest.approx(share, abs=0.04)
    assert judgement.overlap.match == pytest.approx(1, abs=0.04)


def test_narrow_pictures_between_wide_bars() -> None:
    """A portrait between bars that leave it a quarter of the width is aligned to the pixel, and mostly a copy."""
    copies = 0
    for seed in range(6):
        portrait = picture_of(seed).resize((240, 480))
        framed = Image.new("RGB", (900, 480), (0, 0, 0))
        framed.paste(portrait, (330, 0))
        judgement = matching.judge(vector_of(framed), vector_of(portrait)[None])[0]
        copies += judgement.is_copy
        assert judgement.overlap.query == pytest.approx(0.267, abs=0.02)
    assert copies >= 5


@pytest.mark.parametrize("corner", [(0.0, 0.0), (0.5, 0.0), (0.2, 0.4), (0.5, 0.5)])
def test_a_quarter_is_enough(corner: tuple[float, float], album: NDArray[np.uint8]) -> None:
    """A quarter of a picture's area, taken anywhere, is a copy of most of them."""
    found = 0
    for seed in range(0, COUNT, 4):
        picture = picture_of(seed)
        left, top = (round(share * side) for share, side in zip(corner, picture.size, strict=True))
        crop = picture.crop((left, top, left + picture.width // 2, top + picture.height // 2))
        found += matching.judge(vector_of(crop), album[[seed]])[0].is_copy
    assert found >= 7


def written_on(picture: Image.Image, text: str) -> Image.Image:
    """Return a picture with large letters across."""
    written = picture.copy()
    font = ImageFont.load_default(picture.height // 5)
    at = (picture.width * 0.02, picture.height * 0.4)
    ImageDraw.Draw(written).text(at, text, font=font, fill=(255, 255, 255), stroke_width=2, stroke_fill=(0, 0, 0))
    return written


def test_letters_across_are_spared(album: NDArray[np.uint8]) -> None:
    """A picture with large letters across is a copy, and its explanation says that a strip was left out."""
    strips = 0
    for seed in range(0, COUNT, 4):
        judgement = matching.judge(vector_of(written_on(picture_of(seed), "HOLIDAY 2019")), album[[seed]])[0]
        assert judgement.is_copy
        strips += judgement.explanation.strip
    assert strips
    assert not matching.judge(album[7], album[[7]])[0].explanation.strip


def on_a_phone(picture: Image.Image) -> Image.Image:
    """Return a picture in the middle of an upright screen with a clock and a line at the lower edge."""
    screen = Image.new("RGB", (360, 780), (0, 0, 0))
    shown = picture.resize((360, 240))
    screen.paste(shown, (0, 270))
    draw = ImageDraw.Draw(screen)
    draw.text((14, 12), "12:45", font=ImageFont.load_default(16), fill=(255, 255, 255))
    draw.line((120, 766, 240, 766), fill=(255, 255, 255), width=4)
    return screen


def test_bars_end_where_the_picture_begins(album: NDArray[np.uint8], snapshot: CollectionSnapshot) -> None:
    """A clock, buttons and a caption belong to the bars: what is between them is aligned to the pixel."""
    screen = vector_of(on_a_phone(picture_of(7)))
    left, top, right, bottom = content_box(screen.reshape(64, 64).astype(np.float32)).rows[0]
    assert (left, top, right, bottom) == pytest.approx((0, 270 / 780, 1, 510 / 780), abs=0.02)
    assert snapshot.candidates(screen, 3)[0][0] == 107
    judgement = matching.judge(screen, album[[7]])[0]
    assert judgement.is_copy
    assert judgement.overlap.match == pytest.approx(1, abs=0.06)


def captioned_crop(picture: Image.Image) -> Image.Image:
    """Return most of a picture with a line of text below it."""
    part = picture.crop((0, 0, round(0.85 * picture.width), round(0.85 * picture.height)))
    whole = Image.new("RGB", (part.width, part.height + 60), (255, 255, 255))
    whole.paste(part, (0, 0))
    at, font = (10, part.height + 15), ImageFont.load_default(28)
    ImageDraw.Draw(whole).text(at, "when the weekend is over", font=font, fill=(0, 0, 0))
    return whole


def test_a_captioned_part_is_found(album: NDArray[np.uint8], snapshot: CollectionSnapshot) -> None:
    """What a caption leaves is looked for as a part of other pictures."""
    seeds = range(0, COUNT, 4)
    queries = [vector_of(captioned_crop(picture_of(seed))) for seed in seeds]
    found = [100 + seed in dict(snapshot.candidates(query, 3)) for seed, query in zip(seeds, queries, strict=True)]
    assert sum(found) >= 9
    assert all(matching.judge(query, album[[seed]])[0].is_copy for seed, query in zip(seeds, queries, strict=True))


def test_a_picture_without_bars_is_all_content() -> None:
    """No edge of a picture is taken for a bar when it has structure."""
    whole = [content_box(vector_of(picture_of(seed)).reshape(64, 64).astype(np.float32)).rows[0] for seed in range(20)]
    assert whole.count((0, 0, 1, 1)) >= 18


def test_edits_combine(album: NDArray[np.uint8]) -> None:
    """A mirrored, turned, tilted negative is called by all four names."""
    picture = picture_of(7).transpose(Image.Transpose.FLIP_LEFT_RIGHT).transpose(Image.Transpose.ROTATE_90)
    query = vector_of(picture.rotate(4, Image.Resampling.BICUBIC).point([255 - level for level in range(256)] * 3))
    judgement = matching.judge(query, album[[7]])[0]
    transform = judgement.transform
    assert judgement.is_copy
    assert (transform.flip, transform.turn, transform.invert) == (True, 90, True)
    assert transform.angle == pytest.approx(4, abs=0.5)


def test_threshold_decides(album: NDArray[np.uint8]) -> None:
    """A threshold of one's own replaces the default, in both directions."""
    query = vector_of(picture_of(7).rotate(3))
    score = matching.judge(query, album[[7]])[0].score
    assert not matching.judge(query, album[[7]], threshold=score + 0.001)[0].is_copy
    assert matching.judge(album[3], album[[7]], threshold=0.0)[0].is_copy


def test_judgements_come_in_order_and_do_not_depend_on_company(album: NDArray[np.uint8]) -> None:
    """Each stored vector is judged for itself; none gives no judgement."""
    together = matching.judge(album[7], album[[3, 7, 12]])
    alone = [matching.judge(album[7], album[[row]])[0] for row in (3, 7, 12)]
    for judgement, by_itself in zip(together, alone, strict=True):
        assert (judgement.is_copy, judgement.transform) == (by_itself.is_copy, by_itself.transform)
        assert judgement.score == pytest.approx(by_itself.score, abs=2e-3)
    assert matching.judge(album[7], album[:0]) == []


def test_judgements_do_not_depend_on_who_made_the_codes(album: NDArray[np.uint8]) -> None:
    """Explained to the last bit: codes that are at hand begin at the guesses of those that are made."""
    codes = matching.packed_codes(album)
    for seed in range(4):
        query = vector_of(EDITS["mirrored"][0](picture_of(seed)))
        assert matching.judge(query, album, codes=codes) == matching.judge(query, album)


def test_explanation_gives_the_score(album: NDArray[np.uint8]) -> None:
    """The correlation, the cost and the evidence of an explanation make the score, and it says which rule decided."""
    crop = vector_of(picture_of(7).crop((0, 0, 340, 226)).point([255 - level for level in range(256)] * 3))
    copy, stranger = matching.judge(crop, album[[7, 3]])
    explanation = copy.explanation
    assert explanation.outcome is Outcome.COPY
    assert explanation.evidence_px is not None
    assert explanation.cost == pytest.approx(1.5 * explanation.area_ratio * (1 + 400 / explanation.evidence_px))
    assert explanation.area_ratio == pytest.approx(480 * 320 / (340 * 226), abs=0.1)
    assert (explanation.scale_x, explanation.scale_y) == pytest.approx((340 / 480, 226 / 320), abs=0.02)
    enough = min(1, explanation.evidence_px / explanation.evidence_needed_px)
    assert copy.score == pytest.approx((1 - (1 - explanation.correlation) * explanation.cost) * enough, abs=1e-3)
    assert stranger.explanation.outcome in {Outcome.GIVEN_UP, Outcome.BELOW}
    assert (stranger.explanation.evidence_px is None) == (stranger.explanation.outcome is Outcome.GIVEN_UP)
    below = matching.judge(crop, album[[7]], threshold=1.0)[0].explanation
    assert (below.outcome, below.threshold) == (Outcome.BELOW, 1.0)
    white = np.full(4096, 255, np.uint8)
    assert matching.judge(white, album[[7]])[0].explanation.outcome is Outcome.PLAIN


def test_guess_is_told_by_family_and_windows(album: NDArray[np.uint8]) -> None:
    """The first guess says what the query was taken for, and where in either image that is."""
    whole, crop = (guess_of(0, window, WHOLE, invert=False) for window in (0, 9))
    assert (whole.family, whole.query_window, whole.stored_window) == (Family.WHOLE, Window(), Window())
    assert (crop.family, crop.query_window, crop.stored_window) == (
        Family.CROP,
        Window(),
        Window(*STORED_WINDOWS.rows[9]),
    )
    picture = picture_of(7)
    framed = Image.new("RGB", (picture.width, picture.height + 240), (0, 0, 0))
    framed.paste(picture, (0, 120))
    guess = matching.judge(vector_of(framed), album[[7]])[0].explanation.guess
    assert guess.family in {Family.CONTENT, Family.BARS, Family.PART}
    # The top of what was taken for the stored window, in the framed picture.
    top = (120 + guess.stored_window.top * picture.height) / framed.height
    assert guess.query_window.top == pytest.approx(top, abs=0.08)


def test_polish_ends_on_the_pixel(album: NDArray[np.uint8]) -> None:
    """From a pixel beside, the last steps find a crop's place to a tenth of a pixel."""
    picture = picture_of(7)
    crop = picture.crop((120, 80, 360, 240))
    exact = np.array([[[0.5, 0, 0], [0, 0.5, 0]]], np.float32)
    beside = exact + np.array([[[0.01, 0, 0.03], [0, -0.01, -0.03]]], np.float32)
    query, stored = (vector.reshape(-1, 64, 64).astype(np.float32) for vector in (vector_of(crop), album[7]))
    everywhere, sign = np.ones((64, 64), np.float32), np.ones(1, np.float32)
    start = overlaps(query[0], everywhere, stored, beside, sign)
    found, reached = polish(query[0], everywhere, stored, beside, sign, start, 8)
    np.testing.assert_allclose(found, exact, atol=0.2 / 64)
    assert reached.correlations[0] == overlaps(query[0], everywhere, stored, found, sign).correlations[0]
    assert start.correlations[0] < 0.97 < reached.correlations[0]


def test_no_copy_among_unrelated(album: NDArray[np.uint8]) -> None:
    """No photograph is a copy of another."""
    for row, query in enumerate(album):
        others = np.delete(album, row, axis=0)[row % 3 :: 3]
        assert not any(judgement.is_copy for judgement in matching.judge(query, others))
