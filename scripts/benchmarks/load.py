"""One asks and many ask, alone and beside all else that the daemon does: errors, waiting, starving, memory.

In: numbers of clients and files.  Out: how many queries a second were answered, how long they took, how evenly the
clients were served, how much processor time and memory daemon and children took.  Never here: whether the answers are
right (`accuracy`).
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
QUERIES = 200
SETTLE_S = 7200.0
SAMPLE_S = 0.2
SETTINGS = "min_images = 100\nn_components = 8\nrefit_min_changes = 10000000\n"
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


def _during(daemon: Daemon, clients: int, queries: Sequence[Path], is_over: Callable[[Client], bool]) -> Round:
    """Let clients ask until it is over, and say how it went."""
    customers = [Customer() for _ in range(clients)]
    ended = threading.Event()
    own_mib = tree_mib = 0.0
    began, own_s, family_s = time.perf_counter(), daemon.cpu_s(), daemon.family_cpu_s()
    with ThreadPoolExecutor(clients) as pool:
        asking = [
            pool.submit(_ask, customer, daemon, [*queries[number:], *queries[:number]], ended)
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
    whole_s = time.perf_counter() - began
    took = sorted(second for customer in customers for second in customer.took_s)
    _report(customers, took, whole_s, own_mib, tree_mib)
    own_ms, family_ms = (
        (now - before) / len(took) * 1e3 for now, before in ((daemon.cpu_s(), own_s), (daemon.family_cpu_s(), family_s))
    )
    click.echo(f"  processor time a query: daemon {own_ms:.1f} ms, with children {family_ms:.1f} ms")
    return Round(customers, len(took) / whole_s, _share(took, 0.99))


@dataclass(frozen=True)
class Round:
    """How it went: the clients, queries a second, and the 99th percentile of what they took, in seconds."""

    customers: list[Customer]
    rate: float
    p99_s: float


def _share(took: Sequence[float], share: float) -> float:
    return took[min(len(took) - 1, int(share * len(took)))]


def _is_done(client: Client, files: int) -> bool:
    """Whether every file is read and no map is fitted; copies may still be looked up, which goes last."""
    status = client.status()
    return status["images"] + status["errors"] == files and not status["refit"]["running"]


def _report(
    customers: Sequence[Customer], took: Sequence[float], took_s: float, own_mib: float, tree_mib: float
) -> None:
    served = [len(customer.took_s) for customer in customers]
    errors = [error for customer in customers for error in customer.errors]
    p50, p99 = _share(took, 0.5), _share(took, 0.99)
    click.echo(
        f"  {took_s:.0f} s, {len(took)} queries ({len(took) / took_s:.1f}/s), errors {len(errors)}"
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
    """Ask from one client and from many, alone, while many files arrive, and beside the pass and a fit."""
    with tempfile.TemporaryDirectory(prefix="cbir") as name:
        home = Path(name)
        album, arriving = home / "album", home / "arriving"
        click.echo(f"making {before + files} pictures")
        _write(album, before, 0)
        _write(arriving, files, before)
        queries = _edited(sorted(album.iterdir())[:QUERIES], home / "queries")
        daemon = Daemon(home, album, SETTINGS + f"[server]\nmax_connections = {clients + 8}")
        daemon.start()
        daemon.ask("settle", "--timeout", str(SETTLE_S))
        rounds = []
        for count in (1, clients, 1):
            click.echo(f"{count} clients, nothing else to do:")
            rounds.append(_during(daemon, count, queries, _after(quiet_s)))
        alone = (rounds[0].rate + rounds[2].rate) / 2
        click.echo(f"  {clients} clients are answered at {rounds[1].rate / alone:.2f} x the rate of one")
        click.echo(f"{clients} clients, {files} files arrive and a map is fitted:")
        shutil.move(arriving, album / "arrived")
        with Client([daemon.socket_path]) as fitting:
            next(fitting.model_fit())
            rounds.append(_during(daemon, clients, queries, lambda client: _is_done(client, before + files)))
        with Client([daemon.socket_path]) as fitting:
            next(fitting.model_fit())
            click.echo("1 client beside the pass and a fit:")
            rounds.append(_during(daemon, 1, queries, lambda client: not _passes_and_fits(client)))
        late = rounds[4].p99_s / max(rounds[0].p99_s, rounds[2].p99_s)
        click.echo(f"  its p99 is {late:.1f} x that of a client alone")
        daemon.ask("settle", "--timeout", str(SETTLE_S))
        status = daemon.ask("status")
        click.echo(f"then: {status['images']} images, {status['errors']} errors")
        daemon.stop()
    failed = any(customer.errors for ended in rounds for customer in ended.customers)
    if failed or status["images"] != before + files:
        raise click.ClickException("not every query was answered, or not every file was taken in")


def _edited(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Write a crop of each picture, saved with greater loss: what is asked for is rarely the very file."""
    folder.mkdir()
    left, top = (side // 12 for side in SIZE_PX)
    for path in paths:
        with Image.open(path) as picture:
            picture.crop((left, top, SIZE_PX[0] - left, SIZE_PX[1] - top)).save(folder / path.name, quality=60)
    return sorted(folder.iterdir())


def _after(seconds: float) -> Callable[[Client], bool]:
    enough = time.perf_counter() + seconds
    return lambda _: time.perf_counter() > enough


def _passes_and_fits(client: Client) -> bool:
    """Whether copies are being looked up and a map is being fitted."""
    status = client.status()
    return bool(status["duplicates_pending"] and status["refit"]["running"])
