"""Holiday feeds for tests: ICS texts, written as a careless feed would write them, and a calendar that plays them."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from peaktime.calendars import parse_calendars
from peaktime.core.calendars import fold_snapshot, requests_of
from producers.calendar.feeds.fetch import Fetched
from producers.calendar.feeds.ics import IcsFeed
from producers.calendar.importer import take
from schemas.records import RequestAction

SEOUL = ZoneInfo("Asia/Seoul")


def ics(days, uid="{date}@feed", newline="\r\n"):
    """An ICS feed of all-day events; ``days`` maps ISO dates to names."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//a feed//EN"]
    for number, (day, name) in enumerate(days.items()):
        lines += [
            "BEGIN:VEVENT",
            f"UID:{uid.format(date=day, number=number)}",
            "DTSTAMP:20250101T000000Z",
            f"DTSTART;VALUE=DATE:{day.replace('-', '')}",
            f"SUMMARY:{name}",
            "END:VEVENT",
        ]
    return newline.join([*lines, "END:VCALENDAR", ""])


def settings(**changes):
    """The sample's way of a calendar, with a feed that is never read."""
    (calendar,) = parse_calendars("calendars: [{id: kr, feed: never-read.ics, target: infra}]", "test").calendars
    return calendar.model_copy(update=changes)


def seoul(text):
    """A local minute in Seoul as an instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=SEOUL).astimezone(UTC)


class Play:
    """A calendar whose feed changes over time; each step is one import at one moment."""

    def __init__(self, **changes):
        self.settings = settings(**changes)
        self.state = None
        self.position = 0
        self.snapshots = []

    def imports(self, at, feed, *, content_type="text/calendar", acceptance=None):
        """One import: what changed, as ``{(kind, before, after)}``; None if nothing was written."""
        body = feed if isinstance(feed, bytes) else feed.encode()
        fetched = Fetched(body=body, source="https://feed.example/kr.ics", content_type=content_type)
        now = seoul(at)
        source = IcsFeed(lambda: fetched, ZoneInfo(self.settings.zone))
        snapshot = take(self.settings, source, self.state, now, taken_by="test", acceptance=acceptance)
        return self.folds(now, snapshot)

    def folds(self, log_time, snapshot):
        """Fold one snapshot as the next one of the log."""
        before = self.state
        self.position += 1
        self.snapshots.append((snapshot, self.position, log_time))
        self.state = fold_snapshot(self.state, snapshot, self.position, log_time)
        # A redelivery never changes anything.
        assert fold_snapshot(self.state, snapshot, self.position, log_time) is self.state
        if self.state is before:
            return None
        return {(c.kind.value, c.before and str(c.before), c.after and str(c.after)) for c in self.state.changes}

    def again(self):
        """The last snapshot once more, as a second importer a moment later would publish it."""
        snapshot, _, log_time = self.snapshots[-1]
        return self.folds(log_time + timedelta(seconds=1), replace(snapshot, taken_at=log_time))

    @property
    def wanted(self):
        """Days for which capacity is asked, each with its two request ids."""
        asked = {}
        for request in requests_of(self.state):
            if request.action is not RequestAction.DELETE:
                asked.setdefault(request.event_date, []).append(request.request_id)
        return {day: tuple(ids) for day, ids in asked.items()}

    @property
    def deleted(self):
        """Days that are withdrawn, each with the id of its deletion."""
        return {r.event_date: r.request_id for r in requests_of(self.state) if r.action is RequestAction.DELETE}


def day(text):
    """A date."""
    return date.fromisoformat(text)
