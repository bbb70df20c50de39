"""The actions between what should be and what is: one scenario after another, in a small simulated world."""

import copy
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import oracle
from support.asking import Log, at, delete, level_of, minute_of, profile, profiles, scale_in, scale_out
from support.histories import histories
from support.simulator import GRACE, LABEL, World

from peaktime.core.actions import Create, Delete, Observed, Start
from peaktime.core.desired import desired
from peaktime.core.evidence import instant_of, time_of
from peaktime.core.outcomes import BEGUN, OVER, run_subject
from peaktime.core.plan import Circumstances, differs, plan

OUT = "peaktime-create-infra-common-common-20260504"
IN = "peaktime-delete-infra-common-common-20260504"
OTHER = "2026-05-05"


def child(name, minute):
    return f"{name}-{int(at(minute).timestamp())}"


@pytest.fixture
def world():
    return World()


@pytest.fixture
def asked(world):
    """A world in which one event from 60 to 120 was asked for."""
    world.ask(scale_out("a", 60), scale_in("b", 120))
    return world


def verbs(decided):
    return [type(write).__name__ for write in decided.writes]


class TestTheUsualWay:
    def test_what_is_asked_for_is_created_and_reported_once_it_is_there(self, world):
        world.log.append(scale_out("a", 60))
        world.log.append(scale_in("b", 120))
        first = world.look()
        assert verbs(first) == ["Create", "Create"]
        assert first.reports == ()
        assert sorted(world.crons) == [OUT, IN]
        assert world.kinds() == ["SCHEDULED", "SCHEDULED"]

    def test_planning_again_after_applying_gives_nothing(self, asked):
        decided = asked.decide()
        assert (decided.writes, decided.reports) == ((), ())

    def test_it_runs_is_reported_and_cleaned_up_with_its_workflow_kept(self, asked):
        asked.until(60)
        assert asked.kinds(OUT) == ["SCHEDULED", "STARTED"]
        assert OUT in asked.crons, "while it goes on"
        asked.until(70)
        assert asked.kinds(OUT) == ["SCHEDULED", "STARTED", "SUCCEEDED"]
        assert list(asked.crons) == [IN]
        asked.until(130)
        assert (asked.crons, sorted(asked.workflows)) == ({}, [child(OUT, 60), child(IN, 120)])
        assert [one.ours for one in asked.began] == [False, False]
        assert asked.decide().look_again is None

    def test_a_failed_run_counts_as_started_and_says_what_failed(self, asked):
        asked.fails = lambda name: name.startswith(OUT)
        asked.until(60.2)
        workflow = asked.workflows[child(OUT, 60)]
        workflow["status"]["nodes"] = {
            "n1": {"type": "Steps", "phase": "Failed", "message": "child failed"},
            "n2": {"type": "Pod", "phase": "Failed", "displayName": "app", "message": "no quota"},
        }
        asked.until(100)
        assert asked.kinds(OUT)[-1] == "FAILED"
        assert asked.facts.by_subject[run_subject(child(OUT, 60))].outcome.message == "app: no quota"
        assert len(asked.began) == 1, "people decide whether to run it again"

    def test_of_a_very_long_message_the_beginning_is_told(self, asked):
        asked.fails = lambda name: name.startswith(OUT)
        asked.until(60.2)
        asked.workflows[child(OUT, 60)]["status"]["message"] = "x" * 1_000_000
        asked.until(100)
        told = asked.facts.by_subject[run_subject(child(OUT, 60))].outcome.message
        assert told == "x" * 4000 + "… (1000000 characters)"

    def test_a_report_carries_all_that_is_needed_to_tell_it(self, asked):
        asked.until(130)
        started = next(one for one in asked.outcomes if one.kind == "STARTED")
        assert (started.title, started.owner, started.request_id) == ("Sale", "mina", "a")
        assert (started.entry, started.origin, started.event_date) == ("infra/pa/2026-05-04", "pa", "2026-05-04")
        assert (started.day, started.band, started.level, started.action) == ("common", "common", 1, "SCALE_OUT")
        assert (started.cron_workflow, started.workflow) == (OUT, child(OUT, 60))
        assert (started.fires_at, started.started_at, started.namespace) == (at(60), at(60), "peaktime")
        ended = next(one for one in asked.outcomes if one.kind == "SUCCEEDED")
        assert (ended.started_at, ended.finished_at) == (at(60), at(60.5))

    def test_a_link_is_made_from_the_template(self, asked):
        asked.until(60)
        decided = plan(
            desired("infra", asked.log.entries, asked.facts, asked.profiles, at(61), grace=GRACE),
            Observed(cron_workflows=asked.crons, workflows={child(IN, 60): asked.workflows[child(OUT, 60)]}),
            asked.log.entries,
            asked.facts,
            asked.profiles,
            Circumstances(now=at(61), grace=GRACE, namespace="p", link_template="https://argo/{namespace}/{workflow}"),
        )
        assert decided.reports[0].link == f"https://argo/peaktime/{child(IN, 60)}"

    def test_a_report_has_the_same_id_until_the_facts_show_it(self, asked):
        asked.folding = False
        asked.until(60)
        one, two = asked.decide(), asked.decide()
        assert one.reports == two.reports
        assert [str(report.kind) for report in one.reports] == ["STARTED"]

    def test_every_action_says_why(self, asked):
        asked.log.append(delete("c"), 1)
        decided = asked.decide()
        assert [type(write) for write in asked.plans[0].writes] == [Create, Create]
        assert all(len(write.reason) > 10 for write in [*decided.writes, *asked.plans[0].writes])


