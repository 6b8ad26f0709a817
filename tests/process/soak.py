"""`scripts/soak MINUTES`: long runs of the album machine, each from a seed that is printed.

In: minutes, a seed.  Out: exit status 0 when nothing was found; 1 with the failing steps and the seed that brings them
back.  Never here: which steps there are.
"""

from __future__ import annotations

import secrets
import sys
import time
import traceback

import click
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.process.machine import AlbumMachine

EXAMPLES = 10
"""Examples of one seed: some two minutes."""


def run(number: int, steps: int, *, shorten: bool) -> None:
    """Run the examples of one seed; raises what a failing one raised, its steps in the notes."""
    seeded = seed(number)(type(f"AlbumMachine{number}", (AlbumMachine,), {}))
    run_state_machine_as_test(
        seeded,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=steps,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink] if shorten else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


@click.command()
@click.argument("minutes", type=click.FloatRange(min=0))
@click.option("--seed", "first", type=click.IntRange(min=0), help="Seed of the first run; the next ones count up.")
@click.option("--steps", default=60, show_default=True, help="Steps of one example at most.")
@click.option("--shorten", is_flag=True, help="Look for fewer steps that fail; takes many minutes.")
def main(minutes: float, first: int | None, steps: int, shorten: bool) -> None:
    """Do all that can happen to an album and its daemon, for MINUTES at least, and exit 1 when the index is wrong."""
    number = secrets.randbelow(1_000_000) if first is None else first
    began = time.monotonic()
    runs = 0
    while not runs or time.monotonic() - began < minutes * 60:
        click.echo(f"seed {number}: {EXAMPLES} examples of up to {steps} steps", err=True)
        try:
            run(number, steps, shorten=shorten)
        # Whatever a step raises is what this program looks for.
        except Exception:  # noqa: BLE001
            traceback.print_exc()
            click.echo(f"failed: scripts/soak 0 --seed {number} --steps {steps} does it again")
            sys.exit(1)
        number += 1
        runs += 1
    click.echo(f"nothing found in {runs * EXAMPLES} examples, {(time.monotonic() - began) / 60:.1f} minutes")


if __name__ == "__main__":
    main(prog_name="scripts/soak")
