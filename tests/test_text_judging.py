"""Texts: what is a copy of what, where it stands, and how that is said."""

from __future__ import annotations

import numpy as np
import pytest

from cbir_daemon.comparison import Overlap
from cbir_daemon.part_medium import FileFacts
from cbir_daemon.text import TEXT
from cbir_daemon.text.file_reader import FILE_READER
from tests.texts import edited, generator, judged, misread, parts_of, pdf, prose, web_page

MEDIUM = TEXT.medium
ORIGINAL = prose(1)
STRANGERS = [prose(seed) for seed in range(10, 20)]
FACTS = FileFacts("TEXT")
BOILERPLATE = prose(50, 200).split(". ")


@pytest.fixture(autouse=True, scope="module")
def _loaded() -> None:
    """A worker loads the reader before it reads."""
    FILE_READER.load({"text"})


@pytest.mark.parametrize(
    ("query", "least"),
    [
        (ORIGINAL, 1.0),
        (ORIGINAL.upper().replace(" ", "\n"), 1.0),
        (web_page(ORIGINAL), 0.99),
        (misread(ORIGINAL, 2), 0.7),
        (edited(ORIGINAL, 3), 0.6),
        (pdf([ORIGINAL]), 1.0),
    ],
)
def test_a_copy_is_told_from_strangers(query: bytes | str, least: float) -> None:
    """However it was written, misread or edited; nothing else in the same vocabulary is taken for it."""
    verdicts = judged(query, [ORIGINAL, *STRANGERS])
    assert verdicts[0].is_copy
    assert verdicts[0].score >= least
    assert verdicts[0].overlap.query > 0.9
    assert not any(verdict.is_copy for verdict in verdicts[1:])


def test_a_candidate_is_found_by_its_codes() -> None:
    """The best passage of a copy scores above the floor, and above those of strangers."""
    query = MEDIUM.probes(parts_of(edited(misread(ORIGINAL, 2), 3)))
    scores = []
    for text in (ORIGINAL, *STRANGERS):
        codes = MEDIUM.packed_codes(parts_of(text).vectors)[:, 0].astype(np.float32)
        scores.append(float((query.codes @ codes.T).max()))
    assert scores[0] > MEDIUM.floor
    assert scores[0] > 2 * max(scores[1:])


def test_a_paragraph_is_found_in_another_text() -> None:
    """Places and shares say what of either is the other's."""
    paragraph = ORIGINAL.split("\n\n")[4]
    host = f"{STRANGERS[0]}\n\n{paragraph}\n\n{STRANGERS[1]}"
    (verdict,) = judged(host, [ORIGINAL])
    assert verdict.is_copy
    first, last = verdict.match_place
    assert paragraph[:40] in ORIGINAL[int(first) :]
    assert ORIGINAL[int(first) : int(last)].strip() == paragraph
    begin, end = verdict.query_place
    assert host[int(begin) : int(end)].strip() == paragraph
    assert verdict.overlap.query == pytest.approx(60 / 1260, abs=0.01)
    assert verdict.overlap.match == pytest.approx(60 / 600, abs=0.01)
    assert MEDIUM.words(verdict, "it", FACTS, FACTS) == "10 % of it stands in it"


def test_what_is_said_names_the_pages() -> None:
    """A passage of a PDF file: "all of it stands in /docs/a.pdf, pages 2 to 3"."""
    pages = [prose(seed, 250) for seed in range(30, 34)]
    (verdict,) = judged("\n".join(pages[1:3]), [pdf(pages)])
    assert MEDIUM.words(verdict, "/docs/a.pdf", FACTS, FACTS) == "all of it stands in /docs/a.pdf, pages 2\u20133"
    back = MEDIUM.reversed(verdict)
    assert MEDIUM.reversed(back) == verdict
    assert back.overlap == Overlap(verdict.overlap.match, verdict.overlap.query)
    assert MEDIUM.words(back, "/docs/a.txt", FACTS, FACTS) == "all of /docs/a.txt stands in it, pages 2\u20133"


def form(seed: int) -> str:
    """Return 200 words that are the same in each form, with three words of its own after every sentence."""
    seeded = generator(seed)
    return ". ".join(f"{sentence}: {prose(seeded.randrange(10**6), 3)}" for sentence in BOILERPLATE)


def test_forms_are_told_apart_by_what_was_filled_in() -> None:
    """Among many of them only the same one is a copy, also when it was misread; another one is a copy of none."""
    stored = [form(seed) for seed in range(6)]
    for query in (form(2), misread(form(2), 9)):
        assert [verdict.is_copy for verdict in judged(query, stored)] == [row == 2 for row in range(6)]
    assert not any(verdict.is_copy for verdict in judged(form(77), stored))


