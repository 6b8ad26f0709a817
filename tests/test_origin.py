"""Where a query is from, as the daemon says it of each match."""

from __future__ import annotations

from typing import Any

import pytest

from cbir_daemon.comparison import Around, LookedAt, Overlap, Tone, Transform
from cbir_daemon.kinds import Kind
from cbir_daemon.records import Facts, FileState
from cbir_daemon.search.search import Found
from cbir_daemon.serving.handlers.origins import origin_of
from cbir_daemon.store import Content, Image

QUERY = Facts(bytes(32), None, 640, 480, "JPEG", extractor="grey64/1")


def said(
    kind: Kind = Kind.COPY,
    *,
    size_px: tuple[int, int] = (640, 480),
    missing: bool = False,
    later_s: float | None = None,
    **fields: Any,  # noqa: ANN401 -- those of `Found`
) -> str:
    """Return what is said of a match; unless more is given, it is the query's own picture."""
    content = Content(1, bytes(32), *size_px, 1_000, "JPEG")
    image = Image(1, 1, b"/album/a.jpg", FileState(1_000, 0, 1), missing=missing, content=content)
    return origin_of(QUERY, image, Found(1, kind, 0.95, None, **fields), later_s)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "copy of {path}"),
        ({"kind": Kind.SIMILAR}, "{path}"),
        ({"kind": Kind.EXACT, "missing": True}, "same bytes as {path}; its album is missing"),
        ({"transform": Transform(flip=True, turn=270)}, "copy of {path}, mirrored, turned 90 degrees right"),
        ({"size_px": (320, 240)}, "larger copy (200 %) of {path}"),
        ({"size_px": (0, 480)}, "copy of {path}"),
        ({"overlap": Overlap(1.0, 0.5), "tone": Tone(1.2, 0.0, 20.0)}, "crop (50 %) of {path}, brighter"),
        (
            {"overlap": Overlap(0.5, 1.0), "around": Around.PLAIN},
            "copy of {path}, with a border or caption (50 % is picture)",
        ),
        (
            {"overlap": Overlap(1.0, 0.2), "match_around": Around.SCREEN, "later_s": 5.0},
            "crop (20 %) of {path}, a screenshot or page that holds it",
        ),
        (
            {"overlap": Overlap(1.0, 0.7), "match_around": Around.PLAIN},
            "crop (70 %) of {path}, which has a border or caption around it",
        ),
        ({"kind": Kind.SHOT, "later_s": -2.0}, "another shot of the scene of {path}, 2 s earlier by EXIF"),
        ({"kind": Kind.SHOT}, "another shot of the scene of {path}"),
        ({"look": LookedAt.FILES}, "copy of {path}"),
        ({"look": LookedAt.VECTORS}, "copy of {path}; by the vectors alone"),
        ({"look": LookedAt.VECTORS, "missing": True}, "copy of {path}; by the vectors alone; its album is missing"),
    ],
)
def test_a_match_says_where_the_query_is_from(fields: dict[str, Any], words: str) -> None:
    """In one line that a person understands, with a mark where the path is to stand."""
    assert said(**fields) == words
