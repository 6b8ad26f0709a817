"""What descriptors of meaning find, and what they cost; with `--make-tables`, the tables that make them.

In: photographs with a name before the number (`Lime_005.jpg`), and others.  Out: precision by name, milliseconds, MiB;
or `meaning/tables.npz`.  Never here: how matches are ranked (`similar`).

A table projects features onto principal components.  Their covariance is that of two sets of photographs, each with the
same weight, and of the classes that the network was trained on: what it tells apart there is worth keeping of pictures
that neither set has.  A component is divided by a power of its variance, so that the first do not say everything.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from _album import PHOTOS, SEED
from numpy.typing import NDArray

from cbir_daemon.config.settings import EFFICIENTNET_LITE0
from cbir_daemon.meaning import NUMBERS, Meaning, units
from cbir_daemon.meaning.descriptors import TABLES_PATH, Tables, descriptor_of, tables
from cbir_daemon.meaning.kept import make_network
from cbir_daemon.meaning.running import SIDE_PX, Network
from cbir_daemon.meaning.weights import read_tensors, weights_path
from cbir_daemon.pictures.pixels import read_colour

CLASSES_SHARE = 0.25
"""Of the covariance, what is of the network's classes."""

EVENING = 0.2
"""Power of its variance that a component is divided by: 0 keeps distances, 0.5 makes all components alike."""

MATCHES = 10
DIVISIONS = 5
"""Ways to divide the names into those that tables see and those that they are asked for."""

BINS = (-1.0, 0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 1.001)

TIMED = 200
"""Photographs that the process is timed with."""

MAX_PIXELS = 50_000_000

Floats = NDArray[np.float32]
Names = NDArray[np.str_]