def test_two_forms_are_told_apart_by_their_numbers() -> None:
    """Where there is one other alone: amounts, dates and addresses that differ are of another one."""
    seeded = generator(3)
    first, second = (
        ". ".join(f"{sentence} {seeded.randrange(10**6)} of {seeded.randrange(10**6)}" for sentence in BOILERPLATE)
        for _ in range(2)
    )
    assert not judged(first, [second])[0].is_copy
    assert judged(misread(first, 4), [first])[0].is_copy


def test_a_notice_that_many_files_have_makes_no_copies() -> None:
    """A licence at the head of unrelated texts."""
    notice = prose(60, 90)
    verdicts = judged(f"{notice}\n\n{ORIGINAL}", [f"{notice}\n\n{text}" for text in STRANGERS])
    assert not any(verdict.is_copy for verdict in verdicts)


def test_a_short_file_that_has_a_notice_and_little_else_is_no_copy() -> None:
    """Nearly all of it stands in the query, and so does nearly all of many others: its own words do not."""
    notice = prose(60, 90)
    stored = [f"{notice}\n\n{prose(seed, 20)}" for seed in range(70, 75)]
    assert not any(verdict.is_copy for verdict in judged(f"{notice}\n\n{ORIGINAL}", stored))


def test_a_form_of_short_fields_is_told_by_another_one_that_says_more() -> None:
    """Of nine words that it has of its own: too few to be asked for, were there not one that has them."""
    names = [[word for word in prose(seed, 60).split() if len(word) > 4][:9] for seed in range(300, 308)]
    stored = [f"{' '.join(words)}. {'. '.join(BOILERPLATE)}" for words in names]
    for row, text in enumerate(stored):
        head, *rest = text.split(". ")
        verdicts = judged(f"{head}. {misread('. '.join(rest), row)}", stored)
        assert [verdict.is_copy for verdict in verdicts] == [at == row for at in range(8)]


def test_of_two_that_have_a_paragraph_the_one_that_has_more_of_it_comes_first() -> None:
    """Both are copies."""
    paragraphs = ORIGINAL.split("\n\n")
    less, more = judged("\n\n".join(paragraphs[2:5]), [f"{STRANGERS[0]}\n\n{paragraphs[3]}", ORIGINAL])
    assert less.is_copy
    assert more.score > less.score


def test_copies_of_what_many_files_have_are_copies_all_the_same() -> None:
    """The notice alone stands in each of them."""
    notice = prose(60, 90)
    assert all(verdict.is_copy for verdict in judged(notice, [f"{notice}\n\n{text}" for text in STRANGERS]))


@pytest.mark.parametrize("text", ["", "yes", "ha " * 5000, "see page one, see page two"])
def test_a_plain_text_matches_nothing(text: str) -> None:
    """A few words, however often: it is looked up by its bytes alone."""
    parts = parts_of(text)
    assert MEDIUM.is_plain(parts)
    assert not len(MEDIUM.probes(parts).codes)
    assert not any(verdict.is_copy for verdict in judged(text, [text, ORIGINAL]))
    assert not judged(ORIGINAL, [text])[0].is_copy


def test_a_long_text_is_looked_up_by_so_many_passages() -> None:
    """From its beginning to its end."""
    parts = parts_of(prose(5, 20_000))
    rows = MEDIUM.probes(parts).rows
    assert len(rows) == 48
    assert (rows[0], rows[-1]) == (0, len(parts.vectors) - 1)


def test_likeness_is_of_whole_texts() -> None:
    """The same is 1, a text with half of another is alike, a stranger is not."""
    texts = [ORIGINAL, ORIGINAL[: len(ORIGINAL) // 2] + STRANGERS[0], STRANGERS[1]]
    vectors = np.stack([np.frombuffer(FILE_READER.read(text.encode(), 0).vector, np.uint8) for text in texts])
    same, half, stranger = MEDIUM.likeness(vectors[0], vectors)
    assert same == pytest.approx(1, abs=1e-4)
    assert stranger + 0.1 < half < 0.9


def test_the_longer_text_is_kept() -> None:
    """Its words are the merit, and are said; so are pages where there are any."""
    (merit,) = MEDIUM.merits(FileFacts("TEXT", 0, {"words": 12_345}))
    assert (merit.value, merit.words) == (12_345, "12 345 words")
    assert MEDIUM.summary(FileFacts("PDF", 0, {"pages": 1, "words": 300})) == "1 page, 300 words"
    assert MEDIUM.summary(FileFacts("TEXT")) == "no words"


def test_a_text_is_drawn() -> None:
    """As 64x64 grey levels; nothing counted is an even grey."""
    drawn = MEDIUM.picture(parts_of(ORIGINAL).vectors[0])
    assert drawn.shape == (64, 64)
    assert drawn.std() > 0
    assert (MEDIUM.picture(np.full(4096, 128, np.uint8)) == 128).all()
