"""How long until the first map is in use, and until the first rough one is.

In: photographs (by default those beside the checkout), from which as many crops as are asked for are cut.  Out: a table
of seconds by the clock and of the processor, from the last file read.  Never here: how good the map is (`model`,
`neighborhood`).

A real daemon indexes the crops and fits, without compiled code; then another, which has what the first compiled.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from _album import Album
from _daemon import Daemon
from _maps import SEED
from PIL import Image

from cbir_daemon.client import Client
from cbir_daemon.map.environment import CACHE_FOLDER

LEAST_SHARE, MOST_SHARE = 0.3, 0.9
LONGER_SIDE_PX = 256
QUALITY = 90
POLL_S = 0.1
MODELS = "state/models"


@dataclass(frozen=True)
class Moment:
    """When a map came into use: seconds since the last file was read, by the clock and of all processors."""

    kind: str
    clock_s: float
    cpu_s: float


@click.command()
@click.option("--size", default=5_000, show_default=True, help="Images.")
@click.option(
    "--compiled",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="What a daemon has compiled (models/.numba of its state): only a daemon that has it runs.",
)
@click.option("--album", "folders", multiple=True, type=click.Path(exists=True, path_type=Path), help="Photographs.")
def first_map(size: int, compiled: Path | None, folders: tuple[Path, ...]) -> None:
    """Index SIZE images and wait for their first maps, with and without compiled code."""
    click.echo(f"{'':<6}{'map':<8}{'clock s':>9}{'cpu s':>8}  (since the last file was read; of all processes)")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        cut(Album.open(folders), size, home / "album")
        for name in ("cold", "warm") if compiled is None else ("warm",):
            for moment in maps_of(home / name, home / "album", compiled or home / "compiled", size):
                click.echo(f"{name:<6}{moment.kind:<8}{moment.clock_s:>9.1f}{moment.cpu_s:>8.1f}")


def cut(album: Album, size: int, folder: Path) -> None:
    """Write random crops of photographs, in colour.

    Parameters
    ----------
    album : Album
    size : int
        How many.
    folder : Path
        Is made.
    """
    folder.mkdir()
    draw = np.random.default_rng(SEED)
    small: dict[int, Image.Image] = {}
    for number in range(size):
        row = int(draw.integers(len(album)))
        if row not in small:
            with Image.open(album.files[row]) as image:
                image.draft("RGB", (LONGER_SIDE_PX, LONGER_SIDE_PX))
                small[row] = image.convert("RGB")
        sides = np.array(small[row].size) * draw.uniform(LEAST_SHARE, MOST_SHARE, 2)
        corner = (np.array(small[row].size) - sides) * draw.uniform(0, 1, 2)
        box = tuple(int(edge) for edge in (*corner, *(corner + sides)))
        small[row].crop((box[0], box[1], box[2], box[3])).save(folder / f"{number}.jpg", quality=QUALITY)


def maps_of(home: Path, album: Path, compiled: Path, size: int) -> list[Moment]:
    """Return when each kind of map came into use.

    Parameters
    ----------
    home : Path
        Of the daemon; is made.
    album : Path
    compiled : Path
        What another daemon has compiled, if it is there; else what this one compiles is left there.
    size : int
        Images in the album.
    """
    models = home / MODELS
    models.mkdir(parents=True)
    if compiled.is_dir():
        shutil.copytree(compiled, models / CACHE_FOLDER)
    daemon = Daemon(home, album, "")
    daemon.start()
    try:
        daemon.wait_indexed(size)
        moments = waited(daemon)
    finally:
        daemon.stop()
    if not compiled.is_dir():
        shutil.copytree(models / CACHE_FOLDER, compiled)
    return moments


def waited(daemon: Daemon) -> list[Moment]:
    """Wait for the tuned map, and return when it and those before it came into use."""
    moments: list[Moment] = []
    started_s, started_cpu_s = time.perf_counter(), daemon.family_cpu_s()
    with Client([daemon.socket_path]) as client:
        while not moments or moments[-1].kind != "tuned":
            model = client.status()["model"]
            if model is not None and (not moments or model["kind"] != moments[-1].kind):
                clock_s, cpu_s = time.perf_counter() - started_s, daemon.family_cpu_s() - started_cpu_s
                moments.append(Moment(model["kind"], clock_s, cpu_s))
            time.sleep(POLL_S)
    return moments