class TestOrder:
    def test_creates_come_before_deletes(self, asked):
        asked.log.append(delete("c"), 1)
        asked.log.append(scale_out("d", 70, 130, date=OTHER), 2)
        assert verbs(asked.decide()) == ["Create", "Delete", "Delete"]

    def test_an_event_moved_before_it_fired_keeps_its_objects(self, asked):
        asked.log.append(scale_out("c", 70), 1)
        decided = asked.decide()
        assert verbs(decided) == ["Apply"]
        asked.look()
        assert asked.crons[OUT]["spec"]["schedules"] == ["10 10 4 5 *"]
        assert sorted(asked.kinds(OUT)) == ["REMOVED", "SCHEDULED", "SCHEDULED"]

    def test_an_object_that_has_fired_is_not_changed_for_another_run(self, asked):
        asked.folding = False
        asked.until(60.2)
        asked.log.append(scale_out("c", 100), 60.2)
        assert [
            type(write).__name__ for write in asked.decide().writes if write.manifest["metadata"]["name"] == OUT
        ] == []
        asked.folding = True
        asked.look()
        asked.until(130)
        assert [(one.minute, one.out) for one in asked.began] == [(60, True), (61.2, False), (100, True), (120, False)]

    def test_another_variant_is_another_object(self, asked):
        asked.log.append(scale_out("c", 60, band="night"), 1)
        assert verbs(asked.decide()) == ["Create", "Delete"]
        asked.look()
        assert asked.kinds(OUT) == ["SCHEDULED", "REMOVED"]

    def test_withdrawn_and_asked_again_gives_it_back(self, asked):
        before = copy.deepcopy(asked.crons[OUT]["spec"])
        asked.ask(delete("c", requested=0))
        assert asked.crons == {}
        assert asked.kinds() == ["SCHEDULED", "SCHEDULED", "REMOVED", "REMOVED"]
        asked.minute = 1
        asked.ask(scale_out("d", 60, requested=1), scale_in("e", 120, requested=1))
        differing = copy.deepcopy(asked.crons[OUT]["spec"])
        before["workflowSpec"]["arguments"] = differing["workflowSpec"]["arguments"]
        before["workflowMetadata"] = differing["workflowMetadata"]
        assert differing == before
        assert asked.facts.by_subject[run_subject(child(OUT, 60))].episode == 2


