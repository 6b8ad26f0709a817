"""The one to keep: how often what a look tells of an edit is right, and how often the original of a group is kept.

In: folders of photographs.  Out: a table by kind of edit, and two counts.  Never here: which pairs are found.

Each group is a photograph and an edit of it, saved at a quality between 80 and 95, so that the edit often has more
bytes a pixel.  An edit that leaves nothing to see (saved again, smaller, cropped, lighter) has no direction: what is
told of the photograph is wrong there, too, and what is told of the edit is no harm.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
from _album import PHOTOS, Album, vector_of
from _edits import (
    BLACK,
    WHITE,
    Edit,
    Random,
    bordered,
    captioned,
    cropped,
    gamma,
    in_turn,
    letterboxed,
    scaled,
    screenshot,
    text_over,
    with_logo,
)
from look import grey_of
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont
from threadpoolctl import threadpool_limits

from cbir_daemon import matching
from cbir_daemon.comparison import LookedAt, Trace, Window
from cbir_daemon.config.settings import KEEP_RULES
from cbir_daemon.duplicates import Keeping, copy_groups
from cbir_daemon.duplicates.exposures import shows_same_frame
from cbir_daemon.kinds import Kind
from cbir_daemon.matching.detail import detail_traces
from cbir_daemon.matching.grey64 import Parallax
from cbir_daemon.medium import Fine, Seen
from cbir_daemon.records import FileState
from cbir_daemon.search.search import Found
from cbir_daemon.store import Content, Pair
from cbir_daemon.store import Image as Indexed

SEED = 20_261_129
QUALITIES = (80, 96)


def noisy(levels: float) -> Edit:
    """Return the edit that adds Gaussian noise."""

    def edit(image: Image.Image, random: Random) -> Image.Image:
        noise = random.normal(0, levels, (image.height, image.width, 3))
        return Image.fromarray(np.clip(np.asarray(image, np.float32) + noise, 0, 255).astype(np.uint8))

    return edit


def blurred(radius_px: float) -> Edit:
    """Return the edit that blurs."""
    return lambda image, _: image.filter(ImageFilter.GaussianBlur(radius_px))


def enlarged(image: Image.Image, random: Random) -> Image.Image:
    """Return the image with 1.3 to 2 times as many pixels along each side, by one of three filters."""
    factor = random.uniform(1.3, 2.0)
    methods = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    return image.resize((round(image.width * factor), round(image.height * factor)), methods[random.integers(3)])


def lettered(image: Image.Image, random: Random) -> Image.Image:
    """Return the image with a line of letters of any colour and size."""
    written = image.copy()
    font = ImageFont.load_default(int(random.integers(max(10, image.height // 16), image.height // 7)))
    at = (image.width * random.uniform(0.02, 0.4), image.height * random.uniform(0.05, 0.8))
    red, green, blue = random.integers(0, 256, 3).tolist()
    ImageDraw.Draw(written).text(at, "cafe con leche", font=font, fill=(red, green, blue))
    return written


def stuck(image: Image.Image, random: Random) -> Image.Image:
    """Return the image with a face of one colour stuck onto it."""
    marked = image.copy()
    draw = ImageDraw.Draw(marked)
    side = random.uniform(0.12, 0.4) * min(image.size)
    left, top = random.uniform(0, image.width - side), random.uniform(0, image.height - side)
    red, green, blue = random.integers(0, 256, 3).tolist()
    draw.ellipse((left, top, left + side, top + side), fill=(red, green, blue))
    for eye in (0.25, 0.62):
        draw.ellipse(
            (left + eye * side, top + 0.25 * side, left + (eye + 0.13) * side, top + 0.4 * side), fill=(20, 20, 20)
        )
    return marked


def contrasted(image: Image.Image, _: Random) -> Image.Image:
    """Return the image with more contrast."""
    return ImageEnhance.Contrast(image).enhance(1.4)


def sharpened(image: Image.Image, _: Random) -> Image.Image:
    """Return the image with more fine detail."""
    return image.filter(ImageFilter.UnsharpMask(1.2, 120, 2))


def unchanged(image: Image.Image, _: Random) -> Image.Image:
    """Return the image."""
    return image


EDITS: dict[str, tuple[Edit, int | None]] = {
    "letters": (lettered, None),
    "large letters": (text_over, None),
    "sticker": (stuck, None),
    "logo in a corner": (with_logo, None),
    "caption": (captioned(above=False), None),
    "border, white": (bordered(0.06, WHITE), None),
    "border, black": (bordered(0.04, BLACK), None),
    "letterbox": (letterboxed, None),
    "screenshot": (screenshot, None),
    "blur 1": (blurred(1), None),
    "blur 2": (blurred(2), None),
    "blur 3": (blurred(3), None),
    "noise 8": (noisy(8), None),
    "noise 20": (noisy(20), None),
    "JPEG 30": (unchanged, 30),
    "JPEG 20": (unchanged, 20),
    "JPEG 10": (unchanged, 10),
    "enlarged": (enlarged, None),
    "enlarged, letters": (in_turn(enlarged, lettered), None),
    "letters, JPEG 30": (lettered, 30),
    "cropped, letters": (in_turn(cropped(0.15, corner=True), lettered), None),
}
"""Name -> edit, and the quality at which it is saved; None for a random one."""

NEUTRAL: dict[str, tuple[Edit, int | None]] = {
    "saved at 90": (unchanged, 90),
    "smaller": (scaled(0.65, 0.65), None),
    "cropped": (cropped(0.2, corner=True), None),
    "lighter": (gamma(0.6), None),
    "more contrast": (contrasted, None),
    "sharpened": (sharpened, None),
    "smaller, sharpened": (in_turn(scaled(0.65, 0.65), sharpened), None),
}


@dataclass(frozen=True, slots=True)
class Version:
    """A picture as a file holds it."""

    data: bytes

    @property
    def image(self) -> Image.Image:
        """The picture in colour."""
        return Image.open(io.BytesIO(self.data)).convert("RGB")

    def indexed(self, number: int) -> Indexed:
        """Return the file as an index has it, the first one the newest."""
        size = len(self.data)
        width, height = self.image.size
        digest = hashlib.sha256(self.data).digest()
        share = matching.picture_share(vector_of(self.image))
        content = Content(number, digest, width, height, size, "JPEG", "", share)
        path = f"/album/{number}.jpg".encode()
        return Indexed(number, 1, path, FileState(size, -number, number), missing=False, content=content)


def saved(image: Image.Image, quality: int) -> Version:
    """Return a picture saved as a JPEG."""
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=quality)
    return Version(stream.getvalue())


def compared(edit: Version, original: Version) -> Pair | None:
    """Return what the pass for copies writes of an edit, content 1, and its original, content 2; None for no copy."""
    look = Parallax()
    pictures = edit.image, original.image
    vectors = [vector_of(picture) for picture in pictures]
    (judgement,) = matching.judge(vectors[0], vectors[1][None])
    if not judgement.is_copy:
        return None
    sight = look.sight(*vectors, *(grey_of(picture) for picture in pictures))
    if sight.seen is not Seen.COPY:
        return None
    found = Found(2, Kind.COPY, judgement.score, None, judgement.transform, judgement.overlap)
    detail: tuple[tuple[Trace, ...], ...] = ((), ())
    if shows_same_frame(found):
        detail = detail_traces(*(Fine(np.asarray(picture.convert("L")), Window()) for picture in pictures))
    traces = sight.own_traces + detail[0], sight.traces + detail[1]
    shares = judgement.overlap.query, judgement.overlap.match
    pair = Pair(1, 2, judgement.score, *shares, found.transform, look=LookedAt.FILES, look_version=look.version)
    return replace(pair, traces=traces[0], other_traces=traces[1])


def is_original_kept(pair: Pair, edit: Version, original: Version, rules: Sequence[str]) -> bool:
    """Return whether the original is the one to keep."""
    (group,) = copy_groups([pair], {1: [edit.indexed(1)], 2: [original.indexed(2)]}, Keeping(rules))
    return group.members[0].image.content.id == 2


@click.command()
@click.argument("photos", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--photographs", default=30, show_default=True, help="To edit in each way.")
@click.option("--groups", default=100, show_default=True, help="Photographs that are planted with one edit each.")
@click.option("--seed", default=SEED, show_default=True, help="Of the choice and of the edits.")
def keeper(photos: Sequence[Path], photographs: int, groups: int, seed: int) -> None:
    """Print how often the edited one of two copies is told, and how often the original is kept."""
    album = Album.open(photos or [PHOTOS / name for name in ("bsds", "clothing", "shots")])
    order = np.random.default_rng(seed).permutation(len(album)).tolist()
    click.echo("| edit | copies | the edit is told | the photograph is told | neither |\n|---|---|---|---|---|")
    with threadpool_limits(1):
        for kind in (EDITS, NEUTRAL):
            for number, (name, (edit, quality)) in enumerate(kind.items()):
                counts = Counter(
                    _called_edited(album, row, seed + number, edit, quality) for row in order[:photographs]
                )
                copies = photographs - counts["none"]
                click.echo(f"| {name} | {copies} | {counts['edit']} | {counts['photograph']} | {counts['neither']} |")
        _planted(album, order[photographs : photographs + groups], seed)


def _versions(album: Album, row: int, seed: int, edit: Edit, quality: int | None) -> tuple[Version, Version]:
    random = np.random.default_rng([seed, row])
    original = Version(album.files[row].read_bytes())
    edited = edit(original.image, random)
    return saved(edited, quality or int(random.integers(*QUALITIES))), original


def _called_edited(album: Album, row: int, seed: int, edit: Edit, quality: int | None) -> str:
    pair = compared(*_versions(album, row, seed, edit, quality))
    if pair is None:
        return "none"
    if bool(pair.traces) == bool(pair.other_traces):
        return "neither"
    return "edit" if pair.traces else "photograph"


def _planted(album: Album, rows: Sequence[int], seed: int) -> None:
    """Print in how many groups the edit is kept, by the rules without and with `original`."""
    wrong: Counter[str] = Counter()
    count = 0
    for number, row in enumerate(rows):
        name = list(EDITS)[number % len(EDITS)]
        edit, quality = EDITS[name]
        versions = _versions(album, row, seed, edit, quality)
        pair = compared(*versions)
        if pair is None:
            continue
        count += 1
        for title, rules in (("without", KEEP_RULES[1:]), ("with", KEEP_RULES)):
            if not is_original_kept(pair, *versions, rules):
                wrong[title] += 1
                click.echo(f"{title} the rule: {name} of {album.files[row].name} is kept: {pair.traces}", err=True)
    click.echo(f"\nof {count} groups the edit is kept in {wrong['without']}, by the rule `original` in {wrong['with']}")
