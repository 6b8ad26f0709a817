"""Sound: what a file with sound is, how its bytes become parts, and how parts and files are compared.

In: bytes in a worker; in the daemon, vectors.  Out: parts with places and facts; codes, probes, judgements, words.
Never here: files, SQL, search.

Only worker processes import PyAV: what the daemon imports from here is `AUDIO`.
"""

from cbir_daemon.decode.reader import Reader
from cbir_daemon.media import FileMedium
from cbir_daemon.sound.formats import EXTRA, SOUND_SUFFIXES
from cbir_daemon.sound.medium import EXTRACTOR, MEDIUM

AUDIO = FileMedium(
    Reader(EXTRACTOR, SOUND_SUFFIXES, "cbir_daemon.sound.file_reader", (EXTRA,), medium=MEDIUM.name), MEDIUM
)
"""Files with sound; under a new extractor's name every one is read again from the next start on."""

__all__ = ["AUDIO"]
