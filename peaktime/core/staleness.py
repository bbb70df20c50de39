"""When a holiday calendar has gone without a good snapshot for too long, and the report that says so.

Pure: standard library and ``schemas.records`` only. There is one report for each calendar and local day, by its subject
and id, so whoever reports may repeat itself.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from peaktime.core import wording
from peaktime.core.calendars import is_stale
from peaktime.core.outcomes import report_id
from schemas.records import CalendarState, Outcome, OutcomeKind

_LONGEST_REASON = 500


def stale_subject(calendar_id: str, day: str) -> str:
    """The subject of a calendar's being stale on a local day (ISO): ``calendar-stale/<id>/<day>``."""
    return f"calendar-stale/{calendar_id}/{day}"


def stale_report(state: CalendarState, now: datetime, zone: str, *, reporter: str = "") -> Outcome | None:
    """The report that a calendar is stale; None if it is not.

    Args:
        state: as it stands; the limit is its own.
        now: by the clock of whoever asks (UTC).
        zone: IANA zone of the day, and of the times in the message.
        reporter: who reports.
    """
    if not is_stale(state, now):
        return None
    subject = stale_subject(state.calendar_id, now.astimezone(ZoneInfo(zone)).date().isoformat())
    limit = wording.length(timedelta(minutes=state.stale_after_minutes))
    if state.good_at is None:
        since = f"None was ever good; the first was refused {wording.instant(state.log_time, zone)} ({zone})."
    else:
        since = f"The last good one was read {wording.instant(state.good_at, zone)} ({zone})."
    said = f"No good holiday feed for longer than {limit}. {since}"
    if state.refused:
        reason = state.refused
        reason = reason if len(reason) <= _LONGEST_REASON else f"{reason[: _LONGEST_REASON - 1]}…"
        said += f" Refused since: {reason}."
    return Outcome(
        outcome_id=report_id(subject, OutcomeKind.CALENDAR_STALE, None),
        kind=OutcomeKind.CALENDAR_STALE,
        subject=subject,
        target=state.target,
        at=now.astimezone(UTC).replace(microsecond=now.microsecond // 1000 * 1000),
        origin=state.calendar_id,
        code="calendar-stale",
        message=said,
        reporter=reporter,
    )
