from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.calendars import SEOUL, Play, day, ics, seoul, settings

from peaktime.core.calendars import fold_snapshot, is_stale, plain, requests_of
from peaktime.core.requests import fold_request, refusal
from producers.calendar.feeds.base import result
from producers.calendar.importer import assess
from schemas.records import CalendarDay, PeakChangeKind, RequestAction, VerdictKind

# 2023 and 2024 as they were known at the beginning of 2023.
KNOWN = {
    "2023-01-01": "신정",
    "2023-01-21": "설날 전날",
    "2023-01-22": "설날",
    "2023-01-23": "설날 다음날",
    "2023-01-24": "설날 대체 휴일",
    "2023-03-01": "삼일절",
    "2023-05-05": "어린이날",
    "2023-06-06": "현충일",
    "2023-08-15": "광복절",
    "2023-09-28": "추석 전날",
    "2023-09-29": "추석",
    "2023-09-30": "추석 다음날",
    "2023-10-03": "개천절",
    "2023-10-09": "한글날",
    "2023-12-25": "기독탄신일",
    "2024-01-01": "신정",
    "2024-02-09": "설날 전날",
    "2024-02-10": "설날",
}
SUBSTITUTE = {"2023-05-29": "부처님오신날 대체 휴일"}
TEMPORARY = {"2023-10-02": "임시공휴일"}
ELECTION = {"2023-11-08": "보궐선거일"}
PEAKS = {
    "2023-01-25",
    "2023-03-02",
    "2023-05-08",
    "2023-06-07",
    "2023-08-16",
    "2023-10-02",
    "2023-10-04",
    "2023-10-10",
    "2023-12-26",
    "2024-01-02",
}


@pytest.fixture
def play():
    return Play()


@pytest.fixture
def started(play):
    play.imports("2023-01-02T09:00", ics(KNOWN))
    return play


def test_the_first_snapshot_asks_for_every_peak_of_the_horizon(play):
    assert play.imports("2023-01-02T09:00", ics(KNOWN)) == {
        ("ADDED", None, peak) for peak in PEAKS if peak != "2024-01-02"
    }
    # 364 days ahead is 2024-01-01.
    assert set(play.wanted) == PEAKS - {"2024-01-02"}
    assert play.deleted == {}
    out, back = [r for r in requests_of(play.state) if r.event_date == "2023-10-04"]
    assert (out.action, out.target, out.day, out.band) == (RequestAction.SCALE_OUT, "infra", "holiday", "morning")
    assert (out.starts_at, out.ends_at) == (seoul("2023-10-04T07:30"), seoul("2023-10-04T12:00"))
    assert (back.action, back.ends_at) == (RequestAction.SCALE_IN, seoul("2023-10-04T12:00"))
    assert (out.origin, out.owner, out.requested_at) == ("kr", "holiday calendar", seoul("2023-01-02T09:00"))
    assert out.title == "Morning after 개천절 (1 day off, 2023-10-03)"
    assert "2023-10-03 tue 개천절" in out.description
    assert out.request_id == "kr:2023-10-04:SCALE_OUT:1"
    assert {r.group for r in requests_of(play.state)} == {"kr:1"}


