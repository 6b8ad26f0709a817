"""The file of EfficientNet-Lite0 beside the state: made once from its weights, and again when it is another.

In: the folder of models.  Out: the file, and the digest that it must have.  Never here: what is in it; loading it.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cbir_daemon.errors import ModelError, StorageError
from cbir_daemon.meaning.weights import WEIGHTS_SHA256, weights_path
from cbir_daemon.system.child import Child
from cbir_daemon.system.files import synchronise, whole_file

GRAPH_VERSION = 1
"""Of how the weights become a graph; the file is made again when this rises."""

NETWORK_FILE: Final = "meaning-efficientnet-lite0.onnx"
RECORD_FILE: Final = "meaning-efficientnet-lite0.json"

WORKER_MODULE: Final = "cbir_daemon.meaning.worker"

BUILD_TIMEOUT_S: Final = 60.0
"""It takes a second on an idle machine."""

FOLDER_MODE: Final = 0o700

_SOURCE: Final = f"graph {GRAPH_VERSION} of {WEIGHTS_SHA256}"


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """An ONNX file.

    Parameters
    ----------
    path : Path
    sha256 : str
        Of its bytes, when it was made or first read.
    """

    path: Path
    sha256: str


def kept_network(models_dir: Path) -> NetworkFile | None:
    """Return the file as it was recorded, whose bytes nobody has looked at yet; None without one of this version."""
    try:
        record = json.loads((models_dir / RECORD_FILE).read_bytes())
        network = NetworkFile(models_dir / NETWORK_FILE, str(record["sha256"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return network if record.get("source") == _SOURCE and network.path.is_file() else None


def make_network(models_dir: Path) -> NetworkFile:
    """Make the file, in a process of its own that can open nothing but the weights.

    Parameters
    ----------
    models_dir : Path
        Made when it is missing.

    Raises
    ------
    ModelError
        When the weights are missing or refused.
    ChildError
        When the process died.
    TimedOutError
        When it took too long.
    StorageError
        When the disk refuses.
    """
    data = _built()
    network = NetworkFile(models_dir / NETWORK_FILE, hashlib.sha256(data).hexdigest())
    try:
        models_dir.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        # The network first: until it is recorded, it is none.
        for name, content in (
            (NETWORK_FILE, data),
            (RECORD_FILE, json.dumps({"source": _SOURCE, "sha256": network.sha256}).encode() + b"\n"),
        ):
            with whole_file(models_dir / name) as file:
                file.write(content)
        synchronise(models_dir)
    except OSError as error:
        raise StorageError(f"{models_dir}: cannot be written: {error.strerror}") from error
    return network


def _built() -> bytes:
    path = weights_path()
    if path is None:
        raise ModelError("the weights of EfficientNet-Lite0 are not installed")
    try:
        with path.open("rb") as weights:
            message = {"do": "build", "file": True}
            child = Child.started(WORKER_MODULE, message, descriptors=[weights.fileno()])
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    with closing(child):
        answer = child.receive(BUILD_TIMEOUT_S)
    if "refused" in answer.message:
        raise ModelError(str(answer.message["refused"]))
    return answer.blob