class TestWhoseObject:
    def foreign(self, world, name):
        world.crons[name] = world._stored({"metadata": {"name": name, "labels": {"app": "theirs"}}, "spec": {}})
        return copy.deepcopy(world.crons[name])

    def test_a_foreign_object_with_our_name_is_reported_and_never_touched(self, world):
        theirs = self.foreign(world, OUT)
        world.ask(scale_out("a", 60, 120))
        assert world.crons == {OUT: theirs}
        assert world.problems() == {"name-taken"}
        world.until(200)
        assert world.crons == {OUT: theirs}
        assert world.workflows == {}, "nothing is started under a name that is not ours"
        assert world.kinds("name-taken") == ["PROBLEM_OPENED", "PROBLEM_CLOSED"]
        assert world.kinds("name-taken").count("PROBLEM_OPENED") == 1, "and it is not told again and again"

    def test_a_foreign_workflow_under_the_name_of_a_run_that_is_owed_is_told_and_tried_again(self, asked):
        asked.misses = lambda minute: minute == 60
        asked.taken = frozenset({child(OUT, 60)})
        asked.until(60)
        asked.minute = 62
        plan = asked.decide()
        assert verbs(plan) == ["Start"], "it starts as soon as the name is free, of which nobody tells us"
        assert [(p.code, p.about, p.entry) for p in plan.problems] == [
            ("name-taken", child(OUT, 60), "infra/pa/2026-05-04"),
        ]
        asked.taken = frozenset()
        asked.until(64)
        assert child(OUT, 60) in asked.workflows
        assert asked.problems() == set()

    def test_a_foreign_workflow_under_the_name_of_an_owed_run_is_reported_until_the_run_is_started(self, asked):
        name, facts = child(OUT, 60), asked.facts

        def planned(**seen):
            entries, now = asked.log.entries, at(62)
            want = desired("infra", entries, facts, asked.profiles, now, grace=GRACE)
            seen = Observed(cron_workflows=asked.crons, **seen)
            around = Circumstances(now=now, grace=GRACE, namespace="peaktime")
            return plan(want, seen, entries, facts, asked.profiles, around)

        met = planned(taken=frozenset({name}))
        assert [(p.code, p.about, p.entry) for p in met.problems] == [("name-taken", name, "infra/pa/2026-05-04")]
        assert verbs(met) == ["Start"], "it is how one finds out that the name is free"
        for report in met.reports:
            facts.fold(report, 1000, at(62))
        anew = planned()
        assert [p.code for p in anew.problems] == ["name-taken"], "a worker that starts anew has not met it yet"
        assert (verbs(anew), anew.reports) == (["Start"], ())
        started = anew.writes[0].manifest
        assert planned(workflows={name: started}).problems == ()

    def test_when_it_goes_ours_is_created_and_the_problem_is_over(self, world):
        self.foreign(world, OUT)
        world.ask(scale_out("a", 60, 120))
        del world.crons[OUT]
        world.look()
        assert (list(world.crons), world.problems()) == ([OUT], set())

    def test_any_other_foreign_object_is_none_of_our_business(self, asked):
        theirs = self.foreign(asked, "somebody-elses")
        asked.look()
        asked.until(200)
        assert (asked.crons, asked.problems()) == ({"somebody-elses": theirs}, set())

    def test_an_object_of_ours_that_nothing_explains_is_reported_and_left(self, asked):
        lost = copy.deepcopy(asked.crons[OUT])
        lost["metadata"] |= {"name": "peaktime-lost"}
        lost["metadata"]["annotations"] |= {"peaktime.io/entry": "infra/pa/2020-01-01"}
        asked.crons["peaktime-lost"] = lost
        asked.look()
        assert "peaktime-lost" in asked.crons
        assert asked.problems() == {"unexplained"}
        del asked.crons["peaktime-lost"]
        asked.look()
        assert asked.problems() == set()

    def test_one_without_any_annotation_is_unexplained_too(self, asked):
        asked.crons["peaktime-lost"] = asked._stored(
            {"metadata": {"name": "peaktime-lost", "labels": {"app.kubernetes.io/managed-by": "peaktime"}}, "spec": {}},
        )
        asked.look()
        assert asked.problems() == {"unexplained"}

    @pytest.mark.parametrize(
        "edit",
        [
            lambda cron: cron["spec"].update(schedules=["0 0 1 1 *"]),
            lambda cron: cron["spec"].pop("stopStrategy"),
            lambda cron: cron["spec"]["workflowSpec"]["templates"][0]["steps"].append([]),
            lambda cron: cron["spec"]["workflowSpec"].update(templates=None),
            lambda cron: cron["metadata"]["labels"].pop("peaktime.io/level"),
            lambda cron: cron["metadata"]["annotations"].update({"peaktime.io/request": "x"}),
        ],
    )
    def test_an_object_that_was_edited_in_what_is_ours_is_restored(self, asked, edit):
        edit(asked.crons[OUT])
        asked.touch(asked.crons[OUT])
        uid = asked.crons[OUT]["metadata"]["uid"]
        assert verbs(asked.decide()) == ["Apply"]
        asked.look()
        assert asked.decide().writes == ()
        assert asked.crons[OUT]["metadata"]["uid"] == uid

    def test_one_whose_profile_has_another_namespace_now_is_made_there(self, asked):
        asked.profiles = profiles(profile(namespace="elsewhere"))
        assert {(gone.name, gone.namespace) for gone in asked.look().writes} == {(OUT, "peaktime"), (IN, "peaktime")}
        assert {one["metadata"]["namespace"] for one in asked.crons.values()} == {"elsewhere"}
        asked.until(200)
        assert [(one.minute, one.ours) for one in asked.began] == [(60, False), (120, False)]

    def test_nor_is_a_run_owned_by_an_object_in_another_namespace(self, asked):
        asked.misses = lambda _: True
        asked.until(60.5)
        asked.profiles = profiles(profile(namespace="elsewhere"))
        asked.until(61)
        metadata = asked.workflows[child(OUT, 60)]["metadata"]
        assert (metadata["namespace"], "ownerReferences" in metadata) == ("elsewhere", False)

    def test_one_that_is_suspended_by_hand_is_left_where_it_is(self, asked):
        asked.crons[OUT]["spec"]["suspend"] = True
        asked.profiles = profiles(profile(namespace="elsewhere"))
        assert [write.name for write in asked.decide().writes] == [IN]

    def test_what_others_added_is_theirs(self, asked):
        asked.crons[OUT]["metadata"]["labels"]["team"] = "x"
        asked.crons[OUT]["metadata"]["annotations"]["kubectl"] = "y"
        asked.crons[OUT]["spec"]["failedJobsHistoryLimit"] = 1
        assert asked.decide().writes == ()

    def test_one_that_was_deleted_by_hand_is_created_again(self, asked):
        del asked.crons[OUT]
        assert verbs(asked.decide()) == ["Create"]
        asked.look()
        assert asked.kinds(OUT) == ["SCHEDULED"], "it is not scheduled twice"

    def test_a_terminating_object_means_wait(self, asked):
        asked.crons[OUT]["metadata"]["deletionTimestamp"] = "2026-05-04T00:00:00Z"
        asked.crons[IN]["metadata"]["deletionTimestamp"] = "2026-05-04T00:00:00Z"
        asked.crons[OUT]["spec"]["schedules"] = ["edited"]
        assert asked.decide().writes == ()
        asked.log.append(delete("c"), 1)
        assert asked.decide().writes == ()
        asked.crons = {}
        asked.log.append(scale_out("d", 60, 120, requested=5), 2)
        assert verbs(asked.decide()) == ["Create"]

    def test_an_owed_run_waits_for_a_terminating_object_too(self, asked):
        asked.crons[OUT]["metadata"]["deletionTimestamp"] = "2026-05-04T00:00:00Z"
        asked.minute = 63
        assert asked.decide().writes == ()

    def test_an_object_with_a_higher_position_than_ones_own_is_left_alone(self, asked):
        asked.crons[OUT]["metadata"]["annotations"]["peaktime.io/position"] = "99"
        asked.crons[OUT]["spec"]["schedules"] = ["edited"]
        assert asked.decide().writes == ()
        asked.log.append(delete("c"), 1)
        assert [write.name for write in asked.decide().writes] == [IN]

    def test_deletes_and_updates_carry_what_was_seen(self, asked):
        asked.crons[OUT]["spec"]["schedules"] = ["edited"]
        (apply,) = asked.decide().writes
        seen = asked.crons[OUT]["metadata"]
        assert apply.manifest["metadata"]["resourceVersion"] == seen["resourceVersion"]
        asked.log.append(delete("c"), 1)
        taken = {write.name: (write.uid, write.resource_version) for write in asked.decide().writes}
        assert taken[OUT] == (seen["uid"], seen["resourceVersion"])


