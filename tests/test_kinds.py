"""A kind of match is added in few files: rooms ask the table of facts, and only those that find matches name a kind."""

from __future__ import annotations

import ast
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import cbir_daemon
from cbir_daemon.config import load
from cbir_daemon.duplicates import Groups
from cbir_daemon.kinds import KINDS, AlertKind, Kind, KindFacts, facts_of, kinds_that, rank
from cbir_daemon.store import Store
from cbir_daemon.store.rows import scalar
from cbir_daemon.store.table import rank_sql
from cbir_daemon.wording import origins

PACKAGE = Path(cbir_daemon.__file__).parent

NAMED_IN = {
    "kinds.py": "the enum, and the table of what holds of each",
    "store/row_types.py": "what a pair is when nothing else is said",
    "search/search.py": "copies by their vectors, similar by looks and positions",
    "serving/handlers/queries.py": "exact by the digest of a query",
    "serving/handlers/likeness.py": "similar by what a network says",
    "duplicates/exposures.py": "copies and shots by a look at the files",
    "duplicates/parts.py": "copies that a new file shows in a part of itself",
    "duplicates/places.py": "copies and shots by local features and a look at the files",
    "duplicates/pairing.py": "exact by the digest of a new file; known pairs, to be looked at",
    "duplicates/watchlist.py": "works of the watch list in a content",
    "duplicates/part_pairing.py": "copies by the parts of a file",
    "duplicates/part_works.py": "works of the watch list in the parts of a content",
    "search/part_searcher.py": "copies by their parts, and what resembles a whole file",
    "serving/handlers/part_queries.py": "exact, by digest, of a query that is no image",
    "shared/lookup.py": "exact and copies among what other sites have",
    "serving/handlers/sites.py": "which kinds other sites are asked for",
    "duplicates/groups.py": "how the groups of each kind are made",
}
"""Who names kinds, and what of them it finds; adding one touches those that find it, not the others."""


def names_a_kind(source: str) -> bool:
    """Return whether a module names a member of `Kind`."""
    return any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "Kind"
        and node.attr in Kind.__members__
        for node in ast.walk(ast.parse(source))
    )


def test_only_those_that_find_matches_name_kinds() -> None:
    """Every other module asks what holds of a kind."""
    paths = {str(path.relative_to(PACKAGE)): path.read_text("utf-8") for path in PACKAGE.rglob("*.py")}
    assert {path for path, source in paths.items() if names_a_kind(source)} == NAMED_IN.keys()


def test_this_check_finds_what_it_looks_for() -> None:
    """A member is found wherever it stands, and another enum's is not."""
    assert names_a_kind("def f(kind): return kind in (Kind.COPY, 'x')")
    assert not names_a_kind("from cbir_daemon.kinds import Kind\nkind = AlertKind.COPY\nkinds = list(Kind)")


def spelled_out(source: str) -> Iterator[str]:
    """Yield the words of kinds that a module compares with or lists, as text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
            values = [value for operand in operands for value in ast.walk(operand)]
            yield from (
                value.value for value in values if isinstance(value, ast.Constant) and value.value in tuple(Kind)
            )


def test_no_kind_is_spelled_out() -> None:
    """No module compares with the word of a kind behind the enum's back."""
    found = [str(path) for path in PACKAGE.rglob("*.py") if any(spelled_out(path.read_text("utf-8")))]
    assert not found
    assert list(spelled_out("if kind in ('copy', 'x') or kind == 'shot': pass")) == ["copy", "shot"]


def test_the_table_has_every_kind() -> None:
    """In order of strength; those that raise alerts are kinds of alerts, and what may go is of one exposure."""
    assert list(KINDS) == list(Kind)
    assert {kind.value for kind in AlertKind} & KINDS.keys() == {*kinds_that(lambda facts: facts.raises_alerts)}
    for kind, facts in KINDS.items():
        assert bool(facts.alert) == facts.raises_alerts, kind
        assert facts.shows_same_exposure or not (facts.may_go or facts.raises_alerts), kind
        assert facts.is_grouped or not (facts.may_go or facts.is_listed), kind


def test_kinds_are_in_order_of_strength() -> None:
    """The weakest comes last, in SQL as well; what only another release knows comes after all."""
    kinds = [*Kind, "sketch"]
    assert sorted(sorted(kinds), key=rank) == kinds
    with closing(sqlite3.connect(":memory:")) as connection:
        assert [scalar(connection, f"SELECT {rank_sql('?1')}", (kind,)) for kind in Kind] == [*map(rank, Kind)]


def test_nothing_holds_of_a_kind_that_is_not_known() -> None:
    """A client of this release shows the path of such a match, and proposes nothing."""
    assert facts_of("sketch") == KindFacts()
    assert origins.origin(origins.Edit("sketch"), "/album/a.jpg") == "/album/a.jpg"


@pytest.mark.parametrize("kind", kinds_that(lambda facts: facts.is_grouped))
def test_there_is_a_way_to_make_groups_of_each_kind_that_is_grouped(tmp_path: Path, kind: Kind) -> None:
    """Also where there are none."""
    store = Store(tmp_path / "index.sqlite")
    store.open()
    try:
        groups = Groups(store, load(state=tmp_path, environ={}))
        assert groups.found(kind) == groups.found() == []
    finally:
        store.close()
