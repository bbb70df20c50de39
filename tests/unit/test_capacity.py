"""Capacity over time: windows, pairing and stretches by example, and against looking at every half minute."""

from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import oracle
from support.asking import LEVELS, Log, asked, at, delete, level_of, minute_of, scale_in, scale_out
from support.histories import BANDS, histories

from peaktime.core.capacity import timeline
from schemas.records import RequestAction

DATES = [f"2026-05-{day:02}" for day in range(4, 20)]


def event(number, start, end=None, back=None, **fields):
    """An event of its own date: a scale-out from start to end, and its scale-in if it asks for one."""
    requests = [scale_out(f"out-{number}", start, end, date=DATES[number], **fields)]
    if back is not None:
        requests.append(scale_in(f"in-{number}", back, date=DATES[number], **fields))
    return requests


def line_of(*requests, minute=0.0):
    """The timeline of requests that all reach the log at one minute, or at the minute beside each."""
    log = Log()
    for each in requests:
        request, when = each if isinstance(each, tuple) else (each, minute)
        log.append(request, when)
    return timeline(log.entries.by_key.values(), level_of)


def fired(line):
    return [
        (minute_of(f.instant), "out" if f.action is RequestAction.SCALE_OUT else "in", f.by.request_id)
        for f in line.firings
    ]


def windows(line):
    return [(minute_of(w.starts_at), w.ends_at and minute_of(w.ends_at), w.level) for w in line.windows]


class TestOneEvent:
    def test_it_scales_out_at_its_start_and_in_at_its_end(self):
        assert fired(line_of(*event(0, 60, back=120))) == [(60, "out", "out-0"), (120, "in", "in-0")]

    def test_the_window_is_half_open(self):
        line = line_of(*event(0, 60, back=120))
        in_force = [line.in_force(at(minute)) is not None for minute in (59.9, 60, 119.9, 120)]
        assert in_force == [False, True, True, False]

    def test_if_nobody_asked_for_a_scale_in_nothing_fires_at_the_end(self):
        line = line_of(*event(0, 60, 120))
        assert fired(line) == [(60, "out", "out-0")]
        assert [(minute_of(s.starts_at), minute_of(s.ends_at), s.scale_in) for s in line.stretches] == [(60, 120, None)]

    def test_the_end_is_the_one_stated_by_the_action_that_changed_last(self):
        assert windows(line_of(*event(0, 60, 130, back=120))) == [(60, 120, 1)]
        assert windows(line_of(*reversed(event(0, 60, 130, back=120)))) == [(60, 130, 1)]

    def test_the_scale_in_fires_where_the_scale_out_says_the_end_is(self):
        assert fired(line_of(*reversed(event(0, 60, 130, back=120))))[-1] == (130, "in", "in-0")

    def test_the_two_actions_have_their_own_variants(self):
        log = Log()
        log.append(scale_out("a", 60, band="night"))
        log.append(scale_in("b", 120, band="morning"))
        line = timeline(log.entries.by_key.values(), level_of)
        assert [f.by.band for f in line.firings] == ["night", "morning"]
        assert line.windows[0].level == LEVELS["night"]

    def test_an_end_not_after_the_start_is_no_window_and_an_oddity(self):
        line = line_of(*event(0, 60, back=60))
        assert (line.windows, line.firings) == ((), ())
        assert [(o.code, o.entry, o.since) for o in line.oddities] == [
            ("end-before-start", "infra/pa/2026-05-04", at(0)),
        ]

    def test_an_unknown_profile_is_no_window(self):
        line = line_of(*event(0, 60, 120, band="unheard"))
        assert (line.windows, line.firings) == ((), ())

    def test_a_window_without_an_end_is_an_oddity_after_a_day(self):
        line = line_of(*event(0, 60))
        assert windows(line) == [(60, None, 1)]
        assert [(o.code, o.since) for o in line.oddities] == [("no-end", at(60) + timedelta(hours=24))]
        assert line.in_force(at(100_000)) is not None
        assert line.stretches[0].ends_at is None


