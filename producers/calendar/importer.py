"""Importing a calendar: what a feed says now, judged, becomes a snapshot.

Gather (the feed, the last state on the bus) → decide (`assess`, pure) → publish. Must not: work out peaks or requests,
which is the fold's business, nor keep anything itself: two importers at once do no harm.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from peaktime.calendars import CalendarSettings
from peaktime.core.calendars import fold_snapshot
from peaktime.core.holidays import CLOSING
from producers.calendar.feeds.base import BadFeedError, Feed, FeedResult
from schemas.records import CalendarSnapshot, CalendarState

#: Days around the horizon that a run may reach into.
_MARGIN = timedelta(days=31)
#: A feed that dropped the past may begin with its next holiday, which is never further away than this.
_LONGEST_GAP = timedelta(days=120)
#: In a horizon shorter than this (days) most may be off.
_FEW_DAYS = 60
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Somebody lets withdrawals through: who, and why. Both end up in the snapshot."""

    who: str
    why: str


def span(calendar: CalendarSettings, today: date) -> tuple[date, date]:
    """First and last day that a feed is asked for: the whole years that the horizon and a run beside it touch.

    Whole years, because a year of which a feed names no day is how one sees that it does not know that year.
    """
    end = today + timedelta(days=calendar.horizon_days)
    return date((today - _MARGIN).year, 1, 1), date((end + _MARGIN).year, 12, 31)


def today_of(calendar: CalendarSettings, now: datetime) -> date:
    """The date in the calendar's zone."""
    return now.astimezone(ZoneInfo(calendar.zone)).date()


def take(
    calendar: CalendarSettings,
    feed: Feed,
    state: CalendarState | None,
    now: datetime,
    *,
    taken_by: str,
    acceptance: Acceptance | None = None,
) -> CalendarSnapshot:
    """Read the feed and judge it.

    Args:
        calendar: its settings.
        feed: where it is read.
        state: the calendar's last state on the bus; None if it has none.
        now: by the importer's clock (UTC).
        taken_by: who or what runs the import.
        acceptance: lets withdrawals through that would else be refused.

    Returns:
        A good snapshot, or one that says why the feed was refused.

    Raises:
        FeedError: the feed cannot be read at all; that is no snapshot.
    """
    try:
        found = feed.read(*span(calendar, today_of(calendar, now)))
    except BadFeedError as error:
        return _refused(_blank(calendar, now, taken_by, error.thing), error.reason, error.code)
    return assess(calendar, found, state, now, taken_by=taken_by, acceptance=acceptance)


def assess(
    calendar: CalendarSettings,
    found: FeedResult,
    state: CalendarState | None,
    now: datetime,
    *,
    taken_by: str = "",
    acceptance: Acceptance | None = None,
) -> CalendarSnapshot:
    """The snapshot of what a feed said; refused if it cannot be believed. Pure; see `take` for the arguments."""
    snapshot = _blank(calendar, now, taken_by, found.source)
    if not found.days:
        return _refused(snapshot, "it names no day at all", "empty")
    today = today_of(calendar, now)
    gap = _uncovered(found, today, today + timedelta(days=calendar.horizon_days))
    if gap:
        return _refused(snapshot, gap, "coverage")
    crowd = _crowded(found, calendar, today)
    if crowd:
        return _refused(snapshot, crowd, "wrong-type")
    withdrawn, known = _withdrawn(found, state, today)
    limits = calendar.withdrawals
    if len(withdrawn) > limits.days and len(withdrawn) > limits.share * known:
        if acceptance is None:
            named = ", ".join(day.isoformat() for day in withdrawn[:_MOST_NAMED])
            more = ", …" if len(withdrawn) > _MOST_NAMED else ""
            reason = f"it takes back {len(withdrawn)} of the {known} coming holidays that are known ({named}{more})"
            return _refused(snapshot, reason, "withdrawals")
        snapshot = replace(snapshot, accepted_by=acceptance.who, accepted_why=acceptance.why)
    days = tuple(day for day in found.days if day.kind in calendar.kinds)
    snapshot = replace(snapshot, covers_from=found.covers_from, covers_to=found.covers_to, days=days)
    return replace(snapshot, fingerprint=fingerprint(snapshot))


