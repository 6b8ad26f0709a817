"""How many edited pieces of music are found among 320 tracks, and what strangers are taken for, beside peers.

In: `_sound_album`.  Out: a Markdown table of recall@1 and of verdicts for each edit, what is wrongly accepted,
bytes and processor time.  The same files and seed give the same figures, but for the times.  Never here: what the
daemon does.

Half of the tracks, by their names, are for tuning: thresholds are chosen on queries of these alone.  Each track is in
the album, whichever half it is of.

A file is rightly found when it is the one that was edited, or has the same recording at the place that the finder
names: games use tracks twice, and their tracks share samples.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np
from _costs import Costs, share
from _daemon import Daemon
from _sound_album import SEED, STRANGER_S, Track, album_file, cache_folder, piece, tracks
from _sound_edits import EDITS, RATE_HZ, Edit, Samples, level, made_music, read, same, talk, written
from _sound_peers import Audfprint, Chromaprint, Finder, Match, Ours

from cbir_daemon.client import Client

ALBUM_SIZE = 320
QUERIES = 20
STRANGERS, TALKS, MADE = 500, 50, 50
HALVES = ("held-out", "tuning")
GOALS = {"recall@1": 0.97, "accepted": 0.95, "cut of 5 s": 0.95, "cut of 3 s": 0.85, "times real time": 60}
QUIETEST = 10 ** (-50 / 20)
"""Level below which a piece is no query: some tracks are silent for a minute."""

TAKES = (
    ("supertuxkart-data", "celtic.ogg", "celtic_fast.ogg"),
    ("supertuxkart-data", "cocoa_river.ogg", "cocoa_river_fast.ogg"),
    ("supertuxkart-data", "jumping_to_the_stars_remake.ogg", "jumping_to_the_stars_remake_fast.ogg"),
    ("supertuxkart-data", "landing_in_gran_paradiso.ogg", "landing_in_gran_paradiso_fast.ogg"),
    ("supertuxkart-data", "ravenbridge_mansion.ogg", "ravenbridge_mansion_fast.ogg"),
    ("supertuxkart-data", "theGreatFair.ogg", "theGreatFair_fast.ogg"),
    ("supertux-data", "airship_2.ogg", "airship_remix.ogg"),
    ("supertux-data", "voc-daytime.ogg", "voc-daytime2.ogg"),
    ("supertux-data", "voc-daytime.ogg", "voc-night.ogg"),
    ("wesnoth-1.16-music", "battle.ogg", "battle-epic.ogg"),
    ("hedgewars-data", "Olympics.ogg", "olympics_sd.ogg"),
    ("freedroidrpg-data", "AmbientBattle.ogg", "TechBattle.ogg"),
)
"""Versions of one song: package, and two of its files."""

SHARED_COUNT, JINGLE_S, LOOP_S = 10, 5.0, 4.0


@dataclass
class Column(Costs):
    """What a finder did.

    Parameters
    ----------
    finder : Finder
    """

    finder: Finder

    def add(self, path: Path) -> None:
        """Take a file into the album."""
        self.added(partial(self.finder.add, path))

    def ask(self, path: Path) -> list[Match]:
        """Return what a query is from."""
        return self.asked(partial(self.finder.ask, path))


@dataclass(frozen=True)
class Query:
    """A piece of a track of the album, edited, or a stranger.

    Parameters
    ----------
    path : Path
    row : int
        Of the track; -1 for a stranger.
    source : Path
        Of the piece as it was.
    start_s : float
        Where in the source it begins.
    seconds : float
    """

    path: Path
    row: int
    source: Path
    start_s: float
    seconds: float


class Bench:
    """The album, and what is asked of it.

    Parameters
    ----------
    folder : Path
        Gets what is fetched and made.
    half : str
        Whose tracks are asked for.
    size : int
        Tracks of the album.
    """

    def __init__(self, folder: Path, half: str, size: int) -> None:
        self.folder, self.half = folder, half
        found = tracks(folder)
        self.tracks, self.kept_out = found[:size], found[size:]
        self.files = [album_file(track, folder / f"album-{size}", number) for number, track in enumerate(self.tracks)]
        # A daemon indexes what lies in the folder: that of another choice of packages goes.
        for path in set(self.files[0].parent.iterdir()).difference(self.files):
            path.unlink()

    def is_asked(self, track: Track) -> bool:
        """Return whether a track is of the half that is asked for."""
        return track.is_held_out == (self.half == "held-out")

    def generator(self, name: str) -> np.random.Generator:
        """Return what makes the same choice again for a name."""
        return np.random.default_rng([SEED, *f"{self.half} {name}".encode()])

    def queries(self, name: str, edit: Edit, count: int) -> Iterator[Query]:
        """Yield queries of an edit, each of another track, made once."""
        rows = [row for row, track in enumerate(self.tracks) if self.is_asked(track)]
        target = self.folder / "queries" / self.half / re.sub(r"\W+", "-", name)
        target.mkdir(parents=True, exist_ok=True)
        made = 0
        for row in self.generator(name).permutation(rows):
            if made == count:
                break
            track = self.tracks[row]
            generator = self.generator(f"{name} of {track.name}")
            samples = read(self.files[row])
            length = int(edit.seconds * RATE_HZ)
            start = int(generator.integers(0, max(samples.shape[1] - length, 0) + 1))
            cut = samples[:, start : start + length]
            if level(cut) < QUIETEST:
                continue
            made += 1
            path = target / f"{re.sub(r'[^a-zA-Z0-9]+', '-', track.name)[-100:]}.{edit.container}"
            if not path.exists():
                path.write_bytes(written(edit.change(cut, generator), edit))
            yield Query(path, int(row), self.files[row], start / RATE_HZ, edit.seconds)

    def strangers(self, count: int) -> Iterator[Query]:
        """Yield what is in no album: pieces of other tracks, talkers, made music."""
        target = self.folder / "strangers"
        target.mkdir(parents=True, exist_ok=True)
        made: dict[str, tuple[Samples, ...] | None] = {}
        talks, music = (round(share * count / STRANGERS) for share in (TALKS, MADE))
        for number in range(talks):
            made[f"{self.half}-talk-{number}"] = None
        for number in range(music):
            made[f"{self.half}-made-{number}"] = None
        for name in made:
            path = target / f"{name}.wav"
            if not path.exists():
                generator = self.generator(name)
                samples = (
                    talk(generator, STRANGER_S) if "-talk-" in name else made_music(generator, generator, STRANGER_S)
                )
                path.write_bytes(written(samples, Edit(same)))
            yield Query(path, -1, path, 0.0, STRANGER_S)
        yield from self.kept_pieces(count - len(made))

    def kept_pieces(self, count: int) -> Iterator[Query]:
        """Yield pieces of tracks that are not in the album."""
        target = self.folder / "strangers"
        asked = [track for track in self.kept_out if self.half == "held-out" or self.is_asked(track)]
        places = [
            (track, start_s)
            for turn in range(4)
            for track in asked
            if (start_s := turn * 1.5 * STRANGER_S) + STRANGER_S <= track.seconds
        ]
        for track, start_s in places[:count]:
            name = re.sub(r"\W+", "-", track.name)
            path = piece(track, start_s, STRANGER_S, target / f"{name}-{start_s:.0f}")
            yield Query(path, -1, path, 0.0, STRANGER_S)

    def is_right(self, query: Query, match: Match) -> bool:
        """Return whether a match has what the query has."""
        return match.row == query.row or has_recording(read(query.source), query.start_s, self.files[match.row], match)


def has_recording(samples: Samples, start_s: float, path: Path, match: Match) -> bool:
    """Return whether a file has the recording that a query has, sample by sample, near where a finder says.

    Parameters
    ----------
    samples : (2, n) ndarray of float32
        What the query was before it was edited.
    start_s : float
        Where in them the query begins.
    path : Path
        Of the file.
    match : Match

    Notes
    -----
    Only phases are compared: two sounds of one recording have a peak at one shift that is far above all others.
    """
    first, second = (channels.mean(axis=0) for channels in (samples, read(path)))
    size, margin = 4 * RATE_HZ, 2 * RATE_HZ
    for step in range(6):
        at = int((start_s + match.query_s + 4 * step) * RATE_HZ)
        place = max(int((match.match_s + 4 * step) * RATE_HZ) - margin, 0)
        own, stored = first[at : at + size], second[place : place + size + 2 * margin]
        if len(own) < size or len(stored) < size:
            break
        length = 1 << (len(own) + len(stored)).bit_length()
        product = np.fft.rfft(own, length).conj() * np.fft.rfft(stored, length)
        peaks = np.abs(np.fft.irfft(product / np.maximum(np.abs(product), 1e-9), length))
        if peaks.max() > PEAK * peaks.std():
            return True
    return False


PEAK = 12.0
"""Times the standard deviation: a million shifts of noise reach 5."""


def ask_edits(bench: Bench, columns: Sequence[Column], count: int) -> dict[str, list[list[tuple[bool, bool, int]]]]:
    """Return for each edit, finder and query: is the first match right, is it accepted, how many accepted are wrong."""
    answers: dict[str, list[list[tuple[bool, bool, int]]]] = {}
    for name, edit in EDITS.items():
        answers[name] = [[] for _ in columns]
        for query in bench.queries(name, edit, count):
            for column, kept in zip(columns, answers[name], strict=True):
                found = column.ask(query.path)
                first = bool(found) and bench.is_right(query, found[0])
                wrong = [match for match in found if match.is_copy and not bench.is_right(query, match)]
                kept.append((first, first and found[0].is_copy, len(wrong)))
                if column is columns[0]:
                    _tell(bench, f"{name} of {bench.tracks[query.row].name}", first, wrong, found)
    return answers


def _tell(bench: Bench, what: str, first: bool, wrong: Sequence[Match], found: Sequence[Match]) -> None:
    if not first:
        click.echo(f"missed: {what}, {found[:1]}", err=True)
    for match in wrong:
        click.echo(f"wrong: {what} is no {bench.tracks[match.row].name}: {match}", err=True)


def ask_strangers(bench: Bench, columns: Sequence[Column], count: int) -> str:
    """Return a line of how many strangers are wrongly accepted, and how many share a recording with the album."""
    cells = [[0, 0] for _ in columns]
    asked = list(bench.strangers(count))
    for query in asked:
        for column, cell in zip(columns, cells, strict=True):
            found = [match for match in column.ask(query.path) if match.is_copy]
            wrong = [match for match in found if not bench.is_right(query, match)]
            cell[0] += bool(wrong)
            cell[1] += bool(found) and not wrong
            if column is columns[0]:
                _tell(bench, query.path.name, True, wrong, found)
    music = sum("-talk-" not in query.path.name and "-made-" not in query.path.name for query in asked)
    shown = " | ".join(f"{wrong} wrong, {right} with a recording of the album" for wrong, right in cells)
    return f"| {len(asked)} strangers, {music} of them game music | {shown} |"


def ask_apart(bench: Bench, columns: Sequence[Column]) -> list[str]:
    """Return a line for each kind of files that must be told apart: how many are accepted."""
    target = bench.folder / "apart"
    target.mkdir(exist_ok=True)
    lines = []
    for name, pairs in {"versions of one song, in packages": _real_takes(bench), **_made_pairs(bench, target)}.items():
        apart = [Column(type(column.finder)()) for column in columns]
        for stored, _ in pairs:
            for column in apart:
                column.add(stored)
        cells = []
        for column in apart:
            wrong = alike = 0
            for _, query in pairs:
                found = [match for match in column.ask(query) if match.is_copy]
                shared = [match for match in found if has_recording(read(query), 0.0, pairs[match.row][0], match)]
                wrong += len(shared) < len(found)
                alike += bool(found) and len(shared) == len(found)
                if column is apart[0] and found:
                    click.echo(f"{name}: {query.name}: {found}, of one recording: {len(shared)}", err=True)
            is_made = "packages" not in name
            cells.append(f"{wrong + alike} wrong" if is_made else f"{wrong} wrong, {alike} of one recording")
        lines.append(f"| {len(pairs)} pairs: {name} | " + " | ".join(cells) + " |")
        click.echo(lines[-1], err=True)
    return lines


def _real_takes(bench: Bench) -> list[tuple[Path, Path]]:
    known = {(track.name.partition("/")[0], track.path.name.lower()): track.path for track in bench.tracks}
    known |= {(track.name.partition("/")[0], track.path.name.lower()): track.path for track in bench.kept_out}
    pairs = []
    for package, first, second in TAKES:
        paths = [known.get((package, name.lower())) for name in (first, second)]
        if paths[0] and paths[1]:
            pairs.append((paths[0], paths[1]))
        else:
            click.echo(f"not there: {package}, {first}, {second}", err=True)
    return pairs


def _made_pairs(bench: Bench, target: Path) -> Mapping[str, list[tuple[Path, Path]]]:
    """Return pairs of files that a beginning, a loop or the notes of a song make alike, and nothing more."""
    pieces = [read(query.path) for query in list(bench.kept_pieces(2 * SHARED_COUNT + 1))]
    jingle = pieces[-1][:, : int(JINGLE_S * RATE_HZ)]
    loop = pieces[-1][:, : int(LOOP_S * RATE_HZ)]
    made: dict[str, list[Samples]] = {
        f"the same beginning of {JINGLE_S:.0f} s": [np.concatenate([jingle, music], axis=1) for music in pieces[:-1]],
        f"a loop of {LOOP_S:.0f} s under them": [
            music / 2 + np.tile(loop, 10)[:, : music.shape[1]] * np.float32(level(music) / level(loop) / 2)
            for music in pieces[:-1]
        ],
        "the same notes, other instruments": [
            made_music(bench.generator(f"notes {number // 2}"), bench.generator(f"hands {number}"), STRANGER_S)
            for number in range(2 * SHARED_COUNT)
        ],
        "the same notes, other instruments, 3 % faster": [
            made_music(
                bench.generator(f"notes {number // 2}"),
                bench.generator(f"hands {number}"),
                STRANGER_S,
                1.03 if number % 2 else 1.0,
            )
            for number in range(2 * SHARED_COUNT)
        ],
    }
    pairs = {}
    for name, sounds in made.items():
        paths = [target / f"{bench.half}-{re.sub(r'[^a-z0-9]+', '-', name)}-{at:02}.wav" for at in range(len(sounds))]
        for path, samples in zip(paths, sounds, strict=True):
            path.write_bytes(written(samples, Edit(same)))
        pairs[name] = list(zip(paths[::2], paths[1::2], strict=True))
    return pairs


def ask_daemon(bench: Bench, count: int) -> list[str]:
    """Return lines of what a real daemon does with the album and the queries."""
    seconds = sum(min(track.seconds, 60.0) if path.suffix == ".mka" else track.seconds
                  for track, path in zip(bench.tracks, bench.files, strict=True))  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="cbir") as name:
        daemon = Daemon(Path(name), bench.files[0].parent, "min_images = 100000", 'media = ["image", "audio"]')
        began = time.perf_counter()
        daemon.start()
        daemon.wait_indexed(len(bench.files), 0.5)
        took_s, used_s = time.perf_counter() - began, daemon.family_cpu_s()
        first = accepted = asked = 0
        took_ms = []
        with Client([daemon.socket_path]) as client:
            for edit_name, edit in EDITS.items():
                for query in bench.queries(edit_name, edit, count):
                    answer = client.query(query.path)
                    best = answer["matches"][0] if answer["matches"] else None
                    asked += 1
                    took_ms.append(answer["took_ms"])
                    is_first = best is not None and best["path"] == str(bench.files[query.row])
                    first += is_first
                    accepted += is_first and best is not None and best["kind"] == "copy"
        memory = daemon.resident_mib()
        daemon.stop()
    return [
        f"Through a daemon: {seconds:.0f} s of sound in {took_s:.0f} s, {used_s:.0f} s of processor time:"
        f" {seconds / used_s:.0f} s of sound a second of a processor; {memory:.0f} MiB in the daemon.",
        f"{asked} queries: first {first / asked:.3f}, as copy {accepted / asked:.3f};"
        f" median {np.median(took_ms):.0f} ms, slowest {max(took_ms):.0f} ms.",
    ]


def _shares(answers: Sequence[tuple[bool, bool, int]], digits: int) -> str:
    return " / ".join(f"{share([bool(answer[at]) for answer in answers]):.{digits}f}" for at in (0, 1))


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), help="Gets what is fetched and made; by default a cache.")
@click.option("--half", type=click.Choice(HALVES), default=HALVES[0], show_default=True, help="Whose tracks are asked.")
@click.option("--size", default=ALBUM_SIZE, show_default=True, help="Tracks of the album.")
@click.option("--queries", default=QUERIES, show_default=True, help="For each edit.")
@click.option("--strangers", default=STRANGERS, show_default=True)
@click.option("--alone", is_flag=True, help="Without the peers, which take most of the time.")
@click.option("--daemon/--no-daemon", default=True, show_default=True, help="Ask a real daemon too.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the table there too.")
def sound(
    folder: Path | None,
    half: str,
    size: int,
    queries: int,
    strangers: int,
    *,
    alone: bool,
    daemon: bool,
    out: Path | None,
) -> None:
    """Sound: edits, cuts, mixes and strangers among tracks of Debian's games."""
    bench = Bench((folder or cache_folder()).resolve(), half, size)
    columns = [Column(Ours()), *([] if alone else [Column(Chromaprint()), Column(Audfprint())])]
    for path in bench.files:
        for column in columns:
            column.add(path)
    answers = ask_edits(bench, columns, queries)
    lines = [
        f"| {len(bench.files)} tracks; {half} half | " + " | ".join(column.finder.name for column in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for name, kinds in answers.items():
        lines.append(f"| {name}: recall@1 / accepted | " + " | ".join(_shares(kind, 2) for kind in kinds) + " |")
        click.echo(lines[-1], err=True)
    everything = [[answer for kinds in answers.values() for answer in kinds[at]] for at in range(len(columns))]
    wrong = [sum(answer[2] for answer in kind) for kind in everything]
    lines += [
        "| all edits: recall@1 / accepted | " + " | ".join(_shares(kind, 3) for kind in everything) + " |",
        "| wrong copies of all edits | " + " | ".join(map(str, wrong)) + " |",
    ]
    query_ms = [1e3 * float(np.median(column.asked_s)) for column in columns]
    added = [(column.stored_bytes / len(bench.files) / 1024, column.added_s) for column in columns]
    lines += [
        ask_strangers(bench, columns, strangers),
        *ask_apart(bench, columns),
        "| KiB a track | " + " | ".join(f"{kib:.0f}" for kib, _ in added) + " |",
        "| the album, s of a processor | " + " | ".join(f"{took_s:.0f}" for _, took_s in added) + " |",
        "| a query of 30 s, ms of a processor, median | " + " | ".join(f"{took:.0f}" for took in query_ms) + " |",
    ]
    table = "\n".join(lines)
    click.echo(table)
    if daemon:
        answered = "\n".join(ask_daemon(bench, queries))
        click.echo(answered)
        table += f"\n\n{answered}"
    if out:
        out.write_text(table + "\n", encoding="utf-8")
    values = {
        "recall@1": share([answer[0] for answer in everything[0]]),
        "accepted": share([answer[1] for answer in everything[0]]),
        **{name: share([answer[1] for answer in answers[name][0]]) for name in GOALS if name in answers},
    }
    for name, value in values.items():
        click.echo(f"{name}: {value:.3f}, goal {GOALS[name]}{'' if value >= GOALS[name] else ': missed'}")
