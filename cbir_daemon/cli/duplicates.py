"""Commands of `cbir` about duplicates and decisions: `duplicates`, `dismiss`, `undismiss`, `decisions`.

In: arguments and answers.  Out: lines, JSON, CSV or paths.  Never here: which files go (`resolve`).
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cbir_daemon.cli import lines, text
from cbir_daemon.cli.asking import FOUND, NOTHING_FOUND
from cbir_daemon.cli.common import A_PATH, AS_JSON, absolute, connected, maybe_absolute
from cbir_daemon.cli.printing import print_answer, print_json, print_lines, print_paths0, say
from cbir_daemon.errors import BadRequestError, NotFoundError
from cbir_daemon.kinds import kinds_that

if TYPE_CHECKING:
    from cbir_daemon.protocol import answers

COLUMNS = ("group", "kind", "keep", "path", "width", "height", "size", "format", "taken", "score", "digest", "why")
"""Of `cbir duplicates --format csv`."""

_LISTED = [kind.value for kind in kinds_that(lambda facts: facts.is_listed)]
_GROUPED = [kind.value for kind in kinds_that(lambda facts: facts.is_grouped)]
_MAY_GO = [kind.value for kind in kinds_that(lambda facts: facts.may_go)]

KIND = click.option("--kind", type=click.Choice(_MAY_GO), help="Only groups of this kind.")
ALBUM = click.option("--album", type=A_PATH, metavar="FOLDER", help="Only groups with an image below this folder.")
ACROSS = click.option("--across", is_flag=True, help="Only groups with images of more than one album.")


@click.command()
@click.option(
    "--kind",
    type=click.Choice(_GROUPED),
    help=f"Only groups of this kind; without it {' and '.join(_LISTED)}.",
)
@ALBUM
@ACROSS
@click.option("--sites", is_flag=True, help="Instead, list the images of which other sites have copies.")
@click.option("--paths0", is_flag=True, help="Print only paths of images not kept, each ended by a zero byte.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "csv"]), default="text", help="Form of the output."
)
@AS_JSON
def duplicates(
    kind: str | None, album: Path | None, across: bool, sites: bool, paths0: bool, form: str, as_json: bool
) -> int:
    """List groups of images that show the same.

    Each group has an image to keep, and says why.  Those that free most space come first.  Exit status 1 when there are
    none.
    """
    with connected() as client:
        answer = client.duplicates(kind=kind, album=maybe_absolute(album), across=across, sites=sites)
    if answer.get("partial"):
        say(f"left out, because it did not answer: {', '.join(answer['partial'])}")
    if paths0:
        print_paths0(_spare(answer))
    elif form == "csv":
        click.echo(_csv(answer), nl=False)
    else:
        print_answer(answer, text.groups, as_json=as_json or form == "json")
    return FOUND if answer["groups"] else NOTHING_FOUND


def _spare(answer: answers.Duplicates) -> list[answers.WirePath]:
    """Return the names of all images that are not kept; a file that is in two groups has its names once."""
    spare = {
        image["digest"] + repr(image["path"]): (image["path"], *image["names"])
        for group in answer["groups"]
        for image in group["images"]
        if not image["keep"]
    }
    return [name for names in spare.values() for name in names]


def _csv(answer: answers.Duplicates) -> str:
    """Return a header and a row for each image; a path that is not UTF-8 has the bytes that it has on disk."""
    table = io.StringIO()
    rows = csv.DictWriter(table, COLUMNS, extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    for number, group in enumerate(answer["groups"], 1):
        for image in group["images"]:
            row = {**image, "group": number, "kind": group["kind"], "path": lines.raw_path(image["path"])}
            rows.writerow({**row, "keep": "yes" if image["keep"] else "no"})
    return table.getvalue()


# -- decisions ---------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("first", metavar="A", type=A_PATH)
@click.argument("second", metavar="B", type=A_PATH)
@AS_JSON
def dismiss(first: Path, second: Path, as_json: bool) -> None:
    """Say that A and B are no duplicates.

    The daemon remembers this for the two contents, for ever, wherever their files go.
    """
    words = {True: "dismissed: these are no duplicates", False: "was dismissed already"}
    with connected() as client:
        answer = client.dismiss(absolute(first), absolute(second))
    print_answer(answer, lambda reply: [words[reply["changed"]]], as_json=as_json)


@click.command()
@click.argument("first", metavar="A", type=A_PATH)
@click.argument("second", metavar="B", type=A_PATH)
@AS_JSON
def undismiss(first: Path, second: Path, as_json: bool) -> None:
    """Take `cbir dismiss A B` back."""
    words = {True: "taken back", False: "was not dismissed"}
    with connected() as client:
        answer = client.undismiss(absolute(first), absolute(second))
    print_answer(answer, lambda reply: [words[reply["changed"]]], as_json=as_json)


@click.group()
def decisions() -> None:
    """List what was dismissed, or import it from elsewhere."""


@decisions.command("list")
@AS_JSON
def decisions_list(as_json: bool) -> int:
    """List what was dismissed, oldest first.

    With --json each is a document on a line of its own, which `import` reads.  Exit status 1 when there are none.
    """
    with connected() as client:
        decided = client.decisions()["decisions"]
    if as_json:
        for decision in decided:
            print_json(decision)
    else:
        print_lines(text.decisions(decided))
    return FOUND if decided else NOTHING_FOUND


@decisions.command("import")
@click.argument("file", type=A_PATH)
@AS_JSON
def decisions_import(file: Path, as_json: bool) -> None:
    """Add the decisions in FILE.

    FILE is what `cbir decisions list --json` printed; `-` is standard input.
    """
    with connected() as client:
        answer = client.decisions_import(read_file(file))
    print_answer(answer, lambda reply: [f"{reply['read']} read, {reply['added']} of them new"], as_json=as_json)


def read_file(file: Path) -> bytes:
    """Return the bytes of a file, or of standard input for `-`.

    Raises
    ------
    BadRequestError
        When it is a folder.
    NotFoundError
        When it cannot be read.
    """
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except IsADirectoryError as error:
        raise BadRequestError(f"{file}: is a folder") from error
    except OSError as error:
        raise NotFoundError(f"{file}: {(error.strerror or 'cannot be read').lower()}") from error
