"""Where a query is from, in words, by one of its matches.

In: a query, a match.  Out: a template for people, in which `{path}` stands for the path of the match.  Never here: what
a terminal can show.  The client does not make these words: to load what they are made of would be a third of its start.
"""

from __future__ import annotations

from cbir_daemon.comparison import LookedAt
from cbir_daemon.kinds import facts_of
from cbir_daemon.records import Facts
from cbir_daemon.search.search import Found
from cbir_daemon.store import Image
from cbir_daemon.wording import origins

PATH = "{path}"
"""What stands for the path of the match: it may not be text, and who shows it knows what can be shown."""


def origin_of(query: Facts, image: Image, found: Found, later_s: float | None) -> str:
    """Return where a query is from: "crop (82 %) of {path}, mirrored, brighter".

    Parameters
    ----------
    query : Facts
        What reading it told; its size in pixels counts.
    image : Image
        The match.
    found : Found
        How the two compare.
    later_s : float or None
        Seconds by which the query was taken later, by EXIF; None when that is not known.
    """
    said = [origins.origin(_edit(query, image, found, later_s), PATH)]
    if facts_of(found.kind).is_paired and found.look is LookedAt.VECTORS:
        said.append("by the vectors alone")
    if image.missing:
        said.append("its album is missing")
    return "; ".join(said)


def _edit(query: Facts, image: Image, found: Found, later_s: float | None) -> origins.Edit:
    areas = [query.width_px * query.height_px, image.content.width_px * image.content.height_px]
    return origins.Edit(
        kind=found.kind,
        transform=found.transform,
        overlap=found.overlap,
        tone=found.tone,
        around=found.around,
        scale=(areas[0] / areas[1]) ** 0.5 if all(areas) else 0.0,
        match_around=found.match_around,
        later_s=later_s,
    )
