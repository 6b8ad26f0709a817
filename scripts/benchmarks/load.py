"""Many ask at once while many files arrive and a map is fitted: errors, waiting, starving, memory.

In: numbers of clients and files.  Out: how long queries took before and meanwhile, how evenly the clients were served,
how much memory daemon and children took at most.  Never here: whether the answers are right (`accuracy`).
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
from _daemon import Daemon
from PIL import Image

from cbir_daemon.client import Client
from cbir_daemon.errors import CbirError

SIZE_PX = (320, 240)
SETTLE_S = 7200.0
SAMPLE_S = 0.2
SETTINGS = "min_images = 100\nrefit_min_changes = 10000000\n"
"""The map is fitted when it is asked for, so that a fit and the arrival begin together."""


@dataclass
class Customer:
    """One client: the seconds that each of its queries took, and what was refused."""

    took_s: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def _write(folder: Path, count: int, first_seed: int) -> None:
    """Write photograph-like pictures: noise of natural spectrum, each of its own seed."""
    folder.mkdir()
    across, down = np.fft.rfftfreq(SIZE_PX[0]), np.fft.fftfreq(SIZE_PX[1])
    amplitude = np.maximum(np.hypot(down[:, None], across[None, :]), 2 / SIZE_PX[0]) ** -1.2
    for seed in range(first_seed, first_seed + count):
        phase = np.random.default_rng(seed).random(amplitude.shape) * 2 * np.pi
        light = np.fft.irfft2(amplitude * np.exp(1j * phase), s=SIZE_PX[::-1])
        grey = np.clip(128 + 50 * light / light.std(), 0, 255).astype(np.uint8)
        Image.fromarray(grey).save(folder / f"{seed}.jpg", quality=85)


def _ask(customer: Customer, daemon: Daemon, queries: Sequence[Path], ended: threading.Event) -> None:
    with Client([daemon.socket_path], timeout_s=120.0) as client:
        turn = 0
        while not ended.is_set():
            before = time.perf_counter()
            try:
                client.query(queries[turn % len(queries)])
            except CbirError as error:
                customer.errors.append(str(error))
                if not error.retryable:
                    return
            customer.took_s.append(time.perf_counter() - before)
            turn += 1


def _during(daemon: Daemon, clients: int, queries: Sequence[Path], is_over: Callable[[Client], bool]) -> list[Customer]:
    """Let clients ask until it is over, and say how it went."""
    customers = [Customer() for _ in range(clients)]
    ended = threading.Event()
    own_mib = tree_mib = 0.0
    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        asking = [
            pool.submit(_ask, customer, daemon, queries[number::clients] or queries, ended)
            for number, customer in enumerate(customers)
        ]
        with Client([daemon.socket_path]) as client:
            while not is_over(client):
                own_mib = max(own_mib, daemon.resident_mib())
                tree_mib = max(tree_mib, daemon.family_mib())
                time.sleep(SAMPLE_S)
        ended.set()
        for running in asking:
            running.result()
    _report(customers, time.perf_counter() - began, own_mib, tree_mib)
    return customers


def _is_done(client: Client, files: int) -> bool:
    """Whether every file is read and no map is fitted; copies may still be looked up, which goes last."""
    status = client.status()
    return status["images"] + status["errors"] == files and not status["refit"]["running"]


def _report(customers: Sequence[Customer], took_s: float, own_mib: float, tree_mib: float) -> None:
    took = sorted(second for customer in customers for second in customer.took_s)
    served = [len(customer.took_s) for customer in customers]
    errors = [error for customer in customers for error in customer.errors]
    p50, p99 = (took[min(len(took) - 1, int(share * len(took)))] for share in (0.5, 0.99))
    click.echo(
        f"  {took_s:.0f} s, {len(took)} queries ({len(took) / took_s:.0f}/s), errors {len(errors)}"
        f"; median {p50 * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms, slowest {took[-1] * 1e3:.0f} ms"
    )
    click.echo(
        f"  served: fewest {min(served)}, median {statistics.median(served):.0f}, most {max(served)} queries a client"
        f"; memory at most: daemon {own_mib:.0f} MiB, with children {tree_mib:.0f} MiB"
    )
    for error in sorted(set(errors))[:5]:
        click.echo(f"  error: {error}")


@click.command()
@click.option("--clients", default=64, show_default=True, help="Clients that ask at the same time.")
@click.option("--files", default=10_000, show_default=True, help="Files that arrive at once.")
@click.option("--before", default=2_000, show_default=True, help="Files that are indexed and mapped before.")
@click.option("--quiet", "quiet_s", default=20.0, show_default=True, help="Seconds of queries alone, to compare.")
def load(clients: int, files: int, before: int, quiet_s: float) -> None:
    """Ask from many clients while many files arrive and a map is fitted."""
    with tempfile.TemporaryDirectory(prefix="cbir") as name:
        home = Path(name)
        album, arriving = home / "album", home / "arriving"
        click.echo(f"making {before + files} pictures")
        _write(album, before, 0)
        _write(arriving, files, before)
        queries = sorted(album.iterdir())
        daemon = Daemon(home, album, SETTINGS + f"[server]\nmax_connections = {clients + 8}")
        daemon.start()
        daemon.ask("settle", "--timeout", str(SETTLE_S))
        click.echo(f"{clients} clients, nothing else to do:")
        enough = time.perf_counter() + quiet_s
        _during(daemon, clients, queries, lambda _: time.perf_counter() > enough)
        click.echo(f"{clients} clients, {files} files arrive and a map is fitted:")
        shutil.move(arriving, album / "arrived")
        with Client([daemon.socket_path]) as fitting:
            progress = fitting.model_fit()
            next(progress)
            customers = _during(daemon, clients, queries, lambda client: _is_done(client, before + files))
        daemon.ask("settle", "--timeout", str(SETTLE_S))
        status = daemon.ask("status")
        click.echo(f"then: {status['images']} images, {status['errors']} errors")
        daemon.stop()
    if any(customer.errors for customer in customers) or status["images"] != before + files:
        raise click.ClickException("not every query was answered, or not every file was taken in")
