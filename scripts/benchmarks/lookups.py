"""What looking up copies costs: the pass over all contents of an index, and one new file until its alert is written.

In: photographs, cut into as many pieces as are wanted.  Out: a Markdown table.  Never here: how many copies are found
(`duplicates`), decoding.

Most pieces overlap with others of the same photograph, and for two thirds of them there are copies to verify: albums of
photographs are easier.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import click
import numpy as np
from _pieces import PHOTOS, SIDE_PX, Source, Vectors
from PIL import Image, ImageOps

from cbir_daemon.alerts import Policy
from cbir_daemon.config import AlertsConfig
from cbir_daemon.duplicates import Pairing
from cbir_daemon.duplicates.watchlist import WatchList
from cbir_daemon.matching import GREY64
from cbir_daemon.pictures import PICTURES
from cbir_daemon.records import Facts, FileState
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.store import Indexed, Store

SIZES = (10_000, 100_000)
SAMPLE = 2_000
NEW_FILES = 20
SEED = 7
CHUNK = 5_000


def put(store: Store, album: Path, vectors: Vectors, start: int) -> Sequence[tuple[int, bytes]]:
    """Write contents into an index as files of an album, and return them with their ids."""
    changes = []
    for number, vector in enumerate(vectors, start):
        facts = Facts(
            hashlib.sha256(b"%d" % number).digest(), vector.tobytes(), 640, 480, "JPEG", extractor=PICTURES.extractor
        )
        changes.append(Indexed(1, b"%d.jpg" % number, FileState(1000, number, number), facts))
    return store.files.apply(changes).added


def filled(store: Store, source: Source, album: Path, size: int, codes: Path) -> Searcher:
    """Put so many contents into an index, and return a searcher whose lists are made."""
    store.albums.add(os.fsencode(album))
    searcher = Searcher(store, GREY64, codes_path=codes)
    searcher.load()
    for start in range(0, size, CHUNK):
        vectors = source.vectors(source.pieces(min(CHUNK, size - start)))
        searcher.change(put(store, album, vectors, start), ())
    while searcher.tend():
        pass
    store.albums.finish_baseline(1)
    return searcher


def pass_ms(pairing: Pairing, store: Store, sample: int) -> tuple[float, float, float]:
    """Return milliseconds and processor milliseconds a content, and pairs a content, of the beginning of a pass."""
    before = store.files.counts().unmatched
    started_s, processor_s = time.perf_counter(), time.process_time()
    while before - (unmatched := store.files.counts().unmatched) < sample and unmatched:
        pairing.step()
    done = before - unmatched
    took = (time.perf_counter() - started_s) / done * 1e3, (time.process_time() - processor_s) / done * 1e3
    return *took, len(store.pairs.listed()) / done


def alerts_ms(store: Store, searcher: Searcher, pairing: Pairing, album: Path, size: int) -> list[float]:
    """Return how long each of some new files takes from its commit to its alert; each is the mirror of an old one."""
    # Only new files are to be looked up.
    while rows := store.pairs.unmatched(CHUNK):
        store.pairs.put_matched([content_id for content_id, _ in rows], ())
    took_ms = []
    for number in range(NEW_FILES):
        original = store.contents.vectors([number + 1])[number + 1]
        (album / f"{number}.jpg").touch()
        grey = Image.frombytes("L", (SIDE_PX, SIDE_PX), original)
        vector = np.asarray(ImageOps.mirror(grey)).reshape(1, -1)
        started_s = time.perf_counter()
        searcher.change(put(store, album, vector, size + number), ())
        while pairing.step():
            pass
        took_ms.append((time.perf_counter() - started_s) * 1e3)
    alerts = len(store.alerts.listed(0, NEW_FILES))
    # The mirror of a piece that is too plain to be called a copy is told to nobody.
    click.echo(f"{alerts} of {NEW_FILES} new files were told", err=True)
    return took_ms


@click.command()
@click.argument("sizes", nargs=-1, type=click.IntRange(min=1_000))
@click.option("--photos", type=click.Path(file_okay=False, path_type=Path), default=PHOTOS, help="Photographs to cut.")
@click.option("--sample", default=SAMPLE, show_default=True, help="Contents that are looked up of each pass.")
def lookups(sizes: Sequence[int], photos: Path, sample: int) -> None:
    """Print what looking up copies costs in an index of each of SIZES (10000 and 100000 when none are given)."""
    click.echo(
        "| images | pass, ms an image | processor, ms | pairs an image | whole pass, minutes | new file to alert,"
        " median ms | p95 |\n|---|---|---|---|---|---|---|"
    )
    for size in sizes or SIZES:
        with tempfile.TemporaryDirectory(prefix="cbir") as folder, closing(Store(Path(folder, "index"))) as store:
            store.open()
            album = Path(folder, "album")
            album.mkdir()
            source = Source(photos, np.random.default_rng(SEED))
            searcher = filled(store, source, album, size, Path(folder, "codes.rows"))
            policy = Policy(AlertsConfig(), ())
            pairing = Pairing(store, searcher, WatchList(store, searcher), policy.alert_for, lambda: False)
            wall_ms, processor_ms, pairs = pass_ms(pairing, store, sample)
            median, late = np.percentile(alerts_ms(store, searcher, pairing, album, size), [50, 95])
            searcher.close()
        click.echo(
            f"| {size} | {wall_ms:.1f} | {processor_ms:.1f} | {pairs:.2f} | {wall_ms * size / 60e3:.1f} |"
            f" {median:.0f} | {late:.0f} |"
        )
