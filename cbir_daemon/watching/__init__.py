"""How a change in an album is noticed: events of the kernel, walks over folders, and the mailbox both fill.

In: folders.  Out: paths that may have changed, each once, when nothing has touched it for a while.  Never here: the
index, what is in a file.

`events` hears of changes, `walk` finds them by comparing states, `mailbox` holds a path until it is quiet.
"""
