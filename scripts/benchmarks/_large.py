"""Photographs of 12 megapixels, made of small ones.

In: photographs.  Out: larger ones.  Never here: what is measured.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

TWELVE_MEGAPIXELS = (4000, 3000)
SENSOR_NOISE = 4.0
QUALITY = 90

OLD_S = 1_500_000_000
"""Long ago: what was just written is not read before it has been left alone for a while."""


def enlarged(photograph: Image.Image) -> Image.Image:
    """Return a photograph of 12 megapixels with the noise of a sensor, without which it would pack too well.

    Parameters
    ----------
    photograph : Image
        In RGB.
    """
    large = np.asarray(photograph.resize(TWELVE_MEGAPIXELS, Image.Resampling.LANCZOS), np.float32)
    noise = np.random.default_rng(1).normal(0, SENSOR_NOISE, large.shape[:2]).astype(np.float32)
    return Image.fromarray(np.clip(large + noise[..., None], 0, 255).astype(np.uint8))


def written_large(files: Sequence[Path], folder: Path) -> list[Path]:
    """Write a JPEG of 12 megapixels of each photograph, and return their paths.

    Parameters
    ----------
    files : sequence of Path
    folder : Path
        Is made.
    """
    folder.mkdir()
    paths = []
    for number, path in enumerate(files):
        paths.append(folder / f"{number:04d}.jpg")
        with Image.open(path) as image:
            enlarged(image.convert("RGB")).save(paths[-1], quality=QUALITY)
        os.utime(paths[-1], (OLD_S, OLD_S))
    return paths
