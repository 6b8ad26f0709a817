"""How large inverted lists are, and how many rows they propose: what a test, or a measurement, may want otherwise.

In: nothing.  Out: `ListBounds`.  Never here: faiss, which `inverted_lists` loads.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ListBounds:
    """The numbers by which lists are made and asked.

    Parameters
    ----------
    window_lists : int
        Lists of windows, when there are codes enough to train so many.
    rounds : int
        Of k-means, in training.
    code_bits : int
        Of the code of two terms: training finds so many patterns that this can tell apart.
    whole_hits, window_hits : int
        Best codes taken for a view that may be a crop: of whole images, and of windows.  A picture of which there are
        many copies has that many whole images at the same distance from a crop.
    kept : int
        Rows that each of the two indexes proposes at most, best first by what it knows.  Of 30 queries of 100 000
        pieces the first 24 hold as many of the exact search's as with 3 000; with 1 500 there are 0.3 % fewer.
    lag_rows : int
        Rows that lists may lag behind before they are brought up: scoring the usual number exactly takes 2 ms.
    """

    window_lists: int = 2048
    rounds: int = 10
    code_bits: int = 8
    whole_hits: int = 256
    window_hits: int = 1024
    kept: int = 2000
    lag_rows: int = 1024


USUAL = ListBounds()
