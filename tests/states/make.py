"""Make a state to be kept: `python -m tests.states.make COMMANDS FOLDER`, before a release changes the index.

COMMANDS is the folder of the `cbir` and `cbir-daemon` that make it and say what it answers, FOLDER the one to be made.
When FOLDER is there, only the answers are written down again, by the release that made the state: when more is asked.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import click

from tests import pictures
from tests.answers import script
from tests.answers.home import FIRST_MTIME_S, NOT_UTF_8, STRANGERS, WORK
from tests.answers.recording import Answers, Recorder
from tests.process.daemon import Daemon, living
from tests.states import ANSWERS, ARCHIVE, INDEX, pack, restore

SIZE_PX = (160, 107)
QUALITY = 60
IMAGES = 6
FOLDERS = ["album", "phone", "queries", "works", "away"]

A_MAP = "min_images = 5\nn_components = 2\nthreads = 1"
"""Lines for [model]: few positions, of few numbers."""


def furnish(home: Path) -> None:
    """Make an album of six small pictures, copies of some, a work, and files that come later."""
    for folder in FOLDERS:
        (home / folder).mkdir(exist_ok=True)
    album, phone, queries = (home / folder for folder in FOLDERS[:3])
    originals = [_picture(seed, album / f"photo-{seed}.jpg") for seed in range(IMAGES)]
    originals[5].rename(album / NOT_UTF_8)
    shutil.copyfile(originals[0], album / "twin.jpg")
    (album / "broken.jpg").write_bytes(b"this is text")
    pictures.resaved(originals[1], phone / "half.jpg", quality=QUALITY)
    mirrored = pictures.mirrored(pictures.cropped(pictures.load(originals[2]), 0.2))
    pictures.save(mirrored, phone / "mirrored-crop.jpg", quality=QUALITY)
    pictures.save(pictures.negative(pictures.load(originals[3])), queries / "negative.jpg", quality=QUALITY)
    _picture(STRANGERS[2], queries / "stranger.jpg")
    shutil.copyfile(originals[4], queries / "unchanged.jpg")
    work = _picture(WORK, home / "works" / "harbour.jpg")
    pictures.save(pictures.bordered(pictures.load(work)), home / "later.jpg", quality=QUALITY)
    shutil.copyfile(originals[1], home / "again.jpg")
    for number, path in enumerate(sorted(path for path in home.rglob("*.jpg"))):
        os.utime(path, (FIRST_MTIME_S + 60 * number,) * 2)


def _picture(seed: int, path: Path) -> Path:
    return pictures.save(pictures.photograph(seed, SIZE_PX), path, quality=QUALITY)


def live(recorder: Recorder) -> None:
    """Have albums, a decision, a watched work, alerts, a run of `cbir resolve`, and a map."""
    home, plan = recorder.home, recorder.home / "plan.jsonl"
    script.configure(recorder, script.NO_MAP)
    recorder.daemon.start()
    _asked(recorder, "album", "add", home / "phone")
    _asked(recorder, "watch", "add", home / "works" / "harbour.jpg")
    for name in ("again.jpg", "later.jpg"):
        (home / name).rename(home / "album" / name)
        _asked(recorder, "settle")
    _asked(recorder, "dismiss", home / "album" / "photo-2.jpg", home / "phone" / "mirrored-crop.jpg")
    _asked(recorder, "resolve", "--plan", plan, "--kind", "exact", "--action", "move", "--to", home / "away")
    _asked(recorder, "resolve", "--plan", plan, "--apply")
    script.restarted(recorder, A_MAP)
    if _asked(recorder, "status")["model"] is None:
        raise RuntimeError(f"no map was fitted:\n{recorder.daemon.log.read_text()}")
    script.stopped(recorder)


def _asked(recorder: Recorder, *argv: str | Path) -> dict[str, object]:
    """Run a command that must succeed and return its last document."""
    document: dict[str, object] = recorder.daemon.json(*argv)
    return document


def answers(daemon: Daemon, folder: Path) -> Answers:
    """Return what a daemon that has not been started answers on the state in `folder`.

    Parameters
    ----------
    daemon : Daemon
        In an empty home, which gets the folders of the state.
    folder : Path
        One of `tests.states.states()`.
    """
    restore(folder / ARCHIVE, daemon.home, daemon.home / script.KEPT)
    recorder = Recorder(daemon)
    script.opened(recorder, script.NO_MAP, changing=True)
    return recorder.answers


def make(commands: Path, folder: Path) -> None:
    """Make a state with the installation in `commands` and pack it into `folder`."""
    with living() as daemon:
        daemon.commands = commands
        furnish(daemon.home)
        live(Recorder(daemon))
        pack(daemon.home, daemon.state / INDEX, FOLDERS, folder / ARCHIVE)


@click.command()
@click.argument("commands", type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
def main(commands: Path, folder: Path) -> None:
    """Make a state in FOLDER with the commands in COMMANDS, and write down what they answer on it."""
    if not folder.exists():
        folder.mkdir()
        make(commands, folder)
    with living() as daemon:
        daemon.commands = commands
        recorded = answers(daemon, folder)
    (folder / ANSWERS).write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
