"""Local features: small places of a picture that can be found again when the rest of it is covered, cut off or turned.

In: grey pictures.  Out: features, 2.4 KB a content, and how those of two pictures lie on each other.  Never here:
files, SQL, which contents are compared, what is called a copy.

`extraction` alone imports the library that finds them, and only decode workers import `extraction`.
"""

from cbir_daemon.local_features.geometry import Alignment, aligned
from cbir_daemon.local_features.layout import (
    ASKED_SIDE_PX,
    EXTRA,
    LOCAL,
    STORED_SIDE_PX,
    WORDS,
    AskedFeatures,
    StoredFeatures,
    angles,
    is_installed,
    scales,
)

__all__ = [
    "ASKED_SIDE_PX",
    "EXTRA",
    "LOCAL",
    "STORED_SIDE_PX",
    "WORDS",
    "Alignment",
    "AskedFeatures",
    "StoredFeatures",
    "aligned",
    "angles",
    "is_installed",
    "scales",
]
