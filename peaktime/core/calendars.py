"""What a snapshot of a holiday feed does: the fold of ``calendars.v1`` into calendar states.

Pure: standard library and ``schemas.records`` only. Time is the log's, settings and zone are the snapshot's own, so the
same log gives the same states, always. The state carries the requests that follow, for announce to send.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from peaktime.core.holidays import HolidayRun, RunOptions, runs
from schemas.records import (
    CalendarDay,
    CalendarSnapshot,
    CalendarState,
    Peak,
    PeakChange,
    PeakChangeKind,
    RequestAction,
    ScaleRequest,
)

#: Version of these rules; a state says by which it was decided.
RULES = 1
#: A peak further ahead would be refused as a request; one day less, because its window has a length.
FURTHEST_DAYS = 364
LONGEST_WINDOW = timedelta(hours=24)
_NOTED_PER_STALE = 24
_LONGEST_DESCRIPTION = 2000
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

_Key = tuple[date, str]  # a peak's day and its target


def fold_snapshot(
    state: CalendarState | None,
    snapshot: CalendarSnapshot,
    position: int,
    log_time: datetime,
) -> CalendarState | None:
    """The calendar's state after a snapshot; the same object (or None) if there is nothing to write.

    Args:
        state: as it stands; None if this calendar is new.
        snapshot: what the importer published.
        position: the snapshot's offset.
        log_time: when the snapshot reached the log (UTC).
    """
    if state is not None and position <= state.position:
        return state
    refused, code = (snapshot.refused, snapshot.refused_code or "refused") if snapshot.refused else _unusable(snapshot)
    if refused:
        return _refuse(state, snapshot, position, log_time, refused, code)
    decision = _Decision(state, snapshot, position, log_time)
    peaks, changes = decision.peaks()
    if state is not None and not changes and not _worth_noting(state, snapshot, log_time):
        return state
    return CalendarState(
        calendar_id=snapshot.calendar_id,
        position=position,
        log_time=log_time,
        rules=RULES,
        fingerprint=snapshot.fingerprint,
        target=snapshot.target,
        good_at=log_time,
        peaks=peaks,
        changes=changes,
        stale_after_minutes=snapshot.stale_after_minutes,
    )


def requests_of(state: CalendarState) -> tuple[ScaleRequest, ...]:
    """The latest requests of every peak that is not over, by day; sending them again changes nothing."""
    return tuple(request for peak in state.peaks for request in peak.requests)


def is_stale(state: CalendarState | None, now: datetime, limit: timedelta | None = None) -> bool:
    """Whether the calendar has gone without a good snapshot for too long.

    A good snapshot that changes nothing is noted at most once in a twenty-fourth of the calendar's own limit, so the
    answer may come that much early, never late.

    Args:
        state: as it stands; a calendar that never had any snapshot has none, and is not stale but not set up yet.
        now: by the clock of whoever asks (UTC).
        limit: how long is too long; the calendar's own setting if None.
    """
    if state is None:
        return False
    allowed = timedelta(minutes=state.stale_after_minutes) if limit is None else limit
    return now - (state.good_at or state.log_time) > allowed


def plain(text: str, longest: int) -> str:
    """A feed's text as a request may carry it: one line, nothing that Argo would evaluate, not too long."""
    text = _CONTROL.sub(" ", text)
    while "{{" in text:
        text = text.replace("{{", "{ {")
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _unusable(snapshot: CalendarSnapshot) -> tuple[str, str]:
    """Why a snapshot's own settings cannot be folded, and the code; two empty strings if they can.

    The importer never writes such a snapshot; another producer might, and a fold never raises.
    """
    try:
        ZoneInfo(snapshot.zone)
    except (KeyError, ValueError, OSError):
        return f"{plain(snapshot.zone, 60)!r} is no time zone", "settings"
    try:
        _options(snapshot)
    except ValueError as error:
        return str(error), "settings"
    if not _CLOCK.fullmatch(snapshot.peak_start):
        return f"{plain(snapshot.peak_start, 20)!r} is no time of day", "settings"
    if not 0 < snapshot.peak_minutes <= LONGEST_WINDOW.total_seconds() / 60:
        return f"a window of {snapshot.peak_minutes} minutes is not between 1 minute and 24 hours", "settings"
    if not 0 <= snapshot.horizon_days <= FURTHEST_DAYS:
        return f"a horizon of {snapshot.horizon_days} days is not between 0 and {FURTHEST_DAYS}", "settings"
    return "", ""