def test_a_year_of_announcements(started):
    play = started
    feed = dict(KNOWN)
    first = play.wanted
    # The horizon moves on, and new year's day of 2024 comes into it.
    assert play.imports("2023-01-04T09:00", ics(feed)) == {("ADDED", None, "2024-01-02")}
    assert play.wanted == {**first, "2024-01-02": ("kr:2024-01-02:SCALE_OUT:2", "kr:2024-01-02:SCALE_IN:2")}
    known = play.wanted

    # Nothing that matters: all UIDs new, another order, another name, another line end.
    shuffled = dict(reversed(feed.items())) | {"2023-03-01": "삼일절 (104주년)"}
    assert play.imports("2023-01-04T09:10", ics(shuffled, uid="{number}-new@elsewhere", newline="\n")) is None

    # A substitute holiday becomes law in spring.
    feed |= SUBSTITUTE
    assert play.imports("2023-05-02T09:00", ics(feed)) >= {("ADDED", None, "2023-05-30")}
    assert {peak for peak in play.wanted if peak < "2023-05"} == set()  # over
    assert play.wanted["2023-10-02"] == known["2023-10-02"]

    # The government gives the Monday between 추석 and 개천절, three weeks ahead: two runs become one.
    feed |= TEMPORARY
    assert play.imports("2023-09-05T10:00", ics(feed)) >= {("MOVED", "2023-10-02", "2023-10-04")}
    moved = play.position
    assert play.deleted == {"2023-10-02": f"kr:2023-10-02:DELETE:{moved}"}
    assert play.wanted["2023-10-04"] == known["2023-10-04"]
    assert [str(play.state.peaks[1].run_start), play.state.peaks[1].rule] == [
        "2023-09-28",
        "first working day after a run of 6 days off",
    ]

    # An election day, and the next year's past dropped from the feed: only the election is news.
    feed = {date: name for date, name in feed.items() if date >= "2023-09-06"} | ELECTION
    assert play.imports("2023-09-05T11:00", ics(feed)) == {("ADDED", None, "2023-11-09")}
    assert play.deleted == {"2023-10-02": f"kr:2023-10-02:DELETE:{moved}"}

    # The election is called off, and called again.
    without = {date: name for date, name in feed.items() if date not in ELECTION}
    assert play.imports("2023-09-07T09:00", ics(without)) >= {("WITHDRAWN", "2023-11-09", None)}
    called_off = play.position
    assert play.deleted["2023-11-09"] == f"kr:2023-11-09:DELETE:{called_off}"
    assert "2023-11-09" not in play.wanted
    assert play.imports("2023-09-07T09:30", ics(feed)) >= {("ADDED", None, "2023-11-09")}
    assert play.wanted["2023-11-09"] == (
        f"kr:2023-11-09:SCALE_OUT:{play.position}",
        f"kr:2023-11-09:SCALE_IN:{play.position}",
    )
    assert "2023-11-09" not in play.deleted
    good = requests_of(play.state)

    # Feeds that cannot be believed: told once a kind, and nothing else changes.
    bad = {
        "empty": ics({}),
        "truncated": ics(feed)[: len(ics(feed)) // 2],
        "wrong-type": "<!doctype html><title>Sign in</title>",
        "withdrawals": ics({date: name for date, name in feed.items() if date > "2023-12"}),
        "coverage": ics({date: name for date, name in feed.items() if date < "2024"}),
    }
    for hour, (code, text) in enumerate(bad.items()):
        assert play.imports(f"2023-09-08T1{hour}:00", text) == set()
        assert play.state.refused_told[-1] == code
        assert play.state.refused.startswith("https://feed.example/kr.ics: ")
        assert requests_of(play.state) == good
    for hour, text in enumerate(bad.values()):
        assert play.imports(f"2023-09-09T1{hour}:00", text) is None

    # Good again: noted, nothing else.
    assert play.imports("2023-09-10T09:00", ics(feed)) == set()
    assert (play.state.refused, play.state.refused_told, requests_of(play.state)) == ("", (), good)


def test_the_run_that_grew_at_its_end_moves_its_peak_as_one_change(started):
    feed = KNOWN | {"2023-10-10": "임시공휴일"}
    assert started.imports("2023-01-02T10:00", ics(feed)) == {("MOVED", "2023-10-10", "2023-10-11")}
    mine = [r for r in requests_of(started.state) if r.event_date in ("2023-10-10", "2023-10-11")]
    assert [(r.event_date, r.action.value) for r in mine] == [
        ("2023-10-10", "DELETE"),
        ("2023-10-11", "SCALE_OUT"),
        ("2023-10-11", "SCALE_IN"),
    ]
    assert {r.group for r in mine} == {"kr:2"}
    assert {r.group for r in requests_of(started.state)} == {"kr:1", "kr:2"}
    # And back again.
    assert started.imports("2023-01-02T11:00", ics(KNOWN)) == {("MOVED", "2023-10-11", "2023-10-10")}


def test_the_run_that_grew_at_its_beginning_keeps_its_requests_and_says_so(started):
    before = started.wanted
    feed = KNOWN | {"2023-09-27": "임시공휴일"}
    assert started.imports("2023-01-02T10:00", ics(feed)) == {("CHANGED", "2023-10-02", "2023-10-02")}
    assert started.wanted == before
    assert "2023-09-27" in started.state.changes[0].why


def test_an_importer_run_twice_or_two_at_once_changes_nothing(started):
    state = started.state
    assert started.again() is None
    assert started.state is state


@pytest.mark.parametrize("kept", ["2023-10-04T06:00", "2023-10-03T09:00", "2023-10-02T09:00"])
def test_the_past_dropped_in_the_middle_of_a_run_withdraws_nothing(started, kept):
    started.imports("2023-09-05T10:00", ics(KNOWN | TEMPORARY | {"2024-09-16": "추석 전날"}))
    before = {peak for peak in started.wanted if peak >= kept[:10]}
    feed = {date: name for date, name in KNOWN.items() if date >= kept[:10]} | {"2024-09-16": "추석 전날"}
    feed |= {date: name for date, name in TEMPORARY.items() if date >= kept[:10]}
    started.imports(kept, ics(feed))
    assert before <= set(started.wanted)
    assert "2023-10-04" in before
    assert not {c for c in started.state.changes if c.kind is not PeakChangeKind.ADDED}


def test_the_past_filled_in_creates_nothing(play):
    feed = {date: name for date, name in KNOWN.items() if date != "2023-03-01"}
    play.imports("2023-03-02T06:00", ics(feed))
    assert "2023-03-02" not in play.wanted
    assert play.imports("2023-03-02T06:10", ics(KNOWN)) is None


def test_today_is_the_calendars_own(play):
    # 2023-03-01 23:30 in Seoul is still the holiday; half an hour later it is the past.
    without = {date: name for date, name in KNOWN.items() if date != "2023-03-01"}
    play.imports("2023-02-28T09:00", ics(without))
    late = Play()
    late.imports("2023-02-28T09:00", ics(without))
    assert play.imports("2023-03-01T23:30", ics(KNOWN)) >= {("ADDED", None, "2023-03-02")}
    assert ("ADDED", None, "2023-03-02") not in (late.imports("2023-03-02T00:00", ics(KNOWN)) or set())


def test_a_peak_whose_window_is_over_is_left_alone(started):
    started.imports("2023-03-02T12:00", ics(KNOWN | SUBSTITUTE))
    assert "2023-03-02" not in {r.event_date for r in requests_of(started.state)}
    running = Play()
    running.imports("2023-01-02T09:00", ics(KNOWN))
    running.imports("2023-03-02T11:59", ics(KNOWN | SUBSTITUTE))
    assert "2023-03-02" in running.wanted


def test_a_withdrawal_is_kept_until_the_peak_is_over(started):
    without = {date: name for date, name in KNOWN.items() if date != "2023-03-01"}
    started.imports("2023-02-01T09:00", ics(without))
    ids = started.deleted
    assert set(ids) == {"2023-03-02"}
    started.imports("2023-03-02T08:00", ics(without | SUBSTITUTE))
    assert started.deleted == ids
    started.imports("2023-03-03T08:00", ics(without))
    assert set(started.deleted) == {"2023-05-30"}


def test_announced_again_is_newer_than_the_deletion_even_in_one_millisecond(started):
    (snapshot, _, log_time) = started.snapshots[-1]
    fewer = replace(snapshot, days=tuple(each for each in snapshot.days if each.date != day("2023-03-01")))
    started.folds(log_time, fewer)
    started.folds(log_time, snapshot)
    again = next(r for r in requests_of(started.state) if r.event_date == "2023-03-02")
    assert (again.action, again.requested_at - log_time) == (RequestAction.SCALE_OUT, timedelta(milliseconds=2))


def test_changed_settings_replace_requests_and_changed_targets_move_them(started):
    (snapshot, _, log_time) = started.snapshots[-1]
    later = log_time + timedelta(hours=1)
    changes = started.folds(later, replace(snapshot, peak_start="07:00", peak_minutes=300))
    assert changes == {("CHANGED", peak, peak) for peak in PEAKS if peak != "2024-01-02"}
    assert started.wanted["2023-03-02"] == ("kr:2023-03-02:SCALE_OUT:2", "kr:2023-03-02:SCALE_IN:2")
    changes = started.folds(later, replace(snapshot, target="web"))
    assert ("WITHDRAWN", "2023-03-02", None) in changes
    assert ("ADDED", None, "2023-03-02") in changes
    mine = [(r.target, r.action.value) for r in requests_of(started.state) if r.event_date == "2023-03-02"]
    assert mine == [("infra", "DELETE"), ("web", "SCALE_OUT"), ("web", "SCALE_IN")]


def test_a_shorter_horizon_withdraws_what_lies_beyond(started):
    (snapshot, _, log_time) = started.snapshots[-1]
    started.folds(log_time, replace(snapshot, horizon_days=100))
    assert set(started.wanted) == {"2023-01-25", "2023-03-02"}
    assert set(started.deleted) == PEAKS - {"2023-01-25", "2023-03-02", "2024-01-02"}


def test_what_a_feed_does_not_speak_of_stays(started):
    (snapshot, _, log_time) = started.snapshots[-1]
    narrow = replace(
        snapshot,
        covers_from=day("2023-06-01"),
        covers_to=day("2023-09-30"),
        days=tuple(each for each in snapshot.days if day("2023-06-01") <= each.date <= day("2023-09-30")),
    )
    assert started.folds(log_time, narrow) is None


def test_options_of_the_snapshot_are_heard(play):
    options = {"bridge_days": True, "extra_closing_days": (day("2023-05-01"),), "leave_out": (day("2023-03-01"),)}
    play = Play(**options)
    play.imports("2023-01-02T09:00", ics(KNOWN))
    assert {"2023-05-02", "2023-06-07", "2023-10-04"} <= set(play.wanted)
    assert not {"2023-03-02", "2023-10-02"} & set(play.wanted)


def test_a_closing_day_tidied_away_after_it_was_withdraws_nothing():
    play = Play(extra_closing_days=(day("2023-05-01"),))
    play.imports("2023-01-02T09:00", ics(KNOWN))
    play.settings = settings()
    play.imports("2023-05-02T06:00", ics(KNOWN))
    assert play.deleted == {}
    assert "2023-05-02" in {r.event_date for r in requests_of(play.state)}


@pytest.mark.parametrize(
    "wrong",
    [
        {"zone": "Nowhere/Else"},
        {"zone": "../etc/passwd"},
        {"weekdays_off": ("sunday",)},
        {"weekdays_off": ("mon", "tue", "wed", "thu", "fri", "sat", "sun")},
        {"peak_start": "24:00"},
        {"peak_minutes": 0},
        {"horizon_days": 400},
        {"minimum_length": 0},
    ],
)
def test_a_snapshot_that_cannot_be_folded_is_refused_and_never_raises(started, wrong):
    (snapshot, _, log_time) = started.snapshots[-1]
    before = requests_of(started.state)
    assert started.folds(log_time, replace(snapshot, **wrong)) == set()
    assert started.state.refused
    assert requests_of(started.state) == before


def test_a_refusal_before_any_good_snapshot_is_told_and_asks_for_nothing(play):
    assert play.imports("2023-01-02T09:00", "") == set()
    assert (play.state.refused_told, requests_of(play.state), play.state.good_at) == (("empty",), (), None)
    assert play.imports("2023-01-02T10:00", "") is None


def test_stale_is_counted_from_the_last_good_snapshot(started):
    at = started.state.good_at
    assert not is_stale(None, at)
    assert not is_stale(started.state, at + timedelta(hours=24))
    assert is_stale(started.state, at + timedelta(hours=24, seconds=1))
    assert is_stale(started.state, at + timedelta(seconds=2), timedelta(seconds=1))
    # A bad one does not count, a good one that changes nothing does, though not each of them is written.
    started.imports("2023-01-02T12:00", "")
    assert started.state.good_at == at
    started.imports("2023-01-02T13:00", ics(KNOWN))
    assert started.state.good_at == seoul("2023-01-02T13:00")
    assert started.imports("2023-01-02T13:59", ics(KNOWN)) is None
    assert started.imports("2023-01-02T14:00", ics(KNOWN)) == set()
    assert not is_stale(started.state, seoul("2023-01-03T14:00"))


def test_a_feeds_text_can_do_no_harm():
    play = Play()
    play.imports("2023-01-02T09:00", ics(KNOWN | {"2023-04-05": "{{{workflow.name}}} \x07" + "x" * 5000}))
    for request in requests_of(play.state):
        assert refusal(request, seoul("2023-01-02T09:00")) is None
    assert plain("a {{b}} {{{c\n\x00d", 99) == "a { {b}} { { {c d"


def test_the_folds_of_requests_take_what_calendars_ask(started):
    entries, position = {}, 0

    def send(at):
        nonlocal position
        kinds = []
        for request in requests_of(started.state):
            position += 1
            entries[request.event_date] = fold_request(entries.get(request.event_date), request, position, seoul(at))
            kinds.append((request.event_date, entries[request.event_date].verdict.kind))
        return {kind for when, kind in kinds if when == "2023-03-02"}, {kind for _, kind in kinds}

    assert send("2023-01-02T09:00")[1] == {VerdictKind.ACCEPTED}
    assert send("2023-01-02T09:01")[1] == {VerdictKind.DUPLICATE}
    without = {date: name for date, name in KNOWN.items() if date != "2023-03-01"}
    started.imports("2023-01-02T10:00", ics(without))
    assert send("2023-01-02T10:00")[0] == {VerdictKind.WITHDRAWN}
    started.imports("2023-01-02T11:00", ics(KNOWN))
    assert send("2023-01-02T11:00")[0] == {VerdictKind.ACCEPTED}
    assert send("2023-01-02T11:01")[1] == {VerdictKind.DUPLICATE}
    (snapshot, _, log_time) = started.snapshots[-1]
    started.folds(log_time, replace(snapshot, owner="somebody else", peak_minutes=300))
    assert send("2023-01-02T12:00")[0] == {VerdictKind.REPLACED}


dates = st.sets(st.dates(day("2026-01-01"), day("2026-04-30")), max_size=12)


@given(st.lists(st.tuples(dates, st.integers(0, 40 * 24)), min_size=1, max_size=6), st.booleans())
def test_whatever_a_feed_does_the_state_says_what_follows_from_it(steps, bridge):
    calendar = settings(bridge_days=bridge, horizon_days=60)
    now, state = datetime(2026, 1, 1, tzinfo=UTC), None
    for position, (days, hours) in enumerate(steps):
        now += timedelta(hours=hours)
        found = result([CalendarDay(date=d, name="x") for d in days], day("2026-01-01"), day("2026-12-31"), "test")
        # The calendar's whole year is covered, so that nothing but the days themselves decides.
        found = replace(found, covers_from=day("2026-01-01"), covers_to=day("2026-12-31"))
        snapshot = replace(assess(calendar, found, None, now), refused="", refused_code="")
        snapshot = replace(snapshot, days=found.days, covers_from=found.covers_from, covers_to=found.covers_to)
        before, state = state, fold_snapshot(state, snapshot, position, now)
        assert fold_snapshot(state, snapshot, position, now) is state
        again = fold_snapshot(state, snapshot, position + 1, now)
        assert again is state
        today = now.astimezone(SEOUL).date()
        ids = [r.request_id for r in requests_of(state)]
        assert len(ids) == len(set(ids))
        for peak in state.peaks if state is not before else ():
            assert len(peak.requests) == (1 if peak.withdrawn else 2)
            assert peak.event_date >= today - timedelta(days=1)
            if not peak.withdrawn and peak.event_date > today + timedelta(days=1):
                assert peak.event_date not in days
