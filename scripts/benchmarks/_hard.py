"""Hard edits of photographs as people and programs make them, alone and in chains, and templates around photographs.

In: photographs, photographs for what else is shown, a seed.  Out: edited images, each with its kind and photograph.
Never here: who finds them (`accuracy`, `parts`), mild edits (`_edits`).

    for query in hard_queries(paths, 60, seed=7):
        query.kind, query.row, query.image      # image shows paths[query.row]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from _edits import BLACK, EDITS, WHITE, Random, cropped_anywhere, saved, scaled
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

HardEdit = Callable[[Image.Image, Image.Image, Random], Image.Image]
"""Takes a photograph, another one that may be shown beside, over or under it, and a random generator."""

WORDS = "the quick brown fox jumps over the lazy dog and goes home by the river before it rains "

SCRIPTS = (
    "добрый день",
    "хорошая погода",
    "καλημέρα σε όλους",
    "صباح الخير",
    "בוקר טוב לכולם",
    "բարի լույս",
    "დილა მშვიდობისა",
    "ສະບາຍດີ",
)
"""What is written across pictures in other scripts than Latin."""

MAX_SIDE_PX = 1600
"""Longer side of an edited image: a chain of pages would double it at each link."""

LEAST_SIDE_PX = 48
"""Shorter side of an edited image of a chain: smaller ones are drawn again."""

CHAIN_LENGTHS = (2, 3, 4)


@dataclass(frozen=True)
class Query:
    """An edited photograph.

    Parameters
    ----------
    kind : str
        Of the edit; those of a chain are joined by " > ".
    row : int
        Of the photograph among those that were edited.
    image : Image.Image
    """

    kind: str
    row: int
    image: Image.Image


def hard_queries(
    photographs: Sequence[Path],
    count: int,
    seed: int,
    others: Sequence[Path] | None = None,
    kinds: Mapping[str, HardEdit] | None = None,
) -> Iterator[Query]:
    """Yield edited photographs, one of each kind in turn.

    Parameters
    ----------
    photographs : sequence of Path
    count : int
        Queries in all.
    seed : int
        The same arguments give the same images.
    others : sequence of Path, optional
        What else is shown in edits; by default the photographs, of which never the edited one.
    kinds : mapping of str to edit, optional
        By default all of `HARD`.
    """
    edits = HARD if kinds is None else kinds
    for number, row in enumerate(_rows(len(photographs), count, seed)):
        kind = list(edits)[number % len(edits)]
        random = np.random.default_rng([seed, number])
        image, another = _pictures(photographs, others, row, random)
        yield Query(kind, row, _limited(edits[kind](image, another, random)))


def chain_queries(
    photographs: Sequence[Path], count: int, seed: int, others: Sequence[Path] | None = None
) -> Iterator[Query]:
    """Yield photographs under two, three and four edits in turn, of which about half are mild and not all.

    Parameters
    ----------
    photographs : sequence of Path
    count : int
        Queries in all.
    seed : int
        The same arguments give the same images.
    others : sequence of Path, optional
        What else is shown in edits; by default the photographs, of which never the edited one.
    """
    edits = {**HARD, **MILD}
    for number, row in enumerate(_rows(len(photographs), count, seed)):
        random = np.random.default_rng([seed, number, 1])
        length = CHAIN_LENGTHS[number % len(CHAIN_LENGTHS)]
        while True:
            kinds = _chain(length, random)
            image, another = _pictures(photographs, others, row, random)
            for kind in kinds:
                image = _limited(edits[kind](image, another, random))
                _, another = _pictures(photographs, others, row, random)
            if min(image.size) >= LEAST_SIDE_PX:
                break
        yield Query(" > ".join(kinds), row, image)


def _chain(length: int, random: Random) -> list[str]:
    """Return the kinds of a chain's edits: each hard or mild with even chances, at least one hard."""
    hard = max(1, int(random.binomial(length, 0.5)))
    kinds = [*random.choice(list(HARD), hard, replace=False), *random.choice(list(MILD), length - hard, replace=False)]
    return [str(kind) for kind in random.permutation(kinds)]


