"""A second medium goes from files to answers: no room below the daemon knows what it reads or which medium it has.

The medium is text.  Each file is a page of the manual, and its vector counts words: 64 pieces of the text, one after
the other, 64 kinds of words.  Workers read such files by `tests.text_reader`.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import cbir_daemon
from cbir_daemon import config
from cbir_daemon.comparison import Explanation, Guess, Judgement, Outcome, Overlap, Transform
from cbir_daemon.config import ModelConfig
from cbir_daemon.daemon.rooms import open_rooms
from cbir_daemon.kinds import Kind
from cbir_daemon.map.artifact import SEALED_FILES, new_file, seal, start_folder
from cbir_daemon.map.projection import Projection
from cbir_daemon.matching import GREY64
from cbir_daemon.medium import CoarseViews, Codes, Guesses, JoinViews, MapSpace, Medium
from cbir_daemon.pictures import PICTURES
from cbir_daemon.protocol.messages import Request
from cbir_daemon.records import Facts, FileState
from cbir_daemon.search.search import Found, as_vectors
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.serving import handlers
from cbir_daemon.serving.handlers.rooms import Rooms
from cbir_daemon.store import FitBegun, Indexed, NewWork, Placed
from tests.rows import all_images, position, report, sql
from tests.text_reader import KINDS, PIECES, TEXT_FILES, vector_of
from tests.worlds import World

NOW = 1_700_000_000.0
PAGES = sorted(path.stem for path in (Path(cbir_daemon.__file__).parent / "docs").glob("*.md"))

Floats = NDArray[np.float32]
Vectors = NDArray[np.uint8]

LEAST_COPY = 0.75
"""Score of a copy: pages that were edited have 0.85 and more, other pages 0.25 and less."""

WINDOWS = (slice(0, 64), slice(0, 32), slice(32, 64))
"""The whole text and its halves."""


class Text:
    """Text files, compared by which words stand in which part of them."""

    location = "tests.test_medium:TEXT"
    extractor = TEXT_FILES.extractor
    appearance = None
    windows = len(WINDOWS)
    terms = KINDS
    copy_floor = 0.6
    second_look = None
    picture_parts = None

    def is_plain(self, vector: Vectors, /) -> bool:
        """Return whether nearly all words are of one kind."""
        counts = vector.reshape(PIECES, KINDS).sum(axis=0)
        return bool(counts.max() >= 0.9 * max(1, counts.sum()))

    def filled_share(self, vector: Vectors, /) -> float:
        """Return the share of pieces that have words."""
        return float(np.mean(vector.reshape(PIECES, KINDS).any(axis=1)))

    def likeness(self, query: Vectors, stored: Vectors, /) -> Floats:
        """Return how alike the counts of whole texts are."""
        return np.asarray((1 + self.codes(stored) @ self.codes(query[None])[0]) / 2, dtype=np.float32)

    def judge(
        self,
        query: Vectors,
        stored: Vectors,
        /,
        *,
        threshold: float | None = None,
        guesses: Guesses | None = None,
        codes: Codes | None = None,
    ) -> list[Judgement]:
        """Call a copy what agrees in the same places, or with a half of the stored text."""
        least = LEAST_COPY if threshold is None else threshold
        scores = [max(self._agreement(query, pieces) for pieces in self._stretched(text)) for text in stored]
        return [self._judgement(score, least) for score in scores]

    @property
    def spaces(self) -> Mapping[str, MapSpace]:
        """Return the one space."""
        return {"words": MapSpace("words/1", KINDS, lambda vectors, _: self.codes(vectors))}

    def codes(self, vectors: Vectors, /) -> Floats:
        """Return the counts of whole texts, of norm 1."""
        return self._unit(self._counts(vectors, WINDOWS[0]))

    def packed_codes(self, vectors: Vectors, /) -> Codes:
        """Return the counts of the whole text and its halves."""
        counts = np.stack([self._unit(self._counts(vectors, window)) for window in WINDOWS], axis=1)
        return np.rint(counts * 127).astype(np.int8)

    def probe_vectors(self) -> Vectors:
        """Return one text."""
        return (np.arange(PIECES * KINDS) % 7).astype(np.uint8)[None]

    few_windows = (0,)

    def few_views(self, query: Vectors, /) -> CoarseViews:
        return self.coarse_views(query)

    def coarse_views(self, query: Vectors, /) -> CoarseViews:
        """Return the whole text as the one view."""
        nothing = np.zeros((0, KINDS), dtype=np.float32)
        return CoarseViews(self.codes(query[None]) / np.float32(127), nothing, nothing)

    def best_scores(self, codes: Codes | Floats, views: CoarseViews, /) -> Floats:
        """Return the best correlation of any window with the whole query."""
        best = (codes.astype(np.float32) @ views.crops.T).max(axis=(1, 2), initial=0)
        return np.asarray(np.minimum(best, 1), dtype=np.float32)

    def join_views(self, vector: Vectors, /) -> JoinViews:
        """Return the whole text as the one view."""
        views = self.coarse_views(vector)
        return JoinViews(views.crops, views.frames, np.zeros((1, 2, 3), dtype=np.float32), 0)

    def best_guesses(self, codes: Codes, views: JoinViews, /) -> tuple[Floats, Guesses]:
        """Return scores; where an alignment starts is not asked of texts."""
        rows = np.zeros(len(codes), dtype=np.int64)
        signs, affines = np.ones(len(codes), dtype=np.float32), np.zeros((len(codes), 2, 3), dtype=np.float32)
        return self.best_scores(codes, views.coarse), Guesses(rows, rows, signs, affines)

    def whole_codes(self, vectors: Vectors, /) -> Floats:
        """Return the codes of the map."""
        return self.codes(vectors)

    def contained(
        self, query: Vectors, vectors: Vectors, codes: Floats, /, *, threshold: float | None = None
    ) -> Mapping[int, float]:
        """Return the texts that are a half of the query."""
        halves = self._stretched(query)[1:]
        scores = {row: max(self._agreement(text, half) for half in halves) for row, text in enumerate(vectors)}
        return {row: score for row, score in scores.items() if score >= (threshold or LEAST_COPY)}

    def _counts(self, vectors: Vectors, window: slice) -> Floats:
        pieces = vectors.reshape(-1, PIECES, KINDS)[:, window]
        return np.asarray(pieces.sum(axis=1), dtype=np.float32)

    def _unit(self, counts: Floats) -> Floats:
        free = counts - counts.mean(axis=1, keepdims=True)
        return np.asarray(free / np.maximum(np.linalg.norm(free, axis=1, keepdims=True), 1e-6), dtype=np.float32)

    def _stretched(self, text: Vectors) -> list[Floats]:
        """Return the pieces of a text and of its halves, each with as many pieces as a whole."""
        pieces = text.reshape(PIECES, KINDS).astype(np.float32)
        return [pieces, np.repeat(pieces[:32], 2, axis=0), np.repeat(pieces[32:], 2, axis=0)]

    def _agreement(self, query: Vectors, pieces: Floats) -> float:
        """Return the correlation of eighths: words that move by some lines stay in theirs."""
        own, stored = (
            self._unit(text.astype(np.float32).reshape(8, -1, KINDS).sum(axis=1)).ravel() for text in (query, pieces)
        )
        return float(np.clip(own @ stored / 8, 0, 1))

    def _judgement(self, score: float, least: float) -> Judgement:
        outcome = Outcome.COPY if score >= least else Outcome.BELOW
        explanation = Explanation(outcome, Guess(), 1.0, 1.0, score, 1.0, 1.0, False, None, 0.0, least)
        return Judgement(score >= least, score, Transform(), Overlap(), explanation)


TEXT: Medium = Text()
WORDS = TEXT.spaces["words"]


def page(name: str) -> str:
    """Return a page of the manual."""
    return (Path(cbir_daemon.__file__).parent / "docs" / f"{name}.md").read_text()


def edited(text: str) -> str:
    """Return a text in which an editor was at work: one word for another all through, and a paragraph of his own."""
    return text.replace("image", "picture") + "\nAnd this is what the editor had to add to it all.\n"


def facts_of(text: str) -> Facts:
    """Return what the index keeps of a text."""
    return Facts(hashlib.sha256(text.encode()).digest(), vector_of(text), 0, 0, "TEXT", extractor=TEXT.extractor)


def put(world: World, name: str, text: str) -> None:
    """Index a text file."""
    facts = facts_of(text)
    state = FileState(len(text), 1, int.from_bytes(facts.digest[:4], "big"))
    world.apply([Indexed(world.album_id, name.encode(), state, facts)])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An index of the pages of the manual; content n is the page n - 1."""
    with closing(World(tmp_path, medium=TEXT, codes_path=tmp_path / "codes.rows")) as world:
        world.searcher.load()
        for name in PAGES:
            put(world, f"{name}.md", page(name))
        yield world


