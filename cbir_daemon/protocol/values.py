"""Values made of parts, as `dataclasses` makes them, for modules that every start of `cbir` pays for.

In: nothing.  Out: a base class.  Never here: other imports; `dataclasses` takes as long to load as a bare Python takes
to start.
"""

from __future__ import annotations


class Value:
    """A value that is equal to another of its class with equal parts, which `__slots__` names."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, second: object) -> bool:
        return type(second) is type(self) and self._parts() == second._parts()

    __hash__ = None  # type: ignore[assignment]  # parts may be dictionaries

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}={part!r}" for name, part in zip(self.__slots__, self._parts(), strict=True))
        return f"{type(self).__name__}({parts})"

    def _parts(self) -> list[object]:
        return [getattr(self, name) for name in self.__slots__]
