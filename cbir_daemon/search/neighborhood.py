"""How much of a map is the neighbourhood of an image: what `similar` looks at, and what a fit is scored by.

In: how many images there are.  Out: how many of the nearest count.  Never here: positions, distances.
"""

from __future__ import annotations

import math

NEIGHBORHOOD_SHARE = 0.01
"""Share of the map around a query that is looked at; the true image is in it in 96 to 100 % of queries."""


def neighborhood_width(images: int, least: int) -> int:
    """Return how many nearest images on the map are the neighbourhood of an image.

    Parameters
    ----------
    images : int
        On the map.
    least : int
        Fewest that are looked at, so that a small collection has a neighbourhood at all.

    Returns
    -------
    int
        `NEIGHBORHOOD_SHARE` of the images, rounded up, or `least`; it may be more than there are.
    """
    return max(least, math.ceil(NEIGHBORHOOD_SHARE * images))
