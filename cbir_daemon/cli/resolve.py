"""`cbir resolve`: plans what to do with duplicates, does it, and takes it back.

In: groups of duplicates, plans, journals of runs.  Out: plans; files moved, linked or put back, by
`cbir_daemon.resolving`.  Never here: which files are duplicates.

The daemon keeps the journal and touches no file.  This process touches the files, with the rights of its user.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cbir_daemon.cli import text
from cbir_daemon.cli.asking import FOUND, NOTHING_FOUND
from cbir_daemon.cli.common import A_PATH, AS_JSON, connected, maybe_absolute
from cbir_daemon.cli.duplicates import ACROSS, ALBUM, KIND, read_file
from cbir_daemon.cli.printing import print_answer, print_json
from cbir_daemon.client import Client
from cbir_daemon.comparison import LookedAt
from cbir_daemon.errors import BadRequestError, StorageError
from cbir_daemon.kinds import duplicate_kind, facts_of
from cbir_daemon.protocol.messages import path_from_json, path_to_json
from cbir_daemon.protocol.plan import ACTIONS, KEEP, LINKS, MOVE, TRASH, Line, dumped
from cbir_daemon.protocol.tasks import maybe_path_to_json, task_from_json
from cbir_daemon.records import ResolveTask, TaskState
from cbir_daemon.resolving import Runner

if TYPE_CHECKING:
    from cbir_daemon.cli.documents import Resolved, ResolvedFile
    from cbir_daemon.protocol import answers


@dataclass(frozen=True, slots=True)
class Choice:
    """Which groups a plan is made of, and what it does with the files that are not kept.

    Parameters
    ----------
    action : str
        One of `protocol.plan.ACTIONS`.
    folder : Path or None
        Where `move` puts files; absolute.
    kind : str or None
        Only groups of this kind; None for all that `cbir duplicates` lists.
    album : Path or None
        Only groups with an image below this folder; absolute.
    across : bool
        Only groups with images of more than one album.
    unlooked : bool
        Whether a copy may go, too, that the vectors alone call so.
    """

    action: str
    folder: Path | None
    kind: str | None
    album: Path | None
    across: bool
    unlooked: bool

    def asked(self, client: Client) -> answers.Duplicates:
        """Ask the daemon for the groups."""
        # Only files of the same bytes can share them.
        kind = duplicate_kind(same_bytes=True).value if self.action in LINKS else self.kind
        return client.duplicates(kind=kind, album=self.album, across=self.across, unlooked=self.unlooked)


_CHOICE = (
    click.option(
        "--action",
        type=click.Choice(ACTIONS),
        default=TRASH,
        show_default=True,
        help="What to do with images that are not kept.",
    ),
    click.option("--to", "folder", type=A_PATH, metavar="FOLDER", help="Where --action move puts files."),
    KIND,
    ALBUM,
    ACROSS,
    click.option("--unlooked", is_flag=True, help="Also copies whose files could not be compared."),
)


def choosing(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options of a `Choice` to a command, which gets them as its parameter `choice`.

    Raises
    ------
    BadRequestError
        By the command, when `--to` is there without `--action move`, or the other way round.
    """

    @functools.wraps(command)
    def with_choice(
        *,
        action: str,
        folder: Path | None,
        kind: str | None,
        album: Path | None,
        across: bool,
        unlooked: bool,
        **options: object,
    ) -> int:
        if (action == MOVE) != (folder is not None):
            raise BadRequestError("--to and --action move need each other", hint="give both or none")
        choice = Choice(action, maybe_absolute(folder), kind, maybe_absolute(album), across, unlooked)
        return command(choice=choice, **options)

    for option in reversed(_CHOICE):
        with_choice = option(with_choice)
    return with_choice