def _rows(length: int, count: int, seed: int) -> list[int]:
    """Return which photographs are edited: each as often as any other one."""
    random = np.random.default_rng(seed)
    rounds = [random.permutation(length) for _ in range(-(-count // max(1, length)))]
    return [int(row) for row in np.concatenate([*rounds, np.empty(0, np.int64)])[:count]]


def _pictures(
    photographs: Sequence[Path], others: Sequence[Path] | None, row: int, random: Random
) -> tuple[Image.Image, Image.Image]:
    """Return a photograph and another one."""
    shown = [path for path in (others or photographs) if path != photographs[row]]
    return opened(photographs[row]), opened(shown[random.integers(len(shown))])


def opened(path: Path) -> Image.Image:
    """Return a photograph in colour, upright."""
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def _limited(image: Image.Image) -> Image.Image:
    """Return an image in colour, no larger than `MAX_SIDE_PX`."""
    whole = image.convert("RGB")
    whole.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    return whole


def lines_of_text(draw: ImageDraw.ImageDraw, left: int, top: int, bottom: int, random: Random) -> None:
    """Write lines of text of one size down a page."""
    size = int(random.integers(18, 34))
    font = ImageFont.load_default(size)
    for number, y in enumerate(range(top, bottom - size, round(size * 1.5))):
        draw.text((left, y), WORDS[number % 20 : number % 20 + 60], font=font, fill=(90, 90, 90))


def placed_at(whole: Image.Image, image: Image.Image, width: int, height: int, random: Random) -> None:
    """Paste an image within a box of some size at a random place."""
    scale = min(width / image.width, height / image.height)
    shown = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    left = int(random.integers(0, max(1, whole.width - shown.width)))
    top = int(random.integers(0, max(1, whole.height - shown.height)))
    whole.paste(shown, (left, top))


def on_a_page(image: Image.Image, another: Image.Image, random: Random) -> Image.Image:
    """Return an upright telephone's page with text, the image, and a smaller picture of another thing."""
    tone = int(random.choice([16, 255]))
    page = Image.new("RGB", (720, 1440), (tone,) * 3)
    lines_of_text(ImageDraw.Draw(page), 30, 40, 300, random)
    shown = ImageOps.contain(image, (int(random.integers(420, 720)), 640))
    page.paste(shown, (int(random.integers(0, 721 - shown.width)), 320))
    lines_of_text(ImageDraw.Draw(page), 30, 980, 1120, random)
    page.paste(ImageOps.contain(another, (300, 260)), (30, 1150))
    return page


def onto_another(image: Image.Image, another: Image.Image, random: Random) -> Image.Image:
    """Return a larger picture of another thing with the image on 12 to 40 % of its area."""
    whole = ImageOps.fit(another, (1200, 900))
    share = float(random.uniform(0.12, 0.4)) ** 0.5
    placed_at(whole, image, round(share * 1200), round(share * 900), random)
    return whole


def under_another(image: Image.Image, another: Image.Image, random: Random) -> Image.Image:
    """Return the image with another picture over 10 to 25 % of its area."""
    whole = image.copy()
    side = math.sqrt(random.uniform(0.1, 0.25))
    shape = math.exp(random.uniform(-0.35, 0.35))
    size = round(image.width * side * shape), round(image.height * side / shape)
    placed_at(whole, ImageOps.fit(another, size), *size, random)
    return whole


def blended(image: Image.Image, another: Image.Image, random: Random) -> Image.Image:
    """Return the image with 30 to 45 % of another one shining through."""
    return Image.blend(image, ImageOps.fit(another, image.size), random.uniform(0.3, 0.45))


def with_sticker(share: float) -> HardEdit:
    """Return the edit that puts a face, a heart or a star of a share of the shorter side somewhere."""

    def edit(image: Image.Image, _: Image.Image, random: Random) -> Image.Image:
        whole = image.copy()
        side = max(8, round(share * min(image.size)))
        sticker = [face, heart, star][random.integers(3)](side).rotate(
            random.uniform(-30, 30), Image.Resampling.BICUBIC
        )
        at = int(random.integers(whole.width - side + 1)), int(random.integers(whole.height - side + 1))
        whole.paste(sticker, at, sticker)
        return whole

    return edit


def face(side: int) -> Image.Image:
    """Return a yellow face that smiles."""
    sticker = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(sticker)
    draw.ellipse((0, 0, side - 1, side - 1), fill=(255, 205, 60), outline=(200, 140, 20), width=max(1, side // 40))
    for middle in (0.33, 0.67):
        draw.ellipse(_box(side, middle - 0.06, 0.28, middle + 0.06, 0.46), fill=(90, 60, 20))
    draw.chord(_box(side, 0.24, 0.4, 0.76, 0.84), 10, 170, fill=(120, 40, 20))
    return sticker


def heart(side: int) -> Image.Image:
    """Return a red heart."""
    sticker = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(sticker)
    for middle in (0.27, 0.73):
        draw.ellipse(_box(side, middle - 0.25, 0.06, middle + 0.25, 0.56), fill=(225, 40, 70))
    draw.polygon([(side * x, side * y) for x, y in ((0.06, 0.44), (0.94, 0.44), (0.5, 0.98))], fill=(225, 40, 70))
    return sticker


def star(side: int) -> Image.Image:
    """Return a blue star with a white edge."""
    sticker = Image.new("RGBA", (side, side))
    points = [
        (side / 2 * (1 + radius * math.sin(turn)), side / 2 * (1 - radius * math.cos(turn)))
        for turn, radius in ((math.pi * number / 5, 0.45 if number % 2 else 1.0) for number in range(10))
    ]
    ImageDraw.Draw(sticker).polygon(points, fill=(50, 110, 220), outline=WHITE, width=max(1, side // 30))
    return sticker


def _box(side: int, left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
    return side * left, side * top, side * right, side * bottom


def striped(image: Image.Image, _: Image.Image, random: Random) -> Image.Image:
    """Return the image under 3 to 10 stripes of one tone over 20 to 50 % of it, at any angle."""
    count, share = int(random.integers(3, 11)), random.uniform(0.2, 0.5)
    angle = random.choice([0.0, math.pi / 2, random.uniform(0, math.pi)])
    y, x = np.mgrid[: image.height, : image.width]
    along = x * math.cos(angle) + y * math.sin(angle)
    phase = (along - along.min()) / (np.ptp(along) + 1) * count
    pixels = np.asarray(image).copy()
    pixels[phase % 1 < share] = random.integers(0, 256, 3)
    return Image.fromarray(pixels)


def with_other_scripts(image: Image.Image, _: Image.Image, random: Random) -> Image.Image:
    """Return the image with two to five lines of large letters of other scripts across."""
    written = image.copy()
    draw = ImageDraw.Draw(written)
    fonts = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
    for text in random.choice(SCRIPTS, int(random.integers(2, 6)), replace=False):
        size = max(10, round(image.height * random.uniform(0.07, 0.14)))
        at = image.width * random.uniform(0.0, 0.3), random.uniform(0, max(1, image.height - size))
        fill, edge = (WHITE, BLACK) if random.integers(2) else (tuple(random.integers(0, 256, 3).tolist()), WHITE)
        draw.text(at, str(text), font=ImageFont.truetype(fonts, size), fill=fill, stroke_width=1, stroke_fill=edge)
    return written


def padded(image: Image.Image, _: Image.Image, random: Random) -> Image.Image:
    """Return the image with 10 to 35 % of its sides added on all sides, in one tone."""
    share = float(random.uniform(0.1, 0.35))
    border = round(share * max(image.size))
    return ImageOps.expand(image, border, tuple(random.integers(0, 256, 3).tolist()))


def squared(image: Image.Image, _: Image.Image, __: Random) -> Image.Image:
    """Return the image padded to a square."""
    return ImageOps.pad(image, (max(image.size), max(image.size)), color=(255, 255, 255))


def in_perspective(image: Image.Image, _: Image.Image, random: Random) -> Image.Image:
    """Return the image with each corner moved inwards by up to a fifth of the sides, one tone around it."""
    width, height = image.size
    inwards = random.uniform(0, 0.2, (4, 2)) * [width, height]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
    seen = corners + inwards * [[1, 1], [-1, 1], [-1, -1], [1, -1]]
    tone = tuple(random.integers(0, 256, 3).tolist()) if random.integers(2) else BLACK
    return image.transform(
        image.size, Image.Transform.PERSPECTIVE, _homography(seen, corners), Image.Resampling.BICUBIC, fillcolor=tone
    )


def _homography(seen: NDArray[np.float64], corners: NDArray[np.float64]) -> list[float]:
    """Return the eight numbers that bring four points to four others."""
    rows, values = [], []
    for (x, y), (to_x, to_y) in zip(seen, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -x * to_x, -y * to_x], [0, 0, 0, x, y, 1, -x * to_y, -y * to_y]]
        values += [to_x, to_y]
    return [float(value) for value in np.linalg.solve(np.array(rows), np.array(values))]


def skewed(image: Image.Image, _: Image.Image, random: Random) -> Image.Image:
    """Return the image sheared by 0.15 to 0.4 along either axis in a frame that grew."""
    upright = bool(random.integers(2))
    shown = image.transpose(Image.Transpose.TRANSPOSE) if upright else image
    shear = random.uniform(0.15, 0.4) * random.choice([-1, 1])
    wider = round(abs(shear) * shown.height)
    affine = (1.0, shear, -shear * shown.height if shear > 0 else 0.0, 0.0, 1.0, 0.0)
    size = (shown.width + wider, shown.height)
    tone = WHITE if random.integers(2) else BLACK
    skew = shown.transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC, fillcolor=tone)
    return skew.transpose(Image.Transpose.TRANSPOSE) if upright else skew


def turned_between(least_deg: float, most_deg: float) -> HardEdit:
    """Return the edit that turns either way between two angles, in the same frame or one that grew."""

    def edit(image: Image.Image, _: Image.Image, random: Random) -> Image.Image:
        angle_deg = random.uniform(least_deg, most_deg) * random.choice([-1, 1])
        expand, tone = bool(random.integers(2)), WHITE if random.integers(2) else BLACK
        return image.rotate(angle_deg, Image.Resampling.BICUBIC, expand=expand, fillcolor=tone)

    return edit


def pixelated(image: Image.Image, _: Image.Image, random: Random) -> Image.Image:
    """Return the image in 40 to 80 blocks along the longer side."""
    small = image.copy()
    small.thumbnail((int(random.integers(40, 81)),) * 2, Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.NEAREST)


def noisy(image: Image.Image, _: Image.Image, random: Random) -> Image.Image:
    """Return the image with Gaussian noise of 35 to 60 grey levels."""
    noise = random.normal(0, random.uniform(35, 60), (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def shuffled(image: Image.Image, _: Image.Image, random: Random) -> Image.Image:
    """Return the image with 10 to 30 % of its pixels in each other's places."""
    pixels = np.asarray(image).reshape(-1, 3).copy()
    moved = random.choice(len(pixels), round(len(pixels) * random.uniform(0.1, 0.3)), replace=False)
    pixels[moved] = pixels[random.permutation(moved)]
    return Image.fromarray(pixels.reshape(image.height, image.width, 3))


def alone(edit: Callable[[Image.Image, Random], Image.Image]) -> HardEdit:
    """Return an edit that shows nothing else as one that might."""
    return lambda image, _, random: edit(image, random)


HARD: dict[str, HardEdit] = {
    "screenshot with text and pictures": on_a_page,
    "onto a larger picture": onto_another,
    "picture over 10 to 25 %": under_another,
    "blend of 30 to 45 %": blended,
    "sticker of 20 %": with_sticker(0.2),
    "sticker of 40 %": with_sticker(0.4),
    "sticker of 60 %": with_sticker(0.6),
    "stripes over 20 to 50 %": striped,
    "text in other scripts": with_other_scripts,
    "pad by 10 to 35 %": padded,
    "padded to a square": squared,
    "perspective": in_perspective,
    "skew": skewed,
    "turn by 10 to 20": turned_between(10, 20),
    "turn by any angle": turned_between(0, 180),
    "crop to 50 to 80 %": alone(cropped_anywhere(0.5, 0.8)),
    "crop to 25 to 50 %": alone(cropped_anywhere(0.25, 0.5)),
    "crop to 12 to 25 %": alone(cropped_anywhere(0.12, 0.25)),
    "aspect 0.5": alone(scaled(0.5, 1.0)),
    "aspect 2": alone(scaled(1.0, 0.5)),
    "pixelated": pixelated,
    "JPEG 3": alone(saved("JPEG", 3)),
    "noise 35 to 60": noisy,
    "pixels shuffled": shuffled,
}

MILD: dict[str, HardEdit] = {name: alone(edit) for name, edit in EDITS.items() if name != "unchanged"}


def in_a_template(image: Image.Image) -> Image.Image:
    """Return a screenshot of one program that shows an image: all of it but the image is always the same."""
    page = Image.new("RGB", (720, 1280), (245, 245, 245))
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, 720, 110), fill=(40, 70, 130))
    draw.text((30, 34), "My photographs", font=ImageFont.load_default(36), fill=WHITE)
    page.paste(ImageOps.fit(image, (660, 560)), (30, 150))
    lines_of_text(draw, 30, 760, 1080, np.random.default_rng(7))
    for x_px in range(40, 720, 170):
        draw.ellipse((x_px, 1140, x_px + 90, 1230), outline=(40, 70, 130), width=8)
    return page


def framed(image: Image.Image) -> Image.Image:
    """Return an image in a broad frame with a pattern."""
    y, x = np.mgrid[:600, :800]
    waves = np.sin(x / 9) * np.sin(y / 9) + np.sin((x + y) / 23)
    tones = np.stack([150 + 45 * waves, 110 + 35 * waves, 60 + 25 * waves], axis=-1)
    whole = Image.fromarray(np.clip(tones, 0, 255).astype(np.uint8))
    ImageDraw.Draw(whole).rectangle((84, 84, 715, 515), fill=(60, 40, 20))
    whole.paste(ImageOps.fit(image, (616, 416)), (92, 92))
    return whole


def watermarked(image: Image.Image) -> Image.Image:
    """Return an image with the same pale lines of text across all of it."""
    whole = ImageOps.fit(image, (640, 480))
    mark = Image.new("RGBA", whole.size)
    draw, font = ImageDraw.Draw(mark), ImageFont.load_default(44)
    for number, top in enumerate(range(10, 480, 78)):
        draw.text((-60 * (number % 2), top), "STOCK PICTURES  STOCK PICTURES", font=font, fill=(255, 255, 255, 150))
    draw.line((0, 0, 640, 480), fill=(255, 255, 255, 150), width=6)
    draw.line((0, 480, 640, 0), fill=(255, 255, 255, 150), width=6)
    whole.paste(mark, (0, 0), mark)
    return whole


def on_a_slide(image: Image.Image) -> Image.Image:
    """Return a slide of a talk with title, text, a mark and an image on a quarter of it."""
    slide = Image.new("RGB", (960, 540), WHITE)
    draw = ImageDraw.Draw(slide)
    draw.rectangle((0, 0, 960, 90), fill=(20, 90, 90))
    draw.text((40, 22), "Results of the third quarter", font=ImageFont.load_default(40), fill=WHITE)
    lines_of_text(draw, 40, 120, 470, np.random.default_rng(11))
    draw.rectangle((440, 110, 930, 480), fill=WHITE)
    slide.paste(ImageOps.fit(image, (450, 320)), (460, 130))
    draw.line((0, 500, 960, 500), fill=(20, 90, 90), width=3)
    draw.ellipse((890, 506, 920, 536), fill=(220, 120, 30))
    return slide


def captioned_alike(image: Image.Image) -> Image.Image:
    """Return an image between two lines of large white letters on black."""
    whole = Image.new("RGB", (600, 640), BLACK)
    whole.paste(ImageOps.fit(image, (600, 400)), (0, 120))
    draw = ImageDraw.Draw(whole)
    draw.text((40, 26), "WHEN YOU SAY", font=ImageFont.load_default(72), fill=WHITE)
    draw.text((30, 540), "IT IS FRIDAY", font=ImageFont.load_default(80), fill=WHITE)
    return whole


TEMPLATES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "screenshot": in_a_template,
    "frame": framed,
    "watermark": watermarked,
    "slide": on_a_slide,
    "caption": captioned_alike,
}
"""What makes different pictures look alike: two photographs in one of these are no copies."""