class TestMovedNamespace:
    """A profile that went to another namespace between two starts of the worker."""

    def moved(self, asked):
        found = asked.profiles.by_name
        asked.profiles = replace(
            asked.profiles, by_name={name: replace(one, namespace="apps") for name, one in found.items()}
        )

    def test_what_is_scheduled_follows_and_never_fires_in_both(self, asked):
        asked.until(1)
        self.moved(asked)
        gone = asked.decide()
        assert verbs(gone) == ["Delete", "Delete"]
        assert [(write.namespace, write.reason) for write in gone.writes] == [
            ("peaktime", "its profile has moved to namespace apps")
        ] * 2
        asked.look()
        assert sorted((name, obj["metadata"]["namespace"]) for name, obj in asked.crons.items()) == [
            (OUT, "apps"),
            (IN, "apps"),
        ]

    def test_a_run_that_is_made_good_has_no_owner_in_another_namespace(self, asked):
        asked.misses = lambda _minute: True
        asked.until(60)
        self.moved(asked)
        asked.until(62)
        (run,) = asked.workflows.values()
        assert run["metadata"]["namespace"] == "apps"
        assert "ownerReferences" not in run["metadata"]


class TestOwed:
    def test_a_missed_firing_is_started_after_grace_under_argos_own_name(self, asked):
        asked.misses = lambda minute: minute == 60
        asked.until(60.9)
        assert asked.began == []
        asked.until(62)
        assert [(one.minute, one.workflow, one.ours) for one in asked.began] == [(61, child(OUT, 60), True)]
        owner = asked.workflows[child(OUT, 60)]["metadata"]["ownerReferences"][0]
        assert owner["name"] == OUT
        asked.until(130)
        assert asked.kinds(OUT) == ["SCHEDULED", "STARTED", "SUCCEEDED"]
        assert asked.crons == {}

    @pytest.mark.parametrize("asked_at", [0, 60])
    def test_a_scale_in_alone_that_was_missed_or_late_is_owed_after_an_event_that_asked_for_none(self, world, asked_at):
        world.misses = lambda minute: minute == 50
        world.ask(scale_out("a", 10, 40))
        world.until(asked_at)
        world.ask(scale_in("b", 50, date=OTHER, requested=asked_at))
        world.until(200)
        name = IN.replace("0504", "0505")
        assert [(one.minute, one.workflow) for one in world.began[1:]] == [(max(51, asked_at + 1), child(name, 50))]
        assert "MISSED" not in world.kinds()

    def test_and_so_it_is_after_one_that_was_cut(self, world):
        world.ask(scale_out("a", 10, 40))
        world.until(20)
        world.ask(delete("c", requested=20))
        assert world.problems() == {"no-scale-in"}
        world.until(30.5)
        world.ask(scale_in("b", 30, requested=30))
        world.until(50)
        assert [(one.minute, one.out) for one in world.began] == [(10, True), (31.5, False)]
        assert world.problems() == set()

    def test_but_not_one_of_before_the_last_run(self, world):
        world.ask(scale_out("a", 10, 40))
        world.until(50)
        world.ask(scale_in("b", 5, date=OTHER, requested=50))
        world.until(200)
        assert len(world.began) == 1

    def test_its_cron_workflow_stays_until_it_is_over(self, asked):
        """An object deleted while its Workflow is made could take that along."""
        asked.misses = lambda _: True
        asked.until(61)
        assert (asked.workflows.keys(), asked.facts.last_begun.state) == ({child(OUT, 60)}, "STARTED")
        assert OUT in asked.crons
        asked.until(70)
        assert OUT not in asked.crons

    def test_a_missed_scale_in_is_started_too(self, asked):
        asked.misses = lambda minute: minute == 120
        asked.until(130)
        assert [(one.minute, one.out, one.ours) for one in asked.began] == [(60, True, False), (121, False, True)]

    def test_a_late_request_is_started_after_grace_from_its_log_time(self, world):
        world.until(80)
        world.ask(scale_out("a", 60, 120))
        assert world.crons == {}
        world.until(80.9)
        assert world.began == []
        world.until(82)
        assert [(one.minute, one.workflow) for one in world.began] == [(81, child(OUT, 60))]
        assert "ownerReferences" not in world.workflows[child(OUT, 60)]["metadata"]

    def test_a_change_of_level_in_mid_window(self, asked):
        asked.until(80)
        asked.ask(scale_out("c", 60, band="night"))
        asked.until(82)
        assert [(one.minute, one.level) for one in asked.began] == [(60, 1), (81, 3)]
        assert asked.began[-1].workflow.endswith(str(int((at(60) + timedelta(seconds=1)).timestamp())))

    def test_an_end_moved_into_the_past_scales_in_now(self, asked):
        asked.until(80)
        asked.ask(scale_in("c", 70))
        asked.until(90)
        assert [(one.minute, one.out) for one in asked.began] == [(60, True), (81, False)]
        assert asked.crons == {}

    def test_an_end_moved_earlier_but_not_into_the_past_scales_in_then(self, asked):
        asked.until(80)
        asked.ask(scale_in("c", 100))
        asked.until(130)
        assert [(one.minute, one.out, one.ours) for one in asked.began] == [(60, True, False), (100, False, False)]

    def test_a_prolonged_event_scales_in_later(self, asked):
        asked.until(80)
        asked.ask(scale_in("c", 140))
        asked.until(200)
        assert [(one.minute, one.out) for one in asked.began] == [(60, True), (140, False)]

    def test_a_window_withdrawn_while_open_scales_in_after_grace(self, asked):
        asked.until(80)
        asked.ask(delete("c"))
        asked.until(90)
        assert [(one.minute, one.out) for one in asked.began] == [(60, True), (81, False)]
        assert asked.crons == {}

    def test_withdrawn_and_asked_again_within_grace_nothing_starts(self, asked):
        asked.until(80)
        asked.ask(delete("c", requested=80), scale_out("d", 60, requested=81), scale_in("e", 120, requested=81))
        asked.until(110)
        assert len(asked.began) == 1
        asked.until(130)
        assert [(one.minute, one.out) for one in asked.began] == [(60, True), (120, False)]

    def test_moved_later_while_open_it_scales_in_and_out_again(self, asked):
        asked.until(80)
        asked.ask(scale_out("c", 100))
        asked.until(130)
        assert [(one.minute, one.out) for one in asked.began] == [(60, True), (81, False), (100, True), (120, False)]

    def test_a_start_moved_forward_while_open_changes_nothing_and_loses_no_scale_in(self, asked):
        asked.until(80)
        asked.ask(scale_out("c", 70))
        asked.misses = lambda minute: minute == 120
        asked.until(130)
        assert [(one.minute, one.out) for one in asked.began] == [(60, True), (121, False)]

    def test_nothing_is_started_twice_where_controller_and_we_are_both_awake(self, asked):
        asked.ask(scale_out("x", 10, date=OTHER), scale_in("y", 20, date=OTHER))
        asked.until(80)
        asked.ask(scale_out("c", 70))
        asked.until(200)
        assert [(one.minute, one.out, one.ours) for one in asked.began] == [
            (10, True, False),
            (20, False, False),
            (60, True, False),
            (120, False, False),
        ]

    def test_nothing_is_started_while_a_runs_report_is_not_folded(self, asked):
        asked.ask(scale_out("c", 70, 100, date=OTHER, band="night"))
        asked.misses = lambda minute: minute == 70
        asked.until(60.2)
        asked.folding = False
        asked.until(75)
        assert len(asked.began) == 1
        asked.folding = True
        asked.look()
        assert [one.level for one in asked.began] == [1, 3]

    def test_nothing_is_started_while_another_run_goes_on_until_it_is_over(self, asked):
        asked.run_minutes = 5
        asked.ask(scale_out("c", 62, 100, date=OTHER, band="night"))
        asked.misses = lambda minute: minute == 62
        asked.until(75)
        assert [one.minute for one in asked.began] == [60, 65]

    def test_or_exceeds_its_expected_duration(self, asked):
        asked.run_minutes = 50
        asked.ask(scale_out("c", 62, 100, date=OTHER, band="night"))
        asked.misses = lambda minute: minute == 62
        asked.until(90)
        assert [one.minute for one in asked.began] == [60, 70]

    def test_suspended_by_hand_is_reported_only(self, asked):
        asked.crons[OUT]["spec"]["suspend"] = True
        asked.until(100)
        assert asked.began == []
        assert OUT in asked.crons
        assert asked.problems() == {"suspended"}
        asked.crons[OUT]["spec"]["suspend"] = False
        asked.look()
        assert [(one.minute, one.workflow) for one in asked.began] == [(100, child(OUT, 60))]
        assert asked.problems() == set()

    def test_suspended_is_not_reported_before_it_matters(self, asked):
        asked.crons[OUT]["spec"]["suspend"] = True
        asked.until(60.5)
        assert (asked.problems(), asked.decide().writes) == (set(), ())

    def test_a_workflow_that_is_there_already_is_not_started(self, asked):
        asked.misses = lambda _: True
        asked.until(60.5)
        asked.minute = 61
        (start,) = asked.decide().writes
        asked.apply(start)
        asked.began.clear()
        asked.look()
        assert asked.began == []
        assert asked.kinds(OUT) == ["SCHEDULED", "STARTED"]

    @pytest.mark.parametrize(
        "status",
        [
            {"lastScheduledTime": "2026-05-04T01:00:00Z"},
            {"active": [{"name": child(OUT, 60)}]},
        ],
    )
    def test_the_cron_workflows_status_is_evidence_of_a_run(self, asked, status):
        asked.misses = lambda _: True
        asked.crons[OUT]["status"] = status
        asked.until(60.5)
        asked.look()
        assert asked.kinds(OUT)[:2] == ["SCHEDULED", "STARTED"]
        asked.until(64)
        assert asked.began == []

    def test_its_counters_are_none(self, asked):
        asked.misses = lambda _: True
        asked.crons[OUT]["status"] = {"failed": 1, "succeeded": 0, "conditions": [{"type": "SubmissionError"}]}
        asked.until(62)
        assert len(asked.began) == 1

    def test_level_counts_as_it_ran_not_as_it_was_scheduled(self, asked):
        """The profile was changed between scheduling and firing."""
        asked.profiles = profiles(profile("common", 5))
        asked.look()
        asked.until(90)
        assert [(one.minute, one.level) for one in asked.began] == [(60, 5)]
        assert asked.facts.last_begun.outcome.level == 5

    def test_what_is_further_ahead_than_a_cron_line_can_tell_is_made_when_it_can(self, world):
        year = 365 * 24 * 60
        world.ask(scale_out("a", year - 10, year))
        assert (world.crons, minute_of(world.look_again)) == ({}, 24 * 60 - 10)
        world.until(year - 60)
        world.until(year)
        assert [(one.minute, one.ours) for one in world.began] == [(year - 10, False)]


class TestUnseen:
    def test_missed_and_not_wanted_any_more(self, asked):
        asked.misses = lambda _: True
        asked.ask(scale_out("c", 50, 130, date=OTHER, band="night"))
        asked.until(70)
        assert asked.kinds(OUT) == ["SCHEDULED", "REMOVED"], "a stronger window covers it before it fires"

    def test_missed_where_it_makes_no_difference(self, asked):
        asked.ask(scale_out("c", 70, 100, date=OTHER))
        name = OUT.replace("0504", "0505")
        asked.misses = lambda minute: minute == 70
        asked.until(80)
        assert asked.kinds(name) == ["SCHEDULED", "MISSED"]
        assert name not in asked.crons
        assert len(asked.began) == 1, "the level was right already"

    def test_until_grace_is_over_its_object_stays_for_the_controller(self, asked):
        asked.ask(scale_out("c", 70, 100, date=OTHER))
        name = OUT.replace("0504", "0505")
        asked.misses = lambda minute: minute == 70
        asked.until(70.9)
        asked.look()
        assert name in asked.crons
        asked.until(71)
        assert name not in asked.crons

    def test_removed(self, asked):
        asked.ask(delete("c"))
        assert asked.kinds(OUT) == ["SCHEDULED", "REMOVED"]

    def test_ended_unseen_if_its_workflow_is_gone(self, asked):
        asked.until(60.2)
        asked.workflows.clear()
        asked.crons[OUT]["status"]["active"] = []
        asked.look()
        assert asked.kinds(OUT) == ["SCHEDULED", "STARTED"], "it may be the view that is behind"
        asked.until(62)
        assert asked.kinds(OUT) == ["SCHEDULED", "STARTED", "ENDED"]
        assert OUT not in asked.crons

    def test_not_while_the_cron_workflow_says_that_it_goes_on(self, asked):
        asked.until(60.2)
        asked.workflows.clear()
        asked.until(100)
        assert asked.kinds(OUT) == ["SCHEDULED", "STARTED", "SLOW"]

    def test_a_run_that_is_not_over_keeps_its_object_whatever_was_decided_since(self, asked):
        asked.run_minutes = 15
        asked.until(60)
        asked.ask(scale_out("c", 30))
        assert OUT in asked.crons
        asked.until(80)
        assert OUT not in asked.crons

    def test_what_happened_while_we_were_away_is_caught_up_with(self, asked):
        asked.folding = False
        asked.until(60)
        workflow, cron = asked.workflows[child(OUT, 60)], asked.crons[OUT]
        workflow["status"] |= {"phase": "Succeeded", "finishedAt": "2026-05-04T01:00:30Z"}
        cron["status"] |= {"active": [], "phase": "Stopped"}
        asked.minute, asked.folding = 80, True
        asked.look()
        assert asked.kinds(OUT) == ["SCHEDULED", "STARTED", "SUCCEEDED"]
        assert (OUT in asked.crons, len(asked.began)) == (False, 1)

    def test_a_workflow_older_than_its_fact_is_not_reported_again(self, asked):
        asked.until(130)
        asked.facts = type(asked.facts)()
        asked.minute = 130 + 31 * 24 * 60
        assert asked.decide().reports == ()


class TestProblems:
    def test_a_problem_is_opened_once_and_closed_when_it_is_over(self, world):
        world.ask(scale_out("a", 60, band="unheard", end=120))
        world.look()
        assert world.kinds("unknown-profile") == ["PROBLEM_OPENED"]
        world.profiles = profiles(profile("unheard", 2))
        world.look()
        assert world.kinds("unknown-profile") == ["PROBLEM_OPENED", "PROBLEM_CLOSED"]
        assert len(world.crons) == 1

    def test_and_opened_again_if_it_comes_back(self, world):
        world.ask(scale_out("a", 60, band="unheard", end=120))
        known = world.profiles
        for each in (profiles(profile("unheard", 2)), known):
            world.profiles = each
            world.look()
        assert world.kinds("unknown-profile") == ["PROBLEM_OPENED", "PROBLEM_CLOSED", "PROBLEM_OPENED"]

    def test_a_window_cut_without_a_scale_in_is_one_until_somebody_asks(self, world):
        world.ask(scale_out("a", 60, 120))
        world.until(80)
        world.ask(delete("c"))
        world.until(90)
        assert world.problems() == {"no-scale-in"}
        world.ask(scale_in("d", 95, date=OTHER))
        world.until(100)
        assert (world.problems(), world.began[-1].out) == (set(), False)

    def test_a_problem_tells_which_event_it_is_about(self, world):
        world.ask(scale_out("a", 60, band="unheard", end=120))
        (opened,) = world.outcomes
        assert (opened.entry, opened.event_date, opened.code) == (
            "infra/pa/2026-05-04",
            "2026-05-04",
            "unknown-profile",
        )
        assert "infra-common-unheard" in opened.message


