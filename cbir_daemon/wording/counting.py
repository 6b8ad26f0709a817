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


def clause(count: int, noun: str, verb: str, verbs: str) -> str:
    """Return a number of things and what they do: "1 alert waits", "2 alerts wait".

    Parameters
    ----------
    count : int
    noun : str
        In the singular; its plural ends in s.
    verb, verbs : str
        For one thing, and for several or none.
    """
    return f"{counted(count, noun)} {verb if count == 1 else verbs}"


def duration(seconds: float) -> str:
    """Return a time as people say it: "45 s", "12 min", "3 h 20 min", "2 d 4 h".

    Parameters
    ----------
    seconds : float
        Not negative.
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def moment(time: str) -> str:
    """Return a time of an answer as people read it: "2026-11-29 22:16 UTC".

    Parameters
    ----------
    time : str
        ISO 8601 in UTC; what has no time of the day stays as it is.
    """
    return time if len(time) < 16 else f"{time[:10]} {time[11:16]} UTC"
