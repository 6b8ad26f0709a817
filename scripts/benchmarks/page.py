"""What the page costs a person and a machine: how soon groups are seen, verdicts, flips, previews, memory.

In: how many groups.  Out: the figures beside their goals.  Never here: finding duplicates: each group is a photograph
made by code and a file of the same bytes, written into the index as the daemon would.

The browser is Debian's chromium without a window; it measures by its own clock, from the press of a key to the frame
that shows the answer.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np
from _daemon import COMMANDS, MIB, Daemon, children
from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from cbir_daemon.client import Client
from cbir_daemon.matching import GREY64
from cbir_daemon.records import Facts, FileState
from cbir_daemon.store import Indexed, Store

SIDES_PX = (480, 320)
LARGE_PX = (4000, 3000)
AT_ONCE = 1000
NO_MAP = "min_images = 100000"
WAIT_S = 120.0
LARGE_FILES, LARGE_SIDE_PX = 7, 1024
FLIPS = 41

GOALS = {
    "first paint, s": 1.0,
    "verdict to next group, median ms": 100.0,
    "flip, median ms": 50.0,
    "cold preview of 12 megapixels, median ms": 150.0,
    "page without pictures, KB": 300.0,
    "memory of the page process, MiB": 120.0,
    "memory of the tab, MiB": 400.0,
}

PRESSED = """
const [key, count, seen, done] = arguments, times = [];
const later = () => new Promise((go) => setTimeout(go));
const painted = () => new Promise((go) => requestAnimationFrame(() => setTimeout(go)));
const shown = () => { const found = document.querySelector(seen); return found?.ariaPosInSet ?? found?.textContent; };
const event = () => new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true });
(async () => {
  for (let at = 0; at < count; at += 1) {
    const before = shown(), began = performance.now();
    document.activeElement.dispatchEvent(event());
    while (shown() === before) await later();
    await painted();
    times.push(performance.now() - began);
  }
  done(times);
})();
"""
"""Presses a key so many times; tells the milliseconds until what the selector finds has changed and is painted."""

FIRST = """
const done = arguments[0], paint = () => requestAnimationFrame(() => done(performance.now()));
const look = () => (document.querySelector(".tile") ? paint() : setTimeout(look, 2));
look();
"""
COMPARED = """
const done = arguments[0], layers = () => [...document.querySelectorAll(".layer")];
const ready = () => layers().length === 2 && layers().every((image) => image.complete && image.naturalWidth);
const look = () => (ready() ? done() : setTimeout(look, 20));
document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "c", bubbles: true }));
look();
"""


def noise(number: int) -> Image.Image:
    """Return a picture of soft spots; another number gives another one."""
    generator = np.random.default_rng(number)
    small = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(SIDES_PX, Image.Resampling.BICUBIC)


def jpeg(image: Image.Image) -> bytes:
    """Return the bytes of a file."""
    output = io.BytesIO()
    image.save(output, "JPEG", quality=85)
    return output.getvalue()


def write(album: Path, number: int) -> Iterator[tuple[bytes, Facts]]:
    """Write a picture and its twin, and yield path and facts of each."""
    image = noise(number)
    data = jpeg(image)
    vector = np.asarray(image.convert("L").resize((64, 64), Image.Resampling.LANCZOS), np.uint8).tobytes()
    look = GREY64.appearance
    descriptor = bytes(look.size) if look else b""
    facts = Facts(
        hashlib.sha256(data).digest(), vector, *SIDES_PX, "JPEG", extractor=GREY64.extractor, descriptor=descriptor
    )
    for folder in ("camera", "backup"):
        path = album / folder / f"photo-{number:05d}.jpg"
        path.write_bytes(data)
        yield os.fsencode(path.relative_to(album)), facts


def fill(album: Path, state: Path, groups: int) -> None:
    """Write an album and its index, in which nothing is left to be done."""
    for folder in ("camera", "backup"):
        (album / folder).mkdir(parents=True)
    state.mkdir(mode=0o700)
    store = Store(state / "index.sqlite")
    store.open()
    try:
        store.albums.add(os.fsencode(album))
        known = store.albums.listed()[0]
        for start in range(0, groups, AT_ONCE):
            rows = [row for number in range(start, min(start + AT_ONCE, groups)) for row in write(album, number)]
            store.files.apply([Indexed(known.id, path, _state_of(album, path), facts) for path, facts in rows])
        store.albums.finish_baseline(known.id)
        ids = [content_id for content_id, _ in store.pairs.unmatched(groups)]
        store.pairs.put_matched(ids, [])
    finally:
        store.close()


def _state_of(album: Path, path: bytes) -> FileState:
    found = (album / os.fsdecode(path)).stat()
    return FileState(found.st_size, found.st_mtime_ns, found.st_ino)


@contextmanager
def page_of(environ: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Run the page, and give its process id and its address."""
    command: list[str | Path] = [COMMANDS / "cbir", "page", "--port", "0"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 -- ours
        assert process.stdout is not None
        try:
            yield process.pid, process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGTERM)


