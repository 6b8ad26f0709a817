"""Where a picture is from, told in one line: real edits of a photograph in, words out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from cbir_daemon import matching
from cbir_daemon.comparison import Around, Overlap, Tone, Transform
from cbir_daemon.kinds import Kind
from cbir_daemon.wording.origins import Edit, moment, origin
from tests.pictures import photograph, real_photographs

TEMPLE, FLOWER = (Image.fromarray(picture) for picture in real_photographs())
WIDTH, HEIGHT = TEMPLE.size
PATH = "/albums/2019/IMG_1.jpg"

Made = Callable[[Image.Image], Image.Image]


def cropped(width: float, height: float) -> Made:
    """Return what crops the middle, so much of both sides."""

    def crop(picture: Image.Image) -> Image.Image:
        left, top = (round(side * (1 - share) / 2) for side, share in zip(picture.size, (width, height), strict=True))
        return picture.crop((left, top, picture.width - left, picture.height - top))

    return crop


def bordered(picture: Image.Image) -> Image.Image:
    """Return a picture inside a white border of a tenth of its side."""
    framed = Image.new("RGB", (round(WIDTH * 1.2), round(HEIGHT * 1.2)), "white")
    framed.paste(picture, (WIDTH // 10, HEIGHT // 10))
    return framed


def captioned(picture: Image.Image) -> Image.Image:
    """Return a picture with black letters on a white bar below it."""
    framed = Image.new("RGB", (WIDTH, round(HEIGHT * 1.2)), "white")
    framed.paste(picture, (0, 0))
    ImageDraw.Draw(framed).text((20, HEIGHT + 20), "when you see it", "black", font_size=48)
    return framed


def beside(picture: Image.Image) -> Image.Image:
    """Return a picture left of another one."""
    both = Image.new("RGB", (2 * WIDTH, HEIGHT))
    both.paste(picture, (0, 0))
    both.paste(Image.fromarray(photograph(3)).resize(picture.size), (WIDTH, 0))
    return both


def part_beside(picture: Image.Image) -> Image.Image:
    """Return a part of a picture left of another one."""
    both = beside(picture)
    return both.crop((WIDTH // 5, 0, 2 * WIDTH - WIDTH // 5, HEIGHT))


def tilted(degrees: float) -> Made:
    """Return what turns a picture counter-clockwise, cutting its corners off."""
    return lambda picture: picture.rotate(degrees, Image.Resampling.BICUBIC)


def tilted_and_grown(picture: Image.Image) -> Image.Image:
    """Return a picture turned in a frame that holds all of it."""
    return picture.rotate(4, Image.Resampling.BICUBIC, expand=True)


def then(*steps: Made) -> Made:
    """Return what does one thing after the other."""

    def done(picture: Image.Image) -> Image.Image:
        for step in steps:
            picture = step(picture)
        return picture

    return done


def moved(how: Image.Transpose) -> Made:
    """Return what mirrors or turns a picture."""
    return lambda picture: picture.transpose(how)


def light(factor: float) -> Made:
    """Return what multiplies every grey."""
    return lambda picture: ImageEnhance.Brightness(picture).enhance(factor)


def contrast(factor: float) -> Made:
    """Return what multiplies how far every grey is from the mean."""
    return lambda picture: ImageEnhance.Contrast(picture).enhance(factor)


def gamma(power: float) -> Made:
    """Return what raises every grey to a power."""
    return lambda picture: picture.point([round(255 * (grey / 255) ** power) for grey in range(256)] * 3)


def negative(picture: Image.Image) -> Image.Image:
    """Return the negative."""
    return picture.point([255 - grey for grey in range(256)] * 3)


def vector(picture: Image.Image) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Return the 4096 grey numbers of a picture."""
    return np.asarray(picture.convert("L").resize((64, 64), Image.Resampling.LANCZOS), np.uint8).reshape(-1)


