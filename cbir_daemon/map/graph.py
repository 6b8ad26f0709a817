"""The graph of neighbours of the fitted images: kept from one fit to the next, and brought up to date.

In: ids and points of what will be fitted, and the graph of the fit before.  Out: the neighbours of each.  Never here:
umap, what a map is.

Up to `EXACT_IMAGES` the graph is exact: a graph that was brought up to date equals, bit for bit, one that is made from
nothing.  Above, inverted lists propose neighbours (`inverted`) when their library is installed, and only the distances
are exact.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.map.artifact import whole_file
from cbir_daemon.map.cluster import Broadcast, Cluster
from cbir_daemon.map.neighbors import (
    Neighbors,
    block_rows,
    closer,
    exact_distances,
    nearest_to_rows,
)
from cbir_daemon.map.points import Points
from cbir_daemon.medium import Metric

try:
    from cbir_daemon.map.inverted import InvertedLists
except ImportError:
    # The extra `index` is not installed: exact at any size.
    InvertedLists = None  # type: ignore[assignment,misc]  # asked for by `is None`

EXACT_IMAGES = 20_000
"""Images up to which comparing all pairs is as quick as inverted lists (see docs/model-figures.md)."""

WIDTH = 100
"""Neighbours of each image in the graph: the largest `n_neighbors` that is tried."""

SPARE = 28
"""Neighbours in reserve, so that an image still has `WIDTH` of them when others are deleted."""

MOST_BYTES = 2**30
"""Of all lists: a graph of more than a million images has fewer neighbours of each."""

NEIGHBOR_BYTES = 8
NOBODY = -1

NEW_SHARE = 0.1
"""Share of new images above which a graph by inverted lists is made from nothing, which is quicker then."""

MAGIC = b"cbirgraph2\n"
DIGEST_BYTES = 32
SUM_SEED = 20
BLOCK_IMAGES = 4096
REMOTE_IMAGES = 1024

PROBES = 48
"""Lists that a query looks into (see docs/model-figures.md for what more and fewer find)."""

Progress = Callable[[int, int], None]
"""Gets images done and images in all."""


@dataclass(frozen=True, slots=True)
class GraphSizes:
    """How large a graph is, and in which pieces it is made.

    Parameters
    ----------
    exact_images : int
        Images up to which all pairs are compared.
    width, spare : int
        Neighbours of each image, and those in reserve.
    block_images : int
        Images that are worked on at once.
    probes : int
        Lists that a query looks into, where there are inverted lists.
    remote_images : int
        Images whose neighbours one worker of a cluster finds at once: what is lost with it.
    """

    exact_images: int = EXACT_IMAGES
    width: int = WIDTH
    spare: int = SPARE
    block_images: int = BLOCK_IMAGES
    probes: int = PROBES
    remote_images: int = REMOTE_IMAGES


USUAL = GraphSizes()


def width_of(images: int, sizes: GraphSizes = USUAL) -> int:
    """Return how many neighbours of each image a graph of `images` images knows at least.

    Parameters
    ----------
    images : int
    sizes : GraphSizes
    """
    return max(1, min(sizes.width, images - 1, MOST_BYTES // (NEIGHBOR_BYTES * images) - sizes.spare))


def is_exact(images: int, sizes: GraphSizes = USUAL) -> bool:
    """Return whether a graph of so many images is exact.

    Parameters
    ----------
    images : int
    sizes : GraphSizes
    """
    return images <= sizes.exact_images or InvertedLists is None


@dataclass(frozen=True, slots=True)
class Graph:
    """The nearest others of each image.

    Parameters
    ----------
    ids : (n,) ndarray of int64
        Names of the images, ascending.
    sums : (n,) ndarray of uint64
        Checksums of their codes, so that an id that came to mean another image is noticed.
    near : (n, w) ndarray of int32
        Rows of their nearest others, nearest first, equals in order of row; `NOBODY` behind the last that is known.
    distances : (n, w) ndarray of float32
        To each of these, as `exact_distances` has them; infinite behind the last.
    exact : bool
        Whether nobody nearer was left out.
    """

    ids: NDArray[np.int64]
    sums: NDArray[np.uint64]
    near: NDArray[np.int32]
    distances: NDArray[np.float32]
    exact: bool

    def neighbors(self, metric: Metric, sizes: GraphSizes = USUAL) -> Neighbors:
        """Return as many neighbours as are known of every image, with the distances that a map is made of.

        Parameters
        ----------
        metric : Metric
            Of the points.
        sizes : GraphSizes
            Those of the graph.
        """
        width = width_of(len(self.ids), sizes)
        return Neighbors(self.near[:, :width], self.distances[:, :width]).tied(metric)

    def equals(self, graph: Graph) -> bool:
        """Return whether two graphs have the same images and the same neighbours."""
        return all(np.array_equal(getattr(self, name), getattr(graph, name)) for name in self.__slots__)

    def save(self, path: Path) -> None:
        """Write the graph to a file, whole or not at all.

        Raises
        ------
        StorageError
            When the disk refuses.
        """
        with whole_file(path) as file:
            written = _Digested(file)
            written.write(MAGIC)
            for part in (self.ids, self.sums, self.near, self.distances, np.array(self.exact)):
                np.save(written, part, allow_pickle=False)
            file.write(written.digest)

    @classmethod
    def load(cls, path: Path) -> Graph | None:
        """Return the graph of a file; None when there is none, or it is not what was written."""
        try:
            with path.open("rb") as file:
                if not _is_whole(file):
                    return None
                ids, sums, near, distances, exact = (np.load(file, allow_pickle=False) for _ in range(5))
        except (OSError, ValueError, EOFError):
            return None
        return cls(ids, sums, near, distances, bool(exact))


def built(
    ids: NDArray[np.int64],
    points: Points,
    *,
    seed: int = 0,
    threads: int = 1,
    progress: Progress = lambda _done, _total: None,
    sizes: GraphSizes = USUAL,
    cluster: Cluster | None = None,
) -> Graph:
    """Return the graph of `points`, made anew.

    Parameters
    ----------
    ids : (n,) ndarray of int64
        Names of the rows, ascending; at least two.
    points : (n, f) Points
    seed, threads : int
        For inverted lists.
    progress : callable, optional
        Gets the images done and the images in all.
    sizes : GraphSizes
    cluster : Cluster, optional
        Finds the neighbours, block by block, when there are many to find.
    """
    count = len(ids)
    near, distances = _empty(count, sizes)
    _search(
        points,
        np.arange(count),
        near,
        distances,
        seed=seed,
        threads=threads,
        progress=progress,
        sizes=sizes,
        cluster=cluster,
    )
    return Graph(ids, checksums(points), near, distances, is_exact(count, sizes))


def updated(
    old: Graph | None,
    ids: NDArray[np.int64],
    points: Points,
    *,
    seed: int = 0,
    threads: int = 1,
    progress: Progress = lambda _done, _total: None,
    sizes: GraphSizes = USUAL,
    cluster: Cluster | None = None,
) -> Graph:
    """Return the graph of `points`, with what is still true of the graph of the fit before.

    Images that stayed keep their lists, without the images that went; new images are looked up among all and take their
    places in the lists of the others.  A list that became too short is made anew.

    Parameters
    ----------
    old : Graph or None
        Of the fit before; None makes the graph anew.
    ids : (n,) ndarray of int64
        Names of the rows, ascending; at least two.
    points : (n, f) Points
    seed, threads : int
        For inverted lists.
    progress : callable, optional
        Gets the images done and the images in all.
    sizes : GraphSizes
        Those of the graph before, too.
    cluster : Cluster, optional
        Finds the neighbours, block by block, when there are many to find.

    Returns
    -------
    Graph
        With up to `sizes.exact_images` images the graph that `built` would make, bit for bit.
    """
    count, exact = len(ids), is_exact(len(ids), sizes)

    def made_anew() -> Graph:
        return built(ids, points, seed=seed, threads=threads, progress=progress, sizes=sizes, cluster=cluster)

    if old is None or (exact and not old.exact) or old.near.shape[1] != _columns(len(old.ids), sizes):
        return made_anew()
    sums = checksums(points)
    _, was, now = np.intersect1d(old.ids, ids, assume_unique=True, return_indices=True)
    same = old.sums[was] == sums[now]
    was, now = was[same], now[same]
    if len(now) < 2 or (not exact and count - len(now) > NEW_SHARE * count):
        return made_anew()
    near, distances = _empty(count, sizes)
    complete = _carry_over(old, was, now, near, distances, sizes.block_images)
    new = np.setdiff1d(np.arange(count), now, assume_unique=True)
    if len(new):
        _insert(points, now, new, near, distances, complete, sizes.block_images)
    short = now[np.count_nonzero(near[now] != NOBODY, axis=1) < width_of(count, sizes)]
    fresh = np.union1d(new, short)
    _search(
        points,
        fresh,
        near,
        distances,
        seed=seed,
        threads=threads,
        progress=progress,
        sizes=sizes,
        cluster=cluster,
    )
    return Graph(ids, sums, near, distances, exact)


def checksums(points: Points) -> NDArray[np.uint64]:
    """Return a checksum of each row; two rows that differ have the same one with a probability of 2**-32 at most.

    Parameters
    ----------
    points : (n, f) Points

    Returns
    -------
    (n,) ndarray of uint64

    References
    ----------
    D. Lemire, O. Kaser: Strongly universal string hashing is fast. Computer Journal 57 (2014), multilinear hashing.
    """
    factors = np.random.default_rng(SUM_SEED).integers(2**64, size=points.rows.shape[1], dtype=np.uint64) | np.uint64(1)
    sums = np.empty(len(points), np.uint64)
    for start in range(0, len(points), BLOCK_IMAGES):
        block = np.ascontiguousarray(points.rows[start : start + BLOCK_IMAGES]).view(np.uint32)
        sums[start : start + BLOCK_IMAGES] = block.astype(np.uint64) @ factors
    return sums


def _columns(images: int, sizes: GraphSizes) -> int:
    return min(width_of(images, sizes) + sizes.spare, images - 1)


def _empty(images: int, sizes: GraphSizes) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    shape = (images, _columns(images, sizes))
    return np.full(shape, NOBODY, np.int32), np.full(shape, np.inf, np.float32)


def _carry_over(
    old: Graph,
    was: NDArray[np.intp],
    now: NDArray[np.intp],
    near: NDArray[np.int32],
    distances: NDArray[np.float32],
    block_images: int,
) -> NDArray[np.bool_]:
    """Fill the rows `now` with the neighbours that the old rows `was` have and that stayed.

    Returns
    -------
    (m,) ndarray of bool
        Which of these rows have every image that stayed.
    """
    # Both are in order of id, so that equals stay in order of row.
    renamed = np.full(len(old.ids) + 1, NOBODY, np.int32)
    renamed[was] = now
    columns = min(near.shape[1], old.near.shape[1])
    for start in range(0, len(was), block_images):
        rows = slice(start, start + block_images)
        # The last entry is for nobody.
        stayed = renamed[old.near[was[rows]]]
        order = np.argsort(stayed == NOBODY, axis=1, kind="stable")[:, :columns]
        known = np.take_along_axis(stayed, order, axis=1)
        near[now[rows], :columns] = known
        far = np.take_along_axis(old.distances[was[rows]], order, axis=1)
        distances[now[rows], :columns] = np.where(known == NOBODY, np.inf, far)
    return np.asarray(np.count_nonzero(near[now] != NOBODY, axis=1) == len(now) - 1)


def _insert(
    points: Points,
    rows: NDArray[np.intp],
    new: NDArray[np.intp],
    near: NDArray[np.int32],
    distances: NDArray[np.float32],
    complete: NDArray[np.bool_],
    block_images: int,
) -> None:
    """Put the new rows where they belong in the lists of `rows`, which are exact as far as they go."""
    added = points[new]
    step = min(block_images, block_rows(added))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        known = np.count_nonzero(near[block] != NOBODY, axis=1)
        last = np.maximum(known - 1, 0), np.arange(len(block))
        # Behind its last entry a list knows nothing, unless it has everybody.
        free = complete[start : start + step]
        horizon = np.where(free, np.inf, np.where(known > 0, distances[block][last[1], last[0]], -np.inf))
        horizon_id = np.where(free, len(points), near[block][last[1], last[0]])
        at, ids, apart = closer(added, points[block], horizon.astype(np.float32), near.shape[1])
        ids = new[ids]
        inside = (apart < horizon[at]) | ((apart == horizon[at]) & (ids < horizon_id[at]))
        _merge(block, at[inside], ids[inside], apart[inside], near, distances)


def _merge(
    block: NDArray[np.intp],
    at: NDArray[np.intp],
    ids: NDArray[np.intp],
    apart: NDArray[np.float32],
    near: NDArray[np.int32],
    distances: NDArray[np.float32],
) -> None:
    """Merge pairs, of which `at` says the place of the list's row in `block`, into the lists."""
    touched, place = np.unique(at, return_inverse=True)
    rows = block[touched]
    columns = near.shape[1]
    owner = np.concatenate([np.repeat(np.arange(len(rows)), columns), place])
    who = np.concatenate([near[rows].ravel(), ids])
    far = np.concatenate([distances[rows].ravel(), apart])
    order = np.lexsort((who, far, owner))
    best = order[np.searchsorted(owner[order], np.arange(len(rows)))[:, np.newaxis] + np.arange(columns)]
    near[rows], distances[rows] = who[best], far[best]


