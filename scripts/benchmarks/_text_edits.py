"""What becomes of texts: the edits that the benchmark of texts looks for.

In: a text and a random generator.  Out: bytes of a file.  Never here: who finds it.
"""

from __future__ import annotations

import random
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Random = random.Random
Edit = Callable[[str, Random, Sequence[str]], bytes]

WIDTH = 60
OCR_SHARE = 0.05
EDITED_SHARE = 0.30
PARAGRAPH_CHARACTERS = (600, 1200)
PAGE_CHARACTERS = 2400
# What is misread for what.
MISREAD = {
    "l": "1",
    "1": "l",
    "o": "0",
    "0": "o",
    "e": "c",
    "c": "e",
    "m": "rn",
    "h": "b",
    "i": "j",
    "n": "u",
    "s": "5",
}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
FIRST_NAMES = ("Anna", "Boris", "Chen", "Dalia", "Emil", "Fatima", "Georg", "Hanna", "Ivan", "Jonas", "Karin", "Lea")
LAST_NAMES = ("Abel", "Brandt", "Castro", "Dietrich", "Eklund", "Farkas", "Groen", "Huber", "Ibsen", "Janda", "Koch")
STREETS = ("Mill Lane", "Station Road", "High Street", "Park Avenue", "Church Hill", "Bridge Row", "Garden Court")
TOWNS = ("Ashford", "Bergen", "Colmar", "Delft", "Evora", "Fulda", "Gdansk", "Huesca", "Imola", "Jena", "Kiruna")


def generator(seed: str) -> Random:
    """Return what makes the same edits again from the same seed."""
    return random.Random(seed)  # noqa: S311 -- no secret


def reformatted(text: str, _: Random, __: Sequence[str]) -> bytes:
    """Return a text with other line breaks, every third line marked as a quotation."""
    lines = textwrap.wrap(" ".join(text.split()), WIDTH, break_long_words=False)
    return "\n".join(f"> {line}" if row % 3 == 0 else line for row, line in enumerate(lines)).encode()


def other_case(text: str, _: Random, __: Sequence[str]) -> bytes:
    """Return a text in capitals."""
    return text.upper().encode()


def misread(text: str, seeded: Random, _: Sequence[str]) -> bytes:
    """Return a text of which `OCR_SHARE` of the characters are misread, dropped or doubled."""
    return "".join(_misread(letter, seeded) if seeded.random() < OCR_SHARE else letter for letter in text).encode()


def _misread(letter: str, seeded: Random) -> str:
    if letter.isspace():
        return "" if letter == " " else letter
    return seeded.choice([MISREAD.get(letter, seeded.choice(LETTERS)), "", letter * 2, seeded.choice(LETTERS)])


def edited(text: str, seeded: Random, _: Sequence[str]) -> bytes:
    """Return a text of which `EDITED_SHARE` of the words are replaced, dropped or put in."""
    words = text.split()
    pieces: list[str] = []
    for word in words:
        if seeded.random() >= EDITED_SHARE:
            pieces.append(word)
            continue
        kind = seeded.randrange(3)
        pieces += [[seeded.choice(words)], [], [word, seeded.choice(words)]][kind]
    return " ".join(pieces).encode()


def as_web_page(text: str, _: Random, __: Sequence[str]) -> bytes:
    """Return a text as a page of HTML."""
    paragraphs = "".join(f"<p>{_escaped(paragraph)}</p>\n" for paragraph in text.split("\n\n"))
    return f"<!doctype html><html><head><title>A page</title></head><body>{paragraphs}</body></html>".encode()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def paragraph_elsewhere(text: str, seeded: Random, others: Sequence[str]) -> bytes:
    """Return another text with a paragraph of a text put into it."""
    length = seeded.randint(*PARAGRAPH_CHARACTERS)
    paragraph = cut(text, length, seeded)
    host = seeded.choice(others)[:20_000]
    at = host.find(" ", seeded.randrange(max(len(host), 1)))
    return f"{host[:at]}\n\n{paragraph}\n\n{host[at:]}".encode()


def passage(text: str, seeded: Random, _: Sequence[str]) -> bytes:
    """Return a paragraph of a text alone."""
    return cut(text, seeded.randint(*PARAGRAPH_CHARACTERS), seeded).encode()


def page_of_pdf(text: str, seeded: Random, _: Sequence[str]) -> bytes:
    """Return a page of a text as a PDF file."""
    return pdf_file([cut(text, PAGE_CHARACTERS, seeded)])


def cut(text: str, length: int, seeded: Random) -> str:
    """Return a part of a text, from a word's beginning to a word's end."""
    start = seeded.randrange(max(len(text) - length, 1))
    words = text[start : start + length].split(" ")
    return " ".join(words[1:-1])


