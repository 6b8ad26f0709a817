"""The folders that an installation is run on.

In: a folder of photographs.  Out: a home with two albums, queries, works and files that come later, the same bytes and
times whoever makes it.  Never here: daemons.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tests import pictures
from tests.pictures import Picture

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
FIRST_MTIME_S = 1_500_000_000
"""Of the first file; each further one is a minute younger, so that there is an oldest of equals."""

NOT_UTF_8 = os.fsdecode(b"caf\xe9.jpg")
STRANGERS = range(900, 904)
"""Seeds of pictures that no album has when it is first indexed."""
WORK = 700
"""Seed of the watched work."""

Edit = Callable[[Picture], Picture]

EDITS: Mapping[str, tuple[Edit, Mapping[str, int]]] = {
    "half.jpg": (lambda picture: pictures.resized(picture, 0.5), {"quality": 30}),
    "quarter.png": (lambda picture: pictures.resized(picture, 0.25), {}),
    "poor.jpg": (lambda picture: picture, {"quality": 15}),
    "brighter.jpg": (pictures.brighter, {}),
    "darker.jpg": (lambda picture: pictures.brighter(picture, -30), {}),
    "contrast.jpg": (pictures.contrasted, {}),
    "gamma.webp": (pictures.gamma, {}),
    "blurred.jpg": (pictures.blurred, {}),
    "noisy.jpg": (pictures.noisy, {}),
    "cropped.jpg": (pictures.cropped, {}),
    "deep-crop.png": (lambda picture: pictures.cropped(picture, 0.4), {}),
    "bordered.jpg": (pictures.bordered, {}),
    "captioned.jpg": (pictures.captioned, {}),
    "negative.jpg": (pictures.negative, {}),
    "mirrored.jpg": (pictures.mirrored, {}),
    "left.jpg": (pictures.turned, {}),
    "upside-down.jpg": (lambda picture: pictures.turned(picture, 2), {}),
    "right.png": (lambda picture: pictures.turned(picture, 3), {}),
    "mirrored-crop.jpg": (lambda picture: pictures.mirrored(pictures.cropped(picture, 0.2)), {"quality": 60}),
}
"""Name of the file -> what is done to a photograph, and how it is saved."""

QUERIES = ("half.jpg", "cropped.jpg", "deep-crop.png", "mirrored.jpg", "negative.jpg", "captioned.jpg")
"""Edits that are asked about."""


def furnish(home: Path, source: Path, each: int | None = None) -> None:
    """Make the folders of a home.

    Parameters
    ----------
    home : Path
        An empty folder.  `album` gets the photographs of `source`, `phone` edited copies of them, `queries` what is
        asked about, `works` a work to watch for, `coming` what comes into the album later.
    source : Path
    each : int, optional
        Photographs of each folder at the top of `source`, first by name, at most; without it all.
    """
    for folder in ("album", "phone", "queries", "works", "coming"):
        (home / folder).mkdir()
    originals = [_copied(path, source, home / "album") for path in photographs(source, each)]
    pictures.save(pictures.photograph(WORK), home / "works" / "harbour.png")
    _fill_album(home / "album", originals)
    _fill_phone(home / "phone", originals)
    _fill_queries(home / "queries", originals)
    _fill_coming(home / "coming", originals)
    paths = sorted(path for path in home.rglob("*") if path.is_file())
    _renumber(home, paths)
    for number, path in enumerate(paths):
        os.utime(path, (FIRST_MTIME_S + 60 * number,) * 2)


def _renumber(home: Path, paths: Sequence[Path]) -> None:
    """Give files inodes that rise in their order.

    Files are read in order of inode, so that contents get their ids; and of two copies the one that came later is
    compared with the one before, which may score a hundredth otherwise than the other way round.  A busy file system
    gives out inodes as others give them back.
    """
    fresh = [home / f".{number}" for number in range(len(paths))]
    for path in fresh:
        path.touch()
    for path, numbered in zip(paths, sorted(fresh, key=lambda path: path.stat().st_ino), strict=True):
        numbered.write_bytes(path.read_bytes())
        numbered.replace(path)


def photographs(source: Path, each: int | None) -> list[Path]:
    """Return the photographs of a folder in order of name, `each` of every folder at its top at most."""
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
    tops: dict[Path, list[Path]] = {}
    for path in found:
        tops.setdefault(source / path.relative_to(source).parts[0] if path.parent != source else source, []).append(
            path
        )
    return [path for paths in tops.values() for path in paths[:each]]


def _copied(path: Path, source: Path, album: Path) -> Path:
    # Into one folder: the file system says in which order folders are walked.
    return Path(shutil.copyfile(path, album / "-".join(path.relative_to(source).parts)))


def _edited(original: Path, target: Path) -> None:
    """Make the edit that the name of `target` stands for."""
    edit, options = EDITS[target.name]
    pictures.save(edit(pictures.load(original)), target, **options)


def _poster(picture: Picture, seed: int) -> Picture:
    """Return the picture at half size on the one of `seed`."""
    ground = pictures.photograph(seed, (640, 440))
    small = pictures.resized(picture, 0.5)
    height, width = small.shape[:2]
    ground[60 : 60 + height, 80 : 80 + width] = small
    return ground


def _fill_album(album: Path, originals: Sequence[Path]) -> None:
    """Add a twin, an odd name, and files that cannot be read."""
    (album / "twins").mkdir()
    shutil.copyfile(originals[0], album / "twins" / "twin.jpg")
    pictures.save(pictures.photograph(STRANGERS[0]), album / "strange.jpg").rename(album / NOT_UTF_8)
    (album / "broken.jpg").write_bytes(b"this is text")
    (album / "empty.jpg").write_bytes(b"")
    (album / "truncated.jpg").write_bytes(originals[-1].read_bytes()[:2000])


def _fill_phone(phone: Path, originals: Sequence[Path]) -> None:
    """Edit photographs from all over the album, and add one unchanged and a poster with the work."""
    step = max(1, len(originals) // len(EDITS))
    for number, name in enumerate(EDITS):
        _edited(originals[number * step % len(originals)], phone / name)
    shutil.copyfile(originals[1], phone / "unchanged.jpg")
    pictures.save(_poster(pictures.photograph(WORK), STRANGERS[1]), phone / "poster.jpg")


def _fill_queries(queries: Path, originals: Sequence[Path]) -> None:
    """Edit photographs that lie beside those on the phone, and add strangers and what is no query."""
    step = max(1, len(originals) // len(QUERIES))
    for number, name in enumerate(QUERIES):
        _edited(originals[(number * step + 1) % len(originals)], queries / name)
    shutil.copyfile(originals[2], queries / "unchanged.jpg")
    pictures.save(_poster(pictures.load(originals[3]), STRANGERS[1]), queries / "poster.png")
    pictures.save(pictures.photograph(STRANGERS[2]), queries / "stranger.png")
    pictures.save(np.full((90, 120, 3), 128, np.uint8), queries / "plain.png")
    (queries / "text.jpg").write_bytes(b"this is text")


def _fill_coming(coming: Path, originals: Sequence[Path]) -> None:
    """Make what raises an alert of each kind, and what raises none."""
    shutil.copyfile(originals[2], coming / "again.jpg")
    _edited(originals[3 % len(originals)], coming / "mirrored-crop.jpg")
    pictures.save(_poster(pictures.photograph(WORK), STRANGERS[3]), coming / "poster.jpg")
    pictures.save(pictures.photograph(STRANGERS[2]), coming / "stranger.jpg")
