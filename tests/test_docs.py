"""The documents and reality: every link leads somewhere, every example and name is one of the program's own."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import cbir_daemon
from cbir_daemon.cli import matches, overview, text
from cbir_daemon.cli.dots import dots
from cbir_daemon.cli.drawing.curve_data import curve_of
from cbir_daemon.cli.map import drawn
from cbir_daemon.config import places
from cbir_daemon.config.settings import SECTIONS
from cbir_daemon.local_features import LOCAL
from cbir_daemon.map import MODEL_VERSION
from cbir_daemon.map.neighbors import NEAREST
from cbir_daemon.matching import CODE_VERSION
from cbir_daemon.meaning.meaning import MEANING_VERSION
from cbir_daemon.pictures import PICTURES
from cbir_daemon.protocol import framing, messages
from cbir_daemon.records import LOOK
from cbir_daemon.search import code_table
from cbir_daemon.search.neighborhood import NEIGHBORHOOD_SHARE
from cbir_daemon.search.search import MAX_NEAR, MIN_NEAR
from cbir_daemon.serving import handlers, server
from cbir_daemon.serving.handlers.overview import CAPABILITIES
from cbir_daemon.store import SCHEMA_VERSION
from cbir_daemon.system.child import Child
from tests import manual
from tests.manual import DOCS, Section, section, sections
from tests.places import CHECKOUT
from tests.test_architecture import DOORS, FLOORS, HEIGHT, NAME

PACKAGE = Path(cbir_daemon.__file__).parent
TESTS = Path(__file__).parent
ALL_DOCS = sorted(path.name for path in DOCS.glob("*.md"))
INDEX = "README.md"
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
SOURCE = re.compile(r"`([a-z_/]+\.py)`")

FILES = {"model.joblib"}
"""Names in backticks that look like settings."""

Lines = Callable[[Any], Iterable[str]]

AS_TEXT: dict[str, Lines] = {
    "cbir query": matches.matches,
    "cbir status": overview.overview,
    "cbir album list": lambda answer: text.albums(answer["albums"]),
    "cbir errors": text.errors,
    "cbir duplicates": text.groups,
    "cbir decisions list": lambda answer: text.decisions([answer]),
    "cbir resolve": text.tasks,
    "cbir review": lambda answer: [text.reviewed(answer)],
    "cbir alerts": lambda answer: [text.alert(answer)],
    "cbir alerts test": text.tested,
    "cbir watch add": text.watched,
    "cbir watch list": text.works,
    "cbir model show": text.model,
    "cbir model history": text.history,
    "cbir model plot": lambda answer: dots(curve_of(answer)),
    "cbir map": drawn,
}
"""Command -> what makes text of its answer.  Those that say one short line have none."""


def anchor(title: str) -> str:
    """Return the name that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def documents(described: Section) -> list[dict[str, Any]]:
    """Return the JSON examples of a section."""
    decoder = json.JSONDecoder()
    found: list[dict[str, Any]] = []
    for block in described.blocks("json"):
        rest = block
        while rest:
            document, end = decoder.raw_decode(rest)
            found.append(document)
            rest = rest[end:].strip()
    return found


EXAMPLES = {found.title: found for found in sections("commands.md") if found.blocks("json")}


def test_every_document_is_in_the_index() -> None:
    """The index has one line for each document, and no other."""
    listed = [target for line in section(INDEX, "Documents").lines for target in LINK.findall(line)]
    assert sorted(listed) == [name for name in ALL_DOCS if name != INDEX]


