"""Runs of days off, and the peak that follows each.

Pure: standard library and ``schemas.records`` only. Days are plain local dates; which zone they are in is the caller's
business. Nothing here reads a feed or decides what follows from a peak.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from schemas.records import CalendarDay

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
KINDS = ("public", "substitute", "temporary", "election", "closing", "other")
CLOSING = "closing"
_MOST_NAMED = 2
_LAST_ORDINAL = date.max.toordinal()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What counts as a run of days off.

    Attributes:
        weekdays_off: weekdays that are never worked, ``mon`` … ``sun``.
        bridge_days: whether a lone working day beside a run, with another day off on its far side, counts as off.
        minimum_length: the fewest days off in a row, weekends included, that make a peak.
        extra_closing_days: days that are closed though no feed says so; they make a run as a holiday does.
        leave_out: days of the feed that do not count.

    Raises:
        ValueError: an unknown weekday, no weekday left to work on, or a minimum under 1.
    """

    weekdays_off: tuple[str, ...] = ("sat", "sun")
    bridge_days: bool = False
    minimum_length: int = 1
    extra_closing_days: frozenset[date] = field(default_factory=frozenset)
    leave_out: frozenset[date] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        unknown = [day for day in self.weekdays_off if day not in WEEKDAYS]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no weekday; use {', '.join(WEEKDAYS)}")
        if len(set(self.weekdays_off)) == len(WEEKDAYS):
            raise ValueError("all weekdays are off, so there is no first working day")
        if self.minimum_length < 1:
            raise ValueError("the minimum length is at least 1 day")


@dataclass(frozen=True, slots=True, kw_only=True)
class HolidayRun:
    """A maximal stretch of days off with at least one holiday on what would be a working day.

    Attributes:
        start: first day off.
        end: last day off, inclusive.
        holidays: the holidays in it, one for each date, by date; those on weekdays off are among them.
        makers: those of its days that would be worked if they were no holidays.
        bridges: working days that count as off because they lie alone between days off.
        rule: which rule chose the day of the peak, in words.
    """

    start: date
    end: date
    holidays: tuple[CalendarDay, ...]
    makers: tuple[date, ...]
    bridges: tuple[date, ...]
    rule: str

    @property
    def peak(self) -> date:
        """The first working day after it."""
        return self.end + timedelta(days=1)

    @property
    def length(self) -> int:
        """Days off in a row."""
        return (self.end - self.start).days + 1

    @property
    def names(self) -> tuple[str, ...]:
        """What its holidays are called, each once, by date."""
        return tuple(dict.fromkeys(day.name for day in self.holidays if day.name))

    @property
    def title(self) -> str:
        """A short name for people, e.g. ``Morning after 추석 to 한글날 (7 days off, 2025-10-03 to 2025-10-09)``."""
        names = self.names or ("a holiday",)
        called = " and ".join(names) if len(names) <= _MOST_NAMED else f"{names[0]} to {names[-1]}"
        return f"Morning after {called[:150]} ({self._span})"

    @property
    def explanation(self) -> str:
        """The rule, and every day that made the run by name."""
        days = "; ".join(f"{day.date} {WEEKDAYS[day.date.weekday()]} {day.name or 'holiday'}" for day in self.holidays)
        return f"{self.peak} is the {self.rule} ({self.start} to {self.end}). {days}"

    @property
    def _span(self) -> str:
        if self.length == 1:
            return f"1 day off, {self.start}"
        return f"{self.length} days off, {self.start} to {self.end}"


def one_per_date(days: Iterable[CalendarDay]) -> tuple[CalendarDay, ...]:
    """The days by date, each date once: names joined by ``; `` in a fixed order, the strongest kind kept."""
    found: dict[date, set[str]] = {}
    kinds: dict[date, str] = {}
    for day in days:
        found.setdefault(day.date, set()).update(
            name for name in (part.strip() for part in day.name.split(";")) if name
        )
        kinds[day.date] = min(kinds.get(day.date, day.kind), day.kind, key=_rank)
    return tuple(
        CalendarDay(date=when, name="; ".join(sorted(found[when])), kind=kinds[when]) for when in sorted(found)
    )


