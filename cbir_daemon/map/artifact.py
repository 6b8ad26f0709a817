"""Saved maps on disk: written whole or not at all, and read only when they are what was written.

In: a folder of finished files and the facts about them.  Out: an artifact (`model.joblib`, `codes.npy`,
`positions.npy`, `flat.npy`, `manifest.json`) under its own name, and whether one may be loaded.  Never
here: what is inside the files; unpickling; umap, numba, scikit-learn and joblib, whose versions are read from their
metadata, without importing them.

The digest of an artifact is the SHA-256 of its manifest's bytes.  The manifest holds the SHA-256 of each file, so one
changed bit anywhere changes or contradicts the digest that the daemon recorded in its index.
"""

from __future__ import annotations

import hashlib
import json
import platform
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.errors import ModelError, StorageError
from cbir_daemon.medium import Metric
from cbir_daemon.system import files

MODEL_VERSION = "map/2"
"""Layout and meaning of an artifact; a new name sets every older one aside."""

MODEL_FILE = "model.joblib"
CODES_FILE = "codes.npy"
FLAT_FILE = "flat.npy"
POSITIONS_FILE = "positions.npy"
MANIFEST_FILE = "manifest.json"
SEALED_FILES = (MODEL_FILE, CODES_FILE, POSITIONS_FILE, FLAT_FILE)

# A pickle of umap's is only sure to load, and numba's code only sure to do the same arithmetic, under the versions that
# wrote it.
PINNED_PACKAGES = ("joblib", "numba", "numpy", "scikit-learn", "scipy", "umap-learn")

PREFIX = "map-"
UNFINISHED_PREFIX = ".fit-"
FOLDER_MODE = 0o700
FILE_MODE = 0o600
MAX_MANIFEST_BYTES = 1024 * 1024


class ArtifactRefusedError(ModelError):
    """A saved map that may not be loaded: damaged, foreign, or of other versions.  Only a new fit helps."""

    refit_needed = True


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of an artifact.

    Parameters
    ----------
    model_version, code_version : str
        Of this room's layout, and of how codes are made from vectors.
    is_euclidean : bool
        Whether `metric` is the Euclidean one: the file says it so.
    versions : mapping of str to str
        Python and the pinned packages under which the map was fitted.
    parameters : mapping of str to number or str
        Hyper-parameters and seed, for the reader.
    files : mapping of str to str
        SHA-256 of each file, in hexadecimal.
    """

    model_version: str
    code_version: str
    is_euclidean: bool
    versions: Mapping[str, str]
    parameters: Mapping[str, int | float | str]
    files: Mapping[str, str]

    @property
    def metric(self) -> Metric:
        """How far apart the codes are."""
        return Metric.EUCLIDEAN if self.is_euclidean else Metric.COSINE

    def encode(self) -> bytes:
        """Return the manifest as the bytes that go to disk; equal manifests have equal bytes."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(fields, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """Read a manifest; raises `ValueError`, `TypeError` or `KeyError` on anything else."""
        # Maps of before there was another distance do not say which is theirs.
        fields = {"is_euclidean": False} | json.loads(data)
        return cls(**{name: fields[name] for name in cls.__slots__})


def running_versions() -> dict[str, str]:
    """Return the versions that a map fitted now depends on, without importing the packages."""
    major, minor, _ = platform.python_version_tuple()
    return {"python": f"{major}.{minor}"} | {name: metadata.version(name) for name in PINNED_PACKAGES}


def start_folder(models_dir: Path) -> Path:
    """Make an empty folder for an artifact in the making; `remove_artifacts` clears it when nothing becomes of it.

    Raises
    ------
    StorageError
        When it cannot be made.
    """
    folder = models_dir / f"{UNFINISHED_PREFIX}{secrets.token_hex(8)}"
    try:
        models_dir.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        folder.mkdir(FOLDER_MODE)
    except OSError as error:
        raise StorageError(f"cannot make {folder}: {error.strerror}") from error
    return folder


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing, readable by its owner only; the data is on the disk when the block ends.

    Parameters
    ----------
    path : Path
        An old file there is written over, in place.

    Yields
    ------
    BinaryIO

    Raises
    ------
    StorageError
        When the disk refuses.
    """
    with _saying_what_refused(path), files.new_file(path) as file:
        yield file


class _WriteOnly:
    """A file that numpy takes for no file."""

    def __init__(self, file: BinaryIO) -> None:
        self.write = file.write


