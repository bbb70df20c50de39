"""What people are told: a decision on the log becomes the notifications that tell it.

Pure: standard library and ``schemas.records`` only; no clock, no configuration, no escaping (that is the sink's affair:
users' words stand here as they were written). A notification's id is a function of the decision alone, so that telling
twice is recognised; the zone only changes how instants read.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from peaktime.core import texts, wording
from schemas.records import (
    CalendarState,
    Entry,
    Fact,
    FactState,
    Notification,
    NotificationField,
    NotificationKind,
    OutcomeKind,
    Severity,
    VerdictKind,
)

ZONE = "Asia/Seoul"
DEAD_LETTERS = "dead-letters"

_ERRORS = {NotificationKind.FAILED, NotificationKind.MISSED, NotificationKind.PROBLEM_OPENED}
_WARNINGS = {
    NotificationKind.REJECTED,
    NotificationKind.STALE,
    NotificationKind.ENDED,
    NotificationKind.SLOW,
    NotificationKind.CALENDAR_REFUSED,
    NotificationKind.CALENDAR_STALE,
    NotificationKind.DEAD_LETTER,
}
#: Origins whose requests people send themselves: each of theirs is told, whether or not it belongs to a group.
_BY_HAND = {"pa", "operator"}
#: The state in which a report is still news; a report that is not listed is news in any state.
_NEWS_IN = {
    OutcomeKind.SCHEDULED: FactState.SCHEDULED,
    OutcomeKind.STARTED: FactState.STARTED,
    OutcomeKind.SLOW: FactState.STARTED,
}
_LONGEST_DETAIL = 500
_LONGEST_KEY, _LONGEST_REASON = 200, 1000


def notification_id(subject: str, position: int | str, kind: NotificationKind) -> str:
    """32 hex digits that depend on what was decided, and on nothing else."""
    return hashlib.sha256(f"{kind}\0{position}\0{subject}".encode()).hexdigest()[:32]


def severity_of(kind: NotificationKind) -> Severity:
    """How loud a message of this kind is."""
    if kind in _ERRORS:
        return Severity.ERROR
    return Severity.WARNING if kind in _WARNINGS else Severity.INFO


def notifications_of_entry(entry: Entry, source: str, zone: str = ZONE) -> tuple[Notification, ...]:
    """The verdict of an entry's last request, told.

    Args:
        entry: as it stands after the request.
        source: where the entry stands, ``topic/partition/position``.
        zone: IANA zone in which instants are written.

    Returns:
        One notification, or none: a DUPLICATE changes nothing, and the requests of a calendar's group are told as one
        by the calendar, unless one of them was refused.
    """
    verdict, request = entry.verdict, entry.verdict.request
    kind = NotificationKind.__members__.get(verdict.kind.value)
    if kind is None or kind is NotificationKind.UNKNOWN:
        return ()
    went_well = verdict.kind in {VerdictKind.ACCEPTED, VerdictKind.REPLACED, VerdictKind.WITHDRAWN}
    if went_well and request.group and request.origin not in _BY_HAND:
        return ()
    headline, text = texts.of_verdict(kind, entry, zone)
    return (
        Notification(
            notification_id=notification_id(entry.key, entry.position, kind),
            kind=kind,
            severity=severity_of(kind),
            thread=entry.key,
            target=entry.target,
            entry=entry.key,
            request_id=request.request_id,
            headline=headline,
            text=text,
            fields=_fields(
                ("Event", request.title),
                ("Event date", wording.event_date(request.event_date)),
                ("Profile", wording.profile(request.target, request.day, request.band)),
                ("Window", wording.window(request.starts_at, request.ends_at, zone)),
                ("Asked by", request.owner),
                ("Origin", request.origin),
                ("Description", request.description),
                ("Request", request.request_id),
            ),
            decided_at=entry.log_time,
            source=source,
        ),
    )


def notifications_of_fact(fact: Fact, source: str, zone: str = ZONE) -> tuple[Notification, ...]:
    """The outcome that changed a fact last, told.

    Args:
        fact: as it stands after the outcome.
        source: where the fact stands, ``topic/partition/position``.
        zone: IANA zone in which instants are written.

    Returns:
        One notification; none for a report of a newer version, or one that the fact had already left behind (a start
        that is reported after the end), nor for the settings that a target begins with: nothing has changed then.
    """
    outcome = fact.outcome
    if outcome.kind is OutcomeKind.CONFIGURED and fact.episode == 1:
        return ()
    kind = NotificationKind.__members__.get(outcome.kind.value)
    if kind is None or kind is NotificationKind.UNKNOWN or _NEWS_IN.get(outcome.kind, fact.state) != fact.state:
        return ()
    headline, text = texts.of_outcome(kind, fact, zone)
    thread = outcome.entry or fact.subject
    if not outcome.entry and kind is NotificationKind.CALENDAR_STALE and outcome.origin:
        thread = f"calendar/{outcome.origin}"
    return (
        Notification(
            notification_id=notification_id(fact.subject, fact.position, kind),
            kind=kind,
            severity=severity_of(kind),
            thread=thread,
            target=fact.target,
            entry=outcome.entry,
            request_id=outcome.request_id,
            headline=headline,
            text=text,
            fields=_fields(
                ("Event", outcome.title),
                ("Event date", wording.event_date(outcome.event_date)),
                ("Profile", wording.profile(fact.target, outcome.day, outcome.band) if outcome.day else ""),
                ("Level", "" if outcome.level is None else str(outcome.level)),
                ("Due", f"{wording.instant(outcome.fires_at, zone)} ({zone})" if outcome.fires_at else ""),
                ("Asked by", outcome.owner),
                ("CronWorkflow", _named(outcome.namespace, outcome.cron_workflow)),
                ("Workflow", _named(outcome.namespace, outcome.workflow)),
                *((name, _short(value)) for name, value in sorted(outcome.details.items())),
                ("Request", outcome.request_id),
            ),
            link=outcome.link,
            decided_at=fact.log_time,
            source=source,
        ),
    )


def notifications_of_calendar(state: CalendarState, source: str, zone: str = ZONE) -> tuple[Notification, ...]:
    """What a calendar's last snapshot changed, as one message; or why it was refused.

    Args:
        state: as it stands after the snapshot.
        source: where the state stands, ``topic/partition/position``.
        zone: IANA zone in which instants are written.
    """
    if state.refused:
        kind = NotificationKind.CALENDAR_REFUSED
        headline, text = texts.of_calendar_refusal(state)
    elif state.changes:
        kind = NotificationKind.CALENDAR_CHANGED
        headline, text = texts.of_calendar_changes(state, zone)
    else:
        return ()
    return (
        Notification(
            notification_id=notification_id(f"calendar/{state.calendar_id}", state.position, kind),
            kind=kind,
            severity=severity_of(kind),
            thread=f"calendar/{state.calendar_id}",
            target=state.target,
            headline=headline,
            text=text,
            fields=_fields(("Calendar", state.calendar_id), ("Target", state.target)),
            decided_at=state.log_time,
            source=source,
        ),
    )


def notification_of_dead_letter(
    topic: str,
    partition: int,
    offset: int,
    *,
    code: str,
    reason: str,
    stage: str,
    key: str,
    log_time: datetime,
) -> Notification:
    """A record that could not be understood, told once for each place in the log.

    Args:
        topic: where the record stands.
        partition: its partition there.
        offset: its offset there.
        code: the short word for the reason.
        reason: the reason in words.
        stage: which part of peaktime could not read it.
        key: the record's key as text; empty if it has none.
        log_time: when it was put aside (UTC).
    """
    kind = NotificationKind.DEAD_LETTER
    where = f"{topic}/{partition}/{offset}"
    # A key may be as long as a record, and a message must fit on the log as well.
    key, stage, code = (wording.one_line(text, _LONGEST_KEY) for text in (key, stage, code))
    reason = wording.one_line(reason, _LONGEST_REASON)
    return Notification(
        notification_id=notification_id(DEAD_LETTERS, where, kind),
        kind=kind,
        severity=severity_of(kind),
        thread=DEAD_LETTERS,
        headline=f"Unreadable record put aside: {wording.one_line(topic)}, offset {offset}",
        text=wording.join(
            f"A record could not be understood and had no effect: {reason or code or 'no reason was recorded'}",
            "Its bytes are kept. Next: tell whoever sends it; the field “Place” says where it stands.",
        ),
        fields=_fields(("Place", where), ("Key", key), ("Stage", stage), ("Code", code)),
        decided_at=log_time,
        source=where,
    )


def _named(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace and name else name


def _short(value: str) -> str:
    """Configuration can be long; a message only points at it."""
    return value if len(value) <= _LONGEST_DETAIL else f"{len(value)} characters, see the log"


def _fields(*pairs: tuple[str, str]) -> tuple[NotificationField, ...]:
    return tuple(NotificationField(name=name, value=value) for name, value in pairs if value)
