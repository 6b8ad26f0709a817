"""Albums as large as wanted: pieces of photographs, or of noise with the spectrum of photographs.

In: a folder of photographs, which may be missing.  Out: vectors, and pictures that can be edited.  Never here: what is
measured with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "photos"
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
SIDE_PX = 64
CANVAS_PX = 2048
SMALL_PX = 320

Vectors = NDArray[np.uint8]
Random = np.random.Generator


@dataclass(frozen=True)
class Piece:
    """A part of a photograph: left, top, right, bottom in pixels of the reduced photograph."""

    photograph: int
    box: tuple[float, float, float, float]


class Source:
    """Pictures without end: pieces of photographs, or of one large noise.

    Parameters
    ----------
    folder : Path
        Photographs, in folders of any depth.
    random : Random
    """

    def __init__(self, folder: Path, random: Random) -> None:
        self._random = random
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        self.photographs = [reduced(path) for path in files] or [Image.fromarray(canvas(random))]
        self.of_photographs = bool(files)

    def pieces(self, count: int) -> list[Piece]:
        """Return parts of photographs in turn, of a third to two thirds of the side."""
        shares = self._random.uniform(0.33, 0.66, (count, 2))
        at = self._random.random((count, 2))
        chosen = self._random.integers(len(self.photographs), size=count)
        found = []
        for photograph, share, offset in zip(chosen.tolist(), shares, at, strict=True):
            size = np.array(self.photographs[photograph].size)
            extent = size * share if self.of_photographs else np.array([SIDE_PX * 2, SIDE_PX * 2])
            start = (size - extent) * offset
            found.append(Piece(photograph, (*start.tolist(), *(start + extent).tolist())))
        return found

    def vectors(self, pieces: Sequence[Piece]) -> Vectors:
        """Return the (n, 4096) vectors of pieces."""
        made = np.empty((len(pieces), SIDE_PX * SIDE_PX), dtype=np.uint8)
        for row, piece in enumerate(pieces):
            grey = self.photographs[piece.photograph]
            small = grey.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS, box=piece.box)
            made[row] = np.asarray(small).reshape(-1)
        return made

    def image(self, piece: Piece) -> Image.Image:
        """Return a piece as a picture that can be edited."""
        left, top, right, bottom = (round(end) for end in piece.box)
        return self.photographs[piece.photograph].crop((left, top, right, bottom)).convert("RGB")


def reduced(path: Path) -> Image.Image:
    """Return a photograph in grey, small enough for all to lie in memory."""
    with Image.open(path) as image:
        image.draft("L", (SMALL_PX, SMALL_PX))
        grey = image.convert("L")
    grey.thumbnail((SMALL_PX, SMALL_PX))
    return grey


def canvas(random: Random) -> NDArray[np.uint8]:
    """Return a large picture whose amplitude falls off as one over frequency."""
    frequency = np.hypot(np.fft.fftfreq(CANVAS_PX)[:, None], np.fft.rfftfreq(CANVAS_PX)[None])
    frequency[0, 0] = 1
    waves = np.fft.irfft2(np.fft.rfft2(random.normal(size=(CANVAS_PX, CANVAS_PX))) / frequency)
    return np.asarray(np.clip(128 + 45 * waves / waves.std(), 0, 255), dtype=np.uint8)


def blended(vectors: Vectors, count: int, random: Random) -> Vectors:
    """Return (count, 4096) blends of two of some vectors, one of them mirrored."""
    rows, blended_rows = random.integers(len(vectors), size=(2, count))
    return np.asarray((vectors[rows].astype(np.uint16) * 2 + vectors[blended_rows, ::-1]) // 3, dtype=np.uint8)
