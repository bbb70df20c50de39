"""A target of many entries is looked at part by part; what comes of it is what comes of looking at the whole."""

from dataclasses import replace
from datetime import time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.asking import Log, at, delete, level_of, pause, rerun, scale_in, scale_out
from support.histories import BANDS
from support.parts_world import PartsWorld, spread

from peaktime.core.actions import Create, Start
from peaktime.core.capacity import timeline
from peaktime.core.outcomes import Facts
from peaktime.core.parts import Parts

#: Start of an event that is far ahead (min).
FAR = 1440 * 20 * 5 + 300
TELLING = {
    "ready_before": timedelta(minutes=30),
    "remind_before": timedelta(minutes=60),
    "digest_at": time(10, 30),
    "configuration": {"profiles": "{}"},
}


def folded(history):
    log = Log()
    for request, minute in history:
        log.append(request, minute)
    return log


def closed_sets(parts, by_key):
    return {frozenset(parts.closed([key])) for key in by_key}


class TestParts:
    def log(self, *requests):
        log = Log()
        for request in requests:
            log.append(request)
        return log

    def test_entries_whose_windows_share_no_moment_are_judged_apart(self):
        log = self.log(
            scale_out("a", 60, 90),
            scale_out("b", 120, 150, date="2026-05-05"),
            scale_out("c", 140, 200, date="2026-05-06"),
            scale_out("d", 200, 210, date="2026-05-07"),
        )
        first, *others = log.entries.by_key
        parts = Parts(log.entries.by_key)
        assert closed_sets(parts, log.entries.by_key) == {frozenset([first]), frozenset(others)}
        assert parts.around(at(100), at(110)) == set()
        assert parts.around(at(90), at(120)) == {*log.entries.by_key}
        assert parts.before(at(199)) == set(others)

    def test_a_scale_in_of_another_entry_belongs_to_the_window_it_ends(self):
        log = self.log(scale_out("a", 60), scale_in("b", 120, date="2026-05-05"))
        parts = Parts(log.entries.by_key)
        assert closed_sets(parts, log.entries.by_key) == {frozenset(log.entries.by_key)}

    def test_what_a_withdrawn_event_held_together_is_looked_at_with_it(self):
        log = self.log(
            scale_out("a", 60, 90),
            scale_out("b", 80, 150, date="2026-05-05"),
            scale_out("c", 140, 200, date="2026-05-06"),
        )
        parts = Parts(log.entries.by_key)
        log.append(delete("d", date="2026-05-05"))
        assert parts.update(log.entries.by_key, log.changes) == {*log.entries.by_key}
        assert len(closed_sets(parts, log.entries.by_key)) == 3

    def test_a_window_without_an_end_takes_along_all_that_it_may_reach(self):
        log = self.log(scale_out("a", 200, 230), scale_out("b", 300, 330, date="2026-05-05"))
        parts = Parts(log.entries.by_key)
        log.append(scale_out("c", 60, date="2026-05-06"))
        assert parts.update(log.entries.by_key, log.changes) == {*log.entries.by_key}

    @given(spread())
    def test_closed_sets_have_their_timelines_to_themselves(self, history):
        log = Log()
        parts = Parts({})
        for request, minute in history:
            log.append(request, minute)
            by_key = log.entries.by_key
            before = closed_sets(parts, by_key)
            changed = parts.update(by_key, log.changes)
            now = closed_sets(parts, by_key)
            assert now == closed_sets(Parts(by_key), by_key), "kept up is as good as made anew"
            assert all(members <= changed for members in now ^ before)
            whole = timeline(by_key.values(), level_of)
            apart = [timeline([by_key[key] for key in members], level_of) for members in now]
            for field in ("windows", "firings", "stretches", "oddities"):
                ours = [one for line in apart for one in getattr(line, field)]
                assert sorted(map(repr, ours)) == sorted(map(repr, getattr(whole, field)))


@given(spread(most=5), st.data())
def test_facts_are_found_by_their_entry(history, data):
    world = PartsWorld()
    for request, minute in history:
        world.until(minute)
        world.ask(request)
    facts = world.facts
    for subject in data.draw(st.lists(st.sampled_from([*facts.by_subject, "nothing"]), max_size=3)):
        facts.drop(subject)
    for known in (facts, restored(facts)):
        by_entry = {}
        for subject, fact in facts.by_subject.items():
            by_entry.setdefault(fact.outcome.entry, set()).add(subject)
        assert {key: set(known.of_entry(key)) for key in known.entries()} == by_entry
        assert known.going == {s for s, f in facts.by_subject.items() if s.startswith("run/") and f.state == "STARTED"}


