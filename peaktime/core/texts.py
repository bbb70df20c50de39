"""What each message says: headline and text of a verdict, an outcome and a calendar's changes.

Pure: standard library and ``schemas.records`` only. Each text says what happened, to which event, who asked and what
comes next, so that a marketer understands it. Which decisions are told at all is ``peaktime.core.messages``' affair.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime

from peaktime.core import wording
from schemas.records import (
    CalendarState,
    Change,
    Entry,
    Fact,
    NotificationKind,
    Peak,
    PeakChange,
    PeakChangeKind,
    RequestAction,
    ScaleRequest,
)

_UTC_MINUTE = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}Z")
_INSTANTS = {"start", "end", "scale-out", "scale-in"}
_ASKED = {
    RequestAction.SCALE_OUT: "scale out",
    RequestAction.SCALE_IN: "scale in",
    RequestAction.DELETE: "delete",
    RequestAction.RERUN: "run again",
    RequestAction.PAUSE: "pause",
    RequestAction.RESUME: "resume",
}

_WHOLE_TARGET = {RequestAction.PAUSE, RequestAction.RESUME}
_NEXT = {
    RequestAction.RERUN: "Next: it is started, if it still leads to what is wanted now; you are told here.",
    RequestAction.PAUSE: "Next: nothing of it starts until somebody resumes it; what goes on is left to finish.",
    RequestAction.RESUME: "Next: what is wanted now is brought about, and what is scheduled runs again.",
}


def of_verdict(kind: NotificationKind, entry: Entry, zone: str) -> tuple[str, str]:
    """Headline and text of an entry's verdict; ``kind`` is the verdict's."""
    request = entry.verdict.request
    stated = (request, entry.deletion, entry.scale_out, entry.scale_in)
    title = next((s.title for s in stated if s is not None and s.title), request.run or "an event without a title")
    headline = f"{_VERDICT_WORD[kind]}: {wording.one_line(title)}, {_ASKED.get(request.action, 'unknown request')}"
    if request.action in _WHOLE_TARGET:
        return f"{_VERDICT_WORD[kind]}: {_ASKED[request.action]} {request.target}", _VERDICT_TEXT[kind](entry, zone)
    if request.event_date:
        headline += f", {wording.one_line(wording.event_date(request.event_date))}"
    return headline, _VERDICT_TEXT[kind](entry, zone)


_VERDICT_WORD = {
    NotificationKind.ACCEPTED: "Accepted",
    NotificationKind.REPLACED: "Changed",
    NotificationKind.STALE: "Out of date",
    NotificationKind.WITHDRAWN: "Withdrawn",
    NotificationKind.REJECTED: "Rejected",
}


def _asks(request: ScaleRequest, zone: str) -> str:
    who, target = request.owner or "Somebody (no owner given)", request.target
    profile = wording.profile(request.target, request.day, request.band)
    span = wording.window(request.starts_at, request.ends_at, zone)
    match request.action:
        case RequestAction.SCALE_OUT:
            return f"{who} asks to scale {target} out with profile {profile}{': ' if span else ''}{span}."
        case RequestAction.SCALE_IN:
            at = wording.instant(request.ends_at, zone) if request.ends_at else "a time that is not given"
            return f"{who} asks to scale {target} in with profile {profile} at {at} ({zone})."
        case RequestAction.DELETE:
            return f"{who} asks to delete the event {wording.event_date(request.event_date)} of {target}."
        case RequestAction.RERUN:
            return f"{who} asks to run {request.run or 'a run'} of {target} again: {request.description}"
        case RequestAction.PAUSE:
            return f"{who} asks to pause {target}: {request.description}"
        case RequestAction.RESUME:
            return f"{who} asks to resume {target}: {request.description}"
    return f"{who} sent a request about {target} that this version does not know."


def _next(entry: Entry) -> str:
    """What follows for the event as it stands now."""
    if entry.verdict.request.action not in {RequestAction.SCALE_OUT, RequestAction.SCALE_IN}:
        return ""
    out, back = entry.scale_out, entry.scale_in
    if out is not None and back is None:
        if out.ends_at is None and entry.verdict.request.action is RequestAction.SCALE_OUT:
            return "The end is not known yet: a scale-in request has to state it."
        return "Nobody has asked for a scale-in yet: capacity stays as it is after the window until somebody does."
    if out is None and back is not None and entry.verdict.request.action is RequestAction.SCALE_IN:
        return "There is no scale-out for this event yet."
    return "Both the scale-out and the scale-in are now known."


def _accepted(entry: Entry, zone: str) -> str:
    verdict = entry.verdict
    follows = _NEXT.get(verdict.request.action, "Next: it is scheduled, and you are told here.")
    if verdict.request.action is RequestAction.DELETE:
        follows = ""
    return wording.join(_asks(verdict.request, zone), verdict.reason, _next(entry), follows)


def _replaced(entry: Entry, zone: str) -> str:
    verdict = entry.verdict
    whose = verdict.previous_owner
    replaced = f"This replaces what {whose} asked for before." if whose else "This replaces what was asked for before."
    return wording.join(
        _asks(verdict.request, zone),
        replaced,
        _changes(verdict.changes, zone),
        verdict.reason,
        _next(entry),
        _NEXT.get(verdict.request.action, "Next: the schedule is changed, and you are told here."),
    )


def _stale(entry: Entry, zone: str) -> str:
    verdict = entry.verdict
    return wording.join(
        _asks(verdict.request, zone),
        f"Nothing was changed: {verdict.reason or 'a newer request about this event is already known'}.",
        "Next: if this is still wanted, send it again as a new request (with a higher revision, if you use revisions).",
    )


def _withdrawn(entry: Entry, zone: str) -> str:
    verdict = entry.verdict
    if not verdict.changes:
        return wording.join(_asks(verdict.request, zone), f"Nothing had to be done: {verdict.reason or 'it is gone'}.")
    whose = verdict.previous_owner
    return wording.join(
        _asks(verdict.request, zone),
        f"It was asked for by {whose}." if whose else "",
        _changes(verdict.changes, zone),
        verdict.reason,
        "Next: what was scheduled for it is removed; if its window is open now, it closes.",
    )


def _rejected(entry: Entry, zone: str) -> str:
    verdict = entry.verdict
    return wording.join(
        _asks(verdict.request, zone),
        f"It was not accepted: {verdict.reason or verdict.code or 'no reason was recorded'}.",
        "Next: nothing happens; what was planned before stays. Correct the request and send it again.",
    )


def _changes(changes: Iterable[Change], zone: str) -> str:
    lines = [
        f"• {c.field}: {_value(c.field, c.before, zone)} → {_value(c.field, c.after, zone) or 'nothing'}"
        if c.before
        else f"• {c.field}: {_value(c.field, c.after, zone)} (there was none)"
        for c in changes
    ]
    return "\n".join(["What changed:", *lines]) if lines else ""


def _value(field: str, value: str, zone: str) -> str:
    """A value of a change; the folds know no zone and write instants in UTC."""
    if field not in _INSTANTS or not _UTC_MINUTE.fullmatch(value):
        return value
    return f"{wording.instant(datetime.fromisoformat(value), zone)} ({zone})"


_VERDICT_TEXT = {
    NotificationKind.ACCEPTED: _accepted,
    NotificationKind.REPLACED: _replaced,
    NotificationKind.STALE: _stale,
    NotificationKind.WITHDRAWN: _withdrawn,
    NotificationKind.REJECTED: _rejected,
}


def of_outcome(kind: NotificationKind, fact: Fact, zone: str) -> tuple[str, str]:  # noqa: C901, PLR0911  (a case a line)
    """Headline and text of the outcome that changed a fact last; ``kind`` is the outcome's."""
    outcome = fact.outcome
    target = fact.target or "everything"
    what = {RequestAction.SCALE_OUT: "scale-out", RequestAction.SCALE_IN: "scale-in"}.get(outcome.action, "run")
    event = wording.one_line(outcome.title) or wording.one_line(outcome.event_date) or target
    due = f"{wording.instant(outcome.fires_at, zone)}" if outcome.fires_at else "a time that was not reported"
    level = "" if outcome.level is None else f" to level {outcome.level}"
    said = outcome.message
    why = f"It says: {said}" if said else ""
    match kind:
        case NotificationKind.SCHEDULED:
            return f"Scheduled: {what} for {event}, {due}", wording.join(
                f"The {what} of {target}{level} is set for {due} ({zone}).",
                said,
                "Next: it starts by itself.",
            )
        case NotificationKind.STARTED:
            at = wording.instant(fact.started_at or outcome.started_at or outcome.at, zone)
            return f"Started: {what} for {event}", wording.join(
                f"The {what} of {target}{level} started at {at} ({zone}).",
                said,
                "Next: you are told how it ends.",
            )
        case NotificationKind.SUCCEEDED:
            now = "" if outcome.level is None else f"{target} is at level {outcome.level} now."
            return f"Done: {what} for {event}", wording.join(
                f"The {what} of {target} succeeded{_took(fact)}.",
                now,
                said,
            )
        case NotificationKind.FAILED:
            return f"FAILED: {what} for {event}", wording.join(
                f"The {what} of {target}{level} failed{_took(fact)}. Capacity may not be what it should be.",
                why,
                "Next: somebody has to look now. Nothing is started again by itself.",
            )
        case NotificationKind.ENDED:
            return f"Over, result unknown: {what} for {event}", wording.join(
                f"The {what} of {target}{level} is over, but its record was gone before its result could be seen.",
                why,
                "Next: check that capacity is what it should be.",
            )
        case NotificationKind.MISSED:
            return f"MISSED: {what} for {event}", wording.join(
                f"The {what} of {target}{level} was due at {due} ({zone}) and did not start.",
                why,
                "Next: check capacity now. It is started late by itself only while it is still owed.",
            )
        case NotificationKind.REMOVED:
            return f"Removed: {what} for {event}, {due}", wording.join(
                f"The {what} of {target} that was set for {due} ({zone}) will not take place.",
                said,
            )
        case NotificationKind.PROBLEM_OPENED:
            about = wording.one_line(said) or outcome.code or fact.subject
            return f"Problem: {about}", wording.join(
                said or f"There is a problem with {target}.",
                f"It concerns {target} and is listed as {outcome.code or fact.subject}.",
                "Next: somebody has to look. You are told here when it is over.",
            )
        case NotificationKind.PROBLEM_CLOSED:
            return f"Solved: {wording.one_line(said) or outcome.code or fact.subject}", wording.join(
                f"The problem {outcome.code or fact.subject} with {target} is over.",
                said,
            )
        case NotificationKind.SLOW:
            return f"Slow: {what} for {event}", wording.join(
                f"The {what} of {target}{level} is taking longer than expected{_since(fact, zone)}.",
                why,
                "Next: look at the run; you are told when it ends.",
            )
        case NotificationKind.REMINDER:
            return f"Reminder: {what} for {event}, {due}", wording.join(
                f"The {what} of {target}{level} starts at {due} ({zone}).",
                said,
            )
        case NotificationKind.DIGEST:
            return f"The coming days of {target}", said or "Nothing is planned."
        case NotificationKind.CALENDAR_STALE:
            return f"Calendar out of date: {outcome.origin or fact.subject}", wording.join(
                said or "No good holiday feed has been read for too long.",
                "What was planned from it stays. Next: somebody has to look at the feed and its import.",
            )
        case NotificationKind.CONFIGURED:
            return f"Settings of {target} changed", said or "The worker runs with new settings."
    raise AssertionError(kind)


