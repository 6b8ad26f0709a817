"""Whose process is at the other end of a connection.

In: the two addresses of a TCP connection on this machine, or a Unix socket.  Out: a user id.  Never here: who may ask.

References
----------
proc(5), /proc/net/tcp; unix(7), SO_PEERCRED.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
WORD_BYTES = 4
LOCAL, REMOTE, USER = 1, 2, 7
"""Columns of a row."""

PEER_CREDENTIALS = struct.Struct("3i")
"""struct ucred: pid, uid, gid (unix(7))."""

READ_BYTES = 256 * 1024


class Peers:
    """Asks the kernel for the owners of connections.

    Notes
    -----
    The tables are opened once: a confined process opens no file.  Each look reads them anew.
    """

    def __init__(self) -> None:
        self._tables: list[int] = []
        for table in TABLES:
            # A machine may have no IPv6.
            with suppress(FileNotFoundError):
                self._tables.append(os.open(table, os.O_RDONLY | os.O_CLOEXEC))

    def close(self) -> None:
        """Close the tables."""
        for table in self._tables:
            os.close(table)

    def user_of(self, connection: socket.socket) -> int | None:
        """Return the user id of the process that connected; None when the kernel does not know it.

        Parameters
        ----------
        connection : socket.socket
            Accepted: of TCP from this machine, or a Unix socket.
        """
        if connection.family == socket.AF_UNIX:
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER_CREDENTIALS.size)
            return int(PEER_CREDENTIALS.unpack(raw)[1])
        try:
            # Their end of the connection is a socket of this machine too, with the addresses the other way round.
            local, remote = written(*connection.getpeername()[:2]), written(*connection.getsockname()[:2])
        except OSError:
            return None
        for row in self._rows():
            if row[LOCAL : REMOTE + 1] == [local, remote]:
                return int(row[USER])
        return None

    def _rows(self) -> Iterator[list[bytes]]:
        for table in self._tables:
            os.lseek(table, 0, os.SEEK_SET)
            text = b""
            while part := os.read(table, READ_BYTES):
                text += part
            yield from (line.split() for line in text.splitlines()[1:])


def written(host: str, port: int) -> bytes:
    """Return an address as the tables have it: each word of four bytes as a number of this machine, in hexadecimal.

    Parameters
    ----------
    host : str
        IPv4 or IPv6.
    port : int
    """
    packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    words = [packed[start : start + WORD_BYTES] for start in range(0, len(packed), WORD_BYTES)]
    numbers = (int.from_bytes(word, sys.byteorder) for word in words)
    return f"{''.join(f'{number:08X}' for number in numbers)}:{port:04X}".encode()
