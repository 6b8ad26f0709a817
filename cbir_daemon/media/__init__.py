"""The media besides pictures: which there are, by their names.

In: names.  Out: each one's reader and how its files are compared.  Never here: reading, comparing, pictures.

A medium that nobody asks for is not imported.  Those of this package are listed here; a plugin's package names its own
as an entry point of the group `cbir_daemon.media`.
"""

from cbir_daemon.media.registry import GROUP, FileMedium, load, names

__all__ = ["GROUP", "FileMedium", "load", "names"]
