"""The candidates of a fit, put in order for a plot.

In: a curve as `cbir model show` has it.  Out: points, each once, in series.  Never here: drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cbir_daemon.cli.documents import Tried
    from cbir_daemon.protocol.answers import ModelShown


@dataclass(frozen=True, slots=True)
class Point:
    """A pair of hyper-parameters and how its maps scored, from 0 to 1; the mean where it was tried more than once."""

    n_neighbors: int
    n_components: int
    trustworthiness: float
    neighbor_recall: float


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one `n_components`, in order of `n_neighbors`."""

    n_components: int
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """All that was tried, the series with most points first, and what was chosen of it."""

    series: tuple[Series, ...]
    chosen: Point

    @property
    def points(self) -> tuple[Point, ...]:
        """Every point, series after series."""
        return tuple(point for line in self.series for point in line.points)


def curve_of(model: ModelShown | Tried) -> Curve:
    """Return the curve in an answer of `model_show`.

    The choice is a point of it, or stands alone when a fit took over what an earlier one had found.
    """
    scores: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for trial in (*model["curve"], *([] if _was_tried(model) else [model])):
        key = (trial["n_neighbors"], trial["n_components"])
        scores.setdefault(key, []).append((trial["trustworthiness"], trial["neighbor_recall"]))
    points = [Point(*key, *map(fmean, zip(*values, strict=True))) for key, values in sorted(scores.items())]
    by_components: dict[int, list[Point]] = {}
    for point in points:
        by_components.setdefault(point.n_components, []).append(point)
    series = [Series(n_components, tuple(line)) for n_components, line in by_components.items()]
    series.sort(key=lambda line: (-len(line.points), line.n_components))
    chosen = next(point for point in points if _is_choice(point, model))
    return Curve(tuple(series), chosen)


def _was_tried(model: ModelShown | Tried) -> bool:
    pairs = {(trial["n_neighbors"], trial["n_components"]) for trial in model["curve"]}
    return (model["n_neighbors"], model["n_components"]) in pairs


def _is_choice(point: Point, model: ModelShown | Tried) -> bool:
    return (point.n_neighbors, point.n_components) == (model["n_neighbors"], model["n_components"])


def tried_neighbors(curve: Curve) -> Sequence[int]:
    """Return every `n_neighbors` tried, ascending."""
    return sorted({point.n_neighbors for point in curve.points})
