"""The client's own start: `cbir` as a whole process against a bare Python, in turn.

In: a few photographs.  Out: a Markdown table, wall and processor time of each command as ratios to `python -c pass`.
Never here: what the daemon does meanwhile, but for what a query took inside it.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from _daemon import COMMANDS, Daemon
from _pieces import PHOTOS

IMAGES = 40
BARE = "python -c pass"


@dataclass(frozen=True)
class Run:
    """A process from its start to its end: seconds by the clock, seconds of a processor, what it printed."""

    wall_s: float
    cpu_s: float
    printed: str


def ran(command: Sequence[str | Path], environ: dict[str, str], output: Path) -> Run:
    """Run a process to its end.

    Parameters
    ----------
    command : sequence of str or Path
        The first is the path of a program.
    environ : dict of str to str
    output : Path
        A file for what it prints.

    Raises
    ------
    click.ClickException
        When the process fails.
    """
    opened = (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    before = time.perf_counter()
    pid = os.posix_spawn(command[0], [*map(str, command)], environ, file_actions=[opened])
    _, status, used = os.wait4(pid, 0)
    took = time.perf_counter() - before
    if status:
        raise click.ClickException(f"{' '.join(map(str, command))} failed")
    return Run(took, used.ru_utime + used.ru_stime, output.read_text())


def commands_of(image: Path) -> dict[str, list[str | Path]]:
    """Return what is measured, by the name that the table shows; a query of an image."""
    cbir = COMMANDS / "cbir"
    return {
        BARE: [sys.executable, "-c", "pass"],
        "cbir status": [cbir, "status"],
        "cbir status --json": [cbir, "status", "--json"],
        "cbir query": [cbir, "query", image],
        "cbir query --json": [cbir, "query", image, "--json"],
        "cbir query --kind exact": [cbir, "query", image, "--kind", "exact"],
        "cbir album list": [cbir, "album", "list"],
    }


def row(name: str, runs: Sequence[Run], bare: Sequence[Run]) -> str:
    """Return a line of the table: medians, their ratios to the bare Python, what the daemon took, and what is left."""
    wall_ms, cpu_ms = (statistics.median(getattr(run, part) for run in runs) * 1e3 for part in ("wall_s", "cpu_s"))
    of_wall, of_cpu = (statistics.median(getattr(run, part) for run in bare) * 1e3 for part in ("wall_s", "cpu_s"))
    inside_ms = statistics.median(took_ms(run) for run in runs)
    cells = [f"{wall_ms:.1f}", f"{wall_ms / of_wall:.2f}", f"{cpu_ms:.1f}", f"{cpu_ms / of_cpu:.2f}"]
    cells += [f"{inside_ms:.1f}", f"{(wall_ms - inside_ms) / of_wall:.2f}"] if inside_ms else ["", ""]
    return f"| `{name}` | {' | '.join(cells)} |"


def took_ms(run: Run) -> float:
    """Return the milliseconds inside the daemon, as an answer of a query in JSON says; 0 when it is none."""
    return float(json.loads(run.printed).get("took_ms", 0.0)) if run.printed.startswith("{") else 0.0


@click.command()
@click.option("--runs", default=25, show_default=True, help="Runs of each command, in turn.")
def start(runs: int) -> None:
    """Start `cbir` again and again, and a bare Python in between."""
    with tempfile.TemporaryDirectory(prefix="cbir") as name:
        home, album = Path(name), Path(name, "album")
        album.mkdir()
        for number, photograph in enumerate(sorted(PHOTOS.rglob("*.jpg"))[:IMAGES]):
            shutil.copyfile(photograph, album / f"{number}.jpg")
        daemon = Daemon(home, album, "min_images = 100000")
        daemon.start()
        daemon.ask("settle")
        # Bytecode is there after the first run, as it is where pip has installed.
        environ = {key: value for key, value in daemon.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        commands = commands_of(album / "0.jpg")
        measured: dict[str, list[Run]] = {name: [] for name in commands}
        for number in range(runs + 1):
            for name, command in commands.items():
                run = ran(command, environ, home / "output")
                measured[name] += [run] if number else []
        daemon.stop()
    click.echo("| command | wall, ms | x bare | processor, ms | x bare | in the daemon, ms | wall without it, x bare |")
    click.echo("|---|---|---|---|---|---|---|")
    for name, done in measured.items():
        click.echo(row(name, done, measured[BARE]))
