"""What a search costs against the size of the album, in time and in memory, and what the inverted lists miss.

In: photographs, cut into as many pieces as are wanted; without any, noise with their spectrum.  Out: Markdown tables.
Never here: whether the right image is found among whole photographs (`accuracy`).

Above 100 000 pieces the codes are synthetic: those of blends of two pieces.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import click
import numpy as np
from _edits import EDITS
from _pieces import PHOTOS, SIDE_PX, Piece, Random, Source, Vectors, blended
from numpy.typing import NDArray
from PIL import Image

from cbir_daemon.decode import DecodeLimits, DecodePool
from cbir_daemon.matching import GREY64
from cbir_daemon.pictures import PICTURES
from cbir_daemon.records import Facts, FileState, FitReport, Trial
from cbir_daemon.search import Collection, CollectionSnapshot
from cbir_daemon.search.processes import Processes
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.search.searches import Searches
from cbir_daemon.search.turns import Urgency
from cbir_daemon.store import FitBegun, Indexed, Placed, Store

SIZES = (1_000, 10_000, 100_000, 1_000_000)
WHOLE_SIZES = (2_500, 100_000)
REAL_PIECES = 100_000
SEED = 7
CHUNK = 5000
QUERIES = 40
EXACT_QUERIES = 12
CANDIDATES = 24
COMPONENTS = 16
SIMILAR = 20
PROCESSES = 2

assert GREY64.appearance is not None
LOOKS = GREY64.appearance

OPENED = """
import sys
from pathlib import Path
import numpy as np
from cbir_daemon.matching import GREY64
from cbir_daemon.search import Collection
collection = Collection(GREY64, Path(sys.argv[1]))
collection.open()
for query in np.random.default_rng(0).integers(0, 256, (40, 4096), dtype=np.uint8):
    collection.snapshot().candidates(query, 24)
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(status["VmRSS"].split()[0], status["RssFile"].split()[0])
"""
"""What a process of its own does, so that neither pictures nor what was freed counts as memory of the codes."""


def ms_of(work: Callable[[], object]) -> float:
    """Return how long something takes, in milliseconds."""
    started_s = time.perf_counter()
    work()
    return (time.perf_counter() - started_s) * 1000


def both_ms(work: Callable[[], object]) -> tuple[float, float]:
    """Return how long something takes, in milliseconds, and how long a processor was at it."""
    started_s = time.process_time()
    whole_ms = ms_of(work)
    return whole_ms, (time.process_time() - started_s) * 1000


def median_and_late(values_ms: Sequence[float]) -> str:
    """Return median and 95th percentile as two cells."""
    return " | ".join(f"{value:.1f}" for value in np.percentile(values_ms, [50, 95]))


def three_cells(pairs_ms: Sequence[tuple[float, float]]) -> str:
    """Return median and 95th percentile of the first of each pair, and the median of the second."""
    return f"{median_and_late([pair[0] for pair in pairs_ms])} | {np.median([pair[1] for pair in pairs_ms]):.1f}"


def memory_mib(path: Path) -> tuple[float, float]:
    """Return what a process needs that opens the codes and searches, and how much of it are pages of files."""
    done = subprocess.run([sys.executable, "-c", OPENED, path], capture_output=True, check=True, text=True)  # noqa: S603 -- ours
    resident, of_files = (int(value) / 1024 for value in done.stdout.split())
    return resident, of_files


class Growing:
    """A collection in a file that grows from size to size, and what its first rows were made from.

    Parameters
    ----------
    source : Source
    path : Path
        Of the codes.
    random : Random
    """

    def __init__(self, source: Source, path: Path, random: Random) -> None:
        self.path = path
        self.collection = Collection(GREY64, path)
        self.collection.open()
        self.pieces: list[Piece] = []
        self._blended = np.empty((0, SIDE_PX * SIDE_PX), dtype=np.uint8)
        self._source = source
        self._random = random

    def grow(self, size: int) -> tuple[float, float]:
        """Return milliseconds an added image: for its codes, and for the lists."""
        before = len(self.collection)
        codes_ms = lists_ms = 0.0
        for start in range(before, size, CHUNK):
            vectors = self._next(start, min(CHUNK, size - start))
            codes_ms += ms_of(partial(self.collection.add, range(start, start + len(vectors)), vectors))
            lists_ms += ms_of(self._tend)
        return codes_ms / max(1, size - before), lists_ms / max(1, size - before)

    def _next(self, start: int, count: int) -> Vectors:
        if start >= REAL_PIECES:
            return blended(self._blended, count, self._random)
        pieces = self._source.pieces(count)
        self.pieces += pieces
        vectors = self._source.vectors(pieces)
        # Some are enough to blend: all of them would be 400 MB in a table that shows memory.
        self._blended = np.concatenate([self._blended, vectors[::20]])
        return vectors

    def reopened(self) -> tuple[float, float]:
        """Close and open, and return what that needs in memory, in a process of its own."""
        self.collection.close()
        needed = memory_mib(self.path)
        self.collection = Collection(GREY64, self.path)
        self.collection.open()
        return needed

    def _tend(self) -> None:
        while self.collection.tend():
            pass


def nearest(snapshot: CollectionSnapshot, query: NDArray[np.uint8]) -> set[int]:
    """Return the ids that score highest when all are compared.

    Parameters
    ----------
    snapshot : CollectionSnapshot
    query : (4096,) ndarray of uint8
    """
    scores = snapshot.scores(query)
    return set(snapshot.ids[np.argsort(-scores, kind="stable")[:CANDIDATES]].tolist())


def proposed(snapshot: CollectionSnapshot, query: NDArray[np.uint8]) -> set[int]:
    """Return the ids that a search gives.

    Parameters
    ----------
    snapshot : CollectionSnapshot
    query : (4096,) ndarray of uint8
    """
    return {content_id for content_id, _ in snapshot.candidates(query, CANDIDATES)}


def print_coarse(growing: Growing, source: Source, sizes: Sequence[int]) -> None:
    """Print what the coarse search costs at each size."""
    click.echo(
        "| images | codes, ms an image | lists, ms an image | search, median ms | p95 | processor, ms | all"
        " compared, processor ms | of the first 24 | memory, MiB | of that files |"
    )
    click.echo("|---|---|---|---|---|---|---|---|---|---|")
    for size in sizes:
        codes_ms, lists_ms = growing.grow(size)
        snapshot = growing.collection.snapshot()
        queries = source.vectors(source.pieces(QUERIES))
        snapshot.candidates(queries[0], CANDIDATES)
        searches_ms = [both_ms(partial(snapshot.candidates, query, CANDIDATES)) for query in queries]
        exact_ms, shares = [], []
        for query in queries[:EXACT_QUERIES]:
            started_s = time.process_time()
            best = nearest(snapshot, query)
            exact_ms.append((time.process_time() - started_s) * 1000)
            shares.append(len(best & proposed(snapshot, query)) / CANDIDATES)
        del snapshot
        resident, of_files = growing.reopened()
        click.echo(
            f"| {size} | {codes_ms:.3f} | {lists_ms:.3f} | {three_cells(searches_ms)} | {np.median(exact_ms):.1f} |"
            f" {np.mean(shares):.3f} | {resident:.0f} | {of_files:.0f} |"
        )


def print_missed(growing: Growing, source: Source, random: Random) -> None:
    """Print how often the original of an edited piece is a candidate, all compared and by search."""
    snapshot = growing.collection.snapshot()
    rows = random.integers(len(growing.pieces), size=EXACT_QUERIES).tolist()
    click.echo(f"\nOriginals among the first {CANDIDATES} of {len(snapshot)}, {len(rows)} pieces an edit:\n")
    click.echo("| edit | all compared | by search |")
    click.echo("|---|---|---|")
    totals = []
    for name, edit in EDITS.items():
        found = []
        for row in rows:
            grey = edit(source.image(growing.pieces[row]), random).convert("L")
            query = np.asarray(grey.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)).reshape(-1)
            found.append((row in nearest(snapshot, query), row in proposed(snapshot, query)))
        totals.append(np.mean(found, axis=0))
        click.echo(f"| {name} | {totals[-1][0]:.2f} | {totals[-1][1]:.2f} |")
    exact, searched = np.mean(totals, axis=0)
    click.echo(f"| **all** | {exact:.3f} | {searched:.3f} |")


def filled(store: Store, source: Source, count: int) -> None:
    """Write so many contents and a map of them into a store."""
    store.albums.add(b"/album")
    album_id = store.albums.listed()[0].id
    for start in range(0, count, CHUNK):
        vectors = source.vectors(source.pieces(min(CHUNK, count - start)))
        changes = []
        for number, vector in enumerate(vectors, start):
            facts = Facts(
                hashlib.sha256(b"%d" % number).digest(),
                vector.tobytes(),
                640,
                480,
                "JPEG",
                extractor=PICTURES.extractor,
            )
            changes.append(Indexed(album_id, b"%d.jpg" % number, FileState(1000, number, number), facts))
        store.files.apply(changes)
    random = np.random.default_rng(SEED)
    for start in range(1, count + 1, CHUNK):
        rows = random.integers(0, 256, (min(CHUNK, count + 1 - start), LOOKS.size), dtype=np.uint8)
        store.descriptors.put(LOOKS.kind, {start + row: numbers.tobytes() for row, numbers in enumerate(rows)})
    plane = np.random.default_rng(SEED).normal(size=(SIDE_PX * SIDE_PX, COMPONENTS)).astype(np.float32)
    run = store.runs.start(FitBegun("benchmark", "code/1", count), time.time())
    placed = [
        Placed(content_id, "fitted", place_of(vector, plane).tobytes())
        for rows in store.contents.all_vectors()
        for content_id, vector in rows
    ]
    curve = (Trial(10, COMPONENTS, 0.9, 0.5),)
    report = FitReport(10, COMPONENTS, 0.9, 0.5, count, SEED, 1.0, 100.0, curve, "map-1", bytes(32))
    store.runs.activate(run, report, placed, time.time())


def place_of(vector: bytes, plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return where a vector lies on a map that is a random projection.

    Parameters
    ----------
    vector : bytes
        4096 grey numbers.
    plane : (4096, d) ndarray of float32
        The projection.

    Returns
    -------
    (d,) ndarray of float32
        Little-endian.
    """
    grey = np.frombuffer(vector, dtype=np.uint8).astype(np.float32)
    return np.asarray((grey - grey.mean()) @ plane, dtype="<f4")


