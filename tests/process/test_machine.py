"""Whatever happens to an album and to the daemon, the index is that of the folder as it is.

A few short runs, the same each time; `scripts/soak MINUTES` makes long ones.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.process.machine import AlbumMachine

pytestmark = pytest.mark.process

EXAMPLES = 4
STEPS = 20


def test_the_index_is_that_of_a_fresh_start() -> None:
    """After any steps and a `settle`: files, contents, pairs, duplicates, answers; and the doctor finds nothing."""
    run_state_machine_as_test(
        AlbumMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=True,
            database=None,
            deadline=None,
            # An example takes seconds, and a shorter failing one many of them: `scripts/soak --seed` shortens.
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
