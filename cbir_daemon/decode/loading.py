"""Load, before a worker confines itself, all that it would otherwise load while it works.

In: the readers, names of extras, `FONTS`, `LOCAL_FEATURES`.  Out: modules and fonts in memory.  Never here: files of
albums.

A confined worker can open no file, so neither a module nor a font.  Not all workers need all: one is started with what
this daemon has met files for, and asks for another when it meets the first such file.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from PIL import Image

from cbir_daemon.decode.messages import FONTS, LOCAL_FEATURES
from cbir_daemon.decode.reader import FileReader
from cbir_daemon.decode.sheet import load_font


def load(readers: Iterable[FileReader], names: AbstractSet[str]) -> frozenset[str]:
    """Load what the worker draws and reads by.

    Parameters
    ----------
    readers : iterable of FileReader
    names : set of str
        Of extras; `FONTS` loads a font besides, `LOCAL_FEATURES` what finds local features.

    Returns
    -------
    frozenset of str
        The extras that are installed here and were not loaded.
    """
    # Sheets and maps are drawn whatever is read.
    Image.init()
    if FONTS in names:
        load_font()
    if LOCAL_FEATURES in names:
        importlib.import_module("cbir_daemon.local_features.extraction").load()
    return frozenset().union(*(reader.load(names) for reader in readers))
