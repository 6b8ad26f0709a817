"""How many edited texts are found among 10 000 documents, and what boilerplate is taken for, beside peers.

In: `_text_album`.  Out: a Markdown table of recall@1 and of verdicts for each edit, wrong ones among boilerplate, bytes
and processor time.  The same files and seed give the same figures, but for the times.  Never here: the daemon around
the medium.

A document is rightly found when it is the one that was edited, or has 90 % of the runs of five words that the query has
of that one: manuals repeat themselves.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click
import numpy as np
from _costs import Costs, share
from _text_album import ALBUM_SIZE, SEED, Document, documents
from _text_edits import EDITS, FORMS, edited, generator, misread
from _text_peers import Finder, MinHashPeer, Ours, SimhashPeer, long_shingles, timed
from numpy.typing import NDArray

from cbir_daemon.decode.reader import Reading
from cbir_daemon.decode.reading import UnreadableError
from cbir_daemon.text.file_reader import FILE_READER
from cbir_daemon.text.formats import format_of
from cbir_daemon.text.markup import text_of
from cbir_daemon.text.plain import decoded

PDF_EDIT = "a page as PDF"
PARTIAL_EDITS = (PDF_EDIT, "a paragraph alone", "a paragraph in another text")
GOALS = {"recall@1, whole texts": 0.98, "recall@1, passages": 0.95}
MIN_CHARACTERS = 2500
SAME_SHARE = 0.9
APART_SHARE = 0.05
LATIN_SHARE = 0.98
THRESHOLDS = tuple(round(0.02 * step, 2) for step in range(10, 46))
FILLED = 30
HOSTS = 300
MIB = 1 << 20


@dataclass
class Column(Costs):
    """What a finder did.

    Parameters
    ----------
    finder : Finder
    """

    finder: Finder

    def add(self, row: int, text: str, reading: Reading) -> None:
        """Take a document into the album."""
        self.added(partial(self.finder.add, row, text, reading))

    def ask(self, text: str, reading: Reading) -> list[tuple[int, float]]:
        """Return rows and scores, best first."""
        found = self.asked(partial(self.finder.scores, text, reading))
        return sorted(found.items(), key=lambda item: -item[1])


@dataclass
class Bench:
    """The album, and what is asked of it."""

    columns: list[Column]
    texts: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    runs: list[NDArray[np.int64]] = field(default_factory=list)
    read_s: float = 0.0
    read_bytes: int = 0
    indexed: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
    first_scores: list[tuple[float, bool]] = field(default_factory=list)
    """Of each query for which it is known: the first finder's highest score, and whether what has it is right."""

    def add(self, name: str, data: bytes) -> None:
        """Read a document and have each finder take it."""
        began = time.process_time()
        reading = FILE_READER.read(data, 0)
        self.read_s += time.process_time() - began
        self.read_bytes += len(data)
        text = plain_text(data)
        for column in self.columns:
            column.add(len(self.texts), text, reading)
        self.texts.append(text)
        self.names.append(name)
        self.runs.append(long_shingles(text))
        self.indexed = None

    def right_rows(self, row: int, query: str) -> set[int]:
        """Return the rows that have what a query has of a document."""
        own = np.intersect1d(long_shingles(query), self.runs[row])
        return {row, *np.flatnonzero(self._common(own) >= max(1.0, SAME_SHARE * len(own))).tolist()}

    def is_apart(self, text: str) -> bool:
        """Return whether no document of the album has a twentieth of a text's runs, or half of its own ones in it."""
        own = long_shingles(text)
        common, lengths = self._common(own), np.array([len(each) for each in self.runs])
        return int(common.max(initial=0)) < APART_SHARE * len(own) and not (2 * common > lengths).any()

    def _common(self, own: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many of some runs each document has."""
        runs, owners = self._index()
        first, after = np.searchsorted(runs, own, "left"), np.searchsorted(runs, own, "right")
        sharing = [owners[start:end] for start, end in zip(first, after, strict=True)]
        return np.bincount(np.concatenate([owners[:0], *sharing]), minlength=len(self.runs))

    def _index(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return all runs in order, and whose each is."""
        if self.indexed is None:
            runs = np.concatenate(self.runs)
            order = np.argsort(runs, kind="stable")
            owners = np.repeat(np.arange(len(self.runs)), [len(each) for each in self.runs])
            self.indexed = runs[order], owners[order]
        return self.indexed


def plain_text(data: bytes) -> str:
    """Return the text of a document, its paragraphs an empty line apart."""
    text = decoded(data)
    shown = text_of(text) if format_of(data) == "HTML" else text
    return re.sub(r"\n\s*\n\s*", "\n\n", shown)


def load_album(size: int, finders: Sequence[Finder]) -> tuple[Bench, list[Document]]:
    """Return the album and the documents that are kept out of it."""
    FILE_READER.load({"text"})
    every = documents()
    bench = Bench([Column(finder) for finder in finders])
    for document in every[:size]:
        try:
            bench.add(document.name, document.data)
        except UnreadableError as error:
            click.echo(f"{document.name}: {error}", err=True)
    return bench, every[size:]


def ask_edits(bench: Bench, count: int, hosts: Sequence[str]) -> dict[str, list[list[tuple[bool, bool]]]]:
    """Return for each edit and finder whether each query's first match is right, and whether it is accepted."""
    rows = [row for row, text in enumerate(bench.texts) if len(text) >= MIN_CHARACTERS]
    answers: dict[str, list[list[tuple[bool, bool]]]] = {}
    for name, edit in EDITS.items():
        seeded = generator(f"{SEED} {name}")
        answers[name] = [[] for _ in bench.columns]
        asked = [row for row in rows if name != PDF_EDIT or is_latin(bench.texts[row])]
        for row in seeded.sample(asked, count):
            data = edit(bench.texts[row], seeded, hosts)
            reading = FILE_READER.read(data, 0)
            query = "" if data.startswith(b"%PDF") else plain_text(data)
            query = query or pdf_text(data)
            right = bench.right_rows(row, query)
            for column, kept in zip(bench.columns, answers[name], strict=True):
                found = column.ask(query, reading)
                first = bool(found) and found[0][0] in right
                if column is bench.columns[0] and found:
                    bench.first_scores.append((found[0][1], first))
                if not first and column is bench.columns[0]:
                    click.echo(f"missed: {name} of {bench.names[row]}, {found[:1]}", err=True)
                kept.append((first, first and found[0][1] >= column.finder.threshold))
    return answers


def is_latin(text: str) -> bool:
    """Return whether the PDF files of this benchmark, which have one font, can show a text."""
    return len(text.encode("cp1252", "ignore")) > LATIN_SHARE * len(text)


def pdf_text(data: bytes) -> str:
    """Return the text of a PDF file, as peers get it."""
    from cbir_daemon.text.pdf import pdf_pages  # noqa: PLC0415 -- PDFium only where a query is one

    return "\n".join(page.text for page in pdf_pages(data)[0])


def ask_forms(bench: Bench) -> list[str]:
    """Return a line for each kind of question about filled forms: how many finders accept wrong ones."""
    seeded = generator(str(SEED))
    known: dict[int, str] = {}
    for number, form in enumerate(FORMS):
        for copy in range(FILLED):
            known[len(bench.texts)] = form.filled(seeded)
            bench.add(f"form {number}, copy {copy}", known[len(bench.texts)].encode())
    strangers = [form.filled(seeded) for form in FORMS for _ in range(FILLED)]
    misreads = [(row, misread(text, seeded, ()).decode()) for row, text in known.items()]
    lines = []
    for title, asked in (
        ("other fillings", [(-1, text) for text in strangers]),
        ("the same, 5 % misread", misreads),
    ):
        cells = []
        for column in bench.columns:
            first = wrong = 0
            for row, text in asked:
                found = column.ask(text, FILE_READER.read(text.encode(), 0))
                if column is bench.columns[0] and found:
                    bench.first_scores.append((found[0][1], found[0][0] == row))
                first += bool(found) and found[0][0] == row and found[0][1] >= column.finder.threshold
                wrong += any(found_row != row and score >= column.finder.threshold for found_row, score in found)
            cells.append(f"{first} right, {wrong} wrong")
        lines.append(f"| {len(asked)} forms: {title} | " + " | ".join(cells) + " |")
    return lines


def ask_licences(bench: Bench, kept_out: Sequence[Document]) -> list[str]:
    """Return a line for each kind of question about licences: edited ones, and one at the head of another text."""
    licences = [(row, name) for row, name in enumerate(bench.names) if name.startswith("licences/")]
    seeded = generator(str(SEED))
    edits: list[Callable[..., bytes]] = [misread, edited]
    asked = [(row, edit(bench.texts[row], seeded, ()).decode()) for row, _ in licences for edit in edits]
    cells = []
    for column in bench.columns:
        first = 0
        for row, text in asked:
            found = column.ask(text, FILE_READER.read(text.encode(), 0))
            first += bool(found) and found[0][0] in bench.right_rows(row, text)
        cells.append(f"{first} right")
    lines = [f"| {len(asked)} licences, 5 % misread or 30 % edited | " + " | ".join(cells) + " |"]
    notice = next(text for text in bench.texts if "either version 2 of the License, or" in text)
    at = notice.index("either version 2 of the License, or")
    notice = notice[max(0, at - 250) : at + 500]
    texts = [plain_text(document.data) for document in kept_out[:FILLED]]
    cells = []
    for column in bench.columns:
        wrong = 0
        for text in texts:
            without = {row for row, _ in accepted(column, text)}
            wrong += any(row not in without for row, _ in accepted(column, f"{notice}\n\n{text}"))
        cells.append(f"{wrong} wrong")
    return [*lines, f"| {len(texts)} texts with a notice of the GPL put before them | " + " | ".join(cells) + " |"]


def accepted(column: Column, text: str) -> list[tuple[int, float]]:
    """Return what a finder takes for copies of a text."""
    found = column.ask(text, FILE_READER.read(text.encode(), 0))
    return [(row, score) for row, score in found if score >= column.finder.threshold]


def ask_strangers(bench: Bench, kept_out: Sequence[Document]) -> str:
    """Return a line of how many documents that are in no album are taken for copies, and how many share no 12 words."""
    cells = [[0, 0] for _ in bench.columns]
    for document in kept_out:
        text = plain_text(document.data)
        runs = long_shingles(text, 12)
        for column, cell in zip(bench.columns, cells, strict=True):
            found = accepted(column, text)
            cell[0] += bool(found)
            cell[1] += any(not np.isin(runs, long_shingles(bench.texts[row], 12)).any() for row, _ in found)
    shown = " | ".join(f"{count} accepted, {apart} share no 12 words on end" for count, apart in cells)
    return f"| {len(kept_out)} documents that are not in the album | {shown} |"


def threshold_line(scores: Sequence[tuple[float, bool]]) -> str:
    """Return the threshold with the fewest errors on every second query, and what it does to the others.

    Parameters
    ----------
    scores : sequence of (float, bool)
        Highest score of a query, and whether what has it is right.
    """
    chosen_on, reported_on = scores[::2], scores[1::2]
    errors = [sum((score >= least) != right for score, right in chosen_on) for least in THRESHOLDS]
    best = [least for least, count in zip(THRESHOLDS, errors, strict=True) if count == min(errors)]
    chosen = best[len(best) // 2]
    right = [score for score, is_right in reported_on if is_right]
    wrong = [score for score, is_right in reported_on if not is_right]
    return (
        f"threshold on half of the queries: {chosen} ({best[0]} to {best[-1]} are as good);"
        f" on the other half {sum(score >= chosen for score in right)} of {len(right)} right first matches are"
        f" accepted, and {sum(score >= chosen for score in wrong)} of {len(wrong)} wrong ones"
    )


@click.command()
@click.option("--size", default=ALBUM_SIZE, show_default=True, help="Documents of the album.")
@click.option("--queries", default=50, show_default=True, help="For each edit.")
@click.option("--alone", is_flag=True, help="Without the peers, which take most of the time.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the table there too.")
def text(size: int, queries: int, *, alone: bool, out: Path | None) -> None:
    """Texts: edits, passages and boilerplate among documents of Debian's packages."""
    finders: list[Finder] = [Ours()] if alone else [Ours(), MinHashPeer(), SimhashPeer()]
    bench, kept_out = load_album(size, finders)
    read_s = bench.read_s
    # Whoever hosts a paragraph has no other match of its own.
    hosts = [
        host for host in map(plain_text, (document.data for document in kept_out[-HOSTS:])) if bench.is_apart(host)
    ]
    lines = [
        f"| {len(bench.texts)} documents, {bench.read_bytes / MIB:.0f} MiB | "
        + " | ".join(column.finder.name for column in bench.columns)
        + " |",
        "|---|" + "---|" * len(bench.columns),
    ]
    answers = ask_edits(bench, queries, hosts)
    for name, columns in answers.items():
        cells = [
            f"{share([first for first, _ in kept]):.2f} / {share([copy for _, copy in kept]):.2f}" for kept in columns
        ]
        lines.append(f"| {name}: recall@1 / accepted | " + " | ".join(cells) + " |")
    median_ms = [timed(column.asked_s) for column in bench.columns]
    lines += [*ask_licences(bench, kept_out), ask_strangers(bench, kept_out[:queries]), *ask_forms(bench)]
    lines.append(
        "| bytes a document | "
        + " | ".join(f"{column.stored_bytes / len(bench.texts):.0f}" for column in bench.columns)
        + " |"
    )
    lines.append("| a query, ms of a processor | " + " | ".join(f"{took:.0f}" for took in median_ms) + " |")
    lines.append(
        f"| the album, s of a processor (reading: {read_s:.0f} s) | "
        + " | ".join(f"{column.added_s:.0f}" for column in bench.columns)
        + " |"
    )
    lines += ["", threshold_line(bench.first_scores)]
    table = "\n".join(lines)
    click.echo(table)
    if out:
        out.write_text(table + "\n", encoding="utf-8")
    wholes = [first for name, columns in answers.items() if name not in PARTIAL_EDITS for first, _ in columns[0]]
    passages = [first for name in PARTIAL_EDITS for first, _ in answers[name][0]]
    for (name, goal), value in zip(GOALS.items(), (share(wholes), share(passages)), strict=True):
        click.echo(f"{name}: {value:.3f}, goal {goal}{'' if value >= goal else ': missed'}")
