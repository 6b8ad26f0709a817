"""Runs a Milvus in a folder until standard input ends: `python milvus_child.py FOLDER PORT`.

In: the folder; the port, 0 for any.  Out: a line with the server's process id and its port, once it answers.
"""

from __future__ import annotations

import sys

from milvus import MilvusServer, MilvusServerConfig


def main(folder: str, port: int) -> None:
    """Start, say so, and stop at the end of standard input."""
    server = MilvusServer(MilvusServerConfig(**({"proxy_port": port} if port else {})))
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
