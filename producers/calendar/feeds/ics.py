"""An ICS calendar as a feed: which local days its events touch.

For: bytes in, days out. Must not: fetch anything (``fetch`` does) nor compare UIDs, which feeds change at will.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from producers.calendar.feeds.base import BadFeedError, FeedResult, kind_of, result
from producers.calendar.feeds.fetch import Fetched
from schemas.records import CalendarDay

_REMEDY = "Check where the feed comes from; the last good one stays in force"
_FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_MOST_OCCURRENCES = 200_000
_OBSERVANCES = ("observance", "기념일", "祭日", "season")
_NEWLINE = re.compile(rb"\r+\n?")
_FOLD = re.compile(rb"\n[ \t]")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class IcsFeed:
    """An ICS file or URL.

    Attributes:
        fetch: gets the bytes.
        zone: zone of the days, and of times that have none of their own.
    """

    fetch: Callable[[], Fetched]
    zone: ZoneInfo

    def read(self, first: date, last: date) -> FeedResult:
        """The days that its events touch; see `Feed.read`."""
        fetched = self.fetch()
        days = days_of(fetched.body, fetched.source, self.zone, first, last, content_type=fetched.content_type)
        return result(days, first, last, fetched.source, kept=fetched.not_modified)


def days_of(
    body: bytes,
    source: str,
    zone: ZoneInfo,
    first: date,
    last: date,
    *,
    content_type: str = "",
) -> list[CalendarDay]:
    """Every local day from ``first`` to ``last`` that an event of an ICS text touches; cancelled events touch none.

    An all-day event touches its dates (``DTEND`` is exclusive). A timed one touches each local day that it has a part
    of: midnight ends the day before. A time without a zone is local.

    Raises:
        BadFeedError: it is no whole ICS calendar.
    """
    text = _whole(body, source, content_type)
    calendar = _parsed(text, source)
    found: list[CalendarDay] = []
    for event in _occurrences(calendar, source, first, last):
        if _is_cancelled(event):
            continue
        try:
            start, end = _touched(event, zone)
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            reason = f"has an event whose time cannot be read ({_short(error)})"
            raise BadFeedError(source, reason, _REMEDY, code="wrong-type") from error
        name = str(event.get("SUMMARY", ""))
        kind = _kind(event, name)
        day = max(start, first)
        while day <= min(end, last):
            found.append(CalendarDay(date=day, name=name, kind=kind))
            day += _DAY
    return found


def _whole(body: bytes, source: str, content_type: str) -> str:
    """The text, if it is ICS from its first line to its last."""
    if not body.strip():
        raise BadFeedError(source, "is empty", _REMEDY, code="empty")
    # Unfolded before it is decoded: careless feeds break a line in the middle of a letter.
    unfolded = _FOLD.sub(b"", _NEWLINE.sub(b"\n", body))
    try:
        text = unfolded.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFeedError(source, "is not UTF-8 text", _REMEDY, code="wrong-type") from error
    lines = [line.strip().upper() for line in text.strip().split("\n")]
    if lines[0] != "BEGIN:VCALENDAR":
        is_page = lines[0].startswith("<") or "html" in content_type
        what = "is a web page, not a calendar" if is_page else "does not begin as an ICS calendar"
        raise BadFeedError(source, what, _REMEDY, code="wrong-type")
    begun = sum(line.startswith("BEGIN:") for line in lines)
    if lines[-1] != "END:VCALENDAR" or begun != sum(line.startswith("END:") for line in lines):
        raise BadFeedError(source, "ends in the middle", _REMEDY, code="truncated")
    return text


def _parsed(text: str, source: str) -> Any:
    import icalendar  # noqa: PLC0415  (slow to import, and only this feed needs it)

    try:
        parts = icalendar.Calendar.from_ical(text, multiple=True)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise BadFeedError(source, f"cannot be read as ICS ({_short(error)})", _REMEDY, code="wrong-type") from error
    calendar = parts[0]
    for more in parts[1:]:
        calendar.subcomponents.extend(more.subcomponents)
    timeless = [event for event in calendar.walk("VEVENT") if "DTSTART" not in event and not event.errors]
    if not all(map(_is_cancelled, timeless)):
        raise BadFeedError(source, "has an event that does not say when it is", _REMEDY, code="wrong-type")
    # What repeats events cannot read one without a start, though it be cancelled.
    gone = set(map(id, timeless))
    calendar.subcomponents = [part for part in calendar.subcomponents if id(part) not in gone]
    seen: set[tuple[str, str]] = set()
    for number, event in enumerate(calendar.walk("VEVENT")):
        if event.errors:
            what, why = event.errors[0]
            reason = f"has an event whose {what} cannot be read ({_short(why)})"
            raise BadFeedError(source, reason, _REMEDY, code="wrong-type")
        if _is_backwards(event) and not _is_cancelled(event):
            reason = f"has an event that ends before it starts ({_short(event.get('SUMMARY', 'without a name'))})"
            raise BadFeedError(source, reason, _REMEDY, code="wrong-type")
        same = str(event.get("UID", "")), str(event.get("SEQUENCE", ""))
        if "RECURRENCE-ID" in event:
            continue
        if same in seen:
            # A careless feed gives several events one UID; what repeats events would keep only one of them.
            event["UID"] = f"{same[0]}/{number}"
        seen.add(same)
    return calendar


def _occurrences(calendar: Any, source: str, first: date, last: date) -> list[Any]:
    import recurring_ical_events  # noqa: PLC0415  (slow to import, and only this feed needs it)

    _bounded(calendar, source, (last - first).days + 3)
    # A day more on each side: an event's own zone may put it on another date.
    try:
        found = recurring_ical_events.of(calendar).between(first - _DAY, last + _DAY + _DAY)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise BadFeedError(
            source,
            f"has an event that cannot be repeated ({_short(error)})",
            _REMEDY,
            code="wrong-type",
        ) from error
    return list(found)


def _bounded(calendar: Any, source: str, days: int) -> None:
    """Refuse rules that repeat without measure before anything expands them."""
    expected = 0
    for event in calendar.walk("VEVENT"):
        rules = event.get("RRULE", [])
        for rule in rules if isinstance(rules, list) else [rules]:
            frequency = str((rule.get("FREQ") or [""])[0]).upper()
            if frequency not in _FREQUENCIES or {"BYHOUR", "BYMINUTE", "BYSECOND"} & set(rule):
                reason = f"has an event that repeats {frequency.lower() or 'in an unknown way'}, as no holiday does"
                raise BadFeedError(source, reason, _REMEDY, code="wrong-type")
            plain = frequency in ("MONTHLY", "YEARLY") and not any(part.startswith("BY") for part in rule)
            expected += days // 28 if plain else days
    if expected > _MOST_OCCURRENCES:
        raise BadFeedError(source, "repeats too many events to be holidays", _REMEDY, code="wrong-type")


def _touched(event: Any, zone: ZoneInfo) -> tuple[date, date]:
    """First and last local day that an event touches."""
    start = event["DTSTART"].dt
    if not isinstance(start, datetime):
        end = event["DTEND"].dt if "DTEND" in event else start + (event["DURATION"].dt if "DURATION" in event else _DAY)
        end = _local(end, zone).date() if isinstance(end, datetime) else end
        return start, max(start, end - _DAY)
    start = _local(start, zone)
    if "DTEND" in event:
        end = event["DTEND"].dt
        end = _local(end, zone) if isinstance(end, datetime) else datetime(end.year, end.month, end.day, tzinfo=zone)
    elif "DURATION" in event:
        end = (start.astimezone(UTC) + event["DURATION"].dt).astimezone(zone)
    else:
        end = start
    return start.date(), max(start.date(), (end - timedelta(microseconds=1)).date())


def _is_backwards(event: Any) -> bool:
    if "DTEND" not in event:
        return False
    try:
        return bool(event["DTEND"].dt < event["DTSTART"].dt)
    except TypeError:
        # A date and a time, or times with and without a zone; what they touch is told as far as it can be.
        return False


def _local(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.replace(tzinfo=zone) if instant.tzinfo is None else instant.astimezone(zone)


def _is_cancelled(event: Any) -> bool:
    return str(event.get("STATUS", "")).strip().upper() == "CANCELLED"


def _kind(event: Any, name: str) -> str:
    """An observance is worked, and so is a day that makes up for a day off; feeds say so beside the name."""
    if str(event.get("X-APPLE-SPECIAL-DAY", "")).strip().upper() == "ALTERNATE-WORKDAY":
        return "other"
    categories = event.get("CATEGORIES")
    words = [str(event.get("DESCRIPTION", ""))]
    for group in categories if isinstance(categories, list) else [categories] if categories else []:
        words += [str(word) for word in getattr(group, "cats", [group])]
    if any(word.strip().lower().startswith(_OBSERVANCES) for word in words):
        return "other"
    return next((kind for kind in map(kind_of, (name, *words)) if kind != "public"), "public")


def _short(error: object) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 120 else text[:119] + "…"  # noqa: PLR2004  (fits one line of a message)
