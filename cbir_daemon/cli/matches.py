"""The answer of `query` as lines for people.

In: the answer.  Out: lines.  Never here: asking the daemon, printing, what was done to a picture in words (the daemon
says it).
"""

from __future__ import annotations

from collections.abc import Iterator

from cbir_daemon.cli.lines import path, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cbir_daemon.protocol import answers

PATH = "{path}"
"""What stands for the path in the words of the daemon."""

_ABOUT: dict[str | None, str] = {"interpolated": "~"}
"""Before a distance on the map, by how the query got its position; a word of `PlacedBy`, whose module takes 20 ms."""


def matches(answer: answers.Query, *, explain: bool = False) -> Iterator[str]:
    """Yield a line for each match: kind, score, distance on the map, size in pixels, where the query is from.

    Below a match that has an explanation, the lines of `explanation` follow; with `explain`, also below what local
    features found.

    Parameters
    ----------
    answer : dict
        Of `query`.
    explain : bool
        Whether the user asked how each match was verified.
    """
    about = _ABOUT.get(answer["query"].get("position"), "")
    rows = [
        (
            f"{match['kind']} by {match['why']}" if match.get("why") else match["kind"],
            f"{match['score']:.3f}",
            "map -" if match["map_distance"] is None else f"map {about}{match['map_distance']:.2f}",
            match.get("summary") or f"{match['width']}x{match['height']}",
            origin(match),
        )
        for match in answer["matches"]
    ]
    for match, line in zip(answer["matches"], table(rows), strict=True) if rows else ():
        yield line
        if "explanation" in match:
            # Only who asks for it pays for the words that it is told in.
            from cbir_daemon.cli.explained import explanation  # noqa: PLC0415

            yield from explanation(match["explanation"])
        elif explain and match.get("features"):
            found_by = f"{match['features']} local features lie as in the image"
            yield f"    {found_by}; the files agree there by {match['score']:.3f}"


def origin(match: answers.Match) -> str:
    """Return where the query is from, by a match; a daemon of an earlier release says no more than the path."""
    return match.get("origin", PATH).replace(PATH, path(match["path"]))
