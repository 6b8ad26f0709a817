"""Metrics for Prometheus, made from the answer of `status`, in the text format that its node exporter reads from files.

In: the answer.  Out: lines.  Never here: asking the daemon, and serving metrics over a network.

References
----------
"Exposition formats", version 0.0.4, and "Metric and label naming", both in the documentation of Prometheus.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from cbir_daemon.cli.lines import path
from cbir_daemon.records import AlbumState

if TYPE_CHECKING:
    from cbir_daemon.protocol import answers

STATES = ("starting", "indexing", "ready")
ALBUM_STATES = tuple(AlbumState)


class Sample(NamedTuple):
    """A value, with the labels that tell it from the other samples of its metric."""

    value: float
    labels: Mapping[str, str] = MappingProxyType({})


class Metric(NamedTuple):
    """A metric: its name, which ends in its unit, its kind, its help text and its samples.

    A metric without samples is not printed.
    """

    name: str
    kind: str
    help: str
    samples: Iterable[Sample]


def up(*, is_up: bool) -> Iterator[str]:
    """Yield the lines that say whether the daemon answered."""
    yield from _lines(Metric("cbir_up", "gauge", "Whether the daemon answered.", [Sample(float(is_up))]))


def metrics(status: answers.Status) -> Iterator[str]:
    """Yield the lines of all metrics."""
    yield from up(is_up=True)
    for family in (*_whole(status), *_albums(status["albums"]), *_progress(status["progress"]), *_model(status)):
        yield from _lines(family)


def _whole(status: answers.Status) -> Iterator[Metric]:
    def gauge(name: str, text: str, value: float) -> Metric:
        return Metric(name, "gauge", text, [Sample(value)])

    yield Metric("cbir_build_info", "gauge", "Version of the daemon.", [Sample(1, {"version": status["version"]})])
    yield gauge("cbir_start_time_seconds", "When the daemon was started.", _seconds(status["started_at"]))
    yield Metric("cbir_state", "gauge", "What the daemon is at.", _one_of("state", STATES, status["state"]))
    yield gauge("cbir_problems", "What `cbir status` says is wrong.", len(status["problems"]))
    yield gauge("cbir_index_clock", "Raised by every change to the index.", status["clock"])
    yield gauge("cbir_images", "Files that are indexed.", status["images"])
    yield gauge("cbir_unreadable_files", "Files that could not be read.", status["errors"])
    yield gauge("cbir_contents", "Different images.", status["contents"])
    yield gauge("cbir_pending_files", "Files noticed and not yet indexed.", status["pending"])
    pending = "Contents whose copies are to be looked up, and new files to be decided upon."
    yield gauge("cbir_pending_duplicate_lookups", pending, status["duplicates_pending"])
    decoded = [Sample(status["decoded"])]
    yield Metric("cbir_decoded_files_total", "counter", "Files decoded since the daemon was started.", decoded)


def _albums(albums: list[answers.Album]) -> Iterator[Metric]:
    named = [({"album": path(album["path"])}, album) for album in albums]
    states = [
        Sample(sample.value, {**labels, **sample.labels})
        for labels, album in named
        for sample in _one_of("state", ALBUM_STATES, album["state"])
    ]
    images = [Sample(album["images"], labels) for labels, album in named]
    errors = [Sample(album["errors"], labels) for labels, album in named]
    yield Metric("cbir_album_state", "gauge", "How an album is watched, or that it is missing.", states)
    yield Metric("cbir_album_images", "gauge", "Files of an album that are indexed.", images)
    yield Metric("cbir_album_unreadable_files", "gauge", "Files of an album that could not be read.", errors)


def _progress(progress: answers.Progress | None) -> Iterator[Metric]:
    """Yield how far indexing is; the metrics have samples only while it goes on."""
    now = [] if progress is None else [progress]
    rates = [Sample(progress["rate"]) for progress in now]
    remaining = [Sample(progress["remaining_s"]) for progress in now if progress["remaining_s"] is not None]
    yield Metric("cbir_indexing_files_per_second", "gauge", "Rate at which files are read.", rates)
    yield Metric("cbir_indexing_remaining_seconds", "gauge", "Time left at that rate.", remaining)


def _model(status: answers.Status) -> Iterator[Metric]:
    """Yield what searches: processes, and the map, whose own metrics have samples only when there is one."""

    def gauge(name: str, text: str, *values: float | None) -> Metric:
        return Metric(name, "gauge", text, [Sample(value) for value in values if value is not None])

    model, refit = status["model"], status["refit"]
    there = [] if model is None else [model]
    scores = [model["trustworthiness"] for model in there]
    fitted = [model["fitted_images"] for model in there]
    projected = [model["projected_images"] for model in there]
    times = [_seconds(model["fitted_at"]) for model in there]
    yield gauge("cbir_model_trustworthiness_ratio", "How far neighbours on the map are true ones, 0 to 1.", *scores)
    yield gauge("cbir_model_fitted_images", "Contents the map was fitted on.", *fitted)
    yield gauge("cbir_model_projected_images", "Contents placed on the map without being fitted.", *projected)
    yield gauge("cbir_model_fitted_timestamp_seconds", "When the map was fitted.", *times)
    yield gauge("cbir_search_processes", "Search processes that run.", status["search_processes"])
    yield gauge("cbir_waiting_searches", "Searches whose turn has not come.", status["searches_waiting"])
    yield gauge("cbir_fit_running", "Whether a map is being fitted.", float(refit["running"]))
    yield gauge("cbir_fit_changed_ratio", "Share of contents changed since the fit.", refit["changed_fraction"])
    yield gauge("cbir_fit_threshold_ratio", "Share above which a new map is fitted.", refit["threshold"])


def _one_of(label: str, names: Iterable[str], current: str) -> list[Sample]:
    """Return a sample for each name: 1 for the current one, 0 for the others."""
    return [Sample(float(name == current), {label: name}) for name in names]


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def _lines(metric: Metric) -> Iterator[str]:
    samples = list(metric.samples)
    if not samples:
        return
    yield f"# HELP {metric.name} {metric.help}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for sample in samples:
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels.items())
        name = f"{metric.name}{{{labels}}}" if labels else metric.name
        yield f"{name} {_number(sample.value)}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