def _options(snapshot: CalendarSnapshot) -> RunOptions:
    return RunOptions(
        weekdays_off=snapshot.weekdays_off,
        bridge_days=snapshot.bridge_days,
        minimum_length=snapshot.minimum_length,
        extra_closing_days=frozenset(snapshot.extra_closing_days),
        leave_out=frozenset(snapshot.leave_out),
    )


def _refuse(
    state: CalendarState | None,
    snapshot: CalendarSnapshot,
    position: int,
    log_time: datetime,
    refused: str,
    code: str,
) -> CalendarState:
    """The last good peaks stand; each kind of refusal is noted once until a snapshot is good again."""
    if state is None:
        state = CalendarState(
            calendar_id=snapshot.calendar_id,
            position=position,
            log_time=log_time,
            rules=RULES,
            target=snapshot.target,
            stale_after_minutes=snapshot.stale_after_minutes,
        )
    elif code in state.refused_told:
        return state
    return replace(
        state,
        position=position,
        log_time=log_time,
        rules=RULES,
        refused=refused,
        refused_told=(*state.refused_told, code),
        changes=(),
    )


def _worth_noting(state: CalendarState, snapshot: CalendarSnapshot, log_time: datetime) -> bool:
    """Whether a snapshot that changes no peak still has to be written: the feed is good again, or was good long ago."""
    if state.refused or state.good_at is None or snapshot.stale_after_minutes != state.stale_after_minutes:
        return True
    return log_time - state.good_at >= timedelta(minutes=snapshot.stale_after_minutes) / _NOTED_PER_STALE


