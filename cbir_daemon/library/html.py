"""Pictures with captions as HTML, for notebooks.

In: small pictures, texts.  Out: HTML that needs no file and no network.  Never here: where they come from.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass

SIDE_PX = 128


@dataclass(frozen=True, slots=True)
class Cell:
    """A picture and what is said of it.

    Parameters
    ----------
    picture : bytes
        A WebP; empty for none.
    title : str
    text : str
    path : str
        Shown when the mouse rests on the picture.
    """

    picture: bytes
    title: str
    text: str
    path: str


def table(cells: Sequence[Cell], nothing: str) -> str:
    """Return pictures in a row that wraps.

    Parameters
    ----------
    cells : sequence of Cell
    nothing : str
        Said when there are none.
    """
    if not cells:
        return f"<p>{_escaped(nothing)}</p>"
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{"".join(map(_cell, cells))}</div>'


def _cell(cell: Cell) -> str:
    data = base64.b64encode(cell.picture).decode()
    picture = (
        f'<img alt="" src="data:image/webp;base64,{data}" '
        f'style="width:{SIDE_PX}px;height:{SIDE_PX}px;object-fit:contain">'
        if cell.picture
        else f'<div style="width:{SIDE_PX}px;height:{SIDE_PX}px"></div>'
    )
    return (
        f'<figure style="margin:0;width:{SIDE_PX}px;overflow-wrap:anywhere" title="{_escaped(cell.path)}">{picture}'
        f"<figcaption><b>{_escaped(cell.title)}</b><br>{_escaped(cell.text)}</figcaption></figure>"
    )


def _escaped(text: str) -> str:
    # A file name that is no text has lone surrogates, which no page can hold.
    return html.escape(text.encode(errors="replace").decode())
