"""Many clients of the real daemon: search processes answer as it does alone, die without harm, and go when it goes."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cbir_daemon.client import Client
from cbir_daemon.config.settings import usable_processors
from cbir_daemon.duplicates.pairing import LEAST_PASS
from cbir_daemon.errors import TimedOutError, UnavailableError
from tests import pictures
from tests.patience import PATIENCE_S
from tests.process.daemon import Daemon
from tests.process.test_faults_processes import all_gone, children, workers

pytestmark = pytest.mark.process

SEARCHING = "cbir_daemon.search.process"
SIZE_PX = (160, 112)
IMAGES = 16
CLIENTS = usable_processors() + 6
"""More than are searched for at once, so that some wait."""
PROCESSES = 2
ROUNDS = 3
PAUSE_S = 1.0
FILES, TWINS = 1_600, 12
"""Of an album that is being read, and how many of these have a copy."""


def started(daemon: Daemon) -> list[Path]:
    """Start a daemon on some photographs, whatever the machine's processors are, and return pictures to ask for."""
    with daemon.config.open("a") as config:
        config.write(f"[server]\nsearch_processes = {PROCESSES}\n")
    shown = [pictures.photograph(seed, SIZE_PX) for seed in range(IMAGES)]
    for seed, picture in enumerate(shown):
        pictures.save(picture, daemon.album / f"{seed}.jpg", quality=90)
    queries = daemon.home / "queries"
    queries.mkdir()
    edits = (pictures.cropped, pictures.mirrored, pictures.brighter, pictures.on_a_page)
    asked = [
        pictures.save(edit(shown[seed]), queries / f"{seed}-{number}.png")
        for number, edit in enumerate(edits)
        for seed in range(2)
    ]
    daemon.start()
    daemon.settle()
    return [*asked, daemon.album / "5.jpg"]


def answer(client: Client, query: Path) -> str:
    """Return all that a query answers, explained, but for the time that it took."""
    document: dict[str, Any] = {**client.query(query, explain=True)}
    del document["took_ms"]
    return json.dumps(document, sort_keys=True)


@contextmanager
def crowd(daemon: Daemon, queries: Sequence[Path], answers: list[tuple[Path, str]]) -> Iterator[threading.Event]:
    """Let many clients ask all along, until the block ends or its event is set; their answers are noted."""
    ended = threading.Event()

    def ask(number: int) -> None:
        with Client([daemon.state / "socket"], timeout_s=PATIENCE_S) as client:
            own = [*queries[number:], *queries[:number]]
            answers.extend((query, answer(client, query)) for query in own * ROUNDS)
            while not ended.is_set():
                answers.append((queries[number], answer(client, queries[number])))

    with ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(ask, number % len(queries)) for number in range(CLIENTS)]
        try:
            yield ended
        finally:
            ended.set()
        for asked in asking:
            asked.result()


def wait_for_processes(daemon: Daemon, gone: Sequence[int] = ()) -> list[int]:
    """Return the ids of the search processes, once as many as may are ready and those that have gone are replaced."""
    with Client([daemon.state / "socket"]) as client:
        while client.status()["search_processes"] < PROCESSES or set(children(daemon, SEARCHING)) & set(gone):
            pass
    return children(daemon, SEARCHING)


def test_answers_are_the_same_wherever_they_are_found(daemon: Daemon) -> None:
    """Whole answers, explained, of clients one after the other and of many at once."""
    queries = started(daemon)
    with Client([daemon.state / "socket"]) as client:
        alone = {query: answer(client, query) for query in queries}
    assert children(daemon, SEARCHING) == []
    answers: list[tuple[Path, str]] = []
    with crowd(daemon, queries, answers):
        wait_for_processes(daemon)
    assert len(answers) >= CLIENTS * ROUNDS * len(queries)
    assert [query for query, text in answers if text != alone[query]] == []
    kinds = {match["kind"] for text in alone.values() for match in json.loads(text)["matches"]}
    assert kinds >= {"exact", "copy", "similar"}


