"""How fluid the map of a million images is in a browser: frames while it is panned, memory, tiles.

In: how many images.  Out: the figures beside their goals.  Never here: an index of that many images: what answers is
the code of the daemon over positions from a seed, and a thousand vectors that many contents share.

The frames are drawn by Debian's chromium without a window.  On a busy machine the time on the clock says little: the
processor time that the page's own thread takes for a frame says how many could be drawn.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import click
import numpy as np
from _daemon import MIB
from page import browser, family_of, memory_mib, page_of, tab_mib
from selenium.webdriver import Chrome
from sklearn.datasets import load_sample_images

from cbir_daemon.config import load
from cbir_daemon.decode import DecodeLimits, DecodePool
from cbir_daemon.map.grid import arrange_many
from cbir_daemon.matching import GREY64
from cbir_daemon.pictures import PICTURES
from cbir_daemon.protocol.messages import Request
from cbir_daemon.records import IMAGE, FileState
from cbir_daemon.serving import handlers
from cbir_daemon.serving.handlers.rooms import Reply, Rooms
from cbir_daemon.serving.plane import Plane
from cbir_daemon.serving.server import Server
from cbir_daemon.store import Content, Image

SEED = 20261130
VECTORS = 1000
SIDE_PX = 64
WORKERS = 2
MOST_BYTES, MOST_PIXELS, TIMEOUT_S = 2**27, 10**8, 60
PANS, FRAMES = 6, 100
GOALS = {
    "frames a second, median": 50.0,
    "processor time of a frame, ms": 20.0,
    "memory of the tab, MiB": 400.0,
    "memory of the page process, MiB": 120.0,
}
LEAST = {"frames a second, median"}
"""Goals that are met from below."""

SEEN = """
const done = arguments[0];
const look = () => (document.querySelector(".plane") ? setTimeout(() => done(performance.now()), 0)
                                                         : setTimeout(look, 5));
look();
"""
ZOOMED = """
const plane = document.querySelector(".plane"), box = plane.getBoundingClientRect();
const event = { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, deltaY: arguments[0], bubbles: true };
plane.dispatchEvent(new WheelEvent("wheel", { ...event, cancelable: true }));
"""
PANNED = """
const [count, across, down, done] = arguments, plane = document.querySelector(".plane"), times = [];
const box = plane.getBoundingClientRect();
const at = { x: box.x + box.width / 2, y: box.y + box.height / 2 };
const send = (type) => plane.dispatchEvent(new PointerEvent(type, { pointerId: 1, clientX: at.x, clientY: at.y,
                                                                    bubbles: true, isPrimary: true, buttons: 1 }));
