"""How fast files become vectors, beside a bare Pillow loop, ImageHash's phash and czkawka, in one run.

In: a folder of photographs (by default the one beside the checkout, else crops of scikit-learn's two).  Out: a table
of rates and ratios.  Never here: correctness, which the tests hold.

Rates of one core are by processor time, ours that of a real worker process, and each is the best of several rounds
taken in turn: other work on the machine disturbs them little.  Rates of whole folders are by the clock on the wall;
ours is from the walk to the last commit, with workers that run already, as those of the others do.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import click
import czkawka
import imagehash
import numpy as np
from _large import OLD_S, enlarged
from PIL import Image
from sklearn.datasets import load_sample_images

from cbir_daemon import config
from cbir_daemon.decode import DecodeLimits, DecodePool, ReadTask
from cbir_daemon.indexing.albums import Albums
from cbir_daemon.indexing.line import Ingest
from cbir_daemon.matching import GREY64
from cbir_daemon.pictures import PICTURES
from cbir_daemon.pictures.pixels import DRAFT_SIZE, REDUCING_GAP, VECTOR_SIZE
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.store import Store
from cbir_daemon.watching.mailbox import Mailbox

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "photos" / "bsds"
LIMITS = DecodeLimits(max_pixels=500_000_000, max_file_bytes=500_000_000, timeout_s=60.0)
TINY = (64, 48)
ROUNDS = 5
FOLDER_ROUNDS = 3
# A folder has each photograph so often, each another file: an index of few is mostly the making of its tables.
QUALITIES = (90, 87, 84, 81)
CORES = 2
MIB = 1024 * 1024

OneCore = Callable[[Sequence[Path]], float]


def bare_loop(path: Path) -> bytes:
    """Return the vector as Pillow alone makes it: no digest, no orientation, no limits, no other process."""
    with Image.open(path) as image:
        image.draft("L", DRAFT_SIZE)
        small = image.convert("L").resize(VECTOR_SIZE, Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
    return small.tobytes()


def plain_pillow(path: Path) -> bytes:
    """Return the vector as the three lines make it that one would write without looking anything up."""
    with Image.open(path) as image:
        return image.convert("L").resize(VECTOR_SIZE, Image.Resampling.LANCZOS).tobytes()


def perceptual_hash(path: Path) -> object:
    """Return the hash that ImageHash makes."""
    with Image.open(path) as image:
        return imagehash.phash(image)


def in_this_process(reader: Callable[[Path], object]) -> OneCore:
    """Return a function that reads files here and returns the processor time in seconds."""

    def seconds(paths: Sequence[Path]) -> float:
        start = time.process_time()
        for path in paths:
            reader(path)
        return time.process_time() - start

    return seconds


def in_a_worker(pool: DecodePool) -> OneCore:
    """Return a function that lets the one worker of a pool read files and returns its processor time in seconds."""

    def seconds(paths: Sequence[Path]) -> float:
        tasks = [ReadTask(os.fsencode(path)) for path in paths]
        # Started, and everything loaded.
        list(pool.read_files(tasks[:1]))
        start = worker_s(pool)
        list(pool.read_files(tasks))
        return worker_s(pool) - start

    return seconds


def worker_s(pool: DecodePool) -> float:
    """Return the processor time that the workers of a pool have used, in seconds (proc_pid_schedstat(5))."""
    files = [Path(f"/proc/{pid}/schedstat") for pid in pool.pids()]
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9


def rates_of_one_core(peers: dict[str, Callable[[Path], object]], paths: Sequence[Path]) -> dict[str, float]:
    """Return images a second of processor time, by reader."""
    with our_pool(1) as pool:
        readers = {"cbir": in_a_worker(pool), **{name: in_this_process(reader) for name, reader in peers.items()}}
        best = dict.fromkeys(readers, float("inf"))
        for _ in range(ROUNDS):
            for name, reader in readers.items():
                best[name] = min(best[name], reader(paths))
    return {name: len(paths) / seconds for name, seconds in best.items()}


def rates_of_the_folder(paths: Sequence[Path]) -> dict[str, float]:
    """Return images a second by the wall clock, everything on `CORES` processes that run already."""
    with ProcessPoolExecutor(CORES) as executor, our_pool(CORES) as pool:
        loops: dict[str, Callable[[], object]] = {
            "cbir": lambda: index(paths[0].parent, pool),
            "workers": lambda: list(pool.read_files([ReadTask(os.fsencode(path)) for path in paths])),
            "bare loop": lambda: list(executor.map(bare_loop, paths, chunksize=8)),
            "phash": lambda: list(executor.map(perceptual_hash, paths, chunksize=8)),
            "czkawka": lambda: czkawka_index(paths[0].parent),
        }
        for loop in loops.values():
            loop()
        best = dict.fromkeys(loops, float("inf"))
        for _ in range(FOLDER_ROUNDS):
            for name, loop in loops.items():
                start = time.perf_counter()
                loop()
                best[name] = min(best[name], time.perf_counter() - start)
    return {name: len(paths) / seconds for name, seconds in best.items()}


@contextmanager
def our_pool(workers: int) -> Iterator[DecodePool]:
    """Yield a pool of workers."""
    with closing(DecodePool(workers, LIMITS, PICTURES)) as pool:
        yield pool


def index(album: Path, pool: DecodePool) -> int:
    """Walk a folder, read its files, commit them to a new index; return how many there are then."""
    with tempfile.TemporaryDirectory() as state:
        store = Store(Path(state, "index.sqlite"))
        store.open()
        try:
            store.albums.add(os.fsencode(album))
            searcher = Searcher(store, GREY64)
            searcher.load()
            settings = config.load(state=Path(state), albums=(album,), environ={"HOME": state})
            line = Ingest(settings, store, searcher, pool, Mailbox(), PICTURES.suffixes, Albums(store, searcher, ()))
            line.request_scan()
            while not line.idle:
                line.step()
            return store.files.counts().images
        finally:
            store.close()


def czkawka_index(folder: Path) -> None:
    """Let czkawka hash a folder from nothing: it keeps what it knows below XDG_CACHE_HOME."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        finder = czkawka.ImageSimilarity()
        finder.set_directories([folder])
        finder.set_similarity(0)
        finder.find_similar()


