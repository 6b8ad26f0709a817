"""Easy queries: files of the album and mild edits of them, with and without a second look at the files.

In: folders of photographs.  Out: time on the clock and of the processor for a query, of two daemons in one run.  Never
here: what is found (`accuracy`), what a look says (`look`).
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click
import numpy as np
from _album import PHOTOS, SEED, Album
from _daemon import Daemon
from _edits import EDITS
from _suites import QUALITY, settle

from cbir_daemon.client import Client

FOLDERS = (PHOTOS / "bsds", PHOTOS / "clothing", PHOTOS / "shots")


@click.command()
@click.option("--photographs", default=1000, show_default=True, help="In the album, of all folders.")
@click.option("--queries", default=82, show_default=True, help="Of each sort.")
@click.option("--rounds", default=3, show_default=True, help="How often each is asked, of both daemons in turn.")
@click.option("--large/--no-large", default=False, help="Whether the photographs are enlarged to 12 megapixels.")
def easy(photographs: int, queries: int, rounds: int, *, large: bool) -> None:
    """Ask for files of an album, and for mild edits of them."""
    album = Album.open(FOLDERS)
    rows = np.random.default_rng(SEED).choice(len(album), photographs, replace=False).tolist()
    with tempfile.TemporaryDirectory(prefix="cbir") as name, ExitStack() as stopping:
        folder = Path(name) / "album"
        folder.mkdir()
        for row in rows:
            write(album, row, folder / f"{row}.jpg", large=large)
        daemons = {}
        for look in ("true", "false"):
            home = Path(name) / look
            home.mkdir()
            daemons[look] = Daemon(home, folder, f"min_images = 100000\n[match]\nlook = {look}")
            daemons[look].start()
            stopping.callback(daemons[look].stop)
            settle(daemons[look])
        click.echo("| queries | inside, ms, with/without look | processor ms, with/without look |\n|---|---|---|")
        exact = [folder / f"{row}.jpg" for row in rows[:queries]]
        row_of("files of the album", daemons, exact, rounds)
        row_of("mild edits", daemons, edited(album, rows[:queries], Path(name), large=large), rounds)


def write(album: Album, row: int, path: Path, *, large: bool) -> None:
    """Write a photograph into the album: its file, or one of 12 megapixels."""
    if large:
        album.image(row).convert("RGB").resize((4000, 3000)).save(path, quality=QUALITY)
    else:
        shutil.copyfile(album.files[row], path)


def edited(album: Album, rows: Sequence[int], home: Path, *, large: bool) -> list[Path]:
    """Write photographs under one mild edit after the other, and return their files."""
    paths = []
    names = [name for name in EDITS if name != "unchanged"]
    for number, row in enumerate(rows):
        image = album.image(row).convert("RGB")
        if large:
            image = image.resize((4000, 3000))
        query = EDITS[names[number % len(names)]](image, np.random.default_rng([SEED, number])).convert("RGB")
        paths.append(home / f"query-{number}.jpg")
        query.save(paths[-1], quality=QUALITY)
    return paths


def row_of(title: str, daemons: dict[str, Daemon], paths: Sequence[Path], rounds: int) -> None:
    """Ask all daemons in turn, and print a row of the table."""
    took_ms: dict[str, list[float]] = {look: [] for look in daemons}
    cpu_s = dict.fromkeys(daemons, 0.0)
    with ExitStack() as closing:
        clients = {look: closing.enter_context(Client([daemon.socket_path])) for look, daemon in daemons.items()}
        for client in clients.values():
            client.query(paths[0])
        for path in [path for _ in range(rounds) for path in paths]:
            for look, client in clients.items():
                before_s = daemons[look].family_cpu_s()
                took_ms[look].append(client.query(path)["took_ms"])
                cpu_s[look] += daemons[look].family_cpu_s() - before_s
    count = rounds * len(paths)
    medians = "/".join(f"{statistics.median(took_ms[look]):.0f}" for look in daemons)
    means = "/".join(f"{1e3 * cpu_s[look] / count:.0f}" for look in daemons)
    click.echo(f"| {title} | {medians} | {means} |")
