"""What is asked of an installation.

In: a recorder on a furnished home.  Out: its answers, and a copy of the state with all that was decided in it.  Never
here: what is right, and comparing.

`whole` goes through an installation's life, from no state to an index that was made anew.  `reading` asks what changes
nothing; it serves also a state that another release made.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.answers.home import NOT_UTF_8
from tests.answers.recording import HOME, Recorder

NO_MAP: Final = "min_images = 100000"
"""Lines for [model]: nothing is fitted."""

WITH_MAP: Final = "min_images = 10\nn_components = 8\nthreads = 1\nrefit_min_interval_s = 0\nrefit_min_changes = 1000"
"""Lines for [model]: a map is fitted when there is none, and otherwise when somebody asks."""

KEPT: Final = "kept-state"
"""Where `whole` leaves a copy of the state."""

POSITION_TRIES: Final = 10
"""Queries that may go without a position; each waits half a minute for one."""

QUERY_OPTIONS: Final[Sequence[Sequence[str]]] = (
    ("-n", "3"),
    ("-n", "1000"),
    ("--kind", "exact"),
    ("--kind", "copy"),
    ("--kind", "similar", "-n", "20"),
    ("--min-score", "0.6"),
    ("--explain", "-n", "12"),
    ("--explain", "--kind", "copy"),
)

CONFIG: Final = """
[watch]
settle_s = 0.3
[decode]
workers = 1
[alerts]
sinks = ["log"]
bundle_s = 0
interval_s = 0
[[sink]]
name = "file"
type = "command"
command = ["/usr/bin/tee", "-a", "{home}/messages"]
[[sink]]
name = "refuses"
type = "command"
command = ["/bin/false"]
[model]
{model}
[log]
level = "debug"
"""
"""One worker, so that contents get their numbers in order of inode (see `home`)."""


def configure(recorder: Recorder, model: str) -> None:
    """Write the configuration, with lines for [model]."""
    recorder.daemon.config.write_text(CONFIG.format(home=recorder.home, model=model))


def whole(recorder: Recorder, *, with_map: bool) -> None:
    """Ask everything, from no state on; the daemon is stopped in the end.

    Parameters
    ----------
    recorder : Recorder
        On a home that was furnished and has no state.
    with_map : bool
        Whether a map is fitted: numba compiles for tens of seconds.
    """
    configure(recorder, NO_MAP)
    _without_daemon(recorder)
    recorder.phase = "first index"
    recorder.daemon.start()
    settled(recorder)
    albums(recorder)
    reading(recorder)
    _texts(recorder)
    for phase in (_refused, _deciding, _watching, _arriving, _resolving, _missing):
        recorder.phase = phase.__name__.strip("_")
        phase(recorder)
    recorder.phase = "second start"
    restarted(recorder, WITH_MAP if with_map else NO_MAP)
    if with_map:
        _with_map(recorder)
        reading(recorder)
    stopped(recorder)
    shutil.copytree(recorder.daemon.state, recorder.home / KEPT)
    _upkeep(recorder)


def opened(recorder: Recorder, model: str, *, changing: bool = False) -> None:
    """Ask on the state that is kept in the home, whoever made it; the daemon is stopped in the end.

    Parameters
    ----------
    recorder : Recorder
    model : str
        Lines for [model].
    changing : bool
        Whether what was decided in it is taken back, too; that moves files.
    """
    shutil.rmtree(recorder.daemon.state, ignore_errors=True)
    shutil.copytree(recorder.home / KEPT, recorder.daemon.state)
    configure(recorder, model)
    recorder.phase = "opened"
    recorder.daemon.start("--state", recorder.daemon.state)
    settled(recorder)
    reading(recorder)
    if changing:
        _taken_back(recorder)
    stopped(recorder)
    recorder.cbir_daemon("doctor", "--json")


def reading(recorder: Recorder) -> None:
    """Ask a daemon everything that changes nothing."""
    for question in ("status", "album list", "errors", "decisions list", "watch list", "alerts", "resolve --list"):
        recorder.cbir(*question.split())
    recorder.cbir("alerts", "--since", "1")
    _wait_for_positions(recorder)
    queries(recorder)
    duplicates(recorder)
    _maps(recorder)
    _socket(recorder)


def _wait_for_positions(recorder: Recorder) -> None:
    """Ask until a query gets a position on the map: while numba compiles, vectors answer without one."""
    query = min((recorder.home / "queries").iterdir())
    for _ in range(POSITION_TRIES):
        if recorder.daemon.json("status")["model"] is None:
            return
        if recorder.daemon.json("query", query)["matches"][0]["map_distance"] is not None:
            return
    raise RuntimeError("no query got a position on the map")


def _without_daemon(recorder: Recorder) -> None:
    """Ask before there is a state, and start with what cannot be."""
    recorder.phase = "no daemon"
    daemon = recorder.daemon
    for question in ("status", "settle", "duplicates", "alerts"):
        recorder.text(*question.split())
    recorder.metrics()
    recorder.cbir_daemon("doctor", "--json")
    recorder.cbir_daemon("run", "--quiet")
    recorder.cbir_daemon("run", "--quiet", daemon.home / "nowhere")
    recorder.cbir_daemon("backup", daemon.home / "nothing.sqlite")
    (daemon.home / "nothing.sqlite").unlink(missing_ok=True)
    recorder.cbir_daemon("restore", daemon.home / "nothing.sqlite")
    recorder.cbir_daemon("config", "check")
    recorder.cbir_daemon("config", "sample")
    recorder.toml("config", "show")
    recorder.toml("config", "show", "--socket", daemon.home / "s", "--state", daemon.home / "elsewhere")
    wrong = daemon.home / "wrong.toml"
    wrong.write_text('rescan_s = 1\n[watch]\nsettle_s = "two"\n[decode]\nworker = 1\n')
    for question in ("config check", "run", "doctor"):
        recorder.cbir_daemon(*question.split(), "--config", wrong)
    wrong.unlink()
    shutil.rmtree(daemon.state, ignore_errors=True)


def settled(recorder: Recorder) -> None:
    recorder.cbir("settle", "--timeout", "240")


def stopped(recorder: Recorder) -> None:
    """Stop in order; nothing was written that only a fault writes."""
    status = recorder.daemon.stop()
    log = recorder.daemon.log.read_text()
    if status or "Traceback" in log:
        raise RuntimeError(f"the daemon stopped with status {status}:\n{log}")


def restarted(recorder: Recorder, model: str) -> None:
    stopped(recorder)
    configure(recorder, model)
    # The albums are remembered.
    recorder.daemon.start("--state", recorder.daemon.state)
    settled(recorder)


def albums(recorder: Recorder) -> None:
    """Add and remove albums."""
    home = recorder.home
    recorder.cbir("album", "add", home / "phone")
    recorder.cbir("album", "add", home / "phone")
    recorder.cbir("album", "add", home / "works")
    settled(recorder)
    recorder.cbir("album", "list")
    recorder.cbir("album", "remove", home / "works")
    settled(recorder)
    recorder.cbir("scan")
    recorder.cbir("scan", home / "phone")
    settled(recorder)


def queries(recorder: Recorder) -> None:
    """Ask about every file of `queries`, about one with every option, and about files of the album."""
    queries = sorted((recorder.home / "queries").iterdir())
    for path in queries:
        recorder.cbir("query", path)
    for options in QUERY_OPTIONS:
        recorder.cbir("query", queries[0], *options)
    recorder.cbir("query", "-", stdin=queries[0].read_bytes())
    recorder.cbir("query", recorder.home / "album" / NOT_UTF_8)
    recorder.cbir("query", max((recorder.home / "phone").iterdir()), "-n", "2")
    sheet = recorder.home / "sheet.png"
    recorder.cbir("query", queries[0], "--sheet", sheet)
    sheet.unlink()


def duplicates(recorder: Recorder) -> None:
    """Ask for groups and plans with every option."""
    recorder.cbir("duplicates")
    for options in (["--kind", "exact"], ["--kind", "copy"], ["--album", recorder.home / "phone"], ["--across"]):
        recorder.cbir("duplicates", *options)
        recorder.cbir("resolve", *options)
    recorder.cbir("duplicates", "--album", recorder.home / "phone", "--kind", "exact", "--across")
    recorder.cbir("resolve")
    recorder.cbir("resolve", "--action", "hardlink")
    recorder.cbir("resolve", "--action", "reflink")
    recorder.cbir("resolve", "--action", "move", "--to", recorder.home / "away")


def _texts(recorder: Recorder) -> None:
    """Ask for the same for people, and in the formats of other programs."""
    for question in ("status", "album list", "errors", "resolve", "duplicates", "duplicates --format csv"):
        recorder.text(*question.split())
    recorder.text("duplicates", "--paths0")
    queries = sorted((recorder.home / "queries").iterdir())
    for path in queries:
        recorder.text("query", path)
    recorder.text("query", queries[0], "--paths0")
    recorder.text("query", queries[0], "--explain")


def _maps(recorder: Recorder) -> None:
    """Ask for the map, whether there is one or not."""
    for question in ("model show", "model history", "model plot", "model cancel"):
        recorder.cbir(*question.split())
    for name in ("map.html", "map.png", "map.gif"):
        recorder.cbir("map", recorder.home / name)
        (recorder.home / name).unlink(missing_ok=True)
    recorder.cbir("model", "plot", recorder.home / "curve.svg")
    (recorder.home / "curve.svg").unlink(missing_ok=True)


def _socket(recorder: Recorder) -> None:
    """Ask the socket what no command prints."""
    recorder.ask("hello")
    recorder.ask("map", form="page")
    recorder.ask("map", form="png", size_px=300)
    recorder.ask("decisions")
    (found,) = recorder.ask("resolve_runs")
    for run in found["runs"]:
        recorder.ask("resolve_tasks", run=run["run"])


def _refused(recorder: Recorder) -> None:
    """Ask what is refused, by the commands and by the socket."""
    home = recorder.home
    stranger, known = home / "queries" / "stranger.png", home / "phone" / "unchanged.jpg"
    asked: list[list[str | Path]] = [
        ["query"],
        ["query", home / "nowhere.jpg"],
        ["query", home],
        ["query", stranger, "-n", "0"],
        ["query", stranger, "--kind", "exact"],
        ["query", stranger, "--kind", "other"],
        ["query", stranger, "--min-score", "2"],
        ["query", stranger, "--sheet", home / "nowhere" / "sheet.png"],
        ["album", "add", home / "album" / "twins"],
        ["album", "add", home],
        ["album", "add", home / "nowhere"],
        ["album", "add", stranger],
        ["album", "remove", home / "nowhere"],
        ["scan", "/"],
        ["scan", home / "queries"],
        ["duplicates", "--kind", "similar"],
        ["duplicates", "--album", home / "queries"],
        ["dismiss", stranger, known],
        ["dismiss", known, home / "nowhere.jpg"],
        ["undismiss", known, home / "album" / "broken.jpg"],
        ["decisions", "list"],
        ["decisions", "import", home / "nowhere.jsonl"],
        ["decisions", "import", stranger],
        ["resolve", "--undo", "99"],
        ["resolve", "--continue", "99"],
        ["resolve", "--apply"],
        ["resolve", "--plan", home / "nowhere.jsonl", "--apply"],
        ["resolve", "--action", "move"],
        ["alerts", "--since", "99"],
        ["alerts", "test", "nobody"],
        ["alerts", "test", "refuses"],
        ["watch", "add", home / "queries" / "plain.png"],
        ["watch", "add", home / "queries" / "text.jpg"],
        ["watch", "remove", "nobody"],
        ["watch", "list"],
        ["settle", "--timeout", "-1"],
        ["model", "fit"],
        ["unknown"],
    ]
    for argv in asked:
        recorder.cbir(*argv)
    recorder.text("--socket", home / "nowhere", "status")
    recorder.ask("unknown")
    for method in ("query", "album_add", "album_remove", "dismiss", "undismiss", "alerts_test", "watch_add"):
        recorder.ask(method)
    recorder.ask("query", blob=b"this is text")
    recorder.ask("query", path=str(stranger), limit="ten")
    recorder.ask("query", path=str(stranger), later="this field is not known")
    recorder.ask("map", form="other")
    recorder.ask("resolve_start", blob=b"this is no plan\n")
    recorder.ask("resolve_tasks", run=99)
    recorder.ask("resolve_note", state="done", task=99)
    recorder.ask("backup", path=str(stranger))


def _deciding(recorder: Recorder) -> None:
    """Dismiss a copy and a twin, take one back, export and import."""
    home = recorder.home
    copies, twins = (_group(recorder, kind) for kind in ("copy", "exact"))
    for argv in (["dismiss", *copies], ["dismiss", *copies], ["dismiss", *twins], ["undismiss", *twins]):
        recorder.cbir(*argv)
    recorder.cbir("undismiss", *twins)
    decisions = recorder.cbir("decisions", "list")
    recorder.text("dismiss", *copies)
    recorder.cbir("duplicates")
    recorder.cbir("query", copies[0])
    exported = home / "decisions.jsonl"
    added = {
        **decisions[0],
        "digest": "0" * 64,
        "other_digest": "f" * 64,
        "decided_at": "2020-02-02T02:02:02.000+00:00",
    }
    exported.write_text("".join(json.dumps(decision) + "\n" for decision in (added, added)))
    recorder.cbir("decisions", "import", exported)
    recorder.cbir("decisions", "import", "-", stdin=exported.read_bytes())
    recorder.cbir("decisions", "list")


def _group(recorder: Recorder, kind: str) -> list[str]:
    """Return the paths of the first two images of the smallest group of a kind."""
    (found,) = recorder.cbir("duplicates", "--kind", kind)
    return [image["path"].replace(HOME, str(recorder.home), 1) for image in found["groups"][-1]["images"][:2]]


def _watching(recorder: Recorder) -> None:
    """Watch for works, and forget one."""
    works = recorder.home / "works"
    recorder.cbir("watch", "add", works / "harbour.png")
    recorder.cbir("watch", "add", works / "harbour.png")
    recorder.cbir("watch", "add", recorder.home / "album" / "twins" / "twin.jpg", "--name", "the first")
    recorder.cbir("watch", "add", recorder.home / "queries" / "stranger.png", recorder.home / "queries" / "poster.png")
    recorder.cbir("watch", "list")
    recorder.cbir("watch", "remove", "poster.png")
    recorder.cbir("watch", "list")


def _arriving(recorder: Recorder) -> None:
    """Let files come into an album, each for itself, so that alerts have an order."""
    for path in sorted((recorder.home / "coming").iterdir()):
        path.rename(recorder.home / "album" / path.name)
        settled(recorder)
        recorder.cbir("alerts")
    (recorder.home / "album" / "broken.jpg").unlink()
    (recorder.home / "album" / "again.jpg").rename(recorder.home / "album" / "twins" / "moved.jpg")
    settled(recorder)
    for question in ("errors", "status", "watch list"):
        recorder.cbir(*question.split())
    recorder.ask("alerts", since=0, follow=True)
    recorder.cbir("alerts", "test", "log")
    recorder.cbir("alerts", "test", "file")
    recorder.keep_file(recorder.home / "messages")


def _resolving(recorder: Recorder) -> None:
    """Review, plan, do, take back, and do again with each action."""
    plan = recorder.home / "plan.jsonl"
    recorder.cbir("review", "--plan", plan, stdin=b"k\ns\n2\nq\n")
    recorder.keep_file(plan)
    plan.unlink()
    for number, options in enumerate((["--kind", "exact"], ["--kind", "exact", "--action", "hardlink"]), 1):
        recorder.cbir("resolve", "--plan", plan, *options)
        recorder.keep_file(plan)
        recorder.cbir("resolve", "--plan", plan, *options)
        recorder.cbir("resolve", "--plan", plan, "--apply")
        plan.unlink()
        settled(recorder)
        recorder.cbir("duplicates", "--kind", "exact")
        recorder.cbir("resolve", "--undo", str(number))
        settled(recorder)
        recorder.cbir("duplicates", "--kind", "exact")
    recorder.cbir("resolve", "--plan", plan, "--kind", "copy", "--action", "move", "--to", recorder.home / "away")
    lines = plan.read_text().splitlines(keepends=True)
    # Half a plan, in which the first group keeps what it keeps.
    groups = {json.loads(line)["group"] for line in lines}
    chosen = [line for line in lines if json.loads(line)["group"] in sorted(groups)[: (len(groups) + 1) // 2]]
    plan.write_text("# half of it\n" + "".join(chosen))
    recorder.cbir("resolve", "--plan", plan, "--apply")
    plan.unlink()
    settled(recorder)
    recorder.cbir("resolve", "--list")
    recorder.cbir("duplicates")


def _missing(recorder: Recorder) -> None:
    """Take an album away and bring it back."""
    phone, away = recorder.home / "phone", recorder.home / "phone-away"
    phone.rename(away)
    settled(recorder)
    for question in ("status", "album list", "alerts", "duplicates", "resolve"):
        recorder.cbir(*question.split())
    recorder.cbir("query", recorder.home / "queries" / "unchanged.jpg")
    away.rename(phone)
    settled(recorder)
    for question in ("status", "alerts"):
        recorder.cbir(*question.split())


def _with_map(recorder: Recorder) -> None:
    """Have images placed on the map that was fitted.

    No second map is asked for: whether it is taken into use hangs on hundredths of both.
    """
    recorder.cbir("status")
    for name in ("stranger.png", "poster.png"):
        later = Path(shutil.copy2(recorder.home / "queries" / name, recorder.home / "coming"))
        later.rename(recorder.home / "album" / f"later-{name}")
        settled(recorder)
    recorder.cbir("status")


def _taken_back(recorder: Recorder) -> None:
    """Undo the newest run, take the oldest decision back, forget the works, and let an album go and come."""
    (journal,), (decision, *_) = recorder.cbir("resolve", "--list"), recorder.cbir("decisions", "list")
    recorder.cbir("resolve", "--undo", str(journal["runs"][0]["run"]))
    pair = (decision[name][0].replace(HOME, str(recorder.home), 1) for name in ("paths", "other_paths"))
    recorder.cbir("undismiss", *pair)
    for work in recorder.cbir("watch", "list")[0]["works"]:
        recorder.cbir("watch", "remove", work["name"])
    recorder.cbir("album", "remove", recorder.home / "phone")
    settled(recorder)
    recorder.cbir("album", "add", recorder.home / "phone")
    settled(recorder)
    for question in ("status", "duplicates", "decisions list", "watch list", "alerts", "resolve --list"):
        recorder.cbir(*question.split())


def _upkeep(recorder: Recorder) -> None:
    """Back up, restore, and index anew."""
    recorder.phase = "upkeep"
    daemon, backup = recorder.daemon, recorder.home / "backup.sqlite"
    configure(recorder, NO_MAP)
    daemon.start("--state", daemon.state)
    settled(recorder)
    recorder.cbir_daemon("backup", backup)
    recorder.cbir_daemon("backup", backup)
    recorder.cbir_daemon("restore", backup)
    recorder.cbir_daemon("reindex")
    recorder.cbir_daemon("run", "--quiet", recorder.home / "album")
    recorder.metrics()
    stopped(recorder)
    recorder.cbir_daemon("doctor", "--json")
    recorder.cbir_daemon("restore", recorder.home / "queries" / "stranger.png")
    recorder.cbir_daemon("restore", backup)
    recorder.cbir_daemon("doctor", "--json")
    _started_anew(recorder, "restored")
    recorder.cbir("duplicates")
    stopped(recorder)
    recorder.cbir_daemon("reindex")
    _started_anew(recorder, "indexed anew")
    stopped(recorder)


def _started_anew(recorder: Recorder, phase: str) -> None:
    """Start on another index and ask what is left; the albums are read at once, so scores of groups are by chance."""
    recorder.phase = phase
    recorder.daemon.start("--state", recorder.daemon.state)
    settled(recorder)
    for question in ("status", "decisions list", "alerts", "watch list", "resolve --list", "errors"):
        recorder.cbir(*question.split())
    recorder.cbir("query", recorder.home / "queries" / "unchanged.jpg")
