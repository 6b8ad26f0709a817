"""The house: imports go downstairs, each foreign library has one door, and what must start fast loads little.

A new module that is no room yet fails here: give it a floor in `FLOORS`, and a line in docs/architecture.md.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import cbir_daemon

PACKAGE = Path(cbir_daemon.__file__).parent
NAME = "cbir_daemon"

FLOORS = (
    ("cli", "library"),
    ("daemon",),
    ("serving",),
    ("duplicates", "indexing", "map", "shared"),
    ("alerts", "meaning", "pictures", "search", "sound", "text"),
    ("media",),
    ("decode", "page", "store", "watching"),
    ("client", "installing", "resolving"),
    ("system",),
    ("config", "local_features", "matching", "protocol", "wording"),
    ("part_medium",),
    ("medium",),
    ("comparison", "errors", "kinds", "platforms", "records"),
    (NAME,),
)
"""From the top to the ground.  A room sees only what lies below its floor; the ground is the version number."""

DOORS = {
    # `pictures` reads files; the workers of `decode` draw sheets and maps.
    "PIL": {"decode", "pictures"},
    "apprise": {"alerts"},
    # Decodes sound; only workers import it.
    "av": {"sound"},
    "click": {"cli"},
    # Found and described there; compared with numpy alone.
    "cv2": {"local_features"},
    # Workers that share the work of a fit.
    "distributed": {"map"},
    # The daemon's lists of views, and the fit's of codes: two processes that share no line (see map/inverted.py).
    "faiss": {"map", "search"},
    "joblib": {"map"},
    "matplotlib": {"cli"},
    # `matching`, `map`, `pictures` and `search` calculate; the others only hand arrays on.
    "numpy": {
        "duplicates",
        "local_features",
        "map",
        "matching",
        "media",
        "meaning",
        "medium",
        "part_medium",
        "pictures",
        "search",
        "serving",
        "shared",
        "sound",
        "text",
    },
    # Writes a graph once, and runs it.
    # The page's HTTP: parsed, served, routed.
    "h11": {"page"},
    "onnx": {"meaning"},
    "onnxruntime": {"meaning"},
    "pymilvus": {"shared"},
    "pypdfium2": {"text"},
    "rich": {"cli"},
    "scipy": {"map"},
    "sqlite3": {"store"},
    "starlette": {"page"},
    "umap": {"map"},
    "uvicorn": {"page"},
    "watchdog": {"watching"},
}
"""Which rooms may import a library that is not ours.  sqlite3 is in the list because SQL is a language of its own."""

CLIENT_SEES = {
    *(
        "cli",
        "client",
        "page",
        "resolving",
        "protocol",
        "config",
        "wording",
        "comparison",
        "errors",
        "kinds",
        "platforms",
        "records",
        NAME,
    ),
}
PAGE_SERVER = {file.stem for file in PACKAGE.joinpath("page").glob("*.py")} - {"applier"}
"""Modules of `page` that are not the child's, which puts files into the trash."""

DAEMON_SIDE = {"daemon", "first_run", "installing", "logs", "manuals", "progress", "start"}
"""Modules of `cli` for `cbir-daemon`; the others are the client."""

BY_NAME = {"matching": {"daemon"}, "pictures": {"daemon"}, "sound": set[str]()}
"""Who may name a medium and its functions, or a reader and its; every other room is passed a `Medium` or a `Reader`."""

LENT = {NAME: {f"{NAME}.library"}}
"""What a room imports for type checkers only, so that its users find it there."""

HEIGHT = {room: -number for number, floor in enumerate(FLOORS) for room in floor}


@dataclass(frozen=True)
class Import:
    """One import statement: where it stands and the module that it names."""

    file: Path
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(PACKAGE.parent)}:{self.line} imports {self.module}"

    @property
    def room(self) -> str:
        """The room in which the statement stands."""
        return room_of_file(self.file)

    @property
    def top(self) -> str:
        """First part of the imported module's name."""
        return self.module.partition(".")[0]


def room_of_file(file: Path) -> str:
    """Return the room that a source file belongs to."""
    part = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return NAME if part == "__init__" else part


