"""`cbir review`: shows groups of duplicates in a terminal, one after the other, and asks which image to keep.

In: groups, answers from the terminal.  Out: a plan for `cbir resolve`, dismissed pairs.  Never here: touching a file of
an album.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cbir_daemon.cli import lines, text
from cbir_daemon.cli.asking import FOUND, NOTHING_FOUND
from cbir_daemon.cli.common import A_PATH, AS_JSON, connected
from cbir_daemon.cli.printing import print_json
from cbir_daemon.cli.resolve import Choice, choosing, distinct, lines_of, write_plan
from cbir_daemon.client import Client
from cbir_daemon.errors import BadRequestError
from cbir_daemon.protocol.messages import path_from_json, path_to_json
from cbir_daemon.protocol.plan import Line

if TYPE_CHECKING:
    from cbir_daemon.cli.documents import Reviewed
    from cbir_daemon.protocol.answers import GroupImage

HELP = "k keep the marked one; 1 to {count} keep that one instead; d no duplicates; o open; s skip; q stop"
DEFAULT_PLAN = Path("plan.jsonl")


@dataclass
class Decisions:
    """The decisions of a review so far.

    Parameters
    ----------
    lines : list of Line
        Of the plan.
    planned, dismissed, skipped : int
        Groups that got lines, that are no duplicates, and that stay as they are.
    """

    lines: list[Line] = field(default_factory=list)
    planned: int = 0
    dismissed: int = 0
    skipped: int = 0


@click.command()
@click.option(
    "--plan", type=A_PATH, metavar="FILE", default=DEFAULT_PLAN, show_default=True, help="New file for the plan."
)
@choosing
@AS_JSON
def review(plan: Path, choice: Choice, as_json: bool) -> int:
    """Go through the groups of duplicates and decide.

    Asks for each group which image to keep.  The answers become a plan for `cbir resolve`; "no duplicates" is
    remembered at once.  No file is touched.  Exit status 1 when there is nothing to review.
    """
    if os.path.lexists(plan):
        raise BadRequestError(f"{plan}: exists already", hint="give another name with --plan")
    decisions = Decisions()
    with connected() as client:
        groups = distinct(choice.asked(client)["groups"])
        for number, group in enumerate(groups, 1):
            click.echo(f"\n{number} of {len(groups)}: {group['kind']}, frees {lines.size(group['saves'])}", err=True)
            answer = _ask(group["images"])
            if answer == "q":
                break
            _take(decisions, client, group["images"], answer, number, choice)
    if decisions.lines:
        write_plan(decisions.lines, plan)
    _say(decisions, plan, as_json=as_json)
    return FOUND if groups else NOTHING_FOUND


def _ask(images: Sequence[GroupImage]) -> str:
    """Show a group and return the answer: "k", "d", "s", "q" or a number.  "o" opens the files, and is asked again."""
    for line in _numbered(images):
        click.echo(line, err=True)
    numbers = [str(number) for number in range(1, len(images) + 1)]
    prompt = HELP.format(count=len(images))
    while True:
        try:
            answer = str(click.prompt(prompt, default="s", show_default=False, err=True)).strip().lower()
        except click.Abort:
            # The end of the input, or Ctrl-C: what was decided until now counts.
            return "q"
        if answer == "o":
            for image in images:
                click.launch(os.fsdecode(path_from_json(image["path"])))
        elif answer in ("k", "d", "s", "q", *numbers):
            return answer


def _numbered(images: Sequence[GroupImage]) -> Iterator[str]:
    rows = [
        (
            f"{'*' if image['keep'] else ' '}{number:3d}",
            image.get("summary") or f"{image['width']}x{image['height']}",
            lines.size(image["size"]),
            f"{lines.path(image['path'])}  ({image['why']})",
        )
        for number, image in enumerate(images, 1)
    ]
    yield from lines.table(rows)


def _take(
    decisions: Decisions, client: Client, images: Sequence[GroupImage], answer: str, number: int, choice: Choice
) -> None:
    if answer == "d":
        paths = [Path(os.fsdecode(path_from_json(image["path"]))) for image in images]
        for first, second in itertools.combinations(paths, 2):
            client.dismiss(first, second)
        decisions.dismissed += 1
        return
    if answer not in ("k", "s"):
        images = [_marked(image, is_kept=place == int(answer)) for place, image in enumerate(images, 1)]
    lines = [] if answer == "s" else list(lines_of(number, images, choice))
    if any(line.kind for line in lines):
        decisions.lines += lines
        decisions.planned += 1
    else:
        decisions.skipped += 1


def _marked(image: GroupImage, *, is_kept: bool) -> GroupImage:
    why = "was chosen" if is_kept else "is not the one that was chosen"
    return {**image, "keep": is_kept, "why": why}


def _say(decisions: Decisions, plan: Path, *, as_json: bool) -> None:
    written = path_to_json(bytes(plan.absolute())) if decisions.lines else None
    document: Reviewed = {
        "planned": decisions.planned,
        "dismissed": decisions.dismissed,
        "skipped": decisions.skipped,
        "plan": written,
    }
    if as_json:
        print_json(document)
    else:
        click.echo(text.reviewed(document))