def said_of(made: Made, picture: Image.Image = TEMPLE) -> str:
    """Return what is said of an edited picture."""
    edited = made(picture)
    (judged,) = matching.judge(vector(edited), vector(picture)[None])
    assert judged.is_copy, judged
    scale = ((edited.width * edited.height) / (picture.width * picture.height)) ** 0.5
    return origin(Edit(Kind.COPY, judged.transform, judged.overlap, judged.tone, judged.around, scale), PATH)


FLIP = Image.Transpose.FLIP_LEFT_RIGHT
WHOLE_EDITS: dict[str, Made] = {
    f"copy of {PATH}": lambda picture: picture,
    f"smaller copy (50 %) of {PATH}": lambda picture: picture.resize((WIDTH // 2, HEIGHT // 2)),
    f"larger copy (200 %) of {PATH}": lambda picture: picture.resize((WIDTH * 2, HEIGHT * 2)),
    f"copy of {PATH}, mirrored": moved(FLIP),
    f"copy of {PATH}, mirrored top to bottom": moved(Image.Transpose.FLIP_TOP_BOTTOM),
    f"copy of {PATH}, turned 90 degrees left": moved(Image.Transpose.ROTATE_90),
    f"copy of {PATH}, turned 90 degrees right": moved(Image.Transpose.ROTATE_270),
    f"copy of {PATH}, turned upside down": moved(Image.Transpose.ROTATE_180),
    f"copy of {PATH}, tilted 3 degrees left": tilted(3),
    f"copy of {PATH}, tilted 8 degrees right": tilted(-8),
    f"copy of {PATH}, tilted 4 degrees left": tilted_and_grown,
    f"copy of {PATH}, negative": negative,
    f"copy of {PATH}, brighter": light(1.3),
    f"copy of {PATH}, darker": light(0.7),
    f"copy of {PATH}, more contrast": contrast(1.5),
    f"copy of {PATH}, less contrast": contrast(0.6),
    f"copy of {PATH}, brighter, less contrast": then(contrast(0.6), light(1.2)),
    f"copy of {PATH}, negative, darker": then(negative, light(0.7)),
}


@pytest.mark.parametrize("line", WHOLE_EDITS)
def test_each_edit_has_its_words(line: str) -> None:
    """And no others."""
    assert said_of(WHOLE_EDITS[line]) == line


def test_light_by_a_curve_is_light() -> None:
    """As cameras and telephones do it."""
    assert "brighter" in said_of(gamma(0.6))
    assert "darker" in said_of(gamma(1.6))


@pytest.mark.parametrize(("picture", "side", "share"), [(TEMPLE, 0.7, 49), (FLOWER, 0.62, 38)])
def test_a_crop_tells_its_share(picture: Image.Image, side: float, share: int) -> None:
    """To 3 % of the whole: "crop (38 %) of /albums/2019/IMG_1.jpg, mirrored, brighter"."""
    line = said_of(then(cropped(side, side), moved(FLIP), light(1.3)), picture)
    assert line in {f"crop ({near} %) of {PATH}, mirrored, brighter" for near in range(share - 3, share + 4)}


@pytest.mark.parametrize("made", [bordered, captioned])
def test_a_border_or_caption_is_told_from_a_picture(made: Made) -> None:
    """What lies around is of one tone, but for letters."""
    line = said_of(made)
    assert line.startswith(f"copy of {PATH}, with a border or caption (")
    assert line.endswith(" % is picture)")


@pytest.mark.parametrize(
    ("angle", "overlap", "line"),
    [
        (35.0, Overlap(0.53, 1.0), f"copy of {PATH}, tilted 35 degrees left"),
        (-44.0, Overlap(0.78, 0.78), f"copy of {PATH}, tilted 44 degrees right"),
        (35.0, Overlap(0.2, 1.0), f"copy of {PATH}, inside something larger (20 % of it), tilted 35 degrees left"),
        (35.0, Overlap(1.0, 0.6), f"crop (60 %) of {PATH}, tilted 35 degrees left"),
    ],
    ids=["frame grew", "corners cut off", "in a larger frame", "crop"],
)
def test_a_turn_by_any_angle_explains_only_its_corners(angle: float, overlap: Overlap, line: str) -> None:
    """What is smaller than any turn leaves is inside something larger, or a crop."""
    assert origin(Edit(Kind.COPY, Transform(angle=angle), overlap), PATH) == line


def test_what_holds_the_picture_is_told() -> None:
    """With the share of it that the picture fills."""
    assert said_of(beside) in {f"copy of {PATH}, inside a larger picture ({share} % of it)" for share in range(47, 54)}


def test_a_part_inside_a_larger_picture_is_no_crop() -> None:
    """Both shares are told."""
    line = said_of(part_beside)
    assert line.startswith("part (")
    assert f"%) of {PATH}, inside a larger picture (" in line


def test_saving_again_is_told_by_nothing() -> None:
    """JPEG, sepia and a resize by 5 % stay below every threshold."""

    def sepia(picture: Image.Image) -> Image.Image:
        grey = picture.convert("L")
        return Image.merge("RGB", [grey.point([min(255, round(g * s)) for g in range(256)]) for s in (1.07, 0.95, 0.8)])

    assert (
        said_of(then(sepia, lambda picture: picture.resize((WIDTH * 19 // 20, HEIGHT * 19 // 20)))) == f"copy of {PATH}"
    )


def test_the_same_bytes_are_the_same_bytes() -> None:
    """Whatever else is known."""
    assert origin(Edit(Kind.EXACT), PATH) == f"same bytes as {PATH}"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (2.0, "2 s later by EXIF"),
        (-2.0, "2 s earlier by EXIF"),
        (0.25, "0.2 s later by EXIF"),
        (600.0, "10 min later by EXIF"),
        (-10_800.0, "3 h earlier by EXIF"),
        (259_200.0, "3 days later by EXIF"),
        (0.0, "at the same time by EXIF"),
    ],
)
def test_when_a_shot_was_taken(seconds: float, words: str) -> None:
    """In the largest unit of which there are two at least."""
    assert moment(seconds) == words


def test_a_part_of_a_screen_says_so() -> None:
    """Where the pixels around it are mostly of two tones."""
    screen = Edit(Kind.COPY, Transform(), Overlap(0.4, 1.0), Tone(), Around.SCREEN)
    assert origin(screen, PATH) == f"copy of {PATH}, inside a screenshot or page (40 % of it)"


def test_what_only_resembles_is_from_nowhere() -> None:
    """A path, and nothing said of it."""
    assert origin(Edit(Kind.SIMILAR), PATH) == PATH


def test_a_share_is_never_nothing() -> None:
    """Of a tiny part, too."""
    tiny = Edit(Kind.COPY, Transform(), Overlap(0.004, 0.004), Tone(), Around.PICTURE)
    assert origin(tiny, PATH) == f"part (1 %) of {PATH}, inside a larger picture (1 % of it)"


def test_letters_do_not_brighten_a_picture() -> None:
    """Three quarters of the overlap decide on the tone."""

    def lettered(picture: Image.Image) -> Image.Image:
        picture = picture.copy()
        ImageDraw.Draw(picture).rectangle((0, 180, WIDTH, 230), "white")
        return picture

    (judged,) = matching.judge(vector(lettered(TEMPLE)), vector(TEMPLE)[None])
    assert judged.tone.gain == pytest.approx(1, abs=0.03)
    assert judged.tone.shift == pytest.approx(0, abs=1.5)


def test_what_is_no_copy_has_no_tone() -> None:
    """It would mean nothing."""
    (judged,) = matching.judge(vector(TEMPLE), vector(FLOWER)[None])
    assert (judged.is_copy, judged.tone, judged.around) == (False, Tone(), Around.NOTHING)
