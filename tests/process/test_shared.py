"""Several daemons that publish into one Milvus: what each finds of the others, and what is left when it is away."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbir_daemon.config.settings import SharedConfig
from cbir_daemon.daemon.rooms import INDEX_FILE
from cbir_daemon.matching import GREY64
from cbir_daemon.shared.engine import Engine
from cbir_daemon.shared.layout import SharedContent, content_from, content_id, content_row
from cbir_daemon.store import Content, Publication, Store
from tests import milvus_server, pictures
from tests.milvus_server import Milvus
from tests.patience import PATIENCE_S
from tests.process.daemon import Daemon, living

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.in_order,
    pytest.mark.skipif(bool(milvus_server.missing()), reason=f"no Milvus: {milvus_server.missing()}"),
]

TIMEOUT_S = 30.0


@pytest.fixture(scope="module")
def milvus() -> Iterator[Milvus]:
    """Give a server that is there for all tests of this file."""
    with tempfile.TemporaryDirectory(prefix="cbir-") as folder:
        server = Milvus(Path(folder) / "m")
        server.start()
        try:
            yield server
        finally:
            server.stop()


def shares(daemon: Daemon, milvus: Milvus, site: str, more: str = "") -> None:
    """Have a daemon that does not run publish under a name."""
    with daemon.config.open("a") as file:
        file.write(f'[shared]\nuri = "{milvus.uri}"\nsite = "{site}"\ntimeout_s = {TIMEOUT_S}\n{more}\n')


@pytest.fixture(scope="module")
def sites(milvus: Milvus) -> Iterator[dict[str, Daemon]]:
    """Give two sites that know each other: a studio with three photographs, an archive with three others."""
    with ExitStack() as stack:
        daemons = {site: stack.enter_context(living()) for site in ("studio", "archive")}
        for number, (site, daemon) in enumerate(daemons.items()):
            for seed in range(3):
                pictures.save(pictures.photograph(10 * number + seed), daemon.album / f"{site}-{seed}.jpg")
            shares(daemon, milvus, site)
            daemon.start()
        for daemon in daemons.values():
            daemon.settle()
        yield daemons


def found(daemon: Daemon, image: Path, *argv: str) -> list[tuple[str, str, str]]:
    """Return kind, site and name of the matches that are more than similar."""
    answer: dict[str, Any] = daemon.json("query", image, *argv)
    assert "partial" not in answer
    return [
        (match["kind"], match.get("site", ""), Path(match["path"]).name)
        for match in answer["matches"]
        if match["kind"] != "similar"
    ]


def comes_to(expected: object, ask: Callable[[], object]) -> None:
    """Ask until the answer is the expected one: the server shows what was written some seconds later."""
    deadline = time.monotonic() + PATIENCE_S
    while (answer := ask()) != expected:
        assert time.monotonic() < deadline, answer


def test_a_site_finds_what_another_one_has(sites: dict[str, Daemon]) -> None:
    """The same bytes and a crop, mirrored; each site its own as ever."""
    studio, archive = sites["studio"], sites["archive"]
    same = Path(shutil.copy(archive.album / "archive-1.jpg", studio.home / "same.jpg"))
    comes_to([("exact", "archive", "archive-1.jpg")], lambda: found(studio, same))
    crop = pictures.mirrored(pictures.cropped(pictures.load(archive.album / "archive-2.jpg"), 0.15))
    pictures.save(crop, studio.home / "crop.jpg")
    comes_to([("copy", "archive", "archive-2.jpg")], lambda: found(studio, studio.home / "crop.jpg"))
    assert found(archive, studio.home / "crop.jpg") == [("copy", "", "archive-2.jpg")]
    assert found(studio, studio.album / "studio-0.jpg") == [("exact", "", "studio-0.jpg")]
    shared = studio.json("status")["shared"]
    assert (shared["site"], shared["state"], shared["published"], shared["due"]) == ("studio", "connected", 3, 0)


# -- rows follow files -------------------------------------------------------------------------------------------------


def engine_of(milvus: Milvus, site: str = "test") -> Engine:
    """Return a connection of the test's own."""
    return Engine(SharedConfig(uri=milvus.uri, site=site), GREY64.terms, GREY64.extractor)


def rows_of(milvus: Milvus, site: str) -> dict[bytes, SharedContent]:
    """Return digest -> content of a site, as the server has it, each with its codes."""
    engine = engine_of(milvus)
    try:
        ids = engine.content_ids(site)
        contents = [content_from(row) for row in engine.rows(ids, TIMEOUT_S, strong=True)]
        coded = {code_id & ~15 for code_id in engine.code_ids(site)}
    finally:
        engine.close()
    assert coded == set(ids)
    return {content.digest: content for content in contents if content is not None}


