"""The index: records to rows and back, in one SQLite file.

In: records.  Out: records, and the clock of the commit they were read at.  Never here: sockets, pixels, UMAP; outside
this folder nobody imports sqlite3 or writes SQL.

`database` owns the connections and the one writer thread, `schema` the tables and their migrations; `Store` is what
other rooms talk to.
"""

from cbir_daemon.store.backup import restore
from cbir_daemon.store.published import Due, Lag, Publication, Site
from cbir_daemon.store.row_types import (
    Album,
    AlbumDrift,
    AlertMatch,
    AlertRecord,
    Applied,
    Baseline,
    Change,
    ContainedWork,
    Content,
    Counts,
    Coverage,
    Decision,
    Drift,
    Failed,
    FitBegun,
    Gone,
    Image,
    Indexed,
    ModelRun,
    Moved,
    NewAlert,
    NewWork,
    Pair,
    Placed,
    ResolveRun,
    SinkState,
    Waiting,
    Work,
    WorkMatch,
)
from cbir_daemon.store.schema import SCHEMA_VERSION
from cbir_daemon.store.soundness import remedy
from cbir_daemon.store.store import Store, reindex

__all__ = [
    "SCHEMA_VERSION",
    "Album",
    "AlbumDrift",
    "AlertMatch",
    "AlertRecord",
    "Applied",
    "Baseline",
    "Change",
    "ContainedWork",
    "Content",
    "Counts",
    "Coverage",
    "Decision",
    "Drift",
    "Due",
    "Failed",
    "FitBegun",
    "Gone",
    "Image",
    "Indexed",
    "Lag",
    "ModelRun",
    "Moved",
    "NewAlert",
    "NewWork",
    "Pair",
    "Placed",
    "Publication",
    "ResolveRun",
    "SinkState",
    "Site",
    "Store",
    "Waiting",
    "Work",
    "WorkMatch",
    "reindex",
    "remedy",
    "restore",
]