@dataclass(frozen=True, slots=True)
class _Decision:
    """One snapshot against the state before it. Every date is in the snapshot's zone."""

    state: CalendarState | None
    snapshot: CalendarSnapshot
    position: int
    log_time: datetime

    @property
    def today(self) -> date:
        return self.log_time.astimezone(ZoneInfo(self.snapshot.zone)).date()

    @property
    def last(self) -> date:
        return self.today + timedelta(days=self.snapshot.horizon_days)

    def peaks(self) -> tuple[tuple[Peak, ...], tuple[PeakChange, ...]]:
        """Every peak that is not over, by day, and what changed."""
        known = {_key(peak): peak for peak in (self.state.peaks if self.state else ()) if not self._is_over(peak)}
        wanted = self._wanted(known.values())
        peaks: dict[_Key, Peak] = {}
        told: dict[date, PeakChange] = {}
        gone: list[Peak] = []
        for key, peak in known.items():
            if peak.withdrawn or key in wanted or not self._is_spoken_of(peak.event_date):
                peaks[key] = peak
            else:
                gone.append(peak)
                peaks[key] = self._withdrawal(peak)
        for key, run in wanted.items():
            decided = self._peak(run, known.get(key))
            if decided is not None:
                peaks[key], told[run.peak] = decided
        went: list[PeakChange] = []
        for peak in gone:
            heir = next((run for run in wanted.values() if _inherits(run, peak)), None)
            change = self._gone(peak, heir)
            if heir is not None and (
                told.get(heir.peak, change).kind is PeakChangeKind.ADDED
                or peaks[heir.peak, self.snapshot.target].position != self.position
            ):
                # That its days off grew, or that the other day is new, is said by the move already.
                told.pop(heir.peak, None)
            went.append(change)
        changes = sorted(
            (*told.values(), *went),
            key=lambda change: (change.after or change.before or date.min, change.kind),
        )
        return tuple(peaks[key] for key in sorted(peaks)), tuple(changes)

    def _wanted(self, known: Iterable[Peak]) -> dict[_Key, HolidayRun]:
        """The runs whose peaks are to be prepared, by the peak's key."""
        live = [peak for peak in known if not peak.withdrawn]
        options = _options(self.snapshot)
        from_today = replace(
            options,
            extra_closing_days=frozenset(day for day in options.extra_closing_days if day >= self.today),
            leave_out=frozenset(day for day in options.leave_out if day >= self.today),
        )
        decided = {run.peak: run for run in runs(self._days(live, explain=False), from_today)}
        explained = {run.peak: run for run in runs(self._days(live, explain=True), options)}
        return {
            (day, self.snapshot.target): explained.get(day, run)
            for day, run in decided.items()
            if self.today <= day <= self.last and self._is_spoken_of(day) and self._ends_at(day) > self.log_time
        }

    def _days(self, live: Iterable[Peak], *, explain: bool) -> list[CalendarDay]:
        """The days that decide.

        A feed may drop the past or fill it in, and neither may create or withdraw a peak: of the days before today (and
        of those that the feed does not speak of) only what the state already knows counts. To explain a run, the feed's
        past is good enough.
        """
        beyond = self.last + timedelta(days=3)
        said = [day for day in self.snapshot.days if day.date <= beyond and (explain or self._is_judged(day.date))]
        dates = {day.date for day in said}
        known = {day.date: day for peak in live for day in peak.holidays}
        return said + [day for when, day in known.items() if when not in dates and not self._is_judged(when)]

    def _is_judged(self, day: date) -> bool:
        return day >= self.today and self._is_covered(day)

    def _is_covered(self, day: date) -> bool:
        return self.snapshot.covers_from <= day <= self.snapshot.covers_to

    def _is_spoken_of(self, peak: date) -> bool:
        """Whether the snapshot may create or withdraw a peak: beyond the horizon it may only withdraw."""
        return peak > self.last or self._is_covered(peak)

    def _starts_at(self, day: date) -> datetime:
        local = datetime.combine(day, time.fromisoformat(self.snapshot.peak_start), ZoneInfo(self.snapshot.zone))
        return local.astimezone(UTC)

    def _ends_at(self, day: date) -> datetime:
        return self._starts_at(day) + timedelta(minutes=self.snapshot.peak_minutes)

    def _is_over(self, peak: Peak) -> bool:
        """A peak before today, or whose window has ended, is never touched again."""
        ends = [request.ends_at for request in peak.requests if request.ends_at is not None]
        return peak.event_date < self.today or max(ends, default=self._ends_at(peak.event_date)) <= self.log_time

    def _peak(self, run: HolidayRun, before: Peak | None) -> tuple[Peak, PeakChange] | None:
        """The peak of a run and what changed; None if nothing did."""
        if before is None or before.withdrawn:
            why = plain(run.explanation, 500) + ("" if before is None else " It was withdrawn before.")
            return self._new(run, before), PeakChange(kind=PeakChangeKind.ADDED, after=run.peak, why=why)
        peak = self._new(run, before)
        different = _differences(before.requests, peak.requests)
        if different:
            why = f"The calendar's settings changed: {', '.join(different)}."
        elif max(before.run_start, self.today) != max(run.start, self.today):
            why = f"The days off before it are now {run.start} to {run.end}; they began on {before.run_start}."
            peak = replace(peak, position=before.position, requests=before.requests)
        else:
            return None
        return peak, PeakChange(kind=PeakChangeKind.CHANGED, before=run.peak, after=run.peak, why=why)

    def _new(self, run: HolidayRun, before: Peak | None) -> Peak:
        starts, ends = self._starts_at(run.peak), self._ends_at(run.peak)
        request = ScaleRequest(
            request_id="",
            target=self.snapshot.target,
            event_date=run.peak.isoformat(),
            ends_at=ends,
            title=plain(run.title, 300),
            description=plain(run.explanation, _LONGEST_DESCRIPTION),
            owner=plain(self.snapshot.owner or f"calendar {self.snapshot.calendar_id}", 200),
            origin=self.snapshot.calendar_id,
            requested_at=self._requested_at(before),
            group=self._group,
        )
        if before is not None and not before.withdrawn and before.requests[0].owner != request.owner:
            # Another owner and another title at once would look like somebody else's event.
            request = replace(request, title=before.requests[0].title)
        out, back = RequestAction.SCALE_OUT, RequestAction.SCALE_IN
        day = self.snapshot
        requests = (
            replace(
                request,
                request_id=self._id(run.peak, out),
                action=out,
                day=day.peak_day,
                band=day.peak_band,
                starts_at=starts,
            ),
            replace(
                request,
                request_id=self._id(run.peak, back),
                action=back,
                day=day.scale_in_day,
                band=day.scale_in_band,
            ),
        )
        return Peak(
            event_date=run.peak,
            run_start=run.start,
            run_end=run.end,
            holidays=run.holidays,
            rule=run.rule,
            position=self.position,
            requests=requests,
        )

    def _withdrawal(self, peak: Peak) -> Peak:
        wanted = peak.requests[0]
        deletion = ScaleRequest(
            request_id=self._id(peak.event_date, RequestAction.DELETE),
            action=RequestAction.DELETE,
            target=wanted.target,
            day=wanted.day,
            band=wanted.band,
            event_date=wanted.event_date,
            title=wanted.title,
            description=f"{peak.event_date} is no longer the first working day after days off.",
            owner=plain(self.snapshot.owner, 200) or wanted.owner,
            origin=wanted.origin,
            requested_at=self._requested_at(peak),
            group=self._group,
        )
        return replace(peak, withdrawn=True, position=self.position, requests=(deletion,))

    def _gone(self, peak: Peak, heir: HolidayRun | None) -> PeakChange:
        """How a peak that went is told: as moved, if days off around it stayed."""
        if heir is not None:
            why = plain(heir.explanation, 500)
            return PeakChange(kind=PeakChangeKind.MOVED, before=peak.event_date, after=heir.peak, why=why)
        names = ", ".join(dict.fromkeys(day.name for day in peak.holidays if day.name))
        why = plain(f"The feed no longer makes {peak.run_start} to {peak.run_end} days off ({names}).", 500)
        if _key(peak)[1] != self.snapshot.target:
            why = f"The calendar's target is now {self.snapshot.target}."
        elif peak.event_date > self.last:
            why = f"It is beyond the horizon of {self.snapshot.horizon_days} days."
        return PeakChange(kind=PeakChangeKind.WITHDRAWN, before=peak.event_date, why=why)

    def _requested_at(self, before: Peak | None) -> datetime:
        """Log time, but always after the request before it: two snapshots may share a millisecond."""
        if before is None:
            return self.log_time
        return max(self.log_time, *(old.requested_at + timedelta(milliseconds=1) for old in before.requests))

    @property
    def _group(self) -> str:
        return f"{self.snapshot.calendar_id}:{self.position}"

    def _id(self, day: date, action: RequestAction) -> str:
        return f"{self.snapshot.calendar_id}:{day.isoformat()}:{action.value}:{self.position}"


def _key(peak: Peak) -> _Key:
    return peak.event_date, peak.requests[0].target if peak.requests else ""


def _differences(before: Iterable[ScaleRequest], after: Iterable[ScaleRequest]) -> list[str]:
    """What of two peaks' requests matters and differs; what people call things does not."""
    names = ("day", "band", "starts_at", "ends_at", "owner", "origin")
    return list(
        dict.fromkeys(
            name.replace("_at", "")
            for old, new in zip(before, after, strict=False)
            for name in names
            if getattr(old, name) != getattr(new, name)
        ),
    )


def _inherits(run: HolidayRun, peak: Peak) -> bool:
    """Whether days off around a peak that went, or right beside them, are now this run."""
    return run.peak != peak.event_date and run.start <= peak.event_date and peak.run_start <= run.peak
