"""The map as one page for a browser that needs nothing but itself: no network, no other file.

In: the daemon's answers to `map`.  Out: HTML.  Never here: files, the daemon, what a path means.

Names of files are hostile until they are escaped: they travel as JSON in ASCII inside an element that is no script,
with every character escaped that HTML could take for its own.  The page's policy lets only its own script run, by its
hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cbir_daemon.protocol.messages import path_from_json

if TYPE_CHECKING:
    from cbir_daemon.protocol.answers import MapPart, Place

FOLDER: Final = Path(__file__).parent
TEMPLATE: Final = "map.html"
STYLE: Final = "map.css"
SCRIPT: Final = "map.js"

ESCAPED: Final = {ord(character): f"\\u{ord(character):04x}" for character in "<>&'"}
"""What JSON may say in its own escapes, and HTML would read as a tag, an entity or the end of the element."""


def page_of(parts: Sequence[tuple[MapPart, bytes]]) -> bytes:
    """Return the page.

    Parameters
    ----------
    parts : sequence of (answer, blob)
        All that `map` answered when it was asked for a page.
    """
    places = [place for answer, _ in parts for place in answer.get("places", ())]
    atlases = [(answer["atlas"], blob) for answer, blob in parts if "atlas" in answer]
    data = {
        **{name: parts[0][0][name] for name in ("images", "shown", "groups", "grid_columns", "grid_rows")},
        **_compact(places),
        "atlases": [[atlas["first"], atlas["count"], atlas["side_px"], atlas["columns"]] for atlas, _ in atlases],
    }
    style, script = (_resource(name) for name in (STYLE, SCRIPT))
    filled = {
        "@POLICY@": policy(style, script),
        "@STYLE@": style,
        "@DATA@": as_data(data),
        "@ATLASES@": "\n".join(_atlases(blob for _, blob in atlases)),
        "@SCRIPT@": script,
    }
    return _filled(_resource(TEMPLATE), filled).encode()


def _resource(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _filled(template: str, values: Mapping[str, str]) -> str:
    """Return a template with each mark replaced, in their order; a value that looks like a mark stays as it is."""
    text = template
    pieces: list[str] = []
    for mark, value in values.items():
        before, _, text = text.partition(mark)
        pieces += (before, value)
    return "".join((*pieces, text))


def policy(style: str, script: str) -> str:
    """Return the Content-Security-Policy: nothing is loaded, and only this style and this script are used.

    Parameters
    ----------
    style, script : str
        Text between the tags of the page, to the byte: the policy holds its SHA-256.
    """
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() for source in (style, script)
    )
    return (
        f"default-src 'none'; script-src 'sha256-{script_hash}'; style-src 'sha256-{style_hash}'; img-src blob:;"
        " base-uri 'none'; form-action 'none'"
    )


def as_data(document: object) -> str:
    """Return JSON that HTML cannot misread, in ASCII."""
    return json.dumps(document, separators=(",", ":")).translate(ESCAPED)


def _compact(places: Iterable[Place]) -> dict[str, object]:
    """Return the places as rows without names of fields, and their folders apart: most paths share one."""
    folders: dict[str, int] = {}
    rows: list[list[object]] = []
    for place in places:
        folder, _, file = readable(place["path"]).rpartition("/")
        rows.append(
            [
                place["column"],
                place["row"],
                folders.setdefault(folder, len(folders)),
                file,
                place["width"],
                place["height"],
                place["size"],
                place["taken"],
                place["group"],
                [readable(name) for name in place["names"]],
            ]
        )
    return {"folders": list(folders), "places": rows}


def readable(path: object) -> str:
    r"""Return a path as text; a byte that is none stands as \xNN."""
    return path_from_json(path).decode("utf-8", "backslashreplace")


def _atlases(blobs: Iterable[bytes]) -> Iterator[str]:
    for number, blob in enumerate(blobs):
        yield f'<script type="text/plain" id="atlas-{number}">{base64.b64encode(blob).decode()}</script>'
