"""What is given away: the same bytes each time, licences that are named, and what the Debian package shares."""

from __future__ import annotations

import email
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cbir_daemon import config, installing
from cbir_daemon.config.places import SYSTEM_SOCKET
from tests.places import CHECKOUT

SCRIPTS = CHECKOUT / "scripts"
MAINTAINER = ("postinst", "prerm", "postrm")
VENDOR = ("preact", "htm")

pytestmark = pytest.mark.skipif(not (CHECKOUT / "cbir_daemon").is_dir(), reason="the sources of the wheel are not here")


def built(source: Path, folder: Path, umask: int) -> dict[str, bytes]:
    """Return the archives that a copy of the checkout makes."""
    subprocess.run(  # noqa: S603 -- our own interpreter
        [sys.executable, "-m", "hatchling", "build", "--directory", folder],
        cwd=source,
        env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"},
        umask=umask,
        capture_output=True,
        check=True,
    )
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Give wheel and sdist of the checkout."""
    return built(CHECKOUT, tmp_path_factory.mktemp("first"), 0o022)


def test_two_builds_are_the_same(archives: dict[str, bytes], tmp_path: Path) -> None:
    """Neither folder, umask nor the times of files are in the archives."""
    copy = tmp_path / "copy"
    unwanted = shutil.ignore_patterns(".git", ".venv", "dist", ".*_cache", "__pycache__", ".hypothesis", ".cbir")
    shutil.copytree(CHECKOUT, copy, ignore=unwanted, copy_function=shutil.copyfile)
    wheels = [
        {name: data for name, data in made.items() if name.endswith(".whl")}
        for made in (archives, built(copy, tmp_path / "dist", 0o077))
    ]
    assert wheels[0] == wheels[1]


def test_licences_of_what_is_copied_are_named(archives: dict[str, bytes], tmp_path: Path) -> None:
    """The wheel's metadata is an SPDX expression of all that is in it, and the texts of the licences are there."""
    (name,) = (name for name in archives if name.endswith(".whl"))
    path = tmp_path / name
    path.write_bytes(archives[name])
    with zipfile.ZipFile(path) as wheel:
        (metadata,) = (member for member in wheel.namelist() if member.endswith(".dist-info/METADATA"))
        fields = email.message_from_bytes(wheel.read(metadata))
        members = wheel.namelist()
    lock = json.loads((SCRIPTS / "page/package-lock.json").read_text())
    licences = {lock["packages"][f"node_modules/{library}"]["license"] for library in VENDOR}
    assert set(fields["License-Expression"].split(" AND ")) == licences | {"MIT"}
    for file in ("LICENSE", *(f"cbir_daemon/page/static/vendor/LICENSE.{library}" for library in VENDOR)):
        assert file in fields.get_all("License-File", [])
        assert [member for member in members if member.endswith(f".dist-info/licenses/{file}")]


# -- Debian ------------------------------------------------------------------------------------------------------------


def test_units_of_the_package_start_its_program() -> None:
    """Debian's folders hold all units, pages and scripts for shells, and the units start what the package brings."""
    files: dict[str, str] = runpy.run_path(str(SCRIPTS / "debian/shared.py"))["files"]()
    scopes: tuple[installing.Scope, ...] = ("user", "system")
    units = {f"usr/lib/systemd/{scope}/{unit}" for scope in scopes for unit in installing.unit_names(scope)}
    assert units <= files.keys()
    started = re.findall(r"^ExecStart=(\S+)", "\n".join(files[unit] for unit in units), re.MULTILINE)
    assert set(started) == {"/usr/lib/cbir-daemon/bin/cbir-daemon", "/usr/lib/cbir-daemon/bin/cbir"}
    assert {"usr/share/man/man1/cbir.1", "usr/share/zsh/vendor-completions/_cbir"} <= files.keys()


@pytest.mark.parametrize("script", MAINTAINER)
def test_maintainer_scripts_are_shell(script: str) -> None:
    """A shell parses each, and each ends at the first command that fails."""
    path = SCRIPTS / "debian" / script
    subprocess.run(["sh", "-n", path], check=True)  # noqa: S603, S607 -- our own script
    assert path.read_text().startswith("#!/bin/sh\nset -e\n")


def test_the_conffile_is_a_configuration() -> None:
    """What the package puts into /etc is accepted as it is, and with its example taken out of the comment."""
    path = SCRIPTS / "debian/config.toml"
    assert not config.load(config=path, environ={"HOME": "/"}).albums


# -- containers --------------------------------------------------------------------------------------------------------


def test_the_container_is_nobody_and_has_one_volume() -> None:
    """An ordinary user runs it; state, socket and configuration lie in its volume; its health is checked."""
    lines = (CHECKOUT / "Containerfile").read_text().splitlines()
    assert "USER 1000:1000" in lines
    assert [line for line in lines if line.startswith("VOLUME")] == ["VOLUME /state"]
    (environ,) = (line for line in lines if line.startswith("ENV "))
    places = dict(word.split("=") for word in environ.split()[1:])
    assert {
        places[f"CBIR_{key}"].rpartition("/")[0] or places[f"CBIR_{key}"] for key in ("SOCKET", "CONFIG", "STATE")
    } == {"/state"}
    assert places["CBIR_SOCKET"] != SYSTEM_SOCKET
    assert [line for line in lines if line.startswith("HEALTHCHECK")]


def test_the_entry_point_refuses_root() -> None:
    """PUID=0 ends with 64 and one sentence."""
    done = subprocess.run(  # noqa: S603 -- our own script
        ["unshare", "--user", "--map-root-user", SCRIPTS / "container/entrypoint", "run"],  # noqa: S607 -- util-linux
        env={"PATH": os.environ["PATH"], "PUID": "0", "CBIR_CONFIG": "/nowhere", "CBIR_STATE": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr:
        pytest.skip("this kernel gives no user namespace")
    assert (done.returncode, done.stderr.count("\n")) == (64, 1)
