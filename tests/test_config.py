"""Configuration: what is accepted, what beats what, and that every fault is told at once."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from dataclasses import fields
from datetime import time
from pathlib import Path

import pytest

import cbir_daemon.config
from cbir_daemon import installing
from cbir_daemon.config import AlbumConfig, Config, SinkConfig, client_socket_paths, load, sample, show, tables
from cbir_daemon.config.places import SYSTEM_SOCKET, check_file
from cbir_daemon.config.settings import LISTS, SECTIONS, usable_processors
from cbir_daemon.errors import ConfigError

MANUAL = Path(cbir_daemon.__file__).parent / "docs" / "configuration.md"

GOOD = """
state = "state"
[[album]]
path = "photos"
watch = "poll"
protected = true
[[album]]
path = "~/pictures"
[watch]
settle_s = 1
exclude = ["*.tmp", "old/raw"]
[model]
n_components = 16
fit_hours = "22:00 - 6:30"
"""

PROGRAM = "[[sink]]\ntype = 'command'\ncommand = ['/bin/true']\n"
HOOK = "[[sink]]\ntype = 'webhook'\nname = 'hook'\nurl_env = 'HOOK'\n"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which every default place lies in `tmp_path`."""
    return {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
    }


def write(folder: Path, text: str) -> Path:
    """Write a configuration file and return its path."""
    path = folder / "cbir.toml"
    path.write_text(text, encoding="utf-8")
    return path


def faults(path: Path, environ: dict[str, str]) -> list[str]:
    """Return the lines of the error that the file at `path` causes."""
    with pytest.raises(ConfigError) as caught:
        load(config=path, environ=environ)
    return str(caught.value).split("\n")


def test_nothing_given_means_defaults(tmp_path: Path, environ: dict[str, str]) -> None:
    """Without file, flags and variables every value is its default and says so."""
    config = load(environ=environ)
    assert config.albums == ()
    assert config.state_dir == tmp_path / "state" / "cbir"
    assert config.socket_path == tmp_path / "run" / "cbir" / "socket"
    assert config.config_path is None
    assert set(config.origins.values()) == {"default"}
    assert {name: getattr(config, name) for name in SECTIONS} == {name: kind() for name, kind in SECTIONS.items()}


def test_places_without_xdg_variables(tmp_path: Path) -> None:
    """Without XDG variables, or with relative ones, state lies below the home folder and the socket inside it."""
    relative = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": "run", "XDG_STATE_HOME": "", "XDG_CONFIG_HOME": "config"}
    for environ in ({"HOME": str(tmp_path)}, relative):
        config = load(environ=environ)
        assert config.state_dir == tmp_path / ".local/state/cbir"
        assert config.socket_path == config.state_dir / "socket"


def test_home_without_a_variable() -> None:
    """Without HOME the home folder is the one that the system knows."""
    assert load(environ={}).state_dir == Path.home() / ".local/state/cbir"


def test_file_is_read(tmp_path: Path, environ: dict[str, str]) -> None:
    """Values of the file are used, paths in it are relative to it, and each names the file as its origin."""
    path = write(tmp_path, GOOD)
    config = load(config=path, environ=environ)
    assert config.albums == (
        AlbumConfig(tmp_path / "photos", watch="poll", protected=True),
        AlbumConfig(tmp_path / "pictures"),
    )
    assert config.watch.settle_s == 1.0
    assert isinstance(config.watch.settle_s, float)
    assert config.watch.exclude == ("*.tmp", "old/raw")
    assert config.model.n_components == 16
    assert config.model.fit_hours == (time(22), time(6, 30))
    assert config.state_dir == tmp_path / "state"
    assert config.config_path == path
    expected = {"state": "file", "watch.settle_s": "file", "album[0].watch": "file", "album[1].path": "file"}
    assert {key: config.origins[key] for key in expected} == dict.fromkeys(expected, f"file {path}")
    assert config.origins["config"] == "flag --config"
    assert config.origins["album[1].watch"] == config.origins["watch.poll_s"] == "default"


def test_default_file_is_found(tmp_path: Path, environ: dict[str, str]) -> None:
    """The file at the default place is read without being named."""
    folder = tmp_path / "config" / "cbir"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("[log]\nlevel = 'debug'\n")
    assert load(environ=environ).log.level == "debug"


