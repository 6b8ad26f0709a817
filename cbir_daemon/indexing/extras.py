"""Files of formats that an extra reads: which of them are read again once it is installed.

In: what can be imported in this process.  Out: rows that no longer count as read.  Never here: reading, walks.
"""

from __future__ import annotations

import logging

from cbir_daemon.decode import Readers
from cbir_daemon.records import Heals, reasons_healed_by
from cbir_daemon.store import Store

logger = logging.getLogger(__name__)


def forget_what_is_installed(store: Store, readers: Readers) -> int:
    """Let the next walk read the files for which an extra was missing that has been installed since.

    Parameters
    ----------
    store : Store
    readers : Readers
        Whose extras they are.

    Returns
    -------
    int
        How many files that are.  Those whose extra is still missing are left alone.
    """
    missing = readers.missing_extras()
    count = sum(store.files.forget_states(code, readers.missing_words()) for code in reasons_healed_by(Heals.EXTRA))
    if count or missing:
        logger.info("extras missing=%s files_to_read_again=%d", ",".join(missing) or "none", count)
    return count
