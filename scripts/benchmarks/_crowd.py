"""Many contents that are copies of nothing that is asked for: pieces of photographs, and blends of two.

In: the index of a daemon that has read photographs.  Out: the same index with so many contents more, without files.
Never here: what is asked of it.

A content has the vector of its pieces, looks like its first photograph, and has the local features of its pieces where
the photographs have features: some bits of each are changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cbir_daemon.local_features import LOCAL, StoredFeatures
from cbir_daemon.local_features.layout import STORED, STORED_FEATURES
from cbir_daemon.pictures import PICTURES
from cbir_daemon.records import LOOK, Facts, FileState
from cbir_daemon.store import Indexed, Store

SEED = 20_261_130
LEAST_SHARE, MOST_SHARE = 0.33, 0.75
"""Of the sides of a photograph, in a piece."""

BLENDED_SHARE = 0.3
CHANGED_BITS = 6
"""Of 64, at most, in the code of a local feature."""

SIDE_PX = 64
SMALL_PX = 256
CHUNK = 2_000


@dataclass(frozen=True)
class Photograph:
    """A photograph of the index: its pixels, small, how it looks, and its local features or None."""

    grey: Image.Image
    look: bytes
    features: StoredFeatures | None


@dataclass(frozen=True)
class Piece:
    """A part of a photograph; shares of its sides: left, top, right, bottom."""

    photograph: Photograph
    box: tuple[float, float, float, float]

    def vector(self) -> NDArray[np.uint8]:
        """Return the (4096,) numbers."""
        width, height = self.photograph.grey.size
        left, top, right, bottom = self.box
        box = (left * width, top * height, right * width, bottom * height)
        return np.asarray(self.photograph.grey.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC, box=box)).reshape(
            -1
        )

    def features(self, random: np.random.Generator) -> NDArray[np.void]:
        """Return the local features inside of it, some bits of them changed."""
        if self.photograph.features is None:
            return np.empty(0, STORED)
        held = self.photograph.features.features
        left, top, right, bottom = (255 * end for end in self.box)
        inside = held[(held["x"] >= left) & (held["x"] <= right) & (held["y"] >= top) & (held["y"] <= bottom)].copy()
        bits = random.integers(64, size=(CHANGED_BITS, len(inside)), dtype=np.uint64)
        inside["code"] ^= np.bitwise_xor.reduce(np.uint64(1) << bits, axis=0)
        inside["x"] = (inside["x"] - left) / (right - left) * 255
        inside["y"] = (inside["y"] - top) / (bottom - top) * 255
        return inside


def drawn(photographs: Sequence[Photograph], count: int, random: np.random.Generator) -> list[Piece]:
    """Return so many pieces of photographs."""
    extents = random.uniform(LEAST_SHARE, MOST_SHARE, (count, 2))
    starts = (1 - extents) * random.random((count, 2))
    boxes = np.concatenate([starts, starts + extents], axis=1).tolist()
    rows = random.integers(len(photographs), size=count).tolist()
    return [Piece(photographs[row], tuple(box)) for row, box in zip(rows, boxes, strict=True)]


def add_crowd(state: Path, folder: Path, paths: Sequence[Path], count: int) -> None:
    """Add contents to the index of a daemon that does not run, in an album that is missing.

    All contents count as looked up.

    Parameters
    ----------
    state : Path
        Of the daemon.
    folder : Path
        The album; it is not made.
    paths : sequence of Path
        Photographs of the index, of which pieces are made.
    count : int
    """
    store = Store(state / "index.sqlite")
    store.open()
    try:
        photographs = _photographs(store, paths)
        store.albums.add(bytes(folder))
        (album_id,) = (album.id for album in store.albums.listed() if album.path == bytes(folder))
        for start in range(0, count, CHUNK):
            _add(store, album_id, photographs, range(start, min(count, start + CHUNK)))
        store.pairs.put_matched(store.contents.ids(), [])
    finally:
        store.close()


def _photographs(store: Store, paths: Sequence[Path]) -> list[Photograph]:
    contents = [store.contents.at_path(bytes(path)) for path in paths]
    ids = [content.id for content in contents if content is not None]
    looks, features = store.descriptors.of(LOOK, ids), store.descriptors.of(LOCAL, ids)
    return [
        Photograph(
            _small(path),
            looks[content.id],
            StoredFeatures.from_bytes(features[content.id]) if content.id in features else None,
        )
        for path, content in zip(paths, contents, strict=True)
        if content is not None
    ]


def _small(path: Path) -> Image.Image:
    with Image.open(path) as image:
        grey = image.convert("L")
    grey.thumbnail((SMALL_PX, SMALL_PX))
    return grey


def _add(store: Store, album_id: int, photographs: Sequence[Photograph], numbers: range) -> None:
    random = np.random.default_rng([SEED, numbers.start])
    changes: list[Indexed] = []
    looks: list[bytes] = []
    held: list[bytes] = []
    firsts, seconds = drawn(photographs, len(numbers), random), drawn(photographs, len(numbers), random)
    is_blend = random.random(len(numbers)) < BLENDED_SHARE
    for number, first, second, blended in zip(numbers, firsts, seconds, is_blend.tolist(), strict=True):
        vector, features = first.vector(), first.features(random)
        if blended:
            # Nearly half: a blend is no copy of either.
            mirrored = second.vector().reshape(SIDE_PX, SIDE_PX)[:, ::-1].reshape(-1)
            vector = ((vector.astype(np.uint16) + mirrored) // 2).astype(np.uint8)
            features = np.concatenate([features, second.features(random)])
        facts = Facts(
            hashlib.sha256(b"%d" % number).digest(), vector.tobytes(), 640, 480, "JPEG", extractor=PICTURES.extractor
        )
        changes.append(Indexed(album_id, b"%06d.jpg" % number, FileState(1000, number, number), facts))
        kept = random.permutation(features)[:STORED_FEATURES]
        has_features = first.photograph.features is not None
        looks.append(first.photograph.look)
        held.append(StoredFeatures(320, 240, kept).to_bytes() if has_features else b"")
    ids = [content_id for content_id, _ in store.files.apply(changes).added]
    store.descriptors.put(LOOK, dict(zip(ids, looks, strict=True)))
    store.descriptors.put(LOCAL, {row: kept for row, kept in zip(ids, held, strict=True) if kept})
