"""Both commands as their users meet them: help texts, mistakes, exit statuses.  No daemon runs here.

`tests/golden/help.txt` holds every help text; `python -m tests.test_cli > tests/golden/help.txt` writes it anew.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cbir_daemon import __version__, config
from cbir_daemon.cli import client as client_commands
from cbir_daemon.cli import daemon as daemon_commands
from cbir_daemon.cli.ending import INTERRUPTED
from cbir_daemon.cli.running import status_of
from cbir_daemon.cli.start_hint import start_hint
from cbir_daemon.daemon.rooms import INDEX_FILE
from cbir_daemon.daemon.service import locked_state
from cbir_daemon.errors import CbirError
from cbir_daemon.kinds import Kind
from cbir_daemon.store import Store
from tests.test_contract import COMMANDS, every_error

GOLDEN = Path(__file__).parent / "golden" / "help.txt"
COLUMNS = 80

COMMAND_FOLDER = Path(sys.executable).parent
TREES = {"cbir": client_commands.cbir, "cbir-daemon": daemon_commands.daemon}

Done = subprocess.CompletedProcess[str]
Said = Callable[..., tuple[int, list[str]]]


def names(command: click.Command, name: str) -> Iterator[str]:
    """Yield the whole name of a command and of all below it, in the order of the help text."""
    yield name
    if isinstance(command, click.Group):
        for inner in sorted(command.commands):
            yield from names(command.commands[inner], f"{name} {inner}")


def help_of(name: str) -> str:
    """Return what a command prints for `--help`."""
    first, *rest = name.split()
    done = CliRunner().invoke(
        TREES[first], [*rest, "--help"], prog_name=first, terminal_width=COLUMNS, catch_exceptions=False
    )
    assert done.exit_code == 0
    return f"$ {name} --help\n{done.stdout}"


def every_help() -> str:
    """Return the help texts of both commands and all their sub-commands."""
    return "\n".join(help_of(name) for first, command in TREES.items() for name in names(command, first))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Give the home of a user who has no configuration and no state."""
    return tmp_path


@pytest.fixture
def state(home: Path) -> Path:
    """Give the folder of the state in that home; it is not there yet."""
    return home / ".local" / "state" / "cbir"