plane.setPointerCapture = () => {};
send("pointerdown");
const step = (now) => {
  times.push(now);
  if (times.length > count) { send("pointerup"); done(times); return; }
  const way = times.length <= count / 2 ? 1 : -1;
  at.x += across * way;
  at.y += down * way;
  send("pointermove");
  requestAnimationFrame(step);
};
requestAnimationFrame(step);
"""
"""Drags the map by so many pixels a frame, there and back; tells when each frame began, in milliseconds."""


class Vectors:
    """A vector for each content: one of a thousand pieces of two photographs."""

    def __init__(self) -> None:
        generator = np.random.default_rng(SEED)
        photographs = [np.asarray(image)[..., 1] for image in load_sample_images().images]
        self._pieces = []
        for number in range(VECTORS):
            photograph = photographs[number % len(photographs)]
            top, left = (int(generator.integers(0, side - SIDE_PX)) for side in photograph.shape)
            self._pieces.append(photograph[top : top + SIDE_PX, left : left + SIDE_PX].tobytes())

    def __getitem__(self, content_id: int) -> bytes:
        return self._pieces[content_id % VECTORS]


class Maps:
    """The map of images, and no other."""

    def of(self, medium: str) -> SimpleNamespace:
        """Return what the handlers ask of the map of a medium."""
        return SimpleNamespace(medium=medium)

    def __iter__(self) -> Iterator[SimpleNamespace]:
        return iter([self.of(IMAGE)])


def plane_of(images: int) -> Plane:
    """Return the plane of so many contents, which lie in clusters as those of a map do."""
    generator = np.random.default_rng(SEED)
    middles = generator.normal(0, 10, (200, 2))
    xy = middles[generator.integers(0, len(middles), images)] + generator.normal(0, 1, (images, 2))
    grid = arrange_many(xy.astype(np.float32))
    contents = np.zeros((grid.rows, grid.columns), dtype=np.int64)
    contents[grid.cells[:, 1], grid.cells[:, 0]] = np.arange(1, images + 1)
    return Plane("bench", contents, {})


def image_of(content_id: int) -> Image:
    """Return the only file of a content."""
    content = Content(content_id, content_id.to_bytes(32, "big"), 480, 320, 100_000, "JPEG")
    return Image(content_id, 1, b"/album/%d.jpg" % content_id, FileState(100_000, 0, content_id), False, content)


def rooms_of(plane: Plane, pool: DecodePool) -> Rooms:
    """Return what the handlers of the map ask, and no other room."""
    vectors = Vectors()
    store = SimpleNamespace(
        files=SimpleNamespace(images=lambda ids: list(map(image_of, ids))),
        contents=SimpleNamespace(vectors=lambda ids: {content_id: vectors[content_id] for content_id in ids}),
        descriptors=SimpleNamespace(of=lambda kind, ids: {}),
    )
    asked = SimpleNamespace(
        store=store,
        maps=Maps(),
        planes=SimpleNamespace(present=lambda medium: plane),
        searcher=SimpleNamespace(medium=GREY64),
        part_searchers=SimpleNamespace(of=lambda medium: None),
        pool=pool,
        config=load(environ={"HOME": "/"}),
    )
    return cast("Rooms", asked)


def answered(rooms: Rooms, request: Request) -> Iterator[Reply[Any]]:
    """Answer what the map asks; of duplicates and of the state there are none."""
    if request.method == "duplicates":
        empty = {"clock": 1, "saves": 0, "total": 0, "files": 0, "groups": [], "folder_pairs": []}
        return iter([Reply(empty)])
    return handlers.handle(rooms, request)


class Walked:
    """Serves a map on a socket, as the daemon does, in threads of this process."""

    def __init__(self, home: Path) -> None:
        self.socket_path = home / "socket"
        self.environ = {**os.environ, "CBIR_SOCKET": str(self.socket_path), "CBIR_STATE": str(home)}


@contextmanager
def served(home: Path, plane: Plane) -> Iterator[Walked]:
    """Answer on a socket while the block runs."""
    walked = Walked(home)
    pool = DecodePool(WORKERS, DecodeLimits(MOST_PIXELS, MOST_BYTES, TIMEOUT_S), PICTURES)
    pool.open()
    rooms = rooms_of(plane, pool)
    server = Server(
        walked.socket_path,
        lambda request: answered(rooms, request),
        lambda: 1,
        max_connections=64,
        max_blob_bytes=MOST_BYTES,
    )
    server.open()
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield walked
    finally:
        server.close()
        thread.join()
        pool.close()


def busy_ms(chrome: Chrome) -> float:
    """Return the processor time that the page's thread has taken, in milliseconds."""
    metrics = chrome.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return 1000 * float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))


def panned(chrome: Chrome) -> dict[str, float]:
    """Return how fluid the map is while it is dragged, at several scales."""
    chrome.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    spans: list[float] = []
    before = busy_ms(chrome)
    for number in range(PANS):
        chrome.execute_script(ZOOMED, -300)
        across, down = ((12, 0), (0, 12), (9, 9))[number % 3]
        times = chrome.execute_async_script(PANNED, FRAMES, across, down)
        spans += np.diff(times).tolist()
    processor_ms = (busy_ms(chrome) - before) / len(spans)
    return {
        "frames a second, median": 1000 / float(np.median(spans)),
        "frames a second, slowest of 20": 1000 / float(np.quantile(spans, 0.95)),
        "processor time of a frame, ms": processor_ms,
    }


def say(name: str, value: float) -> None:
    """Print a figure beside its goal."""
    goal = GOALS.get(name)
    is_met = goal is not None and (value >= goal if name in LEAST else value <= goal)
    bound = "at least" if name in LEAST else "at most"
    click.echo(f"{name:<42} {value:8.1f}" + ("" if goal is None else f"   {bound} {goal:g}: {_judged(is_met)}"))


def _judged(is_met: bool) -> str:
    return "met" if is_met else "MISSED"


def own_mib() -> float:
    """Return the memory of this process."""
    return memory_mib(cast("Sequence[int]", [os.getpid()]))


@click.command()
@click.option("--images", default=1_000_000, show_default=True, help="On the map.")
def walk(images: int) -> None:
    """Walk over the map of many images in a browser."""
    with tempfile.TemporaryDirectory(prefix="cbir") as folder:
        home = Path(folder)
        before_mib, began = own_mib(), time.process_time()
        plane = plane_of(images)
        figures = {"the map laid out, s of processor time": time.process_time() - began}
        figures["memory of the map in the daemon, MiB"] = plane.contents.nbytes / MIB
        with served(home, plane) as walked, page_of(walked.environ) as (pid, address), browser(home) as chrome:
            chrome.get(f"{address}/map")
            figures["first sight of the map, s"] = chrome.execute_async_script(SEEN) / 1000
            figures |= panned(chrome)
            figures["memory of the tab, MiB"] = tab_mib(chrome)
            figures["memory of the page process, MiB"] = memory_mib(family_of(pid))
            figures["what serving tiles has added, MiB"] = own_mib() - before_mib - plane.contents.nbytes / MIB
    click.echo(f"{images} images, {PANS} x {FRAMES} frames")
    for name, value in figures.items():
        say(name, value)
