"""What is told by the clock alone, and whether a firing is ready: in a small simulated world."""

import json
from datetime import time, timedelta

import pytest
from support.asking import at, delete, pause, profile, profiles, resume, scale_in, scale_out
from support.simulator import World

from peaktime.core.actions import Template
from peaktime.core.runs import HANDS_OFF
from schemas.records import RequestAction

OUT = "peaktime-create-infra-common-common-20260504"

HOUR = timedelta(hours=1)
READY = {"ready_before": timedelta(minutes=30)}
TEMPLATE = ("peaktime", "app-batch")
FITS = {TEMPLATE: Template(names=frozenset({"scale", "other"}))}


def told(world, kind):
    return [outcome for outcome in world.outcomes if outcome.kind == kind]


@pytest.fixture
def reminding():
    return World(around={"remind_before": HOUR})


class TestReminder:
    def test_it_comes_once_that_long_before_the_event(self, reminding):
        reminding.ask(scale_out("a", 120), scale_in("b", 180))
        reminding.until(59)
        assert told(reminding, "REMINDER") == []
        reminding.until(300)
        (reminder,) = told(reminding, "REMINDER")
        assert (reminder.at, reminder.fires_at, reminder.action) == (at(60), at(120), RequestAction.SCALE_OUT)

    def test_not_of_what_was_asked_for_later_than_that(self, reminding):
        reminding.ask(scale_out("a", 45))
        reminding.until(60)
        assert told(reminding, "REMINDER") == []

    def test_again_if_the_event_moves(self, reminding):
        reminding.ask(scale_out("a", 120))
        reminding.until(70)
        reminding.ask(scale_out("c", 300, requested=70))
        reminding.until(310)
        assert [one.fires_at for one in told(reminding, "REMINDER")] == [at(120), at(300)]

    def test_not_of_what_was_withdrawn(self, reminding):
        reminding.ask(scale_out("a", 120))
        reminding.ask(delete("d", requested=1))
        reminding.until(200)
        assert told(reminding, "REMINDER") == []

    def test_a_window_in_force_again_is_no_event(self, reminding):
        reminding.ask(scale_out("a", 70, 300), scale_out("b", 130, 200, date="2026-05-05", band="night"))
        reminding.until(320)
        assert [one.fires_at for one in told(reminding, "REMINDER")] == [at(70), at(130)]

    def test_it_says_that_the_target_is_paused(self, reminding):
        reminding.ask(scale_out("a", 120))
        reminding.ask(pause())
        reminding.until(61)
        assert "infra is paused by jun (load test)" in told(reminding, "REMINDER")[0].message


@pytest.fixture
def digesting():
    """A world that tells the coming two days at 18:00 in Seoul, which is minute 540."""
    return World(around={"digest_at": time(18), "digest_days": 2})


class TestDigest:
    def test_it_comes_once_each_evening_while_something_is_coming(self, digesting):
        digesting.ask(scale_out("a", 3000), scale_in("b", 3100))
        digesting.until(4000)
        days = [one.subject for one in told(digesting, "DIGEST")]
        assert days == ["digest/infra/2026-05-04", "digest/infra/2026-05-05"]
        assert [one.at for one in told(digesting, "DIGEST")] == [at(540), at(540 + 1440)]

    def test_it_names_what_will_run_in_order_and_by_whom(self, digesting):
        digesting.ask(
            scale_out("a", 700, title="Spring sale"), scale_in("b", 800), scale_out("far", 5000, date="2026-05-09")
        )
        digesting.until(600)
        (one,) = told(digesting, "DIGEST")
        head, *lines = one.message.splitlines()
        assert head == "The next 2 days (Asia/Seoul):"
        assert lines == [
            "• Mon 2026-05-04 20:40 scale-out to level 1: Spring sale (mina)",
            "• Mon 2026-05-04 22:20 scale-in to level 1: Sale (mina)",
        ]

    def test_not_for_a_target_with_nothing_to_come(self, digesting):
        digesting.ask(scale_out("a", 100), scale_in("b", 200))
        digesting.until(2000)
        assert told(digesting, "DIGEST") == []

    def test_a_worker_that_starts_late_in_the_evening_tells_it_still(self, digesting):
        digesting.minute = 700
        digesting.ask(scale_out("a", 800, requested=600))
        assert [one.at for one in told(digesting, "DIGEST")] == [at(540)]

    def test_it_says_that_the_target_is_paused(self, digesting):
        digesting.ask(scale_out("a", 700))
        digesting.ask(pause())
        digesting.until(550)
        assert told(digesting, "DIGEST")[0].message.startswith("infra is paused by jun")


class TestConfigured:
    def settings(self, **members):
        return {"profiles": json.dumps(members)}

    def test_the_settings_in_force_are_reported_once(self):
        world = World(around={"configuration": self.settings(a=1)})
        world.ask(scale_out("a", 60), scale_in("b", 120))
        world.until(200)
        (one,) = told(world, "CONFIGURED")
        assert one.details == self.settings(a=1)
        assert world.outcomes[0] is one

    def test_a_change_is_reported_and_says_what_changed(self):
        world = World(around={"configuration": self.settings(a=1, b=1)})
        world.ask(scale_out("a", 60))
        world.around = {"configuration": self.settings(b=2, c=1)}
        world.look()
        world.around = {"configuration": self.settings(a=1, b=1)}
        world.look()
        world.look()
        assert [one.message for one in told(world, "CONFIGURED")] == [
            "These settings are in force.",
            "profiles: added c; removed a; changed b",
            "profiles: added a; removed c; changed b",
        ]
        assert len({one.outcome_id for one in world.outcomes}) == len(world.outcomes)