def _rank(kind: str) -> tuple[int, str]:
    return (KINDS.index(kind) if kind in KINDS else len(KINDS), kind)


def runs(days: Iterable[CalendarDay], options: RunOptions | None = None) -> tuple[HolidayRun, ...]:
    """All runs of days off that the given days make, by date.

    A run is maximal: the day before it and the day after it are worked. A holiday on a weekday off makes no run by
    itself. Two stretches with a working day between them are two runs, unless that day is a bridge day.

    Args:
        days: holidays, in any order; several of one date are one day with several names.
        options: what counts; by default Saturday and Sunday are off and nothing else is asked.
    """
    options = options or RunOptions()
    closed = {day.date: day for day in one_per_date(day for day in days if day.date not in options.leave_out)}
    for when in options.extra_closing_days:
        closed.setdefault(when, CalendarDay(date=when, name="closing day", kind=CLOSING))
    calendar = _Calendar(closed, options)
    return tuple(
        calendar.run(first, last)
        for first, last in calendar.spans()
        if last - first + 1 >= options.minimum_length and last < _LAST_ORDINAL
    )


class _Calendar:
    """Days as ordinals, so that looking around needs no dates beyond the calendar's end."""

    def __init__(self, closed: Mapping[date, CalendarDay], options: RunOptions) -> None:
        self._closed = {when.toordinal(): day for when, day in closed.items()}
        self._off = {WEEKDAYS.index(name) for name in options.weekdays_off}
        self._options = options

    def _weekday_off(self, day: int) -> bool:
        return (day - 1) % 7 in self._off

    def _is_off(self, day: int) -> bool:
        return 1 <= day <= _LAST_ORDINAL and (day in self._closed or self._weekday_off(day))

    def _stretch(self, day: int) -> tuple[int, int]:
        """The maximal stretch of days off around a day off."""
        first = last = day
        while self._is_off(first - 1):
            first -= 1
        while self._is_off(last + 1):
            last += 1
        return first, last

    def spans(self) -> list[tuple[int, int]]:
        """First and last day of each run, by date."""
        found: list[tuple[int, int]] = []
        looked_at = 0
        for maker in sorted(day for day in self._closed if not self._weekday_off(day)):
            if maker <= looked_at:
                continue
            first, last = self._stretch(maker)
            looked_at = last
            if self._options.bridge_days:
                # A stretch without a holiday of its own is joined to this one, but reaches no further itself.
                if self._is_off(first - 2):
                    first = self._stretch(first - 2)[0]
                if self._is_off(last + 2):
                    last = self._stretch(last + 2)[1]
            if found and first <= found[-1][1] + 1:
                found[-1] = (found[-1][0], max(last, found[-1][1]))
            else:
                found.append((first, last))
        return found

    def run(self, first: int, last: int) -> HolidayRun:
        """What a span of ordinals says, with its explanation."""
        inside = range(first, last + 1)
        holidays = tuple(self._closed[day] for day in inside if day in self._closed)
        bridges = tuple(date.fromordinal(day) for day in inside if not self._is_off(day))
        return HolidayRun(
            start=date.fromordinal(first),
            end=date.fromordinal(last),
            holidays=holidays,
            makers=tuple(day.date for day in holidays if not self._weekday_off(day.date.toordinal())),
            bridges=bridges,
            rule=self._rule(len(inside), bridges, [day for day in holidays if day.kind == CLOSING]),
        )

    def _rule(self, length: int, bridges: tuple[date, ...], closing: list[CalendarDay]) -> str:
        parts = [f"first working day after {'1 day' if length == 1 else f'a run of {length} days'} off"]
        if bridges:
            parts.append(f"counting {_listed(bridges)} as off between days off")
        if closing:
            parts.append(f"closed by the calendar's own choice on {_listed(day.date for day in closing)}")
        return ", ".join(parts)


def _listed(days: Iterable[date]) -> str:
    return " and ".join(day.isoformat() for day in days)
