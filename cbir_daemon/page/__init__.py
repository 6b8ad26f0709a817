"""`cbir page`: the page in a browser, for this user on this machine and nobody else.

In: HTTP on a loopback address, or on a Unix socket of mode 0600.  Out: methods of the daemon passed through, previews
that it drew, the files of the page.  Never here: albums, the index, the original bytes of a file.

It is a process of its own, a client of the daemon's socket.  `keys` makes the two secrets, `address` tells the user's
own commands where the page is, `listening` binds, `guard` lets in or refuses, `routes` answers, `link` speaks to the
daemon, `limits` ends what takes too long, `applying` has a child do what a plan says.
"""
