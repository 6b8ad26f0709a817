"""Pictures: what an image file is, and how its bytes become 64x64 grey numbers.

In: bytes.  Out: vectors, descriptors, facts, small pictures.  Never here: files, SQL, search, how vectors and
descriptors are compared (`matching`).

Only worker processes import Pillow: what the daemon imports from here is `PICTURES`, by which it names the code that
they run.
"""

from cbir_daemon.decode.reader import Reader
from cbir_daemon.pictures.formats import EXTRAS, IMAGE_SUFFIXES
from cbir_daemon.records import LOOK, LOOK_BYTES

PICTURES = Reader(
    "grey64/1", IMAGE_SUFFIXES, "cbir_daemon.pictures.file_reader", tuple(EXTRAS.values()), LOOK, LOOK_BYTES
)
"""Images; under a new extractor's name every file is read again from the next start on."""
