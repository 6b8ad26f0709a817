"""How many edited photographs are found, and how many strangers are taken for copies, beside the peers in one run.

In: folders of photographs (by default those beside the checkout).  Out: a Markdown table of recall@1 and of verdicts
for each edit, the distributions of true and false scores, and the time of a query.  The same folders and seed give
the same figures.  Never here: speed against the size of the album (`scale`).

Peers decide by a distance: theirs is the largest at which one stranger in a thousand finds a false original.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import imagehash
import numpy as np
from _edits import EDITS
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cbir_daemon.matching import COPY_THRESHOLD, Collection, Snapshot, judge

try:
    import pdqhash  # type: ignore[import-not-found, unused-ignore]
except ImportError:  # a peer that needs a compiler; the table says that it is missing
    pdqhash = None

try:
    import cv2  # type: ignore[import-not-found, unused-ignore]
except ImportError:  # 60 MB for one peer; the table says that it is missing
    cv2 = None

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "photos"
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
CANDIDATES = 24
SEED = 7
SIFT_FEATURES = 250
SIFT_CHECKED = 5
Vectors = NDArray[np.uint8]


def vector_of(image: Image.Image) -> NDArray[np.uint8]:
    """Return the 4096 grey numbers of an image, made as the daemon makes them."""
    image.draft("L", (128, 128))
    grey = ImageOps.exif_transpose(image).convert("L")
    return np.asarray(grey.resize((64, 64), Image.Resampling.LANCZOS, reducing_gap=3.0), dtype=np.uint8).reshape(-1)


@dataclass
class Tally:
    """What a finder did over some queries."""

    first: int = 0
    accepted: int = 0
    queries: int = 0
    true_scores: list[float] = field(default_factory=list)
    false_scores: list[float] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)

    def cell(self) -> str:
        """Return recall@1 and the share of originals accepted, as a cell of the table."""
        return f"{self.first / self.queries:.2f} / {self.accepted / self.queries:.2f}" if self.queries else "-"


class Ours:
    """The daemon's own way: coarse search, then verdicts."""

    name = "cbir"

    def __init__(self, vectors: Vectors) -> None:
        collection = Collection()
        collection.add(range(len(vectors)), vectors)
        self._vectors = vectors
        self._snapshot: Snapshot = collection.snapshot()
        self.threshold = COPY_THRESHOLD

    def scores(self, image: Image.Image, without: int | None = None) -> dict[int, float]:
        """Return the score of each candidate by row, one row left out."""
        query = vector_of(image)
        rows = [row for row, _ in self._snapshot.candidates(query, CANDIDATES) if row != without]
        return {row: judgement.score for row, judgement in zip(rows, judge(query, self._vectors[rows]), strict=True)}


class HashPeer:
    """A perceptual hash: 1 minus the share of bits that differ, over the whole album."""

    def __init__(self, name: str, bits_of: Callable[[Image.Image], NDArray[np.bool_]], files: Sequence[Path]) -> None:
        self.name = name
        self.threshold = 1.0
        self._bits_of = bits_of
        self._album = np.stack([bits_of(Image.open(path).convert("RGB")) for path in files])

    def scores(self, image: Image.Image, without: int | None = None) -> dict[int, float]:
        """Return the score of each row, one row left out."""
        shares = np.mean(self._album == self._bits_of(image), axis=1)
        return {row: float(share) for row, share in enumerate(shares) if row != without}


