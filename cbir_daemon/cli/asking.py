"""The commands that are asked again and again, `query` and `status`, without click.

In: the values of their options.  Out: one call of the daemon, its answer printed.  Never here: how an answer looks
(`matches`, `overview`), command lines (`options`, `declared`).
"""

from __future__ import annotations

import os
import sys

from cbir_daemon.cli.options import AS_JSON, Option, Share, Text, Whole, Words
from cbir_daemon.cli.printing import print_json, print_lines, print_paths0, say, write_file
from cbir_daemon.client import Client
from cbir_daemon.config.places import check_file, client_socket_paths
from cbir_daemon.errors import BadRequestError, NoAccessError, NotFoundError, UnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypedDict

    Connect = Callable[[], Client]

    class Filters(TypedDict):
        """The options that limit the matches of a query and of its sheet."""

        limit: int
        kind: str | None
        min_score: float
        by: str | None


FOUND = 0
NOTHING_FOUND = 1


def connected(socket: str | os.PathLike[str] | None) -> Client:
    """Return a client of the daemon that the command line, the environment or the configuration names.

    Parameters
    ----------
    socket : path or None
        From the command line.

    Raises
    ------
    ConfigError
        When the configuration says where the daemon is and cannot be read; when none answers, also for any other fault
        of its syntax.
    UnavailableError, ForbiddenError
        When no daemon answers, or none that is for this user.
    """
    try:
        return Client(client_socket_paths(socket, os.environ, folder()))
    except UnavailableError as error:
        check_file(os.environ, folder())
        # Only who has no daemon pays for it.
        from cbir_daemon.cli.start_hint import start_hint  # noqa: PLC0415

        raise UnavailableError(error.message, hint=start_hint(socket, os.environ)) from error


def folder() -> str:
    """Return the current folder; the root, when it was removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/"


def bytes_of(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a file that the daemon cannot read, or sees under another path.

    Raises
    ------
    NotFoundError
        When this process cannot read it either.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise NotFoundError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error


def query(
    connect: Connect,
    *,
    image: str,
    limit: int,
    kind: str | None,
    min_score: float,
    by: str | None,
    paths0: bool,
    sheet: str | None,
    explain: bool,
    site: str | None,
    as_json: bool,
) -> int:
    """Ask where an image is from, print what was found, and return the exit status.

    Parameters
    ----------
    connect : callable
        Returns a client of the daemon.
    image : str
        Path of the image; "-" for standard input.
    limit, kind, min_score, by
        As for `Client.query`.
    paths0 : bool
        Whether to print only paths, each followed by a zero byte.
    sheet : str or None
        Path of the picture of query and matches to write.
    explain : bool
        Whether to say how each match was verified.
    site : str or None
        Of whose images; None for those of all sites.
    as_json : bool
        Whether to print JSON.
    """
    path = os.path.join(folder(), image)
    source: str | bytes = sys.stdin.buffer.read() if image == "-" else path
    with connect() as client:
        filters: Filters = {"limit": limit, "kind": kind, "min_score": min_score, "by": by}
        sites = None if site is None else [site]
        try:
            answer = client.query(source, **filters, explain=explain, sites=sites)
        except (NoAccessError, NotFoundError):
            # The daemon may not read the file, or has another view of the file system; we may read it.
            source = bytes_of(path)
            answer = client.query(source, **filters, explain=explain, sites=sites)
        if sheet is not None:
            write_file(sheet, client.sheet(source, **filters))
    if paths0:
        # Of this machine only: what is given to `xargs` must not hit a file of the same name here.
        print_paths0(match["path"] for match in answer["matches"] if "site" not in match)
    elif as_json:
        print_json(answer)
    else:
        from cbir_daemon.cli.matches import matches  # noqa: PLC0415 -- each command pays for its own lines

        print_lines(matches(answer, explain=explain))
    if answer.get("partial"):
        say(f"left out, because it did not answer: {', '.join(answer['partial'])}")
    if not answer["matches"]:
        say("nothing found")
    return FOUND if answer["matches"] else NOTHING_FOUND


def status(connect: Connect, *, prometheus: bool, as_json: bool) -> int:
    """Print the state of the daemon, and return the exit status.

    Parameters
    ----------
    connect : callable
        Returns a client of the daemon.
    prometheus : bool
        Whether to print metrics.
    as_json : bool
        Whether to print JSON.

    Raises
    ------
    BadRequestError
        When both are asked for.
    """
    if prometheus and as_json:
        raise BadRequestError("--prometheus and --json exclude each other", hint="give one of them")
    if prometheus:
        return _measured(connect)
    with connect() as client:
        answer = client.status()
    if as_json:
        print_json(answer)
    else:
        from cbir_daemon.cli.overview import overview  # noqa: PLC0415 -- each command pays for its own lines

        print_lines(overview(answer))
    return FOUND


def _measured(connect: Connect) -> int:
    from cbir_daemon.cli import metrics  # noqa: PLC0415 -- as above

    try:
        with connect() as client:
            answer = client.status()
    except UnavailableError:
        # A collector should see that the daemon is down, and not the numbers of yesterday.
        print_lines(metrics.up(is_up=False))
        raise
    print_lines(metrics.metrics(answer))
    return FOUND


# `kinds.Kind` and `comparison.Likeness`, word for word: to load them takes as long as a bare Python takes to start.
KINDS = ("exact", "copy", "shot", "similar")
LIKENESSES = ("look", "grey", "meaning")


class Command:
    """A command that runs without click.

    Parameters
    ----------
    run : callable
        Takes what connects to the daemon, then the values of the options by name; returns the exit status.
    about : str
        The help text.
    options : tuple of Option
    """

    def __init__(self, run: Callable[..., int], about: str, *options: Option) -> None:
        self.run = run
        self.about = about
        self.options = options


COMMANDS = {
    "query": Command(
        query,
        """Find IMAGE in the albums: the same file, its copies, other shots, what looks like it.

        `-` reads the image from standard input.  Exit status 1 when nothing is found.
        """,
        Option("image", check=Text()),
        Option("limit", "-n", Whole(1, 1000), default=10, about="Matches at most."),
        Option("kind", "--kind", Words(KINDS), about="Only matches of this kind."),
        Option("min_score", "--min-score", Share(), default=0.0, about="Lowest score, 1 = same."),
        Option("by", "--by", Words(LIKENESSES), about="What `similar` goes by.  [default: meaning, if set, and look]"),
        Option("paths0", "--paths0", about="Print only paths, each ended by a zero byte, for `xargs -0`."),
        Option(
            "sheet", "--sheet", Text(), metavar="OUT.png", about="Also write a picture of the query and its matches."
        ),
        Option("site", "--site", Text(), metavar="NAME", about="Only images of this site of the shared index."),
        Option("explain", "--explain", about="Also say how each match was verified."),
        AS_JSON,
    ),
    "status": Command(
        status,
        """Show what there is, what is wrong and what is pending.

        Problems and what to do, albums, counts, progress, the map, and how near the next fit is.
        """,
        Option("prometheus", "--prometheus", about="Print metrics in the text format of Prometheus."),
        AS_JSON,
    ),
}
"""By name."""
