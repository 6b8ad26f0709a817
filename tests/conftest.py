"""What all tests share: how often Hypothesis tries, how long a test may take, and which come first."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import settings

# What `scripts/test --quick` has time for.
settings.register_profile("quick", max_examples=10, deadline=None)
# No deadline: how long one example takes says more about the machine than about the code.
settings.register_profile("dev", max_examples=50, deadline=None)
# The same examples each time: a change is never blamed for what another run would have found before.
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "dev")

SLOW_TIMEOUT_S = 2400
"""For a test that fits maps, its fixtures included: a first compilation takes 46 s of processor time, or minutes of a
busy machine.  The other tests have `timeout` of pyproject.toml."""


LONG_FILES = {
    *("test_decode_pool.py", "test_collection_lists.py", "test_matching_direction.py", "test_decode.py"),
    *("test_matching_look.py", "test_new_files.py", "test_looks.py", "test_pairing.py", "test_decode_confined.py"),
    *("test_local_features.py", "test_matching_turned.py", "test_matching.py", "test_meaning.py"),
    *("test_searches.py", "test_loop.py", "test_page.py", "test_page_use.py", "test_resolve.py", "test_alerts.py"),
    *("test_zoo.py", "test_watching.py", "test_service.py", "test_faults_storage.py", "test_bad_input.py"),
    *("test_shared.py", "test_all_media.py", "test_mounts.py", "test_manuals.py", "test_release.py"),
    "test_page_media.py",
}
"""Files, each of which one process runs, that take five seconds of processor time and more."""

COMPILING_FILE = "test_umap.py"
"""Begins first: what fits maps later uses what it has had numba compile.  At once, each would compile the same."""

FITTING_FILES = {
    *("test_answers.py", "test_whole_loop.py", "test_similar.py", "test_load.py", "test_map.py"),
    *("test_faults_processes.py", "test_notebook.py", "test_map_of_texts.py"),
}
"""Files, most of them long, that fit maps."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests their time, put what is long first, and keep the order of those that need it."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_S))
    items.sort(key=_rank)
    _put_in_order(items)


def _rank(item: pytest.Item) -> int:
    """Return when a test begins: what is long, begun last, would end long after the others, in one process."""
    if item.path.name == COMPILING_FILE:
        return 0
    if item.path.name in LONG_FILES:
        return 1
    return 2 if item.path.name in FITTING_FILES else 3


def pytest_collection_finish() -> None:
    """Let no later collection of garbage look at modules, classes and tests: many tests collect, in 0.2 s each else."""
    gc.collect()
    gc.freeze()


def _put_in_order(items: list[pytest.Item]) -> None:
    """Put the tests of a file that go on from each other back into their order, in the places that they have."""
    places = [place for place, item in enumerate(items) if item.get_closest_marker("in_order")]
    ordered = sorted((items[place] for place in places), key=lambda item: (str(item.path), item.location[1] or 0))
    for place, item in zip(places, ordered, strict=True):
        items[place] = item