def module_of_file(file: Path) -> str:
    """Return the dotted name of a source file."""
    return ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def room_of_module(module: str) -> str:
    """Return the room of one of our modules, given by its dotted name."""
    return module.split(".")[1] if "." in module else NAME


def source_files() -> list[Path]:
    """Return every module of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def imports_of(file: Path) -> Iterator[Import]:
    """Yield every import in a file, those inside functions and for type checkers included."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Import(file, node.lineno, name) for name in named(node))


def named(node: ast.ImportFrom) -> Iterator[str]:
    """Yield the modules that `from ... import ...` names: in `from cbir_daemon import store` it is the room."""
    module = node.module or ""
    for alias in node.names:
        inner = (module.replace(".", "/"), alias.name)
        is_module = any(PACKAGE.parent.joinpath(*inner).with_suffix(suffix).exists() for suffix in ("", ".py"))
        yield f"{module}.{alias.name}" if is_module else module


@cache
def all_imports() -> list[Import]:
    """Return every import of the package."""
    return [found for file in source_files() for found in imports_of(file)]


def ours() -> list[Import]:
    """Return the imports of our own modules; not what the package lends its name to, which it imports when asked."""
    return [found for found in all_imports() if found.top == NAME and found.module not in LENT.get(found.room, ())]


def foreign() -> list[Import]:
    """Return the imports of libraries that are not ours; _typeshed is only there for type checkers."""
    known = sys.stdlib_module_names - {"sqlite3"} | {NAME, "_typeshed"}
    return [found for found in all_imports() if found.top not in known]


def test_every_module_belongs_to_a_room() -> None:
    """No file lies in a room that has no floor."""
    homeless = {room_of_file(file) for file in source_files()} - HEIGHT.keys()
    assert not homeless, f"give these a floor in FLOORS of {__file__}: {', '.join(sorted(homeless))}"


def test_every_floor_is_lived_on() -> None:
    """No room is listed that is not there."""
    gone = HEIGHT.keys() - {room_of_file(file) for file in source_files()}
    assert not gone, f"take these out of FLOORS of {__file__}: {', '.join(sorted(gone))}"


def test_imports_go_downstairs() -> None:
    """A room imports itself and rooms on lower floors, nothing beside or above it."""
    upwards = [
        f"{found}: {room_of_module(found.module)} is not below {found.room}"
        for found in ours()
        if room_of_module(found.module) != found.room
        and HEIGHT.get(room_of_module(found.module), 0) >= HEIGHT.get(found.room, 0)
    ]
    assert not upwards, "\n".join(upwards)


def test_each_library_has_its_door() -> None:
    """A foreign library is imported only in the rooms that own it."""
    wrong = [
        f"{found}: {', '.join(sorted(DOORS[found.top])) if found.top in DOORS else 'nobody, add it to DOORS,'} may"
        for found in foreign()
        if found.room not in DOORS.get(found.top, ())
    ]
    assert not wrong, "\n".join(wrong)