def decoded(pool: DecodePool, data: bytes, facts: list[Facts]) -> None:
    """Read one image."""
    facts.append(pool.read_image(data))


def process_mib(store: Store, searcher: Searcher, vectors: Sequence[bytes]) -> str:
    """Return, as cells, the memory of each of two search processes that answer queries: resident, and its share.

    Parameters
    ----------
    store : Store
    searcher : Searcher
    vectors : sequence of bytes
        Of the queries.

    Returns
    -------
    str
        Resident memory, that of it which is its own, and its share (own memory, and half of what both have mapped).
    """
    position = np.zeros(COMPONENTS, dtype=np.float32)
    (look,) = store.descriptors.of(LOOKS.kind, [1]).values()
    with closing(Processes(store.path, PROCESSES, PROCESSES, small=0)) as processes:
        searches = Searches(searcher.at(), Urgency.PASS, processes)
        while processes.running < PROCESSES:
            searches.judgements(vectors[0], [])
        with ThreadPoolExecutor(PROCESSES) as pool:
            list(pool.map(lambda vector: searches.ranked(vector, position, SIMILAR, look), vectors))
        sizes = [_memory_of(process_id) for process_id in processes.pids()]
    return " | ".join(f"{max(size[name] for size in sizes) / 1024:.0f}" for name in ("Rss", "Anonymous", "Pss"))


