"""Words for people: instants, lengths of time, event dates and lists as the notifications say them.

Pure: standard library only. English, with weekdays, in the zone that the caller names; no locale, no clock.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_EVENT_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:T(\d{2}:\d{2}))?")
_LONGEST_TITLE = 100


def day(value: date) -> str:
    """``Mon 2026-05-04``."""
    return f"{_WEEKDAYS[value.weekday()]} {value.isoformat()}"


def instant(value: datetime, zone: str) -> str:
    """``Mon 2026-05-04 09:00`` in the zone; seconds only where there are any, UTC at the ends of the calendar."""
    try:
        local = value.astimezone(ZoneInfo(zone))
    except OverflowError:
        local = value
    clock = f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"
    return f"{day(local.date())} {clock}"


def window(starts_at: datetime | None, ends_at: datetime | None, zone: str) -> str:
    """``Mon 2026-05-04 09:00 to 12:00 (Asia/Seoul)``; whichever end is known, or an empty text if none is."""
    if starts_at is None and ends_at is None:
        return ""
    if starts_at is None and ends_at is not None:
        return f"until {instant(ends_at, zone)} ({zone})"
    assert starts_at is not None  # noqa: S101  (for mypy)
    begin = instant(starts_at, zone)
    if ends_at is None:
        return f"from {begin}, end not known yet ({zone})"
    end = instant(ends_at, zone)
    same_day = begin.rsplit(" ", 1)[0] == end.rsplit(" ", 1)[0]
    return f"{begin} to {end.rsplit(' ', 1)[1] if same_day else end} ({zone})"


def length(span: timedelta) -> str:
    """``45 s``, ``3 min 20 s``, ``2 h 5 min``, ``1 d 3 h``: the two largest units, never negative."""
    left = max(0, round(span.total_seconds()))
    parts = []
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def event_date(value: str) -> str:
    """The event's date as it was given, with its weekday where it is a date: ``2026-05-04 (Mon)``."""
    found = _EVENT_DATE.fullmatch(value)
    if found is None:
        return value
    try:
        weekday = date(int(found[1]), int(found[2]), int(found[3])).weekday()
    except ValueError:
        return value
    return f"{value} ({_WEEKDAYS[weekday]})"


def one_line(text: str, longest: int = _LONGEST_TITLE) -> str:
    """The text on one line, cut with an ellipsis beyond ``longest`` characters: for what may have any length."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= longest else flat[: longest - 1].rstrip() + "…"


def days(first: date, last: date) -> str:
    """``Thu 2026-09-24 to Sun 2026-09-27``, or the one day."""
    return day(first) if first == last else f"{day(first)} to {day(last)}"


def profile(target: str, day: str, band: str) -> str:
    """``infra-mon-night``."""
    return f"{target}-{day}-{band}"


def join(*parts: str) -> str:
    """The parts that say something, each on its own line."""
    return "\n".join(part for part in parts if part)
