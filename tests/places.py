"""Where the tests find what is not in the package: the checkout, and files that are too large for it.

Never here: the package, which may be that of the checkout or an installed wheel.
"""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent

_FILES = Path(os.environ.get("CBIR_TEST_FILES") or CHECKOUT.parent / "shared")
ZOO = _FILES / "zoo"
"""Odd files, from the tests of decoders; tests that need them are skipped where they are not at hand."""
CLOTHING = _FILES / "photos" / "clothing"
"""Photographs of products on plain ground; skipped likewise."""
