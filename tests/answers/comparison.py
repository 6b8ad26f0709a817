"""Where the answers of two installations differ.

In: two recordings of the same questions.  Out: differences, each with its place and what kind it is.  Never here:
asking, printing.

Fields may be added and none may go.  Two maps of the same images differ in the last bits of what they start from, so
two installations that each fitted their own are compared by `Maps.NEAR`: scores of a map within a tolerance, what lies
near on it without its order.  Everything else is compared strictly.
"""

from __future__ import annotations

import difflib
import math
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from tests import manual
from tests.answers.recording import Answer, Answers

Json = Any


class Kind(StrEnum):
    """What kind a difference is."""

    QUESTION = "question"
    """The new recording lacks a question."""
    STATUS = "status"
    """Another exit status."""
    FIELDS = "fields"
    """A field is gone."""
    VALUE = "value"
    """Another value."""
    WORDING = "wording"
    """Another sentence for people."""
    STDERR = "stderr"
    """Other than as many lines on standard error: none, one, more."""
    MAP = "map"
    """A score of a map is further off than its tolerance, or next to nothing of what is similar is the same."""
    ADDED = "added"
    """A field or line is new."""
    NEAR = "near"
    """A number of a map is another one, as it may be."""
    ORDER = "order"
    """What is similar on a map is in another order, or comes from further away."""


NOTES: Final = frozenset({Kind.ADDED, Kind.NEAR, Kind.ORDER})
"""Kinds that are told and allowed."""


class Maps(StrEnum):
    """How the maps of two recordings are to each other."""

    SAME = "same"
    NEAR = "near"


PROSE: Final = frozenset(
    {"do", "hint", "message", "model_reason", "reason", "text", "title", "waits_for", "what", "why"}
)
"""Fields that hold sentences."""

ADDABLE: Final = frozenset({"capabilities", "methods"})
"""Lists of names to which a release may add."""

TOLERANCES: Final[Mapping[str, float]] = {
    "evidence_px": 0.01,
    "far_fraction": 0.05,
    "kept": 0.1,
    "kept_after": 0.1,
    "kept_at_fit": 0.1,
    "kept_before": 0.1,
    "neighbor_recall": 0.05,
    "trustworthiness": 0.02,
}
"""How far scores may lie apart on two maps of the same images."""

CHOICES: Final = frozenset(
    {"[0].size", "bytes", "grid_columns", "grid_rows", "guess", "map_distance", "n_components", "n_neighbors"}
)
"""What two maps of the same images need not agree in: distances, the choice between equal candidates, sizes of drawings
(at the top of a document only: further down a size is a file's).  What is explained together is calculated together, so
what a map brings up decides between guesses that are equal to the last digit."""

SIMILAR_COMMON: Final = 0.3
"""Share of the similar matches that two maps must have in common, where there are more than a few."""

FEW: Final = 4

DECIMALS: Final = re.compile(r"\d+\.\d+")
"""Scores inside a sentence."""

SHOWN_CHARACTERS: Final = 160


@dataclass(frozen=True)
class Difference:
    """A place where two answers differ.

    Parameters
    ----------
    question : str
    kind : Kind
    place : str
        Path of the field inside the documents.
    old, new : object
    """

    question: str
    kind: Kind
    place: str
    old: object
    new: object

    def __str__(self) -> str:
        place = f" {self.place}:" if self.place else ""
        return f"{self.kind:8} {self.question}:{place} {_short(self.old)} -> {_short(self.new)}"


def differences(old: Answers, new: Answers, maps: Maps = Maps.SAME, *, tolerance: float = 0.0) -> Iterator[Difference]:
    """Yield every difference, notes included, in the order of the old recording.

    Parameters
    ----------
    old, new : dict of str to Answer
        By question.  A question that only the new recording has is no difference.
    maps : Maps
        Whether both were given by the same map.
    tolerance : float
        Share by which numbers that are not whole may differ, and how much those near 0 may: another processor sums in
        another order.
    """
    for question, answer in old.items():
        if question in new:
            yield from _Comparison(question, maps, tolerance).answers(answer, new[question])
        else:
            yield Difference(question, Kind.QUESTION, "", "asked", "not asked")


