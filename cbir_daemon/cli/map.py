"""`cbir map`: draws the collection as a picture, or as a page for a browser.

In: arguments, the parts that the daemon sends.  Out: a file.  Never here: what lies where on the map.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cbir_daemon.cli import lines
from cbir_daemon.cli.common import A_PATH, AS_JSON, OF_MEDIUM, absolute, connected, form_of
from cbir_daemon.cli.drawing.page import page_of
from cbir_daemon.cli.printing import print_answer, write_file
from cbir_daemon.protocol.messages import path_to_json
from cbir_daemon.wording.counting import counted

if TYPE_CHECKING:
    from cbir_daemon.cli.documents import MapWritten
    from cbir_daemon.protocol.answers import MapPart

FORMS = {".png": "png", ".html": "page", ".htm": "page"}
"""Ending of a file -> what the daemon is asked for."""


@click.command("map")
@click.argument("out", type=A_PATH)
@click.option(
    "--size",
    "size_px",
    type=click.IntRange(64, 8192),
    default=2400,
    show_default=True,
    help="Longer side of a .png at most, in pixels.",
)
@OF_MEDIUM
@AS_JSON
def map_(out: Path, size_px: int, medium: str, as_json: bool) -> None:
    """Draw the collection: images that look alike lie together, duplicates are framed.

    OUT is a picture (.png) or a page for a browser (.html), which pans, zooms and finds paths.  The page needs no
    network and no other file.
    """
    form = form_of(out, FORMS)
    parts: list[tuple[MapPart, bytes]] = []
    with connected() as client:
        for part in client.map(form=form, size_px=size_px, medium=medium):
            parts.append(part)
            _tell(part[0])
    first = parts[0][0]
    data = parts[0][1] if form == "png" else page_of(parts)
    write_file(out, data)
    written: MapWritten = {
        "path": path_to_json(bytes(absolute(out))),
        "images": first["images"],
        "shown": first["shown"],
        "groups": first["groups"],
        "size": len(data),
    }
    print_answer(written, drawn, as_json=as_json)


def _tell(answer: MapPart) -> None:
    """Say in a terminal how far a page is."""
    if "atlas" in answer and sys.stderr.isatty():
        done = answer["atlas"]["first"] + answer["atlas"]["count"]
        line = f"drawing: {done} of {answer['shown']}" if done < answer["shown"] else ""
        click.echo(f"\r\x1b[K{line}", nl=False, err=True)


def drawn(answer: MapWritten) -> Iterator[str]:
    """Yield what was drawn, and of how many images when these are not all."""
    of_all = "" if answer["shown"] == answer["images"] else f" of {answer['images']}, evenly chosen"
    size = lines.size(answer["size"])
    images, groups = counted(answer["shown"], "image"), counted(answer["groups"], "group")
    yield f"{images}{of_all}, {groups} of duplicates, {size}"