@pytest.fixture
def searcher(world: World) -> Searcher:
    """A searcher of texts."""
    return world.searcher


def copies(found: list[Found]) -> list[str]:
    """Return the pages that were called copies, best first."""
    return [PAGES[match.content_id - 1] for match in found if match.kind is Kind.COPY]


def test_an_edited_text_is_found(searcher: Searcher) -> None:
    """The page that was edited is its one copy, and other pages resemble it."""
    for name in ("matching", "watching", "decoding"):
        query = vector_of(edited(page(name)))
        found = searcher.search(query, None, 5)
        assert copies(found) == [name]
        assert [match.kind for match in found[1:]] == [Kind.SIMILAR] * 5
        pages = as_vectors([vector_of(page(PAGES[match.content_id - 1])) for match in found[1:]])
        # Sums of other lengths are taken in another order, which moves the last bits.
        alike = TEXT.likeness(as_vectors([query])[0], pages).tolist()
        assert [match.score for match in found[1:]] == pytest.approx(alike, abs=1e-5)


def test_an_excerpt_is_found(searcher: Searcher) -> None:
    """What the second half of a page is asked for finds the page, by a window of its codes."""
    text = page("protocol")
    assert copies(searcher.copies(vector_of(text[len(text) // 2 :])))[0] == "protocol"


def test_texts_are_paired_and_watched_for(world: World) -> None:
    """The rooms that find duplicates and works compare by the searcher's medium as well."""
    watchlist = world.new_watchlist()
    work = facts_of(edited(page("model")))
    assert work.vector is not None
    added = watchlist.add(NewWork(work.digest, work.vector, work.extractor, "model", b""), NOW)
    assert added is not None
    assert [match.kind for match in added[1]] == [Kind.COPY]
    put(world, "edited.md", edited(page("matching")))
    pairing = world.new_pairing(watchlist)
    while pairing.step():
        pass
    pairs = [(pair.content_id, pair.other_id) for pair in world.store.pairs.listed()]
    assert pairs == [(PAGES.index("matching") + 1, len(PAGES) + 1)]


def test_a_work_that_fills_half_of_a_text_is_seen(world: World) -> None:
    """Its parts are those of its medium."""
    watchlist = world.new_watchlist()
    work = facts_of(page("alerts"))
    assert work.vector is not None
    assert watchlist.add(NewWork(work.digest, work.vector, work.extractor, "alerts", b""), NOW) is not None
    words = page("alerts").split()
    both = facts_of(" ".join([*page("model").split()[: len(words)], *words]))
    assert both.vector is not None
    assert [match.kind for match in watchlist.matches(both.digest, both.vector)] == [Kind.COPY]
    stranger = facts_of(page("watching"))
    assert stranger.vector is not None
    assert watchlist.matches(stranger.digest, stranger.vector) == []


def test_codes_of_another_medium_are_not_taken_up(world: World, tmp_path: Path) -> None:
    """A cache belongs to its medium: with another one it is made anew, and it is taken up as it was with its own."""
    path = tmp_path / "codes.rows"
    world.searcher.close()
    before = path.read_bytes()
    world.new_searcher(path).close()
    assert path.read_bytes() == before
    pictures = Searcher(world.store, GREY64, codes_path=path)
    pictures.load()
    assert len(pictures.snapshot.collection) == len(PAGES)
    pictures.close()
    assert path.read_bytes()[:8] == before[:8]
    assert path.read_bytes() != before


def test_a_map_of_another_medium_is_set_aside(world: World) -> None:
    """A map belongs to the codes that it was fitted on: the projection asks the searcher's medium for theirs."""
    store = world.store
    folder = start_folder(world.models_dir)
    for name in SEALED_FILES:
        with new_file(folder / name) as file:
            file.write(b"never loaded")
    artifact, sha256 = seal(folder, WORDS.version, {"seed": 42})
    run = store.runs.start(FitBegun("asked for", WORDS.version, 1), NOW)
    made = replace(report(), artifact=artifact, sha256=sha256)
    store.runs.activate(run, made, [Placed(1, "fitted", position(0, 0))], NOW)
    world.new_projection().open()
    assert store.runs.active() is not None
    Projection(store, Searcher(store, GREY64), world.models_dir, ModelConfig()).open()
    assert store.runs.active() is None


# -- text files --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the pages of the manual as text files, a damaged one and a picture."""
    album = tmp_path_factory.mktemp("album")
    for name in PAGES:
        write(album / f"{name}.txt", page(name).encode())
    write(album / "picture.png", b"a name that texts do not have")
    write(album / "damaged.txt", b"\xff\xfe")
    return album


@pytest.fixture(scope="module")
def texts(album: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    """Give all rooms of a daemon for texts, with its album read; no thread of its own runs."""
    state = tmp_path_factory.mktemp("state")
    settings = config.load(state=state, albums=(album,), environ={"HOME": str(state)})
    with ExitStack() as closing:
        rooms = open_rooms(lambda: settings, threading.Event(), closing, TEXT, TEXT_FILES).handled
        rooms.ingest.request_scan()
        read_all(rooms)
        yield rooms


def write(path: Path, data: bytes) -> None:
    """Write a file that counts as left alone."""
    path.write_bytes(data)
    os.utime(path, (NOW, NOW))


def read_all(rooms: Rooms) -> None:
    """Let the line work until nothing is left to read."""
    rooms.ingest.step()
    assert rooms.ingest.idle


def names_of(rooms: Rooms) -> set[str]:
    """Return the names of the files that were read."""
    return {os.fsdecode(image.path).rpartition("/")[2] for image in all_images(rooms.store)}


def test_text_files_are_read_once_by_their_own_reader(texts: Rooms, album: Path) -> None:
    """By name the line finds them, by their bytes a worker reads them, and the index knows by which extractor."""
    assert names_of(texts) == {f"{name}.txt" for name in PAGES}
    assert texts.store.files.errors() == [(bytes(album / "damaged.txt"), "not-an-image", "no text in UTF-8")]
    assert texts.pool.decoded == len(PAGES)
    path = texts.store.path
    assert sql(path, "SELECT DISTINCT extractor, format FROM content") == [("text/1", "TEXT")]
    for name in PAGES:
        content = texts.store.contents.at_path(bytes(album / f"{name}.txt"))
        assert content is not None
        assert content.digest == hashlib.sha256(page(name).encode()).digest()
        assert texts.store.contents.vectors([content.id]) == {content.id: vector_of(page(name))}
    write(album / "again.txt", page("watching").encode())
    texts.ingest.request_scan()
    read_all(texts)
    assert "again.txt" in names_of(texts)
    assert texts.pool.decoded == len(PAGES), "its digest was known, of the same extractor"


def asked(rooms: Rooms, method: str, path: Path, blob: bytes = b"") -> Any:  # noqa: ANN401 -- of the type that the method has
    """Return the answer to a question about a file, or about bytes where there are any."""
    named = {} if blob else {"path": str(path)}
    (reply,) = handlers.handle(rooms, Request(1, method, named, blob))
    return reply.ok


def test_a_text_is_found_by_a_file_and_by_bytes(texts: Rooms, album: Path, tmp_path: Path) -> None:
    """The query is read by a worker as well; the page that was edited is its one copy."""
    query, text = tmp_path / "query.txt", edited(page("matching"))
    query.write_text(text)
    for blob in (b"", text.encode()):
        best, *others = asked(texts, "query", query, blob)["matches"]
        assert (best["kind"], best["path"]) == ("copy", str(album / "matching.txt"))
        assert {match["kind"] for match in others} == {"similar"}
    best = asked(texts, "query", album / "model.txt")["matches"][0]
    assert (best["kind"], best["path"]) == ("exact", str(album / "model.txt"))


def test_a_work_that_is_a_text_file_is_watched_for(texts: Rooms, album: Path, tmp_path: Path) -> None:
    """The watch list has its vector from a worker, and keeps the extractor's name."""
    work = tmp_path / "work.txt"
    work.write_text(edited(page("alerts")))
    added = asked(texts, "watch_add", work)
    assert [match["path"] for match in added["found"]] == [str(album / "alerts.txt")]
    assert sql(texts.store.path, "SELECT extractor FROM work") == [("text/1",)]


def test_there_is_no_picture_of_a_text(texts: Rooms, album: Path) -> None:
    """Whoever asks for one is told so, and the worker lives on."""
    path = album / "model.txt"
    assert texts.pool.read_grey(path, 64) is None
    assert texts.pool.read_image(path).width_px == 0


def test_a_reader_must_make_what_the_medium_compares(tmp_path: Path) -> None:
    """Vectors of pictures are never compared as texts: a daemon of two that do not belong together does not start."""
    settings = config.load(state=tmp_path, albums=(), environ={"HOME": str(tmp_path)})
    with ExitStack() as closing, pytest.raises(ValueError, match="grey64/1 makes no vectors for a medium of text/1"):
        open_rooms(lambda: settings, threading.Event(), closing, TEXT, PICTURES)
