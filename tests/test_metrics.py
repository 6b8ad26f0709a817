"""Metrics as Prometheus reads them: its own parser takes every line, and finds what the status says."""

from __future__ import annotations

import json
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cbir_daemon.cli import metrics
from cbir_daemon.protocol import answers
from tests.manual import CODE, section

PROGRESS: answers.Progress = {"found": 10, "done": 5, "errors": 0, "rate": 2.5, "remaining_s": 2.0}
ODD = 'a "quoted" \\ back\nslash é'
UNITS = (
    "_seconds",
    "_ratio",
    "_total",
    "_files",
    "_images",
    "_info",
    "_per_second",
    "_lookups",
    "_contents",
    "_processes",
    "_searches",
)
"""What a name ends in; those that count or name states have no unit."""

UNITLESS = {"cbir_up", "cbir_state", "cbir_album_state", "cbir_problems", "cbir_index_clock", "cbir_fit_running"}


@pytest.fixture
def status() -> answers.Status:
    """Give the answer that docs/commands.md shows."""
    answer: answers.Status = json.loads(section("commands.md", "cbir status").blocks("json")[0])
    return answer


def samples(answer: answers.Status) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return (name, values of the labels) -> value, as Prometheus reads them."""
    text = "".join(f"{line}\n" for line in metrics.metrics(answer))
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert all(family.documentation and family.type in ("gauge", "counter") for family in families)
    return {
        (sample.name, tuple(sample.labels.values())): sample.value for family in families for sample in family.samples
    }


def test_what_the_status_says_is_in_the_metrics(status: answers.Status) -> None:
    """Counts, the map and the next fit, and the state as one of all states."""
    found = samples(status)
    assert found["cbir_up", ()] == 1
    assert found["cbir_build_info", (status["version"],)] == 1
    assert found["cbir_images", ()] == status["images"]
    assert found["cbir_problems", ()] == len(status["problems"])
    assert status["model"] is not None
    assert found["cbir_model_trustworthiness_ratio", ()] == status["model"]["trustworthiness"]
    assert found["cbir_fit_changed_ratio", ()] == status["refit"]["changed_fraction"]
    assert found["cbir_model_fitted_timestamp_seconds", ()] == pytest.approx(1_795_355_218.924)
    assert [found["cbir_state", (state,)] for state in metrics.STATES] == [0, 0, 1]
    album = status["albums"][1]
    path = str(album["path"])
    assert found["cbir_album_images", (path,)] == album["images"]
    assert found["cbir_album_state", (path, "watching")] == 1


def test_without_a_map_and_while_indexing(status: answers.Status) -> None:
    """What is not there has no sample; progress has one while it goes on."""
    quiet, busy = samples(status), samples({**status, "model": None, "progress": PROGRESS})
    assert {name for name, _ in quiet} - {name for name, _ in busy} == {
        "cbir_model_trustworthiness_ratio",
        "cbir_model_fitted_images",
        "cbir_model_projected_images",
        "cbir_model_fitted_timestamp_seconds",
    }
    assert busy["cbir_indexing_files_per_second", ()] == 2.5
    assert busy["cbir_indexing_remaining_seconds", ()] == 2.0


def test_a_path_cannot_break_a_line(status: answers.Status) -> None:
    """Quotes, backslashes, line ends and what is no text travel as label values."""
    status["albums"][0]["path"] = f"/{ODD}"
    status["albums"][1]["path"] = {"b64": "L2FsYnVtL/8="}
    names = {labels[0] for name, labels in samples(status) if name == "cbir_album_images"}
    assert names == {'/a "quoted" \\ back\\nslash é', "/album/\\udcff"}


def test_names_end_in_their_unit(status: answers.Status) -> None:
    """Every name is `cbir_`, lower case, and ends in what it counts."""
    names = {name for name, _ in samples(status)}
    assert all(re.fullmatch("cbir(_[a-z]+)+", name) for name in names)
    assert {name for name in names if not name.endswith(UNITS)} == UNITLESS


def test_every_metric_is_documented(status: answers.Status) -> None:
    """The list in docs/running.md has every metric with its kind, and no other."""
    text = "\n".join(metrics.metrics({**status, "progress": PROGRESS}))
    printed = re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE)
    listed = re.findall(
        r"^- (\w+?)s?: (.*(?:\n  .*)*)", "\n".join(section("running.md", "Metrics").lines), re.MULTILINE
    )
    documented = [(metric.split("{")[0], kind) for kind, metrics in listed for metric in CODE.findall(metrics)]
    assert sorted(documented) == sorted(printed)


def test_what_is_pending_is_both_things_that_are_counted(status: answers.Status) -> None:
    """HELP of the pending look-ups says what docs/commands.md says: contents, and files to be decided upon."""
    text = "\n".join(metrics.metrics(status))
    said = re.search(r"^# HELP cbir_pending_duplicate_lookups (.+)\.$", text, re.MULTILINE)
    rows = section("commands.md", "cbir status").field_rows
    meaning = next(row[2] for row in rows if row[0] == "`duplicates_pending`")
    assert said is not None
    assert said[1].lower() == meaning.lower()
    assert "contents" in meaning
    assert "files" in meaning
