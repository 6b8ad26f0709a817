"""The environment of the children of this room.

In: the folder of models.  Out: environment variables.  Never here: starting anything.
"""

from __future__ import annotations

import os
from pathlib import Path

from cbir_daemon.records import IMAGE

CACHE_FOLDER = ".numba"

CACHE_VERSION = "2"
"""Of the options that umap-learn is compiled with, which numba does not compare: in its cache a folder of its own."""

REPEATABLE = {
    # A repeatable layout is single-threaded anyway; what umap-learn does in parallel beside it is less work than
    # waking threads for it (a projection takes 3 ms alone, 50 ms with two threads on a busy machine).
    "NUMBA_NUM_THREADS": "1",
    # umap-learn lets the compiler add in any order.  With what every processor of an architecture can do, the order
    # is the same on all of them, and so is the map.
    "NUMBA_CPU_NAME": "generic",
}
"""Environment variables with which umap-learn gives the same map everywhere; set before numba is imported."""

MEDIUM_PREFIX = "medium-"


def medium_folder(models_dir: Path, medium: str) -> Path:
    """Return the folder in which the maps of a medium are kept.

    Parameters
    ----------
    models_dir : Path
        Of all maps; those of images lie in it.
    medium : str
    """
    return models_dir if medium == IMAGE else models_dir / f"{MEDIUM_PREFIX}{medium}"


def child_environment(models_dir: Path) -> dict[str, str]:
    """Return the environment variables for a child that uses umap-learn, but those of BLAS.

    Parameters
    ----------
    models_dir : Path
        Of images, or of another medium.  numba keeps what it compiled in that of images: beside the packages, its
        default, may be read-only for a service, and each start would compile for 25 s again.  A user who sets
        `NUMBA_CACHE_DIR` has chosen another folder.
    """
    # What is compiled is the same for the maps of all media.
    shared_dir = models_dir.parent if models_dir.name.startswith(MEDIUM_PREFIX) else models_dir
    return {
        **REPEATABLE,
        "NUMBA_CACHE_DIR": str(Path(os.environ.get("NUMBA_CACHE_DIR") or shared_dir / CACHE_FOLDER) / CACHE_VERSION),
        # umap-learn warns at each call of what is meant here (a precomputed metric, one thread for one seed).
        "PYTHONWARNINGS": "ignore",
    }