def assert_equal(milvus: Milvus, site: str, daemon: Daemon) -> None:
    """Compare what the server has of a site with its index, row by row."""
    store = Store(daemon.state / INDEX_FILE)
    store.open_existing()
    try:
        own = store.published.publications([*store.contents.digests(store.contents.ids()).values()])
    finally:
        store.close()
    shared = rows_of(milvus, site)
    assert {digest: (content.vector, content.path) for digest, content in shared.items()} == {
        digest: (published.vector, published.path) for digest, published in own.items()
    }


def caught_up(daemon: Daemon, said: str = "", within_s: float = PATIENCE_S) -> Any:  # noqa: ANN401 -- JSON
    """Return the status once the server has been told everything, and the log says why: it may have to come back."""
    deadline, shared = time.monotonic() + within_s, {}
    while time.monotonic() < deadline:
        shared = daemon.settle()["shared"]
        if (
            shared["state"] == "connected"
            and not (shared["due"] or shared["unasked"])
            and said in daemon.log.read_text()
        ):
            return shared
    raise AssertionError(f"{shared}\n{daemon.log.read_text()[-3000:]}")


def test_the_shared_index_is_the_union_of_the_sites(milvus: Milvus, sites: dict[str, Daemon]) -> None:
    """Row by row: vectors and paths."""
    for site, daemon in sites.items():
        assert_equal(milvus, site, daemon)


def test_moved_and_deleted_files_follow(milvus: Milvus, sites: dict[str, Daemon]) -> None:
    """Another site finds a file where it is now, and not when it is no more."""
    studio, archive = sites["studio"], sites["archive"]
    query = Path(shutil.copy(archive.album / "archive-0.jpg", studio.home / "moved.jpg"))
    (archive.album / "archive-0.jpg").rename(archive.album / "moved.jpg")
    caught_up(archive)
    comes_to([("exact", "archive", "moved.jpg")], lambda: found(studio, query))
    (archive.album / "moved.jpg").unlink()
    caught_up(archive)
    comes_to(1, lambda: studio.run("query", query, "--site", "archive").returncode)
    assert_equal(milvus, "archive", archive)


def test_a_copy_of_another_site_raises_an_alert_where_it_comes(milvus: Milvus, sites: dict[str, Daemon]) -> None:
    """It names the site and the file there; the other site is told nothing."""
    studio, archive = sites["studio"], sites["archive"]
    crop = pictures.cropped(pictures.load(studio.album / "studio-2.jpg"), 0.15)
    pictures.save(crop, archive.home / "new.jpg").rename(archive.album / "new.jpg")
    archive.settle()
    (alert,) = [alert for alert in alerts(archive) if alert["path"].endswith("new.jpg")]
    (match,) = alert["matches"]
    assert (match["site"], Path(match["path"]).name, match["kind"]) == ("studio", "studio-2.jpg", "copy")
    assert f"studio:{match['path']}" in alert["text"]
    studio.settle()
    assert alerts(studio) == []
    assert_equal(milvus, "archive", archive)


def test_both_sites_list_what_they_have_in_common(sites: dict[str, Daemon]) -> None:
    """Whichever of them found it; nothing is proposed for removal."""
    for daemon, own, site, there in (
        (sites["archive"], "new.jpg", "studio", "studio-2.jpg"),
        (sites["studio"], "studio-2.jpg", "archive", "new.jpg"),
    ):
        (group,) = daemon.json("duplicates", "--sites")["groups"]
        assert [(Path(image["path"]).name, image.get("site", "")) for image in group["images"]] == [
            (own, ""),
            (there, site),
        ]
        assert all(image["keep"] for image in group["images"])
        assert f"{site}:/".encode() in daemon.run("duplicates", "--sites").stdout
        assert daemon.run("duplicates").returncode == 1


def alerts(daemon: Daemon) -> list[dict[str, Any]]:
    """Return all alerts of a daemon."""
    with daemon.client() as client:
        return [dict(alert) for alert in client.alerts()]


# -- what is not believed ----------------------------------------------------------------------------------------------


def test_rows_of_strangers_are_passed_over(milvus: Milvus, sites: dict[str, Daemon]) -> None:
    """One in the place of another content, one with a path that is none, one under the name of nobody."""
    studio, archive = sites["studio"], sites["archive"]
    photograph = archive.album / "archive-1.jpg"
    (true,) = [row for row in rows_of(milvus, "archive").values() if row.path.endswith(b"archive-1.jpg")]
    forged = Publication(Content(1, b"f" * 32, 10, 10, 10, "PNG"), true.vector, b"/etc/passwd")
    whole = content_row("mallory", forged, share_paths=True)
    engine = engine_of(milvus)
    try:
        rows = [
            {**whole, "id": content_id("mallory", b"g" * 32)},
            {**whole, "site": "Mallory\x1b[2J", "id": content_id("mallory", b"h" * 32)},
            {**whole, "facts": '{"path": "2e2e"}'},
        ]
        codes = GREY64.packed_codes(_vectors(true.vector))[0, :1].astype("float32")
        engine.put(
            rows,
            [{"id": row["id"], "site_number": row["site_number"], "code": codes[0]} for row in rows],
            [],
        )
        asked = Path(shutil.copy(photograph, studio.home / "asked.jpg"))
        deadline = time.monotonic() + TIMEOUT_S
        # What was just written may be seen some seconds later.
        while "rows of the shared index are refused" not in studio.log.read_text():
            assert found(studio, asked) == [("exact", "archive", "archive-1.jpg")]
            assert time.monotonic() < deadline
        engine.remove([int(str(row["id"])) for row in rows])
    finally:
        engine.close()