def restored(facts):
    again = Facts()
    for fact in facts.by_subject.values():
        again.restore(replace(fact, outcome=replace(fact.outcome, entry="another"), position=fact.position - 1))
        again.restore(fact)
    return again


@st.composite
def lives(draw, **options):
    history = draw(spread(**options))
    down = set(draw(st.lists(st.integers(0, 90), max_size=12)))
    return history, {5 * minute for minute in down}, draw(st.booleans()), draw(st.integers(1, 3))


def run_again(world, name):
    run = world.workflows.get(name) or world.workflows.get(world.began[-1].workflow if world.began else "")
    if run is not None:
        _, origin, date = run["metadata"]["annotations"]["peaktime.io/entry"].split("/")
        world.ask(rerun(run["metadata"]["name"], f"again-{len(world.log.records)}", date=date, origin=origin))


def mark(world, name):
    annotations = world.crons[name]["metadata"]["annotations"]
    annotations["peaktime.io/hands-off"] = "false" if annotations.get("peaktime.io/hands-off") == "true" else "true"
    world.touch(world.crons[name])


def suspend(world, name):
    world.crons[name]["spec"]["suspend"] = not world.crons[name]["spec"].get("suspend")
    world.touch(world.crons[name])


def disown(world, name):
    world.crons[name]["metadata"]["labels"].pop("app.kubernetes.io/managed-by", None)
    world.touch(world.crons[name])


def remove(world, name):
    del world.crons[name]


#: What people and other programs do to the cluster behind our back.
MEDDLING = [run_again, mark, suspend, disown, remove]


class TestLookingPartByPart:
    # No plan says when an unknown profile ceases to matter, so that is left to the slow round.
    @given(lives(bands=BANDS))
    def test_nothing_is_left_for_a_look_at_the_whole(self, life):
        self.follow(life, [])

    @given(lives(bands=BANDS), st.lists(st.tuples(st.sampled_from([None, *MEDDLING]), st.integers(0, 9)), max_size=12))
    def test_nothing_is_left_whatever_others_do_to_the_cluster(self, life, meddling):
        self.follow(life, meddling)

    def follow(self, life, meddling):
        history, down, failing, chunk = life
        world = PartsWorld(
            chunk=chunk,
            misses=down.__contains__,
            fails=lambda name: failing and "create" in name,
            around=TELLING,
            run_minutes=3,
        )
        world.look()
        for number, (request, minute) in enumerate(history):
            world.until(minute)
            self.nothing_left(world)
            world.ask(request)
            self.nothing_left(world)
            following = history[number + 1][1] if number + 1 < len(history) else 700
            meddle, pick = meddling[number] if number < len(meddling) else (None, 0)
            if meddle is not None and world.crons:
                meddle(world, sorted(world.crons)[pick % len(world.crons)])
                world.look()
                self.nothing_left(world)
            while world.look_again is not None and world.look_again < at(following):
                world.until((world.look_again - at(0)) / timedelta(minutes=1))
                self.nothing_left(world)

    def nothing_left(self, world):
        whole = world.whole()
        assert (whole.writes, whole.reports) == ((), ())
        if whole.look_again is not None:
            assert world.look_again is not None
            assert world.look_again <= whole.look_again

    @given(lives())
    def test_all_parts_together_say_what_the_whole_says(self, life):
        """Whatever has not been done yet: with reports and writes withheld, a round through it all finds just those."""
        history, down, failing, chunk = life
        world = PartsWorld(misses=down.__contains__, fails=lambda name: failing and "create" in name, around=TELLING)
        cut = len(history) * 2 // 3
        for request, minute in history[:cut]:
            world.until(minute)
            world.ask(request)
        world.until(history[cut][1] if cut < len(history) else 700)
        for request, _ in history[cut:]:
            world.log.append(request, world.minute)
        world.minute += 7
        world.controller()
        whole = world.whole()
        decider = world.new_decider(chunk)
        plans = []
        while (look := decider.look("infra")) is not None:
            plans.append(look.plan)
        assert {repr(write) for one in plans for write in one.writes} == set(map(repr, whole.writes))
        assert {repr(report) for one in plans for report in one.reports} == set(map(repr, whole.reports))
        assert {repr(problem) for one in plans for problem in one.problems} == set(map(repr, whole.problems))


