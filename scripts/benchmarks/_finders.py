"""Programs that find all duplicates in a folder, each from nothing, with what they cost.

In: a folder of images.  Out: pairs of file names; seconds by the clock and of a processor.  Never here: which pairs are
right (`_planted`).

References
----------
Burkhard, Keller: Some approaches to best-match file searching, Communications of the ACM 16(4), 1973: the tree.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import czkawka
import imagehash
from _daemon import Daemon
from _planted import Pair, pairs_of
from PIL import Image

SETTLE_TIMEOUT_S = 12 * 3600
NO_MAP = "min_images = 1_000_000\nmax_fit_images = 1_000_000"

CZKAWKA_TOLERANCE = 10
FINDIMAGEDUPES_LIKENESS = "90%"
PHASH_BITS = 8
"""Bits of 64 by which two hashes may differ."""

Finder = Callable[[Path], set[Pair]]


@dataclass(frozen=True)
class Cost:
    """What was found, and what it cost: seconds by the clock, and of a processor, child processes among them."""

    found: set[Pair]
    wall_s: float
    cpu_s: float


def measured(finder: Finder, folder: Path) -> Cost:
    """Let a finder search a folder.

    Parameters
    ----------
    finder : callable
        Returns the pairs in a folder.
    folder : Path
    """
    before_s, cpu_before_s = time.perf_counter(), _cpu_s()
    found = finder(folder)
    return Cost(found, time.perf_counter() - before_s, _cpu_s() - cpu_before_s)


def _cpu_s() -> float:
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def by_cbir(folder: Path) -> set[Pair]:
    """Let a daemon that fits no map index the folder, and return its groups."""
    with tempfile.TemporaryDirectory(prefix="cbir") as home:
        daemon = Daemon(Path(home), folder, NO_MAP)
        daemon.start()
        try:
            daemon.ask("settle", "--timeout", str(SETTLE_TIMEOUT_S))
            return pairs_of(daemon.groups())
        finally:
            daemon.stop()


def by_czkawka(folder: Path, tolerance: int | None = CZKAWKA_TOLERANCE) -> set[Pair]:
    """Return czkawka's groups; it keeps what it knows below XDG_CACHE_HOME.

    Parameters
    ----------
    folder : Path
    tolerance : int or None
        Of its 64 bits; None leaves its default.
    """
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        finder = czkawka.ImageSimilarity()
        finder.set_directories([folder])
        if tolerance is not None:
            finder.set_similarity(tolerance)
        return pairs_of(finder.find_similar())


def by_findimagedupes(folder: Path) -> set[Pair]:
    """Return the groups of findimagedupes, one a line."""
    command: list[str | Path] = ["findimagedupes", "--quiet", "--threshold", FINDIMAGEDUPES_LIKENESS, "--", folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 -- a peer
    return pairs_of(line.split() for line in done.stdout.splitlines())


def has_findimagedupes() -> bool:
    """Return whether Debian's package is installed."""
    return shutil.which("findimagedupes") is not None


def by_phash(folder: Path) -> set[Pair]:
    """Return the pairs whose phash differs by at most `PHASH_BITS`: hashed on all cores, then looked up in a tree."""
    files = sorted(folder.iterdir())
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        hashes = list(pool.map(phash_of, files, chunksize=64))
    tree = Tree()
    pairs = set()
    for file, number in zip(files, hashes, strict=True):
        pairs |= {frozenset((file.name, found)) for found in tree.within(number, PHASH_BITS)}
        tree.add(number, file.name)
    return pairs


def phash_of(path: Path) -> int:
    """Return the 64 bits of ImageHash's phash as a number."""
    with Image.open(path) as image:
        return int(str(imagehash.phash(image)), 16)


@dataclass
class _Node:
    number: int
    names: list[str]
    children: dict[int, _Node] = field(default_factory=dict)


class Tree:
    """A tree of Burkhard and Keller over numbers, by the bits in which they differ."""

    def __init__(self) -> None:
        self._root: _Node | None = None

    def add(self, number: int, name: str) -> None:
        """Add a number that has a name."""
        if self._root is None:
            self._root = _Node(number, [name])
            return
        node = self._root
        while distance := (number ^ node.number).bit_count():
            if distance not in node.children:
                node.children[distance] = _Node(number, [name])
                return
            node = node.children[distance]
        node.names.append(name)

    def within(self, number: int, most: int) -> Iterator[str]:
        """Yield the names of all numbers that differ in at most so many bits."""
        nodes = [] if self._root is None else [self._root]
        while nodes:
            node = nodes.pop()
            distance = (number ^ node.number).bit_count()
            if distance <= most:
                yield from node.names
            # By the triangle inequality nothing nearer lies below the other children.
            nodes += [child for far, child in node.children.items() if abs(far - distance) <= most]
