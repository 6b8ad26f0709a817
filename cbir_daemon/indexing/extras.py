"""Files of formats that an extra reads: which of them are read again once it is installed.

In: what can be imported in this process.  Out: rows that no longer count as read.  Never here: reading, walks.
"""

from __future__ import annotations

import logging

from cbir_daemon.decode import missing_extras, missing_words
from cbir_daemon.records import Heals, reasons_healed_by
from cbir_daemon.store import Store

logger = logging.getLogger(__name__)


def forget_what_is_installed(store: Store) -> int:
    """Let the next walk read the files for which an extra was missing that has been installed since.

    Returns
    -------
    int
        How many files that are.  Those whose extra is still missing are left alone.
    """
    count = sum(store.files.forget_states(code, missing_words()) for code in reasons_healed_by(Heals.EXTRA))
    if count or missing_extras():
        logger.info("extras missing=%s files_to_read_again=%d", ",".join(missing_extras()) or "none", count)
    return count
