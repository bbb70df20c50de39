"""The time axis of a picture: where its ticks are and what they say, in local time.

Pure. Days begin at local midnight, whatever the zone does to its clock in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
#: Pixels that a day needs for each way of saying it.
_BY_HOUR, _BY_3_HOURS, _BY_6_HOURS, _DATES, _DAYS, _WEEKS = 1_300, 460, 230, 84, 24, 7
_SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the axis.

    Attributes:
        at: its instant (UTC).
        label: what stands at it, one or two lines; empty for a line alone.
        strong: whether it is a line that others count from.
    """

    at: datetime
    label: str
    strong: bool


def ticks(first: datetime, last: datetime, zone: str, width: float) -> list[Tick]:
    """The ticks between two instants (UTC), as many as fit into a width in pixels."""
    here = ZoneInfo(zone)
    per_day = width / max((last - first) / timedelta(days=1), 1e-6)
    if per_day >= _BY_6_HOURS:
        hours = 1 if per_day >= _BY_HOUR else 3 if per_day >= _BY_3_HOURS else 6
        return list(_hours(first, last, here, hours))
    found = []
    for day in _days(first, last, here):
        at = _midnight(day, here)
        if per_day >= _DATES:
            found.append(Tick(at, f"{_WEEKDAYS[day.weekday()]} {day:%m-%d}", strong=True))
        elif per_day >= _DAYS:
            strong = day.day == 1 or day.weekday() == 0
            found.append(Tick(at, f"{_WEEKDAYS[day.weekday()]}\n{day.day}", strong=strong))
        elif per_day >= _WEEKS and day.weekday() == 0:
            found.append(Tick(at, f"Mon\n{day:%m-%d}", strong=day.day <= 7))  # noqa: PLR2004  (the first week)
        elif per_day < _WEEKS and day.day == 1:
            found.append(Tick(at, f"{day:%Y-%m}", strong=day.month == 1))
    return [tick for tick in found if first <= tick.at < last]


def _hours(first: datetime, last: datetime, here: ZoneInfo, step: int) -> Iterator[Tick]:
    for day in _days(first, last, here):
        for hour in range(0, 24, step):
            at = datetime.combine(day, time(hour), tzinfo=here).astimezone(UTC)
            if first <= at < last:
                label = f"{hour:02}:00" if hour else f"{_WEEKDAYS[day.weekday()]} {day:%m-%d}\n00:00"
                yield Tick(at, label, strong=hour == 0)


def days_off(first: datetime, last: datetime, zone: str) -> list[tuple[datetime, datetime]]:
    """The Saturdays and Sundays between two instants (UTC), each from its midnight to the next, cut to them."""
    here = ZoneInfo(zone)
    found = []
    for day in _days(first, last, here):
        if day.weekday() >= _SATURDAY:
            begin, end = _midnight(day, here), _midnight(day + timedelta(days=1), here)
            if max(begin, first) < min(end, last):
                found.append((max(begin, first), min(end, last)))
    return found


def _days(first: datetime, last: datetime, here: ZoneInfo) -> Iterator[date]:
    day, end = first.astimezone(here).date(), last.astimezone(here).date()
    while day <= end:
        yield day
        day += timedelta(days=1)


def _midnight(day: date, here: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=here).astimezone(UTC)
