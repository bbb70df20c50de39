"""Following runs: what the cluster shows of them, or no longer shows, and the facts do not know yet.

Pure: standard library, ``schemas.records`` and the core only. It owes reports; it starts and removes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from peaktime.core.actions import Observed
from peaktime.core.desired import Desired
from peaktime.core.evidence import active, children, failure, fired, instant_of, ours, time_of
from peaktime.core.outcomes import BEGUN, KEPT_FOR, OVER, is_run, run_subject
from peaktime.core.profiles import Profiles
from peaktime.core.reports import Reports
from schemas.records import Fact, FactState, OutcomeKind

_PHASES = {"Succeeded": OutcomeKind.SUCCEEDED, "Failed": OutcomeKind.FAILED, "Error": OutcomeKind.FAILED}
_SEEN_TO_END = frozenset({FactState.SUCCEEDED, FactState.FAILED})
#: How long a run may take if its profile is not known any more (s).
_EXPECTED = 600


def begun(seen: Observed, reports: Reports) -> bool:
    """Report every sign of a run that the facts do not show; whether a beginning or an end is among them.

    Args:
        seen: what the cluster holds.
        reports: where reports go.
    """
    facts, now = reports.facts.by_subject, reports.at.now
    news = False
    for name, obj in sorted(seen.workflows.items(), key=lambda item: instant_of(item[0]) or now):
        fact = facts.get(run_subject(name))
        status = obj.get("status") or {}
        kind = _PHASES.get(status.get("phase") or "")
        # Until the controller has taken it up it has no start: it was made just now, or there is no controller.
        started = time_of(status.get("startedAt")) or now
        finished = time_of(status.get("finishedAt")) or now
        if fact is None and kind is not None and finished < now - KEPT_FOR:
            continue  # reported once, and forgotten by now
        if fact is None or fact.state not in BEGUN:
            reports.report(reports.about(name, obj), OutcomeKind.STARTED, at=started, started_at=started)
            news = True
        if kind is not None and (fact is None or fact.state not in _SEEN_TO_END):
            message = failure(status) if kind is OutcomeKind.FAILED else ""
            said = replace(reports.about(name, obj), started_at=started, finished_at=finished)
            reports.report(said, kind, at=finished, message=message)
            news = True
    for name, obj in seen.cron_workflows.items():
        if not ours(obj):
            continue
        for child, instant in children(name, obj).items():
            fact = facts.get(run_subject(child))
            if child not in seen.workflows and (fact is None or fact.state not in BEGUN):
                reports.report(reports.about(child, obj), OutcomeKind.STARTED, at=instant, started_at=instant)
                news = True
    return news


def slow(profiles: Profiles, reports: Reports) -> Iterator[datetime]:
    """Report once each run that takes longer than its profile expects; yields when others will.

    Args:
        profiles: the configuration in force.
        reports: where reports go.
    """
    for fact in reports.facts.by_subject.values():
        if not is_run(fact) or fact.state is not FactState.STARTED or fact.slow:
            continue
        late = late_at(fact, profiles)
        if late is None:
            continue
        if late > reports.at.now:
            yield late
        elif all(owed.subject != fact.subject for owed in reports.owed):
            expected = _expected(fact, profiles)
            message = f"it was expected to take at most {expected} s"
            reports.report(fact.outcome, OutcomeKind.SLOW, at=late, message=message)


def late_at(fact: Fact, profiles: Profiles) -> datetime | None:
    """When a run that goes on has taken longer than expected (UTC); None if nobody saw it start."""
    return fact.started_at + timedelta(seconds=_expected(fact, profiles)) if fact.started_at is not None else None


def going_on(profiles: Profiles, reports: Reports) -> datetime | None:
    """Until when a run of the target that is going on holds up others; None if none is."""
    for fact in reports.facts.by_subject.values():
        if is_run(fact) and fact.state is FactState.STARTED:
            until = late_at(fact, profiles)
            if until is not None and until > reports.at.now:
                return until
    return None


def _expected(fact: Fact, profiles: Profiles) -> int:
    profile = profiles.find(fact.target, fact.outcome.day, fact.outcome.band)
    return profile.expected_seconds if profile is not None else _EXPECTED


def unseen(want: Desired, seen: Observed, reports: Reports) -> Iterator[datetime]:
    """Report runs that the facts know and the cluster does not show: removed, missed, or over unseen.

    Args:
        want: what should be.
        seen: what is.
        reports: where reports go.

    Yields:
        When to look again at those that may still show.
    """
    now, grace = reports.at.now, reports.at.grace
    for fact in reports.facts.by_subject.values():
        if not is_run(fact) or fact.state in OVER:
            continue
        name, fires_at = fact.outcome.cron_workflow, fact.outcome.fires_at or now
        child = fact.subject.removeprefix("run/")
        if child in seen.workflows:
            continue
        cron = seen.cron_workflows.get(name)
        cron = cron if cron is not None and ours(cron) else None
        if fact.state is FactState.STARTED:
            going = cron is not None and child in active(cron)
            due = (fact.started_at or fires_at) + grace
            if not going and due <= now:
                message = "its Workflow is gone, so how it ended could not be seen"
                reports.report(replace(fact.outcome, finished_at=now), OutcomeKind.ENDED, at=now, message=message)
            elif not going:
                yield due
            continue
        wanted = want.runs.get(name)
        if wanted is not None and wanted.instant == fires_at:
            continue
        if fires_at > now:
            if cron is None or wanted is not None:
                reports.report(fact.outcome, OutcomeKind.REMOVED, at=now)
        elif fires_at + grace > now:
            yield fires_at + grace
        elif cron is None or fires_at not in fired(cron):
            message = "it was due and did not start, and it is not wanted any more"
            reports.report(fact.outcome, OutcomeKind.MISSED, at=now, message=message)
