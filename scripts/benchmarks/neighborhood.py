"""What the map's neighbourhood holds, beside plain vector search.

In: photographs (by default those beside the checkout), and crops of them.  Out: two tables.  Never here: time and
memory of fits (`model`), whether copies are found (`accuracy`).

`similar` looks at the neighbourhood on the map and ranks that by the vectors.  First table: the share of the 10
true nearest in this neighbourhood, nearest by codes (which is the recall of the map) or by whole vectors, beside plain
search by codes.  Second table: edits of photographs in the collection; whether the original is in the neighbourhood on
the map, and in that by codes.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from _album import Album
from _edits import EDITS
from _maps import SEED, TIMEOUT_S, fit, random_crops
from numpy.typing import NDArray
from PIL import Image

from cbir_daemon.config.settings import EFFICIENTNET_LITE0, MAP_FEATURES, MEANING
from cbir_daemon.map import Projector
from cbir_daemon.map.environment import CACHE_FOLDER
from cbir_daemon.map.neighbors import NEAREST, nearest, nearest_to_rows
from cbir_daemon.map.points import Points, to_points
from cbir_daemon.map.quality import recall
from cbir_daemon.matching import GREY64
from cbir_daemon.meaning import meaning_space
from cbir_daemon.meaning.descriptors import descriptor_of, tables
from cbir_daemon.meaning.kept import make_network
from cbir_daemon.meaning.running import SIDE_PX, Network
from cbir_daemon.medium import MapSpace, Metric
from cbir_daemon.pictures.file_reader import FILE_READER
from cbir_daemon.pictures.pixels import read_colour
from cbir_daemon.records import DescriptorKind
from cbir_daemon.search.neighborhood import neighborhood_width
from cbir_daemon.system.child import THREAD_VARIABLES

HELD_OUT_SHARE = 10
MOST_HELD_OUT = 500
LOOKED_AT = 1_000
EDITED = 60
MAX_PIXELS = 100_000_000


@click.command()
@click.option("--size", default=2_500, show_default=True, help="Images; more than there are photographs are crops.")
@click.option("--edits/--no-edits", default=True, show_default=True, help="Whether edits are looked for.")
@click.option("--min-dist", default=0.0, show_default=True, help="Of the map.")
@click.option("--threads", default=2, show_default=True)
@click.option("--features", type=click.Choice(MAP_FEATURES), default=MAP_FEATURES[0], show_default=True, help="Space.")
@click.option("--album", "folders", multiple=True, type=click.Path(exists=True, path_type=Path), help="Photographs.")
def neighborhood(
    size: int, edits: bool, min_dist: float, threads: int, features: str, folders: tuple[Path, ...]
) -> None:
    """Fit a map of SIZE images and look at neighbourhoods."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    album = Album.open(folders)
    are_photographs = size <= len(album)
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        network = open_network(models) if features == MEANING else None
        if are_photographs:
            vectors, descriptors = described(album.files[:size], network)
        else:
            vectors = random_crops(shrunk(album), size)
            descriptors = np.zeros((size, 0), np.uint8)
        space = space_of(features if are_photographs else "grey")
        codes = space.codes(vectors, descriptors)
        os.environ.setdefault("NUMBA_CACHE_DIR", str(models / CACHE_FOLDER))
        order = np.random.default_rng(SEED).permutation(len(vectors))
        held_out = min(MOST_HELD_OUT, len(vectors) // HELD_OUT_SHARE)
        fitted_rows = np.sort(order[held_out:])
        views = Views(
            codes[fitted_rows],
            codes[order[:held_out]],
            vectors[fitted_rows],
            vectors[order[:held_out]],
            metric=space.metric,
        )
        result = fit(
            views.points.rows,
            models,
            threads=threads,
            n_components=None,
            min_dist=min_dist,
            code_version=space.version,
            metric=space.metric,
        ).result
        report = result.report
        click.echo(
            f"{len(fitted_rows):,} {'photographs' if are_photographs else 'crops'} by {space.version}, "
            f"{held_out} held out: n_neighbors={report.n_neighbors}, n_components={report.n_components}, "
            f"min_dist={min_dist:g}"
        )
        projector = Projector(models, report.artifact, report.sha256, idle_s=TIMEOUT_S, threads=threads)
        try:
            projected = projector.place(views.queries.rows, TIMEOUT_S, measured=True)
            views.show(result.positions, projected.positions)
            click.echo(f"(as the worker measured it: {projected.recalls.mean():.3f})")
            if edits and are_photographs:
                show_edits(Edited(album, space, projector, network), fitted_rows, views.points, result.positions)
        finally:
            projector.close()


class Views:
    """Fitted and held-out images, as codes and as whole vectors.

    Parameters
    ----------
    codes, query_codes : (n, f) ndarray of float32
    fitted, held_out : (n, 4096) ndarray of uint8
    metric : Metric
        Of the codes.
    """

    def __init__(
        self,
        codes: NDArray[np.float32],
        query_codes: NDArray[np.float32],
        fitted: NDArray[np.uint8],
        held_out: NDArray[np.uint8],
        metric: Metric,
    ) -> None:
        self.points = to_points(codes, metric)
        self.queries = to_points(query_codes, metric)
        self._whole, self._whole_queries = whole(fitted), whole(held_out)
        every = max(1, len(fitted) // LOOKED_AT)
        self._own = np.arange(0, len(fitted), every)

    def show(self, positions: NDArray[np.float32], projected: NDArray[np.float32]) -> None:
        """Print the share of the true nearest in the map's neighbourhood, and in that of the codes.

        Parameters
        ----------
        positions : (n, d) ndarray of float32
            Of the fitted images on the map.
        projected : (m, d) ndarray of float32
            Of the held-out images on the map.
        """
        own, width = self._own, width_of(len(self.points))
        click.echo(f"{'the 10 nearest by':<22}{'looked for in':<26}{'fitted':>8}{'held out':>10}")
        for truth, points, queries in (
            ("codes", self.points, self.queries),
            ("whole vectors", self._whole, self._whole_queries),
        ):
            true = nearest_to_rows(points, own, NEAREST)
            true_held_out = nearest(points, queries, NEAREST)
            for where, places, asked in (
                ("1 % of the map", positions, projected),
                ("1 % by codes", self.points.rows, self.queries.rows),
                ("10 nearest of the map", positions, projected),
            ):
                looked_at = NEAREST if where.startswith("10") else width
                fitted_share = float(recall(places, places[own], true.ids, own=own, width=looked_at).mean())
                share = float(recall(places, asked, true_held_out.ids, width=looked_at).mean())
                click.echo(f"{truth:<22}{where:<26}{fitted_share:>8.3f}{share:>10.3f}")


@dataclass(frozen=True)
class Edited:
    """What edits are made of, and how they are placed on the map."""

    album: Album
    space: MapSpace
    projector: Projector
    network: Network | None


def show_edits(edited: Edited, fitted_rows: NDArray[np.intp], points: Points, positions: NDArray[np.float32]) -> None:
    """Print for each kind of edit how often its original is in the neighbourhood of the map, and of the codes.

    Parameters
    ----------
    edited : Edited
    fitted_rows : (n,) ndarray of intp
        Images of the album that were fitted; `EDITED` of them are edited.
    points : (n, f) Points
        Of their codes.
    positions : (n, d) ndarray of float32
        Their positions on the map.
    """
    asked = np.random.default_rng(SEED).choice(len(fitted_rows), EDITED, replace=False)
    width = width_of(len(points))
    click.echo(f"{'edit (share of originals)':<32}{'map':>7}{'codes':>7}{'map only':>10}{'codes only':>12}")
    totals: list[NDArray[np.bool_]] = []
    for name, edit in EDITS.items():
        draw = np.random.default_rng(SEED)
        codes = codes_of_edits([edit(edited.album.image(int(fitted_rows[row])), draw) for row in asked], edited)
        on_map = holds(positions, edited.projector.project(codes, TIMEOUT_S), asked, width)
        near = nearest(points, to_points(codes, points.metric), width)
        by_codes = (near.ids == asked[:, np.newaxis]).any(axis=1)
        totals.append(np.stack([on_map, by_codes]))
        say_shares(name, on_map, by_codes)
    on_map, by_codes = np.concatenate(totals, axis=1)
    say_shares("all", on_map, by_codes)


def say_shares(name: str, on_map: NDArray[np.bool_], by_codes: NDArray[np.bool_]) -> None:
    """Print one line of the second table.

    Parameters
    ----------
    name : str
        Of the edit.
    on_map, by_codes : (n,) ndarray of bool
        Whether the original of each edited image was in the neighbourhood.
    """
    shares = (on_map.mean(), by_codes.mean(), (on_map & ~by_codes).mean(), (by_codes & ~on_map).mean())
    click.echo(f"{name:<32}{shares[0]:>7.2f}{shares[1]:>7.2f}{shares[2]:>10.3f}{shares[3]:>12.3f}")


def holds(
    positions: NDArray[np.float32], queries: NDArray[np.float32], rows: NDArray[np.intp], width: int
) -> NDArray[np.bool_]:
    """Return whether each query has its row among the nearest `width`.

    Parameters
    ----------
    positions : (n, d) ndarray of float32
    queries : (m, d) ndarray of float32
    rows : (m,) ndarray of intp
        The row of `positions` that each query should find.
    width : int
        1 to n.

    Returns
    -------
    (m,) ndarray of bool
    """
    found = [
        row in np.argpartition(((positions - query) ** 2).sum(axis=1), width - 1)[:width]
        for row, query in zip(rows, queries, strict=True)
    ]
    return np.array(found)


def width_of(images: int) -> int:
    """Return how many images `similar` looks at."""
    return neighborhood_width(images, NEAREST)


def whole(vectors: NDArray[np.uint8]) -> Points:
    """Return whole vectors free of brightness and contrast, as points.

    Parameters
    ----------
    vectors : (n, 4096) ndarray of uint8

    Returns
    -------
    (n, 4096) Points
    """
    numbers = vectors.astype(np.float32)
    numbers -= numbers.mean(axis=1, keepdims=True)
    numbers /= np.maximum(np.linalg.norm(numbers, axis=1, keepdims=True), 1e-6)
    return to_points(numbers)


def shrunk(album: Album) -> list[Image.Image]:
    """Return the photographs of an album, grey and small."""
    images = []
    for row in range(len(album)):
        image = Image.open(album.files[row])
        image.draft("L", (256, 256))
        images.append(image.convert("L"))
    return images


def space_of(features: str) -> MapSpace:
    """Return the space that a setting names."""
    if features == MEANING:
        return meaning_space(DescriptorKind(MEANING, EFFICIENTNET_LITE0))
    return GREY64.spaces[features]


def open_network(folder: Path) -> Network:
    """Return the network that tells what pictures show; its file is made in a folder."""
    return Network(make_network(folder).path.read_bytes(), keeps_shape=True)


def described(files: Sequence[Path | bytes], network: Network | None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the (n, 4096) vectors and the (n, d) descriptors of image files, or of the bytes of some.

    Parameters
    ----------
    files : sequence of Path or bytes
    network : Network or None
        Describes what they show; without one, descriptors say how they look.
    """
    contents = [file if isinstance(file, bytes) else file.read_bytes() for file in files]
    readings = [FILE_READER.read(content, MAX_PIXELS) for content in contents]
    vectors, looks = (
        np.frombuffer(b"".join(rows), np.uint8).reshape(len(readings), -1)
        for rows in ([reading.vector for reading in readings], [reading.descriptor for reading in readings])
    )
    if network is None:
        return vectors, looks
    pictures = (np.asarray(read_colour(content, MAX_PIXELS, SIDE_PX)) for content in contents)
    rows = np.stack([descriptor_of(network.features(picture), tables()) for picture in pictures])
    return vectors, rows.view(np.uint8)


def codes_of_edits(images: Sequence[Image.Image], edited: Edited) -> NDArray[np.float32]:
    """Return the codes of images that are in no file."""
    files = []
    for image in images:
        with io.BytesIO() as file:
            image.save(file, "PNG", compress_level=0)
            files.append(file.getvalue())
    return edited.space.codes(*described(files, edited.network))
