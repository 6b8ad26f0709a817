"""What a search costs against the size of the album, in time and in memory.

In: nothing but sizes; vectors are crops of noise with the spectrum of photographs.  Out: a Markdown table.  Never here:
whether the right image is found (`accuracy`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import click
import numpy as np
from numpy.typing import NDArray

from cbir_daemon.matching import Collection, judge

SEED = 7
SIDE_PX = 64
CANVAS_PX = 2048
CHUNK = 5000
QUERIES = 20
CANDIDATES = 24


def canvas(random: np.random.Generator) -> NDArray[np.uint8]:
    """Return a large picture whose amplitude falls off as one over frequency."""
    frequency = np.hypot(np.fft.fftfreq(CANVAS_PX)[:, None], np.fft.rfftfreq(CANVAS_PX)[None])
    frequency[0, 0] = 1
    waves = np.fft.irfft2(np.fft.rfft2(random.normal(size=(CANVAS_PX, CANVAS_PX))) / frequency)
    return np.asarray(np.clip(128 + 45 * waves / waves.std(), 0, 255), dtype=np.uint8)


def crops(picture: NDArray[np.uint8], count: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Return (count, 4096) vectors cut out of a picture at random."""
    windows = np.lib.stride_tricks.sliding_window_view(picture, (SIDE_PX, SIDE_PX))
    tops, lefts = random.integers(CANVAS_PX - SIDE_PX, size=(2, count))
    return np.asarray(windows[tops, lefts].reshape(count, -1), dtype=np.uint8)


@click.command()
@click.argument("sizes", nargs=-1, type=click.IntRange(min=100))
def scale(sizes: Sequence[int]) -> None:
    """Print the cost of a query for each of SIZES (1000, 10000 and 100000 when none are given)."""
    random = np.random.default_rng(SEED)
    picture = canvas(random)
    collection, verified = Collection(), crops(picture, CANDIDATES, random)
    click.echo("| images | add, ms an image | search, median ms | p95 | ms a 1000 images | verify 24, median ms |")
    click.echo("|---|---|---|---|---|---|")
    for size in sorted(sizes or (1_000, 10_000, 100_000)):
        added = size - len(collection)
        adding_s = 0.0
        for start in range(len(collection), size, CHUNK):
            vectors = crops(picture, min(CHUNK, size - start), random)
            started_s = time.perf_counter()
            collection.add(range(start, start + len(vectors)), vectors)
            adding_s += time.perf_counter() - started_s
        snapshot = collection.snapshot()
        search_ms, verify_ms = [], []
        for query in crops(picture, QUERIES, random):
            started_s = time.perf_counter()
            snapshot.candidates(query, CANDIDATES)
            searched_s = time.perf_counter()
            judge(query, verified)
            search_ms.append((searched_s - started_s) * 1000)
            verify_ms.append((time.perf_counter() - searched_s) * 1000)
        median, late = np.percentile(search_ms, [50, 95])
        click.echo(
            f"| {size} | {1000 * adding_s / max(1, added):.3f} | {median:.1f} | {late:.1f} |"
            f" {1000 * median / size:.2f} | {np.median(verify_ms):.1f} |"
        )
