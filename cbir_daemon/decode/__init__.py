"""Files in, vectors and facts out: worker processes, and what they are told and given.

In: paths or bytes, and `Reader`s of kinds of files.  Out: `Facts`, or `Unreadable` with one of the words below;
contact sheets.  Never here: what the bytes of a file mean, SQL, search, sockets but the pipes to our own workers.

Only worker processes import Pillow and the readers' own modules: what the daemon imports from here is names, limits and
the pool.  The words of `Unreadable.code` and of `UnreadableImageError.reason` are listed, with what they mean, in
`REASONS`.
"""

from cbir_daemon.decode.messages import DecodeLimits, ReadTask
from cbir_daemon.decode.pool import Colour, DecodePool, Grey, SheetCell
from cbir_daemon.decode.reader import Reader, Readers
from cbir_daemon.records import REASONS

__all__ = ["REASONS", "Colour", "DecodeLimits", "DecodePool", "Grey", "ReadTask", "Reader", "Readers", "SheetCell"]
