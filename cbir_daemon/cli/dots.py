"""The curve of a fit as text: a line for each candidate, with marks between the worst and the best score.

In: a curve and the width of a terminal.  Out: lines.  Never here: the daemon, colours.
"""

from __future__ import annotations

from collections.abc import Iterator

from cbir_daemon.cli.drawing.curve_data import Curve, Point

MIN_PANEL = 12
"""Characters of a panel in the narrowest terminal."""

MARK = "o"
CHOSEN = "@"
LEGEND = f"{CHOSEN} chosen"


def dots(curve: Curve, width: int = 80) -> Iterator[str]:
    """Yield the lines of a plot.

    Parameters
    ----------
    curve : Curve
    width : int
        Of the terminal, in characters.  In a narrower one than the plot needs, lines are longer than the terminal is
        wide.
    """
    labels = [f"{point.n_neighbors:11}  {point.n_components:12}" for point in curve.points]
    head = "n_neighbors  n_components"
    panel = max(MIN_PANEL, (width - len(head) - 2 * 5) // 2)
    panels = [
        _Panel("trustworthiness", [point.trustworthiness for point in curve.points], panel),
        _Panel("neighbour recall", [point.neighbor_recall for point in curve.points], panel),
    ]
    yield "  ".join([" " * len(head), *(f" {part.name[:panel].ljust(panel)} " for part in panels)]).rstrip()
    yield "  ".join([head, *(f" {part.scale} " for part in panels)]).rstrip()
    for number, (label, point) in enumerate(zip(labels, curve.points, strict=True)):
        yield "  ".join([label, *(f"|{part.line(number, _mark(point, curve))}|" for part in panels)])
    chosen = curve.chosen
    yield f"{LEGEND}: n_neighbors {chosen.n_neighbors}, n_components {chosen.n_components}"


def _mark(point: Point, curve: Curve) -> str:
    return CHOSEN if point == curve.chosen else MARK


class _Panel:
    """A column of the plot: scores on a scale of `width` characters from the worst to the best."""

    def __init__(self, name: str, scores: list[float], width: int) -> None:
        self.name = name
        self._scores = scores
        self._width = width
        self._low, self._high = min(scores), max(scores)

    @property
    def scale(self) -> str:
        """The worst and the best score as numbers; one number when they are equal."""
        low, high = f"{self._low:.3f}", f"{self._high:.3f}"
        return low.center(self._width) if low == high else low + high.rjust(self._width - len(low))

    def line(self, number: int, mark: str) -> str:
        """Return this panel's part of the line for candidate `number`."""
        spread = self._high - self._low
        share = (self._scores[number] - self._low) / spread if spread else 0.5
        return mark.rjust(1 + round(share * (self._width - 1))).ljust(self._width)
