"""The notebook of the manual, cell after cell, as Jupyter runs it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.manual import DOCS

pytestmark = [pytest.mark.slow, pytest.mark.process]

NOTEBOOK = DOCS / "notebook.ipynb"
SHOWING = """
def displayed(value):
    if value is not None:
        print(repr(value))
"""
"""What comes before the cells: Jupyter prints the value of a cell's last expression."""

RUN_TIMEOUT_S = 900.0


def cells() -> list[str]:
    """Return the code of the notebook, a text for each cell."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def with_value_shown(code: str) -> str:
    """Return the code of a cell, its last expression printed."""
    tree = ast.parse(code)
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
        call = ast.Call(ast.Name("displayed", ast.Load()), [last.value], [])
        tree.body[-1] = ast.Expr(call)
    return ast.unparse(ast.fix_missing_locations(tree))


def test_the_notebook_is_kept_without_outputs() -> None:
    """It is small, and says nothing of the machine that ran it last."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert all(
        not cell["outputs"] and cell["execution_count"] is None for cell in notebook["cells"] if "outputs" in cell
    )
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])


def test_the_notebook_does_what_it_says(tmp_path: Path) -> None:
    """It walks, fits, plots, finds the original of an edited copy, and draws nine pictures."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "CBIR_"))}
    last = "print(*(Path(home.name, name).stat().st_size for name in ('curve.png', 'nine.png', 'sheet.png')))"
    done = subprocess.run(  # noqa: S603 -- our own interpreter and code
        [sys.executable, "-c", "\n".join([SHOWING, *map(with_value_shown, cells()), last])],
        cwd=tmp_path,
        env={**environ, "MPLBACKEND": "Agg", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    files, indexed, fitted, matches, *_, sizes = done.stdout.splitlines()
    assert files == indexed == "32"
    assert ast.literal_eval(fitted)[2] == 32
    kind, score, origin = ast.literal_eval(matches)[0]
    assert kind == "copy"
    assert 0.9 < score <= 1
    assert "mirrored" in origin
    assert "darker" in origin
    assert all(int(size) > 5_000 for size in sizes.split())