def _took(fact: Fact) -> str:
    started = fact.started_at or fact.outcome.started_at
    finished = fact.finished_at or fact.outcome.finished_at
    return f" after {wording.length(finished - started)}" if started and finished else ""


def _since(fact: Fact, zone: str) -> str:
    started = fact.started_at or fact.outcome.started_at
    return f": it runs since {wording.instant(started, zone)} ({zone})" if started else ""


def of_calendar_changes(state: CalendarState, zone: str) -> tuple[str, str]:
    """Headline and text of everything that a snapshot changed."""
    peaks = {peak.event_date: peak for peak in state.peaks}
    count = len(state.changes)
    return (
        f"Calendar {wording.one_line(state.calendar_id)}: {count} {'change' if count == 1 else 'changes'} of peaks",
        wording.join(
            "\n".join(f"• {_change(change, peaks, zone)}" for change in state.changes),
            f"Next: the events of {state.target} follow by themselves." if state.target else "",
        ),
    )


def of_calendar_refusal(state: CalendarState) -> tuple[str, str]:
    """Headline and text of a snapshot that was refused."""
    return (
        f"Calendar {wording.one_line(state.calendar_id)}: the new feed was refused",
        wording.join(
            f"The last holiday feed was not taken: {state.refused}",
            "Next: the last good one stays in force; look at the feed, and accept it by hand if it is right.",
        ),
    )


