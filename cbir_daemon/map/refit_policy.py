"""When a new map is fitted, and how.

In: how the map in use covers the collection, how what was added since lies on it, and the runs before.  Out: a
decision, its reason, and the numbers behind both.  Never here: fitting, rows, clocks, threads.

A new map costs minutes of one core and moves every position, so each reason has a least number of contents behind it,
nothing is done twice within `refit_min_interval_s`, and a map that was refused is not fitted again until more has
changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from cbir_daemon.config import ModelConfig, is_within
from cbir_daemon.records import FitKind, FitOutcome
from cbir_daemon.store import Coverage, Drift, ModelRun
from cbir_daemon.wording.counting import counted

FAILURE_BACK_OFF_S = 600.0
"""Shortest wait after a failed fit, so that a fit that cannot work is not tried without end."""

ROUGH_FROM = 1_000
"""Contents from which the first map is a rough one, which a tuned one then replaces; fewer are tuned in seconds."""

STRANGE_FRACTION = 0.5
"""Share of far contents among an album's new ones from which the album is unlike the collection: 0.05 by chance."""

FEWEST_MEASURED = 50
"""Fewest projected contents by which projection is called worse.  The recall of a content is 0.5 with a spread of 0.3,
so the mean of 50 is known to 0.04; `RECALL_LOSS` is 0.12 of 0.5."""

RECALL_LOSS = 0.25
"""Projection is worse when the recall of new contents is lower by this share than that of held-out ones at the fit."""

WARM_GROWTH = 1.5
"""A collection that has grown or shrunk by this factor since hyper-parameters were sought has them sought again."""

ENDED = (
    FitOutcome.ACTIVE,
    FitOutcome.REPLACED,
    FitOutcome.REFUSED,
    FitOutcome.FAILED,
    FitOutcome.SET_ASIDE,
)
"""Outcomes that say something; a fit cut short by the daemon's own end does not."""

BY_USER = "cancelled_by_user"
"""Among the numbers of a run: 1 when a user, and not the daemon's own end, cut it short."""

NOTHING: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class FitDecision:
    """Whether a fit is due.

    Parameters
    ----------
    reason : str
        Why a new map is fitted; empty when there is no reason to.
    waits_for : str
        What has to pass first; empty when a fit may begin.
    kind : str
        A member of `FitKind`.
    numbers : mapping of str to number
        What was looked at.
    """

    reason: str = ""
    waits_for: str = ""
    kind: str = FitKind.TUNED
    numbers: Mapping[str, float] = field(default_factory=lambda: NOTHING)

    @property
    def due(self) -> bool:
        """Whether a fit may begin."""
        return bool(self.reason) and not self.waits_for


@dataclass(frozen=True, slots=True)
class Features:
    """By what the settings want contents to be near each other.

    Parameters
    ----------
    version : str
        How the codes of the next map are made.
    undescribed : int
        Contents that wait for what these codes are made of.
    """

    version: str
    undescribed: int = 0


def decide(
    coverage: Coverage,
    drift: Drift,
    runs: Sequence[ModelRun],
    settings: ModelConfig,
    features: Features,
    now: datetime,
) -> FitDecision:
    """Decide whether to fit a new map.

    Parameters
    ----------
    coverage : Coverage
        Of the map in use; `present_at_fit` is 0 without one.
    drift : Drift
        Of what was added since.
    runs : sequence of ModelRun
        Every run, newest first.
    settings : ModelConfig
    features : Features
    now : datetime
        With a time zone; quiet hours are local time.
    """
    numbers = measured(coverage, drift, runs, settings)
    reason, kind = _reason(coverage, drift, runs, settings, features)
    if not reason:
        return FitDecision(numbers=numbers)
    return FitDecision(reason, _obstacle(coverage, runs, settings, features, now), kind, numbers)


def measured(coverage: Coverage, drift: Drift, runs: Sequence[ModelRun], settings: ModelConfig) -> Mapping[str, float]:
    """Return the numbers that a decision is made by, without those that are not known.

    Parameters
    ----------
    coverage : Coverage
        Of the map in use; `present_at_fit` is 0 without one.
    drift : Drift
        Of what was added since.
    runs : sequence of ModelRun
        Every run, newest first.
    settings : ModelConfig

    Returns
    -------
    mapping of str to number
        `contents` and `changed` are counts, `min_dist` is a distance on the map, all others are shares in [0, 1].
    """
    active = _active(runs)
    numbers = {
        "contents": coverage.contents,
        "changed": coverage.changed,
        "changed_fraction": round(coverage.changed_fraction, 4) if coverage.present_at_fit else None,
        "far_fraction": round(drift.far / drift.added, 4) if drift.added else None,
        "kept": None if drift.kept is None else round(drift.kept, 4),
        "kept_at_fit": None if active is None or active.kept is None else round(active.kept, 4),
        "min_dist": settings.min_dist,
    }
    return {name: number for name, number in numbers.items() if number is not None}


def _active(runs: Sequence[ModelRun]) -> ModelRun | None:
    return next((run for run in runs if run.outcome == FitOutcome.ACTIVE), None)


