"""Albums in which copies were planted, so that who finds pairs can be counted.

In: files and what was done to them.  Out: pairs that are to be found, counts.  Never here: how an album is made, who
finds pairs (`_finders`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import click

Pair = frozenset[str]


@dataclass
class Planted:
    """What was written: edited file -> (photograph, name of the edit); and photographs that are one picture.

    A pair of two files of one picture that is not planted is neither right nor wrong, whoever finds it.
    """

    folder: Path
    edits: dict[str, tuple[str, str]] = field(default_factory=dict)
    same: set[Pair] = field(default_factory=set)
    files: int = 0

    @property
    def right(self) -> set[Pair]:
        """The pairs that are to be found."""
        return {frozenset((edit, photograph)) for edit, (photograph, _) in self.edits.items()}

    def counted(self, found: set[Pair]) -> set[Pair]:
        """Return the pairs without those of photographs that are one picture, and of their edits."""
        return {pair for pair in found if frozenset(self.edits.get(name, (name,))[0] for name in pair) not in self.same}

    def missed(self, found: set[Pair]) -> dict[str, list[str]]:
        """Return the edited files whose pairs were not found, by name of the edit."""
        missed: dict[str, list[str]] = {}
        for edit, (photograph, kind) in sorted(self.edits.items()):
            if frozenset((edit, photograph)) not in found:
                missed.setdefault(kind, []).append(edit)
        return missed


def pairs_of(groups: Iterable[Iterable[object]]) -> set[Pair]:
    """Return every pair inside each group, by file name."""
    return {
        frozenset(pair)
        for group in groups
        for pair in itertools.combinations({Path(str(file)).name for file in group}, 2)
    }


def report(name: str, found: set[Pair], planted: Planted) -> None:
    """Say on stderr which pairs are wrong, and which edits were missed.

    Parameters
    ----------
    name : str
        Of who found them.
    found : set of Pair
        As `Planted.counted` returns them.
    planted : Planted
    """
    for pair in sorted(map(sorted, found - planted.right)):
        click.echo(f"{name}: wrong pair {' '.join(pair)}", err=True)
    for kind, names in sorted(planted.missed(found).items()):
        click.echo(f"{name}: missed {len(names)} of {kind}: {' '.join(names[:5])}", err=True)
