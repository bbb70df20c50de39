"""When a calendar is stale: what is reported, and how often."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.calendars import seoul

from peaktime.core.messages import notifications_of_fact
from peaktime.core.outcomes import fold_outcome
from peaktime.core.staleness import stale_report
from peaktime.metrics import Metrics
from processors.fold.rows import CalendarRows, FactRows
from processors.reconcile import stale
from schemas.codec import Codec
from schemas.records import CalendarState, FactState, NotificationKind, OutcomeKind

ZONE = "Asia/Seoul"
GOOD = seoul("2026-05-04T09:00")
STATE = CalendarState(calendar_id="kr", position=3, log_time=GOOD, target="infra", good_at=GOOD)


def report(hours, state=STATE):
    return stale_report(state, GOOD + timedelta(hours=hours), ZONE, reporter="a worker")


def test_there_is_one_report_for_each_local_day():
    assert report(24) is None
    first = report(24.01)
    assert (first.kind, first.subject, first.target) == (
        OutcomeKind.CALENDAR_STALE,
        "calendar-stale/kr/2026-05-05",
        "infra",
    )
    assert (first.origin, first.reporter) == ("kr", "a worker")
    # Until midnight in the zone it is the same report.
    assert report(38.9).outcome_id == first.outcome_id
    assert report(39).subject == "calendar-stale/kr/2026-05-06"
    assert report(39).outcome_id != first.outcome_id


def test_it_says_since_when_how_long_is_too_long_and_what_was_refused():
    assert (
        report(25).message
        == "No good holiday feed for longer than 1 d. The last good one was read Mon 2026-05-04 09:00 (Asia/Seoul)."
    )
    short = replace(STATE, stale_after_minutes=90, refused="https://feed.example/kr.ics: is empty")
    assert report(1.4, short) is None
    assert report(2, short).message.startswith("No good holiday feed for longer than 1 h 30 min.")
    assert report(2, short).message.endswith("Refused since: https://feed.example/kr.ics: is empty.")
    never = replace(STATE, good_at=None, refused="x" * 2000)
    assert "None was ever good; the first was refused Mon 2026-05-04 09:00" in report(25, never).message
    assert len(report(25, never).message) < 700


def test_the_fact_takes_it_once_and_it_is_told_in_the_calendars_thread():
    outcome = report(25)
    fact = fold_outcome(None, outcome, 7, GOOD + timedelta(hours=25))
    assert fact.state is FactState.TOLD
    assert fold_outcome(fact, outcome, 8, GOOD + timedelta(hours=26)) is None
    (told,) = notifications_of_fact(fact, "peaktime.outcomes.v1/0/7", ZONE)
    assert (told.kind, told.thread) == (NotificationKind.CALENDAR_STALE, "calendar/kr")
    assert told.headline == "Calendar out of date: kr"
    assert outcome.message in told.text


# The looking --------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that stands still."""

    def __init__(self):
        self.time = datetime(2026, 5, 4, tzinfo=UTC)

    def now(self):
        return self.time


class Looking:
    """One worker with a calendar in partition 2, whose target is in partition 5."""

    def __init__(self):
        self.clock, self.sent, self.ours = Clock(), [], True
        codec = Codec()
        self.calendars, self.facts = CalendarRows(codec, "states"), FactRows(codec, "facts")
        self.calendars.put(2, replace(STATE, good_at=self.clock.time))
        self.looks = stale.StaleCalendars(
            calendars=self.calendars, facts=self.facts, clock=self.clock, zone=ZONE, may_report=self.may_report,
            report=self.sent.append, partition_of=lambda _: 5, metrics=Metrics(), reporter="a worker",
        )  # fmt: skip

    async def may_report(self, partition):
        assert partition == 2
        return self.ours

    def passes(self, hours):
        self.clock.time += timedelta(hours=hours)

    def folds(self):
        return self.facts.of(5, "infra").fold(self.sent[-1], len(self.sent), self.clock.time)


@pytest.fixture
def looking():
    return Looking()


async def test_a_stale_calendar_is_reported_once_until_the_next_day(looking):
    await looking.looks.look()
    assert looking.sent == []
    looking.passes(25)
    for _ in range(3):
        await looking.looks.look()
    assert len(looking.sent) == 1
    assert looking.folds()
    looking.looks.forget()
    await looking.looks.look()
    assert len(looking.sent) == 1
    looking.passes(24)
    await looking.looks.look()
    assert [outcome.subject for outcome in looking.sent] == [
        "calendar-stale/kr/2026-05-05",
        "calendar-stale/kr/2026-05-06",
    ]


async def test_a_report_that_no_fact_shows_is_repeated_after_a_while(looking, monkeypatch):
    looking.passes(25)
    await looking.looks.look()
    await looking.looks.look()
    assert len(looking.sent) == 1
    monkeypatch.setattr(stale, "REPORT_AGAIN", 0.0)
    await looking.looks.look()
    assert looking.sent[0] == looking.sent[1]
    assert looking.folds()
    await looking.looks.look()
    assert len(looking.sent) == 2


async def test_nothing_is_said_of_a_calendar_that_is_not_ours_or_has_snapshots_to_be_read(looking):
    looking.passes(25)
    looking.ours = False
    await looking.looks.look()
    assert looking.sent == []

    async def reading(_):
        looking.calendars.put(2, replace(STATE, position=4, good_at=looking.clock.time))
        return True

    looking.looks._may_report = reading
    await looking.looks.look()
    assert looking.sent == []