def photographs(folder: Path | None, count: int) -> list[Image.Image]:
    """Return photographs of `folder`, or crops of the two that come with scikit-learn."""
    source = folder or PHOTOS
    if source.is_dir():
        return [Image.open(path).convert("RGB") for path in sorted(source.rglob("*.jpg"))[:count]]
    generator = np.random.default_rng(1)
    real = [Image.fromarray(image) for image in load_sample_images().images]
    corners = generator.integers((0, 0), (160, 107), size=(count, 2))
    return [real[n % 2].crop((x, y, x + 480, y + 320)) for n, (x, y) in enumerate(corners.tolist())]


def written(
    folder: Path, images: Sequence[Image.Image], suffix: str, qualities: Sequence[int] = QUALITIES[:1]
) -> list[Path]:
    """Write pictures into a new folder, once in each quality, and return their paths."""
    folder.mkdir()
    paths = []
    for number, image in enumerate(images):
        for quality in qualities:
            buffer = io.BytesIO()
            image.save(
                buffer, Image.registered_extensions()[suffix], **({"quality": quality} if suffix == ".jpg" else {})
            )
            paths.append(folder / f"{number:04d}-{quality}{suffix}")
            paths[-1].write_bytes(buffer.getvalue())
            os.utime(paths[-1], (OLD_S, OLD_S))
    return paths


def report(title: str, rates: dict[str, float]) -> None:
    """Print rates, and ours as a multiple of each."""
    click.echo(title)
    for name, rate in rates.items():
        click.echo(f"  {name:<12} {rate:8.1f} images/s   cbir is {rates['cbir'] / rate:5.2f} x")


def many_tiny(folder: Path, photograph: Image.Image, count: int) -> None:
    """Index many tiny files, each another one, and print rate and memory."""
    folder.mkdir()
    large = np.asarray(photograph.resize((1_000, 1_000)))
    for number in range(count):
        top, left = divmod(7 * number % (900 * 900), 900)
        Image.fromarray(large[top : top + TINY[1], left : left + TINY[0]]).save(
            folder / f"{number:06d}.jpg", quality=75
        )
        os.utime(folder / f"{number:06d}.jpg", (OLD_S, OLD_S))
    with our_pool(CORES) as pool:
        before_mib, before, start = resident_mib(), time.process_time(), time.perf_counter()
        images = index(folder, pool)
        seconds, own_ms = time.perf_counter() - start, 1e3 * (time.process_time() - before) / count
        worker_mib = pool.peak_memory_bytes() / MIB
    grown_mib = resident_mib() - before_mib
    click.echo(f"{images} files of {TINY[0]} x {TINY[1]}, {CORES} processes")
    click.echo(f"  {count / seconds:.0f} images/s from walk to commit, {own_ms:.2f} ms of our own processor time each")
    click.echo(
        f"  {worker_mib:.0f} MiB a worker at most, {grown_mib:.0f} MiB more in this process, which holds their codes"
    )


def resident_mib() -> float:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@click.option("--small", default=500, show_default=True, help="Photographs of their own size.")
@click.option("--large", default=12, show_default=True, help="Photographs enlarged to 12 megapixels.")
@click.option("--tiny", default=100_000, show_default=True, help="Tiny files; 0 leaves them out.")
def decode(folder: Path | None, small: int, large: int, tiny: int) -> None:
    """Measure decoding on the photographs in FOLDER."""
    images = photographs(folder, small)
    peers: dict[str, Callable[[Path], object]] = {"bare loop": bare_loop, "phash": perceptual_hash}
    with tempfile.TemporaryDirectory() as scratch:
        paths = written(Path(scratch, "small"), images, ".jpg")
        big = [enlarged(image) for image in images[:large]]
        big_paths = written(Path(scratch, "large"), big, ".jpg", QUALITIES[:2])
        png_paths = written(Path(scratch, "png"), big[:2], ".png")
        del big
        size = f"{images[0].width} x {images[0].height}"
        report(f"one core, {len(paths)} JPEG of {size}", rates_of_one_core(peers, paths))
        report(f"one core, {len(big_paths)} JPEG of 12 megapixels", rates_of_one_core(peers, big_paths))
        png_peers = {"plain Pillow": plain_pillow, **peers}
        report(f"one core, {len(png_paths)} PNG of 12 megapixels", rates_of_one_core(png_peers, png_paths))
        many = written(Path(scratch, "many"), images, ".jpg", QUALITIES)
        report(f"folder of {len(many)} JPEG of {size}, {CORES} processes", rates_of_the_folder(many))
        report(f"folder of {len(big_paths)} large JPEG, {CORES} processes", rates_of_the_folder(big_paths))
        if tiny:
            many_tiny(Path(scratch, "tiny"), images[0], tiny)