def _search(
    points: Points,
    rows: NDArray[np.intp],
    near: NDArray[np.int32],
    distances: NDArray[np.float32],
    *,
    seed: int,
    threads: int,
    progress: Progress,
    sizes: GraphSizes,
    cluster: Cluster | None,
) -> None:
    """Fill some rows anew."""
    columns = near.shape[1]
    if cluster is not None and len(rows) >= 2 * sizes.remote_images:
        lists = None
        if not is_exact(len(points), sizes):
            lists = InvertedLists.trained(points, seed=seed, threads=threads, probes=sizes.probes)
        blocks = [rows[start : start + sizes.remote_images] for start in range(0, len(rows), sizes.remote_images)]
        done = 0
        found_in = cluster.map(nearest_of_block, Broadcast((points, lists, columns)), blocks)
        for block, (ids, apart) in zip(blocks, found_in, strict=True):
            near[block], distances[block] = ids, apart
            done += len(block)
            progress(done, len(rows))
        return
    if is_exact(len(points), sizes):
        found = nearest_to_rows(points, rows, columns, lambda done: progress(done, len(rows)))
        near[rows], distances[rows] = found.ids, found.distances
        return
    lists = InvertedLists.trained(points, seed=seed, threads=threads, probes=sizes.probes)
    for start in range(0, len(rows), sizes.block_images):
        block = rows[start : start + sizes.block_images]
        near[block], distances[block] = nearest_of_block((points, lists, columns), block)
        progress(start + len(block), len(rows))


