"""What other sites have: their part of the answer of `query`, and how the shared index is.

In: a query that was read; the rooms.  Out: matches of other sites as JSON.  Never here: the engine, files of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cbir_daemon.comparison import Around, LookedAt, Overlap, Tone, Transform
from cbir_daemon.duplicates.exposures import seconds_between
from cbir_daemon.errors import BadRequestError, SharedError
from cbir_daemon.kinds import Kind, rank
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.messages import Params, path_to_json, when
from cbir_daemon.records import IMAGE, Facts
from cbir_daemon.serving.handlers.rooms import Rooms
from cbir_daemon.shared.layout import SITE_NAME, SharedContent
from cbir_daemon.shared.lookup import Question, SharedMatch
from cbir_daemon.store import Content, Publication
from cbir_daemon.wording import origins

SHARED = "shared"
"""What `partial` names when the shared index is missing from an answer."""

MAX_SITES = 100
LIST_TIMEOUT_S = 60.0
"""For the list of all copies at other sites: who asks for it waits."""

PATH = "{path}"


@dataclass(frozen=True, slots=True)
class AskedSites:
    """Which sites a query is about.

    Parameters
    ----------
    own : bool
        Whether images of this one are wanted.
    names : tuple of str or None
        Other sites; None for all.
    """

    own: bool = True
    names: tuple[str, ...] | None = ()


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What other sites have of a query.

    Parameters
    ----------
    matches : list of SharedMatch
        Exact, then copies, best first.
    partial : bool
        Whether the shared index could not be asked.
    """

    matches: list[SharedMatch] = field(default_factory=list)
    partial: bool = False


def asked_sites(rooms: Rooms, params: Params) -> AskedSites:
    """Return which sites a query asks: this one and all others, or those that it names.

    Parameters
    ----------
    rooms : Rooms
    params : Params
        Of the query.

    Raises
    ------
    BadRequestError
        For a name that is none, and for any name where no index is shared.
    """
    if "sites" not in params.values:
        return AskedSites(names=() if rooms.shared is None else None)
    names = params.items("sites", MAX_SITES)
    if not all(isinstance(name, str) and SITE_NAME.fullmatch(name) for name in names):
        raise BadRequestError("parameter 'sites' must be a list of names of sites")
    if names and rooms.shared is None:
        raise _nothing_shared()
    own = "" if rooms.shared is None else rooms.shared.publisher.site
    return AskedSites(not names or own in names, tuple(name for name in names if name != own))


def begun(rooms: Rooms, facts: Facts, asked: AskedSites, kind: str | None) -> Question | None:
    """Begin to ask the other sites; None when there is nothing to ask.

    Parameters
    ----------
    rooms : Rooms
    facts : Facts
        Of the query.
    asked : AskedSites
    kind : str or None
        The only kind of match that is asked for.
    """
    if rooms.shared is None or asked.names == () or facts.medium != IMAGE or facts.vector is None:
        return None
    if kind not in (None, Kind.EXACT, Kind.COPY):
        return None
    return rooms.shared.questions.ask(facts.vector, facts.digest, asked.names)


def awaited(question: Question | None) -> Elsewhere:
    """Return what other sites have, once that is known, or after the time-out."""
    if question is None:
        return Elsewhere()
    matches = question.matches()
    return Elsewhere([], partial=True) if matches is None else Elsewhere(matches)


def merged(own: Sequence[answers.Match], others: Sequence[answers.Match]) -> list[answers.Match]:
    """Return matches of this site and of others, best first; of equal ones those of this site come first.

    Parameters
    ----------
    own, others : sequence of Match
        Each best first.
    """
    if not others:
        return list(own)
    paired = (Kind.EXACT, Kind.COPY)
    return sorted(
        [*own, *others],
        key=lambda match: (rank(match["kind"]), -match["score"] if match["kind"] in paired else 0.0),
    )


def match_to_json(query: Facts, match: SharedMatch) -> answers.Match:
    """Return a match of another site.

    Parameters
    ----------
    query : Facts
    match : SharedMatch
    """
    content, judgement = match.content, match.judgement
    transform = Transform() if judgement is None else judgement.transform
    overlap = Overlap() if judgement is None else judgement.overlap
    tone = Tone() if judgement is None else judgement.tone
    return {
        "path": path_to_json(content.path),
        "site": content.site,
        "digest": content.digest.hex(),
        "kind": match.kind.value,
        "look": None if judgement is None else LookedAt.VECTORS.value,
        "features": None,
        "part": None,
        "why": None,
        "score": round(match.score, 4),
        "map_distance": None,
        "transform": {
            "flip": transform.flip,
            "turn": transform.turn,
            "angle": transform.angle,
            "invert": transform.invert,
        },
        "overlap": {"query": round(overlap.query, 3), "match": round(overlap.match, 3)},
        "tone": {"gain": tone.gain, "offset": tone.offset, "shift": tone.shift},
        "around": Around.NOTHING.value if judgement is None else judgement.around.value,
        "match_around": Around.NOTHING.value,
        "later_s": seconds_between(content.taken, query.taken),
        "origin": _origin(query, match),
        "width": content.width_px,
        "height": content.height_px,
        "size": content.size_bytes,
        "medium": IMAGE,
        "summary": "",
        "place": None,
    }


