"""Sound, through the real daemon and its commands: read in confined workers, found, grouped."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.process.daemon import Daemon, living
from tests.sounds import RATE_HZ, cut, faster, song, written

pytestmark = [pytest.mark.process, pytest.mark.in_order]

SONGS = 4


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """Give a daemon of images and sound, with an album of songs and a silence."""
    with living() as daemon:
        daemon.config.write_text('media = ["image", "audio"]\n' + daemon.config.read_text())
        for seed in range(SONGS):
            (daemon.album / f"song-{seed}.flac").write_bytes(written(song(seed, 20), tags={"title": f"Song {seed}"}))
        (daemon.album / "silence.wav").write_bytes(written(np.zeros(RATE_HZ * 3, dtype=np.float32), "pcm_s16le", "wav"))
        (daemon.album / "broken.mp3").write_bytes(np.random.default_rng(0).bytes(5000))
        daemon.start()
        daemon.settle()
        yield daemon


def test_sound_is_indexed(daemon: Daemon) -> None:
    """Each song is a content of the medium `audio`; what is no sound is an error."""
    counts = {medium["medium"]: medium["contents"] for medium in daemon.json("status")["media"]}
    assert counts["audio"] == SONGS + 1
    (error,) = daemon.json("errors")["errors"]
    assert error["path"] == str(daemon.album / "broken.mp3")


def test_a_faster_piece_is_found_and_explained(daemon: Daemon) -> None:
    """Eight seconds from 0:05 on, 4 % faster, as AAC: the words say so."""
    query = daemon.home / "piece.m4a"
    query.write_bytes(written(faster(cut(song(2, 20), 5, 8), 1.04), "aac", "ipod"))
    best = daemon.json("query", query)["matches"][0]
    assert (best["path"], best["kind"], best["medium"]) == (str(daemon.album / "song-2.flac"), "copy", "audio")
    assert best["place"]["match"] == pytest.approx([5, 13], abs=0.5)
    assert best["origin"].endswith("s of {path}, from 0:05 on, 4 % faster") or ", from 0:04 on, " in best["origin"]
    assert best["summary"] == "0:20, lossless"


def test_a_lossy_copy_is_a_duplicate_and_the_lossless_file_is_kept(daemon: Daemon) -> None:
    """An MP3 of a song joins its group; the FLAC file is kept."""
    copy = daemon.album / "song-1.mp3"
    copy.write_bytes(written(song(1, 20), "libmp3lame", "mp3", 64_000))
    daemon.settle()
    with daemon.client() as client:
        (group,) = client.duplicates(unlooked=True)["groups"]
    kept = [(image["path"], image["keep"]) for image in group["images"]]
    assert kept == [(str(daemon.album / "song-1.flac"), True), (str(copy), False)]
    assert group["images"][1]["why"] == "is the poorer file, by its coding: lossy against lossless"


def test_silence_is_too_plain(daemon: Daemon) -> None:
    """Silence of another length is refused as a query; nothing is a copy of the silence that is there."""
    query = daemon.home / "silence.flac"
    query.write_bytes(written(np.zeros(RATE_HZ * 5, dtype=np.float32)))
    refused = daemon.run("query", query)
    assert refused.returncode == 65
    assert b"too plain" in refused.stderr
