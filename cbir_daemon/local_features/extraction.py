"""Finds and describes the local features of a picture.

In: a grey picture.  Out: its features, coded.  Never here: files, other pictures.

A feature is a blob with a scale and a direction, described by SIFT and cut down to 64 bits and a word.  The tables that
do so ship with the package; `scripts/bench tables` makes them.

References
----------
Lowe: Distinctive image features from scale-invariant keypoints, IJCV 2004 (SIFT).
Arandjelovic, Zisserman: Three things everyone should know to improve object retrieval, CVPR 2012 (roots).
Gong, Lazebnik: Iterative quantization, CVPR 2011 (bits).
Brown, Szeliski, Winder: Multi-image matching using multi-scale oriented patches, CVPR 2005 (spreading).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cbir_daemon.local_features.layout import (
    ASKED,
    STORED,
    STORED_FEATURES,
    AskedFeatures,
    StoredFeatures,
    scale_bytes,
)

ASKED_FEATURES = 1200
"""Features of a query, at most."""

TABLES_PATH: Final = Path(__file__).with_name("tables.npz")

# Cells along each side of a picture, and how many times its share of the features each may have at first.
_SHARES, _OVER = 10, 2

# Contrast below which SIFT drops a blob: a quarter of its default, so that skies have features too.
_LEAST_CONTRAST = 0.01

# A feature gives way to one near it that is stronger by this.
_STRONGER = 1.1

# Cells along each side of a SIFT descriptor, and directions in each.
_CELLS, _DIRECTIONS = 4, 8

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tables:
    """How a descriptor becomes bits and a word.

    Parameters
    ----------
    mean : (128,) ndarray of float32
        Of root descriptors.
    projection : (128, 64) ndarray of float32
        Principal components, turned so that signs keep distances.
    words : (w, 64) ndarray of float32
        Of projected descriptors.
    """

    mean: Floats
    projection: Floats
    words: Floats


@dataclass(frozen=True, slots=True)
class Described:
    """Features of one picture, strongest first, before they are coded.

    Parameters
    ----------
    points : (n, 2) ndarray of float32
        In pixels.
    scales, angles, responses : (n,) ndarray of float32
        In pixels, radians, and SIFT's own measure.
    descriptors : (n, 128) ndarray of float32
        Roots of SIFT descriptors of sum 1.
    """

    points: Floats
    scales: Floats
    angles: Floats
    responses: Floats
    descriptors: Floats


@functools.lru_cache(1)
def tables() -> Tables:
    """Return the tables that ship with the package."""
    with np.load(TABLES_PATH) as stored:
        return Tables(*(stored[name].astype(np.float32) for name in ("mean", "projection", "words")))


def load() -> None:
    """Load all that finding features takes, for a process that can open no file later."""
    cv2.setNumThreads(1)
    tables()
    described(np.zeros((64, 64), dtype=np.uint8), 8)


def picture_of(pixels: bytes, width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Return grey pixels, row by row, as a (height, width) picture.

    Parameters
    ----------
    pixels : bytes
    width_px, height_px : int
    """
    return np.frombuffer(pixels, dtype=np.uint8).reshape(height_px, width_px)


def stored_features(picture: NDArray[np.uint8]) -> StoredFeatures:
    """Return the features that are kept of a content.

    Parameters
    ----------
    picture : (height, width) ndarray of uint8
        Grey, upright; the longer side at most `STORED_SIDE_PX`.
    """
    found = described(picture, STORED_FEATURES)
    height, width = picture.shape
    projected = _projected(found.descriptors)
    features = np.zeros(len(projected), dtype=STORED)
    features["code"] = _codes(projected)
    features["word"] = _words(projected, 1)[:, 0]
    for name, positions, side in (("x", found.points[:, 0], width), ("y", found.points[:, 1], height)):
        features[name] = np.clip(np.rint(positions * (255 / side)), 0, 255)
    features["scale"] = scale_bytes(found.scales)
    features["angle"] = np.rint(found.angles * (256 / (2 * np.pi))).astype(np.int64) % 256
    return StoredFeatures(width, height, features)


def asked_features(picture: NDArray[np.uint8]) -> AskedFeatures:
    """Return the features of a query, and of its mirror image.

    Parameters
    ----------
    picture : (height, width) ndarray of uint8
        Grey, upright; the longer side at most `ASKED_SIDE_PX`.
    """
    found = described(picture, ASKED_FEATURES)
    height, width = picture.shape
    return AskedFeatures(width, height, _asked(found), _asked(mirrored(found, width)))


