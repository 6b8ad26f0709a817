"""How many planted copies become pairs, and how many strangers do, beside czkawka and findimagedupes.

An album of photographs gets edited copies of some of them, and bursts: two crops each of photographs that are not in
it themselves, shifted by more than half of their width.  A pair of an edit and its photograph is right; every other
pair is wrong, also one of two photographs that merely look alike.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
import czkawka
import numpy as np
from _edits import EDITS
from PIL import Image

from cbir_daemon.client import Client

COMMANDS = Path(sys.executable).parent
PHOTOS = Path(__file__).parents[3] / "shared" / "photos"
SUFFIXES = (".jpg", ".jpeg", ".png")
SEED = 20_261_122
QUALITY = 90
START_TIMEOUT_S = 60.0
SETTLE_TIMEOUT_S = 6 * 3600.0

BURST_WIDTH, BURST_SHIFT = 0.55, 0.45
"""Shares of a photograph's width: two crops of a burst have 18 % of their area in common."""

CZKAWKA_TOLERANCE = 10
FINDIMAGEDUPES_LIKENESS = "90%"

Pair = frozenset[str]

SAME: tuple[tuple[str, str], ...] = (
    ("train_dress_b59e4d4a-a283-4868-8a81-2f24d8b9c8d8.jpg", "train_dress_e6a8b33f-279c-4072-8dba-229d94205e55.jpg"),
)
"""Photographs of the collections at hand of which one is a crop of the other, as everybody sees who looks at them.

A pair of them is neither right nor wrong, whoever finds it.
"""


@dataclass
class Album:
    """What was written: edited file -> (photograph, name of the edit); and photographs that are one picture."""

    folder: Path
    edits: dict[str, tuple[str, str]] = field(default_factory=dict)
    same: set[Pair] = field(default_factory=set)
    files: int = 0

    @property
    def right(self) -> set[Pair]:
        """The pairs that are to be found."""
        return {frozenset((edit, photograph)) for edit, (photograph, _) in self.edits.items()}

    def counted(self, found: set[Pair]) -> set[Pair]:
        """Return the pairs without those of photographs that are one picture, and of their edits."""
        return {pair for pair in found if frozenset(self.edits.get(name, (name,))[0] for name in pair) not in self.same}


def plant(folder: Path, photographs: Sequence[Path], edits: int, bursts: int) -> Album:
    """Write an album; no photograph has two edits, or an edit and a burst."""
    random = np.random.default_rng(SEED)
    album = Album(folder)
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


# -- finders -----------------------------------------------------------------------------------------------------------


def pairs_of(groups: Iterable[Iterable[object]]) -> set[Pair]:
    """Return every pair inside each group, by file name."""
    return {
        frozenset(pair)
        for group in groups
        for pair in itertools.combinations({Path(str(file)).name for file in group}, 2)
    }


def ours(folder: Path) -> set[Pair]:
    """Let a daemon index the folder and return its groups."""
    with tempfile.TemporaryDirectory(prefix="cbir") as home, running(folder, Path(home)) as client:
        client.settle(SETTLE_TIMEOUT_S)
        return pairs_of([image["path"] for image in group["images"]] for group in client.duplicates()["groups"])


@contextmanager
def running(folder: Path, home: Path) -> Iterator[Client]:
    """Give a client of a daemon that fits no map."""
    config, socket = home / "config.toml", home / "socket"
    config.write_text("[model]\nmin_images = 100_000\n")
    command: list[str | Path] = [
        COMMANDS / "cbir-daemon",
        "run",
        "--quiet",
        folder,
        "--config",
        config,
        "--state",
        home / "state",
    ]
    with (home / "log").open("ab") as log:
        process = subprocess.Popen([*command, "--socket", socket], stderr=log)  # noqa: S603 -- ours
    try:
        with connected(socket) as client:
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def connected(socket: Path) -> Client:
    """Return a client as soon as the daemon listens."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not socket.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return Client([socket])


def by_czkawka(folder: Path) -> set[Pair]:
    """Return czkawka's groups; it keeps what it knows below XDG_CACHE_HOME."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        finder = czkawka.ImageSimilarity()
        finder.set_directories([folder])
        finder.set_similarity(CZKAWKA_TOLERANCE)
        return pairs_of(finder.find_similar())


def by_findimagedupes(folder: Path) -> set[Pair]:
    """Return the groups of findimagedupes, one a line."""
    command: list[str | Path] = ["findimagedupes", "--quiet", "--threshold", FINDIMAGEDUPES_LIKENESS, "--", folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 -- a peer
    return pairs_of(line.split() for line in done.stdout.splitlines())


# -- the table ---------------------------------------------------------------------------------------------------------


def row(name: str, found: set[Pair], album: Album, took_s: float) -> str:
    """Return a line of the table."""
    right = len(found & album.right)
    precision = right / len(found) if found else 1.0
    recall = right / len(album.right)
    return f"| {name} | {right} | {len(found) - right} | {precision:.4f} | {recall:.3f} | {took_s:.0f} |"


def report(name: str, found: set[Pair], album: Album) -> None:
    """Say on stderr which pairs are wrong, and which edits were missed."""
    for pair in sorted(map(sorted, found - album.right)):
        click.echo(f"{name}: wrong pair {' '.join(pair)}", err=True)
    missed: dict[str, list[str]] = {}
    for edit, (photograph, kind) in album.edits.items():
        if frozenset((edit, photograph)) not in found:
            missed.setdefault(kind, []).append(edit)
    for kind, names in sorted(missed.items()):
        click.echo(f"{name}: missed {len(names)} of {kind}: {' '.join(names[:5])}", err=True)


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
    finders: dict[str, Callable[[Path], set[Pair]]] = {"cbir": ours}
    if peers:
        finders[f"czkawka, tolerance {CZKAWKA_TOLERANCE}"] = by_czkawka
        if shutil.which("findimagedupes"):
            finders[f"findimagedupes, {FINDIMAGEDUPES_LIKENESS}"] = by_findimagedupes
        else:
            click.echo("findimagedupes is not installed", err=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = album or Path(scratch, "album")
        folder.mkdir(parents=True)
        planted = plant(folder, files, edits, bursts)
        click.echo(f"{planted.files} files, {len(planted.right)} right pairs, {bursts} bursts", err=True)
        click.echo("| finder | right pairs | wrong pairs | precision | recall | seconds |\n|---|---|---|---|---|---|")
        results = {}
        for name, finder in finders.items():
            before = time.perf_counter()
            found = planted.counted(finder(folder))
            click.echo(row(name, found, planted, time.perf_counter() - before))
            results[name] = sorted(map(sorted, found))
            report(name, found, planted)
        if album is not None:
            (album.parent / f"{album.name}.json").write_text(json.dumps(results))
