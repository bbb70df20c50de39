import json
import re
import socket
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from support.calendars import SEOUL, day, ics, seoul, settings
from support.calendars import Play as Calendar

from peaktime.calendars import CalendarSettings, load_calendars, parse_calendars
from peaktime.core.calendars import fold_snapshot
from peaktime.core.holidays import KINDS
from peaktime.errors import BrokerError, CalendarsError, FeedError
from producers.calendar.bus import last_state
from producers.calendar.feeds.base import BadFeedError, result
from producers.calendar.feeds.fetch import Fetched
from producers.calendar.feeds.ics import IcsFeed
from producers.calendar.importer import Acceptance, assess, fingerprint, foretell, span, take
from schemas.catalogue import load_catalogue
from schemas.codec import Codec
from schemas.records import CalendarDay

NOW = datetime(2026, 3, 2, 0, 30, 0, 123000, tzinfo=UTC)
FEED = {
    "2026-01-01": "신정",
    "2026-05-05": "어린이날",
    "2026-06-03": "지방선거일",
    "2026-06-06": "현충일",
    "2026-09-24": "추석 전날",
    "2026-09-25": "추석",
    "2026-10-09": "한글날",
    "2026-12-25": "기독탄신일",
    "2027-01-01": "신정",
}


class Feed:
    def __init__(self, days):
        self.days = days
        self.asked = None

    def read(self, first, last):
        self.asked = (str(first), str(last))
        if isinstance(self.days, Exception):
            raise self.days
        return result(
            [CalendarDay(date=date.fromisoformat(d), name=n) for d, n in self.days.items()],
            first,
            last,
            "a feed",
        )


def imported(days, state=None, now=NOW, **changes):
    acceptance = changes.pop("acceptance", None)
    return take(settings(**changes), Feed(days), state, now, taken_by="job", acceptance=acceptance)


@pytest.fixture
def state():
    return fold_snapshot(None, imported(FEED), 0, NOW)


# Asking and judging -------------------------------------------------------------------------------------------------


def test_a_feed_is_asked_for_whole_years_around_the_horizon():
    assert [str(d) for d in span(settings(), day("2026-03-02"))] == ["2026-01-01", "2027-12-31"]
    assert [str(d) for d in span(settings(), day("2026-01-02"))] == ["2025-01-01", "2027-12-31"]
    assert [str(d) for d in span(settings(horizon_days=30), day("2026-12-15"))] == ["2026-01-01", "2027-12-31"]
    assert [str(d) for d in span(settings(horizon_days=30), day("2026-06-15"))] == ["2026-01-01", "2026-12-31"]
    # The calendar's zone decides what today is.
    feed = Feed(FEED)
    take(settings(), feed, None, datetime(2026, 1, 31, 15, tzinfo=UTC), taken_by="")
    assert feed.asked[0] == "2026-01-01"
    take(settings(), feed, None, datetime(2026, 1, 31, 14, 59, tzinfo=UTC), taken_by="")
    assert feed.asked[0] == "2025-01-01"


def test_a_good_snapshot_carries_everything_that_folding_needs():
    now = NOW.replace(microsecond=123456)
    snapshot = imported(
        FEED,
        now=now,
        weekdays_off=("sun",),
        bridge_days=True,
        owner="me",
        leave_out=(day("2026-05-05"),),
    )
    assert snapshot.taken_at == NOW  # whole milliseconds, as Avro keeps them
    assert (snapshot.calendar_id, snapshot.source, snapshot.taken_by) == ("kr", "a feed", "job")
    assert (str(snapshot.covers_from), str(snapshot.covers_to)) == ("2026-01-01", "2027-12-31")
    assert [str(d.date) for d in snapshot.days] == sorted(FEED)
    assert (snapshot.weekdays_off, snapshot.bridge_days, snapshot.owner) == (("sun",), True, "me")
    assert (snapshot.peak_start, snapshot.peak_minutes, snapshot.stale_after_minutes) == ("07:30", 270, 1440)
    assert snapshot.leave_out == (day("2026-05-05"),)
    assert (snapshot.refused, snapshot.accepted_by) == ("", "")


def test_only_the_kinds_that_count_are_in_it():
    def kinds(*counted):
        found = result(
            [CalendarDay(date=day(d), name=n, kind=k) for d, n, k in (
                ("2026-05-05", "a", "public"), ("2026-06-03", "b", "election"), ("2027-05-05", "c", "other"))],
            day("2026-01-01"), day("2027-12-31"), "x",
        )  # fmt: skip
        return [d.kind for d in assess(settings(kinds=counted), found, None, NOW).days]

    assert kinds(*KINDS) == ["public", "election", "other"]
    assert kinds("public") == ["public"]


def test_a_fingerprint_is_of_what_matters():
    snapshot = imported(FEED)
    assert imported(dict(reversed(FEED.items())), now=NOW + timedelta(hours=1)).fingerprint == snapshot.fingerprint
    assert imported(FEED | {"2026-05-05": "another name"}).fingerprint == snapshot.fingerprint
    assert imported(FEED | {"2026-05-06": "x"}).fingerprint != snapshot.fingerprint
    assert fingerprint(replace(snapshot, peak_start="07:31")) != snapshot.fingerprint


