"""The daemon's way and its peers, each as something that scores the images of an album for a query.

In: an album, then images.  Out: scores by row.  Never here: which edits are tried, what is counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import imagehash
import numpy as np
from _album import Album, Vectors, vector_of
from numpy.typing import NDArray
from PIL import Image

from cbir_daemon.matching import COPY_THRESHOLD, best_scores, coarse_views, judge, packed_codes

try:
    import pdqhash  # type: ignore[import-not-found, unused-ignore]
except ImportError:  # the table says that it is missing
    pdqhash = None

try:
    import cv2  # type: ignore[import-not-found, unused-ignore]
except ImportError:  # the table says that it is missing
    cv2 = None

try:
    # It asks for the client of a search server, so it is no dependency of ours: pip install --no-deps image-match,
    # and scikit-image.
    from image_match.goldberg import ImageSignature  # type: ignore[import-not-found, unused-ignore]
except ImportError:  # the table says that it is missing
    ImageSignature = None

CANDIDATES = 24
SIFT_FEATURES = 250
SIFT_CHECKED = 5
# Leaves that the search in the trees of all features looks at for each: more find no more of the photographs.
SIFT_LEAVES = 128
SIFT_TREES = 4


class Finder(Protocol):
    """Scores the images of an album for a query.

    Attributes
    ----------
    name : str
    threshold : float
        Score from which an image is taken for the original.
    image_bytes : float
        What is kept of an image.
    """

    name: str
    threshold: float
    image_bytes: float

    def scores(self, image: Image.Image, without: int | None = None) -> dict[int, float]:
        """Return the scores of the rows that it considers, one row left out."""
        ...


class Ours:
    """The daemon's own way: coarse search, then verdicts."""

    name = "cbir"
    threshold = COPY_THRESHOLD

    def __init__(self, album: Album) -> None:
        self._vectors = album.vectors
        self._codes = packed_codes(album.vectors)
        self.image_bytes = float(album.vectors.shape[1])

    def scores(self, image: Image.Image, without: int | None = None) -> dict[int, float]:
        """Return the score of each candidate."""
        query = vector_of(image)
        rows = self.candidates(query, without)
        return {row: judgement.score for row, judgement in zip(rows, judge(query, self._vectors[rows]), strict=True)}

    def candidates(self, query: Vectors, without: int | None = None) -> list[int]:
        """Return the likeliest rows, best first, one row left out."""
        coarse = best_scores(self._codes, coarse_views(query))
        if without is not None:
            coarse[without] = -1
        rows: list[int] = np.argsort(-coarse, kind="stable")[:CANDIDATES].tolist()
        return [row for row in rows if row != without]


class HashPeer:
    """A perceptual hash: 1 minus the share of bits that differ, over the whole album."""

    threshold = 1.0

    def __init__(self, name: str, bits_of: Callable[[Image.Image], NDArray[np.bool_]], album: Album) -> None:
        self.name = name
        self._bits_of = bits_of
        self._album = np.stack([bits_of(album.image(row)) for row in range(len(album))])
        self.image_bytes = self._album.shape[1] / 8

    def scores(self, image: Image.Image, without: int | None = None) -> dict[int, float]:
        """Return the score of each row."""
        shares = np.mean(self._album == self._bits_of(image.convert("RGB")), axis=1)
        return {row: float(share) for row, share in enumerate(shares) if row != without}


class SignaturePeer:
    """image-match's signature: 1 minus its normalised distance, over the whole album.

    References
    ----------
    Wong, Bern, Goldberg: An image signature for any kind of image, ICIP 2002.
    """

    name = "image-match"
    threshold = 1.0

    def __init__(self, album: Album) -> None:
        self._signature = ImageSignature()
        self._album = np.stack([self._of(album.image(row)) for row in range(len(album))]).astype(np.float32)
        self._norms = np.linalg.norm(self._album, axis=1)
        self.image_bytes = float(self._album.shape[1])

    def _of(self, image: Image.Image) -> NDArray[np.int8]:
        return np.asarray(self._signature.generate_signature(np.asarray(image.convert("RGB"))))

    def scores(self, image: Image.Image, without: int | None = None) -> dict[int, float]:
        """Return the score of each row."""
        own = self._of(image).astype(np.float32)
        distances = np.linalg.norm(self._album - own, axis=1) / np.maximum(self._norms + np.linalg.norm(own), 1e-6)
        return {row: 1 - float(distance) for row, distance in enumerate(distances) if row != without}


class SiftPeer:
    """SIFT: the nearest features of the album vote, the best few are checked by RANSAC; the score counts inliers."""

    name = "SIFT"
    threshold = math.inf

    def __init__(self, album: Album) -> None:
        self._sift = cv2.SIFT_create(nfeatures=SIFT_FEATURES)
        found = [self._features(album.image(row)) for row in range(len(album))]
        self._points = [points for points, _ in found]
        self._descriptors = [descriptors for _, descriptors in found]
        self._owners = np.concatenate([np.full(len(points), row) for row, points in enumerate(self._points)])
        self.image_bytes = sum(points.nbytes + descriptors.nbytes for points, descriptors in found) / len(album)
        self._trees = cv2.FlannBasedMatcher({"algorithm": 1, "trees": SIFT_TREES}, {"checks": SIFT_LEAVES})
        self._trees.add([np.concatenate(self._descriptors)])
        self._trees.train()

    def scores(self, image: Image.Image, without: int | None = None) -> dict[int, float]:
        """Return the inliers of the rows with most votes."""
        points, descriptors = self._features(image)
        if not len(points):
            return {}
        pairs = self._trees.knnMatch(descriptors, k=3)
        owners = np.array([[match.trainIdx for match in few] for few in pairs if len(few) == 3], dtype=np.int64)
        votes = np.bincount(self._owners[owners.ravel()], minlength=len(self._points))
        if without is not None:
            votes[without] = 0
        rows = np.argsort(-votes, kind="stable")[:SIFT_CHECKED]
        return {int(row): self._inliers(points, descriptors, int(row)) + votes[row] * 1e-4 for row in rows}

    def _features(self, image: Image.Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        points, descriptors = self._sift.detectAndCompute(np.asarray(image.convert("L")), None)
        if descriptors is None:
            return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
        # Features of one place and several directions may be one or two more than asked for.
        few = slice(SIFT_FEATURES)
        return np.array([point.pt for point in points[few]], np.float32), descriptors[few]

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


def pdq_bits(image: Image.Image) -> NDArray[np.bool_]:
    """Return the 256 bits of PDQ."""
    return np.asarray(pdqhash.compute(np.asarray(image))[0], dtype=bool)


def cheap_peers(album: Album) -> list[Finder]:
    """Return the hashes and signatures that can be imported."""
    peers: list[Finder] = [
        HashPeer("phash", lambda image: imagehash.phash(image).hash.ravel(), album),
        HashPeer("dhash", lambda image: imagehash.dhash(image).hash.ravel(), album),
    ]
    if pdqhash:
        peers.append(HashPeer("PDQ", pdq_bits, album))
    if ImageSignature:
        peers.append(SignaturePeer(album))
    return peers


def missing_peers() -> list[str]:
    """Return the names of peers that are not installed."""
    modules = {"PDQ": pdqhash, "image-match": ImageSignature, "SIFT": cv2}
    return [name for name, module in modules.items() if module is None]


def use_one_thread() -> None:
    """Let OpenCV calculate in the calling thread: its others do not outlive a fork."""
    if cv2:
        cv2.setNumThreads(0)
