"""Numbers of things in words.

In: a count, a noun.  Out: text.  Never here: other imports, for every start of `cbir` pays for them.
"""


def counted(count: int, noun: str) -> str:
    """Return a number of things: "1 error", "2 errors".

    Parameters
    ----------
    count : int
    noun : str
        In the singular; its plural ends in s.
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
