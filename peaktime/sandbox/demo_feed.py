"""The demo's holidays: Korea's as an ICS file, such as a feed of the public calendars is, or somebody's own feed.

For: a demo without a network, and feeds that end before the sample calendar's horizon. Must not: publish anything; the
importer does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

import holidays
from icalendar import Calendar, Event

from peaktime.calendars import CalendarSettings, load_calendars
from peaktime.core.feedspec import parse_feed
from peaktime.errors import FeedError
from producers.calendar.feeds.open import feed_from
from producers.calendar.importer import assess, span, today_of

_COUNTRY = "KR"
_SAMPLE = "samples/calendars.yaml"
_HORIZON = re.compile(r"^(\s*horizonDays:\s*)\d+", re.MULTILINE)
# The demo's clock runs ahead of the log's, so a feed would be too old within moments.
_STALE = re.compile(r"^(\s*staleAfter:\s*)\w+", re.MULTILINE)
_NEVER = "365d"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoCalendar:
    """The calendar that the demo imports.

    Attributes:
        id: its id in the calendars file.
        feed: the feed, as ``import-calendar --feed`` takes it.
        calendars: a calendars file of the demo's own: the sample that ships with the package, as far as it fits.
        note: what people should know about it; empty if nothing.
    """

    id: str
    feed: str
    calendars: Path
    note: str = ""


def sample_calendar() -> CalendarSettings:
    """The first calendar of the sample that ships with the package."""
    return load_calendars(None).calendars[0]


def write_feed(now: datetime) -> bytes:
    """Korea's public holidays of this year and the next, as ICS.

    Args:
        now: aware, in the zone of the holidays.
    """
    calendar = Calendar()
    calendar.add("prodid", "-//peaktime//demo//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", "대한민국의 휴일")
    found = holidays.country_holidays(_COUNTRY, years=(now.year, now.year + 1), language="ko")
    for day, name in sorted(found.items()):
        event = Event()
        event.add("uid", f"{day.isoformat()}-{_COUNTRY.lower()}@peaktime.demo")
        event.add("dtstamp", now.astimezone(UTC))
        event.add("dtstart", day)
        event.add("dtend", day + timedelta(days=1))
        event.add("summary", name)
        event.add("transp", "TRANSPARENT")
        calendar.add_component(event)
    return bytes(calendar.to_ical())


def checked_feed(feed: str) -> str:
    """The feed as any program in any folder can read it.

    Raises:
        FeedError: it names no feed, or a file that is not there.
    """
    try:
        parsed = parse_feed(feed)
    except ValueError as error:
        raise FeedError(f"feed {feed}", str(error), "Name an ICS file with --feed") from error
    if parsed.kind != "file":
        return feed
    path = Path(parsed.where)
    if not path.is_file():
        raise FeedError(f"feed {feed}", "there is no such file", "Name an ICS file with --feed")
    return str(path.resolve())


def demo_calendar(feed: str, folder: Path, now: datetime) -> DemoCalendar:
    """The sample calendar with this feed; with a shorter horizon if the feed ends before it.

    Args:
        feed: as `checked_feed` gave it.
        folder: where the calendars file goes.
        now: aware.
    """
    calendar = sample_calendar()
    sample = _STALE.sub(rf"\g<1>{_NEVER}", resources.files("peaktime").joinpath(_SAMPLE).read_text(encoding="utf-8"))
    file = folder / "calendars.yaml"
    file.write_text(sample, encoding="utf-8")
    plain = DemoCalendar(id=calendar.id, feed=feed, calendars=file)
    today = today_of(calendar, now)
    try:
        found = feed_from(feed, ZoneInfo(calendar.zone)).read(*span(calendar, today))
    except FeedError:
        return plain  # The importer says why, in its own words.
    known = (found.covers_to - today).days
    if assess(calendar, found, None, now).refused_code != "coverage" or not 1 <= known < calendar.horizon_days:
        return plain
    file.write_text(_HORIZON.sub(rf"\g<1>{known}", sample), encoding="utf-8")
    note = f"the feed ends with {found.covers_to}, so the calendar looks {known} days ahead instead of "
    return DemoCalendar(id=calendar.id, feed=feed, calendars=file, note=f"{note}{calendar.horizon_days}")
