"""The one declaration of every setting: name, type, default, what is accepted, and a line of help.

The checks, the sample, `cbir-daemon config show` and `docs/configuration.md` are all made from the fields below.  Never
here: reading them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path

from cbir_daemon.config import checks
from cbir_daemon.config.checks import Check
from cbir_daemon.kinds import kinds_that
from cbir_daemon.records import IMAGE, SinkType

ABOUT = "about"
MIB = 1024 * 1024
MEANING = "meaning"
"""The space of the map that needs a network."""

MAP_FEATURES = ("look", "grey", "raw", MEANING)
"""The spaces of the map that `model.features` may name, the default first."""

DAY_S = 86_400.0
EFFICIENTNET_LITE0 = "efficientnet-lite0"
"""The network that the extra `meaning` brings."""

LOG_SINK = "log"
"""The sink that is always there; every other one is a table of its own."""

_ALERTING = kinds_that(lambda facts: facts.raises_alerts)

KEEP_RULES = ("original", "resolution", "format", "compression", "merits", "date", "whole", "folder", "oldest")
"""The rules that choose the image of a group to keep, in the order in which they are asked."""


def usable_processors() -> int:
    """Return how many processors this process may run on, at least 1."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class About:
    """The declaration of a setting.

    Parameters
    ----------
    check : Check
        What is accepted.
    help : str
        What it does, as one sentence.
    example : str
        Shown in the sample in place of a default that says nothing.
    """

    check: Check
    help: str
    example: str = ""


def _about(check: Check, text: str, example: str = "") -> dict[str, About]:
    return {ABOUT: About(check, text, example)}


@dataclass(frozen=True, slots=True)
class AlbumConfig:
    """One watched folder."""

    path: Path = field(
        metadata=_about(checks.path_text(), "The folder; relative to this file, `~` is your home.", "~/Pictures")
    )
    watch: str = field(
        default="auto",
        metadata=_about(
            checks.one_of(("auto", "inotify", "poll")),
            "Notice changes by the kernel's events, by polling, or by what the file system allows.",
        ),
    )
    protected: bool = field(
        default=False, metadata=_about(checks.flag(), "Never propose to remove a file of this album.")
    )
    alerts: bool = field(
        default=True,
        metadata=_about(checks.flag(), "Raise alerts for new files of this album."),
    )


@dataclass(frozen=True, slots=True)
class SinkConfig:
    """A place to which alerts go."""

    name: str = field(metadata=_about(checks.name(), "What `alerts.sinks` calls it.", "phone"))
    type: str = field(
        metadata=_about(
            checks.one_of(SinkType),
            "A program, an address for POST, or a service of apprise.",
            SinkType.COMMAND,
        )
    )
    command: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            checks.command(),
            "For `command`: the program to run for each message.",
            "/usr/local/bin/tell",
        ),
    )
    url_file: Path | None = field(
        default=None,
        metadata=_about(checks.maybe_path(), "For `webhook` and `apprise`: a file with the address."),
    )
    url_env: str = field(
        default="",
        metadata=_about(checks.variable(), "The same in a variable of the daemon's environment."),
    )
    secret_file: Path | None = field(
        default=None,
        metadata=_about(checks.maybe_path(), "For `webhook`: a file with the secret that signs messages."),
    )
    secret_env: str = field(
        default="",
        metadata=_about(checks.variable(), "The same in a variable of the daemon's environment."),
    )
    timeout_s: float = field(
        default=30.0,
        metadata=_about(checks.number(0.1, 3600, "seconds"), "Longest time for one message."),
    )
    at_once: bool = field(
        default=False,
        metadata=_about(checks.flag(), "One message for each alert, at any hour, without bundling."),
    )