def _change(change: PeakChange, peaks: Mapping[date, Peak], zone: str) -> str:
    before = wording.day(change.before) if change.before else "a day not known"
    after = wording.day(change.after) if change.after else "a day not known"
    peak = peaks.get(change.after) if change.after else None
    detail = _peak(peak, zone) if peak else ""
    why = f" Why: {change.why}" if change.why else ""
    match change.kind:
        case PeakChangeKind.ADDED:
            return f"New peak on {after}{detail}.{why}"
        case PeakChangeKind.MOVED:
            return f"Peak moved from {before} to {after}{detail}.{why}"
        case PeakChangeKind.CHANGED:
            return f"Peak on {after} changed{detail}.{why}"
        case PeakChangeKind.WITHDRAWN:
            return f"Peak on {before} withdrawn.{why}"
    return f"A change that this version does not know: {before} to {after}.{why}"


def _peak(peak: Peak, zone: str) -> str:
    names = ", ".join(dict.fromkeys(d.name for d in peak.holidays if d.name))
    out = next((r for r in peak.requests if r.action is RequestAction.SCALE_OUT), None)
    span = f", {wording.window(out.starts_at, out.ends_at, zone)}" if out and out.starts_at else ""
    return f"{span}, after {names or 'days off'} ({wording.days(peak.run_start, peak.run_end)})"