def _reason(
    coverage: Coverage, drift: Drift, runs: Sequence[ModelRun], settings: ModelConfig, features: Features
) -> tuple[str, str]:
    """Return the reason for a new map, empty without one, and the kind of its fit."""
    if coverage.contents < settings.min_images:
        return "", FitKind.TUNED
    if coverage.present_at_fit == 0:
        return "there is no map", FitKind.ROUGH if coverage.contents >= ROUGH_FROM else FitKind.TUNED
    active = _active(runs)
    if active is not None and active.kind == FitKind.ROUGH:
        return "the map in use is rough", FitKind.TUNED
    if active is not None and active.code_version != features.version:
        return f"codes are {features.version} now (model.features), the map's are {active.code_version}", FitKind.TUNED
    for album in drift.albums:
        if album.added >= settings.refit_min_changes and album.far > STRANGE_FRACTION * album.added:
            name = album.path.decode(errors="replace")
            return f"{album.far} of {album.added} new contents in {name} are unlike all that was fitted", FitKind.TUNED
    if drift.added >= settings.refit_min_changes and drift.far > settings.refit_far_fraction * drift.added:
        return f"{drift.far} of {drift.added} new contents lie far from all that was fitted", FitKind.TUNED
    if (
        active is not None
        and active.kept is not None
        and drift.kept is not None
        and drift.measured >= FEWEST_MEASURED
        and drift.kept < (1 - RECALL_LOSS) * active.kept
    ):
        why = f"neighbour recall of new contents is {drift.kept:.2f}; it was {active.kept:.2f} at the fit"
        return why, FitKind.TUNED
    if coverage.changed_fraction > settings.refit_changed_fraction and coverage.changed >= settings.refit_min_changes:
        why = f"{coverage.changed} of {coverage.present_at_fit} contents changed ({coverage.changed_fraction:.0%})"
        return why, FitKind.WARM if _may_be_warm(coverage, runs, settings) else FitKind.TUNED
    return "", FitKind.TUNED


def _may_be_warm(coverage: Coverage, runs: Sequence[ModelRun], settings: ModelConfig) -> bool:
    """Whether the hyper-parameters of the map in use still serve."""
    active = _active(runs)
    if active is None or active.numbers.get("min_dist", 0.0) != settings.min_dist:
        return False
    if settings.n_components not in (None, active.n_components):
        return False
    newest = next((run for run in runs if run.outcome in ENDED), None)
    tuned = next(
        (run for run in runs if run.kind == FitKind.TUNED and run.outcome in (FitOutcome.ACTIVE, FitOutcome.REPLACED)),
        None,
    )
    if newest is None or newest.outcome != FitOutcome.ACTIVE or tuned is None or not tuned.present_images:
        # A warm map that failed or was refused would be so again.
        return False
    return tuned.present_images / WARM_GROWTH <= coverage.contents <= tuned.present_images * WARM_GROWTH


def _obstacle(
    coverage: Coverage, runs: Sequence[ModelRun], settings: ModelConfig, features: Features, now: datetime
) -> str:
    """Return the wait before a fit that has a reason may begin; empty for none."""
    if features.undescribed:
        return f"{counted(features.undescribed, 'content')} to be described"
    if settings.fit_hours is not None and not is_within(settings.fit_hours, now.time()):
        begin, end = settings.fit_hours
        return f"the hours {begin:%H:%M}-{end:%H:%M} (model.fit_hours)"
    if held_back := _held_back(coverage, runs, settings):
        return held_back
    ended = [run for run in runs if run.outcome in ENDED]
    last = ended[0] if ended else None
    if last is None:
        return ""
    since_last_s = now.timestamp() - (last.finished_at or 0.0)
    if since_last_s < 0:
        # The clock was set back: how long ago it was cannot be told, and waiting for that time could take years.
        since_last_s = float("inf")
    # One map that cannot be used is replaced at once; when the next cannot be used either, a third will not help.
    failed = last.outcome == FitOutcome.FAILED or [run.outcome for run in ended[:2]] == [FitOutcome.SET_ASIDE] * 2
    if failed and since_last_s < max(FAILURE_BACK_OFF_S, settings.refit_min_interval_s):
        return "a pause after the failed fit"
    if coverage.present_at_fit == 0 or last.kind == FitKind.ROUGH:
        return ""
    if since_last_s < settings.refit_min_interval_s:
        return f"{settings.refit_min_interval_s:g} s between two fits (model.refit_min_interval_s)"
    return ""


def _held_back(coverage: Coverage, runs: Sequence[ModelRun], settings: ModelConfig) -> str:
    """Return the changes before a map is fitted that was refused or that a user cancelled, or empty text."""
    last = next((run for run in runs if run.outcome in ENDED or BY_USER in run.numbers), None)
    if last is None or not (last.outcome == FitOutcome.REFUSED or BY_USER in last.numbers):
        return ""
    if coverage.changed - last.numbers.get("changed", 0) >= settings.refit_min_changes:
        return ""
    what = "refused" if last.outcome == FitOutcome.REFUSED else "cancelled"
    return f"{settings.refit_min_changes} more changes, since the last map was {what} (model.refit_min_changes)"