@dataclass(frozen=True, slots=True)
class WatchConfig:
    """How albums are watched."""

    settle_s: float = field(
        default=2.0,
        metadata=_about(checks.number(0, 3600, "seconds"), "A file is read when nothing has changed it for this long."),
    )
    rescan_s: float = field(
        default=3600.0,
        metadata=_about(checks.number(1, 31 * DAY_S, "seconds"), "Longest time between two walks of an album."),
    )
    poll_s: float = field(
        default=60.0,
        metadata=_about(checks.number(0.1, DAY_S, "seconds"), "Time between two looks through a polled album."),
    )
    exclude: tuple[str, ...] = field(
        default=(
            ".*",
            "@eaDir",
            "@Recycle",
            "#recycle",
            "#snapshot",
            "$RECYCLE.BIN",
            "System Volume Information",
            ".thumbnails",
            ".Trash*",
            "lost+found",
        ),
        metadata=_about(
            checks.globs(),
            "Names of files and folders to leave out (`*`, `?`, `[...]`); a pattern with a `/` is for the path inside "
            "the album.",
        ),
    )
    missing_fraction: float = field(
        default=0.5,
        metadata=_about(
            checks.number(0.01, 1),
            "An album that loses more than this share of its files at once is `missing`; nothing is forgotten.",
        ),
    )


@dataclass(frozen=True, slots=True)
class DecodeConfig:
    """How image files are read."""

    workers: int = field(
        default_factory=usable_processors,
        metadata=_about(
            checks.automatic(checks.count(1, 256), usable_processors),
            "Decode processes; `auto` is one for each processor.",
        ),
    )
    max_pixels: int = field(
        default=200_000_000,
        metadata=_about(
            checks.count(4096, 4_000_000_000, "pixels"), "A larger image is not decoded; `cbir errors` lists it."
        ),
    )
    max_file_bytes: int = field(
        default=512 * MIB,
        metadata=_about(
            # A frame between processes carries at most 2 GiB.
            checks.count(1024, 2047 * MIB, "bytes"),
            "A larger file is not read; a larger query is refused.",
        ),
    )
    timeout_s: float = field(
        default=30.0,
        metadata=_about(checks.number(0.1, 3600, "seconds"), "Longest time for one file."),
    )


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """How the map is fitted and when."""

    features: str = field(
        default="look",
        metadata=_about(
            checks.one_of(MAP_FEATURES),
            "By what images are near each other on the map: `look` (colours, edges, texture), `grey`, `raw` (the 4096"
            " grey numbers as they are), or `meaning` (what they show; needs `[meaning] model`).",
        ),
    )
    n_components: int | None = field(
        default=None,
        metadata=_about(
            checks.automatic(checks.count(2, 256), lambda: None),
            "Dimensions of the map; `auto` keeps the best of those tried.",
        ),
    )
    min_dist: float = field(
        default=0.0,
        metadata=_about(
            checks.number(0, 1),
            "Distance between the map's closest images: 0 packs groups, 0.8 has a third more neighbour recall.",
        ),
    )
    min_images: int = field(
        default=20,
        metadata=_about(checks.count(5, 1_000_000), "No map is fitted with fewer different images."),
    )
    max_fit_images: int = field(
        default=100_000,
        metadata=_about(checks.count(10, 10_000_000), "Most images that a map is fitted on; the rest are projected."),
    )
    refit_changed_fraction: float = field(
        default=0.2,
        metadata=_about(
            checks.number(0.001, 100),
            "A fit is due when images added and gone, as a share of those fitted, pass this.",
        ),
    )
    refit_min_changes: int = field(
        default=20,
        metadata=_about(checks.count(1, 10_000_000), "No fit is due for fewer images added and gone."),
    )
    refit_far_fraction: float = field(
        default=0.25,
        metadata=_about(
            checks.number(0.06, 1),
            "A fit is due when this share of the images added lies far from all fitted ones; 0.05 do by chance.",
        ),
    )
    refit_min_interval_s: float = field(
        default=600.0,
        metadata=_about(checks.number(0, 366 * DAY_S, "seconds"), "Shortest time between the starts of two fits."),
    )
    fit_hours: tuple[time, time] | None = field(
        default=None,
        metadata=_about(checks.hours(), "Local time in which fits may start by themselves; empty: always."),
    )
    threads: int = field(
        default_factory=usable_processors,
        metadata=_about(
            checks.automatic(checks.count(1, 256), usable_processors),
            "Threads of a fit; `auto` is one for each processor.",
        ),
    )
    scheduler: str = field(
        default="",
        metadata=_about(checks.scheduler(), "A Dask scheduler whose workers share the work of a fit; empty: none."),
    )
    model_idle_s: float = field(
        default=600.0,
        metadata=_about(
            checks.number(0, DAY_S, "seconds"), "The process that holds the map ends after this long without use."
        ),
    )
    seed: int = field(
        default=42,
        metadata=_about(checks.count(0, 2**32 - 1), "Seed of every random choice: the same images give the same map."),
    )


