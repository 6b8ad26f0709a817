"""The contract: methods, handlers, client, errors, commands and documents say the same, and answers are as written.

The last part runs the real daemon once on a dozen pictures.  A map that was never fitted is put into its index between
two starts: what a map answers is seen without waiting for UMAP.
"""

from __future__ import annotations

import ast
import base64
import inspect
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import click
import numpy as np
import pytest

from cbir_daemon import config, errors, matching
from cbir_daemon.cli.client import cbir
from cbir_daemon.cli.daemon import daemon as cbir_daemon_command
from cbir_daemon.client import Client
from cbir_daemon.daemon.rooms import INDEX_FILE, MODELS_FOLDER
from cbir_daemon.daemon.service import Service
from cbir_daemon.errors import BadRequestError, CbirError
from cbir_daemon.indexing.batches import Progress
from cbir_daemon.map.artifact import SEALED_FILES, new_file, seal, start_folder
from cbir_daemon.map.environment import medium_folder
from cbir_daemon.map.maps import Maps, MediumMap
from cbir_daemon.map.refit import Refit, RefitState
from cbir_daemon.protocol.messages import Request
from cbir_daemon.records import IMAGE, FitReport, Trial
from cbir_daemon.serving import handlers
from cbir_daemon.serving.handlers.model import model_fit
from cbir_daemon.store import FitBegun, ModelRun, Placed, Store
from tests import manual, pictures
from tests.answer_types import fields_of, type_of
from tests.manual import Section, section, sections
from tests.process.daemon import Daemon, living

# -- methods -----------------------------------------------------------------------------------------------------------

METHODS = sorted(handlers.METHODS)
DOCUMENTED = manual.methods()


ALL_NUMBERS = {
    "contents": 3,
    "changed": 1,
    "changed_fraction": 0.5,
    "far_fraction": 0.25,
    "kept": 0.5,
    "kept_at_fit": 0.5,
    "min_dist": 0.0,
    "cancelled_by_user": 1,
    "compared": 3,
    "kept_before": 0.5,
    "kept_after": 0.5,
}
"""Everything that a run may have been decided by."""


def test_the_client_has_one_method_for_each() -> None:
    """The public methods of the client are those of the daemon, `close`, and what asks any method by its name."""
    public = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}
    assert public - {"close", "ask", "frames"} == set(METHODS)


def test_the_manual_has_every_method() -> None:
    """The methods of docs/protocol.md are the daemon's methods."""
    assert sorted(DOCUMENTED) == METHODS


class Parameter(NamedTuple):
    """An item of a list of parameters."""

    method: str
    name: str
    kind: str
    default: str


PARAMETERS = [
    Parameter(method, manual.code(row[0]), row[1], row[2].strip("`"))
    for method, documented in DOCUMENTED.items()
    for row in documented.parameters
]


