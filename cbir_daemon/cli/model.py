"""Commands of `cbir model`: scores and curve of the map, fits now and before.

In: arguments and answers.  Out: lines, JSON or a picture of the curve.  Never here: fitting.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cbir_daemon.cli import text
from cbir_daemon.cli.asking import FOUND, NOTHING_FOUND
from cbir_daemon.cli.common import A_PATH, AS_JSON, OF_MEDIUM, connected, form_of
from cbir_daemon.cli.dots import dots
from cbir_daemon.cli.drawing.curve_data import Curve, curve_of
from cbir_daemon.cli.printing import print_answer, write_file
from cbir_daemon.errors import UnavailableError

if TYPE_CHECKING:
    from cbir_daemon.cli import documents
    from cbir_daemon.protocol import answers

PICTURES = {".png": "png", ".svg": "svg"}
"""Ending of a file -> form of the picture."""

MAX_WIDTH = 120
"""Characters of a plot in a wide terminal."""


@click.group()
def model() -> None:
    """Show, fit, plot or look back at the map of the collection."""


@model.command()
@OF_MEDIUM
@AS_JSON
def show(medium: str, as_json: bool) -> None:
    """Show the map in use, its scores and curve."""
    with connected() as client:
        print_answer(client.model_show(medium), text.model, as_json=as_json)


@model.command()
@OF_MEDIUM
@AS_JSON
def fit(medium: str, as_json: bool) -> None:
    """Tune and fit now.

    Queries are answered from the old map until the new one is there.
    """
    with connected() as client:
        for news in client.model_fit(medium):
            if "run" in news:
                print_answer(news["run"], text.model, as_json=as_json)
            elif sys.stderr.isatty():
                progress = news["progress"]
                line = f"{progress['fraction']:4.0%}  {progress['stage']}: {progress['message']}"
                click.echo(f"\r\x1b[K{line}", nl=False, err=True)
        if sys.stderr.isatty():
            click.echo("\r\x1b[K", nl=False, err=True)


@model.command()
@OF_MEDIUM
@AS_JSON
def cancel(medium: str, as_json: bool) -> int:
    """End the running fit.

    The next fit starts by itself once more has changed, and uses what this one has finished.  Exit status 1 when
    no fit runs.
    """
    with connected() as client:
        answer = client.model_cancel(medium)
    print_answer(answer, text.cancelled, as_json=as_json)
    return FOUND if answer["cancelled"] else NOTHING_FOUND


@model.command()
@OF_MEDIUM
@AS_JSON
def history(medium: str, as_json: bool) -> int:
    """List every fit and what came of it.

    With hyper-parameters, scores, size and duration.  Exit status 1 when there was none.
    """
    with connected() as client:
        answer = client.model_history(medium)
    print_answer(answer, text.history, as_json=as_json)
    return FOUND if answer["runs"] else NOTHING_FOUND


@model.command()
@click.argument("out", type=A_PATH, required=False)
@OF_MEDIUM
@AS_JSON
def plot(out: Path | None, medium: str, as_json: bool) -> None:
    """Plot trustworthiness and neighbour recall against n_neighbors, the choice marked.

    Into the terminal, or as a picture to OUT, which ends in .png or .svg.
    """
    form = None if out is None else form_of(out, PICTURES)
    with connected() as client:
        answer = client.model_show(medium)
    if out is not None and form is not None:
        write_file(out, picture_of(curve_of(answer), form))
    # Where a file was written, only a program wants the curve, too.
    if out is None or as_json:
        print_answer(_tried(answer), plot_lines, as_json=as_json)


def _tried(answer: answers.ModelShown) -> documents.Tried:
    return {
        "n_neighbors": answer["n_neighbors"],
        "n_components": answer["n_components"],
        "trustworthiness": answer["trustworthiness"],
        "neighbor_recall": answer["neighbor_recall"],
        "curve": answer["curve"],
    }


def plot_lines(answer: documents.Tried) -> Iterator[str]:
    """Yield the plot as text, as wide as the terminal but at most `MAX_WIDTH` characters."""
    return dots(curve_of(answer), min(MAX_WIDTH, shutil.get_terminal_size().columns))


def picture_of(curve: Curve, form: str) -> bytes:
    """Return the bytes of the picture of a curve.

    Parameters
    ----------
    curve : Curve
        What to draw.
    form : str
        Format of the picture, as `draw_curve` takes it.

    Raises
    ------
    UnavailableError
        When matplotlib is not installed.
    """
    try:
        # matplotlib takes half a second to load, and is an extra.
        module = importlib.import_module("cbir_daemon.cli.drawing.curve")
    except ImportError as error:
        raise UnavailableError(
            "a picture of the curve needs matplotlib",
            hint="pip install 'cbir-daemon[plot]', or leave OUT out for a plot in the terminal",
        ) from error
    picture: bytes = module.draw_curve(curve, form)
    return picture
