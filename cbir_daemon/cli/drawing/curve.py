"""Draw what a fit tried: trustworthiness and neighbour recall against `n_neighbors`, the choice marked.

In: a curve.  Out: a PNG or an SVG.  Never here: files, the daemon.

This module is the door to matplotlib, which takes half a second to load: only `cbir model plot OUT` imports it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cbir_daemon.cli.drawing.curve_data import Curve, Point, tried_neighbors

FORMS: Final = ("png", "svg")
SIZE_INCHES: Final = (7.2, 5.6)
DOTS_PER_INCH: Final = 150
EDGE: Final = 1.15
"""Factor by which the scale goes beyond what was tried."""

# Told apart by those who see no red or green, and in print.
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS: Final = "os^Dv*"
INK: Final = "#222222"
FAINT: Final = "#d8d8d4"


def draw_curve(curve: Curve, form: str) -> bytes:
    """Return the picture of a curve.

    Parameters
    ----------
    curve : Curve
    form : str
        "png" or "svg".
    """
    # Text stays text in an SVG, and the same curve gives the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cbir", "axes.edgecolor": "#888884"}):
        figure = Figure(SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
        upper, lower = figure.subplots(2, sharex=True)
        _draw_scores(upper, curve, "trustworthiness", [point.trustworthiness for point in curve.points])
        _draw_scores(lower, curve, "neighbour recall", [point.neighbor_recall for point in curve.points])
        _draw_neighbors(lower, tried_neighbors(curve))
        figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
        chosen = curve.chosen
        figure.suptitle(f"n_neighbors {chosen.n_neighbors}, n_components {chosen.n_components}", color=INK)
        output = io.BytesIO()
        figure.savefig(output, format=form, metadata={"Date": None} if form == "svg" else None)
    return output.getvalue()


def _draw_scores(axes: Axes, curve: Curve, name: str, scores: Sequence[float]) -> None:
    by_point = dict(zip(curve.points, scores, strict=True))
    for number, series in enumerate(curve.series):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        across = [point.n_neighbors for point in series.points]
        up = [by_point[point] for point in series.points]
        axes.plot(across, up, marker=marker, color=colour, label=f"{series.n_components} components", zorder=2)
    _mark(axes, curve.chosen, by_point[curve.chosen])
    axes.set_ylabel(name, color=INK)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.18)


def _mark(axes: Axes, chosen: Point, score: float) -> None:
    axes.axvline(chosen.n_neighbors, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axes.plot(
        [chosen.n_neighbors],
        [score],
        marker="o",
        markersize=15,
        markerfacecolor="none",
        markeredgecolor=INK,
        markeredgewidth=1.4,
        linestyle="none",
        label="chosen",
        zorder=3,
    )
    axes.annotate(
        f"{score:.4f}",
        (chosen.n_neighbors, score),
        (-12, 8),
        textcoords="offset points",
        ha="right",
        va="bottom",
        bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
    )


def _draw_neighbors(axes: Axes, tried: Sequence[int]) -> None:
    # Candidates grow by factors; a scale of logarithms would add ticks of its own between them.
    # Explicit limits, since those of a single candidate would be a point.
    axes.set_xlim(tried[0] / EDGE, tried[-1] * EDGE)
    axes.set_xscale("log")
    axes.set_xticks(tried, labels=[str(value) for value in tried])
    axes.minorticks_off()
    axes.set_xlabel("n_neighbors", color=INK)