class TestWhatIsLookedAt:
    @pytest.fixture
    def world(self):
        """Ten events of half an hour, twenty days apart, that were looked at."""
        world = PartsWorld(chunk=3)
        for number in range(10):
            start = 1440 * 20 * number + 300
            world.ask(scale_out(f"a{number}", start, start + 30, date=f"2026-05-{10 + number}"))
        world.looks.clear()
        return world

    def test_a_change_far_ahead_is_looked_at_by_itself(self, world):
        world.ask(scale_out("b", FAR + 20, FAR + 90, date="2026-05-20"))
        first, *rest = world.looks
        assert [type(write) for write in first.plan.writes] == [Create]
        assert {len(look.part.keys) for look in world.looks} == {2}
        assert not any(look.part.present or look.part.wide for look in world.looks)
        assert [report.kind for look in rest for report in look.plan.reports] == ["SCHEDULED"]

    def test_nothing_is_looked_at_while_nothing_changes(self, world):
        world.look()
        assert world.looks == []

    def test_a_firing_is_looked_at_with_the_present(self, world):
        world.until(301)
        mine = [look for look in world.looks if "infra/pa/2026-05-10" in look.part.keys]
        assert mine
        assert all(look.part.present for look in mine)
        assert world.kinds("20260510") == ["SCHEDULED", "STARTED", "SUCCEEDED"]

    def test_a_pause_is_everybodys_affair(self, world):
        world.ask(pause("p"))
        assert {key for look in world.looks for key in look.part.keys} >= {*world.log.entries.by_key}
        assert all(cron["spec"]["suspend"] for cron in world.crons.values())

    def test_a_run_is_run_again_when_an_operator_asks(self, world):
        world.until(310)
        world.ask(rerun(world.began[-1].workflow, date="2026-05-10"))
        assert [type(write) for look in world.looks for write in look.plan.writes if isinstance(write, Start)] == [
            Start
        ]

    def test_a_foreign_object_in_the_way_is_seen(self, world):
        name = next(iter(world.crons))
        world.crons[name]["metadata"]["labels"] = {}
        world.touch(world.crons[name])
        world.look()
        assert world.problems() == {"name-taken"}

    def test_an_object_that_nothing_explains_is_reported_and_closed_when_it_is_gone(self, world):
        stranger = world.crons[next(iter(world.crons))]
        metadata = {
            **stranger["metadata"],
            "name": "stranger",
            "annotations": {"peaktime.io/entry": "infra/pa/nothing"},
        }
        world.crons["stranger"] = {**stranger, "metadata": metadata}
        world.look()
        assert world.problems() == {"unexplained"}
        del world.crons["stranger"]
        world.look()
        assert world.problems() == set()

    def test_what_was_folded_without_a_word_is_noticed(self, world):
        world.log.append(delete("d", date="2026-05-12"))
        assert world.whole().writes != ()
        world.look()
        assert world.whole().writes == ()

    def test_a_write_that_was_not_done_is_looked_at_again(self, world):
        world.log.append(scale_out("b", FAR + 20, FAR + 90, date="2026-05-20"))
        world.decider.folded("infra", world.log.changes, ())
        world.seen()
        look = world.decider.look("infra")
        assert world.decider.look("infra") is None
        world.decider.looked("infra", look, reported_again=9, again=0.0)
        assert world.decider.look("infra").plan.writes == look.plan.writes

    def test_a_run_that_goes_on_holds_up_what_is_owed_whosever_it_is(self):
        world = PartsWorld(run_minutes=30, misses=lambda minute: minute >= 64)
        world.ask(scale_out("a", 60, 62))
        world.ask(scale_out("b", 64, 80, date="2026-05-05", band="night"))
        world.until(69)
        assert [one.ours for one in world.began] == [False], "it is expected to take ten minutes"
        world.until(71)
        assert [one.ours for one in world.began] == [False, True]
