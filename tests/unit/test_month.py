"""A month of the log on one timeline: as it was, whatever became of it later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from support.asking import LEVELS, at, delete, scale_in, scale_out
from support.memory_log import CATALOGUE, CODEC, MemoryLog
from support.simulator import World

from peaktime.cli.audit_plot import month_of
from peaktime.errors import SettingsError
from processors.replay.chart import Step
from processors.replay.drawing import svg
from processors.replay.findings import Groups, Scope
from processors.replay.month import Month
from processors.replay.picture import picture
from processors.replay.session import Session
from schemas.records import RequestAction

ZONE = "Asia/Seoul"
DAY = 24 * 60
#: May 2026 in Seoul.
FIRST, LAST = datetime(2026, 4, 30, 15, tzinfo=UTC), datetime(2026, 5, 31, 15, tzinfo=UTC)
GROUPS = Groups(fold="f", announce="a", sink="s")


def level_of(action, _target, _day, band):
    level = LEVELS.get(band)
    return None if level is None else level if action is RequestAction.SCALE_OUT else level % 2


class Life:
    """A world whose log can be read again: requests and reports with the log times at which they came."""

    def __init__(self):
        self.world = World()
        self.log = MemoryLog()
        self.told = 0

    def ask(self, request, minute):
        self.until(minute)
        self.log.send(request, at=at(minute))
        self.world.ask(request)
        self.until(minute)

    def until(self, minute):
        self.world.until(minute)
        for outcome in self.world.outcomes[self.told :]:
            self.log.send(outcome, spec=CATALOGUE.outcomes, at=outcome.at)
        self.told = len(self.world.outcomes)

    def chart(self, first=FIRST, last=LAST, until=None, target=None):
        month = Month(first, last, ZONE, target, level_of)
        scope = Scope(compare=False, zone=ZONE, until=until)
        report = Session(self.log, CODEC, CATALOGUE, GROUPS, scope).run(month.step)
        return month.chart(report.entries)


@pytest.fixture
def life():
    """One event that ran, one in it that failed, a refused request, and an event that was taken back in time."""
    life = Life()
    life.world.fails = lambda name: "morning" in name
    life.ask(scale_out("a", 60, 240, title="봄 행사"), 0)
    life.ask(scale_in("a-in", 240, title="봄 행사"), 1)
    life.ask(scale_out("a", 60, 240, title="봄 행사"), 2)
    life.ask(scale_out("b", 120, 180, date="2026-05-05", band="morning", title="Strong"), 3)
    life.ask(scale_out("x", 500, 400, date="2026-05-06"), 4)
    life.ask(scale_out("c", 5 * DAY, 5 * DAY + 60, date="2026-05-09", title="Never"), 5)
    life.ask(delete("c-del", date="2026-05-09"), 300)
    life.until(2 * DAY)
    return life


def marks(strip):
    return [(mark.shape, mark.look) for mark in strip.marks]


def test_requests_windows_runs_and_levels(life):
    shown = life.chart()
    assert shown.title == "What was asked and done, Fri 2026-05-01 to Sun 2026-05-31 (Asia/Seoul)"
    (lane,) = shown.lanes
    (requests,) = lane.above
    assert marks(requests) == [
        ("out", "accepted"), ("in", "accepted"), ("out", "duplicate"), ("out", "accepted"), ("out", "rejected"),
        ("out", "accepted"), ("delete", "withdrawn"),
    ]  # fmt: skip
    assert [(one.label, one.level) for one in lane.bars] == [
        ("봄 행사  10:00-13:00", 1),
        ("Strong  11:00-12:00", 2),
    ]
    runs = next(strip for strip in lane.below if strip.name == "runs")
    assert sorted(marks(runs)) == sorted(
        [("out", "succeeded"), ("out", "failed"), ("out", "succeeded"), ("in", "succeeded"), ("out", "removed")],
    )
    assert [step.level for step in lane.ran] == [0, 1, 2, 1, 1]
    assert lane.planned == (Step(FIRST, 0), Step(at(60), 1), Step(at(120), 2), Step(at(180), 1), Step(at(240), 1))
    assert shown.line is not None
    assert shown.line[1] == "the log ends"
    assert lane.known_until == shown.line[0]


def test_what_happens_after_a_window_does_not_take_it_out_of_the_picture(life):
    before = life.chart().lanes[0].bars
    life.ask(delete("late", owner="lee"), 6 * DAY)
    life.ask(scale_out("other", 9 * DAY, 9 * DAY + 60, date="2026-05-05", title="Another"), 7 * DAY)
    after = life.chart().lanes[0].bars
    assert after[: len(before)] == before
    assert [one.label for one in after[len(before) :]] == ["Another  09:00-10:00"]


def test_an_event_that_was_dropped_by_now_is_still_drawn(life):
    before = life.chart(until=LAST).lanes[0].bars
    life.ask(scale_out("new", 100 * DAY, 100 * DAY + 60, date="2026-08-12"), 95 * DAY)
    assert "infra/pa/2026-05-04" not in life.world.log.entries.by_key
    assert life.chart().lanes[0].bars == before


def test_what_was_asked_after_the_month_is_not_in_it(life):
    shown = life.chart(last=at(100))
    (lane,) = shown.lanes
    assert len(lane.above[0].marks) == 6
    life.ask(scale_out("later", 4 * DAY, 4 * DAY + 30, date="2026-05-08", title="Later"), 3 * DAY)
    assert life.chart(last=at(100)) == shown
    assert shown.line is None


def test_a_month_begins_at_the_level_that_the_last_run_before_it_led_to(life):
    (lane,) = life.chart(first=at(150), last=at(230)).lanes
    assert [step.level for step in lane.ran] == [2, 1]
    assert [step.level for step in lane.planned] == [2, 1]
    assert [mark.look for mark in lane.above[0].marks] == []


def test_a_window_that_was_cut_is_shown_as_cut():
    life = Life()
    life.ask(scale_out("a", 60, 240), 0)
    life.ask(delete("d"), 100)
    life.until(DAY)
    (one,) = life.chart().lanes[0].bars
    assert (one.cut, one.ends_at) == (True, at(100))


def test_problems_are_told_where_they_opened():
    life = Life()
    life.ask(scale_out("a", 60, 240, band="dawn"), 0)
    (lane,) = life.chart().lanes
    (problem,) = next(strip for strip in lane.below if strip.name == "problems").marks
    assert problem.look == "problem"
    assert "infra-common-dawn" in problem.tip


def test_one_target_and_none(life):
    assert [lane.target for lane in life.chart(target="infra").lanes] == ["infra"]
    assert life.chart(target="app").lanes == ()
    assert life.chart(first=LAST, last=LAST + timedelta(days=30)).lanes == ()


def test_an_entry_that_stood_before_the_log_begins_is_drawn(life):
    entry = life.world.log.entries.by_key["infra/pa/2026-05-04"]
    month = Month(FIRST, LAST, ZONE, None, level_of)
    (lane,) = month.chart({entry.key: entry}).lanes
    assert [one.label for one in lane.bars] == ["봄 행사  10:00-13:00"]


def test_the_level_is_the_one_that_runs_told_not_what_is_configured_by_now(life):
    month = Month(FIRST, LAST, ZONE, None, lambda *_: 5)
    report = Session(life.log, CODEC, CATALOGUE, GROUPS, Scope(compare=False)).run(month.step)
    assert [one.level for one in month.chart(report.entries).lanes[0].bars] == [1, 2]


def test_the_same_log_gives_the_same_bytes(life):
    assert svg(picture(life.chart())) == svg(picture(life.chart()))


def test_the_bounds_of_a_month_are_local():
    zone = ZoneInfo(ZONE)
    assert month_of("2026-05", zone) == (FIRST, LAST)
    assert month_of("2026-12", zone)[1] == datetime(2026, 12, 31, 15, tzinfo=UTC)
    for wrong in ("2026-13", "2026", "May", "2026-05-01", "9999-12", "0001-01"):
        with pytest.raises(SettingsError, match="is no month"):
            month_of(wrong, zone)
