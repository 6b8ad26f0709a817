"""Runs a Milvus in a folder until standard input ends: `python milvus_child.py FOLDER PORT`.

In: the folder; the port, 0 for any.  Out: a line with the server's process id and its port, once it answers.
"""

from __future__ import annotations

import socket
import sys

from milvus import MilvusServer, MilvusServerConfig


class Config(MilvusServerConfig):  # type: ignore[misc]  # the wheel has no types
    """A configuration whose port may be one that a killed server had: its connections keep it for a minute."""

    def try_bind_port(self, port: int) -> socket.socket | None:
        """Return a socket that holds a port; None when it is taken."""
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind(("127.0.0.1", port))
        except OSError:
            held.close()
            return None
        return held


def main(folder: str, port: int) -> None:
    """Start, say so, and stop at the end of standard input."""
    server = MilvusServer(Config(**({"proxy_port": port} if port else {})))
    server.set_base_dir(folder)
    server.start()
    try:
        sys.stdout.write(f"{server.server_proc.pid} {server.listen_port}\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        server.stop()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
