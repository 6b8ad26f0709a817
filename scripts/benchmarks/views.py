"""What each family of views brings and costs, and which windows of the stored images are worth their bytes.

In: folders of photographs (by default those beside the checkout).  Out: for all views, and for all but one family, the
share of edited photographs whose original is one of the likeliest candidates, and the time of a search; with --choose
a table of windows.  Never here: verdicts (`accuracy`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np
from _album import SEED, Album, Vectors, vector_of
from _edits import EDITS, HARDER, Random
from _peers import CANDIDATES
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from cbir_daemon.comparison import Family, Window
from cbir_daemon.matching.views import (
    MIDDLES,
    STORED_WINDOWS,
    TRIMS,
    WHOLE,
    Windows,
    content_box,
    guess_of,
    query_views,
    window_codes,
)

Floats = NDArray[np.float32]

# Which windows of a stored image each family of views is compared with: `matching.coarse` does the same.
REACH = {Family.WHOLE: len(STORED_WINDOWS), Family.CONTENT: len(STORED_WINDOWS), Family.TILT: MIDDLES}
FAMILIES = [family for family in Family if family is not Family.CROP]
CROPS_EACH = 26
MOST_SHAPE = 1.8
CHOSEN = 50
POOL_SIZES = ((1.0, 1), (0.87, 3), (0.75, 5), (0.7, 3), (0.65, 5), (0.57, 5), (0.52, 5), (0.45, 5))
LEAST_AREA = 0.2
HALVES = ((0, 0, 0.5, 1), (0.5, 0, 1, 1), (0, 0, 1, 0.5), (0, 0.5, 1, 1), (0.25, 0, 0.75, 1), (0, 0.25, 1, 0.75))
# Around which correlation a crop comes to be found, and how softly.
FOUND_FROM, SOFTNESS = 0.84, 0.03


def codes_of(vectors: Vectors, table: Windows) -> Floats:
    """Return the codes (n, windows, terms) of vectors."""
    images = vectors.reshape(-1, 64, 64).astype(np.float32)
    return np.concatenate([window_codes(images[start : start + 256], table) for start in range(0, len(images), 256)])


def groups_of(query: Vectors) -> dict[str, tuple[Floats, int]]:
    """Return the codes of each family of a query's views, and how many windows they are compared with."""
    image = query.reshape(64, 64).astype(np.float32)
    box = content_box(image)
    views = query_views(image, box)
    guesses = [guess_of(row, 0, box, invert=False) for row in range(len(views.codes))]
    trims = [Window(*row) for row in TRIMS.rows]
    is_trim = np.array([guess.query_window in trims for guess in guesses])
    upright = np.array([not guess.flip and not guess.turn for guess in guesses])
    groups = {
        family.value: (
            views.codes[np.array([guess.family is family for guess in guesses]) & ~is_trim],
            REACH.get(family, 1),
        )
        for family in FAMILIES
    }
    if box.rows == WHOLE.rows:
        del groups[Family.CONTENT.value]
    return {**groups, "trims": (views.codes[is_trim & upright], len(STORED_WINDOWS))}


def searched(codes: Floats, groups: dict[str, tuple[Floats, int]]) -> Floats:
    """Return the best correlation of each stored image with any view.

    Parameters
    ----------
    codes : (n, windows, terms) ndarray of float32
        Of the stored images.
    groups : dict
        Family -> its views of the query, (views, terms), and with how many of the first windows they are compared.

    Returns
    -------
    (n,) ndarray of float32
        In [0, 1]; a negative counts as much.
    """
    best = np.zeros(len(codes), dtype=np.float32)
    for views, windows in groups.values():
        products = codes[:, :windows].reshape(-1, codes.shape[2]) @ views.T
        np.maximum(best, np.abs(products).reshape(len(codes), -1).max(axis=1), out=best)
    return best


def variants_of(groups: dict[str, tuple[Floats, int]]) -> dict[str, dict[str, tuple[Floats, int]]]:
    """Return all views, and what is left without each family.

    Parameters
    ----------
    groups : dict
        Family -> its views of the query, (views, terms), and with how many of the first windows they are compared.

    Returns
    -------
    dict of str to dict
        Name of the variant -> groups; the last has all views and only the whole of each stored image.
    """
    variants = {"all": groups}
    for family in groups:
        variants[f"without {family}"] = {name: group for name, group in groups.items() if name != family}
    whole, _ = groups[Family.WHOLE.value]
    variants["without windows of the stored images"] = {**groups, Family.WHOLE.value: (whole, 1)}
    return variants