@click.command()
@click.option("--plan", type=A_PATH, metavar="FILE", help="Write the plan to FILE, or with --apply do what it says.")
@click.option("--apply", "is_applied", is_flag=True, help="Do what the plan says, after checking each file again.")
@click.option("--undo", type=click.IntRange(1), metavar="ID", help="Take back what a run did.")
@click.option(
    "--continue", "continued", type=click.IntRange(1), metavar="ID", help="Go on with a run that was broken off."
)
@click.option("--list", "is_listed", is_flag=True, help="List the runs.")
@choosing
@AS_JSON
def resolve(
    plan: Path | None,
    is_applied: bool,
    undo: int | None,
    continued: int | None,
    is_listed: bool,
    choice: Choice,
    as_json: bool,
) -> int:
    """Plan what to do with duplicates, do it, take it back.

    Without options it shows what would be done, and changes nothing.  Nothing is ever deleted for good.  Exit status 1
    when there is nothing to do, or nothing could be done.
    """
    _check_together(plan, is_applied, undo, continued, is_listed)
    with connected() as client:
        if is_listed:
            runs = client.resolve_runs()
            print_answer(runs, lambda reply: text.runs(reply["runs"]), as_json=as_json)
            return FOUND if runs["runs"] else NOTHING_FOUND
        if undo is not None:
            return _run(client, undo, TaskState.UNDONE, as_json=as_json)
        if continued is not None:
            return _run(client, continued, TaskState.DONE, as_json=as_json)
        if is_applied and plan is not None:
            return _run(
                client,
                client.resolve_start(read_file(plan), unlooked=choice.unlooked)["run"],
                TaskState.DONE,
                as_json=as_json,
            )
        answer = choice.asked(client)
    shown = _show(list(plan_of(answer, choice)), plan, as_json=as_json)
    if not choice.unlooked and any(group["look"] == LookedAt.VECTORS for group in answer["groups"]):
        click.echo("copies whose files could not be compared stay; --unlooked takes them too", err=True)
    return shown


def _check_together(
    plan: Path | None, is_applied: bool, undo: int | None, continued: int | None, is_listed: bool
) -> None:
    if (plan is not None or is_applied) + (undo is not None) + (continued is not None) + is_listed > 1:
        raise BadRequestError("--plan, --undo, --continue and --list exclude each other", hint="give one of them")
    if is_applied and plan is None:
        raise BadRequestError(
            "--apply needs --plan", hint="write a plan with `cbir resolve --plan plan.jsonl`, read it, and name it"
        )


# -- plans -------------------------------------------------------------------------------------------------------------


def plan_of(answer: answers.Duplicates, choice: Choice) -> Iterator[Line]:
    """Yield the lines of a plan for the groups of `cbir duplicates`; each file is in one of them at most.

    Parameters
    ----------
    answer : Duplicates
        Groups without an image that may go have no lines.
    choice : Choice
        What to do with each file that may go.
    """
    for number, group in enumerate(distinct(answer["groups"]), 1):
        if any(not image["keep"] for image in group["images"]):
            yield from lines_of(number, group["images"], choice)


def distinct(groups: Iterable[answers.Group]) -> list[answers.Group]:
    """Return the groups without those of equal files that are part of a group of copies."""
    groups = list(groups)
    of_copies = [not facts_of(group["kind"]).has_same_bytes for group in groups]
    copied = {image["digest"] for group in compress(groups, of_copies) for image in group["images"]}
    return [
        group
        for group, is_of_copies in zip(groups, of_copies, strict=True)
        if is_of_copies or group["images"][0]["digest"] not in copied
    ]


def lines_of(number: int, images: Iterable[answers.GroupImage], choice: Choice) -> Iterator[Line]:
    """Yield a line for each name of each image of a group.

    Parameters
    ----------
    number : int
        Of the group, in the plan.
    images : iterable of GroupImage
        All of the group, those to keep too.
    choice : Choice
        What to do with each file that may go.
    """
    images = list(images)
    kept = {image["digest"] for image in images if image["keep"]}
    for image in images:
        stays = image["keep"]
        kind = "" if stays else duplicate_kind(same_bytes=image["digest"] in kept).value
        for name in (image["path"], *image["names"]):
            is_first = name is image["path"]
            yield Line(
                group=number,
                action=KEEP if stays else choice.action,
                path=path_from_json(name),
                digest=bytes.fromhex(image["digest"]),
                size_bytes=image["size"],
                mtime_ns=image["mtime_ns"],
                kind=kind,
                why=image["why"] if is_first else "is another name of the file before",
                folder=None if stays or choice.folder is None else bytes(choice.folder),
            )


