"""Texts through the real daemon and its commands: passages, pages, duplicates, works, files without words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pictures import photograph, save
from tests.process.daemon import Daemon, living
from tests.texts import edited, misread, pdf, prose, web_page

pytestmark = [pytest.mark.process, pytest.mark.in_order]

TEXTS = 6
PAGES = [prose(seed, 330) for seed in range(40, 44)]


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """Give a daemon of images and texts, with an album of both."""
    with living() as daemon:
        daemon.config.write_text('media = ["image", "text"]\n' + daemon.config.read_text())
        for seed in range(TEXTS):
            (daemon.album / f"text-{seed}.md").write_text(prose(seed))
        (daemon.album / "book.pdf").write_bytes(pdf(PAGES))
        (daemon.album / "scan.pdf").write_bytes(pdf([""]))
        (daemon.album / "broken.pdf").write_bytes(b"%PDF-1.4\nno more")
        save(photograph(1), daemon.album / "photo.png")
        daemon.start()
        daemon.settle()
        yield daemon


def put(daemon: Daemon, name: str, data: bytes | str) -> Path:
    """Write a file outside of the album."""
    path = daemon.home / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_texts_are_indexed_beside_images(daemon: Daemon) -> None:
    """Confined workers read them, PDF files too; the damaged one is listed."""
    media = daemon.json("status")["media"]
    assert [(medium["medium"], medium["contents"]) for medium in media] == [("image", 1), ("text", 8)]
    (error,) = daemon.json("errors")["errors"]
    assert (error["path"], error["code"]) == (str(daemon.album / "broken.pdf"), "damaged")


def test_pages_of_a_pdf_file_are_found_in_it(daemon: Daemon) -> None:
    """By a misread text of two of its pages, from a file and from standard input; the words name the pages."""
    query = put(daemon, "pages.txt", misread("\n".join(PAGES[1:3]), 5))
    for found in (
        daemon.json("query", query),
        json.loads(daemon.run("query", "-", "--json", stdin=query.read_bytes()).stdout),
    ):
        best = found["matches"][0]
        assert (best["path"], best["kind"], best["medium"]) == (str(daemon.album / "book.pdf"), "copy", "text")
        assert best["origin"].endswith("of it stands in {path}, pages 2\u20133")
        assert best["place"]["unit"] == "characters"
        assert best["overlap"]["query"] > 0.95
        assert (best["summary"], best["look"]) == ("4 pages, 1 320 words", "vectors")
        assert "copy" not in {match["kind"] for match in found["matches"][1:]}


def test_a_page_as_pdf_is_found_in_its_text(daemon: Daemon) -> None:
    """A file in another format, and edited: the text that it is from comes first."""
    best = daemon.matches(put(daemon, "page.pdf", pdf([edited(prose(3)[:2000], 1)])))[0]
    assert (best["path"], best["kind"]) == (str(daemon.album / "text-3.md"), "copy")


def test_a_stranger_is_a_copy_of_nothing(daemon: Daemon) -> None:
    """A text of the same vocabulary, and a picture, which is asked about among pictures."""
    for query in (put(daemon, "stranger.txt", prose(99)), daemon.album / "photo.png"):
        assert "copy" not in {match["kind"] for match in daemon.matches(query)}


def test_a_file_without_words_matches_its_own_bytes(daemon: Daemon) -> None:
    """A scan that nobody has read, and a few words."""
    assert [match["kind"] for match in daemon.matches(daemon.album / "scan.pdf")] == ["exact"]
    assert daemon.run("query", put(daemon, "plain.txt", "two words")).returncode == 65


def test_a_copy_raises_an_alert_and_the_longer_text_is_kept(daemon: Daemon) -> None:
    """A web page of most of a text is a duplicate of it; a plan takes the shorter one away if asked to."""
    kept, copy = daemon.album / "text-4.md", daemon.album / "copy.html"
    copy.write_bytes(web_page(prose(4)[:3000]))
    daemon.settle()
    assert [match["path"] for match in daemon.alerts()[-1]["matches"]] == [str(kept)]
    with daemon.client() as client:
        (group,) = client.duplicates(unlooked=True)["groups"]
    assert [(image["path"], image["keep"]) for image in group["images"]] == [(str(kept), True), (str(copy), False)]
    assert group["images"][0]["why"].startswith("is the better file, by its words: 600 words against")
    plan = daemon.home / "plan.jsonl"
    assert daemon.run("resolve", "--plan", plan, "--unlooked").returncode == 0
    assert str(copy) in plan.read_text()
    copy.unlink()
    daemon.settle()


def test_a_work_is_watched_for(daemon: Daemon) -> None:
    """A paragraph of a watched text in a new file raises an alert."""
    work = put(daemon, "work.txt", prose(70))
    assert daemon.json("watch", "add", work)["found"] == []
    (daemon.album / "thief.txt").write_text("\n\n".join([prose(80), *prose(70).split("\n\n")[2:4], prose(81)]))
    daemon.settle()
    assert [work["name"] for work in daemon.alerts()[-1]["watched"]] == ["work.txt"]
    (daemon.album / "thief.txt").unlink()
