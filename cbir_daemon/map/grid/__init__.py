"""The map as a picture: where on a grid each image lies, and its small pictures packed into larger ones.

In: two-dimensional positions, vectors.  Out: cells, tables of tiles.  Never here: files, SQL, encoded pictures.
"""

from cbir_daemon.map.grid.arrangement import FILL, Grid, along_curve, arrange, arrange_many, sample
from cbir_daemon.map.grid.tiles import (
    VECTOR_SIDE,
    Colour,
    Drawing,
    Shown,
    atlas,
    atlas_columns,
    cell_side,
    picture,
    shrunk,
    square_side,
    tile,
)

__all__ = [
    "FILL",
    "VECTOR_SIDE",
    "Colour",
    "Drawing",
    "Grid",
    "Shown",
    "along_curve",
    "arrange",
    "arrange_many",
    "atlas",
    "atlas_columns",
    "cell_side",
    "picture",
    "sample",
    "shrunk",
    "square_side",
    "tile",
]
