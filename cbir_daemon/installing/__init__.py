"""The service, put in place for systemd and taken away again.

In: for whom, below which root, the folder of the commands.  Out: units, links and a first configuration on disk; each
step as a line.  Never here: what the daemon does, how a package is built.

What is in place already stays as it is, so installing may be repeated at any time.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cbir_daemon.config.text import toml
from cbir_daemon.errors import ConfigError, ForbiddenError, StorageError, UnavailableError
from cbir_daemon.system.files import whole_file

Scope = Literal["user", "system"]

COMMANDS = ("cbir", "cbir-daemon")
UNITS = ("cbir-daemon.service", "cbir-daemon.socket")
PAGE_UNITS = ("cbir-page.service", "cbir-page.socket")
"""Of a person, who has a browser: the machine's service has none."""
USER = "cbir"
"""As whom the machine's service runs."""

PROGRAM = "/opt/cbir-daemon/bin"
"""Folder of the commands, as the units that ship name it."""

CONFIG_HEAD = "# Written by install-service.  Every key that may stand here: cbir-daemon config sample\n"


def unit_names(scope: Scope) -> tuple[str, ...]:
    """Return the units of a service: the machine's has no page."""
    return UNITS if scope == "system" else UNITS + PAGE_UNITS


def unit_folder(scope: Scope) -> Path:
    """Return the folder in the package where the units of a service lie."""
    return Path(__file__).parent / "units" / scope


def unit_text(scope: Scope, unit: str, program: Path) -> str:
    """Return a unit that starts the commands of a folder.

    Parameters
    ----------
    scope : str
        "user" or "system".
    unit : str
        Of `unit_names`.
    program : Path
        Absolute.
    """
    return (unit_folder(scope) / unit).read_text(encoding="utf-8").replace(PROGRAM, str(program))


def program_folder() -> Path:
    """Return the folder in which the commands of this installation lie, as pip, pipx, uv or a package put them.

    Raises
    ------
    UnavailableError
        When this process runs from sources that are not installed.
    """
    # A link of pipx or uv leads to the environment that it made.
    started = Path(sys.argv[0]).resolve().parent
    folders = (Path(sysconfig.get_path("scripts")), Path(sysconfig.get_path("scripts", "posix_user")), started)
    for folder in folders:
        if (folder / COMMANDS[1]).is_file():
            return folder
    raise UnavailableError(f"{sys.prefix}: has no command {COMMANDS[1]}", hint="install the package with pip or pipx")


@dataclass(frozen=True)
class Target:
    """Where the files of a service go.

    Parameters
    ----------
    unit_dir, link_dir, share : Path
        Of the units; of links to the commands; of manual pages and what completes commands.
    config : Path
        The configuration.
    sysusers : Path or None
        What says that the user is to be made; only the machine's service has one of its own.
    state : Path
        Folder of the index, below no root.
    """

    unit_dir: Path
    link_dir: Path
    share: Path
    config: Path
    sysusers: Path | None
    state: Path


def target_of(scope: Scope, root: Path, environ: Mapping[str, str]) -> Target:
    """Return where the files of a service go.

    Parameters
    ----------
    scope : str
        "user" or "system".
    root : Path
        What stands for `/`.
    environ : mapping of str to str
        HOME, XDG_CONFIG_HOME, XDG_DATA_HOME and XDG_STATE_HOME of the user.

    Raises
    ------
    ConfigError
        When a user has no home.
    """
    if scope == "system":
        return Target(
            root / "etc/systemd/system",
            root / "usr/local/bin",
            root / "usr/local/share",
            root / "etc/cbir/config.toml",
            root / "usr/local/lib/sysusers.d/cbir-daemon.conf",
            Path("/var/lib/cbir"),
        )
    home = environ.get("HOME")
    if not home:
        raise ConfigError("no home folder is known", hint="set HOME")
    settings = below(root, environ.get("XDG_CONFIG_HOME") or f"{home}/.config")
    state = Path(environ.get("XDG_STATE_HOME") or f"{home}/.local/state") / "cbir"
    return Target(
        settings / "systemd/user",
        below(root, f"{home}/.local/bin"),
        below(root, environ.get("XDG_DATA_HOME") or f"{home}/.local/share"),
        settings / "cbir/config.toml",
        None,
        state,
    )