class SiftPeer:
    """SIFT: nearest features of the album vote, the best few are checked by RANSAC; the score counts inliers."""

    name = "SIFT"

    def __init__(self, files: Sequence[Path]) -> None:
        self.threshold = math.inf
        self._sift = cv2.SIFT_create(nfeatures=SIFT_FEATURES)
        found = [self._features(Image.open(path)) for path in files]
        self._points = [points for points, _ in found]
        self._descriptors = [descriptors for _, descriptors in found]
        self._owners = np.concatenate([np.full(len(points), row) for row, points in enumerate(self._points)])
        self._all = np.concatenate(self._descriptors)
        self._squares = np.einsum("nd,nd->n", self._all, self._all)

    def scores(self, image: Image.Image, without: int | None = None) -> dict[int, float]:
        """Return the inliers of the rows with most votes, one row left out."""
        points, descriptors = self._features(image)
        if not len(points):
            return {}
        distances = self._squares - 2 * (descriptors @ self._all.T)
        nearest = self._owners[np.argpartition(distances, 2, axis=1)[:, :2]]
        votes = np.bincount(nearest.ravel(), minlength=len(self._points))
        if without is not None:
            votes[without] = 0
        rows = np.argsort(-votes, kind="stable")[:SIFT_CHECKED]
        return {int(row): self._inliers(points, descriptors, int(row)) + votes[row] * 1e-4 for row in rows}

    def _features(self, image: Image.Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        points, descriptors = self._sift.detectAndCompute(np.asarray(image.convert("L")), None)
        if descriptors is None:
            return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
        return np.array([point.pt for point in points], np.float32), descriptors

    def _inliers(self, points: NDArray[np.float32], descriptors: NDArray[np.float32], row: int) -> float:
        if len(self._descriptors[row]) < 2:
            return 0.0
        pairs = cv2.BFMatcher().knnMatch(descriptors, self._descriptors[row], k=2)
        good = [first for first, second in pairs if first.distance < 0.8 * second.distance]
        if len(good) < 4:
            return 0.0
        here = points[[match.queryIdx for match in good]]
        there = self._points[row][[match.trainIdx for match in good]]
        _, mask = cv2.estimateAffine2D(here, there, ransacReprojThreshold=5.0)
        return float(mask.sum()) if mask is not None else 0.0


Finder = Ours | HashPeer | SiftPeer


def pdq_bits(image: Image.Image) -> NDArray[np.bool_]:
    """Return the 256 bits of PDQ."""
    return np.asarray(pdqhash.compute(np.asarray(image.convert("RGB")))[0], dtype=bool)


def finders_of(files: Sequence[Path], vectors: Vectors, *, peers: bool, sift: bool) -> list[Finder]:
    """Return this program and the peers that can be imported."""
    finders: list[Finder] = [Ours(vectors)]
    if peers:
        finders.append(HashPeer("phash", lambda image: imagehash.phash(image).hash.ravel(), files))
        finders.append(HashPeer("dhash", lambda image: imagehash.dhash(image).hash.ravel(), files))
        if pdqhash:
            finders.append(HashPeer("PDQ", pdq_bits, files))
        if cv2 and sift:
            finders.append(SiftPeer(files))
    return finders


def ask_strangers(finder: Finder, files: Sequence[Path], rows: Sequence[int]) -> list[tuple[float, int, int]]:
    """Return for each photograph the best score of the album without it: (score, its row, the row found)."""
    found = []
    for row in rows:
        scores = finder.scores(Image.open(files[row]).convert("RGB"), without=row)
        found.append(max((score, row, other) for other, score in scores.items()) if scores else (0.0, row, -1))
    return sorted(found, reverse=True)


def ask_edited(finder: Finder, files: Sequence[Path], rows: Sequence[int], name: str) -> Tally:
    """Return what a finder makes of one edit of some photographs."""
    tally = Tally()
    for row in rows:
        random = np.random.default_rng([SEED, row, list(EDITS).index(name)])
        image = EDITS[name](Image.open(files[row]).convert("RGB"), random)
        image.load()
        start_s = time.perf_counter()
        scores = finder.scores(image)
        tally.took_ms.append((time.perf_counter() - start_s) * 1000)
        true = scores.pop(row, 0.0)
        best_false = max(scores.values(), default=0.0)
        tally.queries += 1
        tally.first += true > best_false
        tally.accepted += true >= finder.threshold
        tally.true_scores.append(true)
        tally.false_scores.append(best_false)
    return tally


def whole(tallies: Sequence[Tally]) -> Tally:
    """Return several tallies as one."""
    total = Tally()
    for tally in tallies:
        total.first += tally.first
        total.accepted += tally.accepted
        total.queries += tally.queries
        total.true_scores += tally.true_scores
        total.false_scores += tally.false_scores
        total.took_ms += tally.took_ms
    return total


def print_distribution(edited: Tally, strangers: Sequence[float]) -> None:
    """Print how many true and false scores lie in each twentieth."""
    edges = np.linspace(0, 1, 21)
    true, _ = np.histogram(edited.true_scores, edges)
    false, _ = np.histogram(strangers, edges)
    click.echo("\n| score | originals of edited queries | best of the album for strangers |\n|---|---|---|")
    for low, high, here, there in zip(edges, edges[1:], true, false, strict=False):
        click.echo(f"| {low:.2f} to {high:.2f} | {here} | {there} |")


@click.command()
@click.argument("photos", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--queries", default=100, show_default=True, help="Photographs that are edited.")
@click.option("--sift-queries", default=5, show_default=True, help="Of them for SIFT, a second each; 0 leaves it out.")
@click.option("--strangers", default=500, show_default=True, help="Photographs asked for in an album without them.")
@click.option("--peers/--no-peers", default=True, help="Whether to measure the peers.")
def accuracy(photos: Sequence[Path], queries: int, sift_queries: int, strangers: int, *, peers: bool) -> None:
    """Print recall@1 / share accepted for each edit, for this program and its peers.

    Half of the queries and, as far as they go, all strangers come from the first folder of PHOTOS, the others from
    all of them.
    """
    folders = photos or (PHOTOS / "bsds", PHOTOS / "clothing")
    groups = [sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES) for folder in folders]
    files = [path for group in groups for path in group]
    vectors = np.stack([vector_of(Image.open(path)) for path in files])
    random = np.random.default_rng(SEED)
    firsts = random.permutation(len(groups[0]))
    rows = [*firsts[: queries // 2], *random.choice(len(files), queries - queries // 2, replace=False)]
    unknown = [int(row) for row in firsts[:strangers]]
    columns: list[tuple[str, dict[str, Tally], Tally]] = []
    best_of_strangers: list[list[float]] = []
    for finder in finders_of(files, vectors, peers=peers, sift=sift_queries > 0):
        few = isinstance(finder, SiftPeer)
        best = ask_strangers(finder, files, unknown[: sift_queries * 10] if few else unknown)
        best_of_strangers.append([score for score, _, _ in best])
        if not isinstance(finder, Ours):
            finder.threshold = float(np.nextafter(best[len(best) // 1000][0], math.inf))
        asked = [int(row) for row in (rows[:: max(1, queries // sift_queries)] if few else rows)]
        tallies = {name: ask_edited(finder, files, asked, name) for name in EDITS}
        columns.append((finder.name, tallies, whole(list(tallies.values()))))
        accepted = sum(score >= finder.threshold for score, _, _ in best)
        click.echo(f"{finder.name}: {accepted} of {len(best)} strangers accepted at {finder.threshold:.3f}", err=True)
        for score, row, other in best[:3]:
            click.echo(f"  {score:.3f} {files[row].name} {files[other].name}", err=True)
    click.echo(f"| edit | {' | '.join(name for name, _, _ in columns)} |\n|---|{'---|' * len(columns)}")
    for name in EDITS:
        click.echo(f"| {name} | {' | '.join(tallies[name].cell() for _, tallies, _ in columns)} |")
    click.echo(f"| **all** | {' | '.join(total.cell() for _, _, total in columns)} |")
    click.echo(f"| median ms | {' | '.join(f'{np.median(total.took_ms):.0f}' for _, _, total in columns)} |")
    click.echo(f"| queries an edit | {' | '.join(str(total.queries // len(EDITS)) for _, _, total in columns)} |")
    for name, module in (("PDQ", pdqhash), ("SIFT", cv2)):
        if peers and not module:
            click.echo(f"\n{name} is not installed.")
    print_distribution(columns[0][2], best_of_strangers[0])