class TestOneSided:
    def test_a_scale_in_alone_fires_at_its_end_if_no_window_is_open(self):
        assert fired(line_of(scale_in("a", 60))) == [(60, "in", "a")]

    def test_otherwise_it_counts_as_a_window_of_the_stretch_that_closes_there(self):
        lone = scale_in("lone", 90, date="2026-06-01")
        assert fired(line_of(*event(0, 60, 120), lone)) == [(60, "out", "out-0"), (120, "in", "lone")]
        assert fired(line_of(*event(0, 60, back=120), lone))[-1] == (120, "in", "in-0"), "that closed later"

    def test_where_a_window_opens_it_is_open_and_where_it_closes_it_is_not(self):
        lone = scale_in("lone", 60, date="2026-06-01")
        assert fired(line_of(*event(0, 60, 120), lone)) == [(60, "out", "out-0"), (120, "in", "lone")]
        lone = scale_in("lone", 120, date="2026-06-01")
        assert fired(line_of(*event(0, 60, 120), lone)) == [(60, "out", "out-0"), (120, "in", "lone")]

    def test_two_at_one_instant_are_one_firing_of_the_higher_key(self):
        assert fired(line_of(scale_in("a", 60, date="2026-06-02"), scale_in("b", 60, date="2026-06-01"))) == [
            (60, "in", "a"),
        ]

    def test_the_two_calls_of_todays_pa_with_different_dates_find_each_other(self):
        line = line_of(scale_out("a", 60), scale_in("b", 120, date="2026-06-01"))
        assert windows(line) == [(60, 120, 1)]
        assert fired(line) == [(60, "out", "a"), (120, "in", "b")]
        assert line.oddities == ()

    def test_each_ends_the_earliest_started_that_began_before_it(self):
        outs = [scale_out(f"o{n}", 60 + 10 * n, date=DATES[n]) for n in (1, 0, 2)]
        ins = [scale_in(f"i{n}", when, date=DATES[n + 8]) for n, when in enumerate((75, 65, 300))]
        assert windows(line_of(*outs, *ins)) == [(60, 65, 1), (70, 75, 1), (80, 300, 1)]

    def test_it_ends_none_that_begins_at_or_after_it(self):
        line = line_of(scale_out("a", 60), scale_in("b", 60, date="2026-06-01"))
        assert windows(line) == [(60, None, 1)]

    def test_it_ends_none_of_another_origin(self):
        line = line_of(scale_out("a", 60), scale_in("b", 120, origin="operator"))
        assert windows(line) == [(60, None, 1)]

    def test_it_ends_none_whose_end_is_stated(self):
        line = line_of(scale_out("a", 60, 200), scale_in("b", 120, date="2026-06-01"))
        assert windows(line) == [(60, 200, 1)]

    def test_it_may_come_late(self):
        line = line_of(scale_out("a", 60), (scale_in("b", 120, date="2026-06-01"), 150))
        assert fired(line) == [(60, "out", "a"), (120, "in", "b")]
        assert line.firings[-1].since == at(150)

    def test_who_has_a_window_does_not_depend_on_which_profiles_are_known(self):
        requests = [
            scale_out("a", 60, band="unheard"),
            scale_out("b", 70, date=DATES[1]),
            scale_in("c", 100, date=DATES[2]),
        ]
        assert windows(line_of(*requests)) == [(70, None, 1)]


