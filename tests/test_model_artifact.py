"""Saved maps: whole or not at all, and refused when they are not what was written."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from cbir_daemon.errors import ModelError, StorageError
from cbir_daemon.map import ArtifactRefusedError, check_artifact, remove_artifacts
from cbir_daemon.map import artifact as artifact_module
from cbir_daemon.map.artifact import (
    MANIFEST_FILE,
    MODEL_FILE,
    SEALED_FILES,
    check_manifest,
    new_file,
    seal,
    start_folder,
)

FILES = (*SEALED_FILES, MANIFEST_FILE)


def save(models_dir: Path) -> tuple[str, bytes]:
    """Write an artifact whose files no one will unpickle."""
    folder = start_folder(models_dir)
    for name in SEALED_FILES:
        with new_file(folder / name) as file:
            file.write(name.encode() * 100)
    return seal(folder, "codes/1", {"seed": 1})


def test_what_was_written_is_accepted(tmp_path: Path) -> None:
    """A fresh artifact passes, with its code version and without."""
    name, digest = save(tmp_path / "models")
    check_artifact(tmp_path / "models", name, digest)
    check_artifact(tmp_path / "models", name, digest, code_version="codes/1")


def test_a_map_of_before_there_was_another_distance_stays_in_use(tmp_path: Path) -> None:
    """Its manifest does not name its distance, which was by angle."""
    name, _ = save(tmp_path)
    path = tmp_path / name / MANIFEST_FILE
    facts = json.loads(path.read_text())
    del facts["is_euclidean"]
    path.write_text(json.dumps(facts))
    assert not check_manifest(tmp_path, name, hashlib.sha256(path.read_bytes()).digest()).is_euclidean


def test_only_the_owner_may_look(tmp_path: Path) -> None:
    """Folders are 0700 and files 0600: positions tell about private photographs."""
    models = tmp_path / "models"
    name, _ = save(models)
    assert stat.S_IMODE(models.stat().st_mode) == 0o700
    assert stat.S_IMODE((models / name).stat().st_mode) == 0o700
    assert {stat.S_IMODE((models / name / file).stat().st_mode) for file in FILES} == {0o600}


@pytest.mark.parametrize("file", FILES)
def test_one_changed_bit_is_refused(tmp_path: Path, file: str) -> None:
    """Wherever the bit is; and the caller learns that only a new fit helps."""
    name, digest = save(tmp_path)
    path = tmp_path / name / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactRefusedError, match=file) as caught:
        check_artifact(tmp_path, name, digest)
    assert caught.value.refit_needed
    assert isinstance(caught.value, ModelError)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_refused(tmp_path: Path, file: str) -> None:
    """As is a folder that is not there at all."""
    name, digest = save(tmp_path)
    (tmp_path / name / file).unlink()
    with pytest.raises(ArtifactRefusedError, match="cannot be read"):
        check_artifact(tmp_path, name, digest)


@pytest.mark.parametrize("name", ["../elsewhere", "", ".", "/etc", "map-1/..", "other"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    """Whatever the index says, nothing outside the folder is loaded."""
    with pytest.raises(ArtifactRefusedError, match="no name"):
        check_artifact(tmp_path, name, bytes(32))


@pytest.mark.parametrize("package", ["umap-learn", "numba", "numpy", "scikit-learn", "python"])
def test_another_version_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """An upgrade sets the artifact aside, and the message says which."""
    name, digest = save(tmp_path)
    newer = artifact_module.running_versions() | {package: "99.1"}
    monkeypatch.setattr(artifact_module, "running_versions", lambda: newer)
    with pytest.raises(ArtifactRefusedError, match=rf"{package} \S+, 99\.1 is running"):
        check_artifact(tmp_path, name, digest)


def test_other_codes_are_refused(tmp_path: Path) -> None:
    """Positions of codes made another way would mean nothing."""
    name, digest = save(tmp_path)
    with pytest.raises(ArtifactRefusedError, match="codes/1, codes are codes/2"):
        check_artifact(tmp_path, name, digest, code_version="codes/2")


def test_another_layout_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An artifact of an older release of this room is not read."""
    name, digest = save(tmp_path)
    monkeypatch.setattr(artifact_module, "MODEL_VERSION", "map/99")
    with pytest.raises(ArtifactRefusedError, match="map/99"):
        check_artifact(tmp_path, name, digest)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: b"[1]", id="no object"),
        pytest.param(lambda data: data[:-9], id="cut"),
        pytest.param(lambda data: json.dumps({"model_version": "map/1"}).encode(), id="fields missing"),
    ],
)
def test_a_manifest_that_cannot_be_understood_is_refused(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    """Even when its digest is the recorded one."""
    name, _ = save(tmp_path)
    path = tmp_path / name / MANIFEST_FILE
    path.write_bytes(change(path.read_bytes()))
    digest = hashlib.sha256(path.read_bytes()).digest()
    with pytest.raises(ArtifactRefusedError, match="cannot be understood"):
        check_artifact(tmp_path, name, digest)


def test_the_rest_is_removed_and_what_is_kept_stays(tmp_path: Path) -> None:
    """Old artifacts and what a killed fit left behind go; the compiled code and foreign files stay."""
    kept, digest = save(tmp_path)
    save(tmp_path)
    half = start_folder(tmp_path)
    (half / MODEL_FILE).write_bytes(b"half")
    (tmp_path / ".numba").mkdir()
    (tmp_path / "README").write_text("not ours")
    remove_artifacts(tmp_path, [kept])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".numba", "README", kept])
    check_artifact(tmp_path, kept, digest)


def test_removing_from_a_folder_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    """A first start has no folder of models yet."""
    remove_artifacts(tmp_path / "none", [])


def test_an_unfinished_artifact_has_no_name(tmp_path: Path) -> None:
    """A fit that dies before its last step leaves nothing that `check_artifact` would look at."""
    folder = start_folder(tmp_path)
    (folder / MODEL_FILE).write_bytes(b"model")
    with pytest.raises(StorageError, match="cannot write the map"):
        seal(folder, "codes/1", {})
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    """The state directory may be a file, or full."""
    (tmp_path / "models").write_text("a file")
    with pytest.raises(StorageError, match="cannot make"):
        start_folder(tmp_path / "models")