@dataclass(frozen=True, slots=True)
class MatchConfig:
    """When two images match."""

    copy_threshold: float | None = field(
        default=None,
        metadata=_about(
            checks.automatic(checks.number(0, 1), lambda: None),
            "Score from which a match is a copy; `auto` is the measured default.",
        ),
    )
    look: bool = field(
        default=True,
        metadata=_about(
            checks.flag(),
            "Compare the files of copies, to tell copies from shots of one scene.",
        ),
    )
    local: bool = field(
        default=False,
        metadata=_about(
            checks.flag(),
            "Find pictures by local features: turned, covered in part, or a small piece of one.",
        ),
    )


@dataclass(frozen=True, slots=True)
class MeaningConfig:
    """What pictures show."""

    model: str = field(
        default="",
        metadata=_about(
            checks.network(EFFICIENTNET_LITE0),
            f"The network that describes pictures: `{EFFICIENTNET_LITE0}`, an ONNX file of yours, or none.",
        ),
    )


@dataclass(frozen=True, slots=True)
class DuplicatesConfig:
    """Which image of a group is kept, and which are never removed."""

    keep: tuple[str, ...] = field(
        default=KEEP_RULES,
        metadata=_about(
            checks.list_of(KEEP_RULES),
            "Rules for the image to keep, the most important first.",
        ),
    )
    prefer: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            checks.globs(),
            "Folders whose images the rule `folder` keeps, the most important first.",
        ),
    )
    protect: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            checks.globs(),
            "Folders of which no file is ever removed: a name (`*`, `?`, `[...]`), or with a `/` the whole path.",
        ),
    )


