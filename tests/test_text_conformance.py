"""Texts keep to what every medium must."""

from __future__ import annotations

from cbir_daemon.media.conformance import findings
from cbir_daemon.text import TEXT
from tests.texts import docx, edited, misread, odt, pdf, prose, web_page

WHOLE = prose(1)
SAMPLES = {
    "whole.txt": WHOLE.encode(),
    "misread.txt": misread(WHOLE, 2).encode(),
    "edited.txt": edited(WHOLE, 3).encode(),
    "whole.html": web_page(WHOLE),
    "whole.pdf": pdf([WHOLE[:1800], WHOLE[1800:]]),
    "whole.odt": odt(WHOLE),
    "whole.docx": docx(WHOLE),
    "stranger.txt": prose(7).encode(),
    "plain.txt": b"two words",
}
COPIES = [(query, "whole.txt") for query in SAMPLES if query.startswith(("whole.", "misread", "edited"))]
STRANGERS = [("stranger.txt", "whole.txt"), ("whole.pdf", "stranger.txt")]


def test_texts_pass() -> None:
    """Determinism, limits, damage, round trip, names, a file in itself."""
    assert findings(TEXT, SAMPLES, copies=COPIES, strangers=STRANGERS) == []
