"""Makes the tables by which a descriptor of a local feature becomes bits and a word.

In: folders of photographs whose licences allow it.  Out: `local_features/tables.npz`.  Never here: what the tables are
worth (`accuracy --local`).

Those in the package are of the first thousand photographs of `clothing` (CC0) and all of `shots` (MIT).

References
----------
Gong, Lazebnik: Iterative quantization, CVPR 2011.
"""

from __future__ import annotations

from pathlib import Path

import click
import faiss
import numpy as np
from _album import PHOTOS, SEED
from numpy.typing import NDArray
from PIL import Image

from cbir_daemon.local_features import STORED_SIDE_PX, WORDS
from cbir_daemon.local_features.extraction import TABLES_PATH, described
from cbir_daemon.local_features.layout import STORED_FEATURES

BITS = 64
MOST_PHOTOGRAPHS = 1_000
"""Of each folder."""

TURNS = 50
"""Rounds of iterative quantization."""

SAMPLE = 60_000
"""Descriptors that the turn is found with."""

ROUNDS, OF_A_WORD = 12, 60
"""Rounds of k-means, and descriptors for each word."""

Floats = NDArray[np.float32]


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=TABLES_PATH, show_default=True)
def tables(folders: tuple[Path, ...], out: Path) -> None:
    """Make the tables of local features from photographs."""
    descriptors = np.concatenate(
        [
            described(picture_of(path), STORED_FEATURES).descriptors
            for folder in folders or (PHOTOS / "clothing", PHOTOS / "shots")
            for path in sorted(folder.glob("*.jpg"))[:MOST_PHOTOGRAPHS]
        ]
    )
    random = np.random.default_rng(SEED)
    mean = descriptors.mean(axis=0)
    centred = descriptors - mean
    projection = turned_to_bits(centred, random)
    words = faiss.Kmeans(BITS, WORDS, niter=ROUNDS, seed=SEED + 1, max_points_per_centroid=OF_A_WORD)
    words.train(np.ascontiguousarray(centred @ projection))
    np.savez_compressed(out, mean=mean, projection=projection, words=words.centroids.astype(np.float16))
    click.echo(f"{len(descriptors)} descriptors, {out.stat().st_size} bytes")


def picture_of(path: Path) -> NDArray[np.uint8]:
    """Return the grey picture, (height, width), in which the features of a content are found."""
    with Image.open(path) as image:
        grey = image.convert("L")
    grey.thumbnail((STORED_SIDE_PX, STORED_SIDE_PX), Image.Resampling.LANCZOS)
    return np.asarray(grey)


def turned_to_bits(centred: Floats, random: np.random.Generator) -> Floats:
    """Return the projection onto principal components, turned until signs keep distances best.

    Parameters
    ----------
    centred : (n, 128) ndarray of float32
    random : Generator

    Returns
    -------
    (128, BITS) ndarray of float32
    """
    _, directions = np.linalg.eigh(np.cov(centred.T))
    principal = directions[:, ::-1][:, :BITS]
    sample = centred[random.permutation(len(centred))[:SAMPLE]] @ principal
    turn, _ = np.linalg.qr(random.standard_normal((BITS, BITS)))
    for _ in range(TURNS):
        left, _, right = np.linalg.svd(np.sign(sample @ turn).T @ sample)
        turn = (left @ right).T
    return np.asarray(principal @ turn, dtype=np.float32)
