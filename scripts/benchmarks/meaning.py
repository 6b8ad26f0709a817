"""What descriptors of meaning find, and what they cost; with `--make-tables`, the tables that make them.

In: photographs with a name before the number (`Lime_005.jpg`), and others.  Out: precision by name, milliseconds, MiB;
or `meaning/tables.npz`.  Never here: how matches are ranked (`similar`).

A table projects features onto principal components.  Their covariance is that of two sets of photographs, each with the
same weight, and of the classes that the network was trained on: what it tells apart there is worth keeping of pictures
that neither set has.  A component is divided by a power of its variance, so that the first do not say everything.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
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
SPLITS = 5
"""Ways to divide each name into album and queries; figures are means."""

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
    """Print the precision of features, of their projection and of descriptors.

    Parameters
    ----------
    features : (n, 1280) ndarray of float32
        Of the named photographs.
    others : (m, 1280) ndarray of float32
    names : (n,) ndarray of str
    """
    table = tables()
    projected = np.asarray((features - table.mean) @ table.projection, dtype=np.float32)
    descriptors = units(np.stack([descriptor_of(row, table) for row in features]))
    rows: Mapping[str, Floats] = {
        "1280 features, less their mean": features - features.mean(axis=0),
        f"{NUMBERS} numbers": projected,
        f"{NUMBERS} bytes": descriptors,
    }
    everyone = np.ones(len(names), bool)
    for title, numbers in rows.items():
        click.echo(f"{title:<44} {precision(numbers, names, everyone):.3f}")
    click.echo(f"{'chance':<44} {chance(names):.3f}")
    random, classes = np.random.default_rng(SEED), class_covariance()
    found: dict[str, list[float]] = {"the names unseen by tables, 1280 features": [], "the same, 128 bytes": []}
    for _ in range(SPLITS):
        seen = np.isin(names, random.permutation(np.unique(names))[: len(np.unique(names)) // 2])
        foreign = tables_of([others, features[seen]], classes)
        bytes_of_all = units(np.stack([descriptor_of(row, foreign) for row in features]))
        for title, numbers in zip(found, (features - features[~seen].mean(axis=0), bytes_of_all), strict=True):
            found[title].append(precision(numbers, names, ~seen))
    for title, precisions in found.items():
        click.echo(f"{title:<44} {np.mean(precisions):.3f}")


def precision(numbers: Floats, names: Names, among: NDArray[np.bool_]) -> float:
    """Return the share of the first matches that have the query's name; half of each name is album, half queries.

    Parameters
    ----------
    numbers : (n, d) ndarray of float32
    names : (n,) ndarray of str
    among : (n,) ndarray of bool
        Those that take part.
    """
    numbers, names = numbers[among], names[among]
    rows = numbers / np.linalg.norm(numbers, axis=1, keepdims=True)
    found = []
    for seed in range(SPLITS):
        asked = queries(names, seed)
        nearest = np.argsort(-(rows[asked] @ rows[~asked].T), axis=1, kind="stable")[:, :MATCHES]
        found.append((names[~asked][nearest] == names[asked][:, None]).mean())
    return float(np.mean(found))


def chance(names: Names) -> float:
    """Return the precision of matches that are drawn by lot.

    Parameters
    ----------
    names : (n,) ndarray of str
    """
    asked = queries(names, 0)
    return float((names[asked][:, None] == names[~asked][None]).mean())


def queries(names: Names, seed: int) -> NDArray[np.bool_]:
    """Return which half of each name is asked.

    Parameters
    ----------
    names : (n,) ndarray of str
    seed : int
    """
    random = np.random.default_rng(seed)
    asked = np.zeros(len(names), bool)
    for name in np.unique(names):
        rows = random.permutation(np.flatnonzero(names == name))
        asked[rows[: len(rows) // 2]] = True
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
