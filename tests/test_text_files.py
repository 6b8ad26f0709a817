"""Texts: what a worker makes of a text file, whatever its format, and of files that only look like one."""

from __future__ import annotations

import time
from contextlib import suppress

import numpy as np
import pytest

from cbir_daemon.decode.reading import UnreadableError
from cbir_daemon.text import TEXT
from cbir_daemon.text.file_reader import FILE_READER
from cbir_daemon.text.office import MAX_XML_BYTES
from cbir_daemon.text.passages import MAX_CHARACTERS, STEP_LETTERS
from tests.texts import docx, generator, odt, parts_of, pdf, prose, read, web_page, zipped

TEXT_1 = prose(1)


@pytest.fixture(autouse=True, scope="module")
def _loaded() -> None:
    """A worker loads the reader before it reads."""
    FILE_READER.load({"text"})


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (TEXT_1.encode(), "TEXT"),
        (TEXT_1.upper().replace(" ", "  ").replace(".", " --").encode(), "TEXT"),
        (TEXT_1.encode("utf-16"), "TEXT"),
        (b"\xef\xbb\xbf" + TEXT_1.encode(), "TEXT"),
        (web_page(TEXT_1), "HTML"),
        (odt(TEXT_1), "ODT"),
        (docx(TEXT_1), "DOCX"),
        (pdf([TEXT_1]), "PDF"),
    ],
)
def test_a_text_has_the_same_numbers_in_every_format(data: bytes, kind: str) -> None:
    """Neither layout nor capitals nor marks count: vector and words are those of the plain text."""
    reading, plain = read(data), read(TEXT_1)
    assert reading.format == kind
    assert reading.vector == plain.vector
    assert [part.vector for part in reading.parts] == [part.vector for part in plain.parts]
    words = [part.detail[: len(part.detail) // 3 * 2] for part in reading.parts]
    assert words == [part.detail[: len(part.detail) // 3 * 2] for part in plain.parts]
    assert reading.details["words"] == len(TEXT_1.split())


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("the exam-\nple of an exam\u00adple", "the example of an example"),
        ("\ufb01ne \uff21\uff22\uff23 Stra\u00dfe", "fine abc strasse"),
        ("N\bNA\bAM\bME\bE", "name"),
        ("caf\u00e9".encode("cp1252").decode("latin-1"), "cafe\u0301"),
    ],
)
def test_spellings_of_one_text_are_one(written: str, plain: str) -> None:
    """Words parted by a line, ligatures, wide letters, what a printer strikes twice, accents apart."""
    padding = " " + TEXT_1
    assert read(written + padding).vector == read(plain + padding).vector


def test_bytes_in_no_encoding_are_read_as_windows_has_them() -> None:
    """A text in Latin-1 is a text."""
    text = "Grün ist die Wiese, größer als je zuvor. " * 20
    assert read(text.encode("latin-1")).vector == read(text).vector


def test_scripts_without_spaces_have_words() -> None:
    """Each ideograph is a word, so that passages of such a text are found."""
    assert read("日本語の文章である" * 10).details["words"] == 90


def test_parts_cover_a_text_and_say_where() -> None:
    """Passages overlap; their places are characters of the text, in order."""
    parts = parts_of(TEXT_1)
    assert len(parts.vectors) == 4
    assert parts.places[0, 0] == 0
    assert parts.places[-1, 1] == len(TEXT_1) - 1
    assert (np.diff(parts.places[:, 0]) >= STEP_LETTERS - 20).all()
    assert (parts.places[1:, 0] < parts.places[:-1, 1]).all()


def test_pages_name_the_parts() -> None:
    """A passage begins with each page of a PDF file, and has its number."""
    reading = read(pdf([prose(seed, 330) for seed in range(3)]))
    assert reading.details["pages"] == 3
    assert [part.label for part in reading.parts] == ["page 1", "page 1", "page 2", "page 2", "page 3", "page 3"]


def test_the_title_of_a_web_page_is_told() -> None:
    """With its entities, on one line."""
    assert read(web_page(TEXT_1, "Fish &amp;\n chips")).details["title"] == "Fish & chips"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not-an-image"),
        (bytes(range(256)) * 20, "not-an-image"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "not-an-image"),
        (zipped("readme.txt", b"no text of ours"), "not-an-image"),
        (odt(TEXT_1)[:400], "damaged"),
        (b"PK\x03\x04" + bytes(100), "damaged"),
        (zipped("content.xml", b"<a><b></a>"), "damaged"),
        (b"%PDF-1.4\nnothing", "damaged"),
    ],
)
def test_what_is_no_text_is_refused(data: bytes, code: str) -> None:
    """In words, by the table of reasons."""
    with pytest.raises(UnreadableError) as refused:
        read(data)
    assert refused.value.unreadable.code == code


