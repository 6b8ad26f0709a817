"""The files of duplicates are moved, linked and put back, so that nothing is lost and all of it can be undone.

In: tasks of a journal.  Out: files in the trash, in a folder or sharing their bytes, and back again.
Never here: which files are duplicates, SQL, sockets, printing.

It runs in `cbir`, not in the daemon.  The user who runs `cbir` owns the files and has a trash; the daemon may be a
system user to whom the albums are read-only, and a process that reads untrusted bytes all day is better off without the
right to remove a file.  The journal is the daemon's: a task is noted there as begun, with the place where the file will
be, before its file is touched, and as done after.  After a kill in between, the files on the disk show how far it was.

`trash` knows where a trash is, `moving` and `linking` do the acts and take them back, `runner` goes through tasks.  A
plan is read by `protocol.plan`, a task travels by `protocol.tasks`: the daemon imports those, nothing of this folder.
"""

from cbir_daemon.resolving.runner import Note, Runner
from cbir_daemon.resolving.tasks import SkipError

__all__ = ["Note", "Runner", "SkipError"]
