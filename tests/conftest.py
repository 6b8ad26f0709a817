"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# No deadline: how long one example takes says more about the machine than about the code.
settings.register_profile("dev", max_examples=50, deadline=None)
# The same examples each time: a change is never blamed for what another run would have found before.
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "dev")