def save_array(file: BinaryIO, array: NDArray[Any]) -> None:
    """Write an array as `numpy.save` does.

    Into a file numpy writes by a function of C that says of a full disk how many bytes it has written, and not why.

    Parameters
    ----------
    file : BinaryIO
    array : ndarray
        Of numbers.

    Raises
    ------
    OSError
        When the disk refuses.
    """
    np.save(_WriteOnly(file), array, allow_pickle=False)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that gets its name, and takes an old one's place, when the block ends.

    Parameters
    ----------
    path : Path

    Yields
    ------
    BinaryIO
        A file beside it, which goes when the block raises.

    Raises
    ------
    StorageError
        When the disk refuses.
    """
    with _saying_what_refused(path), files.whole_file(path) as file:
        yield file


@contextmanager
def _saying_what_refused(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # numpy raises one without a number when a disk is full.
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


def seal(
    folder: Path,
    code_version: str,
    parameters: Mapping[str, int | float | str],
    metric: Metric = Metric.COSINE,
) -> tuple[str, bytes]:
    """Write the manifest of a finished folder and move the folder to its name.

    Parameters
    ----------
    folder : Path
        From `start_folder`; holds the model, codes, positions and the flat map, written and synced.
    code_version : str
        How the codes were made from vectors.
    parameters : mapping of str to number or str
        Hyper-parameters and seed, for whoever reads the manifest.
    metric : Metric
        How far apart the codes are.

    Returns
    -------
    name : str
        Of the artifact, a folder next to where `folder` was.
    sha256 : bytes
        Digest of the manifest, for `check_artifact`.

    Raises
    ------
    StorageError
        When the disk refuses.
    """
    try:
        digests = {name: _file_digest(folder / name).hex() for name in SEALED_FILES}
        is_euclidean = metric is Metric.EUCLIDEAN
        data = Manifest(MODEL_VERSION, code_version, is_euclidean, running_versions(), parameters, digests).encode()
        with new_file(folder / MANIFEST_FILE) as file:
            file.write(data)
        files.synchronise(folder)
        name = PREFIX + folder.name.removeprefix(UNFINISHED_PREFIX)
        folder.rename(folder.with_name(name))
        files.synchronise(folder.parent)
    except OSError as error:
        raise StorageError(f"cannot write the map in {folder}: {error.strerror}") from error
    return name, hashlib.sha256(data).digest()


def check_artifact(models_dir: Path, artifact: str, sha256: bytes, *, code_version: str | None = None) -> None:
    """Refuse an artifact that is not, byte for byte, what was recorded, or that other versions wrote.

    Parameters
    ----------
    models_dir : Path
        Folder of all artifacts.
    artifact : str
        Name of the artifact's folder.
    sha256 : bytes
        Digest recorded when the fit finished.
    code_version : str, optional
        How codes are made now; None accepts any.

    Raises
    ------
    ArtifactRefusedError
        When it must not be loaded; the message says why.

    Notes
    -----
    Reads every file once: about 0.1 s for 100 MB.
    """
    manifest = check_manifest(models_dir, artifact, sha256, code_version=code_version)
    for name, digest in manifest.files.items():
        try:
            found = _file_digest(models_dir / artifact / name).hex()
        except OSError as error:
            raise _refused(artifact, f"{name} cannot be read: {error.strerror}") from error
        if found != digest:
            raise _refused(artifact, f"{name} is not the file that was written")


def check_manifest(models_dir: Path, artifact: str, sha256: bytes, *, code_version: str | None = None) -> Manifest:
    """Refuse an artifact whose manifest is not the recorded one or is of other versions; return the manifest.

    The files that the manifest lists are not read: `check_artifact` does that.

    Parameters
    ----------
    models_dir : Path
        Folder of all artifacts.
    artifact : str
        Name of the artifact's folder.
    sha256 : bytes
        Digest of the manifest, recorded when the fit finished.
    code_version : str, optional
        How codes are made now; None accepts any.

    Raises
    ------
    ArtifactRefusedError
        When the artifact must not be loaded; the message says why.
    """
    manifest = _read_manifest(models_dir, artifact, sha256)
    if manifest.model_version != MODEL_VERSION:
        raise _refused(artifact, f"it is of version {manifest.model_version}, this program reads {MODEL_VERSION}")
    if code_version is not None and manifest.code_version != code_version:
        raise _refused(artifact, f"it was fitted on codes {manifest.code_version}, codes are {code_version} now")
    for name, version in running_versions().items():
        fitted = manifest.versions.get(name, "none")
        if fitted != version:
            raise _refused(artifact, f"it was fitted under {name} {fitted}, {version} is running")
    return manifest


def remove_artifacts(models_dir: Path, keep: Collection[str]) -> None:
    """Delete every artifact but those named in `keep`, and everything that a killed fit left behind.

    Call it only when no fit runs.  A folder that cannot be deleted stays for the next time.

    Parameters
    ----------
    models_dir : Path
        Folder of all artifacts.
    keep : collection of str
        Names of artifacts; names that are not there do no harm.
    """
    for folder in models_dir.glob(f"{PREFIX}*"):
        if folder.name not in keep:
            shutil.rmtree(folder, ignore_errors=True)
    for folder in models_dir.glob(f"{UNFINISHED_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _read_manifest(models_dir: Path, artifact: str, sha256: bytes) -> Manifest:
    # The name comes from a database: it must not lead out of the folder.
    if Path(artifact).name != artifact or not artifact.startswith(PREFIX):
        raise _refused(artifact, "this is no name of a saved map")
    try:
        with (models_dir / artifact / MANIFEST_FILE).open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES)
    except OSError as error:
        raise _refused(artifact, f"{MANIFEST_FILE} cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).digest() != sha256:
        raise _refused(artifact, f"{MANIFEST_FILE} is not the one that was recorded")
    try:
        return Manifest.decode(data)
    except (ValueError, TypeError, KeyError) as error:
        raise _refused(artifact, f"{MANIFEST_FILE} cannot be understood") from error


def _refused(artifact: str, reason: str) -> ArtifactRefusedError:
    return ArtifactRefusedError(f"saved map {artifact!r} is set aside: {reason}", hint="a new map must be fitted")


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
