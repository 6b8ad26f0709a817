"""The photographs that the benchmarks of matching ask for.

In: folders (by default those beside the checkout).  Out: files and vectors, in an order that a seed gives.  Never here:
what is done to photographs (`_edits`), who finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "photos"
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
SEED = 7

Vectors = NDArray[np.uint8]


def vector_of(image: Image.Image) -> Vectors:
    """Return the 4096 grey numbers of an image, made as the daemon makes them."""
    image.draft("L", (128, 128))
    grey = ImageOps.exif_transpose(image).convert("L")
    return np.asarray(grey.resize((64, 64), Image.Resampling.LANCZOS, reducing_gap=3.0), dtype=np.uint8).reshape(-1)


@dataclass(frozen=True)
class Album:
    """All photographs of some folders, those of the first folder first.

    Parameters
    ----------
    files : tuple of Path
    first : int
        How many of them are in the first folder.
    """

    files: tuple[Path, ...]
    first: int

    @classmethod
    def open(cls, folders: Sequence[Path]) -> Album:
        """Return the album of some folders, or of those beside the checkout when there are none."""
        groups = [
            sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
            for folder in folders or (PHOTOS / "bsds", PHOTOS / "clothing")
        ]
        if not groups[0]:
            raise click.ClickException("no photographs there; name folders that have some")
        return cls(tuple(path for group in groups for path in group), len(groups[0]))

    def __len__(self) -> int:
        return len(self.files)

    @cached_property
    def vectors(self) -> Vectors:
        """(n, 4096) numbers of all photographs."""
        return np.stack([vector_of(Image.open(path)) for path in self.files])

    def image(self, row: int) -> Image.Image:
        """Return one photograph in colour."""
        return ImageOps.exif_transpose(Image.open(self.files[row]).convert("RGB"))

    def queries(self, count: int) -> list[int]:
        """Return rows to edit and ask for: half of them from the first folder, the others from all."""
        random = np.random.default_rng(SEED)
        first_half = random.permutation(self.first)[: count // 2]
        return [
            *first_half.tolist(),
            *random.choice(len(self), min(count - len(first_half), len(self)), replace=False).tolist(),
        ]

    def strangers(self, count: int) -> list[int]:
        """Return rows to ask for in an album without them, from the first folder as far as it goes."""
        order = [*range(self.first), *range(self.first, len(self))]
        return order[:count]