class TestOddObjects:
    @pytest.mark.parametrize("name", ["x", "x-", "x-99999999999999999999", "x-abc", ""])
    def test_a_name_without_an_instant_has_none(self, name):
        assert instant_of(name) is None

    @pytest.mark.parametrize("text", [None, "", "soon", "2026-13-01T00:00:00Z"])
    def test_nor_has_a_text_that_is_no_time(self, text):
        assert time_of(text) is None

    def test_a_time_is_utc_whatever_its_writing(self):
        assert time_of("2026-05-04T09:00:00+09:00") == time_of("2026-05-04T00:00:00") == at(0)

    def test_workflows_that_people_made_of_ours_break_nothing(self, asked):
        asked.until(60.2)
        again = copy.deepcopy(asked.workflows[child(OUT, 60)])
        again["metadata"] = {
            "name": f"{OUT}-x7k2p",
            "labels": {LABEL: OUT},
            "creationTimestamp": "2026-05-04T01:01:00Z",
        }
        again["status"] = {}
        asked.workflows[f"{OUT}-x7k2p"] = again
        decided = asked.decide()
        assert [report.workflow for report in decided.reports] == [f"{OUT}-x7k2p"]

    def test_the_first_difference_is_named(self):
        manifest = {"metadata": {"labels": {"a": "1"}, "annotations": {}}, "spec": {"x": [{"y": 1}]}}
        assert differs(manifest, manifest) is None
        assert differs(manifest, {"metadata": {}, "spec": manifest["spec"]}) == "label a"
        assert differs(manifest, {**manifest, "spec": {"x": [{"y": 2}]}}) == "spec.x[0].y"
        assert differs(manifest, {**manifest, "spec": {"x": 5}}) == "spec.x"
        assert differs(manifest, {**manifest, "spec": None}) == "spec"


#: A level may be wrong for this long: grace, a run that goes on, and the minute of looking.
SLACK = timedelta(minutes=3)
LENGTH = 100


