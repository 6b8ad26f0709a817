"""Other shots of one scene, by local features: how many of what features find is called a copy.

In: a folder of photographs of which no two are copies.  Out: counts of what became of the candidates.  Never here: what
the vectors call copies (`look`), edits (`accuracy`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from _album import PHOTOS, SEED
from numpy.typing import NDArray
from PIL import Image

from cbir_daemon.duplicates.places import READ_SIDE_PX, looked_in_place, placed_contents
from cbir_daemon.local_features import ASKED_SIDE_PX, STORED_SIDE_PX
from cbir_daemon.local_features.extraction import asked_features, load, stored_features
from cbir_daemon.matching.grey64 import GREY64
from cbir_daemon.records import DescriptorKind
from cbir_daemon.search.feature_lists import FeatureIndex


class Shots:
    """Photographs that are read, and whose features are asked for, as those of a daemon."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self._features = [stored_features(grey_of(path, STORED_SIDE_PX)) for path in paths]
        self.index = FeatureIndex()
        self.index.add(list(enumerate(self._features)))
        self.without = -1
        """Row of the photograph that is asked for, which the album does not have."""

    def of(self, _: DescriptorKind, rows: Sequence[int], /) -> dict[int, bytes]:
        """Return the features of photographs, as `store.descriptors` does."""
        return {row: self._features[row].to_bytes() for row in rows if row != self.without}

    def picture(self, row: int, side_px: int, /) -> NDArray[np.uint8]:
        """Return the picture of a photograph, (height, width)."""
        return grey_of(self.paths[row], side_px)


def grey_of(path: Path, side_px: int) -> NDArray[np.uint8]:
    """Return the grey picture, (height, width), that the daemon would read."""
    with Image.open(path) as image:
        grey = image.convert("L")
    grey.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return np.asarray(grey, dtype=np.uint8)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=PHOTOS / "shots")
@click.option("--queries", default=250, show_default=True, help="Photographs that are asked for.")
def shots(folder: Path, queries: int) -> None:
    """Ask for photographs in an album of all others of FOLDER."""
    load()
    assert GREY64.second_look is not None
    assert GREY64.picture_parts is not None
    album = Shots(sorted(folder.glob("*.jpg")))
    counts: Counter[str] = Counter()
    for row in np.random.default_rng(SEED).permutation(len(album.paths))[:queries].tolist():
        album.without = row
        placed = placed_contents(album.index, album, asked_features(grey_of(album.paths[row], ASKED_SIDE_PX)))
        counts["aligned"] += len(placed)
        picture = album.picture(row, READ_SIDE_PX)
        for match in looked_in_place(placed, picture, album.picture, GREY64.second_look, GREY64.picture_parts):
            counts[match.kind] += 1
            if match.kind == "copy":
                click.echo(f"copy: {album.paths[row].name} {album.paths[match.content_id].name} {match.score}")
    click.echo(f"{queries} of {len(album.paths)} photographs: {dict(counts)}")
