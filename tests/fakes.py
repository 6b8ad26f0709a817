"""The two fakes that tests may use: a clock that stands still, and a map that is a plain matrix.

Everything else in the tests is real.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class FakeClock:
    """Monotonic seconds that pass only when told."""

    now_s: float = 1_000.0

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds
