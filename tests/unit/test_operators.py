"""Operators' requests: what they do to entries, and what follows from them in a small simulated world."""

import pytest
from support.asking import DATE, Log, at, delete, operators, pause, rerun, resume, scale_in, scale_out
from support.simulator import World

from peaktime.core.actions import Apply
from peaktime.core.requests import expires_at
from peaktime.core.runs import HANDS_OFF, PAUSED
from schemas.records import RequestAction, VerdictKind

ACCEPTED, REPLACED, DUPLICATE = VerdictKind.ACCEPTED, VerdictKind.REPLACED, VerdictKind.DUPLICATE
STALE, REJECTED = VerdictKind.STALE, VerdictKind.REJECTED
PAUSE = "infra/operator/pause"
OUT = "peaktime-create-infra-common-common-20260504"
IN = "peaktime-delete-infra-common-common-20260504"


def child(name, minute):
    return f"{name}-{int(at(minute).timestamp())}"


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def world():
    return World()


class TestPauseOnTheLog:
    def test_it_is_one_entry_of_the_target_whatever_event_date_is_given(self, log):
        entry = log.append(pause(date="2026-05-04"))
        assert (entry.key, entry.verdict.kind) == (PAUSE, ACCEPTED)
        assert (entry.pause.owner, entry.pause.why) == ("jun", "load test")
        assert log.append(resume(date=""), 1).key == PAUSE

    def test_resumed_it_is_not_paused(self, log):
        log.append(pause())
        entry = log.append(resume(requested=-30), 1)
        assert (entry.pause, entry.verdict.kind, entry.verdict.previous_owner) == (None, ACCEPTED, "jun")

    def test_resuming_what_is_not_paused_says_so(self, log):
        verdict = log.verdict(resume())
        assert (verdict.kind, verdict.code, verdict.reason) == (ACCEPTED, "not-paused", "it was not paused")

    def test_the_same_again_is_a_duplicate_and_another_reason_replaces(self, log):
        log.append(pause("a"))
        assert log.verdict(pause("a")).code == "same-id"
        assert log.verdict(pause("b")).code == "same-content"
        verdict = log.verdict(pause("c", why="database is down", owner="mina"))
        assert verdict.kind is REPLACED
        assert [(c.field, c.before, c.after) for c in verdict.changes] == [
            ("owner", "jun", "mina"),
            ("why", "load test", "database is down"),
        ]

    def test_what_was_asked_for_before_the_last_word_is_stale(self, log):
        log.append(pause("a", requested=0))
        assert log.verdict(resume("b", requested=-1)).kind is STALE
        log.append(resume("c", requested=1))
        assert log.verdict(pause("d", requested=1)).kind is STALE
        assert log.verdict(pause("e", requested=2)).kind is ACCEPTED

    @pytest.mark.parametrize(
        ("code", "fields"),
        [
            ("no-owner", {"owner": " "}),
            ("no-why", {"why": ""}),
            ("origin", {"origin": "pa"}),
            ("template", {"why": "{{"}),
        ],
    )
    @pytest.mark.parametrize("action", [RequestAction.PAUSE, RequestAction.RESUME])
    def test_it_must_say_who_and_why_and_come_from_an_operator(self, log, action, code, fields):
        log.append(pause("held", requested=-100))
        verdict = log.verdict(operators(action, "x", **fields))
        assert (verdict.kind, verdict.code) == (REJECTED, code)
        assert log.entries.by_key[PAUSE].pause.request_id == "held"

    def test_a_redelivery_changes_nothing(self, log):
        log.append(pause())
        assert log.entries.fold(resume(requested=0), 0, at(1)) == {}

    def test_a_paused_target_is_not_forgotten_and_a_resumed_one_is(self, log):
        assert expires_at(log.append(pause())) is None
        assert expires_at(log.append(resume(requested=0), 1)) is not None


class TestRerunOnTheLog:
    def test_it_is_kept_in_its_events_entry(self, log):
        log.append(scale_out("a", 60))
        entry = log.append(rerun(f"{OUT}-1777856400"))
        assert entry.key == f"infra/pa/{DATE}"
        assert (entry.verdict.kind, entry.rerun.run, entry.rerun.owner) == (ACCEPTED, f"{OUT}-1777856400", "jun")
        assert entry.scale_out is not None

    def test_of_an_event_that_nobody_knows_it_is_rejected(self, log):
        assert log.verdict(rerun(f"{OUT}-1777856400")).code == "unknown-event"

    @pytest.mark.parametrize("run", ["", None, "peaktime", "x-", "{{x}}-1", "Peaktime-1777856400", "a b-1"])
    def test_what_is_no_run_is_rejected(self, log, run):
        log.append(scale_out("a", 60))
        verdict = log.verdict(rerun(run))
        assert verdict.kind is REJECTED

    def test_a_button_pressed_twice_is_one_wish(self, log):
        log.append(scale_out("a", 60))
        log.append(rerun(f"{OUT}-1", "a"), 1)
        assert log.verdict(rerun(f"{OUT}-1", "b"), 1.9).kind is DUPLICATE
        assert log.verdict(rerun(f"{OUT}-1", "c"), 2).kind is ACCEPTED
        assert log.verdict(rerun(f"{OUT}-1", "c"), 9).code == "same-id"


@pytest.fixture
def failed(world):
    """A world whose scale-out at minute 60 failed; the time is 70."""
    world.fails = lambda name: name.startswith(OUT) and world.minute < 65
    world.ask(scale_out("a", 60), scale_in("b", 120))
    world.until(70)
    assert world.kinds(OUT) == ["SCHEDULED", "STARTED", "FAILED"]
    return world


class TestRerun:
    def test_a_failed_run_is_started_again_at_once_and_only_once(self, failed):
        failed.ask(rerun(child(OUT, 60)))
        (again,) = failed.began[1:]
        assert (again.minute, again.level, again.ours) == (70, 1, True)
        assert again.workflow.endswith(f"-{int(at(60).timestamp()) + 1}")
        failed.until(110)
        assert len(failed.began) == 2
        assert failed.kinds(again.workflow) == ["STARTED", "SUCCEEDED"]

    def test_the_scale_in_follows_as_ever(self, failed):
        failed.ask(rerun(child(OUT, 60)))
        failed.until(200)
        assert [one.out for one in failed.began] == [True, True, False]

    def test_it_can_be_asked_for_as_often_as_it_fails(self, failed):
        failed.fails = lambda _name: True
        failed.ask(rerun(child(OUT, 60), "x"))
        failed.until(75)
        failed.ask(rerun(failed.began[-1].workflow, "y"))
        failed.until(80)
        assert [one.minute for one in failed.began] == [60, 70, 75]
        assert len({one.workflow for one in failed.began}) == 3

    def test_its_report_lost_it_is_not_started_twice(self, failed):
        failed.folding = False
        failed.ask(rerun(child(OUT, 60)))
        for minute in (71, 72, 90):
            failed.minute = minute
            failed.look()
        assert len(failed.began) == 2

    def test_while_a_run_goes_on_it_waits(self, failed):
        failed.run_minutes = 5
        failed.ask(rerun(child(OUT, 60), "x"))
        failed.until(72)
        failed.ask(rerun(child(OUT, 60), "y"))
        assert len(failed.began) == 2
        failed.until(90)
        assert [one.minute for one in failed.began] == [60, 70, 75]

    def test_a_failed_scale_in_can_be_run_again(self, world):
        world.fails = lambda name: name.startswith(IN)
        world.ask(scale_out("a", 60), scale_in("b", 120))
        world.until(130)
        world.ask(rerun(child(IN, 120)))
        world.until(140)
        assert [(one.minute, one.out) for one in world.began] == [(60, True), (120, False), (130, False)]

    def test_what_is_not_wanted_any_more_is_not_run_again_but_a_problem_for_an_hour(self, world):
        world.ask(scale_out("a", 60), scale_in("b", 120))
        world.until(130)
        world.ask(rerun(child(OUT, 60)))
        assert world.problems() == {"no-rerun"}
        world.until(189)
        assert world.problems() == {"no-rerun"}
        world.until(190)
        assert world.problems() == set(), "nothing but the clock wakes it then"
        assert len(world.began) == 2

    def test_what_was_refused_once_is_not_run_again_when_it_is_wanted_later(self, world):
        world.ask(scale_out("a", 60, 200), scale_out("b", 100, 150, date="2026-05-05", band="night"))
        world.until(110)
        world.ask(rerun(child(OUT, 60)))
        assert world.problems() == {"no-rerun"}
        world.until(180)
        assert [(one.minute, one.level) for one in world.began] == [(60, 1), (100, 3), (150, 1)]

    def test_refused_it_can_be_asked_for_anew(self, world):
        world.ask(scale_out("a", 60, 200), scale_out("b", 100, 150, date="2026-05-05", band="night"))
        world.until(110)
        world.ask(rerun(child(OUT, 60), "x"))
        world.until(160)
        world.ask(rerun(child(OUT, 60), "y"))
        assert [one.minute for one in world.began] == [60, 100, 150, 160]

    def test_what_never_ran_is_a_problem(self, failed):
        failed.ask(rerun(f"{OUT}-1234567890"))
        assert failed.problems() == {"no-rerun"}
        assert len(failed.began) == 1

    def test_a_withdrawn_event_is_not_run_again(self, failed):
        failed.ask(delete("c", requested=69))
        failed.ask(rerun(child(OUT, 60)))
        failed.until(80)
        assert all(not one.out for one in failed.began[1:])


class TestPause:
    def test_what_is_scheduled_is_suspended_and_says_why(self, world):
        world.ask(scale_out("a", 60), scale_in("b", 120))
        world.ask(pause())
        for cron in world.crons.values():
            assert cron["spec"]["suspend"] is True
            assert cron["metadata"]["annotations"][PAUSED] == "jun: load test"
        assert (world.decide().writes, world.decide().reports) == ((), ())

    def test_what_is_asked_for_meanwhile_is_created_suspended(self, world):
        world.ask(pause())
        world.ask(scale_out("a", 60))
        assert world.crons[OUT]["spec"]["suspend"] is True
        assert world.kinds(OUT) == ["SCHEDULED"]

    def test_nothing_starts_and_it_is_a_problem_once_something_is_owed(self, world):
        world.ask(scale_out("a", 60), scale_in("b", 120))
        world.ask(pause())
        world.until(61.5)
        assert (world.began, world.problems()) == ([], {"paused"})

    def test_resumed_what_is_owed_is_started_and_the_rest_runs_by_itself(self, world):
        world.ask(scale_out("a", 60), scale_in("b", 120))
        world.ask(pause())
        world.until(80)
        world.ask(resume(requested=80))
        world.until(200)
        assert [(one.minute, one.out, one.ours) for one in world.began] == [(80, True, True), (120, False, False)]
        assert world.problems() == set()

    def test_resumed_in_time_it_fires_by_itself(self, world):
        world.ask(pause())
        world.ask(scale_out("a", 60), scale_in("b", 120))
        world.ask(resume(requested=0))
        assert [cron["spec"]["suspend"] for cron in world.crons.values()] == [False, False]
        world.until(200)
        assert [(one.minute, one.ours) for one in world.began] == [(60, False), (120, False)]

    def test_what_goes_on_is_left_to_finish(self, world):
        world.run_minutes = 5
        world.ask(scale_out("a", 60), scale_in("b", 120))
        world.until(61)
        world.ask(pause())
        world.until(70)
        assert world.kinds(OUT) == ["SCHEDULED", "STARTED", "SUCCEEDED"]

    def test_a_withdrawn_event_is_cleaned_up_all_the_same(self, world):
        world.ask(scale_out("a", 60))
        world.ask(pause())
        world.ask(delete("d", requested=0))
        assert world.crons == {}

    def test_a_rerun_waits_for_the_resumption(self, failed):
        failed.ask(pause())
        failed.ask(rerun(child(OUT, 60)))
        assert (len(failed.began), failed.problems()) == (1, {"paused"})
        failed.ask(resume(requested=70))
        assert len(failed.began) == 2

    def test_one_that_somebody_suspended_by_hand_stays_so(self, world):
        world.ask(scale_out("a", 60))
        world.crons[OUT]["spec"]["suspend"] = True
        world.touch(world.crons[OUT])
        world.ask(pause())
        world.ask(resume(requested=0))
        assert world.crons[OUT]["spec"]["suspend"] is True
        assert PAUSED not in world.crons[OUT]["metadata"]["annotations"]

    def test_one_that_somebody_lets_run_is_suspended_again(self, world):
        world.ask(scale_out("a", 60))
        world.ask(pause())
        world.crons[OUT]["spec"]["suspend"] = False
        assert [type(write) for write in world.decide().writes] == [Apply]


class TestHandsOff:
    @pytest.mark.parametrize("part", ["labels", "annotations"])
    def test_a_marked_object_is_left_alone_and_reported_until_the_mark_goes(self, world, part):
        world.ask(scale_out("a", 60))
        cron = world.crons[OUT]
        cron["metadata"][part][HANDS_OFF] = "true"
        cron["spec"]["schedules"] = ["1 1 1 1 *"]
        world.look()
        assert (world.plans[-1].writes, world.problems()) == ((), {"hands-off"})
        del cron["metadata"][part][HANDS_OFF]
        world.look()
        assert world.crons[OUT]["spec"]["schedules"] != ["1 1 1 1 *"]
        assert world.problems() == set()

    def test_it_is_not_deleted_with_its_event(self, world):
        world.ask(scale_out("a", 60))
        world.crons[OUT]["metadata"]["annotations"][HANDS_OFF] = "true"
        world.ask(delete("d", requested=0))
        assert OUT in world.crons
        assert world.problems() == {"hands-off"}

    def test_its_run_is_not_started(self, world):
        world.misses = lambda _minute: True
        world.ask(scale_out("a", 60))
        world.crons[OUT]["metadata"]["annotations"][HANDS_OFF] = "true"
        world.until(90)
        assert (world.began, world.problems()) == ([], {"hands-off"})

    def test_other_objects_of_the_target_go_on(self, world):
        world.ask(scale_out("a", 60), scale_in("b", 120))
        world.crons[OUT]["metadata"]["annotations"][HANDS_OFF] = "true"
        world.ask(scale_in("c", 150, requested=0))
        assert [type(w) for p in world.plans[-3:] for w in p.writes] == [Apply]


class TestTakenBack:
    def test_the_reason_names_who_changed_it(self, world):
        world.ask(scale_out("a", 60))
        cron = world.crons[OUT]
        cron["spec"]["timezone"] = "UTC"
        cron["metadata"]["managedFields"] = [
            {"manager": "peaktime", "time": "2026-05-04T00:00:00Z", "fieldsV1": {"f:spec": {"f:timezone": {}}}},
            {"manager": "kubectl-edit", "time": "2026-05-04T00:01:00Z", "fieldsV1": {"f:spec": {"f:timezone": {}}}},
            {"manager": "other", "time": "2026-05-04T00:02:00Z", "fieldsV1": {"f:spec": {"f:schedules": {}}}},
        ]
        (write,) = world.decide().writes
        assert "spec.timezone" in write.reason
        assert "kubectl-edit at 2026-05-04T00:01:00Z" in write.reason
        assert "other" not in write.reason

    def test_a_started_object_that_argo_does_not_take_is_a_problem(self, world):
        world.ask(scale_out("a", 60))
        cron = world.crons[OUT]
        cron["status"] = {"conditions": [{"type": "SpecError", "status": "True", "message": "bad cron"}]}
        world.touch(cron)
        world.look()
        assert world.problems() == {"refused-by-argo"}
        cron["status"] = {}
        world.look()
        assert world.problems() == set()