def test_flag_beats_environment_beats_file(tmp_path: Path, environ: dict[str, str]) -> None:
    """A flag wins over its variable, and the variable over the file."""
    path = write(tmp_path, "state = '/file/state'\nsocket = '/file/socket'\n")
    from_file = load(config=path, environ=environ)
    assert (from_file.state_dir, from_file.socket_path) == (Path("/file/state"), Path("/file/socket"))
    variables = environ | {"CBIR_STATE": "/env/state", "CBIR_SOCKET": "/env/socket", "CBIR_CONFIG": str(path)}
    from_environ = load(environ=variables)
    assert (from_environ.state_dir, from_environ.socket_path) == (Path("/env/state"), Path("/env/socket"))
    assert from_environ.config_path == path
    assert from_environ.origins["state"] == "environment CBIR_STATE"
    from_flags = load(state=Path("/flag/state"), socket=Path("/flag/socket"), environ=variables)
    assert (from_flags.state_dir, from_flags.socket_path) == (Path("/flag/state"), Path("/flag/socket"))
    assert from_flags.origins["socket"] == "flag --socket"


def test_flags_are_relative_to_the_current_folder(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths of the command line become absolute, whatever the file's folder is."""
    monkeypatch.chdir(tmp_path)
    config = load(state=Path("here"), albums=[Path("a"), Path("sub/../b")], environ=environ)
    assert config.state_dir == tmp_path / "here"
    assert [album.path for album in config.albums] == [tmp_path / "a", (tmp_path / "b").resolve()]


def test_albums_of_file_and_flags_are_put_together(tmp_path: Path, environ: dict[str, str]) -> None:
    """An album named in both places keeps the words of the file; one named twice on the command line counts once."""
    path = write(tmp_path, GOOD)
    config = load(config=path, albums=[tmp_path / "photos", Path("/new"), Path("/new")], environ=environ)
    assert [album.path for album in config.albums] == [tmp_path / "photos", tmp_path / "pictures", Path("/new")]
    assert config.albums[0].protected
    assert config.origins["album[2].path"] == "command line"


def test_values_that_mean_work_it_out(tmp_path: Path, environ: dict[str, str]) -> None:
    """The word "auto" stands for the processors of this machine, or for None where the program finds out."""
    text = "[decode]\nworkers='auto'\n[model]\nthreads='auto'\nn_components='auto'\n[match]\ncopy_threshold='auto'\n"
    config = load(config=write(tmp_path, text), environ=environ)
    assert config.decode.workers == config.model.threads == usable_processors() >= 1
    assert config.model.n_components is None
    assert config.match.copy_threshold is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[watch]\nsettle_s = 'two'", '[watch] settle_s = "two": accepted is a number from 0 to 3600 seconds'),
        ("[watch]\nsettle_s = true", "[watch] settle_s = true: accepted is a number from 0 to 3600 seconds"),
        ("[watch]\nsettle_s = nan", "[watch] settle_s = nan: accepted is a number from 0 to 3600 seconds"),
        ("[watch]\nrescan_s = inf", "[watch] rescan_s = inf: accepted is a number from 1 to 2_678_400 seconds"),
        ("[watch]\nexclude = '*'", '[watch] exclude = "*": accepted is a list of patterns'),
        (
            "[watch]\nexclude = ['/']",
            '[watch] exclude = ["/"]: accepted is a list of patterns',
        ),
        ("[decode]\nworkers = 0", '[decode] workers = 0: accepted is a whole number from 1 to 256, or "auto"'),
        ("[decode]\nworkers = 1.5", '[decode] workers = 1.5: accepted is a whole number from 1 to 256, or "auto"'),
        ("[model]\nseed = -1", "[model] seed = -1: accepted is a whole number from 0 to 4_294_967_295"),
        ("[alerts]\nmin_kind = 'similar'", '[alerts] min_kind = "similar": accepted is "exact" or "copy"'),
        ("[alerts]\nsinks = ['Mail']", '[alerts] sinks = ["Mail"]: accepted is a list of names'),
        ("[alerts]\nsinks = ['log', 'log']", '[alerts] sinks = ["log", "log"]: accepted is a list of names'),
        ("[alerts]\nsinks = ['lod']", "[alerts] sinks names lod, and no [[sink]] does: did you mean log?"),
        ("[alerts]\nsinks = ['phone']", "[alerts] sinks names phone, and no [[sink]] does: known are log"),
        ("sink = 3", "sink = 3: write each sink as [[sink]] with a name and a type"),
        ("[[sink]]\nname = 'a'", "[[sink]] number 1 has no type"),
        ("[[sink]]\ntype = 'command'", "[[sink]] number 1 has no name"),
        (f"{PROGRAM}name = 'log'", "[[sink]] log is there twice: log is always there"),
        ("[[sink]]\ntype = 'command'\nname = 'a'", '[[sink]] a: type = "command" needs a command'),
        (f"{PROGRAM}name = 'a'\nurl_env = 'A'", '[[sink]] a: type = "command" has no use for url_env'),
        (f"{PROGRAM}name = 'a'\nsecret_env = 'A'", '[[sink]] a: type = "command" has no use for secret_env'),
        (
            "[[sink]]\ntype = 'command'\nname = 'b'\ncommand = ['tell']",
            '[[sink]] command = ["tell"]: accepted is a list: the whole path of a program, then its arguments',
        ),
        (
            "[[sink]]\ntype = 'webhook'\nname = 'a'",
            '[[sink]] a: type = "webhook" needs one of url_file and url_env',
        ),
        (
            "[[sink]]\ntype = 'apprise'\nname = 'a'\nurl_file = 'b'\nurl_env = 'C'",
            '[[sink]] a: type = "apprise" needs one of url_file and url_env',
        ),
        (f"{HOOK}command = ['/a']", '[[sink]] hook: type = "webhook" has no use for command'),
        (
            f"{HOOK}secret_env = 'A'\nsecret_file = 'b'",
            '[[sink]] hook: type = "webhook" needs one of secret_file and secret_env, or none',
        ),
        (
            f"{HOOK}secret_env = 'A B'",
            '[[sink]] secret_env = "A B": accepted is the name of an environment variable, or ""',
        ),
        ("[log]\nlevel = 3", '[log] level = 3: accepted is "debug", "info", "warning" or "error"'),
        (
            "[server]\ngroup = 'no such group'",
            '[server] group = "no such group": accepted is the name of a group on this machine, or ""',
        ),
        ("[server]\ngroup = 7", '[server] group = 7: accepted is the name of a group on this machine, or ""'),
        ("state = ''", 'state = "": accepted is a path'),
        ("socket = 3", "socket = 3: accepted is a path"),
        ("watch = 3", "[watch] = 3: it is a section of its own"),
        ("album = '/photos'", 'album = "/photos": write each album as [[album]] with a path'),
        ("[album]\npath = '/photos'", "album = \"{'path': '/photos'}\": write each album as [[album]] with a path"),
        ("album = [3]", "[[album]] = 3: it is a section of its own"),
        ("[[album]]\nwatch = 'poll'", "[[album]] number 1 has no path"),
        ("[[album]]\npath = 3", "[[album]] path = 3: accepted is a path"),
        (
            "[[album]]\npath = 'a'\nalerts = 'yes'",
            '[[album]] alerts = "yes": accepted is true or false',
        ),
        ("[watch]\nsetle_s = 2", "unknown key [watch] setle_s: did you mean settle_s?"),
        ("settle_s = 2", "unknown key settle_s: it belongs into [watch]"),
        ("setle_s = 2", "unknown key setle_s: did you mean settle_s in [watch]?"),
        ("[models]\nseed = 1", "unknown key models: did you mean model?"),
        ("[log]\nqqq = 1", "unknown key [log] qqq: known are level"),
        (
            "[model]\nmin_images = 50\nmax_fit_images = 40",
            "[model] max_fit_images = 40 is less than min_images = 50",
        ),
        (
            "[model]\nfeatures = 'meaning'",
            '[model] features = "meaning" needs a network: name one: model = "efficientnet-lite0" of [meaning]',
        ),
    ],
)
def test_each_fault_is_one_clear_line(tmp_path: Path, environ: dict[str, str], text: str, fault: str) -> None:
    """A value that is not accepted is told with file, key, value and what is accepted."""
    path = write(tmp_path, text)
    assert faults(path, environ) == [f"{path}: {fault}"]


