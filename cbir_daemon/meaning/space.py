"""The space of a map on which contents that show the same kind of thing are near each other.

In: the kind of the descriptors.  Out: the space.  Never here: maps, networks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.meaning.descriptors import NUMBERS, Floats, units
from cbir_daemon.medium import MapSpace
from cbir_daemon.records import DescriptorKind

VERSION = 1
"""Of how a descriptor becomes a code; part of the codes' version."""


def meaning_space(kind: DescriptorKind) -> MapSpace:
    """Return the space of the descriptors of a network.

    Parameters
    ----------
    kind : DescriptorKind
        Names the network: a map of another one is fitted again.
    """
    return MapSpace(
        f"{kind.name}{VERSION}/{kind.version}", NUMBERS, meaning_codes, descriptor=kind, descriptor_bytes=NUMBERS
    )


def meaning_codes(_: NDArray[np.uint8], descriptors: NDArray[np.uint8]) -> Floats:
    """Return descriptors as codes.

    Parameters
    ----------
    _ : (n, 4096) ndarray of uint8
        Not looked at.
    descriptors : (n, 128) ndarray of uint8
        The bytes of signed numbers.

    Returns
    -------
    (n, 128) ndarray of float32
        Of L2 norm 1; zeros where there is no descriptor.
    """
    return units(descriptors.view(np.int8))
