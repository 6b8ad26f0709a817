"""How many planted copies become pairs, and how many strangers do, beside czkawka and findimagedupes.

An album of photographs gets edited copies of some of them, and bursts: two crops each of photographs that are not in
it themselves, shifted by more than half of their width.  A pair of an edit and its photograph is right; every other
pair is wrong, also one of two photographs that merely look alike.
"""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np
from _edits import EDITS
from _finders import (
    CZKAWKA_TOLERANCE,
    FINDIMAGEDUPES_LIKENESS,
    Cost,
    Finder,
    by_cbir,
    by_czkawka,
    by_findimagedupes,
    has_findimagedupes,
    measured,
)
from _planted import Pair, Planted, report
from PIL import Image

PHOTOS = Path(__file__).parents[3] / "shared" / "photos"
SUFFIXES = (".jpg", ".jpeg", ".png")
SEED = 20_261_122
QUALITY = 90

BURST_WIDTH, BURST_SHIFT = 0.55, 0.45
"""Shares of a photograph's width: two crops of a burst have 18 % of their area in common."""

SAME: tuple[tuple[str, str], ...] = (
    ("train_dress_b59e4d4a-a283-4868-8a81-2f24d8b9c8d8.jpg", "train_dress_e6a8b33f-279c-4072-8dba-229d94205e55.jpg"),
)
"""Photographs of the collections at hand of which one is a crop of the other, as everybody sees who looks at them.

A pair of them is neither right nor wrong, whoever finds it.
"""


def plant(folder: Path, photographs: Sequence[Path], edits: int, bursts: int) -> Planted:
    """Write an album; no photograph has two edits, or an edit and a burst."""
    random = np.random.default_rng(SEED)
    album = Planted(folder)
    names = {path: f"{number:05d}{path.suffix.lower()}" for number, path in enumerate(photographs)}
    order = [photographs[row] for row in random.permutation(len(photographs))]
    in_bursts, sources = order[:bursts], order[bursts : bursts + edits]
    for path in set(photographs) - set(in_bursts):
        shutil.copyfile(path, folder / names[path])
    for number, path in enumerate(in_bursts):
        for part, crop in enumerate(crops(Image.open(path).convert("RGB"))):
            crop.save(folder / f"burst-{number:04d}-{part}.jpg", quality=QUALITY)
    for number, (path, edit) in enumerate(zip(sources, itertools.cycle(EDITS), strict=False)):
        name = f"edit-{number:04d}.jpg"
        EDITS[edit](Image.open(path).convert("RGB"), random).convert("RGB").save(folder / name, quality=QUALITY)
        album.edits[name] = (names[path], edit)
    by_name = {path.name: name for path, name in names.items()}
    album.same = {frozenset(by_name.get(name, name) for name in pair) for pair in SAME}
    album.files = sum(1 for _ in folder.iterdir())
    return album


def crops(image: Image.Image) -> Iterator[Image.Image]:
    """Yield the two pictures of a burst."""
    for shift in (0.0, BURST_SHIFT):
        yield image.crop((round(shift * image.width), 0, round((shift + BURST_WIDTH) * image.width), image.height))


# -- the table ---------------------------------------------------------------------------------------------------------


def row(name: str, found: set[Pair], album: Planted, cost: Cost) -> str:
    """Return a line of the table."""
    right = len(found & album.right)
    precision = right / len(found) if found else 1.0
    recall = right / len(album.right)
    shares, seconds = f"{precision:.4f} | {recall:.3f}", f"{cost.wall_s:.0f} | {cost.cpu_s:.0f}"
    return f"| {name} | {right} | {len(found) - right} | {shares} | {seconds} |"


@click.command()
@click.argument("photos", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--edits", default=1_000, show_default=True, help="Edited copies that are planted.")
@click.option("--bursts", default=200, show_default=True, help="Photographs of which two shifted crops are planted.")
@click.option("--album", type=click.Path(file_okay=False, path_type=Path), help="Keep the album in this new folder.")
@click.option("--peers/--no-peers", default=True, help="Whether to measure the peers.")
def duplicates(photos: Sequence[Path], edits: int, bursts: int, album: Path | None, *, peers: bool) -> None:
    """Print precision and recall of pairs in an album of the photographs below PHOTOS."""
    folders = photos or (PHOTOS / "bsds", PHOTOS / "clothing")
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    finders: dict[str, Finder] = {"cbir": by_cbir}
    if peers:
        finders[f"czkawka, tolerance {CZKAWKA_TOLERANCE}"] = by_czkawka
        if has_findimagedupes():
            finders[f"findimagedupes, {FINDIMAGEDUPES_LIKENESS}"] = by_findimagedupes
        else:
            click.echo("findimagedupes is not installed", err=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = album or Path(scratch, "album")
        folder.mkdir(parents=True)
        planted = plant(folder, files, edits, bursts)
        click.echo(f"{planted.files} files, {len(planted.right)} right pairs, {bursts} bursts", err=True)
        click.echo("| finder | right pairs | wrong pairs | precision | recall | seconds | processor |")
        click.echo("|---|---|---|---|---|---|---|")
        results = {}
        for name, finder in finders.items():
            cost = measured(finder, folder)
            found = planted.counted(cost.found)
            click.echo(row(name, found, planted, cost))
            results[name] = sorted(map(sorted, found))
            report(name, found, planted)
        if album is not None:
            (album.parent / f"{album.name}.json").write_text(json.dumps(results))