def write_plan(lines: Iterable[Line], file: Path) -> None:
    """Write a plan to a new file: one that is there may have been edited.

    Parameters
    ----------
    lines : iterable of Line
        The plan.
    file : Path
        The file to write.

    Raises
    ------
    BadRequestError
        When the file is there already.
    StorageError
        When it cannot be written.
    """
    try:
        with file.open("x", encoding="utf-8") as plan:
            plan.write(dumped(lines))
    except FileExistsError as error:
        raise BadRequestError(
            f"{file}: exists already", hint=f"`cbir resolve --plan {file} --apply` applies it; or give another name"
        ) from error
    except OSError as error:
        raise StorageError(f"{file}: cannot be written: {error.strerror}", hint="give another name") from error
    click.echo(f"wrote {file}: read it, change it, and do it with `cbir resolve --plan {file} --apply`", err=True)


def _show(lines: list[Line], plan: Path | None, *, as_json: bool) -> int:
    tasks = [_planned(line, lines) for line in lines if line.action != KEEP]
    if plan is not None and tasks:
        write_plan(lines, plan)
    document: Resolved = {"run": None, "saves": sum(task["size"] for task in tasks), "tasks": tasks}
    if plan is None or as_json:
        print_answer(document, text.tasks, as_json=as_json)
    if not tasks:
        click.echo("nothing to resolve", err=True)
    return FOUND if tasks else NOTHING_FOUND


def _planned(line: Line, lines: Iterable[Line]) -> ResolvedFile:
    keep = next(kept for kept in lines if kept.group == line.group and kept.action == KEEP)
    return {
        "path": path_to_json(line.path),
        "action": line.action,
        "state": TaskState.PLANNED.value,
        "kind": line.kind,
        "keep": path_to_json(keep.path),
        "size": line.size_bytes,
        "why": line.why,
        "target": None,
    }


# -- runs --------------------------------------------------------------------------------------------------------------


def _run(client: Client, run: int, goal: TaskState, *, as_json: bool) -> int:
    """Do or undo the tasks of a run, and print how each came out."""

    def note(task: ResolveTask) -> None:
        target = None if task.target is None else bytes(task.target)
        client.resolve_note(task.id, task.state, target=target, reason=task.reason)

    runner = Runner(note)
    files: list[ResolvedFile] = []
    for task in map(task_from_json, client.resolve_tasks(run)["tasks"]):
        files.append(_resolved(runner.brought(task, goal)))
        if not as_json:
            click.echo(text.task(files[-1]))
    reached = [file for file in files if file["state"] == goal]
    if as_json:
        document: Resolved = {"run": run, "saves": sum(file["size"] for file in reached), "tasks": files}
        print_json(document)
    else:
        undo = f"; `cbir resolve --undo {run}` takes it back" if reached and goal == TaskState.DONE else ""
        click.echo(f"run {run}: {len(reached)} {goal}, {len(files) - len(reached)} left alone{undo}", err=True)
    return FOUND if reached else NOTHING_FOUND


def _resolved(task: ResolveTask) -> ResolvedFile:
    """Return a task of the journal as it is printed; `why` says why its file was left alone."""
    return {
        "path": path_to_json(bytes(task.path)),
        "action": task.action,
        "state": task.state.value,
        "kind": task.kind,
        "keep": maybe_path_to_json(task.keep),
        "size": task.size_bytes,
        "why": task.reason,
        "target": maybe_path_to_json(task.target),
    }
