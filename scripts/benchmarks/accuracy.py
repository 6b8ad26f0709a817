"""How many edited photographs are found, and how many strangers are taken for copies, beside the peers in one run.

In: folders of photographs (by default those beside the checkout).  Out: a Markdown table of recall@1 and of verdicts
for each edit, the distributions of true and false scores, and the time of a query.  The same folders and seed give
the same figures.  Never here: speed against the size of the album (`scale`), how the threshold was found
(`threshold`), what each view brings (`views`).

Peers decide by a distance: theirs is the largest at which one stranger in a thousand finds a false original.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
from _album import SEED, Album
from _drawing import draw_distributions
from _edits import EDITS, HARDER, SHOTS
from _peers import Finder, Ours, SiftPeer, cheap_peers, missing_peers, use_one_thread
from _suites import SUITES, ask_suites
from PIL import Image
from threadpoolctl import threadpool_limits

from cbir_daemon.matching import COPY_THRESHOLD

ALL_EDITS = {**EDITS, **HARDER, **SHOTS}
GOALS = {"recall@1, average": 0.985, "recall@1, least": 0.90, "copies, average": 0.96, "copies, least": 0.80}


@dataclass(frozen=True)
class Answer:
    """What a finder made of one query: the original's score, the best other one, and the processor's time."""

    true: float
    false: float
    false_row: int
    took_ms: float


@dataclass
class Column:
    """What a finder made of all its queries.

    Parameters
    ----------
    finder : Finder
    strangers : list of Answer
        Photographs asked for in the album without them.
    edits : dict
        Answers for each edit.
    """

    finder: Finder
    strangers: list[tuple[int, Answer]] = field(default_factory=list)
    edits: dict[str, list[Answer]] = field(default_factory=dict)

    @property
    def threshold(self) -> float:
        """The finder's own, or for a peer what lets one stranger in a thousand through."""
        if isinstance(self.finder, Ours):
            return self.finder.threshold
        best = sorted((answer.false for _, answer in self.strangers), reverse=True)
        return float(np.nextafter(best[len(best) // 1000], math.inf))

    def shares(self, name: str) -> tuple[float, float]:
        """Return recall@1 and the share of originals accepted, of one edit."""
        answers = self.edits[name]
        first = sum(answer.true > answer.false for answer in answers)
        accepted = sum(answer.true >= self.threshold for answer in answers)
        return first / len(answers), accepted / len(answers)

    def cell(self, names: Sequence[str]) -> str:
        """Return the averages over edits, as a cell of the table."""
        if not set(names) <= set(self.edits):
            return "-"
        first, accepted = np.mean([self.shares(name) for name in names], axis=0)
        digits = 2 if len(names) == 1 else 3
        return f"{first:.{digits}f} / {accepted:.{digits}f}"

    def least(self, names: Sequence[str]) -> str:
        """Return the least over edits, as a cell of the table."""
        if not set(names) <= set(self.edits):
            return "-"
        first, accepted = np.min([self.shares(name) for name in names], axis=0)
        return f"{first:.2f} / {accepted:.2f}"

    def milliseconds(self, percent: float) -> float:
        """Return a percentile of the time of a query."""
        return float(np.percentile([answer.took_ms for answers in self.edits.values() for answer in answers], percent))


@dataclass(frozen=True)
class Task:
    """One photograph under one edit, or as a stranger when there is no name; which finders are asked."""

    row: int
    name: str
    finders: tuple[int, ...]


class Asker:
    """Asks finders in processes that share what they hold."""

    def __init__(self, album: Album, finders: Sequence[Finder]) -> None:
        self._album = album
        self.finders = finders

    def __call__(self, task: Task) -> list[Answer]:
        """Return what each finder of a task makes of it."""
        image = self._album.image(task.row)
        if not task.name:
            return [ask(self.finders[index], image, task.row, stranger=True) for index in task.finders]
        random = np.random.default_rng([SEED, task.row, list(ALL_EDITS).index(task.name)])
        edited = ALL_EDITS[task.name](image, random)
        edited.load()
        return [ask(self.finders[index], edited, task.row, stranger=False) for index in task.finders]


# Set before the processes fork: what the finders hold is never copied.
asker: Asker | None = None


def answers_of(task: Task) -> list[Answer]:
    """Return what the finders make of a task, in a process."""
    assert asker is not None
    return asker(task)


def ask(finder: Finder, image: Image.Image, row: int, *, stranger: bool) -> Answer:
    """Return what a finder makes of an image; the time is the processor's, so that a busy machine does not count."""
    start_s = time.process_time()
    scores = finder.scores(image, row if stranger else None)
    took_ms = (time.process_time() - start_s) * 1000
    true = scores.pop(row, 0.0)
    false, false_row = max(((score, false_row) for false_row, score in scores.items()), default=(0.0, -1))
    return Answer(true, false, false_row, took_ms)


def tasks_of(finders: Sequence[Finder], rows: Sequence[int], strangers: Sequence[int], sift_queries: int) -> list[Task]:
    """Return all that is to be asked; SIFT gets few queries and the edits that were asked for only."""
    quick = tuple(index for index, finder in enumerate(finders) if not isinstance(finder, SiftPeer))
    every = tuple(range(len(finders)))
    few = set(rows[:: max(1, len(rows) // max(1, sift_queries))][:sift_queries])
    tasks = [Task(row, "", every if index < 10 * sift_queries else quick) for index, row in enumerate(strangers)]
    return tasks + [
        Task(row, name, every if row in few and name in EDITS else quick) for name in ALL_EDITS for row in rows
    ]


def columns_of(album: Album, finders: Sequence[Finder], tasks: Sequence[Task], processes: int) -> list[Column]:
    """Return what all finders make of all tasks."""
    global asker
    asker = Asker(album, finders)
    columns = [Column(finder) for finder in finders]
    for task, answers in zip(tasks, in_processes(tasks, processes), strict=True):
        for index, answer in zip(task.finders, answers, strict=True):
            if task.name:
                columns[index].edits.setdefault(task.name, []).append(answer)
            else:
                columns[index].strangers.append((task.row, answer))
    return columns


def in_processes(tasks: Sequence[Task], processes: int) -> Iterator[list[Answer]]:
    """Yield the answers of all tasks, in order."""
    use_one_thread()
    with threadpool_limits(1), multiprocessing.get_context("fork").Pool(processes) as pool:
        yield from pool.imap(answers_of, tasks, chunksize=4)


def print_table(columns: Sequence[Column]) -> None:
    """Print recall@1 / share accepted of each edit and finder, and what each costs."""
    click.echo(f"| edit | {' | '.join(column.finder.name for column in columns)} |\n|---|{'---|' * len(columns)}")

    def line(title: str, cells: Sequence[str]) -> None:
        click.echo(f"| {title} | {' | '.join(cells)} |")

    for names, title in ((list(EDITS), "these"), (list(HARDER), "harder ones"), (list(SHOTS), "other shots")):
        for name in names:
            line(name, [column.cell([name]) for column in columns])
        line(f"**average of {title}**", [column.cell(names) for column in columns])
        line(f"**least of {title}**", [column.least(names) for column in columns])
    line("queries an edit", [str(len(column.edits[next(iter(EDITS))])) for column in columns])
    line("processor ms a query, median", [f"{column.milliseconds(50):.0f}" for column in columns])
    line("processor ms a query, 95 %", [f"{column.milliseconds(95):.0f}" for column in columns])
    line("bytes an image", [f"{column.finder.image_bytes:.0f}" for column in columns])


def print_strangers(columns: Sequence[Column], album: Album) -> None:
    """Print how many strangers were accepted, and for ours the likeliest."""
    click.echo("")
    for column in columns:
        accepted = sum(answer.false >= column.threshold for _, answer in column.strangers)
        count = len(column.strangers)
        click.echo(f"- {column.finder.name}: {accepted} of {count} strangers accepted at {column.threshold:.3f}")
    wrong = [(answer.false, row, answer.false_row) for row, answer in columns[0].strangers]
    wrong += [(answer.false, -1, answer.false_row) for answers in columns[0].edits.values() for answer in answers]
    others = sum(score >= columns[0].threshold for score, row, _ in wrong if row < 0)
    click.echo(f"- cbir: {others} of {sum(row < 0 for _, row, _ in wrong)} edited queries had another image as a copy")
    for score, row, false_row in sorted((mistake for mistake in wrong if mistake[1] >= 0), reverse=True)[:3]:
        click.echo(f"- likeliest: {score:.3f} {album.files[row].name} {album.files[false_row].name}")


def print_distribution(true: Sequence[float], others: Sequence[float], strangers: Sequence[float]) -> None:
    """Print how many true and false scores lie in each twentieth."""
    edges = np.linspace(0, 1, 21)
    counts = [np.histogram(scores, edges)[0] for scores in (true, others, strangers)]
    click.echo(
        "\n| score | originals | best other image for the same queries | best image for strangers |\n|---|---|---|---|"
    )
    for low, high, *here in zip(edges, edges[1:], *counts, strict=False):
        click.echo(f"| {low:.2f} to {high:.2f} | {' | '.join(str(count) for count in here)} |")


def print_goals(ours: Column) -> None:
    """Print what was asked for and what was reached."""
    shares = np.array([ours.shares(name) for name in EDITS])
    reached = [shares[:, 0].mean(), shares[:, 0].min(), shares[:, 1].mean(), shares[:, 1].min()]
    click.echo("")
    for (title, goal), value in zip(GOALS.items(), reached, strict=True):
        click.echo(f"- {title}: {value:.3f} (goal {goal}) {'held' if value >= goal else 'MISSED'}")


@click.command()
@click.argument("photos", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--queries", default=100, show_default=True, help="Photographs that are edited.")
@click.option("--sift-queries", default=10, show_default=True, help="Of them for SIFT; 0 leaves it out.")
@click.option("--strangers", default=500, show_default=True, help="Photographs asked for in an album without them.")
@click.option("--peers/--no-peers", default=True, help="Whether to measure the peers.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the distributions of scores here.")
@click.option(
    "--suite",
    "suites",
    multiple=True,
    type=click.Choice([*SUITES, "all"]),
    help="Ask a daemon instead, without peers; may be given again.",
)
@click.option("--others", type=int, help="Photographs of the other folders in the daemon's album; all by default.")
@click.option("--seed", default=SEED, show_default=True, help="Of a suite's album and queries.")
@click.option("--wrong", type=click.Path(file_okay=False, path_type=Path), help="Keep a suite's wrong queries here.")
@click.option("--local/--no-local", default=False, help="Whether the suite's daemon takes local features.")
@click.option("--crowd", default=0, show_default=True, help="Contents without files in the daemon's album besides.")
@click.option("--processes", default=len(os.sched_getaffinity(0)), show_default=True, help="Asked at the same time.")
def accuracy(
    photos: Sequence[Path],
    queries: int,
    sift_queries: int,
    strangers: int,
    plot: Path | None,
    suites: tuple[str, ...],
    others: int | None,
    seed: int,
    wrong: Path | None,
    crowd: int,
    processes: int,
    *,
    peers: bool,
    local: bool,
) -> None:
    """Print recall@1 / share accepted for each edit, for this program and its peers.

    Half of the queries and, as far as they go, all strangers come from the first folder of PHOTOS, the others from
    all of them.  A suite asks a daemon for QUERIES edits in all, and for half as many of strangers: `mild` edits as
    above, `hard` ones, `chains` of two to four edits, and `templates` around different photographs.
    """
    if suites:
        ask_suites(
            SUITES if "all" in suites else suites, photos, queries, others, seed, wrong, local=local, crowd=crowd
        )
        return
    album = Album.open(photos)
    finders: list[Finder] = [Ours(album)]
    if peers:
        finders += cheap_peers(album)
        finders += [SiftPeer(album)] if sift_queries and "SIFT" not in missing_peers() else []
    tasks = tasks_of(finders, album.queries(queries), album.strangers(strangers), sift_queries)
    columns = columns_of(album, finders, tasks, processes)
    print_table(columns)
    for name in missing_peers() if peers else ():
        click.echo(f"\n{name} is not installed.")
    print_goals(columns[0])
    print_strangers(columns, album)
    answers = [answer for name, found in columns[0].edits.items() if name not in SHOTS for answer in found]
    true, false = [answer.true for answer in answers], [answer.false for answer in answers]
    unknown = [answer.false for _, answer in columns[0].strangers]
    print_distribution(true, false, unknown)
    if plot:
        series = {"originals": true, "best other image": false, "best image for strangers": unknown}
        draw_distributions(plot, series, COPY_THRESHOLD)
