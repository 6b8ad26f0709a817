"""Whether the state is sound, and this machine allows what the daemon needs.

In: a configuration.  Out: findings, a sentence each.  Never here: mending anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cbir_daemon.config import Config
from cbir_daemon.daemon.rooms import INDEX_FILE, MODELS_FOLDER
from cbir_daemon.errors import CbirError
from cbir_daemon.map import ArtifactRefusedError, check_artifact
from cbir_daemon.map.environment import medium_folder
from cbir_daemon.store import Store, remedy

WATCHES_FILE = Path("/proc/sys/fs/inotify/max_user_watches")
FEWEST_WATCHES = 8_192
"""Folders that can be watched on the smallest usual setting; fewer than that will not do for albums."""

PRIVATE = 0o077
"""Permission bits that nobody but the owner may have on the state."""


def check(config: Config, watches_file: Path = WATCHES_FILE) -> list[str]:
    """Return the findings, most important first; none when all is sound.

    Parameters
    ----------
    config : Config
    watches_file : Path
        Where the kernel says how many folders may be watched.
    """
    return [*_state(config), *_index(config), *_limits(watches_file)]


def _state(config: Config) -> Iterator[str]:
    if not config.state_dir.is_dir():
        yield f"state: {config.state_dir} is not there yet; the daemon makes it"
        return
    for path in (config.state_dir, config.state_dir / INDEX_FILE):
        if path.exists() and path.stat().st_mode & PRIVATE:
            yield f"state: {path} can be read by others; chmod go= {path}"


def _index(config: Config) -> Iterator[str]:
    path = config.state_dir / INDEX_FILE
    if not path.exists():
        return
    store = Store(path)
    try:
        store.open_existing()
    except CbirError as error:
        yield f"index: {error}"
        return
    try:
        found = store.check()
        yield from (f"index: {finding}" for finding in found)
        if found:
            yield f"index: {remedy(path)}"
        yield from _artifact(config, store)
    except CbirError as error:
        yield f"index: {error}"
    finally:
        store.close()


def _artifact(config: Config, store: Store) -> Iterator[str]:
    for run in store.runs.all_active():
        if run.artifact is None or run.sha256 is None:
            continue
        try:
            models_dir = medium_folder(config.state_dir / MODELS_FOLDER, run.medium)
            check_artifact(models_dir, run.artifact, run.sha256, code_version=run.code_version)
        except ArtifactRefusedError as error:
            yield f"model: {error}"


def _limits(watches_file: Path) -> Iterator[str]:
    try:
        watches = int(watches_file.read_text())
    except (OSError, ValueError):
        yield "watching: this kernel has no inotify; albums are polled"
        return
    if watches < FEWEST_WATCHES:
        yield f"watching: fs.inotify.max_user_watches is {watches}; sysctl -w fs.inotify.max_user_watches=524288"
