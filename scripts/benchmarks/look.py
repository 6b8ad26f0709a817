"""The second look: how many different shots pass as copies, how many copies are lost, and what a look costs.

In: folders of photographs.  Out: what a look at two pictures says of bursts and of edited copies.  Never here: which
pairs are found (`accuracy`).

Bursts are the pairs of different files of a folder that the vectors alone call copies; by default those of `shots`,
of which no two are copies.  Copies are photographs of all folders under each edit, those that the vectors call copies.
"""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import click
import numpy as np
from _album import PHOTOS, SEED, Album, vector_of
from _edits import EDITS, HARDER, Edit
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from cbir_daemon import matching
from cbir_daemon.matching import GREY64, Look
from cbir_daemon.medium import Seen
from cbir_daemon.pictures.pixels import read_grey
from cbir_daemon.search import Collection

CANDIDATES = 60


def saved_again(image: Image.Image, form: str, quality: int) -> Image.Image:
    """Return an image as it is after it was saved with loss."""
    stream = io.BytesIO()
    image.convert("RGB").save(stream, form, quality=quality)
    # Loaded: a vector is made of a JPEG as small as it may be read.
    return Image.open(stream).convert("RGB")


def noisy(image: Image.Image, levels: int) -> Image.Image:
    """Return an image with noise of a standard deviation in grey levels."""
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    noise = np.random.default_rng(SEED).normal(0, levels, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def smaller(image: Image.Image) -> Image.Image:
    """Return an image hardly larger than what is looked at."""
    image = image.copy()
    image.thumbnail((240, 240))
    return image


LOSSES: dict[str, Callable[[Image.Image], Image.Image]] = {
    **{f"JPEG {quality}": partial(saved_again, form="JPEG", quality=quality) for quality in (40, 20, 10, 5)},
    **{f"WebP {quality}": partial(saved_again, form="WEBP", quality=quality) for quality in (20, 1)},
    **{f"noise {levels}": partial(noisy, levels=levels) for levels in (20, 40)},
    "240 pixels": smaller,
}
"""What hides parallax."""

LARGE = (4000, 3000)
LOOK_PX = matching.LOOK_SIDE_PX


def grey_of(image: Image.Image) -> NDArray[np.uint8]:
    """Return the grey picture that is looked at."""
    grey = image.convert("L")
    grey.thumbnail((matching.LOOK_SIDE_PX, matching.LOOK_SIDE_PX), Image.Resampling.LANCZOS)
    return np.asarray(grey, dtype=np.uint8)


def looked(query: Image.Image, stored: Image.Image) -> tuple[Look, float]:
    """Return what a look at two pictures says, and its processor time in seconds."""
    affine, invert = matching.affine_between(vector_of(query), vector_of(stored))
    pictures = grey_of(query), grey_of(stored)
    before = time.process_time()
    look = matching.compared(*pictures, affine, invert=invert)
    return look, time.process_time() - before


def bursts(album: Album) -> Iterator[tuple[int, int]]:
    """Yield the pairs of rows of an album that the vectors alone call copies."""
    collection = Collection(GREY64)
    collection.add(range(len(album)), album.vectors)
    snapshot = collection.snapshot()
    for row, vector in enumerate(album.vectors):
        others = [candidate for candidate, _ in snapshot.copy_candidates(vector, CANDIDATES) if candidate > row]
        judgements = matching.judge(vector, album.vectors[others])
        yield from (
            (row, candidate) for candidate, judgement in zip(others, judgements, strict=True) if judgement.is_copy
        )


def print_row(title: str, looks: Sequence[tuple[Look, float]]) -> None:
    """Print one row of the table."""
    counts = Counter(look.seen for look, _ in looks)
    cost_ms = 1e3 * float(np.median([seconds for _, seconds in looks])) if looks else 0.0
    cells = " | ".join(str(counts[seen]) for seen in Seen)
    click.echo(f"| {title} | {len(looks)} | {cells} | {cost_ms:.0f} |")


@click.command()
@click.option("--shots", type=click.Path(exists=True, file_okay=False, path_type=Path), default=PHOTOS / "shots")
@click.option("--photographs", default=24, show_default=True, help="To edit, from all folders.")
@click.option("--losses", is_flag=True, help="Only look at different shots of which one has lost much since.")
@click.option("--large", "large_pairs", default=0, help="Only measure looks at so many pairs of 12-megapixel files.")
def look(shots: Path, photographs: int, large_pairs: int, *, losses: bool) -> None:
    """Print what a second look says of bursts and of edited copies, or what one at two large files costs."""
    if large_pairs:
        with threadpool_limits(1):
            large(large_pairs)
        return
    click.echo(
        "| pairs | that the vectors call copies | copy | shot | unclear | processor ms |\n|---|---|---|---|---|---|"
    )
    album = Album.open([shots])
    with threadpool_limits(1):
        if losses:
            pairs = list(bursts(album))
            for name, lossy in LOSSES.items():
                print_row(name, [looked(lossy(album.image(row)), album.image(second)) for row, second in pairs])
            return
        print_row("different shots", [looked(album.image(row), album.image(second)) for row, second in bursts(album)])
        everything = Album.open([PHOTOS / name for name in ("bsds", "clothing", "shots")])
        rows = np.random.default_rng(SEED).choice(len(everything), photographs, replace=False).tolist()
        for title, edits in (("copies, mild edits", EDITS), ("copies, harder edits", HARDER)):
            print_row(title, list(copies(everything, rows, edits)))


def large(pairs: int) -> None:
    """Print the processor time of a look at a JPEG of 12 megapixels and a brighter copy of lower quality."""
    album = Album.open([PHOTOS / "bsds"])
    costs: list[tuple[float, float]] = []
    for row in np.random.default_rng(SEED).choice(len(album), pairs, replace=False).tolist():
        image = enlarged(album.image(row), np.random.default_rng([SEED, row]))
        stored, query = saved(image, 92), saved(image.point([min(255, tone + 12) for tone in range(256)] * 3), 80)
        affine, invert = matching.affine_between(vector_of(image), vector_of(image))
        before = time.process_time()
        pictures = [np.asarray(read_grey(data, 2 * LARGE[0] * LARGE[1], LOOK_PX)) for data in (query, stored)]
        between = time.process_time()
        matching.compared(pictures[0], pictures[1], affine, invert=invert)
        costs.append((between - before, time.process_time() - between))
    reading, comparing = 1e3 * np.median(costs, axis=0)
    click.echo(
        f"two files of 12 megapixels: {reading:.0f} ms to read, {comparing:.0f} ms to compare, medians of {pairs}"
    )


def enlarged(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Return a photograph as a camera of 12 megapixels might take it, with noise: what is smooth is read faster."""
    whole = np.asarray(image.convert("RGB").resize(LARGE, Image.Resampling.BICUBIC), dtype=np.float32)
    noise = random.normal(0, 4, whole.shape).astype(np.float32)
    return Image.fromarray(np.clip(whole + noise, 0, 255).astype(np.uint8))


def saved(image: Image.Image, quality: int) -> bytes:
    """Return an image as a JPEG."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def copies(album: Album, rows: Sequence[int], edits: dict[str, Edit]) -> Iterator[tuple[Look, float]]:
    """Yield the looks at photographs and their edited copies, those that the vectors call copies."""
    for number, (name, edit) in enumerate(edits.items()):
        for row in rows:
            stored = album.image(row)
            query = edit(stored, np.random.default_rng([SEED, row, number])).convert("RGB")
            (judgement,) = matching.judge(vector_of(query), vector_of(stored)[None])
            if judgement.is_copy:
                answer = looked(query, stored)
                if answer[0].seen is Seen.SHOT:
                    click.echo(f"lost: {name} {album.files[row].name} {answer[0]}", err=True)
                yield answer