@pytest.mark.parametrize("text", ["22:00", "24:00-06:00", "22:60-06:00", "06:00-06:00", "10-11", "soon"])
def test_hours_that_are_none(tmp_path: Path, environ: dict[str, str], text: str) -> None:
    """A span of the day needs two different times of the clock."""
    path = write(tmp_path, f"[model]\nfit_hours = {text!r}")
    assert faults(path, environ)[0].startswith(f'{path}: [model] fit_hours = "{text}": accepted is a span of the day')


def test_a_long_value_is_cut_in_the_message(tmp_path: Path, environ: dict[str, str]) -> None:
    """A fault stays one readable line whatever was written."""
    path = write(tmp_path, f"[log]\nlevel = '{'x' * 5000}'")
    (line,) = faults(path, environ)
    assert len(line) < len(str(path)) + 200


def test_all_faults_are_told_at_once(tmp_path: Path, environ: dict[str, str]) -> None:
    """Four faults make four lines in one error."""
    path = write(tmp_path, "colour = 1\n[watch]\nsettle_s = -1\npoll_s = 0\n[log]\nlevel = 'loud'\n")
    lines = faults(path, environ)
    assert [line.removeprefix(f"{path}: ").split(":")[0] for line in lines] == [
        "unknown key colour",
        "[watch] settle_s = -1",
        "[watch] poll_s = 0",
        '[log] level = "loud"',
    ]


