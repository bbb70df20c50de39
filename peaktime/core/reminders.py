"""What is told by the clock alone: a reminder before an event, each evening the coming days, and new settings.

Pure: standard library, ``schemas.records`` and the core only. Each is a report like any other: owed until the facts
show it, so that a worker that starts again, or another one, does not tell it twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from peaktime.core import wording
from peaktime.core.desired import Desired
from peaktime.core.reports import Reports
from peaktime.core.runs import Run, noun
from schemas.records import OutcomeKind, RequestAction

_LONGEST_DIGEST = 30


def reminders(want: Desired, reports: Reports) -> Iterator[datetime]:
    """Remind of each scale-out that is near, unless it was asked for later than that; yields when others are due.

    Args:
        want: what should be.
        reports: where reports go.
    """
    before, now = reports.at.remind_before, reports.at.now
    if before is None:
        return
    for run in want.runs.values():
        due = run.instant - before
        is_event = run.firing.action is RequestAction.SCALE_OUT and run.instant == run.firing.own_instant
        if not is_event or run.instant <= now or run.firing.since > due:
            continue
        if due > now:
            yield due
        elif (subject := f"reminder/{run.workflow}") not in reports.facts.by_subject:
            base = replace(reports.about_run(run), subject=subject)
            reports.report(base, OutcomeKind.REMINDER, at=due, message=_paused(want))


def _paused(want: Desired) -> str:
    if want.pause is None:
        return ""
    by = f"{want.pause.owner} ({want.pause.why})"
    return f"{want.target} is paused by {by}: nothing of it starts until somebody resumes it."


def digest(want: Desired, reports: Reports, zone: str) -> Iterator[datetime]:
    """Tell the coming days once an evening, if there is anything to tell; yields when the next evening is.

    Args:
        want: what should be.
        reports: where reports go.
        zone: IANA zone of the evening.
    """
    told_at, now = reports.at.digest_at, reports.at.now
    if told_at is None:
        return
    local = now.astimezone(ZoneInfo(zone))
    evening = local.replace(hour=told_at.hour, minute=told_at.minute, second=0, microsecond=0, fold=0)
    coming = sorted((run for run in want.runs.values() if run.instant > now), key=lambda run: (run.instant, run.name))
    if not coming:
        return
    if now < evening:
        yield evening
        return
    # Wall time: the evening of the next day, whatever the clock does in between.
    yield evening + timedelta(days=1)
    until = now + timedelta(days=reports.at.digest_days)
    runs = [run for run in coming if run.instant <= until]
    subject = f"digest/{want.target}/{evening.date().isoformat()}"
    if not runs or subject in reports.facts.by_subject:
        return
    lines = [f"• {_line(run, zone)}" for run in runs[:_LONGEST_DIGEST]]
    if len(runs) > len(lines):
        lines.append(f"… and {len(runs) - len(lines)} more")
    head = f"The next {reports.at.digest_days} days ({zone}):"
    message = wording.join(_paused(want), head, *lines)
    reports.report(reports.blank(subject), OutcomeKind.DIGEST, at=evening, message=message)


def _line(run: Run, zone: str) -> str:
    who = f" ({run.firing.by.owner})" if run.firing.by.owner else ""
    title = wording.one_line(run.firing.by.title)
    return f"{wording.instant(run.instant, zone)} {noun(run)} to level {run.way.level}: {title}{who}"


def configured(reports: Reports) -> None:
    """Report the settings in force for the target, if the log does not show just these.

    Args:
        reports: where reports go.
    """
    now = dict(reports.at.configuration)
    if not now:
        return
    subject = f"configuration/{reports.target}"
    known = reports.facts.by_subject.get(subject)
    if known is not None and known.outcome.details == now:
        return
    before = known.outcome.details if known is not None else {}
    message = "\n".join(_changes(before, now)) if before else "These settings are in force."
    base = replace(reports.blank(subject), details=now)
    identity = json.dumps(now, sort_keys=True)
    reports.report(base, OutcomeKind.CONFIGURED, at=reports.at.now, message=message, identity=identity)


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    """A line for each part that changed, with the names of what was added, removed and changed in it."""
    for part in sorted({*before, *after}):
        old, new = _members(before.get(part, "")), _members(after.get(part, ""))
        words = [
            f"{word} {', '.join(names)}"
            for word, names in (
                ("added", sorted(new.keys() - old.keys())),
                ("removed", sorted(old.keys() - new.keys())),
                ("changed", sorted(name for name in old.keys() & new.keys() if old[name] != new[name])),
            )
            if names
        ]
        if words:
            yield f"{part}: {'; '.join(words)}"


def _members(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