def test_every_door_is_used() -> None:
    """No room is listed as a door of a library that it does not import."""
    used = {(found.top, found.room) for found in foreign()}
    unused = [
        f"{library} in {room}" for library, rooms in DOORS.items() for room in rooms if (library, room) not in used
    ]
    assert not unused, f"take these out of DOORS: {', '.join(sorted(unused))}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    """The modules inside a room form no circle either."""
    modules = {module_of_file(file): file for file in source_files()}
    below = {module: {found.module for found in ours() if found.file == file} for module, file in modules.items()}
    unsorted = dict(below)
    while ground := [module for module, imported in unsorted.items() if not imported & unsorted.keys() - {module}]:
        for module in ground:
            del unsorted[module]
    assert not unsorted, f"these import each other: {', '.join(sorted(unsorted))}"


@pytest.mark.parametrize("room", BY_NAME)
def test_who_reads_and_compares_is_passed_how(room: str) -> None:
    """Nobody but the daemon, which passes it in, imports how files become vectors and how these are compared."""
    wrong = [
        str(found)
        for found in ours()
        if room_of_module(found.module) == room and found.room not in BY_NAME[room] | {room}
    ]
    assert not wrong, "\n".join(wrong)


def test_the_daemon_names_its_medium_and_reader_once() -> None:
    """In the module that opens the rooms: two places could differ."""
    naming = {
        module_of_file(found.file)
        for found in ours()
        if found.room == "daemon"
        if room_of_module(found.module) in BY_NAME
    }
    assert naming == {f"{NAME}.daemon.rooms"}


def test_the_client_knows_only_the_wire() -> None:
    """The commands of `cbir` see the client, the protocol and the places, and nothing of the daemon."""
    forbidden = {f"{NAME}.cli.{module}" for module in DAEMON_SIDE}
    wrong = [
        str(found)
        for found in ours()
        if found.room == "cli" and found.file.stem not in DAEMON_SIDE
        if room_of_module(found.module) not in CLIENT_SEES or found.module in forbidden
    ]
    assert not wrong, "\n".join(wrong)


def test_the_code_that_moves_files_is_the_client_s() -> None:
    """Nothing of the daemon imports `resolving`, not even inside a function: only `cbir` and the page's child do."""
    wrong = [
        str(found)
        for found in ours()
        if room_of_module(found.module) == "resolving"
        if found.room not in ("cli", "page", "resolving")
        or found.file.stem in {"cli": DAEMON_SIDE, "page": PAGE_SERVER}.get(found.room, ())
    ]
    assert not wrong, "\n".join(wrong)


def modules_loaded_by(code: str) -> set[str]:
    """Return the modules that are loaded in a fresh process after `code` ran."""
    program = f"import atexit, sys\natexit.register(lambda: print(*sys.modules, file=sys.stderr))\n{code}"
    done = subprocess.run(  # noqa: S603 -- our own interpreter and code
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return set(done.stderr.splitlines()[-1].split())


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that are loaded in a fresh process after `code` ran."""
    return {module.partition(".")[0] for module in modules_loaded_by(code)}


def test_the_client_starts_light() -> None:
    """`cbir --help` loads neither numpy nor any library that reads, stores or fits images."""
    code = f"from {NAME}.cli import main\nsys.argv = ['cbir', '--help']\nmain()"
    heavy = {"numpy", "scipy", "PIL", "umap", "numba", "sklearn", "joblib", "sqlite3", "watchdog", "matplotlib"}
    assert "click" in (loaded := loaded_by(code))
    assert not heavy & loaded


def test_the_package_is_imported_light() -> None:
    """`import cbir_daemon` loads nothing else, and the library on a socket neither numpy nor anything of the daemon."""
    assert not {module for module in modules_loaded_by(f"import {NAME}") if module.startswith(f"{NAME}.")}
    loaded = modules_loaded_by(f"from {NAME} import Index")
    rooms = {room_of_module(module) for module in loaded if module.startswith(f"{NAME}.")}
    assert rooms == {"library", *CLIENT_SEES} - {"cli", "page", "platforms", "resolving", "wording", NAME}
    assert not {"numpy", "sqlite3", "click"} & loaded


def test_the_service_starts_without_the_children_s_libraries() -> None:
    """The daemon's own process loads neither UMAP, nor networks, nor the decoder of untrusted bytes."""
    assert "numpy" in (loaded := loaded_by(f"import {NAME}.daemon.service"))
    assert not {"umap", "numba", "sklearn", "PIL", "onnx", "onnxruntime"} & loaded


def test_the_service_loads_no_medium_that_nobody_asked_for() -> None:
    """What `media` does not name is not imported, and asking which media there are imports none."""
    loaded = modules_loaded_by(
        f"import {NAME}.daemon.service; from {NAME}.media import load, names; names(); load(['image'])"
    )
    assert f"{NAME}.media.registry" in loaded
    assert not {
        module for module in loaded if room_of_module(module) in {"sound", "text"} or module.endswith("conformance")
    }


def test_a_daemon_does_not_load_the_code_that_moves_files() -> None:
    """Whatever `cbir-daemon` loads to run, nothing of `resolving` is in its process."""
    code = f"import {NAME}.cli.start, {NAME}.cli.daemon, {NAME}.daemon.service"
    loaded = modules_loaded_by(code)
    assert f"{NAME}.daemon.service" in loaded
    assert not {module for module in loaded if room_of_module(module) == "resolving"}