@pytest.mark.parametrize(
    ("first", "second", "fault"),
    [
        ("/photos", "/photos/old", "album /photos/old lies inside album /photos: name only the outer one"),
        ("/photos/old", "/photos", "album /photos/old lies inside album /photos: name only the outer one"),
        ("/photos", "/photos/", "album /photos is named twice"),
    ],
)
def test_albums_lie_apart(tmp_path: Path, environ: dict[str, str], first: str, second: str, fault: str) -> None:
    """No album lies inside another, and none is named twice in the file."""
    path = write(tmp_path, f"[[album]]\npath = '{first}'\n[[album]]\npath = '{second}'\n")
    assert faults(path, environ) == [fault]


def test_albums_with_a_common_beginning_are_apart(tmp_path: Path, environ: dict[str, str]) -> None:
    """A folder whose name only begins like another one is not inside it."""
    config = load(albums=[tmp_path / "photos", tmp_path / "photos-old"], environ=environ)
    assert len(config.albums) == 2


def test_socket_path_has_a_longest_length(tmp_path: Path, environ: dict[str, str]) -> None:
    """A socket path of 107 bytes is accepted, one of 108 is refused with what to do, in bytes and not in letters."""
    longest = Path("/" + "é" * 53)
    assert load(socket=longest, environ=environ).socket_path == longest
    with pytest.raises(ConfigError) as caught:
        load(socket=Path(f"{longest}x"), environ=environ)
    assert "108 bytes" in caught.value.message
    assert caught.value.hint == "choose a shorter one with --socket or CBIR_SOCKET"
    assert caught.value.exit_status == 78


def test_files_that_cannot_be_read(tmp_path: Path, environ: dict[str, str]) -> None:
    """A named file that is missing, a folder, not UTF-8, not TOML or too deep is one clear line."""
    missing = tmp_path / "missing.toml"
    assert faults(missing, environ) == [f"{missing}: no such file: it was named by flag --config"]
    with pytest.raises(ConfigError, match="it was named by environment CBIR_CONFIG"):
        load(environ=environ | {"CBIR_CONFIG": str(missing)})
    assert faults(tmp_path, environ) == [f"{tmp_path}: cannot be read: Is a directory"]
    path = write(tmp_path, "[watch\n")
    assert faults(path, environ)[0].startswith(f"{path}: is not TOML: ")
    path.write_bytes(b"state = '\xff'")
    assert faults(path, environ)[0].startswith(f"{path}: is not TOML: ")
    path.write_text("a = " + "[" * 100_000)
    assert faults(path, environ)[0].startswith(f"{path}: is not TOML: ")


def test_sample_is_the_default(tmp_path: Path, environ: dict[str, str]) -> None:
    """The sample changes nothing as it is, and nothing either when the hash before each value is taken away."""
    plain = load(environ=environ)
    as_is = load(config=write(tmp_path, sample()), environ=environ)
    lines = [
        line.removeprefix("# ") if " = " in line or line.startswith("# [[") else line for line in sample().split("\n")
    ]
    filled = load(config=write(tmp_path, "\n".join(lines)), environ=environ)
    for name in SECTIONS:
        assert getattr(as_is, name) == getattr(plain, name) == getattr(filled, name)
    assert filled.albums == (AlbumConfig(tmp_path / "Pictures"),)
    assert filled.sinks == (SinkConfig("phone", "command", ("/usr/local/bin/tell",)),)
    assert filled.state_dir == tmp_path / ".local/state/cbir"


