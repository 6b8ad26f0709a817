"""Load, before a worker confines itself, all that it would otherwise load while it reads.

In: names of extras, `FONTS`, `LOCAL_FEATURES`.  Out: modules, codecs and fonts in memory.  Never here: files of albums.

A confined worker can open no file, so neither a module nor a font.  The extras together cost it a third of a second
from a slow disk and 20 MB, and most albums need one of them at most: a worker is started with those that this daemon
has met files for, and asks for another when it meets the first such file.
"""

from __future__ import annotations

import codecs
import importlib
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Final

from PIL import Image

from cbir_daemon.decode.extras import load_extra
from cbir_daemon.decode.formats import EXTRAS
from cbir_daemon.decode.messages import FONTS, LOCAL_FEATURES
from cbir_daemon.decode.sheet import load_font

# In which metadata may be written.
_CODECS: Final = (
    *("ascii", "latin-1", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "mac-roman"),
)


def load(names: AbstractSet[str]) -> frozenset[str]:
    """Load Pillow's plugins, and the extras that are named and installed.

    Parameters
    ----------
    names : set of str
        Of extras; `FONTS` loads a font besides, `LOCAL_FEATURES` what finds local features.

    Returns
    -------
    frozenset of str
        The extras that are installed here and were not loaded.
    """
    Image.init()
    for codec in _CODECS:
        codecs.lookup(codec)
    if FONTS in names:
        load_font()
    if LOCAL_FEATURES in names:
        importlib.import_module("cbir_daemon.local_features.extraction").load()
    installed = {extra for extra in EXTRAS.values() if extra.is_installed}
    for extra in installed:
        if extra.name in names:
            # One that is broken reads no more than one that is not there.
            with suppress(ImportError):
                load_extra(extra)
    return frozenset(extra.name for extra in installed) - names
