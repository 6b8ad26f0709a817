"""The pass for copies over a first index, beside hashing the same files.

In: folders of photographs.  Out: seconds by the clock and of the processor, and their ratio.  Never here: which pairs
are found (`duplicates`, `album`).

The files are copied into an album and indexed; what the daemon and its children use from then until every content is
looked up, with the looks at files, is the pass.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from _album import PHOTOS, SEED, Album
from _daemon import Daemon
from _steady import rate_of_peer

from cbir_daemon.client import Client

FOLDERS = (PHOTOS / "bsds", PHOTOS / "clothing", PHOTOS / "shots")
POLL_S = 0.2
NO_MAP = "min_images = 100000"


def looked_up(daemon: Daemon, count: int) -> tuple[float, float]:
    """Return the seconds that a pass takes after the last file was read, by the clock and of the processor."""
    daemon.wait_indexed(count)
    before_s, used_s = time.perf_counter(), daemon.family_cpu_s()
    with Client([daemon.socket_path]) as client:
        while client.status()["duplicates_pending"]:
            time.sleep(POLL_S)
    return time.perf_counter() - before_s, daemon.family_cpu_s() - used_s


@click.command()
@click.option("--photographs", default=1000, show_default=True, help="In the album, of all folders.")
@click.option("--rounds", default=3, show_default=True, help="Each in turn; the medians are printed.")
def all_pairs(photographs: int, rounds: int) -> None:
    """Compare the pass for copies over a first index with hashing the files by ImageHash's phash."""
    album = Album.open(FOLDERS)
    rows = np.random.default_rng(SEED).choice(len(album), photographs, replace=False).tolist()
    figures = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="cbir") as name:
            folder = Path(name, "album")
            folder.mkdir()
            for row in rows:
                shutil.copyfile(album.files[row], folder / f"{row}.jpg")
            peer = rate_of_peer(sorted(folder.iterdir()), 2)
            daemon = Daemon(Path(name), folder, NO_MAP)
            daemon.start()
            try:
                clock_s, processor_s = looked_up(daemon, photographs)
            finally:
                daemon.stop()
        figures.append((peer.processor_ms, 1e3 * processor_s / photographs, 1e3 * clock_s / photographs))
    hashed_ms, processor_ms, clock_ms = np.median(figures, axis=0)
    click.echo("| phash, processor ms a file | pass, processor ms | by the clock, ms | x phash |")
    click.echo("|---|---|---|---|")
    click.echo(f"| {hashed_ms:.2f} | {processor_ms:.2f} | {clock_ms:.2f} | {processor_ms / hashed_ms:.1f} |")
