"""The order for a picture of many small ones, from daemon to worker.

In: a canvas.  Out: a message, and back.  Never here: Pillow.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

TILE: Final = struct.Struct("<4H4B")
"""A row of the table: left, top, width and height in pixels; red, green, blue and width of the frame, 0 for none."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """What is drawn on.

    Parameters
    ----------
    width_px, height_px : int
    side_px : int
        Of each square of grey numbers; it is scaled to the place that its row of the table gives it.
    form : str
        "PNG" or "WEBP".
    descriptor_bytes : int
        Of the descriptor that says in which colours a square is shown; 0 for greys.
    background : tuple of int, optional
        Red, green and blue, 0 to 255.
    """

    width_px: int
    height_px: int
    side_px: int
    form: str
    descriptor_bytes: int = 0
    background: tuple[int, int, int] = (0, 0, 0)


def mosaic_message(canvas: Canvas) -> dict[str, Any]:
    """Return the message that asks for a picture; its blob is a table of `TILE`, their descriptors, then squares."""
    return {"do": "mosaic", **asdict(canvas)}


def canvas_from(message: Mapping[str, Any]) -> Canvas:
    """Return the canvas in a message."""
    return Canvas(
        message["width_px"],
        message["height_px"],
        message["side_px"],
        message["form"],
        message["descriptor_bytes"],
        tuple(message["background"]),
    )