def place_of(site: str, path: bytes, digest: bytes) -> str:
    """Return where a content of another site is, as a template in which `{path}` stands for its path.

    Parameters
    ----------
    site : str
    path : bytes
        Empty when the site keeps it to itself.
    digest : bytes
    """
    return f"{site}:{PATH if path else digest.hex()[:12]}"


def _origin(query: Facts, match: SharedMatch) -> str:
    content, judgement = match.content, match.judgement
    areas = [query.width_px * query.height_px, content.width_px * content.height_px]
    edit = origins.Edit(
        kind=match.kind,
        transform=Transform() if judgement is None else judgement.transform,
        overlap=Overlap() if judgement is None else judgement.overlap,
        tone=Tone() if judgement is None else judgement.tone,
        around=Around.NOTHING if judgement is None else judgement.around,
        scale=(areas[0] / areas[1]) ** 0.5 if all(areas) else 0.0,
    )
    said = origins.origin(edit, place_of(content.site, content.path, content.digest))
    return said if judgement is None else f"{said}; by the vectors alone"


def site_groups(rooms: Rooms, kind: Kind | None) -> tuple[list[answers.Group], bool]:
    """Return the images of this site of which others have copies, a group each, and whether all could be asked.

    Parameters
    ----------
    rooms : Rooms
    kind : Kind or None
        Only groups of this kind.

    Raises
    ------
    BadRequestError
        Where no index is shared.
    """
    if rooms.shared is None:
        raise _nothing_shared()
    own = rooms.store.published.publications(rooms.store.published.digests())
    vectors = {digest: published.vector for digest, published in own.items()}
    try:
        found = rooms.shared.questions.lookup.paired(vectors, LIST_TIMEOUT_S)
    except SharedError:
        return [], True
    groups = [_site_group(own[digest], matches) for digest, matches in sorted(found.items())]
    return [group for group in groups if kind in (None, group["kind"])], False


def _site_group(published: Publication, matches: Sequence[SharedMatch]) -> answers.Group:
    best, content = matches[0], published.content
    here = _group_image(published.path, content, 1.0, "lies here")
    others = [
        _group_image(match.content.path, match.content, match.score, f"lies at {match.content.site}")
        for match in matches
    ]
    for image, match in zip(others, matches, strict=True):
        image["site"] = match.content.site
    return {
        "id": f"{best.kind}-{content.digest.hex()[:16]}",
        "kind": best.kind.value,
        "look": None if best.judgement is None else LookedAt.VECTORS.value,
        "saves": 0,
        "images": [here, *others],
    }


def _group_image(path: bytes, content: Content | SharedContent, score: float, why: str) -> answers.GroupImage:
    """Return an image of a group across sites; each site removes only its own files, so all of them are kept."""
    return {
        "path": path_to_json(path),
        "width": content.width_px,
        "height": content.height_px,
        "size": content.size_bytes,
        "keep": True,
        "why": why,
        "score": round(score, 4),
        "format": content.format,
        "taken": content.taken or None,
        "mtime_ns": 0,
        "digest": content.digest.hex(),
        "names": [],
        "done": "",
        "transform": None,
        "overlap": None,
        "medium": IMAGE,
        "summary": "",
    }


def _nothing_shared() -> BadRequestError:
    return BadRequestError("no index is shared here", hint="set uri and site of [shared], then restart the daemon")


def is_shared(rooms: Rooms) -> bool:
    """Whether nothing is left to be told to the shared index, or cannot be told now."""
    return rooms.shared is None or rooms.shared.publisher.idle


def shared_to_json(rooms: Rooms) -> answers.Shared | None:
    """Return how the shared index is; None where no index is shared."""
    if rooms.shared is None:
        return None
    publisher = rooms.shared.publisher
    lag = publisher.lag
    return {
        "site": publisher.site,
        "state": publisher.state.value,
        "published": lag.published,
        "due": lag.due,
        "due_since": when(lag.since),
        "unasked": lag.unasked,
        "sites": list(rooms.shared.questions.lookup.sites),
    }