def test_sample_names_every_key() -> None:
    """Each declared key is in the sample, commented out."""
    for kind in (*LISTS.values(), *SECTIONS.values()):
        assert all(f"\n# {entry.name} = " in sample() for entry in fields(kind))


def test_show_is_a_configuration(tmp_path: Path, environ: dict[str, str]) -> None:
    """What `show` prints is TOML that gives the same configuration, and names each origin."""
    config = load(config=write(tmp_path, GOOD), environ=environ)
    text = show(config)
    assert f"settle_s = 1.0  # file {config.config_path}\n" in text
    assert 'fit_hours = "22:00-06:30"' in text
    again = load(config=write(tmp_path, text), environ=environ)
    assert values(again) == values(config)


def test_show_prints_names_that_are_no_text(environ: dict[str, str]) -> None:
    """A path that is not UTF-8 is shown with a mark in place of the bytes, and still is TOML."""
    text = show(load(albums=[Path(os.fsdecode(b"/photos/\xff\x7f"))], environ=environ))
    assert tomllib.loads(text)["album"][0]["path"] == "/photos/\ufffd\x7f"


def values(config: Config) -> list[object]:
    """Return all that a configuration says, without its origins."""
    return [
        config.albums,
        config.sinks,
        config.state_dir,
        config.socket_path,
        *(getattr(config, name) for name in SECTIONS),
    ]


def test_manual_holds_every_key() -> None:
    """The tables of docs/configuration.md are those that the declaration makes.

    To renew them: python -c 'from cbir_daemon.config import tables; print(tables(), end="")'
    """
    assert MANUAL.read_text(encoding="utf-8").split("## Every key")[1].endswith(f"\n\n{tables()}")


def test_faults_shown_in_the_manual_are_real(tmp_path: Path, environ: dict[str, str]) -> None:
    """The three faults that the manual shows are what a file with these faults gives."""
    path = write(tmp_path, "rescan_s = 5\n[watch]\nsettle_s = 'two'\n[decode]\nworker = 3\n")
    manual = MANUAL.read_text(encoding="utf-8").replace("/etc/cbir/config.toml", str(path))
    assert all(f"    {line}\n" in manual for line in faults(path, environ))


def test_example_in_the_manual_is_accepted(tmp_path: Path, environ: dict[str, str]) -> None:
    """The short file that the manual shows is read without a fault."""
    text = MANUAL.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    assert load(config=write(tmp_path, text), environ=environ).model.fit_hours == (time(22), time(6, 30))


def test_client_looks_only_where_it_was_told(tmp_path: Path, environ: dict[str, str]) -> None:
    """A flag or CBIR_SOCKET is the only place a client tries, the flag before the variable."""
    (tmp_path / ".cbir").mkdir()
    variables = environ | {"CBIR_SOCKET": "named"}
    assert client_socket_paths(None, variables, tmp_path) == [str(tmp_path / "named")]
    assert client_socket_paths(Path("/flag"), variables, tmp_path) == ["/flag"]


def test_client_looks_first_where_the_daemon_would_listen(tmp_path: Path, environ: dict[str, str]) -> None:
    """The first place is the socket of the same environment and file, the next one is inside the state."""
    state = tmp_path / "other"
    for variables in (environ, environ | {"CBIR_STATE": str(state)}, {"HOME": str(tmp_path)}):
        config = load(environ=variables)
        paths = client_socket_paths(None, variables, Path("/"))
        own = (str(config.socket_path), str(config.state_dir / "socket"))
        assert paths[: len(set(own))] == list(dict.fromkeys(own))
        assert paths[-1] == SYSTEM_SOCKET
    named = environ | {"CBIR_CONFIG": str(write(tmp_path, "socket = 'beside'\nstate = 'there'\nbad = 1\n"))}
    there = [str(tmp_path / "beside"), str(tmp_path / "there" / "socket"), SYSTEM_SOCKET]
    assert client_socket_paths(None, named, Path("/"), "/usr") == there