def below(root: Path, path: str) -> Path:
    """Return an absolute path as it is below a root.

    Parameters
    ----------
    root : Path
        What stands for `/`.
    path : str
    """
    return root / path.lstrip("/")


class Installer:
    """Puts a service in place, or takes it away, step by step.

    Parameters
    ----------
    scope : str
        "user" or "system".
    program : Path
        Folder of the commands.
    say : callable
        Takes each step as a line.
    environ : mapping of str to str
        Of the process.
    root : Path, optional
        What stands for `/`; below any other root nothing is started.
    shared : mapping of str to str, optional
        Files below `share`: path -> text.
    rehearsal : bool, optional
        Whether to say the steps and do none.
    """

    def __init__(
        self,
        scope: Scope,
        program: Path,
        say: Callable[[str], None],
        *,
        environ: Mapping[str, str],
        root: Path = Path("/"),
        shared: Mapping[str, str] | None = None,
        rehearsal: bool = False,
    ) -> None:
        self.scope = scope
        self.program = program
        self.say = say
        self.root = root
        self.is_real = root == Path("/")
        self.shared = {} if shared is None else shared
        self.rehearsal = rehearsal
        self.target = target_of(scope, root, environ)
        self.systemctl = ["systemctl", "--user"] if scope == "user" else ["systemctl"]

    def install(self, albums: Sequence[Path], *, start: bool = True) -> None:
        """Put everything in place and start the service.

        Parameters
        ----------
        albums : sequence of Path
            Absolute; named in a configuration that is not there yet.
        start : bool, optional
            Whether to start it.

        Raises
        ------
        CbirError
            When a step fails: a folder that cannot be written, a user that may not run the program, a manager that
            refuses.
        """
        self.say(f"use the commands of {self.program}")
        for command in COMMANDS:
            self._link(self.target.link_dir / command, self.program / command)
        if self.target.sysusers:
            self._make_user(self.target.sysusers)
        self._write_config(albums)
        for unit in unit_names(self.scope):
            self._put(self.target.unit_dir / unit, unit_text(self.scope, unit, self.program))
        for path, text in self.shared.items():
            self._put(self.target.share / path, text)
        if self.is_real and start:
            self._start()
        else:
            self.say("start nothing")

    def uninstall(self) -> None:
        """Stop the service and take away what `install` put in place, but for the configuration.

        Raises
        ------
        StorageError
            When a file cannot be removed.
        """
        units = unit_names(self.scope)
        if self.is_real:
            self._step([*self.systemctl, "disable", "--now", *units], must=False)
        files = [self.target.unit_dir / unit for unit in units] + [self.target.share / path for path in self.shared]
        for path in files:
            self._take_away(path)
        for command in COMMANDS:
            link = self.target.link_dir / command
            # The link of pipx or uv belongs to them: theirs lie beside others that lead to the same environment.
            if link.is_symlink() and os.readlink(link) == str(self.program / command):  # noqa: PTH115 -- as written
                self._take_away(link)
        if self.target.sysusers:
            self._take_away(self.target.sysusers)
        if self.is_real:
            self._step([*self.systemctl, "daemon-reload"], must=False)
        self.say(f"these stay: the program {self.program}, the state {self.target.state}, {self.target.config}")

    def _link(self, link: Path, command: Path) -> None:
        if link == command or (link.is_symlink() and link.resolve() == command.resolve()):
            self.say(f"{link} is in place")
        elif link.exists() and not link.is_symlink():
            self.say(f"{link} is something else and stays")
        else:
            self._step(["mkdir", "-p", "--", str(link.parent)])
            self._step(["ln", "-sfn", "--", str(command), str(link)])

    def _make_user(self, sysusers: Path) -> None:
        self._put(sysusers, (unit_folder(self.scope) / "sysusers.conf").read_text(encoding="utf-8"))
        if not self.is_real:
            self.say(f"the user {USER} is made when that system starts")
            return
        if _has_user(USER):
            self.say(f"the user {USER} is there")
        elif shutil.which("systemd-sysusers"):
            self._step(["systemd-sysusers", str(sysusers)])
        else:
            home = str(self.target.state)
            self._step(["useradd", "--system", "--home-dir", home, "--shell", "/usr/sbin/nologin", USER])
        self._check_user()

    def _check_user(self) -> None:
        """Refuse a program that the service's user cannot reach: a Python below /root, for instance."""
        command = self.program / COMMANDS[1]
        if not self.rehearsal and not _succeeds(["runuser", "-u", USER, "--", str(command), "--version"]):
            raise ForbiddenError(
                f"the user {USER} may not run {command}",
                hint="install it where every user may read, as in /opt, with a python3 that every user may run",
            )

    def _write_config(self, albums: Sequence[Path]) -> None:
        config = self.target.config
        if not config.exists():
            named = "".join(f"\n[[album]]\npath = {toml(str(album))}\n" for album in albums)
            self._put(config, CONFIG_HEAD + named)
            return
        self.say(f"{config} is there and stays as it is")
        known = set(_albums_in(config))
        for album in albums:
            if str(album) not in known:
                self.say(f"! {album} is not in it: cbir album add {shlex.quote(str(album))}")

    def _start(self) -> None:
        units = " ".join(UNITS)
        self._step([*self.systemctl, "daemon-reload"])
        if not self._has_albums():
            enable = f"{' '.join(self.systemctl)} enable --now {units}"
            self.say(f"! no album is named: put [[album]] into {self.target.config}, then: {enable}")
            return
        self._step([*self.systemctl, "enable", *UNITS])
        # Also when it runs: perhaps with an older program.
        self._step([*self.systemctl, "restart", *UNITS])
        if self.scope == "user":
            self.say(f"to run it without a login: loginctl enable-linger {pwd.getpwuid(os.getuid()).pw_name}")
            enable = "systemctl --user enable --now cbir-page.socket"
            self.say(f"for the page in a browser: {enable}; cbir page --open")

    def _has_albums(self) -> bool:
        index = self.target.state / "index.sqlite"
        return self.rehearsal or any(_albums_in(self.target.config)) or index.exists()

    def _put(self, path: Path, text: str) -> None:
        """Write a file as a whole, unless it is the same already."""
        try:
            if path.is_file() and path.read_bytes() == text.encode():
                self.say(f"{path} is in place")
                return
            self.say(f"write {path}")
            if self.rehearsal:
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(text.encode())
        except OSError as error:
            raise StorageError(f"{path}: cannot be written: {error.strerror}", hint="try --user, or sudo") from error

    def _take_away(self, path: Path) -> None:
        if path.exists() or path.is_symlink():
            self._step(["rm", "-f", "--", str(path)])
        else:
            self.say(f"{path} is not there")

    def _step(self, argv: list[str], *, must: bool = True) -> None:
        """Say a command and, unless this is a rehearsal, run it."""
        self.say(shlex.join(argv))
        if not self.rehearsal and not _succeeds(argv) and must:
            raise UnavailableError(f"{shlex.join(argv)}: failed", hint="see above; the same command may run again")


def _succeeds(argv: list[str]) -> bool:
    try:
        done = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # noqa: S603 -- ours
    except OSError as error:
        raise UnavailableError(f"{argv[0]}: cannot be run: {error.strerror}", hint="this needs systemd") from error
    return done.returncode == 0


def _has_user(name: str) -> bool:
    return any(entry.pw_name == name for entry in pwd.getpwall())


def _albums_in(config: Path) -> Iterator[str]:
    """Yield the paths of the albums that a configuration names, as written."""
    try:
        table = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{config}: cannot be read: {error}") from error
    albums = table.get("album", [])
    yield from (str(album.get("path")) for album in albums if isinstance(album, dict))