@contextmanager
def browser(home: Path) -> Iterator[Chrome]:
    """Give Debian's chromium without a window."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        raise click.ClickException("chromium or chromedriver is missing: apt install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = program
    arguments = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,900"]
    for argument in (
        *arguments,
        f"--user-data-dir={home / 'profile'}",
        *(["--no-sandbox"] if not os.geteuid() else []),
    ):
        options.add_argument(argument)
    chrome = Chrome(options, ChromeService(driver, log_output=subprocess.DEVNULL))
    chrome.set_script_timeout(WAIT_S)
    try:
        yield chrome
    finally:
        chrome.quit()


def family_of(pid: int) -> list[int]:
    """Return a process and all that it started."""
    family = [pid]
    for member in family:
        family += children(member)
    return family


def memory_mib(pids: Sequence[int]) -> float:
    """Return what processes hold; what they share counts once."""
    total_kib = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total_kib += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total_kib * 1024 / MIB


def tab_mib(chrome: Chrome) -> float:
    """Return the memory of the largest renderer: that of the tab."""
    driver = chrome.service.process
    renderers = [pid for pid in family_of(driver.pid) if "--type=renderer" in Path(f"/proc/{pid}/cmdline").read_text()]
    return max(memory_mib([pid]) for pid in renderers)


def previews_ms(daemon: Daemon, album: Path) -> list[float]:
    """Return the milliseconds of cold previews of photographs of 12 megapixels."""
    with Client([daemon.socket_path]) as client:
        for number in range(LARGE_FILES):
            noise(10**6 + number).resize(LARGE_PX).save(album / f"large-{number}.jpg")
        client.settle()
        digests = [image["digest"] for image in client.images(paths=sorted(album.glob("large-*.jpg")))["images"]]
        client.preview(digests[0], side_px=LARGE_SIDE_PX)
        took = []
        for digest in digests[1:]:
            before = time.perf_counter()
            client.preview(digest, side_px=LARGE_SIDE_PX)
            took.append(1000 * (time.perf_counter() - before))
    return took


def seen_in(chrome: Chrome, address: str, verdicts: int) -> dict[str, float]:
    """Return what a person waits for, and what the tab holds then."""
    chrome.get(address)
    figures = {"first paint, s": chrome.execute_async_script(FIRST) / 1000}
    script = "return performance.getEntriesByType('resource').filter((entry) => entry.name.includes('/static/'))"
    loaded = chrome.execute_script(f"{script}.reduce((sum, entry) => sum + entry.decodedBodySize, 0)")
    figures["page without pictures, KB"] = loaded / 1000
    took = chrome.execute_async_script(PRESSED, "Enter", verdicts, ".group.current")
    figures["verdict to next group, median ms"] = statistics.median(took)
    figures["verdict to next group, p95 ms"] = statistics.quantiles(took, n=20)[-1]
    chrome.execute_async_script(COMPARED)
    figures["flip, median ms"] = statistics.median(chrome.execute_async_script(PRESSED, "b", FLIPS, ".tag"))
    figures["memory of the tab, MiB"] = tab_mib(chrome)
    return figures


def say(name: str, value: float) -> None:
    """Print a figure beside its goal."""
    goal = GOALS.get(name)
    beside = "" if goal is None else f"   at most {goal:g}: {'met' if value <= goal else 'MISSED'}"
    click.echo(f"{name:<42} {value:8.1f}{beside}")


@click.command()
@click.option("--groups", default=10_000, show_default=True, help="Groups of duplicates in the album.")
@click.option("--verdicts", default=1_000, show_default=True, help="How many are decided on.")
def page(groups: int, verdicts: int) -> None:
    """Measure the page in a browser, on an album of many groups."""
    with tempfile.TemporaryDirectory(prefix="cbir") as folder:
        home = Path(folder)
        album = home / "album"
        fill(album, home / "state", groups)
        daemon = Daemon(home, album, NO_MAP)
        daemon.start()
        try:
            daemon.ask("settle")
            # The daemon groups by itself after changes: seen is a page that is opened later.
            daemon.ask("duplicates")
            with page_of(daemon.environ) as (pid, address), browser(home) as chrome:
                figures = seen_in(chrome, address, min(verdicts, groups - 2))
                figures["memory of the page process, MiB"] = memory_mib(family_of(pid))
            took = previews_ms(daemon, album)
            figures["cold preview of 12 megapixels, median ms"] = statistics.median(took)
        finally:
            daemon.stop()
    click.echo(f"{groups} groups, {verdicts} verdicts")
    for name, value in figures.items():
        say(name, value)