class _Comparison:
    """The comparison of two answers to one question."""

    def __init__(self, question: str, maps: Maps, tolerance: float) -> None:
        self._question = question
        self._tolerance = tolerance
        special: dict[str, Callable[[str, Json, Json], Iterator[Difference]]] = {}
        if maps is Maps.NEAR:
            special = {"matches": self._matches, "curve": self._curve, "places": self._places}
            special |= dict.fromkeys(TOLERANCES, self._score) | dict.fromkeys(CHOICES, self._choice)
        self._special = special

    def answers(self, old: Answer, new: Answer) -> Iterator[Difference]:
        """Yield the differences of two answers."""
        if old["status"] != new["status"]:
            yield self._difference(Kind.STATUS, "", old["status"], new["status"])
        if old["stderr"] != new["stderr"]:
            yield self._difference(Kind.STDERR, "", old["stderr"], new["stderr"])
        yield from self._texts(old["text"], new["text"])
        yield from self._fields(old["documents"], new["documents"])
        yield from self._values("", old["documents"], new["documents"])

    def _difference(self, kind: Kind, place: str, old: object, new: object) -> Difference:
        return Difference(self._question, kind, place, old, new)

    def _texts(self, old: str, new: str) -> Iterator[Difference]:
        """Compare lines: those that are only added are a note."""
        before, after = old.splitlines(), new.splitlines()
        matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
        for tag, old_from, old_to, new_from, new_to in matcher.get_opcodes():
            if tag != "equal":
                kind = Kind.ADDED if tag == "insert" else Kind.WORDING
                lines = "\n".join(before[old_from:old_to]), "\n".join(after[new_from:new_to])
                yield self._difference(kind, f"line {old_from + 1}", *lines)

    def _fields(self, old: list[Json], new: list[Json]) -> Iterator[Difference]:
        """Compare the names of all fields that occur anywhere in the documents."""
        before, after = manual.seen(old), manual.seen(new)
        for field in sorted(before - after):
            yield self._difference(Kind.FIELDS, field, "there", "gone")
        for field in sorted(after - before):
            yield self._difference(Kind.ADDED, field, "not there", "there")

    def _values(self, place: str, old: Json, new: Json) -> Iterator[Difference]:
        """Compare what is at one place."""
        name = place.rpartition(".")[2]
        special = self._special.get(place) or self._special.get(name)
        if special:
            yield from special(place, old, new)
        elif isinstance(old, dict) and isinstance(new, dict):
            for key in old.keys() & new.keys():
                yield from self._values(f"{place}.{key}" if place else key, old[key], new[key])
        elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new) and name not in ADDABLE:
            for number, pair in enumerate(zip(old, new, strict=True)):
                yield from self._values(f"{place}[{number}]", *pair)
        elif not self._equal(name, old, new):
            yield self._difference(self._kind(name, old, new), place, old, new)

    def _equal(self, name: str, old: Json, new: Json) -> bool:
        if name in ADDABLE:
            return set(old) <= set(new)
        if isinstance(old, float) and isinstance(new, float):
            return math.isclose(old, new, rel_tol=self._tolerance, abs_tol=self._tolerance)
        return type(old) is type(new) and bool(old == new)

    def _kind(self, name: str, old: Json, new: Json) -> Kind:
        """Return what kind two values are that differ."""
        if name not in PROSE or not isinstance(old, str) or not isinstance(new, str):
            return Kind.VALUE
        is_near = self._special and DECIMALS.sub("#", old) == DECIMALS.sub("#", new)
        return Kind.NEAR if is_near else Kind.WORDING

    def _score(self, place: str, old: Json, new: Json) -> Iterator[Difference]:
        """Compare a score of a map: near is near enough."""
        if old is None or new is None:
            yield from self._choice(place, old, new)
        elif old != new:
            is_near = abs(old - new) <= TOLERANCES[place.rpartition(".")[2]]
            yield self._difference(Kind.NEAR if is_near else Kind.MAP, place, old, new)

    def _choice(self, place: str, old: Json, new: Json) -> Iterator[Difference]:
        """Compare what a map decides: it must be there in both or in neither."""
        if (old is None) != (new is None):
            yield self._difference(Kind.VALUE, place, old, new)
        elif old != new:
            yield self._difference(Kind.NEAR, place, old, new)

    def _curve(self, place: str, old: Json, new: Json) -> Iterator[Difference]:
        """Compare what was tried for both maps, by the means of each candidate."""
        before, after = _trials(old), _trials(new)
        if before.keys() != after.keys():
            yield self._difference(Kind.NEAR, place, sorted(before), sorted(after))
        for candidate in before.keys() & after.keys():
            for name in ("trustworthiness", "neighbor_recall"):
                yield from self._score(f"{place}{candidate}.{name}", before[candidate][name], after[candidate][name])

    def _places(self, place: str, old: Json, new: Json) -> Iterator[Difference]:
        """Compare what is on two maps, wherever it lies."""
        yield from self._values(f"{place}, any order", _anywhere(old), _anywhere(new))

    def _matches(self, place: str, old: Json, new: Json) -> Iterator[Difference]:
        """Compare what was verified strictly and in order, what is similar by path."""
        before, after = ([match for match in matches if match["kind"] != "similar"] for matches in (old, new))
        yield from self._values(f"{place}, verified", before, after)
        similar = [{match["path"]: match for match in matches if match["kind"] == "similar"} for matches in (old, new)]
        yield from self._similar(f"{place}, similar", *similar)

    def _similar(self, place: str, old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[Difference]:
        common = old.keys() & new.keys()
        for path in sorted(common):
            yield from self._values(f"{place} {path}", old[path], new[path])
        if list(old) != list(new):
            length = max(len(old), len(new))
            is_enough = length <= FEW or len(common) >= SIMILAR_COMMON * length
            counts = (f"{len(matches)} matches, {len(common)} of them in both" for matches in (old, new))
            yield self._difference(Kind.ORDER if is_enough else Kind.MAP, place, *counts)


def _trials(curve: Sequence[Json]) -> dict[tuple[int, int], dict[str, float]]:
    """Return n_neighbors and n_components -> the means of the scores of that candidate."""
    candidates: dict[tuple[int, int], list[Json]] = {}
    for trial in curve:
        candidates.setdefault((trial["n_neighbors"], trial["n_components"]), []).append(trial)
    return {
        candidate: {
            name: statistics.mean(trial[name] for trial in trials) for name in ("trustworthiness", "neighbor_recall")
        }
        for candidate, trials in candidates.items()
    }


def _anywhere(places: Sequence[Json]) -> list[Json]:
    """Return the places of a map in order of path, without where they lie."""
    found = [{key: place[key] for key in place if key not in ("column", "row", "group")} for place in places]
    return sorted(found, key=lambda place: str(place["path"]))


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
