"""Reverse image search for private photo albums: a daemon (`cbir-daemon`), its client (`cbir`), a library (`Index`)."""

__version__ = "0.1.0"

__all__ = ["Index"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cbir_daemon.library import Index
else:  # So that mypy still refuses a name that is not there.

    def __getattr__(name: str) -> object:
        import importlib  # noqa: PLC0415 -- as below

        # Every module of ours, and so every start of `cbir`, pays for this one: the library is loaded when it is asked
        # for (PEP 562).
        if name != "Index":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return importlib.import_module("cbir_daemon.library").Index