def test_every_parameter_that_is_read_is_documented() -> None:
    """What the handlers read from a request stands in docs/protocol.md."""
    readers = {"integer", "number", "choice", "flag", "text", "path", "maybe_path", "digest", "items"}
    read = {
        node.args[0].value
        for file in Path(handlers.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in readers
        if node.args and isinstance(node.args[0], ast.Constant)
    }
    assert read
    assert read <= {parameter.name for parameter in PARAMETERS}


def test_the_client_has_the_documented_defaults() -> None:
    """A parameter that the client names as the protocol does has the default of docs/protocol.md."""
    compared = 0
    for parameter in PARAMETERS:
        known = inspect.signature(getattr(Client, parameter.method)).parameters.get(parameter.name)
        if known is None or known.default is inspect.Parameter.empty:
            continue
        assert parameter.default == json.dumps(known.default).replace("null", "none"), parameter
        compared += 1
    assert compared >= 10


# -- errors ------------------------------------------------------------------------------------------------------------


def every_error(base: type[CbirError] = CbirError) -> Iterator[type[CbirError]]:
    """Yield a class of the tree and all below it that stand in `errors`."""
    yield base
    for error in base.__subclasses__():
        if error.__module__ == errors.__name__:
            yield from every_error(error)


def test_every_error_has_a_code_of_its_own() -> None:
    """No two classes share a wire code."""
    codes = [error.code for error in every_error()]
    assert len(codes) == len(set(codes))


def test_every_error_has_its_row() -> None:
    """Code, exit status and whether to try again stand in docs/protocol.md for every error, and for no other."""
    rows = section("protocol.md", "Errors").described
    documented = {(manual.code(row[0]), *row[1].partition(", ")[::2]) for row in rows}
    assert len(rows) == len(documented)
    assert documented == {
        (error.code, str(error.exit_status), "retryable" if error.retryable else "") for error in every_error()
    }


def test_every_exit_status_has_its_row() -> None:
    """docs/commands.md lists every exit status once, and no other; docs/protocol.md has the codes behind each."""
    listed = re.findall(r"^- (\d+): ", "\n".join(section("commands.md", "Exit statuses").lines), re.MULTILINE)
    assert [int(status) for status in listed] == sorted({0, 1, 130} | {error.exit_status for error in every_error()})


# -- commands ----------------------------------------------------------------------------------------------------------


class Leaf(NamedTuple):
    """A command without sub-commands, and its context."""

    command: click.Command
    context: click.Context


def leaves(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[tuple[str, Leaf]]:
    """Yield every command of a tree with its whole name."""
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    if isinstance(command, click.Group):
        if command.invoke_without_command and parent is not None:
            yield context.command_path, Leaf(command, context)
        for inner, found in sorted(command.commands.items()):
            yield from leaves(found, inner, context)
    else:
        yield context.command_path, Leaf(command, context)


COMMANDS = dict([*leaves(cbir, "cbir"), *leaves(cbir_daemon_command, "cbir-daemon")])
COMMAND_SECTIONS = {found.title: found for found in sections("commands.md") if found.level == 3}
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z0-9-]*")


def options(command: click.Command) -> dict[str, click.Option]:
    """Return the options of a command by every name they have."""
    return {name: option for option in command.params if isinstance(option, click.Option) for name in option.opts}


def documented_options(described: Section) -> dict[str, str]:
    """Return option -> default from a section's list."""
    return {
        name: row[1]
        for row in described.option_rows
        for code in manual.CODE.findall(row[0])
        for name in OPTION.findall(code)
    }


def test_every_command_has_its_section() -> None:
    """docs/commands.md has a section for each command of both trees, and for no other."""
    assert COMMAND_SECTIONS.keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_usage(name: str) -> None:
    """A section begins with the usage line that `--help` prints, where there are more than options."""
    command, context = COMMANDS[name]
    usage = command.get_usage(context).removeprefix("Usage: ")
    assert COMMAND_SECTIONS[name].usage == ("" if usage == f"{name} [OPTIONS]" else usage)


@pytest.mark.parametrize("name", COMMANDS)
def test_options_and_arguments(name: str) -> None:
    """A section lists every option and argument of its command, with its default, and no other."""
    command, context = COMMANDS[name]
    table = documented_options(COMMAND_SECTIONS[name])
    real = options(command)
    assert table.keys() == real.keys() - common_options(name.split()[0])
    for option, default in table.items():
        value = real[option].get_default(context)
        if isinstance(value, int | float) and not real[option].is_flag:
            assert default == f"`{value}`", option
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    names = [re.sub(r"\W", "", argument.make_metavar(context)) for argument in arguments]
    rows = [manual.code(row[0]) for row in COMMAND_SECTIONS[name].option_rows]
    if rows:
        assert [row for row in rows if not row.startswith("-")] == names
    else:
        # The text may say all of arguments that are required.
        assert all(argument.required for argument in arguments)
        assert all(f"`{argument}`" in "\n".join(COMMAND_SECTIONS[name].lines) for argument in names)


def common_options(tree: str) -> set[str]:
    """Return the options that have one row for all commands of a tree."""
    return {
        name for row in section("commands.md", tree).table("option") for name in OPTION.findall(manual.code(row[0]))
    }


def test_options_of_every_command_of_cbir() -> None:
    """What stands before a command of `cbir`, and what every one of them has, is in the table of all commands."""
    assert common_options("cbir") == options(cbir).keys() - {"--version"} | {"--json"}


def test_options_of_many_commands_of_cbir_daemon() -> None:
    """The table of common options names the commands that have each, or those that do not."""
    assert options(cbir_daemon_command).keys() == {"--version"}
    commands = {name.removeprefix("cbir-daemon ") for name in COMMANDS if name.startswith("cbir-daemon ")}
    rows = section("commands.md", "cbir-daemon").table("option", "commands")
    assert len(rows) >= 3
    for option, cell, *_ in rows:
        (name,) = OPTION.findall(manual.code(option))
        named = set(manual.CODE.findall(cell))
        having = {command for command in commands if name in options(COMMANDS[f"cbir-daemon {command}"].command)}
        assert having == (commands - named if cell.startswith("all") else named), name


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_documented_where_it_is(name: str) -> None:
    """A command has a list of fields when it has `--json`, and only then."""
    has_json = "--json" in options(COMMANDS[name].command)
    # Its document is one of another command's.
    assert bool(COMMAND_SECTIONS[name].fields) == (has_json and name != "cbir model fit")


def test_every_command_that_prints_data_has_json() -> None:
    """Every command of `cbir` prints JSON on demand, but the one whose answer is for a shell."""
    without = {name for name, leaf in COMMANDS.items() if "--json" not in options(leaf.command)}
    assert {name for name in without if name.startswith("cbir ")} == {"cbir completion"}


# -- answers -----------------------------------------------------------------------------------------------------------

CONTRACT: Mapping[str, str] = {
    "cbir query": """
        clock took_ms query query.digest query.width query.height matches matches[].path matches[].kind
        matches[].score matches[].map_distance matches[].transform matches[].transform.flip matches[].transform.turn
        matches[].transform.angle matches[].transform.invert matches[].overlap matches[].overlap.query
        matches[].overlap.match matches[].width matches[].height matches[].size""",
    "cbir status": """
        version clock state albums albums[].path albums[].state albums[].images albums[].errors images errors pending
        model model.n_neighbors model.n_components model.trustworthiness model.fitted_images model.projected_images
        model.fitted_at refit refit.running refit.changed_fraction refit.threshold refit.progress""",
    "cbir duplicates": """
        clock groups groups[].kind groups[].images groups[].images[].path groups[].images[].width
        groups[].images[].height groups[].images[].size groups[].images[].keep groups[].images[].why""",
    "cbir alerts": "id time path kind matches matches[].path matches[].kind matches[].score",
    "cbir model show": """
        n_neighbors n_components trustworthiness neighbor_recall fitted_images projected_images fitted_at duration_s
        peak_mib curve curve[].n_neighbors curve[].trustworthiness curve[].neighbor_recall""",
    "cbir errors": "errors errors[].path errors[].code errors[].message errors[].drawable",
}
"""Fields that users and other programs rely on: none is renamed or removed."""

HISTORY = "cbir model history"

UNSEEN = {
    "missing_extras[]",
    # Of what is no image: `process/test_media.py` sees it.
    *(f"matches[].place.{name}" for name in ("query", "match", "query[]", "match[]", "unit")),
    # Of a shared index: `process/test_shared.py` sees them.
    *(f"shared.{name}" for name in ("site", "state", "published", "due", "due_since", "unasked", "sites", "sites[]")),
    "matches[].site",
    "groups[].images[].site",
    "alerts[].matches[].site",
    "partial",
    "partial[]",
}
"""Fields of which there need be none: all extras are installed where the tests run."""


def field_tables() -> dict[str, dict[str, str]]:
    """Return the fields of each command's document and of each method's answer that has a list of its own."""
    tables = {name: found.fields for name, found in COMMAND_SECTIONS.items() if found.fields}
    tables |= {name: dict(documented.fields) for name, documented in DOCUMENTED.items() if documented.fields}
    tables["cbir model fit"] = manual.below(tables[HISTORY], "runs[]")
    return tables


TABLES = field_tables()


def test_every_method_s_answer_is_documented() -> None:
    """A method has the fields of its answer, or the command whose document it is."""
    for method, documented in DOCUMENTED.items():
        assert bool(documented.command) != bool(documented.fields), method
        assert not documented.command or documented.command in TABLES


class Fitted(Refit):
    """A fit that has just ended, and told its progress once; a real one takes most of a minute."""

    news: Iterator[ModelRun | None]

    def request(self) -> int:
        """Return a ticket without asking for anything."""
        return 1

    def outcome(self, ticket: int, timeout_s: float) -> ModelRun | None:
        """Return None first, then the run."""
        return next(self.news)


def put_map(state: Path, medium: str = IMAGE, code_version: str = matching.CODE_VERSION) -> None:
    """Make every content of a medium in a stopped daemon's index part of a map that nobody ever fitted."""
    store = Store(state / INDEX_FILE)
    store.open()
    try:
        ids = [content_id for piece in store.contents.all_vectors(medium=medium) for content_id, _ in piece]
        folder = start_folder(medium_folder(state / MODELS_FOLDER, medium))
        for name in SEALED_FILES:
            with new_file(folder / name) as file:
                file.write(b"never loaded: no content is without its position")
        artifact, sha256 = seal(folder, code_version, {"seed": 42})
        curve = (Trial(5, 2, 0.93, 0.5), Trial(5, 8, 0.95, 0.625))
        report = FitReport(5, 8, 0.95, 0.625, len(ids), 42, 12.5, 260.25, curve, artifact, sha256)
        begun = FitBegun("there is no map", code_version, len(ids), "tuned", ALL_NUMBERS, medium)
        run_id = store.runs.start(begun, 1_767_225_600.0)
        positions = np.random.default_rng(0).random((len(ids), 8)).astype("<f4")
        placed = [
            Placed(content_id, "fitted", row.tobytes(), row[:2].tobytes())
            for content_id, row in zip(ids, positions, strict=True)
        ]
        store.runs.activate(run_id, report, placed, 1_767_225_612.5)
    finally:
        store.close()


def processes_of(home: Path) -> list[str]:
    """Return the processes that were started with `home` in their environment and still live."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(home) in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # Gone meanwhile, or another user's.
    return found


class Scene:
    """A daemon on two albums, and all that it and its commands have answered."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.answers: dict[str, list[Mapping[str, Any]]] = {name: [] for name in TABLES}
        self.second = daemon.home / "other"
        self.first = daemon.album / "photo-0000.jpg"
        self.last = self.second / "photo-0010.jpg"

    def ask(self, command: str, *argv: str | Path) -> Any:  # noqa: ANN401 -- JSON
        """Run a command of `cbir` with `--json` and keep its answer."""
        answer = self.daemon.json(*command.split()[1:], *argv)
        self.answers[command].append(answer)
        return answer

    def make_albums(self) -> None:
        """Write a dozen pictures, two files of the same bytes, two that cannot be read, a name that is not UTF-8."""
        pictures.write_album(self.daemon.album, 10)
        pictures.write_album(self.second, 2, first_seed=10)
        same = Path(os.fsdecode(bytes(self.daemon.album) + b"/same-\xe9.jpg"))
        same.write_bytes(self.first.read_bytes())
        os.link(same, self.daemon.album / "z-link.jpg")
        (self.daemon.album / "none.jpg").write_bytes(b"not an image")
        (self.daemon.album / "cut.jpg").write_bytes(self.first.read_bytes()[:-500])

    def without_map(self) -> None:
        """Index; then let a copy come, which is told."""
        self.daemon.start(self.daemon.album, self.second)
        self.ask("cbir settle")
        self.ask("cbir status")
        self.ask("cbir query", self.first)
        self.ask("cbir query", self.page())
        self.watch()
        pictures.resaved(self.daemon.album / "photo-0001.jpg", self.daemon.album / "small.jpg")
        self.daemon.settle()
        self.answers["cbir alerts"] += self.daemon.alerts()
        self.ask("cbir dismiss", self.first, self.last)
        self.decide()
        self.ask("cbir undismiss", self.first, self.last)
        self.resolve()
        assert self.daemon.stop() == 0

    def watch(self) -> None:
        """Watch for a picture, list what is watched for, and send a test."""
        work = self.daemon.album / "photo-0001.jpg"
        for _ in range(2):
            self.ask("cbir watch add", work, "--name", "mine")
        self.ask("cbir watch list")
        self.daemon.json("watch", "add", self.first)
        self.ask("cbir watch remove", self.first.name)
        self.ask("cbir alerts test", "log")

    def decide(self) -> None:
        """List what was decided, give it back, and review the groups."""
        with Client([self.daemon.state / "socket"]) as client:
            self.answers["decisions"].append(client.decisions())
        decided = self.daemon.run("decisions", "list", "--json").stdout
        self.answers["cbir decisions list"] += [json.loads(line) for line in decided.splitlines()]
        imported = self.daemon.run("decisions", "import", "-", "--json", stdin=decided)
        self.answers["cbir decisions import"].append(json.loads(imported.stdout))
        for number, keys in enumerate((b"k\nk\n", b"s\nq\n")):
            done = self.daemon.run("review", "--json", "--plan", self.daemon.home / f"r{number}", stdin=keys)
            self.answers["cbir review"].append(json.loads(done.stdout))

    def resolve(self) -> None:
        """Plan, link, list and take back; a file that the plan keeps nothing for stays."""
        self.ask("cbir duplicates")
        self.ask("cbir resolve")
        plan = self.daemon.home / "plan"
        self.ask("cbir resolve", "--action", "hardlink", "--plan", plan)
        kept, *others = plan.read_text().splitlines()
        stranger = kept.replace(json.dumps(str(self.first))[1:-1], str(self.last)).replace('"keep"', '"move"')
        plan.write_text("\n".join((kept, *others, stranger.replace("}", ', "to": "/nowhere"}'))))
        self.ask("cbir resolve", "--plan", plan, "--apply")
        with Client([self.daemon.state / "socket"]) as client:
            for page in pages(client, "resolve_tasks", {"run": 1}):
                self.answers["resolve_tasks"].append(page["ok"])
            for page in pages(client, "resolve_runs"):
                self.answers["resolve_runs"].append(page["ok"])
            self.answers["resolve_check"].append(client.resolve_check(other_plan(plan)))
            self.answers["resolve_start"].append(client.resolve_start(other_plan(plan)))
            task = client.resolve_tasks(2)["tasks"][0]["task"]
            self.answers["resolve_note"].append(client.resolve_note(task, "skipped", reason="not now"))
        self.ask("cbir resolve", "--list")
        self.ask("cbir resolve", "--undo", "1")
        self.daemon.settle()

    def with_map(self) -> None:
        """Ask everything again, of a daemon that has a map."""
        put_map(self.daemon.state)
        self.daemon.start(self.daemon.album, self.second)
        self.daemon.settle()
        for command in ("query", "status", "errors", "duplicates", "scan", "album list", "model show", "model history"):
            self.ask(f"cbir {command}", *([self.daemon.album / "photo-0001.jpg"] if command == "query" else []))
        self.ask("cbir model plot")
        self.ask("cbir map", self.daemon.home / "map.html")
        (self.daemon.home / "empty").mkdir()
        self.ask("cbir album add", self.daemon.home / "empty")
        self.ask("cbir album remove", self.daemon.home / "empty")
        self.lose_an_album()
        for argv in ((), ("--deep",)):
            checked = self.daemon.run("doctor", "--json", *argv, command="cbir-daemon")
            self.answers["cbir-daemon doctor"].append(json.loads(checked.stdout))
        self.answers["cbir-daemon doctor"].append({"state": "", "findings": ["a sentence"]})

    def page(self) -> Path:
        """Write a page that shows the first picture, and return its path."""
        return pictures.save(pictures.on_a_page(pictures.load(self.first)), self.daemon.home / "page.png")

    def lose_an_album(self) -> None:
        """Take an album away, as an unplugged disk does, and ask for an image of it."""
        picture = self.last.read_bytes()
        self.second.rename(self.daemon.home / "away")
        self.daemon.settle()
        answer = json.loads(self.daemon.run("query", "-", "--json", stdin=picture).stdout)
        self.answers["cbir query"].append(answer)
        self.ask("cbir query", self.first, "--explain")
        self.ask("cbir status")

    def through_the_client(self) -> None:
        """Ask what no command prints as it comes."""
        with Client([self.daemon.state / "socket"]) as client:
            self.answers["hello"].append(client.hello())
            self.answers["cbir page"].append(self.shown())
            self.answers["backup"].append(client.backup(self.daemon.home / "copy"))
            self.answers["sheet"].append(client.ask("sheet", {"path": str(self.first)}))
            for form in ("png", "page"):
                self.answers["map"] += [ok for ok, _ in client.map(form=form)]
            self.answers["images"].append(client.images(paths=[self.first, self.second]))
            self.answers["map_grid"].append(grid := client.map_grid())
            self.answers["map_tile"].append(client.ask("map_tile", {"run": grid["run"]}))
            everywhere = [(-1.0, -1.0), (1000.0, -1.0), (1000.0, 1000.0), (-1.0, 1000.0)]
            self.answers["map_inside"].append(inside := client.map_inside(grid["run"], everywhere))
            self.answers["map_place"].append(client.map_place(inside["images"][0]["digest"]))
            digest = client.images(paths=[self.first])["images"][0]["digest"]
            self.answers["images"].append(client.images(digests=[digest]))
            small = client.images(paths=[self.daemon.album / "photo-0001.jpg", self.daemon.album / "small.jpg"])
            kept, copy = (image["digest"] for image in small["images"])
            self.answers["align"] += [client.align(kept, copy), client.align(digest, copy)]
            self.answers["dismiss_all"] += [client.dismiss_all([(kept, copy)], undo=undo) for undo in (False, True)]
            self.answers["cbir duplicates"].append(client.ask("duplicates", {"limit": 1}))
            self.answers["preview"].append(client.ask("preview", {"digest": digest}))
            cut_off = {"path": str(self.daemon.album / "cut.jpg")}
            self.answers["error_preview"].append(client.ask("error_preview", cut_off))
            self.answers["verify"] += [client.verify([self.first]), {"damaged": ["/album/a.jpg"], "alerts": 1}]
            self.answers["thumbnail"].append(client.ask("thumbnail", {"digest": digest}))
            self.answers["alerts"] += [page["ok"] for page in pages(client, "alerts")]
            self.answers["cbir model cancel"].append(client.model_cancel())
            assert self.answers["cbir model history"][-1] == client.model_history()

    def shown(self) -> Any:  # noqa: ANN401 -- JSON
        """Run the page until it has said where it is."""
        page = self.daemon.popen("page", "--port", "0", "--json")
        with page, page.stdout as output:  # type: ignore[union-attr]  # `popen` gives it a pipe
            answer = json.loads(output.readline())
            page.terminate()
            assert page.wait() == 0
        return answer

    def in_between(self) -> None:
        """Ask the same handlers while files are read and a map is fitted."""
        with ExitStack() as stack:
            rooms = rooms_of(self.daemon, stack)
            rooms.ingest.hint(b"/nowhere")
            images = rooms.maps.of(IMAGE)
            images.refit.state = RefitState(2, "tune", 0.25, "trying n_neighbors=5", 0.0)
            for done in (0, 5):
                rooms.ingest.batches.progress = Progress(found=10, done=done)
                self.answers["cbir status"].append(only_answer(rooms, "status"))
            run = rooms.store.runs.active()
            models_dir = self.daemon.state / MODELS_FOLDER
            fitted = Fitted(
                rooms.store, rooms.searcher, images.projection, models_dir, rooms.config.model, lambda: True
            )
            fitted.state, fitted.news = images.refit.state, iter((None, run))
            replies = [
                reply.ok
                for reply in model_fit(
                    replace(rooms, maps=Maps(rooms.store, [MediumMap(images.projection, fitted)])),
                    Request(1, "model_fit"),
                )
            ]
            self.answers["model_fit"] += replies
            self.answers["cbir model fit"].append(replies[-1]["run"])
            images.refit.state = None


def other_plan(plan: Path) -> bytes:
    """Return the plan of a run, the other way round: what was kept goes, and what went is kept."""
    kept, removed, *_ = plan.read_text().splitlines()
    return "\n".join((kept.replace('"keep"', '"trash"'), removed.replace('"hardlink"', '"keep"'))).encode()


def pages(client: Client, method: str, params: Mapping[str, Any] = MappingProxyType({})) -> Iterator[dict[str, Any]]:
    """Yield the messages of a stream."""
    for frame in client.frames(method, dict(params)):
        yield frame.message


def only_answer(rooms: handlers.Rooms, method: str) -> Any:  # noqa: ANN401 -- JSON
    """Return the answer of a handler that gives one."""
    (reply,) = handlers.handle(rooms, Request(1, method))
    return reply.ok


def rooms_of(daemon: Daemon, stack: ExitStack) -> handlers.Rooms:
    """Return the rooms of a service in this process, on the state of a daemon that has stopped; nothing is watched."""
    settings = config.load(config=daemon.config, state=daemon.state, environ={"HOME": str(daemon.home)})
    return stack.enter_context(Service(settings, lambda: settings).started()).handled


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """Give a running daemon that has answered everything once; afterwards nothing of it is left."""
    with living() as daemon:
        scene = Scene(daemon)
        scene.make_albums()
        scene.without_map()
        scene.with_map()
        scene.through_the_client()
        assert daemon.stop() == 0
        scene.in_between()
        daemon.start()
        yield scene
        assert daemon.stop() == 0
        assert processes_of(daemon.home) == []


@pytest.mark.process
@pytest.mark.parametrize("name", TABLES)
def test_answers_are_as_documented(scene: Scene, name: str) -> None:
    """Every answer has the fields of its list, each of its type, and no other; together they have them all."""
    answers = scene.answers[name]
    assert answers
    assert not [fault for answer in answers for fault in manual.faults(TABLES[name], answer)]
    assert TABLES[name].keys() - manual.seen(answers) <= UNSEEN


@pytest.mark.process
@pytest.mark.parametrize("name", TABLES)
def test_answers_are_of_their_types(scene: Scene, name: str) -> None:
    """Every answer has the fields of its type in `protocol.answers`, each of its type, and no other; they have all."""
    answers = scene.answers[name]
    fields = fields_of(type_of(name))
    assert answers
    assert not [fault for answer in answers for fault in manual.faults(fields, answer)]
    assert fields.keys() - manual.seen(answers) <= UNSEEN


@pytest.mark.process
@pytest.mark.parametrize("name", CONTRACT)
def test_what_users_rely_on_is_there(scene: Scene, name: str) -> None:
    """The fields of the contract are in the answers, under their names."""
    promised = set(CONTRACT[name].split())
    assert promised - manual.seen(scene.answers[name]) == set()


@pytest.mark.process
def test_kinds_come_in_order(scene: Scene) -> None:
    """Exact before copy before shot before similar, each by score."""
    order = ["exact", "copy", "shot", "similar"]
    for answer in scene.answers["cbir query"]:
        ranks = [(order.index(match["kind"]), -match["score"]) for match in answer["matches"]]
        assert ranks == sorted(ranks)
    kinds = {match["kind"] for answer in scene.answers["cbir query"] for match in answer["matches"]}
    assert kinds == set(order) - {"shot"}


@pytest.mark.process
def test_a_name_that_is_not_utf_8_travels_in_base64(scene: Scene) -> None:
    """Such a path is an object with its bytes, in a query and in a group."""
    path = bytes(scene.daemon.album) + b"/same-\xe9.jpg"
    encoded = {"b64": base64.b64encode(path).decode()}
    assert encoded in [match["path"] for match in scene.answers["cbir query"][0]["matches"]]
    groups = scene.answers["cbir duplicates"][0]["groups"]
    assert encoded in [image["path"] for group in groups for image in group["images"]]


@pytest.mark.process
def test_a_sheet_is_a_png(scene: Scene) -> None:
    """The blob of `sheet` is a PNG file, asked for by path and by bytes."""
    with Client([scene.daemon.state / "socket"]) as client:
        for image in (scene.first, scene.first.read_bytes()):
            assert client.sheet(image, limit=3).startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.process
def test_commands_print_what_the_daemon_answers(scene: Scene) -> None:
    """`--json` is the answer itself: nothing is added, left out or renamed."""
    with Client([scene.daemon.state / "socket"]) as client:
        client.settle()
        assert scene.daemon.json("status") == client.status()
        assert scene.daemon.json("duplicates") == client.duplicates()
        assert scene.daemon.json("errors") == client.errors()
        assert scene.daemon.json("album", "list") == client.album_list()
        assert scene.daemon.json("model", "show") == client.model_show()
        assert scene.daemon.json("model", "history") == client.model_history()
        assert scene.daemon.alerts() == list(client.alerts())


@pytest.mark.process
@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: f"{parameter.method}-{parameter.name}")
def test_every_documented_parameter_is_read(scene: Scene, parameter: Parameter) -> None:
    """A parameter of the wrong type is refused by its name, so it is one that the daemon reads."""
    others = {
        asked.name: "/nowhere" for asked in PARAMETERS if asked.method == parameter.method and asked.default == ""
    }
    # `dismiss` looks at the first file before it reads the second.
    others |= {"first": str(scene.first)} if "first" in others else {}
    others |= {"keep": "0" * 64} if "keep" in others else {}
    with Client([scene.daemon.state / "socket"]) as client, pytest.raises(BadRequestError) as caught:
        client.ask(parameter.method, {**others, parameter.name: {"wrong": True}})
    assert f"parameter {parameter.name!r}" in caught.value.message


@pytest.mark.process
@pytest.mark.parametrize("method", sorted({parameter.method for parameter in PARAMETERS if not parameter.default}))
def test_parameters_without_a_default_must_be_given(scene: Scene, method: str) -> None:
    """A parameter without a default in the list is missed, by its name, when it is not given."""
    first = next(parameter.name for parameter in PARAMETERS if parameter.method == method)
    with (
        Client([scene.daemon.state / "socket"]) as client,
        pytest.raises(BadRequestError, match=f"{first!r} is missing"),
    ):
        client.ask(method, {})


@pytest.mark.process
def test_what_is_not_known_is_ignored(scene: Scene) -> None:
    """A parameter that no method has changes nothing, and neither does a field of the message."""
    with Client([scene.daemon.state / "socket"]) as client:
        assert client.ask("album_list", {"colour": "red"}) == client.album_list()
