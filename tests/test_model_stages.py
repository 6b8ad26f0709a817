"""What a fit has finished is kept for the same fit, and for no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from cbir_daemon.errors import StorageError
from cbir_daemon.map.artifact import remove_artifacts
from cbir_daemon.map.stages import LIST_FILE, STAGES_FOLDER, Stages


def test_the_same_fit_finds_what_it_finished(tmp_path: Path) -> None:
    """Also after another process began it, and after the artifacts were cleared."""
    Stages.open(tmp_path, "one").keep("tune", b"scores")
    remove_artifacts(tmp_path, [])
    again = Stages.open(tmp_path, "one")
    assert again.load("tune") == b"scores"
    assert again.load("map") is None


def test_another_fit_finds_nothing(tmp_path: Path) -> None:
    """And what was there is gone, the bytes too."""
    Stages.open(tmp_path, "one").keep("tune", b"scores")
    assert Stages.open(tmp_path, "two").load("tune") is None
    assert Stages.open(tmp_path, "one").load("tune") is None
    assert [path.name for path in (tmp_path / STAGES_FOLDER).iterdir()] == [LIST_FILE]


def test_what_is_kept_twice_is_the_later(tmp_path: Path) -> None:
    """Each score replaces the list of scores."""
    stages = Stages.open(tmp_path, "one")
    stages.keep("tune", b"one score")
    stages.keep("tune", b"two scores")
    assert Stages.open(tmp_path, "one").load("tune") == b"two scores"


@pytest.mark.parametrize("data", [b"", b"scores!", b"Scores", b"other bytes"])
def test_a_damaged_file_is_as_if_it_were_not_there(tmp_path: Path, data: bytes) -> None:
    """It is a pickle that would be loaded: only what was written counts."""
    Stages.open(tmp_path, "one").keep("map", b"scores")
    (tmp_path / STAGES_FOLDER / "map").write_bytes(data)
    assert Stages.open(tmp_path, "one").load("map") is None


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"key": "one"}', b'{"key": "one", "digests": 1}'])
def test_a_damaged_list_is_begun_anew(tmp_path: Path, data: bytes) -> None:
    """Nothing is believed of it."""
    Stages.open(tmp_path, "one").keep("map", b"scores")
    (tmp_path / STAGES_FOLDER / LIST_FILE).write_bytes(data)
    stages = Stages.open(tmp_path, "one")
    assert stages.load("map") is None
    stages.keep("map", b"scores")
    assert Stages.open(tmp_path, "one").load("map") == b"scores"


def test_a_disk_that_refuses_is_an_error_of_ours(tmp_path: Path) -> None:
    """Here a file is where the folder should be."""
    (tmp_path / "models").write_text("a file")
    with pytest.raises(StorageError):
        Stages.open(tmp_path / "models", "one")
