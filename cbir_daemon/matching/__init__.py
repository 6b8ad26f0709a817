"""Matching: vectors -> codes, candidates, verified matches.

Pure functions of numpy arrays; never files, SQL, threads, logging.
"""

from cbir_daemon.matching.borders import picture_share
from cbir_daemon.matching.coarse import COPY_FLOOR, Collection, Snapshot
from cbir_daemon.matching.codes import CODE_SIZE, CODE_VERSION, codes, is_plain, likeness, structure
from cbir_daemon.matching.verdict import COPY_THRESHOLD, judge

__all__ = [
    "CODE_SIZE",
    "CODE_VERSION",
    "COPY_FLOOR",
    "COPY_THRESHOLD",
    "Collection",
    "Snapshot",
    "codes",
    "is_plain",
    "judge",
    "likeness",
    "picture_share",
    "structure",
]
