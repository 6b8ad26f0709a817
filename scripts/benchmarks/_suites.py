"""Suites of edited photographs asked of a real daemon, as `cbir query` asks it.

In: folders of photographs, how many queries, a seed.  Out: for each kind of edit how often the photograph comes first
and is called a copy, how often anything else is, and the processor's time.  Never here: the edits (`_edits`, `_hard`).

A part of the first folder is kept out of the album.  It serves as what else is shown in edits, and as strangers: edits
of photographs that the album does not have, of which every copy is wrong.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
from _album import PHOTOS, Album
from _crowd import add_crowd
from _daemon import Daemon
from _edits import EDITS
from _hard import HARD, TEMPLATES, Query, alone, chain_queries, hard_queries, opened

from cbir_daemon.client import Client
from cbir_daemon.kinds import Kind

SUITES = ("mild", "hard", "chains", "templates")
FOLDERS = (PHOTOS / "bsds", PHOTOS / "clothing", PHOTOS / "shots")
OUTSIDE = 100
"""Photographs of the first folder that the album does not have, or a quarter of it where it is small."""

STORED_TEMPLATES = (1, 30)
"""Pictures of each template in the album, other ones than those that are asked for."""

SETTLE_TIMEOUT_S = 6 * 3600.0
QUALITY = 92
COPIES = {Kind.EXACT.value, Kind.COPY.value}
NORMAL_95 = 1.96
HEAD = "| kind | queries | first | copy | wrong | strangers | wrong | ms |\n|---|---|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Picture:
    """A file to ask for and the photograph that it shows, which is None where the album does not have it."""

    query: Query
    original: Path | None


@dataclass
class Tally:
    """What became of the queries of one kind."""

    queries: int = 0
    first: int = 0
    copies: int = 0
    wrong: int = 0
    strangers: int = 0
    wrong_strangers: int = 0
    cpu_s: float = 0.0

    def __add__(self, tally: Tally) -> Tally:
        return Tally(*(mine + theirs for mine, theirs in zip(vars(self).values(), vars(tally).values(), strict=True)))

    def row(self, title: str) -> str:
        """Return a row of the table in counts."""
        counts = f"{self.queries} | {self.first} | {self.copies} | {self.wrong} | {self.strangers}"
        return f"| {title} | {counts} | {self.wrong_strangers} | {self.milliseconds:.0f} |"

    @property
    def milliseconds(self) -> float:
        """Of processor time a query."""
        return 1e3 * self.cpu_s / max(1, self.queries + self.strangers)


@dataclass
class Stage:
    """A daemon with an album of photographs, and what is asked of it.

    Parameters
    ----------
    daemon : Daemon
    album : Path
    originals, outside : list of Path
        Photographs of the first folder in the album and not in it.
    home : Path
        Where query files are written.
    wrong : Path or None
        Where queries are kept of which anything else was called a copy.
    """

    daemon: Daemon
    album: Path
    originals: list[Path]
    outside: list[Path]
    home: Path
    wrong: Path | None
    tallies: dict[str, dict[str, Tally]] = field(default_factory=dict)

    def ask(self, suite: str, pictures: Iterable[Picture]) -> None:
        """Ask for pictures, and count."""
        tallies = self.tallies.setdefault(suite, {})
        file = self.home / "query.jpg"
        with Client([self.daemon.socket_path]) as client:
            for picture in pictures:
                kind = "all" if suite == "chains" else picture.query.kind
                picture.query.image.save(file, quality=QUALITY)
                before_s = self.daemon.family_cpu_s()
                matches = client.query(file)["matches"]
                cpu_s = self.daemon.family_cpu_s() - before_s
                found = [(Path(str(match["path"])).name, match["kind"] in COPIES) for match in matches]
                tally = tallies.setdefault(kind, Tally())
                tallies[kind] = tally + self._tally_of(suite, picture, found, cpu_s)

    def _tally_of(self, suite: str, picture: Picture, found: Sequence[tuple[str, bool]], cpu_s: float) -> Tally:
        """Return the tally of one answer: file names, and whether each is called a copy."""
        original = None if picture.original is None else stored_name(picture.original)
        wrong = [name for name, is_copy in found if is_copy and name != original]
        if wrong:
            click.echo(f"wrong: {suite}, {picture.query.kind}: {original} is called a copy of {wrong[0]}", err=True)
            if self.wrong is not None:
                self.wrong.mkdir(parents=True, exist_ok=True)
                count = sum(tally.wrong + tally.wrong_strangers for tally in self.tallies[suite].values())
                shutil.copyfile(self.home / "query.jpg", self.wrong / f"{suite}-{count}-{wrong[0]}")
        if original is None:
            return Tally(strangers=1, wrong_strangers=bool(wrong), cpu_s=cpu_s)
        is_first = bool(found) and found[0][0] == original
        return Tally(1, is_first, (original, True) in found, bool(wrong), cpu_s=cpu_s)


def stored_name(photograph: Path) -> str:
    """Return the name that a photograph has in the album: folders may have files of one name."""
    return f"{photograph.parent.name}-{photograph.name}"


@contextmanager
def staged(
    folders: Sequence[Path], others: int | None, seed: int, wrong: Path | None, *, local: bool, crowd: int = 0
) -> Iterator[Stage]:
    """Index photographs with a daemon on a state of its own.

    Parameters
    ----------
    folders : sequence of Path
        Those of the first are asked for.
    others : int or None
        Photographs of the other folders in the album; None for all.
    seed : int
    wrong : Path or None
        Where queries are kept of which anything else was called a copy.
    local : bool
        Whether the daemon takes local features.
    crowd : int
        Contents without files in the album besides, made of the photographs of the other folders.
    """
    photographs = Album.open(folders)
    random = np.random.default_rng(seed)
    order = random.permutation(photographs.first)
    rest = random.permutation(np.arange(photographs.first, len(photographs)))[:others]
    kept_out = min(OUTSIDE, photographs.first // 4)
    outside, originals = ([photographs.files[row] for row in rows] for rows in (order[:kept_out], order[kept_out:]))
    with tempfile.TemporaryDirectory(prefix="cbir") as name:
        home, album = Path(name), Path(name) / "album"
        album.mkdir()
        for path in (*originals, *(photographs.files[row] for row in rest)):
            shutil.copyfile(path, album / stored_name(path))
        no_map = "min_images = 1000000\nmax_fit_images = 1000000"
        daemon = Daemon(home, album, f"{no_map}\n[match]\nlocal = {str(local).lower()}")
        daemon.start()
        try:
            if crowd:
                # Nothing is asked of the album's own duplicates: to look them up would take longer than all the rest.
                daemon.wait_indexed(len(originals) + len(rest))
                daemon.stop()
                others_there = [album / stored_name(photographs.files[row]) for row in rest]
                add_crowd(home / "state", home / "crowd", others_there, crowd)
                daemon.start()
            settle(daemon)
            click.echo(f"{len(originals)} photographs and {len(rest) + crowd} others in the album, seed {seed}\n")
            yield Stage(daemon, album, originals, outside, home, wrong)
        finally:
            daemon.stop()


def settle(daemon: Daemon) -> None:
    """Wait until all files are indexed, and their copies looked up."""
    with Client([daemon.socket_path]) as client:
        client.scan()
        client.settle(SETTLE_TIMEOUT_S)


def ask_suites(
    suites: Sequence[str],
    folders: Sequence[Path],
    queries: int,
    others: int | None,
    seed: int,
    wrong: Path | None,
    *,
    local: bool,
    crowd: int = 0,
) -> None:
    """Ask for all queries of some suites, and print what came of it.

    Parameters
    ----------
    suites : sequence of str
        Of `SUITES`.
    folders : sequence of Path
        By default those beside the checkout.
    queries : int
        Of each suite; half as many strangers besides.
    others : int or None
        Photographs of the other folders in the album; None for all.
    seed : int
    wrong : Path or None
        Where queries are kept of which anything else was called a copy.
    local : bool
        Whether the daemon takes local features.
    crowd : int
        Contents without files in the album besides.
    """
    with staged(folders or FOLDERS, others, seed, wrong, local=local, crowd=crowd) as stage:
        click.echo(
            "| kind | queries | first | copy | wrong | strangers | wrong | ms |\n|---|---|---|---|---|---|---|---|"
        )
        for suite in suites:
            if suite == "templates":
                ask_templates(stage, queries, seed)
            else:
                stage.ask(suite, pictures_of(suite, stage, queries, seed))
                print_rows(suite, stage.tallies[suite])
        click.echo("")
        for suite, tallies in stage.tallies.items():
            print_shares(suite, sum(tallies.values(), Tally()))


def pictures_of(suite: str, stage: Stage, queries: int, seed: int) -> Iterator[Picture]:
    """Yield what a suite asks for: edits of photographs of the album, then of strangers."""
    mild = {name: alone(edit) for name, edit in EDITS.items()}
    for paths, count, is_there in ((stage.originals, queries, True), (stage.outside, queries // 2, False)):
        if suite == "chains":
            made = chain_queries(paths, count, seed, stage.outside)
        else:
            made = hard_queries(paths, count, seed, stage.outside, mild if suite == "mild" else HARD)
        for query in made:
            yield Picture(query, paths[query.row] if is_there else None)


def ask_templates(stage: Stage, queries: int, seed: int) -> None:
    """Ask for photographs in templates, first with one picture of each template in the album, then with many.

    What is in the album in a template is asked for in none: each copy of a stranger is wrong, and so is each of a
    photograph but itself.
    """
    stored, asked = stage.originals[: STORED_TEMPLATES[-1]], stage.originals[STORED_TEMPLATES[-1] :]
    for count in STORED_TEMPLATES:
        suite = f"templates, {count} stored"
        for number, photograph in enumerate(stored[:count]):
            for name, template in TEMPLATES.items():
                template(opened(photograph)).save(stage.album / f"template-{name}-{number}.png")
        settle(stage.daemon)
        stage.ask(suite, template_pictures(asked, stage.outside, queries, seed))
        print_rows(suite, stage.tallies[suite])
    with Client([stage.daemon.socket_path]) as client:
        groups = client.duplicates()["groups"]
    names = [[Path(str(image["path"])).stem for image in group["images"]] for group in groups]
    shown = [{name.rpartition("-")[2] for name in group if name.startswith("template-")} for group in names]
    wrong = [group for group, numbers in zip(names, shown, strict=True) if len(numbers) > 1]
    click.echo(f"\nGroups of the album with two photographs in templates: {len(wrong)} of {len(groups)} {wrong or ''}")


def template_pictures(originals: Sequence[Path], outside: Sequence[Path], queries: int, seed: int) -> Iterator[Picture]:
    """Yield photographs in each template in turn, of the album and strangers."""
    random = np.random.default_rng([seed, 2])
    names = list(TEMPLATES)
    for paths, count, is_there in ((originals, queries, True), (outside, queries, False)):
        for number in range(count):
            row = int(random.integers(len(paths)))
            name = names[number % len(names)]
            image = TEMPLATES[name](opened(paths[row]))
            yield Picture(Query(name, row, image), paths[row] if is_there else None)


def print_rows(suite: str, tallies: dict[str, Tally]) -> None:
    """Print what became of the kinds of a suite."""
    if len(tallies) > 1:
        for kind, tally in tallies.items():
            click.echo(tally.row(kind))
    click.echo(sum(tallies.values(), Tally()).row(f"**{suite}**"))


def print_shares(suite: str, tally: Tally) -> None:
    """Print the shares of a suite, with the bounds within which they lie in 95 % of such samples."""
    first, copies = (wilson(count, tally.queries) for count in (tally.first, tally.copies))
    click.echo(
        f"- {suite}: recall@1 {first}, copy {copies}, wrong {tally.wrong} of {tally.queries}"
        f" and {tally.wrong_strangers} of {tally.strangers} strangers; {tally.milliseconds:.0f} ms of processor time"
    )


def wilson(count: int, total: int) -> str:
    """Return a share with its interval of 95 % by Wilson's score."""
    if not total:
        return "-"
    share, square = count / total, NORMAL_95**2 / total
    middle = (share + square / 2) / (1 + square)
    half = NORMAL_95 / (1 + square) * math.sqrt(share * (1 - share) / total + square / (4 * total))
    return f"{share:.3f} ({max(0.0, middle - half):.2f} to {min(1.0, middle + half):.2f})"