def nearest_of_block(
    shared: tuple[Points, InvertedLists | None, int], block: NDArray[np.intp]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the neighbours of some rows: the part of a graph that a worker makes.

    Parameters
    ----------
    shared : tuple of Points, InvertedLists or None, int
        All points; lists over them, None compares all pairs; how many neighbours of each row.
    block : (m,) ndarray of intp
        Rows of the points.

    Returns
    -------
    ids, distances : (m, k) ndarray of int32, float32
        Which other rows are taken together changes nothing.
    """
    points, lists, columns = shared
    if lists is None:
        found = nearest_to_rows(points, block, columns)
        return found.ids, found.distances
    # One more than is wanted: an image proposes itself.
    return best_of(points, block, lists.propose(points[block], columns + 1), columns)


def best_of(
    points: Points,
    rows: NDArray[np.intp],
    proposed: NDArray[np.int64],
    k: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the `k` nearest of the candidates of each row; a row with too few candidates is compared with all.

    Parameters
    ----------
    points : (n, f) Points
    rows : (m,) ndarray of intp
        Rows of `points` whose neighbours are sought.
    proposed : (m, p) ndarray of int64
        Candidates of each of them, rows of `points`; `NOBODY` fills up.  A row is never its own neighbour.
    k : int
        1 to n - 1.

    Returns
    -------
    near : (m, k) ndarray of int32
        Nearest first, equals in order of row.
    distances : (m, k) ndarray of float32
        From `exact_distances`, in [0, 2].
    """
    others = (proposed != NOBODY) & (proposed != rows[:, np.newaxis])
    distances = np.full(proposed.shape, np.inf, np.float32)
    at = np.nonzero(others)
    distances[at] = exact_distances(points.rows, proposed[at], points.rows, rows[at[0]])
    order = np.lexsort((proposed, distances), axis=1)[:, :k]
    near = np.take_along_axis(proposed, order, axis=1).astype(np.int32)
    distances = np.take_along_axis(distances, order, axis=1)
    few = np.flatnonzero(np.isinf(distances[:, -1]))
    if len(few):
        found = nearest_to_rows(points, rows[few], k)
        near[few], distances[few] = found.ids, found.distances
    return near, distances


class _Digested(io.RawIOBase):
    """Writes to a file and digests what it writes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:  # type: ignore[override]  # numpy writes bytes only
        """Write and digest."""
        self._sha256.update(data)
        return self._file.write(data)

    @property
    def digest(self) -> bytes:
        """SHA-256 of what was written."""
        return self._sha256.digest()


def _is_whole(file: BinaryIO) -> bool:
    """Return whether a file is what was written; it then stands behind the magic."""
    size = os.fstat(file.fileno()).st_size - DIGEST_BYTES
    if size < len(MAGIC) or file.read(len(MAGIC)) != MAGIC:
        return False
    sha256, remaining = hashlib.sha256(MAGIC), size - len(MAGIC)
    while remaining and (data := file.read(min(remaining, 2**20))):
        sha256.update(data)
        remaining -= len(data)
    if remaining or file.read() != sha256.digest():
        return False
    file.seek(len(MAGIC))
    return True