class TestSlow:
    def test_a_run_that_takes_longer_than_expected_is_reported_once(self):
        world = World(profiles=profiles(profile(expected_seconds=120)), run_minutes=5)
        world.ask(scale_out("a", 60))
        world.until(100)
        assert world.kinds(OUT) == ["SCHEDULED", "STARTED", "SLOW", "SUCCEEDED"]
        assert told(world, "SLOW")[0].at == at(62)
        (fact,) = [fact for fact in world.facts.by_subject.values() if OUT in fact.subject]
        assert (fact.state, fact.slow) == ("SUCCEEDED", True)

    def test_one_that_is_in_time_is_not(self):
        world = World(profiles=profiles(profile(expected_seconds=120)), run_minutes=2)
        world.ask(scale_out("a", 60))
        world.until(100)
        assert world.kinds(OUT) == ["SCHEDULED", "STARTED", "SUCCEEDED"]


class TestReadiness:
    def world(self, templates):
        world = World(around=READY, templates=templates)
        world.ask(scale_out("a", 60), scale_in("b", 120))
        return world

    def problem(self, world):
        return next(one.message for one in told(world, "PROBLEM_OPENED"))

    def test_with_everything_there_nobody_is_troubled(self):
        world = self.world(FITS)
        world.until(200)
        assert told(world, "PROBLEM_OPENED") == []

    @pytest.mark.parametrize(
        ("found", "words"),
        [
            (Template(), "there is no WorkflowTemplate app-batch in namespace peaktime"),
            (Template(names=frozenset({"x"})), "has no template 'scale'"),
            (Template(trouble="403 forbidden"), "cannot be read: 403 forbidden"),
        ],
    )
    def test_half_an_hour_before_a_template_that_does_not_fit_is_a_problem(self, found, words):
        world = self.world({TEMPLATE: found})
        world.until(29.9)
        assert world.problems() == set()
        world.until(30)
        assert world.problems() == {"not-ready"}
        assert words in self.problem(world)
        assert "scale-out of 'Sale'" in self.problem(world)

    def test_mended_it_is_over(self):
        world = self.world({TEMPLATE: Template()})
        world.until(31)
        world.templates = FITS
        world.look()
        assert world.problems() == set()

    def test_what_is_not_known_of_a_template_is_no_problem(self):
        world = self.world({})
        world.until(59)
        assert world.problems() == set()

    def test_suspended_by_hand_is_a_problem_before_and_until_it_has_run(self):
        world = self.world(FITS)
        world.crons[OUT]["spec"]["suspend"] = True
        world.until(30)
        assert world.problems() == {"not-ready"}
        assert "suspended by hand" in self.problem(world)
        world.until(60.5)
        assert world.problems() == {"not-ready"}
        world.crons[OUT]["spec"]["suspend"] = False
        world.until(70)
        assert [one.minute for one in world.began] == [61]
        assert world.problems() == set()

    def test_a_paused_target_is_a_problem_before(self):
        world = self.world(FITS)
        world.ask(pause())
        world.until(30)
        assert world.problems() == {"not-ready"}
        world.ask(resume(requested=31))
        assert world.problems() == set()

    def test_hands_off_is_told_with_what_is_not_as_planned(self):
        world = self.world(FITS)
        world.crons[OUT]["metadata"]["labels"][HANDS_OFF] = "true"
        world.crons[OUT]["spec"]["timezone"] = "UTC"
        world.until(31)
        assert world.problems() == {"hands-off", "not-ready"}

    def test_an_object_that_is_being_deleted_and_stays_is_told(self):
        world = self.world(FITS)
        world.crons[OUT]["metadata"]["deletionTimestamp"] = "2026-05-04T00:00:00Z"
        world.until(31)
        assert "is being deleted" in self.problem(world)

    def test_one_of_a_higher_position_is_told_if_it_is_not_as_planned(self):
        world = self.world(FITS)
        world.crons[OUT]["metadata"]["annotations"]["peaktime.io/position"] = "99"
        world.until(31)
        assert world.problems() == set()
        world.crons[OUT]["spec"]["timezone"] = "UTC"
        world.look()
        assert "had read further, and spec.timezone is not as planned" in self.problem(world)

    def test_a_write_that_fails_is_told(self):
        world = self.world(FITS)
        world.around = {**READY, "failing": {OUT: "403 no"}}
        world.until(31)
        assert "cannot be written: 403 no" in self.problem(world)

    def test_a_profile_that_would_be_refused_is_known_at_once(self):
        world = World(around={"refusals": {"infra-common-common": "no such class"}})
        world.ask(scale_out("a", 6000))
        assert world.problems() == {"refused-profile"}
        world.around = {}
        world.look()
        assert world.problems() == set()