@pytest.mark.parametrize(
    ("days", "code"),
    [
        ({}, "empty"),
        ({"2026-05-05": "x"}, "coverage"),
        ({"2025-05-05": "x"}, "empty"),
        ({"2027-10-05": "x"}, "coverage"),
        (BadFeedError("a feed", "is a web page", code="wrong-type"), "wrong-type"),
    ],
)
def test_feeds_that_are_refused_make_a_snapshot_that_says_so(days, code):
    snapshot = imported(days)
    assert (snapshot.refused_code, snapshot.days) == (code, ())
    assert snapshot.refused.startswith("a feed: ")
    assert snapshot.covers_to < snapshot.covers_from


def test_a_feed_that_closes_most_days_names_no_holidays_and_takes_no_peak_back(state):
    """One stray event that repeats daily makes a single run of days off of the whole year, with no peak in it."""

    def daily(share):
        days = [NOW.date() + timedelta(days=n) for n in range(365) if n % 10 < 10 * share]
        return FEED | {one.isoformat(): "stray" for one in days}

    refused = imported(daily(1), state)
    assert (refused.refused_code, refused.days) == ("wrong-type", ())
    assert "of the coming 365 days as days off" in refused.refused
    assert not imported(daily(0.3), state).refused_code, "weekends as days off of their own"
    assert not imported(daily(1), state, horizon_days=20).refused_code


def test_a_feed_that_cannot_be_read_makes_no_snapshot():
    with pytest.raises(FeedError, match="cannot be reached"):
        imported(FeedError("a feed", "cannot be reached"))


def test_the_past_dropped_by_a_feed_is_no_gap():
    late = datetime(2026, 12, 27, tzinfo=UTC)
    snapshot = imported({"2027-01-01": "x", "2027-05-05": "y"}, now=late, horizon_days=300)
    assert (snapshot.refused, str(snapshot.covers_from)) == ("", "2027-01-01")


# Withdrawals --------------------------------------------------------------------------------------------------------


def without(*days):
    return {d: name for d, name in FEED.items() if d not in days}


def test_one_day_may_always_go(state):
    assert imported(without("2026-05-05"), state).refused == ""


def test_more_than_the_share_may_not(state):
    # Six coming weekday holidays are known: the Saturday in June makes no peak, and 2027 is beyond the year.
    snapshot = imported(without("2026-05-05", "2026-06-03", "2026-10-09"), state)
    assert snapshot.refused_code == "withdrawals"
    assert "takes back 3 of the 7 coming holidays" in snapshot.refused
    assert "2026-05-05, 2026-06-03, 2026-10-09" in snapshot.refused
    assert foretell(state, snapshot, NOW).peaks == state.peaks
    assert imported(without("2026-05-05", "2026-06-03"), state).refused == ""


def test_withdrawals_can_be_accepted_and_the_log_knows_by_whom(state):
    fewer = without("2026-05-05", "2026-06-03", "2026-10-09")
    snapshot = imported(fewer, state, acceptance=Acceptance("hana", "the law was repealed"))
    assert (snapshot.refused, snapshot.accepted_by, snapshot.accepted_why) == ("", "hana", "the law was repealed")
    assert len(foretell(state, snapshot, NOW).changes) == 3
    # Nobody had to accept anything: nobody did.
    assert imported(FEED, state, acceptance=Acceptance("hana", "just in case")).accepted_by == ""
    # What is no calendar stays refused.
    assert imported({}, state, acceptance=Acceptance("hana", "x")).refused_code == "empty"


def test_what_the_settings_leave_out_is_not_taken_back_by_the_feed(state):
    snapshot = imported(FEED, state, kinds=("election",))
    assert (snapshot.refused, snapshot.days) == ("", ())


def test_days_that_are_over_may_all_go(state):
    later = datetime(2026, 11, 1, tzinfo=UTC)
    days = {"2026-12-25": "x", "2027-01-01": "x", "2027-10-09": "y"}
    assert imported(days, state, now=later).refused == ""


def test_what_is_foretold_is_what_is_folded(state):
    snapshot = imported(FEED | {"2026-07-17": "제헌절"}, state)
    after = foretell(state, snapshot, NOW + timedelta(minutes=1))
    assert [(c.kind.value, str(c.after)) for c in after.changes] == [("ADDED", "2026-07-20")]
    assert foretell(after, snapshot, NOW + timedelta(minutes=2)) is after


def test_an_ics_feed_all_the_way():
    play = Calendar()
    assert ("ADDED", None, "2026-05-06") in play.imports("2026-03-02T09:00", ics(FEED))
    feed = IcsFeed(lambda: Fetched(body=ics(FEED).encode(), source="x"), SEOUL)
    snapshot = take(settings(), feed, play.state, seoul("2026-03-02T10:00"), taken_by="x")
    assert snapshot.fingerprint == play.state.fingerprint