def described(picture: NDArray[np.uint8], count: int) -> Described:
    """Return the strongest features of a picture.

    Parameters
    ----------
    picture : (height, width) ndarray of uint8
    count : int
        At most.
    """
    sift = cv2.SIFT_create(contrastThreshold=_LEAST_CONTRAST)
    keypoints = sift.detect(picture, None)
    points = np.array([point.pt for point in keypoints], dtype=np.float32).reshape(-1, 2)
    responses = np.array([point.response for point in keypoints], dtype=np.float32)
    rows = spread(points, responses, picture.shape, count)
    chosen, descriptors = sift.compute(picture, [keypoints[row] for row in rows])
    roots = np.zeros((0, 128), dtype=np.float32) if descriptors is None else _roots(descriptors)
    return Described(
        np.array([point.pt for point in chosen], dtype=np.float32).reshape(-1, 2),
        np.array([point.size for point in chosen], dtype=np.float32),
        np.deg2rad(np.array([point.angle for point in chosen], dtype=np.float32)),
        np.array([point.response for point in chosen], dtype=np.float32),
        roots,
    )


def spread(points: Floats, responses: Floats, shape: tuple[int, ...], count: int) -> NDArray[np.int64]:
    """Return the rows of the points that are farthest from stronger ones, so that they cover the picture.

    Parameters
    ----------
    points : (n, 2) ndarray of float32
    responses : (n,) ndarray of float32
    shape : (height, width)
        Of the picture.
    count : int
        At most.
    """
    height, width = shape
    # A page of letters has thousands: no part of the picture takes more than its share of what is compared.
    columns, lines = (points * (_SHARES / np.array([width, height]))).astype(np.int64).T
    cells = columns * _SHARES + lines
    order = np.lexsort((-responses, cells))
    begins = np.searchsorted(cells[order], cells[order])
    rows = order[np.arange(len(order)) - begins < _OVER * count / _SHARES**2 + 4]
    if len(rows) <= count:
        return np.sort(rows)
    points, responses = points[rows], responses[rows]
    squares = (points**2).sum(axis=1)
    apart = squares[:, None] + squares[None] - 2 * (points @ points.T)
    stronger = responses[None] > np.float32(_STRONGER) * responses[:, None]
    radius = np.where(stronger, apart, np.float32(np.inf)).min(axis=1)
    return np.sort(rows[np.argsort(-radius, kind="stable")[:count]])


def mirrored(found: Described, width: int) -> Described:
    """Return the features that the mirror image of a picture has.

    Parameters
    ----------
    found : Described
    width : int
        Of the picture in pixels.
    """
    cells = found.descriptors.reshape(-1, _CELLS, _CELLS, _DIRECTIONS)
    # Along its own direction a descriptor stays; across it cells and directions change sides.
    flipped = cells[:, ::-1, :, (-np.arange(_DIRECTIONS)) % _DIRECTIONS].reshape(-1, found.descriptors.shape[1])
    points = np.stack([np.float32(width) - found.points[:, 0], found.points[:, 1]], axis=1)
    turned = np.mod(np.float32(np.pi) - found.angles, np.float32(2 * np.pi))
    return Described(points, found.scales, turned, found.responses, np.ascontiguousarray(flipped))


def _roots(descriptors: Floats) -> Floats:
    sums = np.maximum(descriptors.sum(axis=1, keepdims=True), np.float32(1e-6))
    return np.asarray(np.sqrt(descriptors / sums), dtype=np.float32)


def _projected(descriptors: Floats) -> Floats:
    return np.asarray((descriptors - tables().mean) @ tables().projection, dtype=np.float32)


def _codes(projected: Floats) -> NDArray[np.uint64]:
    return np.packbits(projected > 0, axis=1, bitorder="little").view("<u8").reshape(-1)


def _words(projected: Floats, count: int) -> NDArray[np.uint16]:
    """Return the nearest words of each descriptor, (n, count), nearest first."""
    words = tables().words
    nearness = projected @ words.T
    nearness -= (words**2).sum(axis=1) / 2
    rows, nearest = np.arange(len(projected)), np.empty((len(projected), count), dtype=np.uint16)
    for place in range(count):
        nearest[:, place] = best = nearness.argmax(axis=1)
        nearness[rows, best] = -np.inf
    return nearest


def _asked(found: Described) -> NDArray[np.void]:
    projected = _projected(found.descriptors)
    features = np.zeros(len(projected), dtype=ASKED)
    features["code"] = _codes(projected)
    features["words"] = _words(projected, features["words"].shape[1])
    features["x"], features["y"] = found.points.T
    features["scale"], features["angle"] = found.scales, found.angles
    return features
