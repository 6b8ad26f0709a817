"""How long tests wait for what comes in the end."""

from __future__ import annotations

from typing import Final

PATIENCE_S: Final = 540.0
"""Only what never comes takes so long: a machine with other work may run at a tenth of its usual speed, and what the
daemon does in the background is nice.  Less than `timeout` of pyproject.toml, so that a test says what is missing."""