def _crowded(found: FeedResult, calendar: CalendarSettings, today: date) -> str:
    """Why these cannot be holidays: they are most days of the horizon, as by a stray event that repeats daily."""
    last, days = today + timedelta(days=calendar.horizon_days), calendar.horizon_days + 1
    off = {day.date for day in found.days if day.kind in calendar.kinds and today <= day.date <= last}
    if days < _FEW_DAYS or 2 * len(off) <= days:
        return ""
    return f"it names {len(off)} of the coming {days} days as days off, as no holiday calendar does"


def fingerprint(snapshot: CalendarSnapshot) -> str:
    """A hash of what matters in a snapshot: its dates and its settings, not what anything is called."""
    matters = [
        [day.date.isoformat() for day in snapshot.days],
        snapshot.covers_from.isoformat(),
        snapshot.covers_to.isoformat(),
        snapshot.zone,
        snapshot.target,
        snapshot.weekdays_off,
        [snapshot.peak_day, snapshot.peak_band, snapshot.scale_in_day, snapshot.scale_in_band],
        [snapshot.peak_start, snapshot.peak_minutes, snapshot.horizon_days, snapshot.minimum_length],
        snapshot.bridge_days,
        [day.isoformat() for day in snapshot.extra_closing_days],
        [day.isoformat() for day in snapshot.leave_out],
        snapshot.owner,
    ]
    return hashlib.sha256(json.dumps(matters, separators=(",", ":")).encode()).hexdigest()[:32]


def foretell(state: CalendarState | None, snapshot: CalendarSnapshot, now: datetime) -> CalendarState | None:
    """What the fold will make of a snapshot if nothing comes in between; the same state if nothing changes."""
    return fold_snapshot(state, snapshot, 0 if state is None else state.position + 1, now)


def _blank(calendar: CalendarSettings, now: datetime, taken_by: str, source: str) -> CalendarSnapshot:
    today = today_of(calendar, now)
    return CalendarSnapshot(
        calendar_id=calendar.id,
        taken_at=now.astimezone(UTC).replace(microsecond=now.microsecond // 1000 * 1000),
        source=source,
        taken_by=taken_by,
        zone=calendar.zone,
        covers_from=today,
        covers_to=today - timedelta(days=1),
        target=calendar.target,
        weekdays_off=calendar.weekdays_off,
        peak_day=calendar.peak.day,
        peak_band=calendar.peak.band,
        scale_in_day=calendar.scale_in.day,
        scale_in_band=calendar.scale_in.band,
        peak_start=calendar.peak.start,
        peak_minutes=calendar.peak.minutes,
        horizon_days=calendar.horizon_days,
        minimum_length=calendar.minimum_length,
        bridge_days=calendar.bridge_days,
        extra_closing_days=tuple(sorted(set(calendar.extra_closing_days))),
        leave_out=tuple(sorted(set(calendar.leave_out))),
        owner=calendar.owner,
        stale_after_minutes=int(calendar.stale_after.total_seconds()) // 60,
    )


def _refused(snapshot: CalendarSnapshot, reason: str, code: str) -> CalendarSnapshot:
    return replace(snapshot, refused=f"{snapshot.source}: {reason}", refused_code=code)


def _uncovered(found: FeedResult, today: date, end: date) -> str:
    """What of the horizon the feed does not know, in words; empty if it knows all."""
    if found.covers_to >= end and found.covers_from <= today + _LONGEST_GAP:
        return ""
    years = sorted({day.date.year for day in found.days})
    known = f"{years[0]}" if len(years) == 1 else f"{years[0]} to {years[-1]}"
    return f"it knows days of {known} only, and the calendar looks from {today} to {end}"


def _withdrawn(found: FeedResult, state: CalendarState | None, today: date) -> tuple[list[date], int]:
    """Coming holidays that the state knows and the feed does not, of any kind, and how many the state knows.

    Days that the settings leave out are in the feed still: a change of settings is nobody's mistake in the feed.
    """
    known = {
        day.date
        for peak in (state.peaks if state else ())
        if not peak.withdrawn
        for day in peak.holidays
        if day.kind != CLOSING and today <= day.date and found.covers_from <= day.date <= found.covers_to
    }
    return sorted(known - {day.date for day in found.days}), len(known)
