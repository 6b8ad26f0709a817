"""Pictures inside other things: how often the one that is shown is found, and how often a stranger passes.

In: folders of photographs.  Out: for each way to place a photograph the share found first and called a copy, by the
whole query alone and with its parts; what was called a copy of a stranger; the cost.  Never here: edits of the whole
picture (`accuracy`).

Every placed photograph is in the album in one half of the queries and left out of it in the other: there each copy is
wrong.  `templates` are screenshots of one program, each with a photograph of its own, some of them in the album.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np
from _album import SEED, Album, vector_of
from _hard import (
    HardEdit,
    in_a_template,
    in_perspective,
    on_a_page,
    onto_another,
    padded,
    skewed,
    squared,
    turned_between,
)
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from cbir_daemon import matching
from cbir_daemon.duplicates.exposures import seen_between
from cbir_daemon.matching.grey64 import GREY64, Parallax, Parts
from cbir_daemon.medium import Seen
from cbir_daemon.search import Collection
from cbir_daemon.search.parts import PARTS_SIDE_PX, copies_in_parts, copies_in_turned_parts
from cbir_daemon.search.search import Found, Search
from cbir_daemon.search.snapshot import SearchSnapshot

PLACINGS: dict[str, HardEdit] = {
    "on a page with text": on_a_page,
    "onto another picture": onto_another,
    "pad 10 to 35 %": padded,
    "padded to a square": squared,
    "turn by any angle": turned_between(0, 180),
    "skew": skewed,
    "perspective": in_perspective,
}

PARTS = Parts()


class Stored:
    """An album in memory that is searched as the daemon searches its own."""

    def __init__(self, image: Callable[[int], Image.Image], vectors: NDArray[np.uint8]) -> None:
        self._image = image
        self._vectors = vectors
        collection = Collection(GREY64)
        collection.add(range(len(vectors)), vectors)
        self.search = Search(SearchSnapshot(collection.snapshot(), None), self)

    def vectors(self, content_ids: Sequence[int], /) -> dict[int, bytes]:
        """Return the vectors of contents, which are rows."""
        return {row: self._vectors[row].tobytes() for row in content_ids}

    def copies(self, query: Image.Image, *, parts: bool) -> list[Found]:
        """Return what a query is called a copy of, after a look at the pictures."""
        vector = vector_of(query)
        found = self._looked(query, self.search.copies(vector.tobytes()))
        if found or not parts:
            return found
        picture = grey_of(query, PARTS_SIDE_PX)
        return self._looked(
            query, copies_in_parts(self.search, picture) or copies_in_turned_parts(self.search, picture)
        )

    def _looked(self, query: Image.Image, found: list[Found]) -> list[Found]:
        return [copy for copy in found if self._seen(query, copy) is not Seen.SHOT]

    def _seen(self, query: Image.Image, copy: Found) -> Seen:
        stored = grey_of(self._image(copy.content_id), matching.LOOK_SIDE_PX)
        vector = self._vectors[copy.content_id].tobytes()
        if copy.compared is None:
            return seen_between(
                Parallax(), vector_of(query).tobytes(), grey_of(query, matching.LOOK_SIDE_PX), vector, stored
            )
        picture = grey_of(query, PARTS_SIDE_PX)
        shown = PARTS.part_picture(picture, copy.compared, matching.LOOK_SIDE_PX)
        return seen_between(Parallax(), PARTS.part_vector(picture, copy.compared).tobytes(), shown, vector, stored)


def grey_of(image: Image.Image, side_px: int) -> NDArray[np.uint8]:
    """Return the grey picture that the daemon would read."""
    grey = image.convert("L")
    grey.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return np.asarray(grey, dtype=np.uint8)


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--queries", default=60, show_default=True, help="For each placing; as many of strangers.")
def parts(folders: tuple[Path, ...], queries: int) -> None:
    """Print how often a picture inside something is found, and how often a stranger passes."""
    album = Album.open(folders)
    random = np.random.default_rng(SEED)
    order = random.permutation(album.first).tolist()
    strangers, present = order[:queries], order[queries : 2 * queries]
    away = set(order[: queries + queries // 2])
    rows = [row for row in range(len(album)) if row not in away or row in present]
    stored = Stored(lambda number: album.image(rows[number]), album.vectors[rows])
    click.echo(
        "| placing | found by the whole | with parts | strangers called copies, whole / parts | ms, whole / parts |"
    )
    click.echo("|---|---|---|---|---|")
    with threadpool_limits(1):
        for name, placing in PLACINGS.items():
            _row(name, placing, album, stored, rows, (present, strangers))
        _templates(album, strangers, present)


def _row(
    name: str, placing: HardEdit, album: Album, stored: Stored, rows: list[int], asked: tuple[list[int], list[int]]
) -> None:
    present, strangers = asked
    found, wrong, took_s = [0, 0], [0, 0], [0.0, 0.0]
    for row in (*present, *strangers):
        random = np.random.default_rng([SEED, row])
        another = album.image(strangers[int(random.integers(len(strangers)))])
        query = placing(album.image(row), another, random)
        for parts in (False, True):
            before = time.process_time()
            copies = stored.copies(query, parts=parts)
            took_s[parts] += time.process_time() - before
            hits = [rows[copy.content_id] == row for copy in copies]
            found[parts] += bool(hits and hits[0])
            wrong[parts] += not all(hits)
    count = len(present) + len(strangers)
    click.echo(
        f"| {name} | {found[0] / len(present):.2f} | {found[1] / len(present):.2f} | {wrong[0]} / {wrong[1]}"
        f" | {1e3 * took_s[0] / count:.0f} / {1e3 * took_s[1] / count:.0f} |"
    )


def _templates(album: Album, strangers: list[int], present: list[int]) -> None:
    """Ask for screenshots of a program whose other screenshots are in the album."""
    for count in (1, len(present)):
        shown = [in_a_template(album.image(row)) for row in present[:count]]
        stored = Stored(shown.__getitem__, np.stack([vector_of(image) for image in shown]))
        wrong = [0, 0]
        for row in strangers:
            for parts in (False, True):
                wrong[parts] += bool(stored.copies(in_a_template(album.image(row)), parts=parts))
        click.echo(f"| templates, {count} in the album | - | - | {wrong[0]} / {wrong[1]} of {len(strangers)} | - |")
