"""The names of things: suffixes looked at, formats read, what the first bytes of each look like.

In: nothing.  Out: constants.  Never here: PyAV; the daemon imports this.
"""

from __future__ import annotations

from typing import Final

from cbir_daemon.decode.reader import Extra

SOUND_SUFFIXES: Final = frozenset(
    {
        *(".mp3", ".mp2", ".m4a", ".m4b", ".aac", ".ogg", ".oga", ".opus", ".flac", ".wav", ".wave", ".w64", ".aif"),
        *(".aiff", ".aifc", ".caf", ".wma", ".ape", ".wv", ".tta", ".mpc", ".ac3", ".dts", ".amr", ".au", ".mka"),
        *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv", ".ogv", ".mpg"),
        *(".mpeg", ".ts", ".m2ts", ".mts", ".vob"),
    }
)
"""Suffixes, lower case, of files that are looked at.  What a file is, its bytes decide."""

EXTRA: Final = Extra("audio", "sound", "av")

FFMPEG_FORMATS: Final = (
    *("mp3", "mov", "aac", "ogg", "flac", "wav", "w64", "aiff", "caf", "asf", "ape", "wv", "tta", "mpc", "mpc8"),
    *("ac3", "eac3", "dts", "amr", "au", "matroska", "webm", "avi", "flv", "mpeg", "mpegts"),
)
"""What FFmpeg may try, by its own names, and nothing else of what it has: no playlists, no devices, no pictures."""

LOSSLESS_CODECS: Final = frozenset(
    {"flac", "alac", "wavpack", "tta", "ape", "mlp", "truehd", "wmalossless", "shorten", "tak"}
)
"""Codecs that keep every sample; those of PCM do as well."""

_NAMES: Final = {"mov": "MP4", "matroska": "MATROSKA", "asf": "WMA", "wv": "WAVPACK", "mpc8": "MPC"}

_SIGNATURES: Final = (
    *(b"ID3", b"OggS", b"fLaC", b"FORM", b"caff", b"wvpk", b"TTA1", b"MPCK", b"MP+", b"MAC ", b"#!AMR", b".snd"),
    *(b"\x0bw", b"\x7f\xfe\x80\x01", b"\x1aE\xdf\xa3", b"FLV\x01", b"riff\x2e\x91\xcf\x11", b"\x00\x00\x01\xba"),
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
)
_RIFF_KINDS: Final = (b"WAVE", b"AVI ")
# First sync byte, bytes of a packet.
_PACKETS: Final = ((0, 188), (4, 192))
# Brands of ISO files that are pictures: another medium's.
_PICTURE_BRANDS: Final = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"crx ", b"mif2", b"heim")


def format_name(ffmpeg_name: str) -> str:
    """Return the name of a format for people, in capitals.

    Parameters
    ----------
    ffmpeg_name : str
        Of FFmpeg: several names with commas between them where one demuxer reads several formats.
    """
    first = ffmpeg_name.partition(",")[0]
    return _NAMES.get(first, first.upper())


def is_sound(data: bytes) -> bool:
    """Return whether the first bytes of a file are those of a format with sound.

    Parameters
    ----------
    data : bytes
        The whole file.
    """
    if data[:4] == b"RIFF":
        return data[8:12] in _RIFF_KINDS
    if data[4:8] == b"ftyp":
        return data[8:12] not in _PICTURE_BRANDS
    return data.startswith(_SIGNATURES) or _is_mpeg_audio(data) or _is_transport_stream(data)


def _is_mpeg_audio(data: bytes) -> bool:
    """Return whether a file begins with the header of an MPEG audio frame, or of AAC in ADTS."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return False
    layer = data[1] >> 1 & 3
    if layer == 0:
        return data[1] & 0xF6 == 0xF0
    # Version, bit rate and rate have values that stand for nothing; JPEG's first marker is one of them.
    return data[1] >> 3 & 3 != 1 and data[2] >> 4 != 15 and data[2] >> 2 & 3 != 3


def _is_transport_stream(data: bytes) -> bool:
    """Return whether a file begins with packets of MPEG-TS, each of 188 bytes, or of 192 as cameras write them."""
    return any(all(data[start + size * number :][:1] == b"G" for number in range(4)) for start, size in _PACKETS)