@pytest.fixture
def run(home: Path) -> Callable[..., Done]:
    """Give a function that runs a command as a process, away from any daemon and configuration of this machine."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CBIR_", "XDG_"))}

    def run_there(name: str, *argv: str | Path) -> Done:
        return subprocess.run(  # noqa: S603 -- our own commands
            [COMMAND_FOLDER / name, *argv],
            env={**kept, "HOME": str(home)},
            cwd=home,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )

    return run_there


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path) -> Said:
    """Give a function that runs a command in this process; it returns status and lines of standard error."""
    for name in [name for name in os.environ if name.startswith(("CBIR_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)

    def run_here(name: str, *argv: str) -> tuple[int, list[str]]:
        monkeypatch.setattr(sys, "argv", [name, *argv])
        status = status_of(TREES[name], name)
        captured = capsys.readouterr()
        # What is no data does not go where data goes.
        assert captured.out == ""
        return status, captured.err.splitlines()

    return run_here


# -- help --------------------------------------------------------------------------------------------------------------


def test_help_is_the_golden_one() -> None:
    """Every help text is the one kept: a change of it is seen in review.  How to keep a new one: see above."""
    assert every_help().splitlines() == GOLDEN.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", COMMANDS)
def test_everything_has_help(name: str) -> None:
    """A command and each of its options are told in a sentence."""
    command = COMMANDS[name].command
    texts = [command.help, *(option.help for option in command.params if isinstance(option, click.Option))]
    assert all(text and text.rstrip().endswith((".", "]")) for text in texts), texts


@pytest.mark.parametrize("name", TREES)
@pytest.mark.process
def test_version(run: Callable[..., Done], name: str) -> None:
    """`--version` prints the version."""
    done = run(name, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{name}, version {__version__}\n", "")


# -- mistakes on the command line --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cbir qeury x.jpg", "No such command 'qeury'"),
        ("cbir query", "Missing argument 'IMAGE'"),
        ("cbir query one.jpg two.jpg", "unexpected extra argument"),
        ("cbir query x.jpg --sort size", "No such option"),
        ("cbir query x.jpg --kind twin", f"'twin' is not one of {', '.join(map(repr, map(str, Kind)))}"),
        ("cbir query x.jpg -n 0", "0 is not in the range"),
        ("cbir query x.jpg -n many", "'many' is not a valid integer"),
        ("cbir query x.jpg --min-score 2", "2.0 is not in the range"),
        ("cbir duplicates --kind similar", "'similar' is not one of"),
        ("cbir settle --timeout -1", "-1.0 is not in the range"),
        ("cbir alerts --since -1", "-1 is not in the range"),
        ("cbir dismiss a.jpg", "Missing argument 'B'"),
        ("cbir album watch .", "No such command 'watch'"),
        ("cbir map", "Missing argument 'OUT'"),
        ("cbir map out.png --size 0", "0 is not in the range"),
        ("cbir-daemon start", "No such command 'start'"),
        ("cbir-daemon config chekc", "No such command 'chekc'"),
        ("cbir-daemon backup", "Missing argument 'FILE'"),
        ("cbir-daemon run --fast", "No such option"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_64(said: Said, line: str, words: str) -> None:
    """Each is told in one line that begins with the command, names what is wrong, and leads to the help text."""
    name, *argv = line.split()
    status, lines = said(name, *argv)
    assert status == 64
    assert len(lines) == 1
    assert lines[0].startswith(f"{name}: ")
    assert words in lines[0]
    assert "--help` shows what it takes" in lines[0]


@pytest.mark.parametrize("line", ["cbir", "cbir album", "cbir model", "cbir-daemon", "cbir-daemon config"])
def test_no_command_is_64_and_shows_the_commands(said: Said, line: str) -> None:
    """Without a command the exit status is 64, and what can be said is shown."""
    name, *argv = line.split()
    status, lines = said(name, *argv)
    assert status == 64
    shown = "\n".join(lines)
    inner = {name.removeprefix(f"{line} ").split()[0] for name in COMMANDS if name.startswith(f"{line} ")}
    assert inner
    assert all(name in shown for name in inner)


@pytest.mark.process
def test_the_process_exits_with_it(run: Callable[..., Done]) -> None:
    """The status is the one of the process, and nothing is on standard output."""
    for name in TREES:
        done = run(name, "nonsense")
        assert (done.returncode, done.stdout) == (64, "")
        assert done.stderr.startswith(f"{name}: No such command 'nonsense'")


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(every_error()), ids=lambda kind: kind.code)
def test_every_error_ends_with_its_status(capsys: pytest.CaptureFixture[str], kind: type[CbirError]) -> None:
    """Whatever error a command meets, it says it in one line with its hint, and exits with its status."""

    @click.command()
    def failing() -> None:
        raise kind("it broke", hint="mend it")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["failing"])
        assert status_of(failing, "cbir") == kind.exit_status
    assert capsys.readouterr() == ("", "cbir: it broke: mend it\n")


def test_ctrl_c_is_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends a command as shells expect, without a traceback."""

    @click.command()
    def waiting() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["waiting"])
    assert status_of(waiting, "cbir") == INTERRUPTED == 130
    assert capsys.readouterr().out == ""