def _memory_of(process_id: int) -> dict[str, int]:
    """Return the sums over what a process has mapped, in KiB."""
    lines = Path(f"/proc/{process_id}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(size.split()[0]) for name, size in (line.split(":") for line in lines)}


def print_whole(source: Source, folder: Path, sizes: Sequence[int]) -> None:
    """Print what a whole query costs over a real index: decoding, candidates, map, verification."""
    click.echo(
        "\n| images | start without codes, s | start with them, s | decode, median ms | p95 | search, median ms |"
        " p95 | processor, ms | copies only, median ms | p95 | processor, ms | a search process, MiB | its own |"
        " its share |"
    )
    click.echo("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    plane = np.random.default_rng(SEED).normal(size=(SIDE_PX * SIDE_PX, COMPONENTS)).astype(np.float32)
    for size in sizes:
        home = folder / str(size)
        home.mkdir()
        store = Store(home / "index.sqlite")
        store.open()
        filled(store, source, size)
        searcher = Searcher(store, GREY64, codes_path=home / "codes.rows")
        cold_s = ms_of(searcher.load) / 1000
        while searcher.tend():
            pass
        searcher.close()
        searcher = Searcher(store, GREY64, codes_path=home / "codes.rows")
        warm_s = ms_of(searcher.load) / 1000
        decode_ms, search_ms, copies_ms, vectors = [], [], [], []
        with closing(DecodePool(1, DecodeLimits(10**8, 10**8, 30.0), PICTURES)) as pool:
            for piece in source.pieces(QUERIES):
                stream = io.BytesIO()
                source.image(piece).resize((1024, 768)).save(stream, "JPEG", quality=90)
                facts: list[Facts] = []
                decode_ms.append(ms_of(partial(decoded, pool, stream.getvalue(), facts)))
                vector = facts[0].vector
                assert vector is not None
                vectors.append(vector)
                search_ms.append(both_ms(partial(searcher.search, vector, place_of(vector, plane), SIMILAR)))
                copies_ms.append(both_ms(partial(searcher.copies, vector)))
        click.echo(
            f"| {size} | {cold_s:.2f} | {warm_s:.2f} | {median_and_late(decode_ms)} |"
            f" {three_cells(search_ms)} | {three_cells(copies_ms)} | {process_mib(store, searcher, vectors)} |"
        )
        searcher.close()
        store.close()


@click.command()
@click.argument("sizes", nargs=-1, type=click.IntRange(min=100))
@click.option("--photos", type=click.Path(file_okay=False, path_type=Path), default=PHOTOS, help="Photographs to cut.")
@click.option("--whole/--no-whole", default=True, help="Also whole queries over a real index of 2 500 and 100 000.")
def scale(sizes: Sequence[int], photos: Path, whole: bool) -> None:
    """Print the cost of a search for each of SIZES (1000, 10000, 100000 and 1000000 when none are given)."""
    random = np.random.default_rng(SEED)
    source = Source(photos, random)
    with tempfile.TemporaryDirectory(prefix="cbir") as folder:
        growing = Growing(source, Path(folder, "codes.rows"), random)
        ordered = sorted(sizes or SIZES)
        print_coarse(growing, source, [size for size in ordered if size <= REAL_PIECES])
        if growing.pieces:
            print_missed(growing, source, random)
        print_coarse(growing, source, [size for size in ordered if size > REAL_PIECES])
        if whole:
            print_whole(source, Path(folder), WHOLE_SIZES)