def pdf_file(pages: Sequence[str]) -> bytes:
    """Return a PDF file with each page's text in lines of Helvetica; letters outside of Latin-1 are question marks."""
    count = len(pages)
    kids = " ".join(f"{4 + 2 * page} 0 R" for page in range(count))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for page, text in enumerate(pages):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * page} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        stream = _page_stream(text)
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    body, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return (
        body
        + b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (
            len(objects) + 1,
            table,
            len(objects) + 1,
            len(body),
        )
    )


def _page_stream(text: str) -> bytes:
    lines = textwrap.wrap(" ".join(text.split()), 95)
    shown = b"".join(b"(%s) Tj T*\n" % line.encode("cp1252", "replace").translate(None, b"()\\") for line in lines)
    return b"BT /F1 10 Tf 50 800 Td 12 TL\n%sET" % shown


EDITS: dict[str, Edit] = {
    "reformatted": reformatted,
    "in capitals": other_case,
    "as a web page": as_web_page,
    "5 % misread": misread,
    "30 % edited": edited,
    "a page as PDF": page_of_pdf,
    "a paragraph alone": passage,
    "a paragraph in another text": paragraph_elsewhere,
}
"""Name -> edit; a text of the album becomes a query."""


@dataclass(frozen=True)
class Form:
    """A form: what is the same in each copy that somebody fills in.

    Parameters
    ----------
    text : str
        With fields in braces.
    """

    text: str

    def filled(self, seeded: Random) -> str:
        """Return the form as somebody filled it in."""
        return self.text.format(
            name=f"{seeded.choice(FIRST_NAMES)} {seeded.choice(LAST_NAMES)}",
            street=f"{seeded.choice(STREETS)} {seeded.randrange(1, 200)}",
            town=f"{seeded.randrange(10000, 99999)} {seeded.choice(TOWNS)}",
            date=f"{seeded.randrange(1, 29)}.{seeded.randrange(1, 13)}.{seeded.randrange(2001, 2026)}",
            birth=f"{seeded.randrange(1, 29)}.{seeded.randrange(1, 13)}.{seeded.randrange(1940, 2005)}",
            number=f"{seeded.randrange(10**5, 10**6)}/{seeded.randrange(10, 99)}",
            amount=f"{seeded.randrange(20, 5000)}.{seeded.randrange(10, 99)}",
            account=" ".join(str(seeded.randrange(1000, 9999)) for _ in range(5)),
            second=f"{seeded.choice(FIRST_NAMES)} {seeded.choice(LAST_NAMES)}",
        )


INVOICE = Form(
    "Invoice {number}\n\nTo {name}, {street}, {town}\n\nDate of the invoice: {date}\n\nFor the services that we agreed "
    "on we take the liberty of charging the amount of {amount} euros, taxes included. Please transfer it within "
    "fourteen days, without any deduction, to our account {account}, and state the number of the invoice. The goods "
    "remain our property until they are paid in full. Complaints are to be made in writing within eight days of "
    "delivery. The place of performance and of jurisdiction for both parties is the seat of our company. Should one of "
    "these provisions be invalid, the others remain in force. We thank you for your order and look forward to "
    "working with you again. With kind regards, {second}, accounts department. This letter was made by a machine and "
    "is valid without a signature.\n"
)
TENANCY = Form(
    "Tenancy agreement\n\nbetween {name}, born on {birth}, hereinafter the landlord, and {second}, hereinafter the "
    "tenant.\n\n1. The landlord lets to the tenant the flat at {street}, {town}, consisting of the rooms named in the "
    "annex, for use as a dwelling. 2. The tenancy begins on {date} and runs for an indefinite time. 3. The rent is "
    "{amount} euros a month and is due on the third working day of each month in advance, to the account {account}. "
    "4. The tenant pays the running costs of the house in proportion to the area of the flat. 5. The tenant provides a "
    "security of three times the monthly rent, which the landlord keeps apart from his own means. 6. Small repairs up "
    "to a usual amount are borne by the tenant. 7. Keeping animals, small ones excepted, and letting to others need "
    "the consent of the landlord. 8. Either party may give notice in writing, at the latest on the third working day "
    "of a month, to the end of the month after the next. 9. When the tenancy ends the flat is to be returned swept, "
    "and all keys are to be handed over. 10. Changes of this agreement are to be made in writing. Number of the "
    "agreement: {number}.\n"
)
CONSENT = Form(
    "Declaration of consent\n\nI, {name}, living at {street} in {town}, born on {birth}, have been told by Dr {second} "
    "on {date} about the nature, the purpose and the risks of the treatment. I was able to ask all questions that "
    "seemed important to me, and they were answered completely and in words that I understand. I know that I may "
    "withdraw my consent at any time, without giving reasons, and that no disadvantage arises from doing so. I agree "
    "that my data be stored and used for the purposes of the treatment and of billing, and that they be passed on to "
    "my insurance, under the number {number}, as far as the law requires it. I have been given a copy of this "
    "declaration and enough time to think about it. I consent to the treatment that was proposed to me.\n"
)
FORMS = (INVOICE, TENANCY, CONSENT)