class TestOverlaps:
    def test_three_deep_each_change_of_the_window_in_force_fires(self):
        line = line_of(
            *event(0, 10, back=100),
            *event(1, 20, back=80, band="morning"),
            *event(2, 30, back=60, band="night"),
        )
        assert fired(line) == [
            (10, "out", "out-0"),
            (20, "out", "out-1"),
            (30, "out", "out-2"),
            (60, "out", "out-1"),
            (80, "out", "out-0"),
            (100, "in", "in-0"),
        ]

    def test_a_weaker_window_within_a_stronger_one_fires_nothing(self):
        line = line_of(*event(0, 10, back=100, band="night"), *event(1, 20, back=80))
        assert fired(line) == [(10, "out", "out-0"), (100, "in", "in-0")]

    def test_a_weaker_one_that_outlasts_a_stronger_one_comes_into_force(self):
        line = line_of(*event(0, 10, back=50, band="night"), *event(1, 20, back=80))
        assert fired(line) == [(10, "out", "out-0"), (50, "out", "out-1"), (80, "in", "in-1")]

    def test_of_equal_levels_the_later_start_is_in_force_then_the_higher_key(self):
        line = line_of(*event(0, 10, back=100, band="morning"), *event(1, 20, back=80, band="lunch"))
        assert fired(line)[:3] == [(10, "out", "out-0"), (20, "out", "out-1"), (80, "out", "out-0")]
        line = line_of(*event(1, 10, back=100), *event(0, 10, back=80))
        assert fired(line) == [(10, "out", "out-1"), (100, "in", "in-1")]

    def test_windows_that_touch_are_one_stretch(self):
        line = line_of(*event(0, 10, back=50), *event(1, 50, back=80))
        assert fired(line) == [(10, "out", "out-0"), (50, "out", "out-1"), (80, "in", "in-1")]
        assert len(line.stretches) == 1

    def test_windows_a_minute_apart_are_two(self):
        line = line_of(*event(0, 10, back=50), *event(1, 51, back=80))
        assert [kind for _, kind, _ in fired(line)] == ["out", "in", "out", "in"]
        assert len(line.stretches) == 2

    def test_the_scale_in_is_that_of_the_window_that_closed_last_among_those_that_asked(self):
        line = line_of(*event(0, 10, back=50), *event(1, 20, back=60), *event(2, 30, 100))
        assert fired(line)[-1] == (100, "in", "in-1")

    def test_of_two_that_closed_together_it_is_that_of_the_higher_key(self):
        assert fired(line_of(*event(1, 10, back=50), *event(0, 20, back=50)))[-1] == (50, "in", "in-1")

    def test_the_key_is_the_windows_whoever_ended_it(self):
        line = line_of(scale_out("a", 10, date=DATES[0]), scale_in("b", 50, date=DATES[9]), *event(1, 20, back=50))
        assert fired(line)[-1] == (50, "in", "in-1")

    def test_a_stretch_asks_for_itself_only(self):
        line = line_of(*event(0, 10, back=50), *event(1, 60, 80))
        assert [s.scale_in is not None for s in line.stretches] == [True, False]

    def test_events_of_other_origins_overlap_like_any(self):
        line = line_of(*event(0, 10, back=50), *event(0, 20, back=60, origin="operator", band="morning"))
        assert fired(line) == [(10, "out", "out-0"), (20, "out", "out-0"), (60, "in", "in-0")]

    def test_back_in_force_counts_from_what_ended_the_stronger_one(self):
        line = line_of(*event(0, 10, back=100), *event(1, 20, 80, band="night"), (scale_in("x", 40, date=DATES[1]), 45))
        assert fired(line)[2] == (45, "out", "out-0")
        assert line.firings[2].since == at(45)


class TestCut:
    def test_withdrawn_while_open_it_closes_then_with_the_scale_in_it_had(self):
        line = line_of(*event(0, 10, back=100), (delete("d"), 40.1))
        assert fired(line) == [(10, "out", "out-0"), (40.1, "in", "in-0")]
        assert line.stretches[0].cut

    def test_to_the_next_whole_second(self):
        line = line_of(*event(0, 10, back=100), (delete("d"), 40 + 0.3 / 60))
        assert line.firings[-1].instant == at(40) + timedelta(seconds=1)

    def test_without_a_scale_in_nothing_fires_and_the_stretch_says_it_was_cut(self):
        line = line_of(*event(0, 10, 100), (delete("d"), 40))
        assert fired(line) == [(10, "out", "out-0")]
        (stretch,) = line.stretches
        assert (stretch.cut, stretch.scale_in, stretch.ends_at) == (True, None, at(40))

    def test_withdrawn_before_it_opened_it_never_was(self):
        assert line_of(*event(0, 10, back=100), (delete("d"), 9)).firings == ()

    def test_moved_later_while_open_it_closes_and_opens_again(self):
        line = line_of(*event(0, 10, back=100), (scale_out("m", 120, 150), 40))
        assert windows(line) == [(10, 40, 1), (120, 150, 1)]
        assert fired(line) == [(10, "out", "out-0"), (40, "in", "in-0"), (120, "out", "m"), (150, "in", "in-0")]

    def test_moved_later_but_before_now_its_stretch_is_not_broken(self):
        line = line_of(*event(0, 10, back=100), (scale_out("m", 30), 40))
        assert [(minute_of(s.starts_at), minute_of(s.ends_at)) for s in line.stretches] == [(10, 100)]
        assert line.stretch_of(at(10), line.windows[0].entry) is line.stretches[0]
        assert fired(line)[-1] == (100, "in", "in-0")

    def test_asked_again_both_windows_count(self):
        line = line_of(*event(0, 10, back=100), (delete("d"), 40), (scale_out("again", 10, 60, requested=41), 41))
        assert windows(line) == [(10, 40, 1), (10, 60, 1)]
        assert fired(line) == [(10, "out", "again"), (60, "in", "in-0")]

    def test_ended_by_a_lone_scale_in_before_it_was_withdrawn(self):
        line = line_of(scale_out("a", 10), scale_in("b", 50, date=DATES[1]), (delete("d"), 80))
        assert windows(line) == [(10, 50, 1)]
        assert fired(line)[-1] == (50, "in", "b")

    def test_withdrawn_before_the_lone_scale_in_that_one_fires_by_itself(self):
        line = line_of(scale_out("a", 10), scale_in("b", 50, date=DATES[1]), (delete("d"), 30))
        assert windows(line) == [(10, 30, 1)]
        assert fired(line)[-1] == (50, "in", "b")

    def test_at_its_very_first_instant(self):
        line = line_of(*event(0, 10, back=100), (delete("d"), 10))
        assert fired(line) == [(10, "in", "in-0")]
        assert line.stretch_of(at(10), "infra/pa/2026-05-04") is line.stretches[0]


