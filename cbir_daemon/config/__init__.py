"""The operator's decisions: TOML, environment and flags in, one frozen `Config` out.

`settings` declares every key once, `checks` says what each accepts, `places` knows where things lie, `reading` puts
them together, `text` writes them down.  Never here: who uses a value, and anything the program changes by itself.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cbir_daemon.config.checks import is_within
    from cbir_daemon.config.places import client_socket_paths
    from cbir_daemon.config.reading import load
    from cbir_daemon.config.settings import (
        AlbumConfig,
        AlertsConfig,
        Config,
        DecodeConfig,
        DuplicatesConfig,
        LogConfig,
        MatchConfig,
        ModelConfig,
        PageConfig,
        ServerConfig,
        SinkConfig,
        WatchConfig,
    )
    from cbir_daemon.config.text import reference, sample, show, tables

__all__ = [
    "AlbumConfig",
    "AlertsConfig",
    "Config",
    "DecodeConfig",
    "DuplicatesConfig",
    "LogConfig",
    "MatchConfig",
    "ModelConfig",
    "PageConfig",
    "ServerConfig",
    "SinkConfig",
    "WatchConfig",
    "client_socket_paths",
    "is_within",
    "load",
    "reference",
    "sample",
    "show",
    "tables",
]

_HOMES = {
    "client_socket_paths": "places",
    "is_within": "checks",
    "load": "reading",
    "reference": "text",
    "sample": "text",
    "show": "text",
    "tables": "text",
}


if not TYPE_CHECKING:  # So that mypy still refuses a name that is not there.

    def __getattr__(name: str) -> object:
        import importlib  # noqa: PLC0415 -- as below

        # The client asks only where the socket is, and its whole start is part of every query: the rest is loaded
        # when it is asked for (PEP 562).
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'settings')}"), name)
