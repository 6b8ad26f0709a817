"""Matching: vectors -> codes, candidates, verified matches.

Pure functions of numpy arrays; never files, SQL, threads, logging.
"""

from cbir_daemon.matching.all_pairs import best_guesses, join_views
from cbir_daemon.matching.blocks import sharpness
from cbir_daemon.matching.borders import picture_share
from cbir_daemon.matching.coarse import (
    COPY_FLOOR,
    WINDOWS,
    best_scores,
    coarse_views,
    packed_codes,
    probe_vectors,
)
from cbir_daemon.matching.codes import CODE_SIZE, CODE_VERSION, codes, is_plain, likeness, structure
from cbir_daemon.matching.collage import contained, whole_codes
from cbir_daemon.matching.grey64 import GREY64
from cbir_daemon.matching.look import LOOK_SIDE_PX, LOOK_VERSION, Look, compared
from cbir_daemon.matching.rectangles import cut, part_vector, rectangles, within
from cbir_daemon.matching.turned import placement, turned_parts, turned_picture, turned_vector
from cbir_daemon.matching.verdict import COPY_THRESHOLD, affine_between, judge
from cbir_daemon.matching.views import TERMS

__all__ = [
    "CODE_SIZE",
    "CODE_VERSION",
    "COPY_FLOOR",
    "COPY_THRESHOLD",
    "GREY64",
    "LOOK_SIDE_PX",
    "LOOK_VERSION",
    "TERMS",
    "WINDOWS",
    "Look",
    "affine_between",
    "best_guesses",
    "best_scores",
    "coarse_views",
    "codes",
    "compared",
    "contained",
    "cut",
    "is_plain",
    "join_views",
    "judge",
    "likeness",
    "packed_codes",
    "part_vector",
    "picture_share",
    "placement",
    "probe_vectors",
    "rectangles",
    "sharpness",
    "structure",
    "turned_parts",
    "turned_picture",
    "turned_vector",
    "whole_codes",
    "within",
]
