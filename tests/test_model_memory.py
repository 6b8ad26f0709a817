"""Memory of a fit: estimated first, measured afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cbir_daemon.map.memory import BASE_MIB, affordable_images, available_mib, needed_mib, peak_mib


@pytest.mark.parametrize("features", [256, 4096])
@pytest.mark.parametrize("images", [5, 4_000, 10_000, 100_000, 1_000_000])
def test_what_is_affordable_is_the_most_that_fits(images: int, features: int) -> None:
    """The two estimates are each other's inverse."""
    affordable = affordable_images(needed_mib(images, features, 100) + 1e-6, features, 100)
    assert images - 1 <= affordable <= images


def test_less_than_the_libraries_affords_nothing() -> None:
    """Never a negative number."""
    assert affordable_images(BASE_MIB - 1, 256, 100) == 0


def test_a_hundred_thousand_images_fit_in_three_gigabytes() -> None:
    """At the largest number of neighbours that is tried."""
    assert needed_mib(100_000, 256, 100) < 3 * 1024


def test_the_system_tells_what_it_has() -> None:
    """At least what this process is using is not all there is."""
    assert available_mib() > 0


def test_the_peak_of_a_child_is_its_own() -> None:
    """A parent of 200 MB more does not count, as it would with `getrusage`."""
    ballast = b"x" * 200 * 2**20
    program = "from cbir_daemon.map.memory import peak_mib; print(peak_mib())"
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout  # noqa: S603 -- our own interpreter
    assert 5 < float(output) < 120
    assert peak_mib() > len(ballast) / 2**20
