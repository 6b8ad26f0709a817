"""What becomes of a folder of odd, broken and hostile files: counts by reason, and peak memory.

In: a folder (by default the one beside the checkout).  Out: a table.  Never here: judgement, which the tests have.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import click

from cbir_daemon.decode import REASONS, DecodeLimits, DecodePool, ReadTask
from cbir_daemon.pictures import PICTURES
from cbir_daemon.records import Facts, Unreadable

ZOO = Path(__file__).resolve().parents[3] / "shared" / "zoo"
LIMITS = DecodeLimits(max_pixels=200_000_000, max_file_bytes=200_000_000, timeout_s=20.0)
WORKERS = 2

Results = dict[Path, Facts | Unreadable]


def read_all(paths: list[Path]) -> tuple[Results, int]:
    """Return what became of each file, and the peak memory of the worker that needed most, in bytes."""
    pool = DecodePool(WORKERS, LIMITS, PICTURES)
    results: Results = {}
    peak_bytes = 0
    try:
        for task, result in pool.read_files([ReadTask(os.fsencode(path)) for path in paths]):
            results[Path(os.fsdecode(task.path))] = result
            peak_bytes = max(peak_bytes, pool.peak_memory_bytes())
    finally:
        pool.close()
    return results, peak_bytes


def by_suffix(paths: list[Path]) -> str:
    """Return counts by suffix, as text."""
    counts = Counter(path.suffix.lower() or "none" for path in paths).most_common(8)
    return ", ".join(f"{suffix} {count}" for suffix, count in counts)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=ZOO)
def zoo(folder: Path) -> None:
    """Read every file below FOLDER, whatever its name."""
    paths = sorted(path for path in folder.rglob("*") if not path.is_dir())
    start = time.perf_counter()
    results, peak_bytes = read_all(paths)
    seconds = time.perf_counter() - start
    assert len(results) == len(paths)
    read = [result for result in results.values() if isinstance(result, Facts)]
    formats = Counter(facts.format for facts in read).most_common()
    click.echo(
        f"{len(paths)} files in {seconds:.1f} s, {len(read)} read; most memory of a worker: {peak_bytes >> 20} MiB"
    )
    click.echo("read: " + ", ".join(f"{name} {count}" for name, count in formats))
    for code, reason in REASONS.items():
        concerned = [path for path, result in results.items() if isinstance(result, Unreadable) and result.code == code]
        if concerned:
            click.echo(f"{code:<22} {len(concerned):5}  {reason.meaning} ({by_suffix(concerned)})")
