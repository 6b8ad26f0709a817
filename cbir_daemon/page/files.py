"""The files of the page: read once, before the process gives up the right to open any.

In: a folder.  Out: names and what they hold.  Never here: anything that is not shipped with the program.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

FOLDER = Path(__file__).with_name("static")
FRONT = "index.html"

TYPES: Mapping[str, str] = MappingProxyType(
    {
        ".css": "text/css; charset=utf-8",
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".json": "application/json",
        ".mjs": "text/javascript; charset=utf-8",
        ".png": "image/png",
        ".svg": "image/svg+xml",
        ".txt": "text/plain; charset=utf-8",
        ".webmanifest": "application/manifest+json",
        ".webp": "image/webp",
        ".woff2": "font/woff2",
    }
)
"""Ending of a name -> media type; a file with another ending is not served."""


@dataclass(frozen=True, slots=True)
class File:
    """The bytes of a file, and the headers that it is sent with."""

    data: bytes
    type: str


def read_files(folder: Path = FOLDER) -> Mapping[str, File]:
    """Return every file of a folder that may be served, by its name below it.

    Parameters
    ----------
    folder : Path
    """
    return {
        path.relative_to(folder).as_posix(): File(path.read_bytes(), TYPES[path.suffix])
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in TYPES
    }