def test_client_looks_where_its_program_lies(tmp_path: Path, environ: dict[str, str]) -> None:
    """The daemon of the checkout is found from any folder, and that of the user's service without a run-time folder."""
    (tmp_path / ".cbir").mkdir()
    checkout, service = str(tmp_path / ".cbir" / "socket"), f"/run/user/{os.getuid()}/cbir/socket"
    assert client_socket_paths(None, environ, Path("/"), str(tmp_path / ".venv"))[-2:] == [checkout, SYSTEM_SOCKET]
    assert checkout not in client_socket_paths(None, environ, Path("/"), str(tmp_path / "venv"))
    alone = {"HOME": str(tmp_path)}
    assert client_socket_paths(None, alone, Path("/"), str(tmp_path / ".venv"))[-3:] == [
        *(checkout, service, SYSTEM_SOCKET)
    ]
    # Who names a state means that one.
    named = alone | {"CBIR_STATE": str(tmp_path / "state")}
    assert client_socket_paths(None, named, Path("/"), str(tmp_path / ".venv")) == [
        *(str(tmp_path / "state" / "socket"), SYSTEM_SOCKET)
    ]


def test_client_looks_in_the_folders_above(tmp_path: Path, environ: dict[str, str]) -> None:
    """`.cbir/socket` is tried after the user's own, from the current folder upwards, and the machine's service last."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    for folder in (inner, tmp_path):
        (folder / ".cbir").mkdir()
    paths = client_socket_paths(None, environ, inner)
    assert paths[2:4] == [str(folder / ".cbir" / "socket") for folder in (inner, tmp_path)]
    assert paths[-1] == SYSTEM_SOCKET
    unit = installing.unit_folder("system") / "cbir-daemon.socket"
    assert f"ListenStream={SYSTEM_SOCKET}\n" in unit.read_text()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_client_passes_a_stranger_by(tmp_path: Path, environ: dict[str, str]) -> None:
    """A `.cbir` folder of another user is not tried: the images asked about are none of their business."""
    (tmp_path / ".cbir").mkdir()
    os.chown(tmp_path / ".cbir", 65_534, 65_534)
    assert str(tmp_path / ".cbir" / "socket") not in client_socket_paths(None, environ, tmp_path)


@pytest.mark.parametrize("line", ["socket = ", "state = '/a'\n[[[", '"sock\\u0065t" = 1 1'])
def test_broken_file_stops_the_client_with_its_name(tmp_path: Path, environ: dict[str, str], line: str) -> None:
    """A client that cannot read where the socket is says so and does not guess."""
    path = write(tmp_path, line)
    with pytest.raises(ConfigError, match="is not TOML"):
        client_socket_paths(None, environ | {"CBIR_CONFIG": str(path)}, tmp_path)


def test_a_fault_that_hides_no_socket_is_not_the_client_s(tmp_path: Path, environ: dict[str, str]) -> None:
    """It asks the daemon that runs; when none answers, the whole file is read for the fault."""
    named = environ | {"CBIR_CONFIG": str(write(tmp_path, "# socket\n[[["))}
    assert client_socket_paths(None, named, tmp_path) == client_socket_paths(None, environ, tmp_path)
    with pytest.raises(ConfigError, match="is not TOML"):
        check_file(named, tmp_path)


@pytest.mark.parametrize("key", ["socket", '"socket"', "'socket'", "  socket", '"\\u0073ocket"', "\tsocket \t"])
@pytest.mark.parametrize("before", ["", "# a comment\r\n", "[[album]]\npath = '/a'\n[x]\n"])
def test_the_client_finds_a_key_however_it_is_written(
    tmp_path: Path, environ: dict[str, str], key: str, before: str
) -> None:
    """Whatever TOML allows; below a section it is another key, which says nothing."""
    named = environ | {"CBIR_CONFIG": str(write(tmp_path, f"{before}{key} = '/there'\n"))}
    is_named = client_socket_paths(None, named, tmp_path)[0] == "/there"
    assert is_named == ("[x]" not in before)


def test_every_public_name_is_there() -> None:
    """All that the package offers can be had from it, and nothing else."""
    assert all(getattr(cbir_daemon.config, name) for name in cbir_daemon.config.__all__)
    with pytest.raises(AttributeError, match="no attribute 'loud'"):
        _ = cbir_daemon.config.loud  # type: ignore[attr-defined]  # its absence is the test


def test_finding_the_socket_loads_little() -> None:
    """The client gets the place of the socket without the settings and without any heavy library."""
    code = "import sys; from cbir_daemon.config import client_socket_paths; print(*sorted(sys.modules))"
    command = [sys.executable, "-c", code]
    loaded = subprocess.check_output(command, text=True).split()  # noqa: S603 -- our own interpreter and code
    assert "cbir_daemon.config.places" in loaded
    assert not {"cbir_daemon.config.settings", "numpy", "PIL", "click", "difflib", "tomllib", "pathlib"} & set(loaded)