class TestStretchOfARun:
    line = line_of(*event(0, 10, back=50), *event(1, 60, back=80), *event(2, 100, 120))

    @pytest.mark.parametrize(
        ("minute", "found"),
        [(9, None), (10, 0), (49, 0), (50, None), (79, 1), (110, 2), (120, None)],
    )
    def test_it_is_the_one_that_its_instant_lies_in(self, minute, found):
        stretch = self.line.stretch_of(at(minute), "infra/pa/2099-01-01")
        assert stretch is (None if found is None else self.line.stretches[found])

    def test_if_the_past_was_moved_from_under_it_that_of_its_events_last_window(self):
        stretches = self.line.stretches
        assert self.line.stretch_of(at(90), f"infra/pa/{DATES[0]}") is stretches[0]
        assert self.line.stretch_of(at(90), f"infra/pa/{DATES[1]}") is stretches[1]
        assert self.line.stretch_of(at(90), f"infra/pa/{DATES[2]}") is None

    def test_of_an_event_that_was_moved_while_open_that_of_its_later_window(self):
        line = line_of(*event(0, 10, back=100), (scale_out("m", 120, 150), 40))
        assert line.stretch_of(at(160), f"infra/pa/{DATES[0]}") is line.stretches[1]

    def test_the_next_change_is_the_next_firing_or_the_end_of_a_stretch(self):
        assert [self.line.next_change(at(minute)) for minute in (0, 10, 100, 120)] == [at(10), at(50), at(120), None]

    def test_or_when_something_becomes_odd(self):
        assert line_of(scale_out("a", 60)).next_change(at(60)) == at(60) + timedelta(hours=24)


LENGTH = 120
TICKS = [at(tick / 2) for tick in range(-20, 2 * (2 * LENGTH + 220))]


def agrees_with_the_oracle(history):
    log = Log()
    for request, minute in history:
        log.append(request, minute)
    entries = list(log.entries.by_key.values())
    line = timeline(entries, level_of)
    looked = oracle.look(entries, level_of, TICKS[0], TICKS[-1])
    for tick in TICKS:
        force, should = line.in_force(tick), looked.in_force[tick]
        assert (force and (force.by.request_id, force.entry)) == (should and (should.out.request_id, should.key)), tick
        if should is not None:
            assert level_of(log.entries.by_key[force.entry], force.by) == should.level
    assert [(f.instant, f.action is RequestAction.SCALE_OUT, f.entry, f.by.request_id) for f in line.firings] == [
        (f.instant, f.out, f.key, f.request) for f in looked.fired
    ]
    assert [
        (s.starts_at, s.ends_at, s.scale_in and (s.scale_in.entry, s.scale_in.by.request_id)) for s in line.stretches
    ] == [(starts, ends, back and (back.key, back.request)) for starts, ends, back in looked.stretches]


class TestAgainstTheOracle:
    @given(histories(most=10, length=LENGTH, bands=(*BANDS, "unheard")))
    @example([(asked(RequestAction.SCALE_OUT, "a", 30), 0.0), (asked(RequestAction.SCALE_IN, "b", None, 20), 60.0)])
    def test_who_is_in_force_what_fires_and_what_each_stretch_ends_with(self, history):
        agrees_with_the_oracle(history)

    @given(histories(), st.randoms(use_true_random=False))
    def test_the_order_of_entries_does_not_matter(self, history, random):
        log = Log()
        for request, minute in history:
            log.append(request, minute)
        entries = list(log.entries.by_key.values())
        line = timeline(entries, level_of)
        random.shuffle(entries)
        assert timeline(entries, level_of) == line

    @given(histories())
    def test_firings_are_in_order_one_at_an_instant_and_end_every_stretch_that_asked(self, history):
        log = Log()
        for request, minute in history:
            log.append(request, minute)
        line = timeline(log.entries.by_key.values(), level_of)
        instants = [f.instant for f in line.firings]
        assert instants == sorted(set(instants))
        assert [f for f in line.firings if f.action is RequestAction.SCALE_IN] == [
            s.scale_in for s in line.stretches if s.scale_in is not None
        ]
