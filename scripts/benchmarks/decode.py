"""How fast files become vectors, beside a bare Pillow loop, ImageHash's phash and czkawka, in one run.

In: a folder of photographs (by default the one beside the checkout, else crops of scikit-learn's two).  Out: a table
of rates and ratios.  Never here: correctness, which the tests hold.

Rates of one core are by processor time, and each is the best of several rounds taken in turn: other work on the machine
disturbs them little.  Rates of whole folders are by the clock on the wall.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import click
import czkawka
import imagehash
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from cbir_daemon.decode import DecodeLimits, DecodePool, ReadTask
from cbir_daemon.decode.messages import read_message
from cbir_daemon.decode.opening import Handle, open_file
from cbir_daemon.decode.pixels import DRAFT_SIZE, REDUCING_GAP, VECTOR_SIZE
from cbir_daemon.decode.worker import Worker
from cbir_daemon.protocol.framing import Frame

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "photos" / "bsds"
LIMITS = DecodeLimits(max_pixels=500_000_000, max_file_bytes=500_000_000, timeout_s=60.0)
TWELVE_MEGAPIXELS = (4000, 3000)
SENSOR_NOISE = 4.0
ROUNDS = 5
CORES = 2

Reader = Callable[[Path], object]


def bare_loop(path: Path) -> bytes:
    """Return the vector as Pillow alone makes it: no digest, no orientation, no limits, no other process."""
    with Image.open(path) as image:
        image.draft("L", DRAFT_SIZE)
        small = image.convert("L").resize(VECTOR_SIZE, Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
    return small.tobytes()


def perceptual_hash(path: Path) -> object:
    """Return the hash that ImageHash makes."""
    with Image.open(path) as image:
        return imagehash.phash(image)


def our_worker() -> Reader:
    """Return a function that does, in this process, all that a worker does for one file."""
    worker = Worker(LIMITS)

    def read(path: Path) -> object:
        handle = open_file(os.fsencode(path), LIMITS.max_file_bytes)
        assert isinstance(handle, Handle)
        try:
            return worker.read(Frame(read_message()), handle.descriptor)
        finally:
            handle.close()

    return read


def rates_of_one_core(readers: dict[str, Reader], paths: Sequence[Path]) -> dict[str, float]:
    """Return images a second of processor time, by reader."""
    best = dict.fromkeys(readers, float("inf"))
    for _ in range(ROUNDS):
        for name, reader in readers.items():
            start = time.process_time()
            for path in paths:
                reader(path)
            best[name] = min(best[name], time.process_time() - start)
    return {name: len(paths) / seconds for name, seconds in best.items()}


def rates_of_the_folder(paths: Sequence[Path], rounds: int) -> dict[str, float]:
    """Return images a second by the wall clock, everything on `CORES` processes that run already."""
    with ProcessPoolExecutor(CORES) as executor, our_pool() as pool:
        loops: dict[str, Callable[[], object]] = {
            "cbir": lambda: list(pool.read_files([ReadTask(os.fsencode(path)) for path in paths])),
            "bare loop": lambda: list(executor.map(bare_loop, paths, chunksize=8)),
            "phash": lambda: list(executor.map(perceptual_hash, paths, chunksize=8)),
            "czkawka": lambda: czkawka_index(paths[0].parent),
        }
        best = dict.fromkeys(loops, float("inf"))
        for _ in range(rounds):
            for name, loop in loops.items():
                start = time.perf_counter()
                loop()
                best[name] = min(best[name], time.perf_counter() - start)
    return {name: len(paths) / seconds for name, seconds in best.items()}


@contextmanager
def our_pool() -> Iterator[DecodePool]:
    """Yield a pool of `CORES` workers."""
    pool = DecodePool(CORES, LIMITS)
    try:
        yield pool
    finally:
        pool.close()


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


def enlarged(photograph: Image.Image) -> Image.Image:
    """Return a photograph of 12 megapixels with the noise of a sensor, without which it would pack too well."""
    large = np.asarray(photograph.resize(TWELVE_MEGAPIXELS, Image.Resampling.LANCZOS), np.float32)
    noise = np.random.default_rng(1).normal(0, SENSOR_NOISE, large.shape[:2]).astype(np.float32)
    return Image.fromarray(np.clip(large + noise[..., None], 0, 255).astype(np.uint8))


def written(folder: Path, images: Sequence[Image.Image], suffix: str) -> list[Path]:
    """Write pictures into a new folder and return their paths."""
    folder.mkdir()
    paths = [folder / f"{number:04d}{suffix}" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        buffer = io.BytesIO()
        image.save(buffer, Image.registered_extensions()[suffix], **({"quality": 90} if suffix == ".jpg" else {}))
        path.write_bytes(buffer.getvalue())
    return paths


def report(title: str, rates: dict[str, float]) -> None:
    """Print rates, and ours as a multiple of each."""
    click.echo(title)
    for name, rate in rates.items():
        click.echo(f"  {name:<10} {rate:8.1f} images/s   cbir is {rates['cbir'] / rate:5.2f} x")


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@click.option("--small", default=200, show_default=True, help="Photographs of their own size.")
@click.option("--large", default=8, show_default=True, help="Photographs enlarged to 12 megapixels.")
def decode(folder: Path | None, small: int, large: int) -> None:
    """Measure decoding on the photographs in FOLDER."""
    images = photographs(folder, small)
    readers = {"cbir": our_worker(), "bare loop": bare_loop, "phash": perceptual_hash}
    with tempfile.TemporaryDirectory() as scratch:
        paths = written(Path(scratch, "small"), images, ".jpg")
        big = [enlarged(image) for image in images[:large]]
        big_paths = written(Path(scratch, "large"), big, ".jpg")
        png_paths = written(Path(scratch, "png"), big[:2], ".png")
        report(
            f"one core, {len(paths)} JPEG of {images[0].width} x {images[0].height}", rates_of_one_core(readers, paths)
        )
        report(f"one core, {len(big)} JPEG of 12 megapixels", rates_of_one_core(readers, big_paths))
        report(f"one core, {len(png_paths)} PNG of 12 megapixels", rates_of_one_core(readers, png_paths))
        report(f"folder of {len(paths)} small JPEG, {CORES} processes", rates_of_the_folder(paths, ROUNDS))
        report(f"folder of {len(big)} large JPEG, {CORES} processes", rates_of_the_folder(big_paths, 2))