@dataclass(frozen=True, slots=True)
class AlertsConfig:
    """Which duplicates raise alerts, and where these go."""

    min_kind: str = field(
        default=_ALERTING[-1].value,
        metadata=_about(checks.one_of(_ALERTING), "The weakest kind of match that raises an alert."),
    )
    min_score: float = field(
        default=0.0, metadata=_about(checks.number(0, 1), "The lowest score of a match that raises an alert.")
    )
    sinks: tuple[str, ...] = field(
        default=(LOG_SINK,),
        metadata=_about(
            checks.names(),
            "Where alerts go besides `cbir alerts`: `log`, and names of `[[sink]]` tables.",
        ),
    )
    bundle_s: float = field(
        default=10.0,
        metadata=_about(
            checks.number(0, 3600, "seconds"), "Alerts that follow each other within this time are one message."
        ),
    )
    interval_s: float = field(
        default=60.0,
        metadata=_about(
            checks.number(0, DAY_S, "seconds"),
            "Shortest time between two messages to one sink.",
        ),
    )
    quiet_hours: tuple[time, time] | None = field(
        default=None,
        metadata=_about(checks.hours(), "Local time in which no message goes out."),
    )
    retry_s: float = field(
        default=10.0,
        metadata=_about(
            checks.number(0.01, 3600, "seconds"),
            "Pause before a refused message is sent again; it doubles each time, to an hour.",
        ),
    )


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Who may ask, and by how many processes it is answered."""

    group: str = field(
        default="",
        metadata=_about(checks.group_name(), "Members of this group may connect too; empty: only the daemon's user."),
    )
    max_connections: int = field(
        default=64,
        metadata=_about(checks.count(1, 4096), "Clients served at the same time."),
    )
    search_processes: int = field(
        default_factory=usable_processors,
        metadata=_about(
            checks.automatic(checks.count(0, 256), usable_processors),
            "Search processes, started when searches wait; `auto` is one for each processor, 0: none.",
        ),
    )


@dataclass(frozen=True, slots=True)
class SharedConfig:
    """An index that several daemons share, on a Milvus of yours."""

    uri: str = field(
        default="",
        metadata=_about(checks.address(), "Where Milvus is; empty: nothing is shared."),
    )
    token_file: Path | None = field(
        default=None,
        metadata=_about(checks.maybe_path(), "A file with `user:password` or a token, where Milvus asks for one."),
    )
    ca_file: Path | None = field(
        default=None,
        metadata=_about(checks.maybe_path(), "For `https`: the certificate of who signed the server's, as PEM."),
    )
    site: str = field(
        default="",
        metadata=_about(checks.maybe_name(), "The name of this machine's index among the others."),
    )
    collection: str = field(
        default="cbir",
        metadata=_about(checks.collection(), "The beginning of the names of the collections in Milvus."),
    )
    share_paths: bool = field(default=True, metadata=_about(checks.flag(), "Tell other sites where files lie."))
    timeout_s: float = field(
        default=2.0,
        metadata=_about(
            checks.number(0.05, 60, "seconds"), "Longest time that a query waits for what other sites have."
        ),
    )


@dataclass(frozen=True, slots=True)
class PageConfig:
    """The page in a browser."""

    hosts: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            checks.hosts(),
            "By which browsers reach a proxy in front of `cbir page --unix`; none without a proxy.",
        ),
    )


@dataclass(frozen=True, slots=True)
class BackupConfig:
    """The copy of the index that the daemon keeps beside it."""

    every_days: float = field(
        default=7.0,
        metadata=_about(
            checks.number(0, 366, "days"),
            "Time between two checked copies to `index.sqlite.backup`; 0: never.",
        ),
    )


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is logged."""

    level: str = field(
        default="info",
        metadata=_about(
            checks.one_of(("debug", "info", "warning", "error")), "The least important message that is logged."
        ),
    )


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the operator decided.

    Parameters
    ----------
    albums : tuple of AlbumConfig
        Folders from the file and the command line, no folder twice, none inside another.
    sinks : tuple of SinkConfig
        Places to which alerts can go, no name twice.
    watch, decode, model, match, meaning, duplicates, alerts, server, shared, page, backup, log
        The sections of the file.
    state_dir, socket_path : Path
        Absolute; neither needs to exist.
    config_path : Path or None
        The file that was read; None when there was none.
    media : tuple of str
        Names of the media that are indexed.
    origins : mapping of str to str
        Where each value came from: "default", "flag --state", "environment CBIR_STATE", "file PATH" or "command
        line", by `state`, `socket`, `config`, `SECTION.KEY`, `album[N].KEY` and `sink[N].KEY`.
    """

    albums: tuple[AlbumConfig, ...]
    sinks: tuple[SinkConfig, ...]
    watch: WatchConfig
    decode: DecodeConfig
    model: ModelConfig
    match: MatchConfig
    meaning: MeaningConfig
    duplicates: DuplicatesConfig
    alerts: AlertsConfig
    server: ServerConfig
    shared: SharedConfig
    page: PageConfig
    backup: BackupConfig
    log: LogConfig
    state_dir: Path
    socket_path: Path
    config_path: Path | None
    media: tuple[str, ...]
    origins: Mapping[str, str]


LISTS = {"album": AlbumConfig, "sink": SinkConfig}
"""Tables of which there may be any number: `[[album]]`, `[[sink]]`."""

SECTIONS = {
    "watch": WatchConfig,
    "decode": DecodeConfig,
    "model": ModelConfig,
    "match": MatchConfig,
    "meaning": MeaningConfig,
    "duplicates": DuplicatesConfig,
    "alerts": AlertsConfig,
    "server": ServerConfig,
    "shared": SharedConfig,
    "page": PageConfig,
    "backup": BackupConfig,
    "log": LogConfig,
}

PLACES = {
    "state": About(checks.path_text(), "Folder of the index, the models and the lock."),
    "socket": About(checks.path_text(), "The Unix socket on which the daemon answers."),
}
"""Keys above the first section; flag and environment beat them."""

MEDIA: tuple[str, ...] = (IMAGE,)
"""The default of `media`."""

TOP = {
    "media": About(
        checks.names_with(IMAGE), "Kinds of files that are indexed besides images: `docs/media.md` lists them."
    ),
}
"""Further keys above the first section."""
