"""What an installation answers, without what differs from run to run.

In: commands and requests.  Out: for each its exit status, documents and text.  Never here: which are asked, and what
another installation answered.

Left out are numbers that measure this run (`VOLATILE`), times later than the beginning of the recording, and the path
of the home.  The clock is among the numbers: how far a change raises it is no part of the contract.
"""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypedDict

from tests.patience import PATIENCE_S
from tests.process.daemon import Daemon

HOME: Final = "~"
NOW: Final = "<now>"
TODAY: Final = "<today>"

VOLATILE: Final = frozenset(
    {
        "clock",
        "decode_peak_mib",
        "duration_s",
        "elapsed_s",
        "file_system",
        "model_worker_running",
        "peak_mib",
        "pid",
        "rate",
        "remaining_s",
        "schema",
        "search_processes",
        "searches_waiting",
        "took_ms",
        "version",
    }
)
"""Fields that stand for the machine, the moment or the release; only whether they are null is compared."""

TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00")
SAMPLE: Final = re.compile(r"^([^#].*) \S+$", re.MULTILINE)
"""A line of metrics: name and labels, then the value."""
DAY: Final = re.compile(r"\b\d{4}-\d\d-\d\d\b(?!T)")


class Answer(TypedDict):
    """What a command or a request gave.

    `documents` are those of `--json`, TOML or the socket; `text` is standard output when it is none of them; `stderr`
    is how many lines are on standard error: "none", "one" or "more".
    """

    status: int
    documents: list[Any]
    text: str
    stderr: str


Answers = dict[str, Answer]


class Recorder:
    """Asks a daemon and keeps its answers.

    Parameters
    ----------
    daemon : Daemon
    """

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.home = daemon.home
        self.answers: Answers = {}
        self.phase = ""
        self._since = datetime.now(UTC)

    def cbir(self, *argv: str | Path, stdin: bytes = b"") -> list[Any]:
        """Run `cbir ... --json`, keep its answer and return its documents."""
        return self._run("cbir", *argv, "--json", stdin=stdin)["documents"]

    def text(self, *argv: str | Path) -> None:
        """Run `cbir` for people and keep its answer."""
        self._run("cbir", *argv)

    def cbir_daemon(self, *argv: str | Path) -> None:
        """Run `cbir-daemon` and keep its answer."""
        self._run("cbir-daemon", *argv)

    def metrics(self) -> None:
        """Run `cbir status --prometheus` and keep names and labels; the values are those of `cbir status`."""
        answer = self._run("cbir", "status", "--prometheus")
        answer["text"] = SAMPLE.sub(r"\1", answer["text"])

    def toml(self, *argv: str | Path) -> None:
        """Run `cbir-daemon`, which prints TOML, and keep its lines and its values."""
        answer = self._run("cbir-daemon", *argv)
        answer["documents"] = [tomllib.loads(answer["text"])]

    def ask(self, method: str, blob: bytes = b"", **params: object) -> list[Any]:
        """Send a request to the socket, keep all messages of its answer, and return what they hold."""
        request = {"v": 1, "id": 1, "method": method, "params": params}
        messages = self.exchange(request | ({"bytes": len(blob)} if blob else {}), blob)
        shown = ", ".join(f"{name}={value!r}" for name, value in params.items())
        self.keep(f"{method}({shown})", {"status": 0, "documents": messages, "text": "", "stderr": "none"})
        return [message["ok"] for message in messages if "ok" in message]

    def exchange(self, request: object, blob: bytes = b"") -> list[Any]:
        """Send a request and return the messages of its answer, without their blobs; those of a follower end at one."""
        messages = []
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_S)
            connection.connect(str(self.daemon.state / "socket"))
            connection.sendall(json.dumps(request).encode() + b"\n" + blob)
            with connection.makefile("rb") as stream:
                while line := stream.readline():
                    messages.append(message := json.loads(line))
                    stream.read(message.get("bytes", 0))
                    if not message.get("more") or '"follow": true' in json.dumps(request):
                        break
        return messages

    def keep_file(self, path: Path) -> None:
        """Keep the JSON documents in a file, one a line."""
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        self.keep(f"the file {path}", {"status": 0, "documents": lines, "text": "", "stderr": "none"})

    def _run(self, command: str, *argv: str | Path, stdin: bytes = b"") -> Answer:
        done = self.daemon.run(*argv, stdin=stdin, command=command)
        documents = _documents(done.stdout) if "--json" in argv else None
        text = "" if documents is not None else os.fsdecode(done.stdout)
        lines = ("none", "one", "more")[min(2, len(done.stderr.splitlines()))]
        answer: Answer = {"status": done.returncode, "documents": documents or [], "text": text, "stderr": lines}
        return self.keep(" ".join((command, *map(str, argv))), answer)

    def keep(self, question: str, answer: Answer) -> Answer:
        """Keep an answer under its question; one that is asked again gets a number."""
        label = f"{self.phase}: {self._plain(question)}"
        times = sum(name == label or name.startswith(f"{label} #") for name in self.answers)
        kept: Answer = {
            "status": answer["status"],
            "documents": self._plain(answer["documents"]),
            "text": self._plain(answer["text"]),
            "stderr": answer["stderr"],
        }
        self.answers[f"{label} #{times + 1}" if times else label] = kept
        return kept

    def _plain(self, value: Any) -> Any:  # noqa: ANN401 -- JSON
        """Return a value without what differs from run to run."""
        if isinstance(value, str):
            return self._plain_text(value)
        if isinstance(value, list):
            return [self._plain(inner) for inner in value]
        if isinstance(value, dict):
            if value.keys() == {"b64"}:
                return f"b64:{self._plain_text(os.fsdecode(base64.b64decode(value['b64'])))}"
            return {key: _hidden(key, inner) if key in VOLATILE else self._plain(inner) for key, inner in value.items()}
        return value

    def _plain_text(self, text: str) -> str:
        text = text.replace(str(self.home), HOME)
        text = TIME.sub(lambda found: NOW if datetime.fromisoformat(found[0]) >= self._since else found[0], text)
        return DAY.sub(lambda found: TODAY if found[0] >= f"{self._since:%Y-%m-%d}" else found[0], text)


def _hidden(key: str, value: object) -> object:
    return None if value is None else f"<{key}>"


def _documents(stdout: bytes) -> list[Any] | None:
    """Return the documents, one a line; None when they are none."""
    try:
        return [json.loads(line) for line in stdout.splitlines()]
    except ValueError:
        return None
