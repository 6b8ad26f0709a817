"""The index as a library: read-only search for notebooks and programs.

In: a state folder or a socket, pictures.  Out: frozen values, which draw themselves in a notebook.  Never here: a
change of an index, how an answer is found.
"""

from __future__ import annotations

from cbir_daemon.library.index import Index
from cbir_daemon.library.values import (
    Alert,
    Group,
    GroupImage,
    Image,
    Match,
    Matches,
    Model,
    Overlap,
    Part,
    Transform,
    Trial,
    Unreadable,
)

__all__ = [
    "Alert",
    "Group",
    "GroupImage",
    "Image",
    "Index",
    "Match",
    "Matches",
    "Model",
    "Overlap",
    "Part",
    "Transform",
    "Trial",
    "Unreadable",
]