def test_entities_of_an_office_file_are_not_resolved() -> None:
    """A document type is refused: a billion laughs are never laughed, and no other file is read."""
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    xml = f'<!DOCTYPE x [<!ENTITY a0 "ha"><!ENTITY f SYSTEM "file:///etc/passwd">{laughs}]><x>&a9;&f;</x>'
    with pytest.raises(UnreadableError, match="document type"):
        read(zipped("content.xml", xml.encode()))


def test_an_office_file_unpacks_to_so_much_and_no_more() -> None:
    """A zip bomb costs what is allowed, not what it claims."""
    xml = b"<x>" + b" " * (MAX_XML_BYTES + 1)
    with pytest.raises(UnreadableError, match="unpacks to more than"):
        read(zipped("content.xml", xml))


def test_a_text_is_read_up_to_a_limit() -> None:
    """The facts say that it was cut."""
    line = "words of which there are far too many\n"
    details = read(line * (MAX_CHARACTERS // len(line) + 100)).details
    assert details["cut"] is True
    assert details["characters"] == MAX_CHARACTERS


@pytest.mark.parametrize(
    "data",
    [
        b"<html>" + b"<div>" * 300_000 + b"deep",
        b"<html>" + b"<a " * 500_000,
        b"<html>" + b"<!-- " * 300_000,
        b"<html>" + b"<script>" * 200_000,
        b"<html>" + b"<title>" * 200_000,
        b"<html>" + b"&" * 1_000_000,
        b"a-\n" * 400_000,
        b"a\b" * 500_000,
        zipped("content.xml", b"<a>" * 200_000),
        b"\xcc\x81" * 500_000,
    ],
    ids=["nested", "tags", "comments", "scripts", "titles", "entities", "hyphens", "overstruck", "elements", "accents"],
)
def test_a_hostile_file_costs_no_more_than_its_length(data: bytes) -> None:
    """What makes careless readers slow or deep is read, or refused, in seconds."""
    began = time.process_time()
    with suppress(UnreadableError):
        read(data)
    assert time.process_time() - began < 10


@pytest.mark.parametrize("make", [odt, docx, web_page, lambda text: pdf([text, text])])
def test_a_damaged_file_is_read_or_refused(make: object) -> None:
    """Whatever bytes are changed, cut off or put in, nothing but `UnreadableError` is raised."""
    assert callable(make)
    whole, seeded = make(TEXT_1), generator(5)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(seeded.randrange(1, 8)):
            data[seeded.randrange(len(data))] = seeded.randrange(256)
        with suppress(UnreadableError):
            read(bytes(data[: seeded.randrange(1, len(data) + 1)]))


@pytest.mark.parametrize("data", [b"\n", b"--- ***", b"a", pdf([""]), web_page("")])
def test_a_file_without_words_has_no_parts(data: bytes) -> None:
    """It is indexed, and is a copy of the same bytes alone."""
    reading = read(data)
    assert len(reading.vector) == 4096
    assert len(reading.parts) <= 1
    assert TEXT.medium.is_plain(parts_of(data))


def test_a_reader_without_the_extra_says_so() -> None:
    """A daemon that has no PDFium lists such files; what has the extra and has not loaded it asks for it."""
    assert FILE_READER.extra_for(pdf(["words"])) == "text"
    assert FILE_READER.extra_for(b"words") == ""
    assert FILE_READER.load(set()) == {"text"}


@pytest.mark.parametrize(
    ("data", "claimed"),
    [(b"some words", True), (pdf([""]), True), (b"\x89PNG\0\0", False), (b"\xff\xd8\xff\xe0\0", False)],
)
def test_bytes_are_claimed_by_what_they_are(data: bytes, *, claimed: bool) -> None:
    """Bytes without a name go to the medium whose they are."""
    assert FILE_READER.claims(data) is claimed
