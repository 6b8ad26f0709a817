"""The music that the benchmark of sound asks for: tracks of games in Debian's packages.

In: packages, fetched by `apt-get download` into a folder on the first run.  Out: tracks, in an order that a seed gives,
and pieces of them.  Never here: what is done to tracks (`_sound_edits`), who finds them.

Pieces are cut between packets: nothing is encoded a second time.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import click
from av.audio.stream import AudioStream

PACKAGES = (
    *("asc-music", "btanks-data", "colobot-common-sounds", "drascula-music", "extremetuxracer-data", "fillets-ng-data"),
    *("flare-game", "freedroidrpg-data", "fretsonfire-songs-muldjord", "fretsonfire-songs-sectoid"),
    *("frozen-bubble-data", "funnyboat", "glob2-data", "hedgewars-data", "hex-a-hop-data", "holotz-castle-data"),
    *("hyperrogue-music", "lincity-ng-data", "lordsawar-data", "marsshooter-data", "megaglest-data", "nexuiz-music"),
    *("noiz2sa-data", "pathological", "planetblupi-music-ogg", "powermanga-data", "pushover-data"),
    *("singularity-music", "solarwolf", "starfighter-data", "supertux-data", "supertuxkart-data", "tuxmath-data"),
    *("tuxtype-data", "ufoai-music", "warmux-data", "warzone2100-music", "wesnoth-1.16-music", "xmoto-data"),
)
"""2.9 GB to fetch."""

SEED = 17
SHORTEST_S, PIECE_S, STRANGER_S = 32.0, 60.0, 30.0
_SUFFIXES = {".ogg", ".oga", ".mp3", ".opus", ".flac", ".wav"}
_ARCHIVES = {".pk3"}


@dataclass(frozen=True)
class Track:
    """A file of music.

    Parameters
    ----------
    name : str
        Package, and path within it.
    path : Path
    seconds : float
    """

    name: str
    path: Path
    seconds: float

    @property
    def is_held_out(self) -> bool:
        """Whether nothing was chosen by it: half of the tracks, by their names, are for tuning."""
        return bool(hashlib.sha256(self.name.encode()).digest()[0] & 1)


def cache_folder() -> Path:
    """Return where this benchmark keeps what it fetched, unless it is given a folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cbir-bench" / "sound"


def tracks(folder: Path) -> list[Track]:
    """Return all tracks, each content once, in an order that the seed gives.

    Parameters
    ----------
    folder : Path
        Gets what is fetched.
    """
    for package in PACKAGES:
        _fetch(package, folder)
    root = folder / "tracks"
    unique = {hashlib.sha256(path.read_bytes()).digest(): path for path in sorted(root.rglob("*")) if path.is_file()}
    found = [Track(str(path.relative_to(root)), path, seconds_of(path)) for path in unique.values()]
    found.sort(key=lambda track: track.name)
    random.Random(SEED).shuffle(found)  # noqa: S311 -- a seed, so that the same files give the same figures
    return [track for track in found if _can_be_cut(track.path)]


def _can_be_cut(path: Path) -> bool:
    with av.open(str(path)) as container:
        return not container.streams.audio[0].codec_context.name.startswith("adpcm")


def seconds_of(path: Path) -> float:
    """Return how long a file with sound is; 0 for what is none."""
    try:
        with av.open(str(path)) as container:
            return (container.duration or 0) / av.time_base if container.streams.audio else 0.0
    except av.FFmpegError:
        return 0.0


def _fetch(package: str, folder: Path) -> None:
    """Fetch and unpack a package, unless it is there; what is there is whole."""
    target = folder / "tracks" / package
    if target.is_dir():
        return
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if not apt or not dpkg:
        raise click.ClickException("the music is in Debian's packages: run this on Debian, with apt-get")
    fetched, partial = folder / "packages" / package, folder / "partial"
    fetched.mkdir(parents=True, exist_ok=True)
    if not list(fetched.glob("*.deb")):
        click.echo(f"fetching {package}", err=True)
        subprocess.run([apt, "download", "-qq", package], cwd=fetched, check=True)  # noqa: S603 -- names from above
    shutil.rmtree(partial, ignore_errors=True)
    unpacked, kept = partial / "unpacked", partial / "kept"
    kept.mkdir(parents=True)
    subprocess.run([dpkg, "-x", str(next(fetched.glob("*.deb"))), str(unpacked)], check=True)  # noqa: S603 -- as above
    for path in _files(unpacked):
        if seconds_of(path) >= SHORTEST_S:
            moved = kept / path.relative_to(unpacked)
            moved.parent.mkdir(parents=True, exist_ok=True)
            path.rename(moved)
    target.parent.mkdir(parents=True, exist_ok=True)
    kept.rename(target)
    shutil.rmtree(partial)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files whose names say that they are sound, those in the archives of games too."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in _ARCHIVES and not path.is_symlink():
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if Path(name).suffix.lower() in _SUFFIXES]
                archive.extractall(path.with_suffix(".d"), names)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _SUFFIXES and path.is_file() and not path.is_symlink():
            yield path


def piece(track: Track, start_s: float, seconds: float, target: Path) -> Path:
    """Write a piece of a track as a Matroska file, packet by packet, and return where.

    Parameters
    ----------
    track : Track
    start_s, seconds : float
    target : Path
        Without a suffix; what is there is taken as it is.
    """
    path = target.with_name(f"{target.name}.mka")
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name("partial.mka")
    with av.open(str(track.path)) as source, av.open(str(partial), "w", format="matroska") as output:
        stream = source.streams.audio[0]
        source.seek(int(start_s * av.time_base))
        copied = output.add_stream_from_template(stream)
        assert isinstance(copied, AudioStream)
        first = last = -1
        for packet in source.demux(stream):
            # Ogg numbers the packets of a page after a seek in one go.
            if packet.pts is None or packet.pts <= last:
                continue
            last = packet.pts
            first = last if first < 0 else first
            if (last - first) * packet.time_base >= seconds:
                break
            packet.pts = packet.dts = last - first
            packet.stream = copied
            output.mux(packet)
    partial.rename(path)
    return path


def album_file(track: Track, folder: Path, number: int) -> Path:
    """Return a minute from the middle of a track, or all of a shorter one, as a file of the album.

    Parameters
    ----------
    track : Track
    folder : Path
        Of the album.
    number : int
        Of the track.
    """
    target = folder / f"{number:03}-{track.path.stem}"
    if track.seconds > PIECE_S * 1.25:
        return piece(track, (track.seconds - PIECE_S) / 2, PIECE_S, target)
    path = target.with_name(target.name + track.path.suffix)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(track.path, path)
    return path
