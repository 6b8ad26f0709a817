"""A fit begins when there is a reason and nothing stands against it, and says by which numbers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from datetime import time as time_of_day

import pytest

from cbir_daemon.config import ModelConfig
from cbir_daemon.map.refit_policy import FAILURE_BACK_OFF_S, ROUGH_FROM, Features, decide
from cbir_daemon.store import AlbumDrift, Coverage, Drift, ModelRun

SETTINGS = ModelConfig(min_images=5, refit_min_changes=2, refit_min_interval_s=600.0, fit_hours=None)
NOON = datetime(2024, 6, 1, 12, 0, tzinfo=UTC)
FEATURES = Features("code/1")


def why_due(covered: Coverage, runs: list[ModelRun], settings: ModelConfig, now: datetime) -> str | None:
    """Return why a fit may begin now, or None."""
    decision = decide(covered, Drift(), runs, settings, FEATURES, now)
    return decision.reason if decision.due else None


def run_that(outcome: str, ago_s: float, run_id: int = 1) -> ModelRun:
    """Return a run that ended some seconds before noon."""
    ended = NOON.timestamp() - ago_s
    return ModelRun(run_id, "due", ended - 10, ended, outcome, "", "code/1")


def coverage(contents: int = 100, fitted: int = 100, present: int = 0, added: int = 0, at_fit: int = 100) -> Coverage:
    """Return how a map covers a collection."""
    return Coverage(contents, fitted, present, added, at_fit)


ACTIVE = [run_that("active", 10_000)]
NO_MAP = coverage(100, 0, 0, 0, 0)
GROWN = coverage(130, added=30)


@pytest.mark.parametrize(
    ("covered", "runs", "why"),
    [
        (NO_MAP, [], "there is no map"),
        (coverage(5, 0, 0, 0, 0), [], "there is no map"),
        (coverage(4, 0, 0, 0, 0), [], None),
        (coverage(0, 0, 0, 0, 0), [], None),
        (coverage(), ACTIVE, None),
        (GROWN, ACTIVE, "30 of 100 contents changed (30%)"),
        (coverage(120, added=20), ACTIVE, None),
        (coverage(121, added=21), ACTIVE, "21 of 100 contents changed (21%)"),
        (coverage(121), ACTIVE, "21 of 100 contents changed (21%)"),
        (coverage(79, fitted=79), ACTIVE, "21 of 100 contents changed (21%)"),
        (coverage(100, fitted=50, present=39, added=11), ACTIVE, "22 of 100 contents changed (22%)"),
        (coverage(5, fitted=4, added=1, at_fit=4), ACTIVE, None),
        (coverage(6, fitted=4, added=2, at_fit=4), ACTIVE, "2 of 4 contents changed (50%)"),
        (GROWN, [run_that("active", 599)], None),
        (GROWN, [run_that("active", 600)], "30 of 100 contents changed (30%)"),
        (GROWN, [run_that("failed", 599), *ACTIVE], None),
        (GROWN, [run_that("failed", 600), *ACTIVE], "30 of 100 contents changed (30%)"),
        (NO_MAP, [run_that("failed", 599)], None),
        (NO_MAP, [run_that("failed", 601)], "there is no map"),
        (NO_MAP, [run_that("set-aside", 1)], "there is no map"),
        (NO_MAP, [run_that("failed", 599), run_that("set-aside", 600)], None),
        (NO_MAP, [run_that("set-aside", 1), run_that("failed", 599)], "there is no map"),
        (NO_MAP, [run_that("set-aside", 599), run_that("set-aside", 700)], None),
        (NO_MAP, [run_that("set-aside", 600), run_that("set-aside", 700)], "there is no map"),
        (GROWN, [run_that("cancelled", 1), *ACTIVE], "30 of 100 contents changed (30%)"),
        (NO_MAP, [run_that("cancelled", 1)], "there is no map"),
        (GROWN, [run_that("active", -3600)], "30 of 100 contents changed (30%)"),
        (NO_MAP, [run_that("failed", -10 * 366 * 86_400)], "there is no map"),
    ],
)
def test_a_fit_is_due_when_enough_has_changed_and_enough_time_has_passed(
    covered: Coverage, runs: list[ModelRun], why: str | None
) -> None:
    """Share, number and interval must all be passed; a failure holds back, what was cut short does not.

    Nor does a map that was set aside, unless the one before was, too.
    """
    assert why_due(covered, runs, SETTINGS, NOON) == why


def test_a_failure_holds_back_for_the_longer_of_two_times() -> None:
    """A short interval between fits is no reason to try what cannot work again and again."""
    eager = replace(SETTINGS, refit_min_interval_s=0.0)
    patient = replace(SETTINGS, refit_min_interval_s=2 * FAILURE_BACK_OFF_S)
    assert why_due(NO_MAP, [run_that("failed", FAILURE_BACK_OFF_S - 1)], eager, NOON) is None
    assert why_due(NO_MAP, [run_that("failed", FAILURE_BACK_OFF_S)], eager, NOON) is not None
    assert why_due(NO_MAP, [run_that("failed", FAILURE_BACK_OFF_S)], patient, NOON) is None
    assert why_due(GROWN, [run_that("active", 0)], eager, NOON) is not None


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        ("09:00-17:30", ["09:00", "12:00", "17:29"], ["08:59", "17:30", "00:00"]),
        ("22:00-06:30", ["22:00", "23:59", "00:00", "06:29"], ["06:30", "12:00", "21:59"]),
        ("00:00-00:01", ["00:00"], ["00:01", "23:59"]),
        ("23:59-00:00", ["23:59"], ["00:00", "12:00"]),
    ],
)
def test_fits_keep_to_their_hours(hours: str, inside: list[str], outside: list[str]) -> None:
    """Also over midnight; the end does not belong to them."""
    begin, end = map(time_of_day.fromisoformat, hours.split("-"))
    settings = replace(SETTINGS, fit_hours=(begin, end))
    for moments, due in ((inside, True), (outside, False)):
        for moment in map(time_of_day.fromisoformat, moments):
            now = datetime.combine(NOON.date(), moment, UTC)
            assert (why_due(NO_MAP, [], settings, now) is not None) is due


TUNED = replace(run_that("active", 10_000), present_images=100, n_components=16, kept=0.5)


def drift(added: int, far: int, *, measured: int = 0, kept: float | None = None) -> Drift:
    """Return how the contents added to one album lie."""
    return Drift(added, far, measured, kept, (AlbumDrift(b"/album", added, far),) if added else ())


@pytest.mark.parametrize(
    ("lies", "why"),
    [
        (drift(10, 2), ""),
        (drift(8, 3), "3 of 8 new contents lie far from all that was fitted"),
        (drift(8, 5), "5 of 8 new contents in /album are unlike all that was fitted"),
        (drift(1, 1), ""),
        (
            Drift(20, 4, 0, None, (AlbumDrift(b"/a", 16, 0), AlbumDrift(b"/b", 4, 4))),
            "4 of 4 new contents in /b are unlike",
        ),
        (drift(0, 0, measured=50, kept=0.374), "neighbour recall of new contents is 0.37; it was 0.50 at the fit"),
        (drift(0, 0, measured=50, kept=0.376), ""),
        (drift(0, 0, measured=49, kept=0.1), ""),
    ],
)
def test_a_fit_is_due_when_new_contents_are_unlike_those_fitted(lies: Drift, why: str) -> None:
    """Also when few of the collection changed; hyper-parameters are then sought anew."""
    decision = decide(coverage(), lies, [TUNED], SETTINGS, FEATURES, NOON)
    assert decision.reason.startswith(why)
    assert (decision.due, decision.kind) == (bool(why), "tuned")


def test_without_a_measure_at_the_fit_nothing_has_become_worse() -> None:
    """A small collection had nobody to measure by."""
    assert not decide(coverage(), drift(0, 0, measured=99, kept=0.0), ACTIVE, SETTINGS, FEATURES, NOON).reason


def test_the_numbers_of_a_decision_are_all_that_are_known() -> None:
    """Whether or not it is to fit."""
    known = {"contents": 100, "changed": 0, "changed_fraction": 0.0, "min_dist": 0.0}
    assert decide(coverage(), Drift(), ACTIVE, SETTINGS, FEATURES, NOON).numbers == known
    drifted = {"far_fraction": 0.25, "kept": 0.4, "kept_at_fit": 0.5}
    assert (
        decide(coverage(), drift(8, 2, measured=60, kept=0.4), [TUNED], SETTINGS, FEATURES, NOON).numbers
        == known | drifted
    )
    assert decide(NO_MAP, Drift(), [], SETTINGS, FEATURES, NOON).numbers == {
        "contents": 100,
        "changed": 100,
        "min_dist": 0.0,
    }


@pytest.mark.parametrize(
    ("covered", "runs", "changes", "kind"),
    [
        (GROWN, [TUNED], {}, "warm"),
        (GROWN, [replace(TUNED, id=2, kind="warm"), replace(TUNED, outcome="replaced")], {}, "warm"),
        (coverage(151, added=51), [TUNED], {}, "tuned"),
        (
            coverage(151, added=41, at_fit=110),
            [replace(TUNED, kind="warm"), replace(TUNED, outcome="replaced")],
            {},
            "tuned",
        ),
        (coverage(66, fitted=66), [TUNED], {}, "tuned"),
        (GROWN, [run_that("refused", 700, 2), TUNED], {}, "tuned"),
        (GROWN, [run_that("failed", 700, 2), TUNED], {}, "tuned"),
        (GROWN, [run_that("cancelled", 700, 2), TUNED], {}, "warm"),
        (GROWN, [TUNED], {"n_components": 8}, "tuned"),
        (GROWN, [TUNED], {"n_components": 16}, "warm"),
        (GROWN, [TUNED], {"min_dist": 0.5}, "tuned"),
        (GROWN, [replace(TUNED, present_images=None)], {}, "tuned"),
    ],
)
def test_hyper_parameters_are_kept_while_they_serve(
    covered: Coverage, runs: list[ModelRun], changes: dict[str, float], kind: str
) -> None:
    """Not after much growth since they were sought, not after a failure, not for other settings."""
    decision = decide(covered, Drift(), runs, replace(SETTINGS, **changes), FEATURES, NOON)  # type: ignore[arg-type]  # by name
    assert (decision.due, decision.kind) == (True, kind)


def test_what_is_wanted_but_has_to_wait_says_for_what() -> None:
    """The reason stands, the fit does not begin."""
    hours = replace(SETTINGS, fit_hours=(time_of_day(1), time_of_day(6)))
    waiting = decide(GROWN, Drift(), [TUNED], hours, FEATURES, NOON)
    assert (waiting.due, waiting.reason) == (False, "30 of 100 contents changed (30%)")
    assert waiting.waits_for == "the hours 01:00-06:00 (model.fit_hours)"
    soon = decide(GROWN, Drift(), [run_that("active", 599)], SETTINGS, FEATURES, NOON)
    assert soon.waits_for == "600 s between two fits (model.refit_min_interval_s)"
    failed = decide(NO_MAP, Drift(), [run_that("failed", 1)], SETTINGS, FEATURES, NOON)
    assert failed.waits_for == "a pause after the failed fit"


def test_a_refused_map_is_fitted_again_only_after_more_changes() -> None:
    """As many as the least for any fit, or the same fit would be refused without end."""
    refused = replace(run_that("refused", 700, 2), numbers={"changed": 29})
    decision = decide(GROWN, Drift(), [refused, TUNED], SETTINGS, FEATURES, NOON)
    assert decision.waits_for == "2 more changes, since the last map was refused (model.refit_min_changes)"
    assert decide(coverage(131, added=31), Drift(), [refused, TUNED], SETTINGS, FEATURES, NOON).due


def test_a_cancelled_fit_does_not_begin_again_by_itself() -> None:
    """Also the first one, which no map speaks for."""
    cancelled = replace(run_that("cancelled", 700, 2), numbers={"changed": 100, "cancelled_by_user": 1})
    decision = decide(NO_MAP, Drift(), [cancelled], SETTINGS, FEATURES, NOON)
    assert decision.waits_for == "2 more changes, since the last map was cancelled (model.refit_min_changes)"
    assert decide(coverage(102, 0, 0, 0, 0), Drift(), [cancelled], SETTINGS, FEATURES, NOON).due
    assert decide(GROWN, Drift(), [TUNED, cancelled], SETTINGS, FEATURES, NOON).due


def test_other_features_need_another_map() -> None:
    """A map of codes that the settings no longer ask for is tuned anew, once all contents have what codes take."""
    decision = decide(coverage(), Drift(), [TUNED], SETTINGS, Features("code/2", undescribed=3), NOON)
    assert decision.reason == "codes are code/2 now (model.features), the map's are code/1"
    assert (decision.waits_for, decision.kind) == ("3 contents to be described", "tuned")
    assert decide(coverage(), Drift(), [TUNED], SETTINGS, Features("code/2"), NOON).due
    assert not decide(coverage(), Drift(), [TUNED], SETTINGS, Features("code/1", undescribed=3), NOON).reason


MANY = coverage(ROUGH_FROM, 0, 0, 0, 0)
ROUGH = replace(run_that("active", 1, 2), kind="rough", present_images=ROUGH_FROM, n_components=8)
ROUGHLY_MAPPED = coverage(ROUGH_FROM, fitted=ROUGH_FROM // 2, present=ROUGH_FROM // 2, at_fit=ROUGH_FROM)


def test_the_first_map_of_a_large_collection_is_rough() -> None:
    """Also after a map was set aside; a small one is tuned in seconds."""
    assert decide(MANY, Drift(), [], SETTINGS, FEATURES, NOON).kind == "rough"
    assert decide(MANY, Drift(), [run_that("set-aside", 1)], SETTINGS, FEATURES, NOON).kind == "rough"
    assert decide(replace(MANY, contents=ROUGH_FROM - 1), Drift(), [], SETTINGS, FEATURES, NOON).kind == "tuned"


def test_a_rough_map_is_replaced_at_once() -> None:
    """No interval has to pass; the pause after a failed fit has to."""
    decision = decide(ROUGHLY_MAPPED, Drift(), [ROUGH], SETTINGS, FEATURES, NOON)
    assert (decision.due, decision.reason, decision.kind) == (True, "the map in use is rough", "tuned")
    failed = decide(ROUGHLY_MAPPED, Drift(), [run_that("failed", 1, 3), ROUGH], SETTINGS, FEATURES, NOON)
    assert failed.waits_for == "a pause after the failed fit"
    hours = replace(SETTINGS, fit_hours=(time_of_day(1), time_of_day(6)))
    assert not decide(ROUGHLY_MAPPED, Drift(), [ROUGH], hours, FEATURES, NOON).due


def test_the_first_map_waits_for_looks() -> None:
    """A map of contents half of which have no descriptors would be fitted again at once."""
    waiting = decide(NO_MAP, Drift(), [], SETTINGS, Features("code/1", undescribed=1), NOON)
    assert waiting.waits_for == "1 content to be described"