def _vectors(vector: bytes) -> Any:  # noqa: ANN401 -- an array
    return np.frombuffer(vector, np.uint8)[None]


def test_a_second_site_of_one_name_is_refused(milvus: Milvus, sites: dict[str, Daemon]) -> None:
    """It says so, publishes nothing, and goes on by itself."""
    with living() as second:
        pictures.save(pictures.photograph(77), second.album / "mine.jpg")
        shares(second, milvus, "studio")
        second.start()
        second.settle()
        status = second.json("status")
        assert status["shared"]["state"] == "refused"
        assert "is another daemon's" in status["problems"][0]["what"]
        assert [match["kind"] for match in second.json("query", second.album / "mine.jpg")["matches"]] == ["exact"]
    assert_equal(milvus, "studio", sites["studio"])


# -- a server that is away ---------------------------------------------------------------------------------------------


def test_a_frozen_server_costs_a_query_its_time_out(milvus: Milvus) -> None:
    """The answer is that of this site, and says what is left out; the next query does not wait."""
    with living() as laptop:
        pictures.save(pictures.photograph(55), laptop.album / "mine.jpg")
        shares(laptop, milvus, "laptop", "share_paths = false")
        laptop.config.write_text(laptop.config.read_text().replace(f"timeout_s = {TIMEOUT_S}", "timeout_s = 0.5"))
        laptop.start()
        laptop.settle()
        milvus.signal(signal.SIGSTOP)
        try:
            for _ in range(2):
                answer = laptop.json("query", laptop.album / "mine.jpg")
                assert answer["partial"] == ["shared"]
                assert [match["kind"] for match in answer["matches"]] == ["exact"]
            assert b"did not answer: shared" in laptop.run("query", laptop.album / "mine.jpg").stderr
        finally:
            milvus.signal(signal.SIGCONT)
        caught_up(laptop)
        (own,) = rows_of(milvus, "laptop").values()
        assert own.path == b""
        laptop.stop()
        withdrawn = laptop.run("publish", "--withdraw", command="cbir-daemon")
        assert withdrawn.returncode == 0, withdrawn.stderr.decode()
        assert rows_of(milvus, "laptop") == {}


def test_a_killed_server_costs_nothing_but_lag(milvus: Milvus, sites: dict[str, Daemon]) -> None:
    """What changed meanwhile is published when it is back, and nothing is lost."""
    studio = sites["studio"]
    for seed in range(20, 24):
        pictures.save(pictures.photograph(seed), studio.album / f"later-{seed}.jpg")
    milvus.kill()
    studio.settle()
    status = studio.json("status")
    assert (status["shared"]["state"], status["shared"]["due"] > 0) == ("away", True)
    assert status["problems"][0]["what"].startswith("the shared index is left out")
    assert studio.json("query", studio.album / "studio-0.jpg")["partial"] == ["shared"]
    milvus.start()
    caught_up(studio)
    assert_equal(milvus, "studio", studio)


def test_a_server_that_comes_back_empty_is_filled_again(milvus: Milvus, sites: dict[str, Daemon]) -> None:
    """By each site, without a word of anybody."""
    milvus.kill()
    milvus.empty()
    milvus.start()
    for site, daemon in sites.items():
        (daemon.album / f"touch-{site}.jpg").write_bytes((daemon.album / f"{site}-2.jpg").read_bytes())
        caught_up(daemon, "has nothing of this site, all is published anew")
        assert_equal(milvus, site, daemon)


def test_a_site_is_withdrawn_and_published_again(milvus: Milvus, sites: dict[str, Daemon]) -> None:
    """Others find nothing of it, and all of it again."""
    studio, archive = sites["studio"], sites["archive"]
    query = Path(shutil.copy(archive.album / "archive-1.jpg", studio.home / "again.jpg"))
    archive.stop()
    for option, kinds in (("--withdraw", []), ("--all", ["exact"])):
        done = archive.run("publish", option, command="cbir-daemon")
        assert done.returncode == 0, done.stderr.decode()
        comes_to(kinds, lambda: [kind for kind, _, _ in found(studio, query)])
    assert_equal(milvus, "archive", archive)
    archive.start()
    caught_up(archive)
