"""Compare the answers of two installations on the same album: `python -m tests.answers OLD NEW ALBUM`."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from tests.answers import script
from tests.answers.comparison import NOTES, Difference, Kind, Maps, differences
from tests.answers.home import furnish
from tests.answers.recording import Answers, Recorder
from tests.process.daemon import Daemon, ended

A_FOLDER = click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path)


def record(commands: Path, home: Path, source: Path, each: int | None, *, with_map: bool) -> Answers:
    """Record all that an installation answers on an album.

    Parameters
    ----------
    commands : Path
        The folder of its `cbir` and `cbir-daemon`.
    home : Path
        A folder to be made, with a short name: socket paths end at 107 bytes.
    source : Path
        A folder of photographs; `each` of every folder at its top are taken at most.
    with_map : bool
        Whether maps are fitted.
    """
    home.mkdir()
    furnish(home, source, each)
    with ended(Daemon(home, commands=commands)) as daemon:
        recorder = Recorder(daemon)
        script.whole(recorder, with_map=with_map)
    return recorder.answers


def reopen(commands: Path, home: Path, model: str) -> Answers:
    """Record what an installation answers on the state that is kept in a home."""
    with ended(Daemon(home, commands=commands)) as daemon:
        recorder = Recorder(daemon)
        script.opened(recorder, model)
    return recorder.answers


@click.command()
@click.argument("old", type=A_FOLDER)
@click.argument("new", type=A_FOLDER)
@click.argument("album", type=A_FOLDER)
@click.option("--each", type=click.IntRange(1), help="Photographs of each folder at the top of ALBUM, at most.")
@click.option(
    "--maps", type=click.Choice([*map(str, Maps)]), default="near", help="How the maps of both are to each other."
)
@click.option("--no-map", is_flag=True, help="Fit no map: quicker.")
@click.option(
    "--allow", type=click.Choice([*map(str, Kind)]), multiple=True, help="Differences of this kind are notes."
)
@click.option("--keep", type=A_FOLDER, help="Write both recordings into this folder.")
def main(
    old: Path,
    new: Path,
    album: Path,
    each: int | None,
    maps: Maps,
    no_map: bool,
    allow: Sequence[Kind],
    keep: Path | None,
) -> None:
    """Compare what the commands in OLD and NEW answer on the photographs of ALBUM.

    OLD and NEW are folders with `cbir` and `cbir-daemon`.  NEW also opens the state that OLD made.  Exit status 1 when
    they differ in more than they may.
    """
    work = Path(tempfile.mkdtemp(prefix="cbir"))
    try:
        pairs = _both(work, old, new, album, each, with_map=not no_map)
    finally:
        shutil.rmtree(work)
    notes = NOTES | frozenset(allow)
    found = [*differences(*pairs[0], Maps(maps)), *differences(*pairs[1], Maps.SAME)]
    if keep:
        for name, answers in zip(("old", "new", "old-opened", "new-opened"), (*pairs[0], *pairs[1]), strict=True):
            (keep / f"{name}.json").write_text(json.dumps(answers, indent=1) + "\n")
    sys.exit(report(found, notes, sum(len(pair[0]) for pair in pairs)))


def _both(
    work: Path, old: Path, new: Path, album: Path, each: int | None, *, with_map: bool
) -> tuple[tuple[Answers, Answers], tuple[Answers, Answers]]:
    """Return what both answer on states of their own, and on the state of the old one."""
    with ThreadPoolExecutor() as pool:
        asked = [
            pool.submit(record, commands, work / name, album, each, with_map=with_map)
            for name, commands in (("old", old), ("new", new))
        ]
        recorded = [future.result() for future in asked]
    model = script.WITH_MAP if with_map else script.NO_MAP
    # One after the other: the state of the old one names the folders of its home.
    opened = [reopen(commands, work / "old", model) for commands in (old, new)]
    return (recorded[0], recorded[1]), (opened[0], opened[1])


def report(found: Sequence[Difference], notes: frozenset[Kind], asked: int) -> int:
    """Print the differences, notes last, and return the exit status."""
    for difference in sorted(found, key=lambda difference: difference.kind in notes):
        click.echo(difference)
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(each.kind for each in found).items()))
    click.echo(f"{asked} questions; {counts or 'no difference'}")
    return int(any(difference.kind not in notes for difference in found))


if __name__ == "__main__":
    main()
