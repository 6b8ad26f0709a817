"""Draw a query and its matches as one picture that a person can look at.

In: small upright colour pictures, or why there is none, each with its lines of text.  Out: a PNG.  Never here: files,
scores, what the text says.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from PIL import Image, ImageDraw, ImageFont

from cbir_daemon.protocol.framing import Frame

MARGIN_PX: Final = 28
GAP_PX: Final = 20
QUERY_SIDE_PX: Final = 440
CELL_SIDE_PX: Final = 248
COLUMNS: Final = 4
FONT_PX: Final = 17
LINE_PX: Final = 24

BACKGROUND: Final = (250, 250, 248)
MOUNT: Final = (238, 238, 234)
MISSING: Final = (205, 205, 202)
INK: Final = (34, 34, 34)
FAINT_INK: Final = (110, 110, 106)

# Fonts that know more than Latin letters come first; the last resort is the one inside Pillow.
_FONTS: Final = ("NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf", "DejaVuSans.ttf", "LiberationSans-Regular.ttf")


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a sheet.

    Parameters
    ----------
    caption : tuple of str
        Lines below the picture; the first in full ink.
    image : PIL.Image.Image or None
        RGB; None when the file cannot be read.
    reason : str
        Why there is no image.
    """

    caption: tuple[str, ...]
    image: Image.Image | None
    reason: str = ""


def panels_from(frame: Frame) -> tuple[Panel, list[Panel]]:
    """Return the panels of a sheet.

    Parameters
    ----------
    frame : Frame
        The message has `panels`, each with `caption`, `width_px`, `height_px` and `reason`; the blob has their RGB
        bytes, one picture after the other.

    Returns
    -------
    query : Panel
    cells : list of Panel
        The matches.
    """
    panels = list(_panels(frame.message["panels"], frame.blob))
    return panels[0], panels[1:]


def _panels(described: Sequence[dict[str, Any]], blob: bytes) -> Iterator[Panel]:
    start = 0
    for panel in described:
        size = (panel["width_px"], panel["height_px"])
        end = start + 3 * size[0] * size[1]
        image = Image.frombytes("RGB", size, blob[start:end]) if end > start else None
        yield Panel(tuple(panel["caption"]), image, panel["reason"])
        start = end


def draw_sheet(query: Panel, cells: Sequence[Panel]) -> bytes:
    """Return a PNG with the query large at the left and the matches in rows at the right.

    Parameters
    ----------
    query : Panel
    cells : sequence of Panel
        The matches, in reading order; their images are scaled down in place.
    """
    columns = min(COLUMNS, len(cells))
    rows = math.ceil(len(cells) / COLUMNS)
    lines = max((len(cell.caption) for cell in cells), default=0)
    row_px = CELL_SIDE_PX + lines * LINE_PX + GAP_PX
    query_px = QUERY_SIDE_PX + len(query.caption) * LINE_PX + GAP_PX
    grid_left = MARGIN_PX + QUERY_SIDE_PX + 2 * GAP_PX
    width = (
        grid_left + columns * (CELL_SIDE_PX + GAP_PX) + MARGIN_PX - GAP_PX if cells else 2 * MARGIN_PX + QUERY_SIDE_PX
    )
    sheet = Image.new("RGB", (width, 2 * MARGIN_PX + max(query_px, rows * row_px)), BACKGROUND)
    pen = _Pen(sheet)
    pen.panel(query, (MARGIN_PX, MARGIN_PX), QUERY_SIDE_PX)
    for position, cell in enumerate(cells):
        row, column = divmod(position, COLUMNS)
        pen.panel(cell, (grid_left + column * (CELL_SIDE_PX + GAP_PX), MARGIN_PX + row * row_px), CELL_SIDE_PX)
    output = io.BytesIO()
    sheet.save(output, "PNG")
    return output.getvalue()


class _Pen:
    """Draws panels on a sheet."""

    def __init__(self, sheet: Image.Image) -> None:
        self._sheet = sheet
        self._draw = ImageDraw.Draw(sheet)
        self._font = load_font()

    def panel(self, panel: Panel, corner: tuple[int, int], side_px: int) -> None:
        left, top = corner
        box = (left, top, left + side_px - 1, top + side_px - 1)
        self._draw.rectangle(box, fill=MOUNT if panel.image else MISSING)
        if panel.image is None:
            self._centred(panel.reason, left + side_px // 2, top + side_px // 2, side_px - GAP_PX)
        else:
            self._paste(panel.image, left, top, side_px)
        for number, line in enumerate(panel.caption):
            place = (left, top + side_px + 8 + number * LINE_PX)
            self._draw.text(place, self._fitted(line, side_px), INK if number == 0 else FAINT_INK, self._font)

    def _paste(self, image: Image.Image, left: int, top: int, side_px: int) -> None:
        image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
        self._sheet.paste(image, (left + (side_px - image.width) // 2, top + (side_px - image.height) // 2))

    def _centred(self, text: str, x: int, y: int, width_px: int) -> None:
        lines = self._wrapped(text, width_px)
        first = y - len(lines) * LINE_PX // 2
        for number, line in enumerate(lines):
            place = (x, first + number * LINE_PX)
            self._draw.text(place, self._fitted(line, width_px), INK, self._font, anchor="ma")

    def _wrapped(self, text: str, width_px: int) -> list[str]:
        lines = [""]
        for word in text.split():
            longer = f"{lines[-1]} {word}".strip()
            if self._font.getlength(longer) <= width_px or not lines[-1]:
                lines[-1] = longer
            else:
                lines.append(word)
        return lines

    def _fitted(self, text: str, width_px: int) -> str:
        """Return `text`, with letters left out in its middle when it is too wide: both ends of a file name tell."""
        if self._font.getlength(text) <= width_px:
            return text
        letters = len(text) - 1
        while letters > 1 and self._font.getlength(_shortened(text, letters)) > width_px:
            letters -= 1
        return _shortened(text, letters)


def _shortened(text: str, letters: int) -> str:
    tail = letters // 2
    return f"{text[: letters - tail]}…{text[len(text) - tail :]}"


@cache
def load_font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the best font that this machine has; its file stays open."""
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, FONT_PX)
        except OSError:
            continue
    return ImageFont.load_default(FONT_PX)
