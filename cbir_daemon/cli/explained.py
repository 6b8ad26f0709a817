"""How a match was verified, as lines for people.

In: an explanation of the answer of `query`.  Out: lines.  Never here: the match itself (`matches`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cbir_daemon.comparison import Transform
from cbir_daemon.wording import origins

if TYPE_CHECKING:
    from cbir_daemon.protocol import answers

_OUTCOMES = {
    "copy": "a copy: {score:.3f} reaches {threshold:.3f}",
    "below": "no copy: {score:.3f} is below {threshold:.3f}",
    "given-up": "no copy: given up at a correlation of {correlation:.3f}; a copy needs {threshold:.3f}",
    "plain": "no copy: the query is too plain to be a copy of anything but the same bytes",
}

_FAMILIES = {
    "whole": "the whole image",
    "crop": "a part of it",
    "content": "the picture inside the query's bars",
    "border": "it inside a border",
    "caption": "it with a bar on one side",
    "bars": "it between two bars",
    "part": "a picture that it is a part of",
    "tilt": "it at a small angle, cropped",
    "grown": "it at a small angle, in a larger frame",
}


def explanation(explained: answers.Explanation) -> Iterator[str]:
    """Yield how a match was verified: the outcome, the view it began from, the scales, and what made the score."""
    guess = explained["guess"]
    yield "    " + _OUTCOMES[explained["outcome"]].format(**explained)
    negative = ["negative"] if guess["invert"] else []
    transform = Transform(guess["flip"], guess["turn"], guess["angle"], guess["invert"])
    view = [_FAMILIES[guess["family"]], *origins.turns(transform), *negative]
    parts = ((guess["query_window"], "of the query"), (guess["stored_window"], "of the image"))
    seen = " like ".join(f"{_window(window)} {whose}" for window, whose in parts)
    yield f"    view: {', '.join(view)}; {seen}"
    yield f"    scales: {explained['scale_x']:.3f} x {explained['scale_y']:.3f} stored pixels a query pixel"
    measures = [
        f"correlation: {explained['correlation']:.4f}",
        f"area ratio {explained['area_ratio']:.2f}",
        f"cost {explained['cost']:.2f}",
    ]
    if explained["evidence_px"] is not None:
        measures.append(f"evidence {explained['evidence_px']:.0f} px ({explained['evidence_needed_px']:.0f} needed)")
    yield f"    {', '.join(measures)}"


def _window(window: answers.Window) -> str:
    if (window["left"], window["top"], window["right"], window["bottom"]) == (0, 0, 1, 1):
        return "all"
    return "{left:.0%}-{right:.0%} across, {top:.0%}-{bottom:.0%} down".format(**window)
