"""The collection: the codes of all contents, kept in a cache file, searched exactly or through inverted lists.

What comes in are ids and vectors, what goes out candidates.  Never here: verdicts, SQL, pixels, threads.
"""

from cbir_daemon.search.collection import Collection, Snapshot

__all__ = ["Collection", "Snapshot"]
