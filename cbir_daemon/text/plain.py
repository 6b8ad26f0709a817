"""Plain text: bytes -> characters.

In: bytes.  Out: the text.  Never here: which format they are in (`formats`).
"""

from __future__ import annotations

import re
from typing import Final

from cbir_daemon.text.formats import UTF8_MARK, UTF16_MARKS

# By name, and so loaded before a worker is confined.
CODECS: Final = ("utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1")

# What "W" and a backspace before it mean on a printer: bold, underlined.
_OVERSTRUCK: Final = re.compile("[^\n]\b")


def decoded(data: bytes) -> str:
    """Return the characters of a text: UTF-16 with its mark, UTF-8, or else what Windows or Latin-1 means.

    Parameters
    ----------
    data : bytes
    """
    if data.startswith(UTF16_MARKS):
        return data.decode("utf-16", "replace")
    try:
        text = data.removeprefix(UTF8_MARK).decode()
    except UnicodeDecodeError:
        text = _of_eight_bits(data)
    return _OVERSTRUCK.sub("", text) if "\b" in text else text


def _of_eight_bits(data: bytes) -> str:
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")
