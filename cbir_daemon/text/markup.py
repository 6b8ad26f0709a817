"""HTML: characters -> the text that a browser shows.

In: a page of HTML.  Out: its text and its title.  Never here: bytes, links, what scripts and styles do.

Tags are found by two expressions, each linear in the length of the page: `html.parser` takes twenty times as long, and
what a page nests however deep is nothing to either.
"""

from __future__ import annotations

import html
import re
from typing import Final

_FLAGS: Final = re.IGNORECASE | re.DOTALL

# A page may end inside of any of them.
_UNSEEN: Final = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|template|noscript|svg)\b.*?(?:</\1\s*>|\Z)|<head\b[^>]*>.*?(?=</head|<body|\Z)",
    _FLAGS,
)
_WITHIN_WORDS: Final = re.compile(
    r"</?(?:a|abbr|b|bdi|bdo|big|cite|code|em|font|i|ins|kbd|mark|q|s|samp|small|span|strong|sub|sup|tt|u|var|wbr)"
    r"(?=[\s/>])[^<>]*>",
    _FLAGS,
)
_TAG: Final = re.compile(r"<[/!?a-z][^>]*(?:>|\Z)", _FLAGS)
# Where a title is looked for: one that is not closed is followed no farther, from each of its beginnings.
_HEAD_CHARACTERS: Final = 1 << 16
_TITLE: Final = re.compile(r"<title\b[^>]*>(.{0,2000}?)</title", _FLAGS)


def text_of(page: str) -> str:
    """Return the text of a page; a line break for each tag that parts words.

    Parameters
    ----------
    page : str
    """
    seen = _WITHIN_WORDS.sub("", _UNSEEN.sub(" ", page))
    return html.unescape(_TAG.sub("\n", seen))


def title_of(page: str) -> str:
    """Return the title of a page; empty when it has none.

    Parameters
    ----------
    page : str
    """
    found = _TITLE.search(page[:_HEAD_CHARACTERS])
    return " ".join(html.unescape(found[1]).split()) if found else ""
