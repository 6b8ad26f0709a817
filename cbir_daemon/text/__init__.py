"""Texts: how a text file becomes numbers, and how two texts are compared.

In: the bytes of a file, in a worker (`file_reader`); words and vectors, in the daemon (`medium`).  Out: `TEXT`.  Never
here: files, SQL, search.

Only workers import what reads files: what the daemon imports from here is the reader's name and the medium.
"""

from cbir_daemon.decode.reader import Reader
from cbir_daemon.media import FileMedium
from cbir_daemon.text.formats import EXTRAS, SUFFIXES
from cbir_daemon.text.medium import EXTRACTOR, TEXTS

TEXT = FileMedium(
    Reader(EXTRACTOR, SUFFIXES, "cbir_daemon.text.file_reader", tuple(EXTRAS.values()), medium=TEXTS.name), TEXTS
)
"""Texts, as the daemon knows them."""
