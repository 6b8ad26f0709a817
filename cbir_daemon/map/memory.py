"""How much memory a fit takes, how much there is, and how much was taken.

In: sizes, and what Linux says below `/proc`.  Out: numbers in MiB, and how many images can be afforded.  Never here:
taking any.
"""

from __future__ import annotations

from pathlib import Path

from cbir_daemon.map.graph import BLOCK_IMAGES, SPARE, WIDTH
from cbir_daemon.system.files import memory_bytes

BASE_MIB = 450
"""A process that has imported umap-learn (measured: 260; 425 when all of it was compiled anew)."""

CODE_BYTES = 12
"""For each number of each code: the points, the sample or the file's pages, and what the first positions need."""

BLOCK_CODE_BYTES = 12
"""More for each number of the codes that are worked on at a time: whole numbers of eight bytes, copies of a sample."""

GRAPH_BYTES = 16
"""For each neighbour that the graph knows of each image: that of the fit before is there while the next is made."""

NEIGHBOR_BYTES = 160
"""For each neighbour of each image, in umap-learn's copies of the graph (measured: 115 to 130, at 30 000 images)."""

BYTES_PER_MIB = 2**20


def needed_mib(images: int, features: int, n_neighbors: int) -> float:
    """Return an upper estimate of the memory that a fit takes, in MiB.

    Parameters
    ----------
    images : int
        Codes that are fitted.
    features : int
        Numbers of each code.
    n_neighbors : int
        The largest that is tried.
    """
    block_mib = min(images, BLOCK_IMAGES) * _block_image_mib(features)
    return BASE_MIB + images * _image_mib(features, n_neighbors) + block_mib


def affordable_images(limit_mib: float, features: int, n_neighbors: int) -> int:
    """Return how many codes can be fitted within a limit; 0 when not even the libraries fit.

    Parameters
    ----------
    limit_mib : float
        Memory that the fit may take, in MiB.
    features : int
        Numbers of each code.
    n_neighbors : int
        The largest that is tried.
    """
    image_mib, block_image_mib = _image_mib(features, n_neighbors), _block_image_mib(features)
    spare_mib = limit_mib - BASE_MIB
    in_a_block = spare_mib / (image_mib + block_image_mib)
    in_blocks = (spare_mib - BLOCK_IMAGES * block_image_mib) / image_mib
    return max(0, int(max(in_a_block, in_blocks)))


def _image_mib(features: int, n_neighbors: int) -> float:
    graph_bytes = (WIDTH + SPARE) * GRAPH_BYTES
    return (features * CODE_BYTES + graph_bytes + n_neighbors * NEIGHBOR_BYTES) / BYTES_PER_MIB


def _block_image_mib(features: int) -> float:
    return features * BLOCK_CODE_BYTES / BYTES_PER_MIB


def available_mib(meminfo: Path = Path("/proc/meminfo")) -> float:
    """Return the memory that the kernel thinks a new process could get without swapping."""
    return memory_bytes(meminfo, "MemAvailable") / BYTES_PER_MIB


def peak_mib(status: Path = Path("/proc/self/status")) -> float:
    """Return the largest resident memory of this process so far.

    Not `getrusage`: its maximum begins with that of the process which started this one.
    """
    return memory_bytes(status, "VmHWM") / BYTES_PER_MIB
