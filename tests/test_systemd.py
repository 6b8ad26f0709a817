"""The units and the command that installs them, judged by systemd's own tools."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cbir_daemon import config, installing
from cbir_daemon.cli import daemon as daemon_commands
from cbir_daemon.page.listening import DEFAULT_PORT
from tests.places import CHECKOUT

SCRIPT = CHECKOUT / "scripts" / "install-service"
PROGRAM = Path(sys.prefix) / "bin"
UNITS = installing.UNITS
PAGE_UNITS = installing.PAGE_UNITS
SCOPES: tuple[installing.Scope, ...] = ("user", "system")
MOST_EXPOSURE = 2.0
ALBUM = '/srv/my "best" \\ \n photos'

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


class Root:
    """A folder that stands for the whole file system.

    Parameters
    ----------
    path : Path
    scope : str
        "user" or "system".
    """

    def __init__(self, path: Path, scope: installing.Scope) -> None:
        self.path = path
        self.scope = scope
        self.home = Path("/home/ana")
        below = self.home / ".config/systemd/user" if scope == "user" else Path("/etc/systemd/system")
        self.unit_dir = path / below.relative_to("/")
        folder = "home/ana/.config" if scope == "user" else "etc"
        self.config = path / folder / "cbir/config.toml"

    def run(self, *argv: str) -> list[str]:
        """Run the command and return the steps that it shows."""
        done = CliRunner().invoke(
            daemon_commands.daemon,
            ["install-service", f"--{self.scope}", "--root", str(self.path), *argv],
            env={"HOME": str(self.home), "XDG_CONFIG_HOME": None, "XDG_STATE_HOME": None},
            catch_exceptions=False,
        )
        assert (done.exit_code, done.stderr) == (0, "")
        return [line.strip() for line in done.stdout.splitlines()]

    def files(self) -> dict[str, tuple[float, bytes]]:
        """Return every file and link with its time of writing and what it holds."""
        return {
            str(path.relative_to(self.path)): (
                path.lstat().st_mtime,
                os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes(),
            )
            for path in self.path.rglob("*")
            if path.is_symlink() or path.is_file()
        }


@pytest.fixture(params=SCOPES)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Root:
    """Give an empty root for each kind of service."""
    return Root(tmp_path / "root", request.param)


def analyze(*argv: str | Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run `systemd-analyze` as on a machine where nobody is logged in."""
    return subprocess.run(  # noqa: S603 -- a program of systemd's
        ["systemd-analyze", "--no-pager", *argv],  # noqa: S607 -- wherever it is
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


# -- the command -------------------------------------------------------------------------------------------------------


def test_a_second_run_changes_nothing(root: Root) -> None:
    """Everything is in place after the first run; the second shows that and leaves every file alone."""
    first = root.run(ALBUM)
    assert [line for line in first if line.startswith("write")]
    before = root.files()
    second = root.run(ALBUM)
    assert root.files() == before
    assert not [line for line in second if line.startswith(("write", "ln", "rm"))]
    assert len([line for line in second if line.endswith("is in place")]) >= len(UNITS) + 2


def test_uninstalling_leaves_the_configuration_only(root: Root) -> None:
    """What was installed goes, what the user decided stays; a second time does no harm."""
    root.run(ALBUM)
    root.run("--uninstall")
    assert list(root.files()) == [str(root.config.relative_to(root.path))]
    assert [line for line in root.run("--uninstall") if line.startswith("rm")] == []


def test_a_rehearsal_does_nothing(root: Root) -> None:
    """`--dry-run` shows the steps of a real run and writes no file; neither does it take one away."""
    assert [line for line in root.run("--dry-run", ALBUM) if line.startswith("write")]
    assert not root.path.exists()
    root.run(ALBUM)
    before = root.files()
    assert [line for line in root.run("--dry-run", "--uninstall") if line.startswith("rm")]
    assert root.files() == before


def test_the_units_start_the_program_that_was_installed(root: Root) -> None:
    """ExecStart names the environment's own command, and `cbir` is on the path."""
    root.run(ALBUM)
    service = (root.unit_dir / UNITS[0]).read_text()
    assert f"\nExecStart={sys.prefix}/bin/cbir-daemon run --quiet\n" in service
    links = {Path(name).name: text for name, (_, text) in root.files().items() if "/bin/" in name}
    assert links == {name: os.fsencode(f"{sys.prefix}/bin/{name}") for name in ("cbir", "cbir-daemon")}


def test_albums_are_written_into_a_new_configuration_only(root: Root) -> None:
    """Any name of a folder arrives; a configuration that is there stays as it is, and what is missing in it is said."""
    root.run(ALBUM)
    settings = config.load(config=root.config, environ={"HOME": "/"})
    assert [album.path for album in settings.albums] == [Path(ALBUM)]
    root.config.write_text("# mine\n")
    said = root.run(ALBUM)
    assert root.config.read_text() == "# mine\n"
    assert [line for line in said if "is not in it: cbir album add" in line]


def test_what_is_something_else_stays(root: Root) -> None:
    """A `cbir` that is no link of ours is neither replaced nor taken away."""
    link_dir = root.path / ("home/ana/.local/bin" if root.scope == "user" else "usr/local/bin")
    link_dir.mkdir(parents=True)
    (link_dir / "cbir").write_text("another program")
    root.run()
    root.run("--uninstall")
    assert (link_dir / "cbir").read_text() == "another program"


@pytest.mark.parametrize("argv", [["--sytem"], ["--root"]])
def test_a_wrong_option_is_refused(argv: list[str]) -> None:
    """An option that is not known, or lacks its value, ends with 64 and says so; nothing is done."""
    done = subprocess.run(  # noqa: S603 -- ours
        [PROGRAM / "cbir-daemon", "install-service", *argv], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (64, "")
    assert argv[0] in done.stderr


@pytest.mark.parametrize("scope", SCOPES)
def test_the_checkout_s_script_calls_the_command(scope: str, tmp_path: Path) -> None:
    """`scripts/install-service` does what the command of the environment does, with the same words."""
    argv = [f"--{scope}", "--root", str(tmp_path / "root"), "--dry-run", "/srv/photos"]
    programs: list[list[str | Path]] = [[SCRIPT, "--venv", sys.prefix], [PROGRAM / "cbir-daemon", "install-service"]]
    by_script, by_command = (
        subprocess.run([*program, *argv], capture_output=True, text=True, check=True).stdout  # noqa: S603 -- ours
        for program in programs
    )
    assert by_script == by_command
    assert "write" in by_script


# -- with a manager ----------------------------------------------------------------------------------------------------

MANAGER = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$*" in *"$REFUSED"*) exit 1;; esac
"""
"""A service manager that notes what it is asked, and refuses what it is told to refuse."""


class Home:
    """A user's home folder, and a manager that notes what it is asked.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls = path / "calls"
        self.manager = path / "bin/systemctl"
        self.manager.parent.mkdir()
        self.manager.write_text(MANAGER)
        self.manager.chmod(0o755)

    def run(self, program: Path, *argv: str, refused: str = "nothing") -> subprocess.CompletedProcess[str]:
        """Run the user's installation by the commands of `program`."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "CBIR_", "PYTHON"))}
        # The interpreter's own folder stands behind: a wheel is installed with it.
        environ = {"HOME": str(self.path), "PATH": f"{self.manager.parent}:{os.environ['PATH']}"}
        return subprocess.run(  # noqa: S603 -- our own command
            [program / "cbir-daemon", "install-service", "--user", *argv],
            env=kept | environ | {"CALLS": str(self.calls), "REFUSED": refused},
            cwd=self.path,
            capture_output=True,
            text=True,
            check=False,
        )

    def asked(self) -> list[str]:
        """Return what the manager was asked since the last time."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return lines


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Give an empty home."""
    return Home(tmp_path)


def test_it_is_started_when_there_is_an_album(home: Home) -> None:
    """The manager reads the units, enables and restarts them; without an album it is told nothing more."""
    units = " ".join(UNITS)
    assert "! no album is named" in home.run(PROGRAM).stdout
    assert home.asked() == ["--user daemon-reload"]
    (home.path / ".config/cbir/config.toml").unlink()
    assert home.run(PROGRAM, "/srv/photos").returncode == 0
    assert home.asked() == ["--user daemon-reload", f"--user enable {units}", f"--user restart {units}"]
    assert home.run(PROGRAM, "--no-start").returncode == 0
    assert home.asked() == []
    assert home.run(PROGRAM, "--uninstall").returncode == 0
    assert home.asked() == [f"--user disable --now {units} {' '.join(PAGE_UNITS)}", "--user daemon-reload"]


def test_a_manager_that_refuses_is_told_in_one_line(home: Home) -> None:
    """The step that failed is named; what was put in place stays, and taking away goes on."""
    done = home.run(PROGRAM, "/srv/photos", refused="enable")
    assert (done.returncode, done.stderr.count("\n")) == (69, 1)
    assert "systemctl --user enable" in done.stderr
    assert home.run(PROGRAM, "--uninstall", refused="disable").returncode == 0
    assert not list((home.path / ".config/systemd/user").iterdir())


def test_a_folder_that_cannot_be_written_is_named(home: Home) -> None:
    """A file where a folder should be ends the installation with one line that names it."""
    (home.path / ".config").write_text("")
    done = home.run(PROGRAM, "--no-start")
    assert (done.returncode, done.stderr.count("\n")) == (74, 1)
    assert str(home.path / ".config/cbir/config.toml") in done.stderr


@pytest.mark.skipif(not (CHECKOUT / "cbir_daemon").is_dir(), reason="the sources of the wheel are not here")
def test_the_wheel_alone_installs_the_service(home: Home, tmp_path: Path) -> None:
    """In an environment that has the wheel and no checkout, units, links and configuration are put in place."""
    subprocess.run(  # noqa: S603 -- our own interpreter
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path / "dist"],
        cwd=CHECKOUT,
        capture_output=True,
        check=True,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)  # noqa: S603 -- the interpreter
    (site,) = venv.glob("lib/python*/site-packages")
    # A path listed here is searched, but what is listed in it, the checkout, is not.
    libraries = [folder for folder in sys.path if folder.endswith("site-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries))
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin/python"), "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--quiet", "--no-deps", "--no-index", "--force-reinstall", str(wheel)], check=True)  # noqa: S603 -- pip
    done = home.run(venv / "bin", "/srv/photos")
    assert (done.returncode, done.stderr) == (0, "")
    service = (home.path / ".config/systemd/user/cbir-daemon.service").read_text()
    assert f"\nExecStart={venv}/bin/cbir-daemon run --quiet\n" in service
    assert (home.path / ".local/bin/cbir").resolve() == venv / "bin/cbir"
    settings = config.load(config=home.path / ".config/cbir/config.toml", environ={"HOME": "/"})
    assert [album.path for album in settings.albums] == [Path("/srv/photos")]


# -- the units ---------------------------------------------------------------------------------------------------------


@needs_systemd
def test_systemd_finds_nothing_to_complain_of(root: Root, tmp_path: Path) -> None:
    """`systemd-analyze verify` is silent about service and socket."""
    root.run(ALBUM)
    units = [root.unit_dir / unit for unit in installing.unit_names(root.scope)]
    done = analyze(f"--{root.scope}", "verify", *units, tmp_path=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_page_is_a_user_s(root: Root) -> None:
    """Its units come with those of a user, start the installed command, and go with them; the machine has none."""
    root.run(ALBUM)
    present = {unit for unit in PAGE_UNITS if (root.unit_dir / unit).exists()}
    assert present == (set(PAGE_UNITS) if root.scope == "user" else set())
    if present:
        service, listener = ((root.unit_dir / unit).read_text() for unit in PAGE_UNITS)
        assert f"\nExecStart={sys.prefix}/bin/cbir page\n" in service
        listens = re.findall(r"^ListenStream=(.*)$", listener, re.MULTILINE)
        assert listens == [f"127.0.0.1:{DEFAULT_PORT}", f"[::1]:{DEFAULT_PORT}"]
    root.run("--uninstall")
    assert not [unit for unit in PAGE_UNITS if (root.unit_dir / unit).exists()]


@needs_systemd
def test_the_system_unit_is_confined(tmp_path: Path) -> None:
    """`systemd-analyze security` scores at most 2.0 of 10, and the score is the one in docs/running.md or lower."""
    unit = installing.unit_folder("system") / UNITS[0]
    done = analyze("security", "--offline=yes", f"--threshold={10 * MOST_EXPOSURE:.0f}", unit, tmp_path=tmp_path)
    found = re.search(r"Overall exposure level for cbir-daemon.service: ([0-9.]+)", done.stdout)
    assert found
    assert (done.returncode, float(found[1]) <= MOST_EXPOSURE) == (0, True), done.stdout
    documented = re.search(r"rates the system unit ([0-9.]+)", (config_docs() / "running.md").read_text())
    assert documented
    assert float(found[1]) <= float(documented[1])


def config_docs() -> Path:
    """Return the folder of the documents."""
    return Path(config.__file__).parent.parent / "docs"


@pytest.mark.parametrize("scope", SCOPES)
def test_every_line_that_takes_away_has_no_double(scope: installing.Scope) -> None:
    """No setting stands twice but those that add up, so that what a reader sees is what holds."""
    for unit in installing.unit_names(scope):
        lines = (installing.unit_folder(scope) / unit).read_text().splitlines()
        keys = [line.partition("=")[0] for line in lines if re.match(r"\w+=", line)]
        twice = {key for key in keys if keys.count(key) > 1}
        assert twice <= {"SystemCallFilter", "After", "ListenStream"}
