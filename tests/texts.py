"""Texts made from a seed, files of them, and their parts as a daemon keeps them.

In: seeds.  Out: texts, bytes of files, `Parts`.  Never here: what a test expects of them.
"""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Sequence

import numpy as np

from cbir_daemon.decode.reader import Reading
from cbir_daemon.part_medium import Candidate, FileFacts, FileJudgement, Parts
from cbir_daemon.records import VECTOR_BYTES
from cbir_daemon.text import TEXT
from cbir_daemon.text.file_reader import FILE_READER

SYLLABLES = ("ba", "cor", "del", "fen", "gi", "hal", "jo", "kin", "lum", "mar", "no", "pel", "qui", "ros", "sta", "tur")
COMMON = ("the", "of", "and", "to", "in", "is", "that", "for", "it", "as")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def generator(seed: int) -> random.Random:
    """Return what chooses the same again from the same seed."""
    return random.Random(seed)  # noqa: S311 -- no secret


def prose(seed: int, words: int = 600) -> str:
    """Return sentences of words that are made of syllables, half of them common ones, in paragraphs of 60 words."""
    seeded = generator(seed)
    made = [seeded.choice(COMMON) if seeded.random() < 0.4 else _word(seeded) for _ in range(words)]
    sentences = [" ".join(made[at : at + 12]).capitalize() + "." for at in range(0, words, 12)]
    return "\n\n".join(" ".join(sentences[at : at + 5]) for at in range(0, len(sentences), 5))


def _word(seeded: random.Random) -> str:
    return "".join(seeded.choices(SYLLABLES, k=seeded.randint(2, 3)))


def misread(text: str, seed: int, share: float = 0.05) -> str:
    """Return a text of which a share of the letters is misread."""
    seeded = generator(seed)
    return "".join(
        seeded.choice(LETTERS) if letter.isalpha() and seeded.random() < share else letter for letter in text
    )


def edited(text: str, seed: int, share: float = 0.3) -> str:
    """Return a text of which a share of the words is replaced, dropped or has another one put before it."""
    seeded = generator(seed)
    pieces: list[str] = []
    for word in text.split():
        kinds = ([_word(seeded)], [], [_word(seeded), word]) if seeded.random() < share else ([word],)
        pieces += seeded.choice(kinds)
    return " ".join(pieces)


def read(data: bytes | str) -> Reading:
    """Return what the reader makes of a file."""
    return FILE_READER.read(data.encode() if isinstance(data, str) else data, 0)


def parts_of(data: bytes | str) -> Parts:
    """Return the parts of a file, as an index gives them back."""
    reading = read(data)
    vectors = np.frombuffer(b"".join(part.vector for part in reading.parts), dtype=np.uint8)
    return Parts(
        vectors.reshape(-1, VECTOR_BYTES),
        np.array([(part.start, part.end) for part in reading.parts], dtype=np.float64).reshape(-1, 2),
        tuple(part.label for part in reading.parts),
        tuple(part.detail for part in reading.parts),
        FileFacts(reading.format, 0, reading.details),
    )


def judged(query: bytes | str, stored: Sequence[bytes | str]) -> list[FileJudgement]:
    """Return what comparing a file with each of some files says, all of which are candidates."""
    medium, asked = TEXT.medium, parts_of(query)
    probes = medium.probes(asked)
    candidates = []
    for data in stored:
        parts = parts_of(data)
        codes = medium.packed_codes(parts.vectors).astype(np.float32)
        scores = np.einsum("vt,mwt->vm", probes.codes, codes).astype(np.float32)
        candidates.append(Candidate(parts, scores, np.zeros(scores.shape, dtype=np.int64)))
    return medium.judge(asked, probes, candidates)


def web_page(text: str, title: str = "A title") -> bytes:
    """Return a text as HTML, with what no browser shows around it."""
    paragraphs = "".join(f"<p>{paragraph.replace('. ', '.<br>')}</p>" for paragraph in text.split("\n\n"))
    return (
        f"<!DOCTYPE html><html><head><title>{title}</title><style>p {{ color: red }}</style></head><body>"
        f"<script>if (a < b) {{ alert('<p>unseen</p>') }}</script><!-- <p>hidden</p> -->{paragraphs}</body></html>"
    ).encode()


def zipped(name: str, xml: bytes) -> bytes:
    """Return a zip archive of one file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, xml)
    return stream.getvalue()


def odt(text: str) -> bytes:
    """Return a text as an OpenDocument file."""
    paragraphs = "".join(f"<text:p>{paragraph}</text:p>" for paragraph in text.split("\n\n"))
    xml = (
        '<?xml version="1.0"?><office:document-content xmlns:office="o" xmlns:text="t"><office:body><office:text>'
        f"<text:tracked-changes><text:p>dropped words</text:p></text:tracked-changes>{paragraphs}"
        "</office:text></office:body></office:document-content>"
    )
    return zipped("content.xml", xml.encode())


def docx(text: str) -> bytes:
    """Return a text as a Word file, of which each word is a run of its own."""
    paragraphs = "".join(
        "<w:p>" + "".join(f"<w:r><w:t>{word} </w:t></w:r>" for word in paragraph.split()) + "</w:p>"
        for paragraph in text.split("\n\n")
    )
    xml = f'<?xml version="1.0"?><w:document xmlns:w="w"><w:body>{paragraphs}</w:body></w:document>'
    return zipped("word/document.xml", xml.encode())


def pdf(pages: Sequence[str]) -> bytes:
    """Return a PDF file with the text of each page in lines of Helvetica."""
    kids = " ".join(f"{4 + 2 * page} 0 R" for page in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for page, text in enumerate(pages):
        words = text.split()
        lines = [" ".join(words[at : at + 10]) for at in range(0, len(words), 10)]
        shown = "".join(f"({line}) Tj T*\n" for line in lines)
        stream = f"BT /F1 9 Tf 50 800 Td 12 TL\n{shown}ET".encode()
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * page} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    body = b"%PDF-1.4\n"
    places = []
    for number, content in enumerate(objects, 1):
        places.append(b"%010d 00000 n \n" % len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    count = len(objects) + 1
    table = b"xref\n0 %d\n0000000000 65535 f \n%s" % (count, b"".join(places))
    return body + table + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (count, len(body))
