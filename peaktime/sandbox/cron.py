"""When a cron schedule of five fields fires, by Argo's rules (those of its cron library), in a time zone.

Fields are minute, hour, day of the month, month and day of the week (0 is Sunday, 7 is not allowed): numbers, ``*`` or
``?``, lists, ranges and steps. If both day fields are restricted, either one is enough. A local time that the clock
skips does not fire; one that it shows twice fires twice. Names (``mon``), descriptors (``@daily``) and a zone inside
the schedule, all of which Argo knows, are refused here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

_FIELDS: Final = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 6))
_HORIZON: Final = timedelta(days=5 * 366)
_DAY: Final = timedelta(days=1)


class ScheduleError(ValueError):
    """A schedule or a time zone that cannot be understood."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule in its zone."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    zone: ZoneInfo

    def firings(self, after: datetime, until: datetime | None = None) -> Iterator[datetime]:
        """The instants of firing after ``after``, up to and including ``until``, in order; at most five years ahead."""
        end = min(until or after + _HORIZON, after + _HORIZON)
        if end.replace(second=0, microsecond=0) <= after:
            return
        day = after.astimezone(self.zone).date()
        last = end.astimezone(self.zone).date()
        while day <= last:
            if self._on(day):
                yield from (instant for instant in self._of(day) if after < instant <= end)
            day += _DAY

    def first(self, after: datetime, until: datetime | None = None) -> datetime | None:
        """The first of the firings."""
        return next(self.firings(after, until), None)

    def _on(self, day: date) -> bool:
        by_month_day = day.day in self.days
        by_weekday = day.isoweekday() % 7 in self.weekdays
        matches = by_month_day or by_weekday if self.either_day else by_month_day and by_weekday
        return matches and day.month in self.months

    def _of(self, day: date) -> list[datetime]:
        instants = set()
        for hour in self.hours:
            for minute in self.minutes:
                for fold in (0, 1):
                    local = datetime(day.year, day.month, day.day, hour, minute, fold=fold, tzinfo=self.zone)
                    instant = local.astimezone(UTC)
                    # A time that the clock skips, or does not show twice, comes back as another one.
                    back = instant.astimezone(self.zone)
                    if (back.replace(tzinfo=None), back.fold) == (local.replace(tzinfo=None), fold):
                        instants.add(instant)
        return sorted(instants)


@lru_cache(maxsize=4096)
def parse(text: str, timezone: str = "") -> Schedule:
    """Understand a schedule; without a zone it is in UTC, where Argo's controller runs.

    Raises:
        ScheduleError: if the schedule or the zone is not one.
    """
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise ScheduleError(f"cron schedule {text!r} is malformed: expected exactly 5 fields, found {len(parts)}")
    minutes, hours, days, months, weekdays = (
        _field(text, part, *limits) for part, limits in zip(parts, _FIELDS, strict=True)
    )
    return Schedule(
        minutes=minutes[0],
        hours=hours[0],
        days=days[0],
        months=months[0],
        weekdays=weekdays[0],
        either_day=not days[1] and not weekdays[1],
        zone=_zone(timezone or "UTC"),
    )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise ScheduleError(f"unknown time zone {name}") from error


def _field(text: str, field: str, name: str, low: int, high: int) -> tuple[frozenset[int], bool]:
    """The numbers that a field allows, and whether it is unrestricted."""
    allowed: set[int] = set()
    free = False
    for part in field.split(","):
        span, slash, step_text = part.partition("/")
        step = _number(text, name, step_text) if slash else 1
        if step < 1:
            raise ScheduleError(f"cron schedule {text!r} is malformed: the step of {name} must be positive: {part!r}")
        if span in {"*", "?"}:
            first, last = low, high
            free = free or step == 1
        else:
            first_text, dash, last_text = span.partition("-")
            first = _number(text, name, first_text)
            last = _number(text, name, last_text) if dash else high if slash else first
        if not low <= first <= last <= high:
            raise ScheduleError(f"cron schedule {text!r} is malformed: {name} must be in {low}-{high}: {part!r}")
        allowed.update(range(first, last + 1, step))
    return frozenset(allowed), free


def _number(text: str, name: str, digits: str) -> int:
    if not (digits.isascii() and digits.isdigit()):
        raise ScheduleError(f"cron schedule {text!r} is malformed: {name} is not a number: {digits!r}")
    return int(digits)
