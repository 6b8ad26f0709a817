"""Searching for what is like a vector: the state that is searched, snapshots of it, and the searches of a snapshot.

In: vectors and positions of contents.  Out: contents with kind, score and distance.  Never here: files of albums, SQL.

`code_table` keeps the codes of all contents in a file, `inverted_lists` and `candidates` say which of them a query is
compared with, `collection` joins these; `snapshot` is one state of it all, `searcher` its one writer, `search` what is
asked of it.
"""

from cbir_daemon.search.collection import Collection, CollectionSnapshot

__all__ = ["Collection", "CollectionSnapshot"]