def test_killed_search_processes_cost_nobody_an_answer(daemon: Daemon) -> None:
    """Killed again and again while many ask: every question is answered right, and others take their place."""
    queries = started(daemon)
    with Client([daemon.state / "socket"]) as client:
        alone = {query: answer(client, query) for query in queries}
    answers: list[tuple[Path, str]] = []
    with crowd(daemon, queries, answers):
        killed: list[int] = []
        for _ in range(ROUNDS):
            for process_id in wait_for_processes(daemon, killed):
                os.kill(process_id, signal.SIGKILL)
                killed.append(process_id)
        wait_for_processes(daemon, killed)
    assert [query for query, text in answers if text != alone[query]] == []
    assert daemon.json("status")["problems"] == []


def end_while_many_ask(daemon: Daemon, how: signal.Signals) -> None:
    """End the daemon in the middle of searches; its search processes must go, too."""
    with crowd(daemon, started(daemon), []):
        running = wait_for_processes(daemon)
        daemon.signal(how)
        assert daemon.wait() == (0 if how is signal.SIGTERM else -how)
        assert all_gone(running, PATIENCE_S)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_search_processes_go_with_the_daemon(daemon: Daemon, how: signal.Signals) -> None:
    """However it ends; those who ask are told, one way or the other."""
    with pytest.raises(UnavailableError):
        end_while_many_ask(daemon, how)


def test_files_come_and_go_while_many_ask(daemon: Daemon) -> None:
    """The next question after a change sees it, wherever it is searched."""
    queries = started(daemon)
    picture = pictures.photograph(100, SIZE_PX)
    late = pictures.save(pictures.brighter(picture), daemon.home / "late.png")
    with crowd(daemon, queries, []), Client([daemon.state / "socket"], timeout_s=PATIENCE_S) as client:
        wait_for_processes(daemon)
        for _ in range(ROUNDS):
            path = pictures.save(picture, daemon.album / "late.jpg", quality=90)
            daemon.json("settle", "--timeout", "240")
            found = [client.query(late)["matches"][0] for _ in range(CLIENTS)]
            assert {(match["path"], match["kind"]) for match in found} == {(str(path), "copy")}
            path.unlink()
            daemon.json("settle", "--timeout", "240")
            found = [match for _ in range(CLIENTS) for match in client.query(late)["matches"]]
            assert str(path) not in {match["path"] for match in found}


def test_copies_are_found_while_files_are_still_being_read(daemon: Daemon) -> None:
    """The pass begins before the index is whole, in a search process."""
    with daemon.config.open("a") as config:
        config.write(f"[server]\nsearch_processes = {PROCESSES}\n[decode]\ntimeout_s = 3600\n")
    random = np.random.default_rng(0)
    for number in range(FILES):
        small = Image.fromarray(random.integers(0, 256, (9, 12), dtype=np.uint8))
        picture = small.resize((96, 72), Image.Resampling.BICUBIC)
        picture.save(daemon.album / f"{number:04}.jpg")
        if number < TWINS:
            picture.point([min(255, level + 9) for level in range(256)]).save(daemon.album / f"{number:04}-again.jpg")
    daemon.start()
    with daemon.client() as client:
        while client.status()["images"] < LEAST_PASS:
            pass
        # Those that read for the index: nothing else has been asked for so far.
        stopped = workers(daemon)
        for worker in stopped:
            os.kill(worker, signal.SIGSTOP)
        while not client.duplicates()["groups"]:
            # Whoever asks without a pause leaves the pass, which is of low priority, no processor.
            with suppress(TimedOutError):
                client.settle(PAUSE_S)
        assert client.status()["images"] < FILES
        for worker in stopped:
            os.kill(worker, signal.SIGCONT)


def test_without_search_processes_everything_is_answered(daemon: Daemon) -> None:
    """The setting 0 leaves all to the daemon."""
    queries = started(daemon)
    daemon.stop()
    daemon.config.write_text(daemon.config.read_text().replace(f"processes = {PROCESSES}", "processes = 0"))
    daemon.start()
    daemon.settle()
    answers: list[tuple[Path, str]] = []
    with crowd(daemon, queries, answers):
        pass
    assert len(answers) >= CLIENTS * ROUNDS * len(queries)
    assert children(daemon, SEARCHING) == []
