"""`cbir-daemon`: runs the service, and looks after its state when it does not run.

In: arguments, the configuration.  Out: a running service; findings, copies of the index.  Never here: how a copy is
made or a finding is found.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click
from rich.console import Console

from cbir_daemon import __version__, config
from cbir_daemon.cli.completing import completion
from cbir_daemon.cli.first_run import ask_and_write, is_first_run
from cbir_daemon.cli.installing import install_service
from cbir_daemon.cli.lines import size
from cbir_daemon.cli.logs import log_to
from cbir_daemon.cli.manuals import man
from cbir_daemon.cli.progress import Reporter
from cbir_daemon.cli.running import run as run_command
from cbir_daemon.config.places import config_place
from cbir_daemon.daemon import deep as deep_check
from cbir_daemon.daemon import doctor, sharing
from cbir_daemon.daemon.rooms import INDEX_FILE, MEDIUM
from cbir_daemon.daemon.service import Service, locked_state
from cbir_daemon.errors import StorageError
from cbir_daemon.store import Store, reindex
from cbir_daemon.store import restore as restore_index
from cbir_daemon.system import activation
from cbir_daemon.wording.counting import counted

if TYPE_CHECKING:
    from cbir_daemon.cli.documents import Checked

A_PATH = click.Path(path_type=Path)
STATE = click.option("--state", type=A_PATH, help="Folder of the index and the models.")
CONFIG = click.option("--config", "config_file", type=A_PATH, help="Configuration file (TOML).")
SOCKET = click.option("--socket", type=A_PATH, help="Socket to listen on.")


class Places(TypedDict):
    """The options that name the configuration file, the folder of the state, and the socket."""

    config_file: Path | None
    state: Path | None
    socket: Path | None


def _load(albums: tuple[Path, ...] = (), **places: Unpack[Places]) -> config.Config:
    return config.load(
        config=places["config_file"], state=places["state"], socket=places["socket"], albums=albums, environ=os.environ
    )


def _index_of(settings: config.Config) -> Path:
    """Return the file of the index.

    Raises
    ------
    StorageError
        When there is none: a command that only uses one makes no state where a wrong folder is named.
    """
    index = settings.state_dir / INDEX_FILE
    # A first start that was killed leaves a file without a byte.
    if not index.exists() or not index.stat().st_size:
        raise StorageError(
            f"{settings.state_dir}: has no index", hint="name a daemon's state with --state or CBIR_STATE"
        )
    return index


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cbir-daemon")
def daemon() -> None:
    """Watch photo albums, keep an index and a map of them, answer `cbir`."""


@daemon.command()
@click.argument("albums", metavar="[ALBUM]...", nargs=-1, type=A_PATH)
@CONFIG
@STATE
@SOCKET
@click.option("--quiet", is_flag=True, help="Show no progress, only the log.")
def run(albums: tuple[Path, ...], quiet: bool, **places: Unpack[Places]) -> int:
    """Watch the ALBUMs, those of the configuration and those watched before, until stopped.

    In a terminal, a first run without any asks which folders to watch and writes the configuration.
    """
    settings = _load(albums, **places)
    if is_first_run(settings):
        ask_and_write(Path(config_place(places["config_file"], os.environ, Path.cwd()).path))
        settings = _load(albums, **places)
    console = Console(stderr=True)
    log_to(console, settings.log.level)
    # The service's own handler ends with it.  The interpreter, which has work after that, would be ended by
    # SIGHUP, and what is ignored stays so until the process is gone.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    service = Service(settings, lambda: _load(albums, **places), activation.taken_listener())
    reporter = Reporter(console)
    try:
        return service.run() if quiet else service.run(reporter.start)
    finally:
        reporter.close()


@daemon.command("doctor")
@CONFIG
@STATE
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option("--deep", is_flag=True, help="Also read files again; those that are damaged raise alerts.")
@click.option(
    "--files",
    type=click.IntRange(1),
    default=deep_check.USUAL_FILES,
    show_default=True,
    help="Files that are read again, at random.",
)
def doctor_command(config_file: Path | None, state: Path | None, as_json: bool, deep: bool, files: int) -> int:
    """Check the index, the saved map and the limits of this machine; exit 1 when something is wrong."""
    settings = _load(config_file=config_file, state=state, socket=None)
    findings = doctor.check(settings)
    checked: Checked = {"state": str(settings.state_dir), "findings": findings}
    if deep:
        _index_of(settings)
        reread = deep_check.check_files(settings, files, seed=time.time_ns())
        findings += reread.findings
        checked |= {"files": reread.files, "bytes": reread.size_bytes, "changed": reread.changed}
        away = f"; {counted(reread.changed, 'file')} away or changed" if reread.changed else ""
        click.echo(f"read {counted(reread.files, 'file')} again, {size(reread.size_bytes)}{away}", err=True)
    if as_json:
        click.echo(json.dumps(checked))
    else:
        for finding in findings or ["sound"]:
            click.echo(finding)
    return 1 if findings else 0


@daemon.group("config")
def config_group() -> None:
    """Show, check or start a configuration."""


@config_group.command("show")
@CONFIG
@STATE
@SOCKET
def config_show(**places: Unpack[Places]) -> None:
    """Print every value and where it comes from."""
    click.echo(config.show(_load(**places)), nl=False)


@config_group.command("check")
@CONFIG
@STATE
@SOCKET
def config_check(**places: Unpack[Places]) -> None:
    """Check the configuration and print every fault; exit 78 when there is one."""
    settings = _load(**places)
    click.echo(f"sound: {settings.config_path or 'no file, all defaults'}")


@config_group.command("sample")
def config_sample() -> None:
    """Print a configuration that holds every key with its default."""
    click.echo(config.sample(), nl=False)


@daemon.command()
@CONFIG
@STATE
@click.argument("file", type=A_PATH)
def backup(file: Path, config_file: Path | None, state: Path | None) -> None:
    """Write a consistent copy of the index to FILE, also while the daemon runs."""
    store = Store(_index_of(_load(config_file=config_file, state=state, socket=None)))
    store.open_existing()
    try:
        store.backup(file)
    finally:
        store.close()
    click.echo(f"wrote {file}", err=True)


@daemon.command()
@CONFIG
@STATE
@click.argument("file", type=A_PATH, required=False)
def restore(file: Path | None, config_file: Path | None, state: Path | None) -> None:
    """Replace the index by a backup: FILE, or the copy that the daemon keeps; the daemon must not run."""
    settings = _load(config_file=config_file, state=state, socket=None)
    index = settings.state_dir / INDEX_FILE
    source = file or Store(index).backup_path
    with locked_state(settings.state_dir):
        restore_index(source, index)
    click.echo(f"restored {index} from {source}; the old one is beside it as .before-restore", err=True)


@daemon.command("reindex")
@CONFIG
@STATE
def reindex_command(config_file: Path | None, state: Path | None) -> None:
    """Set the index aside and begin a new one with its albums, decisions and alerts; the daemon must not run."""
    settings = _load(config_file=config_file, state=state, socket=None)
    index = settings.state_dir / INDEX_FILE
    with locked_state(settings.state_dir):
        lost = reindex(index)
    kept = f"; lost, at least in part: {', '.join(lost)}" if lost else ""
    click.echo(f"began {index} anew{kept}; the old one is beside it as .before-reindex", err=True)


@daemon.command("publish")
@CONFIG
@STATE
@click.option("--all", "everything", is_flag=True, help="Publish all anew, and take out what is no more.")
@click.option("--withdraw", is_flag=True, help="Take out all that the site has published.")
@click.option("--site", default="", help="With --withdraw: another site, whose daemon is no more.")
def publish_command(everything: bool, withdraw: bool, site: str, config_file: Path | None, state: Path | None) -> None:
    """Make the shared index equal to this site, or take the site out of it; the daemon must not run."""
    if everything == withdraw or (site and not withdraw):
        raise click.UsageError("give --all, or --withdraw with or without --site")
    settings = _load(config_file=config_file, state=state, socket=None)
    index = _index_of(settings)
    with locked_state(settings.state_dir):
        store = Store(index)
        store.open()
        try:
            if withdraw:
                sharing.withdraw(settings, store, MEDIUM, site or settings.shared.site)
                click.echo(f"withdrew {site or settings.shared.site}; a daemon with [shared] publishes again", err=True)
            else:
                published = sharing.publish_all(settings, store, MEDIUM, lambda due: click.echo(f"{due} due", err=True))
                click.echo(f"published {published}", err=True)
        finally:
            store.close()


daemon.add_command(completion)
daemon.add_command(install_service)
daemon.add_command(man)


def main() -> None:
    """Run `cbir-daemon`."""
    run_command(daemon, "cbir-daemon")