@pytest.mark.parametrize("name", ALL_DOCS)
def test_links_lead_somewhere(name: str) -> None:
    """Every link between documents names a file that is there, and a heading in it."""
    broken = []
    for target in LINK.findall((DOCS / name).read_text(encoding="utf-8")):
        path, _, heading = target.partition("#")
        if "://" in target:
            continue
        file = DOCS / path if path else DOCS / name
        if not file.exists() or (heading and heading not in {anchor(target.title) for target in sections(file.name)}):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_the_checkout_lead_somewhere(name: str) -> None:
    """Every link of a page at the top of the checkout names a file in it, and a heading in that file."""
    broken = []
    for target in LINK.findall((CHECKOUT / name).read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        # The package may be an installed one: its documents are where it is.
        file = PACKAGE.parent / path if path.startswith(f"{PACKAGE.name}/") else CHECKOUT / path
        if not file.exists() or (heading and heading not in {anchor(target.title) for target in sections(file.name)}):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("name", ALL_DOCS)
def test_sources_that_are_named_are_there(name: str) -> None:
    """Every `folder/module.py` in a document is a file of the package, or of the tests; a room may be left out."""
    files = [str(path) for root in (PACKAGE, CHECKOUT / "tests") for path in root.rglob("*.py")]
    named = set(SOURCE.findall((DOCS / name).read_text(encoding="utf-8")))
    assert not {path for path in named if not any(file.endswith(f"/{path}") for file in files)}


def test_the_vocabulary_of_types_is_explained() -> None:
    """Every word for a type stands in the list of types, and every type there is used."""
    listed = re.findall(r"^- ([\w, ]+): ", "\n".join(section("commands.md", "JSON").lines), re.MULTILINE)
    explained = {word for words in listed for word in words.split(", ")}
    cells = [
        row[1]
        for name in ("commands.md", "protocol.md")
        for described in sections(name)
        for row in (*described.field_rows, *described.parameter_rows)
    ]
    cells += [row[1] for method in manual.methods().values() for row in method.parameters]
    used = {word for cell in cells for word in manual.alternatives(cell) if not word.startswith("`")}
    assert used - {"null"} == explained
    assert explained | {"null"} == set(manual.WORDS)


# -- examples ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", EXAMPLES)
def test_examples_have_the_documented_fields(title: str) -> None:
    """An example has every field of its list, each of its type, and no other."""
    example = EXAMPLES[title]
    found = documents(example)
    assert found
    assert not [fault for document in found for fault in manual.faults(example.fields, document)]


@pytest.mark.parametrize("title", AS_TEXT)
def test_text_is_what_the_command_makes_of_the_answer(title: str) -> None:
    """The text below an example is what the command prints for that very document."""
    example = EXAMPLES[title]
    lines = [line for document in documents(example) for line in AS_TEXT[title](document)]
    assert example.blocks("text") == ["\n".join(lines)]


def test_every_json_answer_has_an_example() -> None:
    """Every command whose document has more than two fields shows one, and its text."""
    with_fields = {described.title for described in sections("commands.md") if len(described.fields) > 2}
    assert with_fields == EXAMPLES.keys()
    assert all(len(EXAMPLES[title].blocks("text")) == 1 for title in with_fields)


# -- protocol ----------------------------------------------------------------------------------------------------------


def test_limits_of_the_protocol() -> None:
    """The numbers in the list of limits are those of the code."""
    limits = dict(re.findall(r"^- (.*?): (.*)", "\n".join(section("protocol.md", "Framing").lines), re.MULTILINE))
    numbers = {what: int(found[0]) for what, value in limits.items() if (found := re.findall(r"^\d+", value))}
    assert numbers == {
        "longest line, newline included": framing.MAX_LINE_BYTES,
        "pause inside a message": server.FRAME_TIMEOUT_S,
        "wait for a client that does not read its answers": server.FRAME_TIMEOUT_S,
        "wait for the next request": server.IDLE_TIMEOUT_S,
        "longest path of the socket": places.MAX_SOCKET_PATH_BYTES,
    }


def test_settings_that_are_named_are_there() -> None:
    """Every `section.key` that a document names is a setting."""
    known = {f"{name}.{key.name}" for name, kind in SECTIONS.items() for key in fields(kind)}
    documented = {field for described in sections("commands.md") for field in described.fields}
    shape = re.compile(rf"`((?:{'|'.join(SECTIONS)})\.(?!py`)[a-z_]+)`")
    for name in ALL_DOCS:
        named = set(shape.findall((DOCS / name).read_text(encoding="utf-8")))
        assert not named - known - documented - FILES, name


def test_capabilities() -> None:
    """The capabilities in the list are those that `hello` gives."""
    assert [manual.code(row[0]) for row in section("protocol.md", "Versions").described] == list(CAPABILITIES)


def test_messages_have_the_documented_fields() -> None:
    """Requests, answers and refusals are made of the fields in the lists."""
    request_fields, answer_fields = (
        {manual.code(row[0]): row[1] for row in rows} for _, rows in section("protocol.md", "Messages").lists()
    )
    request = json.loads(framing.encode(messages.Request(1, "query", {"limit": 3}).to_message(), b"123")[:-3])
    answer = json.loads(framing.encode(messages.answer("x", {}, 3, more=True), b"123")[:-3])
    refusal = messages.refusal(None, messages.ERRORS["busy"]("later"), 3)
    assert request.keys() == request_fields.keys()
    assert answer.keys() | refusal.keys() == answer_fields.keys()
    assert not list(manual.faults(request_fields, {**request, "params": {}}))
    assert not list(manual.faults(answer_fields, answer))
    assert not list(manual.faults(answer_fields, {**refusal, "error": {}}))


def test_messages_that_are_shown_are_messages() -> None:
    """Every message in the text is JSON, of the version that it shows, and has the fields of its lists."""
    source = (DOCS / "protocol.md").read_text(encoding="utf-8")
    shown = [json.loads(line) for line in re.findall(r"^    (?:\$ echo ')?(\{.*?\})(?:'.*)?$", source, re.MULTILINE)]
    assert len(shown) == 5
    assert {message["v"] for message in shown} == {messages.VERSION}
    request_fields, answer_fields = (
        {manual.code(row[0]): row[1] for row in rows} for _, rows in section("protocol.md", "Messages").lists()
    )
    asked = {message["id"]: message for message in shown if "method" in message}
    methods = manual.methods()
    for message in shown:
        tables = request_fields if "method" in message else answer_fields
        plain = {name: {} if isinstance(value, dict) else value for name, value in message.items()}
        assert not list(manual.faults(tables, plain)), message
        parameters = (
            {manual.code(row[0]) for row in methods[message["method"]].parameters} if "method" in message else set()
        )
        assert message.get("params", {}).keys() <= parameters
        if "ok" in message:
            answered = methods[asked[message["id"]]["method"]]
            table = section("commands.md", answered.command).fields if answered.command else answered.fields
            assert not list(manual.faults(table, message["ok"])), message


def test_methods_that_stream_are_listed() -> None:
    """The list of streams has the methods whose handlers give more than one answer, and what comes in pages."""
    listed = {manual.code(row[0]): row[2] for row in section("protocol.md", "Streams").described}
    calls = {name: _calls_of(handler) for name, handler in handlers.METHODS.items()}
    streams = {name for name, found in calls.items() if any(_is_stream(call) for call in found)}
    assert listed.keys() == streams
    pages = {name: _paged_field(call) for name, found in calls.items() for call in found if _is_paged(call)}
    assert len(pages) >= 8
    for name, field in pages.items():
        assert field in listed[name], name


def _calls_of(handler: Callable[..., object]) -> list[ast.Call]:
    """Return the calls in a handler."""
    tree = ast.parse(Path(inspect.getfile(handler)).read_text(encoding="utf-8"))
    named = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    return [node for node in ast.walk(named[handler.__name__]) if isinstance(node, ast.Call)]


def _is_paged(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "paged"


def _paged_field(call: ast.Call) -> str:
    """Return the field that holds the rows: in `paged(rows, lambda page: {..., "field": page})`."""
    answer = call.args[1]
    assert isinstance(answer, ast.Lambda)
    assert isinstance(answer.body, ast.Dict)
    page = answer.args.args[0].arg
    (field,) = (
        key.value
        for key, value in zip(answer.body.keys, answer.body.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(value, ast.Name) and value.id == page
    )
    return str(field)


def _is_stream(call: ast.Call) -> bool:
    return _is_paged(call) or any(keyword.arg == "more" for keyword in call.keywords)


# -- reliability -------------------------------------------------------------------------------------------------------


def test_every_fault_names_tests_that_are_there() -> None:
    """Each fault ends with tests in brackets, as `file.py::test`, and each file has its test."""
    text = (DOCS / "reliability.md").read_text(encoding="utf-8")
    faults = [" ".join(fault.split()) for fault in re.findall(r"^- (.*?)(?=^- |^$)", text, re.MULTILINE | re.DOTALL)]
    named = [re.findall(r"`([^`]+::[^`]+)`", fault.rpartition("(")[2]) for fault in faults]
    assert len(faults) >= 50
    assert all(named)
    for test in (test for tests in named for test in tests):
        file, _, name = test.partition("::")
        source = (TESTS / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {name}\(", source, re.MULTILINE), test


# -- architecture ------------------------------------------------------------------------------------------------------


def test_every_room_is_described() -> None:
    """The list of rooms has every room, on its floor, and the libraries of which it is the one door."""
    rows = section("architecture.md", "The rooms").described
    rooms = [room for floor in FLOORS for room in floor if room != NAME]
    assert sorted(manual.code(row[0]) for row in rows) == sorted(rooms)
    floors = {room: number for number, floor in enumerate(FLOORS) for room in floor}
    assert sorted(rows, key=lambda row: floors[manual.code(row[0])]) == rows
    for row in rows:
        owned = {library for library, rooms in DOORS.items() if rooms == {manual.code(row[0])}}
        assert {name for name in row[1].removeprefix("door to ").split(", ") if name} == owned, row


def test_the_line_is_drawn_of_rooms_that_are_there() -> None:
    """Each name in brackets is a room, and what stands behind its colon are modules of that room."""
    (drawn,) = section("architecture.md", "The line").blocks("")
    boxes = re.findall(r"\[(\w+)(?:: ([\w, ]+))?\]", drawn)
    assert len(boxes) >= 10
    for room, modules in boxes:
        assert room in HEIGHT
        for module in filter(None, modules.split(", ")):
            assert any((PACKAGE / room / module).with_suffix(suffix).exists() for suffix in ("", ".py")), module


def test_every_thread_is_described() -> None:
    """The list of threads names every thread that the daemon gives a name, and where it is made."""
    rows = section("architecture.md", "Threads of the daemon").described
    described = {manual.code(row[0]): manual.code(row[1] or "`daemon/service.py`") for row in rows}
    for name, file in described.items():
        tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
        literals = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert name in literals, f"no thread {name} in {file}"
    assert described.keys() == _thread_names()


def _thread_names() -> set[str]:
    """Return the names in the code: of `Thread(name="...")`, and those that the service starts rooms under."""
    names: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        names |= set(re.findall(r"Thread\([^\n]*name=\"(\w+)\"", source))
        names |= set(re.findall(r"thread_name_prefix=\"(\w+)\"", source))
        names |= set(re.findall(r"_start_thread\(\"(\w+)\"", source))
    return names


SERVICE = ast.parse((PACKAGE / "daemon" / "service.py").read_text(encoding="utf-8"))


def _body(name: str) -> ast.FunctionDef:
    """Return a method of the service."""
    return next(node for node in ast.walk(SERVICE) if isinstance(node, ast.FunctionDef) and node.name == name)


def _words(step: str, known: set[str]) -> list[str]:
    return [word for word in re.findall(r"`(\w+)`", step) if word in known]


def test_threads_start_in_the_order_that_is_described() -> None:
    """The steps of *Start* name the threads in the order of the calls that start them."""
    steps = ast.unparse(_body("started"))
    assert steps.index("self._listen(") < steps.index("self._start_threads(")
    source = ast.unparse(_body("_listen")) + ast.unparse(_body("_start_threads"))
    names = re.findall(r"_start_thread\('(\w+)'", source)
    assert len(names) == 13
    assert _words("\n".join(section("architecture.md", "Start").lines), set(names)) == names


def test_rooms_stop_in_the_order_that_is_described() -> None:
    """The third step of *Stop* names the threads in the order in which they are asked to end."""
    loop = next(node for node in ast.walk(_body("_stop_threads")) if isinstance(node, ast.For))
    asked = re.findall(r"(\w+)[,)]", ast.unparse(loop.iter))
    threads = {"searcher": ("searching",), "describer": ("describing",), "maps": ("refit", "projection")}
    names = [name for room in asked for name in threads.get(room, (room,))]
    step = re.search(r"^3\. .*?wait", "\n".join(section("architecture.md", "Stop").lines), re.MULTILINE | re.DOTALL)
    assert step is not None
    assert _words(step[0], set(names)) == names


def test_the_state_on_disk_is_described() -> None:
    """The list names every file and folder for which the code has a constant."""
    described = "\n".join(section("architecture.md", "The state on disk").lines)
    constant = re.compile(r"^(?:\w+_)?(?:FILE|FOLDER) = \"([^\"]+)\"", re.MULTILINE)
    files = [
        PACKAGE / room
        for room in ("daemon/service.py", "daemon/rooms.py", "map/artifact.py", "map/stages.py", "map/fitting.py")
    ]
    files.append(PACKAGE / "map" / "environment.py")
    names = {name for file in files for name in constant.findall(file.read_text(encoding="utf-8"))}
    assert len(names) >= 10
    assert not {name for name in names if name not in described}


def test_every_process_is_described() -> None:
    """The list of processes names every module that is run as a child, and who starts it."""
    lines = [line for line in section("architecture.md", "Processes").lines if line.startswith("- ")]
    children = {manual.code(line) for line in lines} - {"cbir-daemon run", "cbir page"}
    mains = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
    }
    assert children == mains
    assert Child.__module__ == "cbir_daemon.system.child"


def test_versions() -> None:
    """The versions in the table are those of the code."""
    described = {row[0]: row[2].strip("`") for row in section("architecture.md", "Versions").table("version")}
    assert described == {
        "protocol": str(messages.VERSION),
        "schema": str(SCHEMA_VERSION),
        "extractor": PICTURES.extractor,
        "codes": CODE_VERSION,
        "coarse codes": str(code_table.LAYOUT),
        "looks": LOOK.version,
        "local features": LOCAL.version,
        "meaning": str(MEANING_VERSION),
        "artifact": MODEL_VERSION,
    }


def test_what_is_named_beside_a_source_is_in_it() -> None:
    """Where the page says `name` in `file.py`, the file defines or uses that name."""
    source = " ".join((DOCS / "architecture.md").read_text(encoding="utf-8").split())
    pairs = re.findall(r"`(\w+)`(?: and `(\w+)`)? in `([a-z_/]+\.py)`", source)
    assert len(pairs) >= 8
    for *names, file in pairs:
        path = next(root / file for root in (PACKAGE, CHECKOUT) if (root / file).is_file())
        body = path.read_text(encoding="utf-8")
        assert all(re.search(rf"\b{name}\b", body) for name in names if name), (names, file)


# -- running -----------------------------------------------------------------------------------------------------------


def _template(sentence: ast.expr) -> str:
    """Return a sentence of the code with `…` for each value in it."""
    parts = sentence.values if isinstance(sentence, ast.JoinedStr) else [sentence]
    words = [str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts]
    return re.sub(r"…( …)+", "…", "".join(words))


def test_every_problem_of_status_is_described() -> None:
    """The list of problems has the sentence of each `Problem` that the code makes, and no other."""
    made = {
        _template(node.args[0])
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem"
    }
    assert len(made) >= 16
    described = [manual.code(row[0]) for row in section("running.md", "What is wrong").described]
    assert sorted(described) == sorted(made)


# -- model -------------------------------------------------------------------------------------------------------------


def test_the_width_of_a_neighbourhood() -> None:
    """The page of the model has the share, and the least and the most that `similar` looks at."""
    (said,) = re.findall(
        r"^\*\*Neighbourhood\.\*\*.*?\n\n", (DOCS / "model.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", said)]
    assert numbers == [NEIGHBORHOOD_SHARE * 100, NEAREST, MIN_NEAR, MAX_NEAR]