# The bus ------------------------------------------------------------------------------------------------------------


def test_a_broker_that_is_away_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(BrokerError, match=address):
        last_state({"bootstrap.servers": address}, Codec(), load_catalogue().calendar_states, "kr", 0.2)


# The calendars file -------------------------------------------------------------------------------------------------


def test_the_sample_is_a_good_calendar():
    calendar = load_calendars(None).get("kr")
    assert (calendar.feed, calendar.target, calendar.zone) == ("holidays:KR", "infra", "Asia/Seoul")
    assert calendar.weekdays_off == ("sat", "sun")
    assert (calendar.peak.day, calendar.peak.band, calendar.peak.start, calendar.peak.minutes) == ("holiday", "morning", "07:30", 270)  # fmt: skip
    assert (calendar.horizon_days, calendar.stale_after) == (364, timedelta(hours=24))
    with pytest.raises(CalendarsError, match=r"calendar us: .*there are: kr"):
        load_calendars(None).get("us")


def test_the_page_for_users_names_every_option_and_shows_a_good_file():
    page = (Path(__file__).parents[2] / "docs" / "calendar.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert {field.alias or name for name, field in CalendarSettings.model_fields.items()} <= named
    (example,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert [calendar.id for calendar in parse_calendars(example, "docs/calendar.md").calendars] == ["kr", "uae"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be a mapping"),
        ("calendars: {}", "calendars: must be a list"),
        ("a: 1\na: 2", "line 2, column 1: the key 'a' is there twice"),
        ("calendars: [", "is not valid YAML: line 1"),
        ("? [x]\n: 1", "plain text"),
        ("calendars: [{id: kr, feed: x, target: t}, {id: kr, feed: x, target: t}]", r"calendars\[1\]\.id: 'kr' is there twice"),
        ("calendars: [{feed: x, target: t}]", r"calendars\[0\]\.id: is missing"),
    ],
)  # fmt: skip
def test_files_that_are_refused(text, said):
    with pytest.raises(CalendarsError, match=said) as raised:
        parse_calendars(text, "my.yaml")
    assert str(raised.value).startswith("my.yaml: ")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("id", "pa", "origins are taken"),
        ("id", "Kr", "lower-case"),
        ("id", "kr-0123abcd", "end like a hash"),
        ("feed", "ftp://x", "ftp: is not a way"),
        ("zone", "Seoul", "no time zone"),
        ("weekdaysOff", "[sat, sunday]", "must be one of mon"),
        ("weekdaysOff", "[mon, tue, wed, thu, fri, sat, sun]", "no weekday to work on"),
        ("kinds", "[public, bank]", "should be 'public'"),
        ("target", "In fra", "lower-case"),
        ("peak", "{start: 7:30}", "should match"),
        ("peak", "{length: 25h}", "from 1m to 24h"),
        ("peak", "{length: 90s}", "whole minutes"),
        ("peak", "{length: soon}", "must be a duration"),
        ("peak", "{day: monday}", "must be one of common"),
        ("scaleIn", "{bend: x}", "is not a known key"),
        ("horizonDays", "365", "less than or equal to 364"),
        ("bridgeDays", "perhaps", "must be true or false"),
        ("minimumLength", "0", "greater than or equal to 1"),
        ("leaveOut", "[2026-13-01]", "must be a date"),
        ("withdrawals", "{share: 1.5}", "less than or equal to 1"),
        ("staleAfter", "10s", "from 1m"),
        ("timeout", "1h", "from 1s to 10m"),
        ("owner", "a{{b", "without {{"),
        ("unknown", "1", "is not a known key"),
    ],
)
def test_values_that_are_refused_name_their_place(key, value, said):
    values = {"id": "kr", "feed": "holidays:KR", "target": "infra"} | {key: value}
    text = "calendars:\n  - " + "\n    ".join(f"{k}: {v}" for k, v in values.items())
    with pytest.raises(CalendarsError, match=said) as raised:
        parse_calendars(text, "my.yaml")
    assert f"my.yaml: calendars[0].{key}" in str(raised.value)


def test_yamls_surprises_do_not_happen():
    text = (
        "calendars: [{id: kr, feed: x, target: infra, peak: {start: 10:30, length: 4 h 30 m}, leaveOut: [2026-05-05]}]"
    )
    (calendar,) = parse_calendars(text.replace("4 h 30 m", "4h 30m"), "x").calendars
    assert (calendar.peak.start, calendar.peak.minutes, calendar.leave_out) == ("10:30", 270, (date(2026, 5, 5),))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(CalendarsError, match="cannot be read"):
        load_calendars(tmp_path / "none.yaml")
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(CalendarsError, match="UTF-8"):
        load_calendars(tmp_path / "x.yaml")
    (tmp_path / "y.yaml").write_text(json.dumps({"calendars": []}))
    assert load_calendars(tmp_path / "y.yaml").calendars == ()