@click.command()
@click.option("--make-tables", is_flag=True, help="Make the tables of the package, and measure with them.")
@click.option("--named", type=click.Path(exists=True, path_type=Path), default=PHOTOS / "shots", show_default=True)
@click.option("--more", type=click.Path(exists=True, path_type=Path), default=PHOTOS / "clothing", show_default=True)
def meaning(make_tables: bool, named: Path, more: Path) -> None:
    """Ask for the photographs of NAMED among each other."""
    files = sorted(named.glob("*.jpg"))
    names = np.array([path.stem.rpartition("_")[0] for path in files])
    with tempfile.TemporaryDirectory() as folder:
        network = Network(make_network(Path(folder)).path.read_bytes(), keeps_shape=True)
        features = features_of(network, files)
        others = features_of(network, sorted(more.glob("*.jpg")))
        if make_tables:
            write_tables(tables_of([others, features], class_covariance()))
        say_precision(features, others, names)
        say_cost(Path(folder), files[:: max(1, len(files) // TIMED)])


def features_of(network: Network, files: Sequence[Path]) -> Floats:
    """Return the (n, 1280) features of photographs, read as the daemon reads them."""
    pictures = (np.asarray(read_colour(path.read_bytes(), MAX_PIXELS, SIDE_PX)) for path in files)
    return np.stack([network.features(picture) for picture in pictures])


def class_covariance() -> NDArray[np.float64]:
    """Return the (1280, 1280) covariance of the weights by which the network tells its classes apart."""
    path = weights_path()
    if path is None:
        raise click.ClickException("the weights of EfficientNet-Lite0 are not installed")
    with path.open("rb") as file:
        return covariance(read_tensors(file)["_fc.weight"])


def covariance(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return the covariance of columns, of trace 1.

    Parameters
    ----------
    rows : (n, d) ndarray
    """
    found = np.cov(rows.astype(np.float64).T)
    return np.asarray(found / np.trace(found))


def tables_of(sets: Sequence[Floats], classes: NDArray[np.float64]) -> Tables:
    """Return the tables that sets of photographs make.

    Parameters
    ----------
    sets : sequence of (n, 1280) ndarray of float32
        Features; each set has the same weight.
    classes : (1280, 1280) ndarray of float64
        Of `class_covariance`.
    """
    photographs = np.mean([covariance(features) for features in sets], axis=0)
    variances, directions = np.linalg.eigh((1 - CLASSES_SHARE) * photographs + CLASSES_SHARE * classes)
    first = slice(None, -NUMBERS - 1, -1)
    projection = directions[:, first] / variances[first] ** EVENING
    # An eigenvector has no sign of its own: that of its largest number is made positive.
    projection *= np.sign(projection[np.abs(projection).argmax(axis=0), np.arange(NUMBERS)])
    mean = np.mean([features.mean(axis=0) for features in sets], axis=0)
    # In half precision, as they are kept.
    return Tables(
        *(rows.astype(np.float16).astype(np.float32) for rows in (mean, projection / np.abs(projection).max()))
    )


def write_tables(made: Tables) -> None:
    """Write the tables of the package."""
    np.savez_compressed(TABLES_PATH, mean=made.mean.astype(np.float16), projection=made.projection.astype(np.float16))
    tables.cache_clear()
    click.echo(f"{TABLES_PATH.name}: {TABLES_PATH.stat().st_size} bytes")


def say_precision(features: Floats, others: Floats, names: Names) -> None:
    """Print the precision of features, of their projection and of descriptors, and how often a cosine is right.

    Parameters
    ----------
    features : (n, 1280) ndarray of float32
        Of the named photographs, in order of their names.
    others : (m, 1280) ndarray of float32
    names : (n,) ndarray of str
    """
    table = tables()
    rows = {
        "1280 features, less their mean": features - features.mean(axis=0),
        f"{NUMBERS} numbers": np.asarray((features - table.mean) @ table.projection, dtype=np.float32),
        f"{NUMBERS} bytes": described(features, table),
    }
    for title, numbers in rows.items():
        click.echo(f"{title:<44} {precision(numbers, names):.3f}")
    click.echo(f"{'chance':<44} {chance(names):.3f}")
    random, classes = np.random.default_rng(SEED), class_covariance()
    unseen: list[tuple[float, float]] = []
    matches: list[tuple[Floats, NDArray[np.bool_]]] = []
    for _ in range(DIVISIONS):
        shuffled = random.permutation(np.unique(names))
        seen = np.isin(names, shuffled[: len(shuffled) // 2])
        foreign = described(features, tables_of([others, features[seen]], classes))
        own = features - features[~seen].mean(axis=0)
        unseen.append((precision(own[~seen], names[~seen]), precision(foreign[~seen], names[~seen])))
        matches.append(first_matches(foreign, names))
    click.echo(f"names that the tables have not seen: 1280 features {np.mean([full for full, _ in unseen]):.3f},")
    click.echo(f"{NUMBERS} bytes {np.mean([short for _, short in unseen]):.3f}")
    cosines, right = (np.concatenate(parts) for parts in zip(*matches, strict=True))
    for low, high in itertools.pairwise(BINS):
        inside = (cosines >= low) & (cosines < high)
        if inside.any():
            click.echo(f"cosine {low:+.2f} to {high:+.2f}: {inside.sum():>6} matches, {right[inside].mean():.3f} right")


def described(features: Floats, table: Tables) -> Floats:
    """Return the descriptors of photographs, of length 1.

    Parameters
    ----------
    features : (n, 1280) ndarray of float32
    table : Tables
    """
    return units(np.stack([descriptor_of(row, table) for row in features]))


def precision(numbers: Floats, names: Names) -> float:
    """Return the share of the first matches that have the query's name.

    Parameters
    ----------
    numbers : (n, d) ndarray of float32
    names : (n,) ndarray of str
    """
    return float(first_matches(numbers, names)[1].mean())


def first_matches(numbers: Floats, names: Names) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the cosines of the first matches of each query, and which of them have its name.

    Parameters
    ----------
    numbers : (n, d) ndarray of float32
    names : (n,) ndarray of str
    """
    rows = numbers / np.linalg.norm(numbers, axis=1, keepdims=True)
    asked = queries(names)
    cosines = rows[asked] @ rows[~asked].T
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :MATCHES]
    right = names[~asked][nearest] == names[asked][:, None]
    return np.take_along_axis(cosines, nearest, axis=1).ravel(), right.ravel()


def chance(names: Names) -> float:
    """Return the precision of matches that are drawn by lot.

    Parameters
    ----------
    names : (n,) ndarray of str
    """
    asked = queries(names)
    return float((names[asked][:, None] == names[~asked][None]).mean())


def queries(names: Names) -> NDArray[np.bool_]:
    """Return which photographs are asked: the second half of each name, so that shots of one scene stay together.

    Parameters
    ----------
    names : (n,) ndarray of str
    """
    asked = np.zeros(len(names), bool)
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        asked[rows[len(rows) // 2 :]] = True
    return asked


def say_cost(models_dir: Path, files: Sequence[Path]) -> None:
    """Print what the process takes for a picture."""
    described = Meaning(EFFICIENTNET_LITE0, models_dir)
    described.open()
    began = time.perf_counter()
    described.side_px()
    started_s = time.perf_counter() - began
    pictures = [np.asarray(read_colour(path.read_bytes(), MAX_PIXELS, SIDE_PX)) for path in files]
    before_s, began = described.cpu_s, time.perf_counter()
    for picture in pictures:
        described.describe(picture)
    wall_s, cpu_s = time.perf_counter() - began, described.cpu_s - before_s
    click.echo(f"{len(files)} pictures, ms each: {1000 * cpu_s / len(files):.1f} of the processor's time,")
    click.echo(
        f"{1000 * wall_s / len(files):.1f} until the answer; {started_s:.1f} s to start,"
        f" {described.peak_memory_bytes() / 2**20:.0f} MiB at most"
    )
    described.close()