def print_families(album: Album, queries: int) -> None:
    """Print what is found by all views and without each family, and what it costs."""
    codes = codes_of(album.vectors, STORED_WINDOWS)
    found: dict[str, dict[bool, list[bool]]] = {}
    took_ms: dict[str, list[float]] = {}
    for index, (name, edit) in enumerate({**EDITS, **HARDER}.items()):
        for row in album.queries(queries):
            query = vector_of(edit(album.image(row), np.random.default_rng([SEED, row, index])))
            for variant, groups in variants_of(groups_of(query)).items():
                start_s = time.process_time()
                scores = searched(codes, groups)
                took_ms.setdefault(variant, []).append((time.process_time() - start_s) * 1000)
                is_found = bool(np.sum(scores > scores[row]) < CANDIDATES)
                found.setdefault(variant, {True: [], False: []})[name in EDITS].append(is_found)
    click.echo("| views | these edits | harder ones | processor ms |\n|---|---|---|---|")
    for variant, shares in found.items():
        these, harder = (float(np.mean(shares[easy])) for easy in (True, False))
        click.echo(f"| {variant} | {these:.3f} | {harder:.3f} | {np.median(took_ms[variant]):.1f} |")


def pool_of_windows() -> list[tuple[float, float, float, float]]:
    """Return the windows to choose from: a few sizes along each axis, each at a few places, no narrower than 1 to 2."""
    places = [
        ((1 - size) * at / (count - 1) if count > 1 else (1 - size) / 2, size)
        for size, count in POOL_SIZES
        for at in range(count)
    ]
    return [
        (left, top, left + width, top + height)
        for top, height in places
        for left, width in places
        if max(width / height, height / width) <= 2.01 and width * height > LEAST_AREA
    ]


def boxes_of(random: Random) -> Iterator[tuple[float, float, float, float]]:
    """Yield (left, top, right, bottom) of crops: from the middle, from corners, halves, and anywhere of any shape."""
    for number in range(CROPS_EACH):
        area, shape, (at_x, at_y) = math.exp(random.uniform(math.log(0.25), 0)), 1.0, random.random(2)
        if number < 4:
            area, (at_x, at_y) = (0.25, 0.5, 0.7, 0.8)[number], (0.5, 0.5)
        elif number < 8:
            area, (at_x, at_y) = (0.5, 0.25, 0.5, 0.4)[number - 4], random.integers(2, size=2)
        elif number < 10:
            yield HALVES[random.integers(len(HALVES))]
            continue
        elif number % 2:
            shape = math.exp(random.uniform(-1, 1) * min(math.log(MOST_SHAPE), -math.log(area)) / 2)
        width, height = math.sqrt(area) * shape, math.sqrt(area) / shape
        left, top = at_x * (1 - width), at_y * (1 - height)
        yield left, top, left + width, top + height


def crops_of(image: Image.Image, random: Random) -> Vectors:
    """Return the vectors of crops of an image."""
    sides = (image.width, image.height) * 2
    return np.stack(
        [
            vector_of(image.crop((round(ends[0]), round(ends[1]), round(ends[2]), round(ends[3]))))
            for box in boxes_of(random)
            for ends in [[share * side for share, side in zip(box, sides, strict=True)]]
        ]
    )


def correlations_of(album: Album, rows: Sequence[int], table: Windows) -> Floats:
    """Return for each crop of some photographs how well each window of the photograph shows what it or a trim shows."""
    views = Windows([*WHOLE.rows, *TRIMS.rows])
    found = []
    for row in rows:
        crops = codes_of(crops_of(album.image(row), np.random.default_rng([SEED, row])), views)
        found.append((crops @ codes_of(album.vectors[[row]], table)[0].T).max(axis=1))
    return np.concatenate(found)


def print_choice(album: Album, photographs: int) -> None:
    """Print the windows found by taking the best one after another, then trying to exchange each."""
    pool = [*STORED_WINDOWS.rows[:MIDDLES], *pool_of_windows()]
    rows = np.random.default_rng(SEED).choice(len(album), min(photographs, len(album)), replace=False).tolist()
    worth = 1 / (1 + np.exp((FOUND_FROM - correlations_of(album, rows, Windows(pool))) / SOFTNESS))
    chosen = list(range(MIDDLES))
    while len(chosen) < CHOSEN:
        best = worth[:, chosen].max(axis=1)
        chosen.append(int(np.maximum(worth, best[:, None]).sum(axis=0).argmax()))
    for place in range(MIDDLES, CHOSEN):
        others = worth[:, chosen[:place] + chosen[place + 1 :]].max(axis=1)
        chosen[place] = int(np.maximum(worth, others[:, None]).sum(axis=0).argmax())
    present = 1 / (1 + np.exp((FOUND_FROM - correlations_of(album, rows, STORED_WINDOWS)) / SOFTNESS))
    for title, share in (("present", present.max(axis=1)), ("chosen", worth[:, chosen].max(axis=1))):
        click.echo(f"{title} windows: {share.mean():.3f} of the crops")
    for row in chosen:
        click.echo(f"({', '.join(str(round(100 * end)) for end in pool[row])}),")


@click.command()
@click.argument("photos", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--queries", default=30, show_default=True, help="Photographs that are edited.")
@click.option("--choose", default=0, show_default=True, help="Choose windows on so many photographs instead.")
def views(photos: Sequence[Path], queries: int, choose: int) -> None:
    """Print what each family of views brings and costs."""
    album = Album.open(photos)
    with threadpool_limits(1):
        if choose:
            print_choice(album, choose)
        else:
            print_families(album, queries)
