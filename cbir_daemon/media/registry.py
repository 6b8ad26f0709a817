"""Find media by their names.

In: names.  Out: `FileMedium`s.  Never here: what a medium does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from cbir_daemon.decode import Reader
from cbir_daemon.errors import ConfigError
from cbir_daemon.part_medium import PartMedium
from cbir_daemon.records import IMAGE

GROUP: Final = "cbir_daemon.media"
"""Group of the entry points that name media: `NAME = "module:object"`, the object a `FileMedium`."""

BUILT_IN: Mapping[str, str] = {"audio": "cbir_daemon.sound:AUDIO", "text": "cbir_daemon.text:TEXT"}
"""Name of a medium of this package -> where it is."""


@dataclass(frozen=True, slots=True)
class FileMedium:
    """A medium besides pictures.

    Parameters
    ----------
    reader : Reader
        Which files it has, and the code that reads them in the workers.
    medium : PartMedium
        How its files are compared.
    """

    reader: Reader
    medium: PartMedium


def names() -> tuple[str, ...]:
    """Return the names of all media that are installed, the pictures' first; none is imported."""
    return (IMAGE, *BUILT_IN, *sorted({point.name for point in entry_points(group=GROUP)} - {IMAGE, *BUILT_IN}))


def load(asked: Sequence[str], built_in: Mapping[str, str] = BUILT_IN) -> tuple[FileMedium, ...]:
    """Import media.

    Parameters
    ----------
    asked : sequence of str
        Names, in the order in which their readers claim bytes; that of the pictures is passed over.
    built_in : mapping
        Name -> where the medium is, of those that are no entry points.

    Returns
    -------
    tuple of FileMedium
        One for each name.

    Raises
    ------
    ConfigError
        When there is no medium of a name, or it is none.
    """
    return tuple(_loaded(name, built_in) for name in asked if name != IMAGE)


def _loaded(name: str, built_in: Mapping[str, str]) -> FileMedium:
    found = _import(name, _location(name, built_in))
    if not isinstance(found, FileMedium):
        raise ConfigError(f"medium {name!r} is no FileMedium", hint="its package is broken: see docs/media.md")
    if {found.reader.medium, found.medium.name} != {name}:
        raise ConfigError(
            f"the package of the medium {name!r} defines one named {found.medium.name!r}", hint="its package is broken"
        )
    if found.reader.extractor != found.medium.extractor:
        raise ConfigError(
            f"medium {name!r}: {found.reader.extractor} makes no vectors for {found.medium.extractor}",
            hint="its package is broken",
        )
    return found


def _location(name: str, built_in: Mapping[str, str]) -> str:
    if name in built_in:
        return built_in[name]
    points = [point for point in entry_points(group=GROUP) if point.name == name]
    if not points:
        raise ConfigError(
            f"there is no medium {name!r}", hint=f"installed are {', '.join(names())}; see the setting `media`"
        )
    return points[0].value


def _import(name: str, location: str) -> object:
    point = EntryPoint(name, location, GROUP)
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"medium {name!r} cannot be imported: {error}", hint="reinstall its package") from error
