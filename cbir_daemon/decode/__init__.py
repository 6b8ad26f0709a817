"""Bytes of an image in, 64x64 grey numbers and facts out.

In: paths or bytes.  Out: `Facts`, or `Unreadable` with one of the words below; contact sheets.  Never here: SQL,
search, sockets other than the pipes to our own workers.

Only worker processes import Pillow: what the daemon imports from here is names, limits and the pool.  The words of
`Unreadable.code` and of `UnreadableImageError.reason` are listed, with what they mean, in `REASONS`.
"""

from cbir_daemon.decode.formats import IMAGE_SUFFIXES, missing_extras, missing_words, needed_extras
from cbir_daemon.decode.messages import DecodeLimits, ReadTask
from cbir_daemon.decode.pool import DecodePool, Grey, SheetCell
from cbir_daemon.records import REASONS

__all__ = [
    "IMAGE_SUFFIXES",
    "REASONS",
    "DecodeLimits",
    "DecodePool",
    "Grey",
    "ReadTask",
    "SheetCell",
    "missing_extras",
    "missing_words",
    "needed_extras",
]
