"""New files that show a photograph of the album in a part of themselves: how often that is told, and what it costs.

In: folders of photographs.  Out: for each group of new files how many alerts name the photograph, how many name
anything else, and the processor's time of a file.  Never here: the edits (`_hard`), queries (`parts`, `accuracy`).

Each group is copied into the album of a real daemon at once.  `--without` asks for alerts on equal files only, so that
no parts are looked up: the difference is what they cost.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from _album import SEED, Album
from _daemon import Daemon
from _hard import TEMPLATES, on_a_page, onto_another, opened
from _suites import FOLDERS, settle
from PIL import Image

from cbir_daemon.client import Client
from cbir_daemon.protocol.answers import Alert

MODEL = "min_images = 100000"
EQUAL_ONLY = f"{MODEL}\n[alerts]\nmin_kind = 'exact'"

KEPT_OUT = 5
"""Groups of photographs that the album does not have: three come, two lie beside what is shown."""


@dataclass(frozen=True)
class NewFile:
    """A file that comes, and the photograph of the album that a part of it shows; None where there is none."""

    image: Image.Image
    shows: Path | None


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--files", default=60, show_default=True, help="New files of each group.")
@click.option("--group", default="", help="Only the groups that have this in their title.")
@click.option("--without", is_flag=True, help="Look up no parts.")
def inside(folders: tuple[Path, ...], files: int, group: str, without: bool) -> None:
    """Copy photographs, pages and templates into an album, and print what is told of their parts."""
    photographs = Album.open(folders or FOLDERS)
    order = np.random.default_rng(SEED).permutation(photographs.first).tolist()
    outside, present = (
        [photographs.files[row] for row in rows] for rows in (order[: KEPT_OUT * files], order[KEPT_OUT * files :])
    )
    if len(present) < 2 * files:
        raise click.ClickException(f"{(KEPT_OUT + 2) * files} photographs are needed in the first folder")
    rest = photographs.files[photographs.first :]
    coming = rest[-files:]
    with tempfile.TemporaryDirectory(prefix="cbir") as name:
        home, album = Path(name), Path(name) / "album"
        album.mkdir()
        for path in (*present, *rest[:-files]):
            shutil.copyfile(path, album / _stored(path))
        for number, path in enumerate(present[-files:]):
            for template, placed in TEMPLATES.items():
                placed(opened(path)).save(album / f"template-{template}-{number}.png".replace(" ", "-"))
        daemon = Daemon(home, album, EQUAL_ONLY if without else MODEL)
        daemon.start()
        try:
            settle(daemon)
            click.echo(
                f"{len(list(album.iterdir()))} files in the album; their index took {daemon.family_cpu_s():.1f} s"
            )
            click.echo("| new files | n | told | wrong | processor ms a file |\n|---|---|---|---|---|")
            for title, made in _groups(present[:files], outside, list(coming)).items():
                if group in title:
                    _row(title, list(made()), daemon, album)
        finally:
            daemon.stop()


def _groups(present: list[Path], outside: list[Path], coming: list[Path]) -> dict[str, Callable[[], Iterator[NewFile]]]:
    """Return title -> what makes the files; no photograph from outside is in two groups."""
    count = len(outside) // KEPT_OUT
    slices = [outside[start : start + count] for start in range(0, KEPT_OUT * count, count)]
    alone, on_pages, in_templates, beside, beside_strangers = slices

    def placed(paths: list[Path], surroundings: list[Path], are_there: bool) -> Iterator[NewFile]:
        for number, path in enumerate(paths):
            random = np.random.default_rng([SEED, number])
            place = (on_a_page, onto_another)[number % 2]
            yield NewFile(place(opened(path), opened(surroundings[number]), random), path if are_there else None)

    def templated(paths: list[Path], are_there: bool) -> Iterator[NewFile]:
        for number, path in enumerate(paths):
            template = list(TEMPLATES.values())[number % len(TEMPLATES)]
            yield NewFile(template(opened(path)), path if are_there else None)

    return {
        "photographs": lambda: (NewFile(opened(path), None) for path in alone),
        "shots of known scenes": lambda: (NewFile(opened(path), None) for path in coming),
        "known on a page or onto another": lambda: placed(present, beside, are_there=True),
        "strangers on a page or onto another": lambda: placed(on_pages, beside_strangers, are_there=False),
        "known in a template": lambda: templated(present, are_there=True),
        "strangers in a template": lambda: templated(in_templates, are_there=False),
    }


def _row(title: str, files: list[NewFile], daemon: Daemon, album: Path) -> None:
    """Let new files come, and print what is told of them."""
    folder = album / title.replace(" ", "-")
    made = album.parent / "coming"
    made.mkdir()
    for number, file in enumerate(files):
        file.image.save(made / f"{number}.png", compress_level=1)
    since = max((alert["id"] for alert in _alerts(daemon, 0)), default=0)
    before_s = daemon.family_cpu_s()
    made.rename(folder)
    settle(daemon)
    cost_ms = 1e3 * (daemon.family_cpu_s() - before_s) / len(files)
    named = wrong = 0
    for alert in _alerts(daemon, since):
        shows = files[int(Path(str(alert["path"])).stem)].shows
        right = [match for match in alert["matches"] if shows and Path(str(match["path"])).name == _stored(shows)]
        named += bool(right)
        strange = [match for match in alert["matches"] if match not in right]
        wrong += bool(strange)
        for match in strange[:1]:
            click.echo(f"{title}: {alert['path']} of {match['path']} {match['score']} [{match['done']}]", err=True)
    click.echo(f"| {title} | {len(files)} | {named} | {wrong} | {cost_ms:.0f} |")


def _alerts(daemon: Daemon, since: int) -> list[Alert]:
    with Client([daemon.socket_path]) as client:
        return list(client.alerts(since=since))


def _stored(path: Path) -> str:
    """Return the name that a photograph has in the album: folders may have files of one name."""
    return f"{path.parent.name}-{path.name}"