@st.composite
def lives(draw):
    """A history, and the minutes at which the controller is down; mostly when something should fire."""
    history = draw(histories(most=6, length=LENGTH, gap=20))
    stated = {0, *(minute_of(instant) for one, _ in history for instant in (one.starts_at, one.ends_at) if instant)}
    down = draw(st.lists(st.sampled_from(sorted(stated)) | st.integers(0, LENGTH * 2), max_size=6))
    hours = draw(st.sampled_from([0, 0, 15, 60]))
    failing = draw(st.booleans())
    return history, {minute for begin in down for minute in range(int(begin), int(begin) + hours + 1)}, failing


class TestOverTime:
    """At every minute the level that the runs led to is the one that the rules want, however requests come."""

    @given(lives())
    def test_capacity_follows_the_oracle(self, life):
        history, down, failing = life
        world = World(misses=down.__contains__, fails=lambda name: failing and "create" in name)
        quiet_since = at(0)
        for number, (request, minute) in enumerate(history):
            world.until(minute)
            world.ask(request)
            quiet_since = at(minute)
            following = history[number + 1][1] if number + 1 < len(history) else LENGTH * 2 + 200
            self.follow(world, quiet_since, following)
        assert world.crons == {}
        assert all(fact.state in OVER for s, fact in world.facts.by_subject.items() if s.startswith("run/"))
        assert {one.workflow for one in world.began} == {
            s.removeprefix("run/") for s, fact in world.facts.by_subject.items() if fact.state in BEGUN
        }
        for decided in world.plans:
            kinds = [isinstance(write, Delete) for write in decided.writes]
            assert kinds == sorted(kinds), "what adds comes first"
            assert sum(isinstance(write, Start) for write in decided.writes) <= 1

    def follow(self, world, quiet_since, until):
        entries = list(world.log.entries.by_key.values())
        looked = oracle.look(entries, level_of, at(0), at(min(until, LENGTH * 2 + 10)))
        minute = minute_of(quiet_since)
        while minute < until:
            minute, known = min(minute + 1, until), len(world.began)
            world.until(minute)
            for number in range(known, len(world.began)):
                self.check_start(world, world.began[:number], world.began[number], looked)
            if at(minute) - SLACK >= quiet_since:
                self.check(world, looked, at(minute))

    def check_start(self, world, before, began, looked):
        """What the controller starts is on the timeline; what we start leads to another level than the last run did."""
        fired_at = instant_of(began.workflow)
        request = world.workflows[began.workflow]["metadata"]["annotations"]["peaktime.io/request"]
        if not began.ours:
            assert (fired_at, began.out, request) in {(f.instant, f.out, f.request) for f in looked.fired}, began
            assert fired_at == at(began.minute), began
            return
        last = before[-1] if before else None
        force = looked.in_force.get(at(began.minute * 2 // 1 / 2))
        assert at(began.minute) - fired_at >= GRACE
        if force is not None:
            assert (began.level, began.out, request) == (force.level, True, force.out.request_id), began
            assert last is None or (last.level, last.out) != (force.level, True), began
        else:
            assert last is not None, began
            assert (last.out, began.out) == (True, False), began
            assert request in {f.request for f in looked.fired if not f.out and f.instant <= fired_at}, began

    def check(self, world, looked, now):
        recent = (now - number * oracle.TICK for number in range(SLACK // oracle.TICK + 1))
        levels = {force.level if (force := looked.in_force.get(tick)) else None for tick in recent}
        if len(levels) > 1:
            return
        (level,) = levels
        last = world.began[-1] if world.began else None
        if level is not None:
            assert last is not None, now
            assert (last.level, last.out) == (level, True), now
            return
        if last is None or not last.out:
            return
        fired_at = instant_of(last.workflow)
        for begin, end, back in looked.stretches:
            if begin <= fired_at and (end is None or fired_at < end) and end is not None and end <= now - SLACK:
                assert back is None, f"{now}: {back} did not run"
        since = [fired for fired in looked.fired if fired_at < fired.instant <= now - SLACK]
        assert not since or since[-1].out, f"{now}: {since[-1]} did not run"

    @given(lives())
    def test_how_requests_and_reports_interleave_does_not_matter(self, life):
        """The same entries and facts give the same plan, by whatever way they came to be."""
        history, down, _ = life
        world = World(misses=down.__contains__)
        for request, minute in history:
            world.until(minute)
            world.ask(request)
        world.until(history[-1][1] + 30)
        other = World(minute=world.minute, crons=world.crons, workflows=world.workflows)
        for position, report in enumerate(world.outcomes):
            other.facts.fold(report, position, at(0))
        other.log = Log()
        for record in world.log.records:
            other.log.entries.fold(*record)
        mine, others = world.decide(), other.decide()
        assert (others.writes, others.look_again) == (mine.writes, mine.look_again)
        assert [replace(one, reporter="") for one in others.reports] == [
            replace(one, reporter="") for one in mine.reports
        ]


def test_a_plan_prints(asked):
    asked.log.append(delete("c"), 1)
    text = repr(asked.decide())
    assert "Delete" in text
    assert OUT in text
