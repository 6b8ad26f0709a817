"""How high two different photographs can score: what the threshold for a copy was found from.

In: folders of photographs (by default those beside the checkout).  Out: how many false pairs score above each level,
and the likeliest of them by name, to be looked at: an album may hold the same photograph twice.  Never here: how many
true pairs score less (`accuracy`).

Each photograph is compared with the candidates that the coarse search finds likeliest among all others: the hardest of
as many pairs as there are photographs squared.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from _album import SEED, Album
from _drawing import draw_distributions
from _edits import EDITS, HARDER
from _peers import Ours
from threadpoolctl import threadpool_limits

from cbir_daemon.matching import COPY_THRESHOLD

LEVELS = (0.60, 0.70, 0.75, 0.80, 0.82, 0.84, 0.86, 0.88, 0.90, 0.91, 0.92, 0.94, 0.96)
# The same photograph twice in an album is no false pair; the likeliest below are printed to be looked at.
SAME = 0.97
SHOWN = 12

FalseScores = list[tuple[float, int, int]]
album: Album | None = None
ours: Ours | None = None


def false_scores(task: tuple[int, str]) -> FalseScores:
    """Return the scores of all candidates for one photograph but its own: (score, its row, the row found)."""
    assert album is not None
    assert ours is not None
    row, name = task
    image = album.image(row)
    if name:
        edits = {**EDITS, **HARDER}
        image = edits[name](image, np.random.default_rng([SEED, row, list(edits).index(name)]))
    return [(score, row, found_row) for found_row, score in ours.scores(image, row).items()]


@click.command()
@click.argument("photos", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--step", default=1, show_default=True, help="Ask for each photograph, for each second, ...")
@click.option("--edit", default="", help="Edit the photographs before, as `accuracy` calls it.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the distribution here.")
@click.option("--processes", default=len(os.sched_getaffinity(0)), show_default=True, help="Asked at the same time.")
def threshold(photos: Sequence[Path], step: int, edit: str, plot: Path | None, processes: int) -> None:
    """Print how many pairs of different photographs score above each level."""
    global album, ours
    album = Album.open(photos)
    ours = Ours(album)
    tasks = [(row, edit) for row in range(0, len(album), step)]
    with threadpool_limits(1), multiprocessing.get_context("fork").Pool(processes) as pool:
        found = [pair for pairs_of_one in pool.imap(false_scores, tasks, chunksize=8) for pair in pairs_of_one]
    pairs = len(tasks) * (len(album) - 1)
    same = [pair for pair in found if pair[0] >= SAME]
    scores = [score for score, _, _ in found if score < SAME]
    click.echo(f"{len(tasks)} photographs, {pairs} pairs, the hardest {len(found)} verified\n")
    click.echo("| score from | false pairs | of 100 000 pairs |\n|---|---|---|")
    for level in LEVELS:
        above = sum(score >= level for score in scores)
        click.echo(f"| {level:.2f} | {above} | {above / pairs * 100_000:.4f} |")
    click.echo(
        f"\nThe threshold is {COPY_THRESHOLD}; {len(same)} pairs from {SAME} on are taken for one photograph twice:"
    )
    for title, shown in (("", same), ("\nThe likeliest others:", [pair for pair in found if pair[0] < SAME])):
        click.echo(title)
        for score, row, found_row in sorted(shown, reverse=True)[:SHOWN]:
            click.echo(f"- {score:.3f} {album.files[row].name} {album.files[found_row].name}")
    if plot:
        draw_distributions(plot, {"different photographs": scores}, COPY_THRESHOLD)