@pytest.mark.process
def test_a_reader_that_has_had_enough_hears_no_complaint(home: Path) -> None:
    """A pipe that is closed early ends the command without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing) as pipe:
        done = subprocess.run(  # noqa: S603 -- our own command
            [COMMAND_FOLDER / "cbir-daemon", "config", "sample"],
            env={**os.environ, "HOME": str(home)},
            stdout=pipe,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.stderr == b""


# -- cbir without a daemon ---------------------------------------------------------------------------------------------

ARGUMENTS = {
    "cbir query": ["x.jpg"],
    "cbir album add": ["."],
    "cbir album remove": ["."],
    "cbir dismiss": ["a.jpg", "b.jpg"],
    "cbir undismiss": ["a.jpg", "b.jpg"],
    "cbir decisions import": ["decisions.jsonl"],
    "cbir alerts test": ["log"],
    "cbir watch add": ["x.jpg"],
    "cbir watch remove": ["x.jpg"],
    "cbir map": ["map.html"],
}
ALONE = {"cbir completion"}
"""Commands that ask no daemon."""


@pytest.mark.parametrize("name", [name for name in COMMANDS if name.startswith("cbir ") and name not in ALONE])
def test_nobody_listens(said: Said, state: Path, name: str) -> None:
    """Every command says in one line where it looked and what to do, and exits 69."""
    status, lines = said(*name.split(), *ARGUMENTS.get(name, ()))
    assert status == 69
    assert lines == [
        f"cbir: no daemon listens on {state / 'socket'} (No such file or directory): {start_hint(None, os.environ)}"
    ]


@pytest.mark.process
def test_nobody_listens_to_the_process(run: Callable[..., Done], home: Path) -> None:
    """The real command has no traceback, for a socket that is named, a file that is none, and with JSON wanted."""
    (home / "file").touch()
    for argv in (("status",), ("--socket", "nowhere", "status"), ("--socket", "file", "status", "--json")):
        done = run("cbir", *argv)
        assert (done.returncode, done.stdout) == (69, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("cbir: no daemon listens on ")


def test_the_command_that_starts_a_daemon_is_that_of_its_installation(tmp_path: Path) -> None:
    """A unit of the user's, one of the machine's, the checkout's script, or the daemon itself; none of a named one."""
    environ, system = {"HOME": str(tmp_path)}, (str(tmp_path / "etc"),)
    venv = str(tmp_path / ".venv")

    def placed(path: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()

    assert start_hint(None, environ, "/usr", system) == "start it with `cbir-daemon run`"
    placed("scripts/run")
    assert start_hint(None, environ, venv, system) == f"start it with `{tmp_path}/scripts/run`"
    placed("etc/systemd/system/cbir-daemon.service")
    assert start_hint(None, environ, venv, system).endswith("systemctl start cbir-daemon`")
    placed(".config/systemd/user/cbir-daemon.service")
    assert start_hint(None, environ, venv, system) == "start it with `systemctl --user start cbir-daemon`"
    assert start_hint("/a/socket", environ, venv, system).startswith("is it running?")
    assert start_hint(None, environ | {"CBIR_SOCKET": "a"}, venv, system).startswith("is it running?")


def test_a_broken_configuration_stops_the_client_too(said: Said, home: Path) -> None:
    """`cbir` reads the configuration to find the socket, and says which file is wrong."""
    file = home / ".config" / "cbir" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[watch\n")
    status, lines = said("cbir", "status")
    assert status == 78
    assert len(lines) == 1
    assert f"{file}: is not TOML" in lines[0]


# -- cbir-daemon without a daemon --------------------------------------------------------------------------------------


@pytest.mark.process
def test_config_check(run: Callable[..., Done], home: Path) -> None:
    """A sound configuration is said to be so; of a broken one every fault is a line, and the status is 78."""
    done = run("cbir-daemon", "config", "check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "sound: no file, all defaults\n", "")
    (home / "broken.toml").write_text("[watch]\nsetle_s = 2\nrescan_s = 'often'\n")
    done = run("cbir-daemon", "config", "check", "--config", "broken.toml")
    assert (done.returncode, done.stdout) == (78, "")
    unknown, wrong = done.stderr.splitlines()
    assert unknown == f"cbir-daemon: {home}/broken.toml: unknown key [watch] setle_s: did you mean settle_s?"
    assert wrong.startswith(f'cbir-daemon: {home}/broken.toml: [watch] rescan_s = "often": accepted is a number')


@pytest.mark.parametrize("command", ["run", "doctor", "config show", "config check", "backup copy", "restore copy"])
def test_every_command_refuses_a_broken_configuration(said: Said, home: Path, command: str) -> None:
    """A configuration that was named and is not there, or that is no TOML, ends every command with 78."""
    (home / "broken.toml").write_text("[watch\n")
    for file, words in (("broken.toml", "is not TOML"), ("none.toml", "no such file")):
        status, lines = said("cbir-daemon", *command.split(), "--config", file)
        assert status == 78
        assert len(lines) == 1
        assert f"{home / file}: {words}" in lines[0]


@pytest.mark.process
def test_config_show_and_sample(run: Callable[..., Done], state: Path) -> None:
    """`show` prints every value with its origin, `sample` the file that the configuration's own tests know."""
    shown = run("cbir-daemon", "config", "show", "--socket", "here")
    assert shown.returncode == 0
    assert f'state = "{state}"  # default' in shown.stdout
    assert 'here"  # flag --socket' in shown.stdout
    sample = run("cbir-daemon", "config", "sample")
    assert (sample.returncode, sample.stdout) == (0, config.sample())


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        ([], 64, "no album is given and none is remembered"),
        (["nowhere"], 66, "nowhere: no such folder"),
        (["file"], 64, "file: is not a folder"),
        (["outer", "outer/inner"], 78, "lies inside album"),
        (["outer", "--socket", "x" * 120], 78, "a Unix socket allows 107"),
        (["outer", "--state", "file"], 74, "file: cannot be used for the state"),
    ],
)
@pytest.mark.process
def test_a_daemon_that_cannot_start(
    run: Callable[..., Done], home: Path, argv: list[str], status: int, words: str
) -> None:
    """Each reason is one line with its own status, and nothing is left running."""
    (home / "outer" / "inner").mkdir(parents=True)
    (home / "file").touch()
    done = run("cbir-daemon", "run", "--quiet", *argv)
    assert (done.returncode, done.stdout) == (status, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("cbir-daemon: ")
    assert words in line


def test_a_state_that_is_held(said: Said, state: Path) -> None:
    """Who wants a state that another process holds is told its id, and exits 73."""
    with locked_state(state):
        for argv in (["run", "--quiet", "."], ["restore", "copy"]):
            status, lines = said("cbir-daemon", *argv)
            assert status == 73
            assert len(lines) == 1
            assert f"process {os.getpid()}" in lines[0]


def test_doctor(run: Callable[..., Done], said: Said, state: Path) -> None:
    """The doctor says what it finds and exits 1; of a sound state it says so and exits 0."""
    state.mkdir(parents=True, mode=0o755)
    done = run("cbir-daemon", "doctor")
    assert done.returncode == 1
    assert f"{state} can be read by others" in done.stdout
    state.chmod(0o700)
    make_index(state)
    done = run("cbir-daemon", "doctor", "--json")
    found = json.loads(done.stdout)
    assert found["state"] == str(state)
    # How many folders may be watched is the machine's own.
    assert [finding for finding in found["findings"] if not finding.startswith("watching: ")] == []
    assert done.returncode == (1 if found["findings"] else 0)


def make_index(state: Path) -> None:
    """Write an index with one album in it."""
    state.mkdir(parents=True, exist_ok=True)
    store = Store(state / INDEX_FILE)
    store.open()
    store.albums.add(b"/photos")
    store.close()


def albums_in(index: Path) -> list[bytes]:
    """Return the albums of an index that nobody uses."""
    connection = sqlite3.connect(index)
    try:
        return [path for (path,) in connection.execute("SELECT path FROM album")]
    finally:
        connection.close()


def test_backup_and_restore(said: Said, home: Path, state: Path) -> None:
    """A backup can be put back; what stood there stays beside it, and no file is ever written over."""
    make_index(state)
    assert said("cbir-daemon", "backup", "copy") == (0, ["wrote copy"])
    status, (line,) = said("cbir-daemon", "backup", "copy")
    assert (status, line) == (64, "cbir-daemon: copy: exists already: give the name of a new file")
    (state / INDEX_FILE).unlink()
    assert said("cbir-daemon", "restore", "copy")[0] == 0
    assert albums_in(state / INDEX_FILE) == [b"/photos"]
    assert said("cbir-daemon", "restore", "copy")[0] == 0
    assert albums_in(state / f"{INDEX_FILE}.before-restore") == [b"/photos"]


@pytest.mark.parametrize("command", ["backup copy", "doctor --deep", "publish --all", "publish --withdraw"])
@pytest.mark.parametrize("prepared", ["nowhere", "empty", "killed at its first start"])
def test_what_uses_an_index_makes_none(said: Said, home: Path, state: Path, prepared: str, command: str) -> None:
    """A state without an index is refused in one line with 74, and neither it nor a copy is written."""
    if prepared != "nowhere":
        state.mkdir(parents=True)
    if prepared not in ("nowhere", "empty"):
        (state / INDEX_FILE).touch()
    before = sorted(home.rglob("*"))
    line = f"cbir-daemon: {state}: has no index: name a daemon's state with --state or CBIR_STATE"
    assert said("cbir-daemon", *command.split()) == (74, [line])
    assert sorted(home.rglob("*")) == before


def test_what_is_no_index_is_no_backup(said: Said, home: Path, state: Path) -> None:
    """A text and another program's database are refused with 74, and nothing is touched."""
    make_index(state)
    (home / "text").write_text("this is text")
    with sqlite3.connect(home / "other") as connection:
        connection.execute("CREATE TABLE note (text)")
    connection.close()
    for name in ("text", "other", "nowhere"):
        status, lines = said("cbir-daemon", "restore", name)
        assert (status, len(lines)) == (74, 1)
        assert name in lines[0]
    assert albums_in(state / INDEX_FILE) == [b"/photos"]


if __name__ == "__main__":
    click.echo(every_help(), nl=False)
