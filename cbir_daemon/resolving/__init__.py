"""What is done to the files of duplicates, so that nothing is lost and all of it can be undone.

In: lines of a plan; tasks of a journal.  Out: files in the trash, in a folder or sharing their bytes, and back again.
Never here: which files are duplicates, SQL, sockets, printing.

It runs in `cbir`, not in the daemon.  Who asks owns the files and has a trash; the daemon may be a system user to whom
the albums are read-only, and a process that reads untrusted bytes all day is better off without the right to remove a
file.  The journal is the daemon's: a task is noted there as begun, with the place where the file will be, before its
file is touched, and as done after.  Whatever is killed in between is told from what is on the disk.

`plan` reads and writes the lines that a person edits, `trash` knows where a trash is, `moving` and `linking` do the
acts and take them back, `runner` goes through tasks.
"""

from cbir_daemon.resolving.plan import ACTIONS, KEEP, LINKS, MOVE, TRASH, Line, dumped, parsed
from cbir_daemon.resolving.runner import Note, Runner
from cbir_daemon.resolving.tasks import SkipError, State, Task

__all__ = [
    "ACTIONS",
    "KEEP",
    "LINKS",
    "MOVE",
    "TRASH",
    "Line",
    "Note",
    "Runner",
    "SkipError",
    "State",
    "Task",
    "dumped",
    "parsed",
]
