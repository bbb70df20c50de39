"""What should be in the cluster: names, schedules and manifests of runs, and what is owed."""

import json
import re
import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.asking import DATE, START, Log, at, delete, profile, profiles, scale_in, scale_out

from peaktime.core.capacity import Firing, Step, Way
from peaktime.core.desired import Desired, desired
from peaktime.core.outcomes import Facts, report_id, run_subject
from peaktime.core.runs import LONGEST_NAME, Run, cron_name, cron_workflow, fitted, schedule, workflow
from schemas.records import Outcome, OutcomeKind, RequestAction

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from hera.workflows.models import CronWorkflow, Workflow

GRACE = timedelta(seconds=60)
SEOUL = "Asia/Seoul"


def wanted(log, minute=0.0, *, facts=None, known=None) -> Desired:
    return desired("infra", log.entries, facts or Facts(), known or profiles(), at(minute), grace=GRACE)


def log_of(*requests):
    log = Log()
    for each in requests:
        request, minute = each if isinstance(each, tuple) else (each, 0.0)
        log.append(request, minute)
    return log


def begun(run, kind=OutcomeKind.STARTED, facts=None):
    """Facts in which a run was reported."""
    facts = facts or Facts()
    report = Outcome(
        outcome_id=report_id(run.subject, kind, facts.by_subject.get(run.subject)),
        kind=kind,
        subject=run.subject,
        target="infra",
        at=run.instant,
        entry=run.entry.key,
        action=run.firing.action,
        day=run.firing.by.day,
        band=run.firing.by.band,
        level=run.way.level,
        cron_workflow=run.name,
        workflow=run.workflow,
        fires_at=run.instant,
    )
    facts.fold(report, len(facts.by_subject) * 10 + len(kind), run.instant)
    return facts


def only(want):
    (run,) = want.runs.values()
    return run


class TestNames:
    def test_they_are_the_names_that_operators_know(self):
        want = wanted(log_of(scale_out("a", 60, band="night"), scale_in("b", 120)))
        assert sorted(want.runs) == [
            "peaktime-create-infra-common-night-20260504",
            "peaktime-delete-infra-common-common-20260504",
        ]

    def test_a_minute_is_in_the_name_as_digits_and_so_is_an_origin_that_is_not_pa(self):
        want = wanted(log_of(scale_out("a", 60, date=f"{DATE}T09:30", origin="krx")))
        assert list(want.runs) == ["peaktime-create-infra-common-common-202605040930-krx"]

    def test_the_workflow_is_named_as_argo_names_it(self):
        run = only(wanted(log_of(scale_out("a", 60))))
        assert run.workflow == f"{run.name}-{int(at(60).timestamp())}"
        assert run.subject == run_subject(run.workflow)

    def test_a_weaker_window_in_force_again_has_a_hash_of_its_instant(self):
        want = wanted(log_of(scale_out("a", 60, 200), scale_out("b", 80, 100, date="2026-05-05", band="night")))
        plain = "peaktime-create-infra-common-common-20260504"
        assert want.runs[plain].instant == at(60)
        (again,) = [name for name in want.runs if re.fullmatch(rf"{plain[:43]}-[0-9a-f]{{8}}", name)]
        assert want.runs[again].instant == at(100)

    def test_an_object_that_has_fired_is_never_used_again(self):
        log = log_of(scale_out("a", 60, 100))
        facts = begun(only(wanted(log)))
        log.append(scale_out("b", 200, 260), 101)
        moved = only(wanted(log, 150, facts=facts))
        assert re.fullmatch(r"peaktime-create-infra-common-common-2026050-[0-9a-f]{8}", moved.name)

    def test_one_that_has_not_fired_is(self):
        log = log_of(scale_out("a", 60, 100))
        before = only(wanted(log))
        log.append(scale_out("b", 70, 100), 1)
        assert only(wanted(log, 2)).name == before.name

    def test_the_same_run_keeps_its_name_while_it_goes_on(self):
        log = log_of(scale_out("a", 60, 100))
        run = only(wanted(log))
        assert wanted(log, 61, facts=begun(run)).runs[run.name].instant == run.instant

    @given(
        st.integers(1, 30).map(lambda length: ("infra-" * 5)[: length - 1] + "z"),
        st.sampled_from(["pa", "operator", "a-very-long-calendar-identity"]),
        st.integers(1, 20).map(lambda length: "night0morning1lunch2"[:length]),
        st.sampled_from([DATE, f"{DATE}T09:00"]),
        st.integers(60, 300),
    )
    def test_they_are_names_for_kubernetes_and_leave_room_for_argos_suffix(self, target, origin, band, date, minute):
        log = log_of(scale_out("a", 60, target=target, origin=origin, band=band, date=date))
        entry = log.append(scale_in("b", 300, target=target, origin=origin, band=band, date=date))
        firing = Firing(
            instant=at(minute),
            action=RequestAction.SCALE_OUT,
            entry=entry.key,
            by=entry.scale_out,
            since=at(0),
            why="",
        )
        names = {
            cron_name(firing, entry, {}),
            cron_name(replace(firing, action=RequestAction.SCALE_IN, by=entry.scale_in), entry, {}),
            cron_name(replace(firing, instant=at(301)), entry, {}),
        }
        assert len(names) == 3
        for name in names:
            assert len(name) <= LONGEST_NAME
            assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)

    @pytest.mark.parametrize("length", [51, 52, 53, 60])
    def test_at_and_over_52_characters(self, length):
        name = ("peaktime-" * 7)[: length - 1] + "x"
        assert (fitted(name) == name) == (length <= 52)
        assert len(fitted(name)) <= 52
        assert fitted(name) != fitted(name[:-1] + "y")


def means(line, zone):
    """All instants of three years around that a cron line means, with every minute of its day tried."""
    minute, hour, day, month, weekday = line.split()
    assert weekday == "*"
    tz, found = ZoneInfo(zone), []
    for year in (2025, 2026, 2027):
        instant = datetime(year, int(month), int(day), tzinfo=tz).astimezone(UTC) - timedelta(hours=2)
        for _ in range(29 * 60):
            local = instant.astimezone(tz)
            if (local.minute, local.hour, local.day, local.month) == (int(minute), int(hour), int(day), int(month)):
                found.append(instant)
            instant += timedelta(minutes=1)
    return found


class TestSchedules:
    def test_fields_are_in_the_zone(self):
        assert schedule(datetime(2026, 5, 3, 22, 30, tzinfo=UTC), SEOUL) == ("30 7 4 5 *", SEOUL)

    def test_the_hour_before_a_skipped_one_and_the_one_after(self):
        zone = "America/New_York"
        assert schedule(datetime(2026, 3, 8, 6, 59, tzinfo=UTC), zone) == ("59 1 8 3 *", zone)
        assert schedule(datetime(2026, 3, 8, 7, 0, tzinfo=UTC), zone) == ("0 3 8 3 *", zone)

    def test_in_an_hour_that_the_clock_shows_twice_it_is_utc(self):
        zone = "America/New_York"
        assert schedule(datetime(2026, 11, 1, 4, 59, tzinfo=UTC), zone) == ("59 0 1 11 *", zone)
        assert schedule(datetime(2026, 11, 1, 5, 30, tzinfo=UTC), zone) == ("30 5 1 11 *", "UTC")
        assert schedule(datetime(2026, 11, 1, 6, 30, tzinfo=UTC), zone) == ("30 6 1 11 *", "UTC")
        assert schedule(datetime(2026, 11, 1, 7, 0, tzinfo=UTC), zone) == ("0 2 1 11 *", zone)

    @pytest.mark.parametrize("zone", [SEOUL, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
    @pytest.mark.parametrize(
        "instant",
        [
            datetime(2026, *day, hour, 30, tzinfo=UTC)
            for day in ((3, 8), (11, 1), (4, 4), (10, 3))
            for hour in (5, 6, 7, 15)
        ],
        ids=lambda value: f"{value:%m%d%H}" if isinstance(value, datetime) else value,
    )
    def test_a_schedule_means_its_instant_and_once_a_year(self, zone, instant):
        found = means(*schedule(instant, zone))
        assert instant in found
        assert len([one for one in found if one.year == 2026]) == 1

    def test_what_is_a_year_less_an_hour_ahead_waits_a_day_so_that_this_years_date_is_past(self):
        """Clocks go back on another day each year: the same date and hour may be an hour ahead today."""
        now = datetime(2026, 11, 3, 14, 0, tzinfo=UTC)
        ahead = (datetime(2027, 11, 3, 14, 0, tzinfo=UTC) - START) / timedelta(minutes=1)
        log = Log()
        log.append(scale_out("a", ahead, date="2027-11-03"), (now - START) / timedelta(minutes=1))
        known = profiles(zone="America/New_York")
        assert wanted(log, (now - START) / timedelta(minutes=1), known=known).runs == {}
        assert len(wanted(log, (now - START) / timedelta(minutes=1) + 1440, known=known).runs) == 1

    def test_what_is_not_a_whole_minute_has_no_cron_workflow(self):
        log = log_of(scale_out("a", 60, 200), scale_in("b", 200))
        log.append(delete("c"), 90 + 0.9 / 60)
        want = wanted(log, 90 + 0.9 / 60)
        assert want.timeline.firings[-1].instant == at(90) + timedelta(seconds=1)
        assert all(run.instant.second == 0 for run in want.runs.values())


def rich():
    plain = profile("night", 3, namespace="peaks", service_account="scaler", ttl_seconds=3600)
    stages = (
        (Step(service="account", workflow_template="dd-account", template="scale", parameters={"to": "9"}),),
        (
            Step(service="app", workflow_template="dd-app", template="scale"),
            Step(service="web", workflow_template="dd-web", template="out"),
        ),
    )
    return replace(plain, scale_out=Way(level=3, stages=stages), starting_deadline_seconds=120)


def rendered(run, **fields):
    return cron_workflow(run, **{"zone": SEOUL, "namespace": "peaktime", "position": 7, **fields})


class TestManifests:
    @pytest.fixture
    def run(self):
        return only(wanted(log_of(scale_out("a", 60, 120, band="night", owner="mina")), known=profiles(rich())))

    def test_argos_own_models_take_it(self, run):
        manifest = rendered(run)
        CronWorkflow.model_validate(manifest, strict=True)
        CronWorkflow.model_validate_json(json.dumps(manifest), strict=True)
        Workflow.model_validate(workflow(run, namespace="peaktime", position=7, parent=None), strict=True)

    def test_it_fires_once_at_its_instant(self, run):
        spec = rendered(run)["spec"]
        assert (spec["schedules"], spec["timezone"]) == (["0 10 4 5 *"], SEOUL)
        assert "schedule" not in spec
        assert spec["concurrencyPolicy"] == "Forbid"
        assert spec["startingDeadlineSeconds"] == 120
        assert spec["stopStrategy"] == {"expression": "cronworkflow.succeeded + cronworkflow.failed >= 1"}

    def test_stages_follow_one_another_and_their_members_run_side_by_side(self, run):
        spec = rendered(run)["spec"]["workflowSpec"]
        (template,) = spec["templates"]
        assert spec["entrypoint"] == template["name"]
        assert [[step["name"] for step in stage] for stage in template["steps"]] == [["account"], ["app", "web"]]
        assert template["steps"][0][0] == {
            "name": "account",
            "templateRef": {"name": "dd-account", "template": "scale"},
            "arguments": {"parameters": [{"name": "to", "value": "9"}]},
        }
        assert "arguments" not in template["steps"][1][0]
        assert spec["serviceAccountName"] == "scaler"
        assert spec["ttlStrategy"] == {"secondsAfterCompletion": 3600}

    def test_it_goes_to_the_profiles_namespace_or_else_the_workers(self, run):
        assert rendered(run)["metadata"]["namespace"] == "peaks"
        other = only(wanted(log_of(scale_out("a"))))
        assert rendered(other)["metadata"]["namespace"] == "peaktime"
        assert "serviceAccountName" not in rendered(other)["spec"]["workflowSpec"]

    def test_the_arguments_are_those_that_todays_templates_expect(self, run):
        given_ = {p["name"]: p["value"] for p in rendered(run)["spec"]["workflowSpec"]["arguments"]["parameters"]}
        assert given_["title"] == "Sale"
        assert given_["eventDate"] == DATE
        assert given_["requestId"] == "a"

    def test_labels_and_annotations_say_whose_it_is_and_why(self, run):
        metadata = rendered(run)["metadata"]
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "peaktime"
        notes = metadata["annotations"]
        assert notes["peaktime.io/entry"] == f"infra/pa/{DATE}"
        assert (notes["peaktime.io/request"], notes["peaktime.io/owner"]) == ("a", "mina")
        assert (notes["peaktime.io/position"], len(notes["peaktime.io/spec-hash"])) == ("7", 16)

    def test_what_the_controller_makes_of_it_carries_what_a_report_needs(self, run):
        given_ = rendered(run)["spec"]["workflowMetadata"]
        assert given_["labels"]["peaktime.io/level"] == "3"
        assert given_["labels"]["app.kubernetes.io/managed-by"] == "peaktime"
        assert given_["annotations"]["peaktime.io/entry"] == f"infra/pa/{DATE}"

    def test_the_spec_hash_follows_the_spec_and_nothing_else(self, run):
        def hash_of(manifest):
            return manifest["metadata"]["annotations"]["peaktime.io/spec-hash"]

        assert hash_of(rendered(run)) == hash_of(rendered(run, position=99))
        assert hash_of(rendered(run)) != hash_of(rendered(replace(run, profile=replace(run.profile, ttl_seconds=1))))

    def test_an_owed_run_is_what_the_controller_would_have_made(self, run):
        parent = rendered(run)
        parent["metadata"]["uid"] = "u-1"
        made = workflow(run, namespace="peaktime", position=7, parent=parent)
        assert made["metadata"]["name"] == run.workflow
        assert made["metadata"]["labels"]["workflows.argoproj.io/cron-workflow"] == run.name
        assert made["metadata"]["annotations"]["workflows.argoproj.io/scheduled-time"] == "2026-05-04T01:00:00Z"
        (owner,) = made["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"], owner["kind"]) == ("u-1", True, "CronWorkflow")
        assert made["spec"] == parent["spec"]["workflowSpec"]
        assert "ownerReferences" not in workflow(run, namespace="peaktime", position=7, parent=None)["metadata"]

    @given(
        st.text(max_size=30) | st.sampled_from(["{{x}}", "{ {x} }", "{{=1}}"]),
        st.text(max_size=30),
        st.text(max_size=30) | st.just("{{y}}"),
    )
    def test_whatever_people_write_no_argo_expression_gets_in(self, title, description, owner):
        log = Log()
        log.append(scale_out("a", 60, title=title, description=description, owner=owner))
        for run in wanted(log).runs.values():
            manifest = rendered(run)
            assert "{{" not in json.dumps(manifest, ensure_ascii=False)
            CronWorkflow.model_validate(manifest, strict=True)

    def test_the_description_stays_in_messages(self):
        run = only(wanted(log_of(scale_out("a", 60, description="secret plan"))))
        assert "secret plan" not in json.dumps(rendered(run))


class TestWhatIsWanted:
    def test_a_run_is_wanted_until_it_is_over(self):
        log = log_of(scale_out("a", 60, 120))
        run = only(wanted(log))
        assert run.name in wanted(log, 60.5).runs
        assert run.name in wanted(log, 70, facts=begun(run)).runs
        for kind in (OutcomeKind.SUCCEEDED, OutcomeKind.FAILED, OutcomeKind.ENDED):
            assert run.name not in wanted(log, 70, facts=begun(run, kind)).runs

    def test_withdrawn_it_is_not_wanted(self):
        assert wanted(log_of(scale_out("a", 60, 120), delete("b"))).runs == {}

    def test_a_run_that_was_owed_is_wanted_as_long_as_it_is_owed(self):
        want = wanted(log_of(scale_out("a", 60, 120)), 100)
        assert want.owed is not None
        assert want.runs[want.owed.name] == want.owed

    def test_an_unknown_profile_is_a_problem_until_the_event_is_over(self):
        log = log_of(scale_out("a", 60, 120, band="unheard"), scale_in("b", 120))
        want = wanted(log, 70)
        assert [(p.code, p.entry) for p in want.problems] == [("unknown-profile", f"infra/pa/{DATE}")]
        assert "infra-common-unheard" in want.problems[0].message
        assert wanted(log, 121).problems == ()

    def test_a_scale_in_of_an_unknown_profile_is_a_problem_until_it_fires(self):
        log = log_of(scale_out("a", 60, 120), scale_in("b", 120, band="unheard"))
        assert [p.code for p in wanted(log, 70).problems] == ["unknown-profile"]

    def test_and_beyond_if_it_is_owed(self):
        log = log_of(scale_out("a", 60, 120), scale_in("b", 120, band="unheard"))
        facts = begun(wanted(log).runs["peaktime-create-infra-common-common-20260504"])
        assert [p.code for p in wanted(log, 150, facts=facts).problems] == ["unknown-profile"]
        assert wanted(log, 150).problems == ()

    def test_oddities_are_problems_from_when_they_hold(self):
        log = log_of(scale_out("a", 60))
        assert wanted(log, 60 + 24 * 60 - 1).problems == ()
        assert [p.code for p in wanted(log, 60 + 24 * 60).problems] == ["no-end"]


OUT = "peaktime-create-infra-common-common-20260504"
IN = "peaktime-delete-infra-common-common-20260504"


class TestOwed:
    @pytest.fixture
    def log(self):
        return log_of(scale_out("a", 60), scale_in("b", 120))

    def facts(self, log, *names):
        facts, runs = Facts(), wanted(log).runs
        for name in names:
            begun(runs[name], OutcomeKind.SUCCEEDED, facts)
        return facts

    def test_with_a_window_open_what_the_last_run_led_to_must_be_what_is_wanted(self, log):
        assert wanted(log, 59).owed is None
        assert (wanted(log, 60).owed.name, wanted(log, 60).owed.instant) == (OUT, at(60))
        assert wanted(log, 60, facts=self.facts(log, OUT)).owed is None

    def test_with_none_open_a_scale_in_is_owed_if_the_last_run_was_a_scale_out_whose_stretch_asked(self, log):
        assert wanted(log, 119, facts=self.facts(log, OUT)).owed is None
        assert wanted(log, 120, facts=self.facts(log, OUT)).owed.name == IN
        assert wanted(log, 120, facts=self.facts(log, OUT, IN)).owed is None
        assert wanted(log, 120).owed is None, "nothing has scaled out"

    def test_if_none_asked_none_is_owed(self):
        log = log_of(scale_out("a", 60, 120))
        want = wanted(log, 150, facts=self.facts(log, OUT))
        assert (want.owed, want.problems) == (None, ())

    def test_a_window_cut_without_a_scale_in_is_a_problem(self):
        log = log_of(scale_out("a", 60, 120))
        facts = self.facts(log, OUT)
        log.append(delete("c"), 90)
        want = wanted(log, 91, facts=facts)
        assert want.owed is None
        assert [(p.code, p.entry) for p in want.problems] == [("no-scale-in", f"infra/pa/{DATE}")]

    def test_a_scale_out_that_no_window_explains_any_more_is_a_problem(self, log):
        facts = self.facts(log, OUT)
        log.append(delete("c"), 120.5)
        want = wanted(log, 121, facts=facts)
        assert want.owed is None
        assert [p.code for p in want.problems] == ["no-scale-in"]

    def test_and_no_other_events_scale_in_is_started_for_it(self, log):
        log.append(scale_out("x", 10, date="2026-05-01"))
        log.append(scale_in("y", 30, date="2026-05-01"))
        facts = self.facts(log, OUT)
        log.append(delete("c"), 120.5)
        assert wanted(log, 121, facts=facts).owed is None

    def test_an_instant_that_is_not_later_than_the_last_run_becomes_one_second_after_it(self, log):
        facts = self.facts(log, OUT)
        log.append(scale_out("c", 60, band="night"), 80)
        owed = wanted(log, 81, facts=facts).owed
        assert owed.instant == at(60) + timedelta(seconds=1)
        assert re.fullmatch(r"peaktime-create-infra-common-night-20260504-[0-9a-f]{8}", owed.name)

    def test_a_later_one_stays_the_timelines(self, log):
        facts = self.facts(log, OUT)
        log.append(scale_out("c", 70, 100, date="2026-05-05", band="night"))
        assert wanted(log, 71, facts=facts).owed.instant == at(70)

    def test_of_the_same_level_none_is_owed(self, log):
        facts = self.facts(log, OUT)
        log.append(scale_out("c", 70, 100, date="2026-05-05"))
        assert wanted(log, 71, facts=facts).owed is None

    def test_a_start_moved_forward_while_open_does_not_lose_the_scale_in(self, log):
        """Nor does it find that of another stretch."""
        log.append(scale_out("x", 10, date="2026-05-01"))
        log.append(scale_in("y", 30, date="2026-05-01"))
        facts = self.facts(log, OUT)
        log.append(scale_out("c", 80), 90)
        assert wanted(log, 100, facts=facts).owed is None
        owed = wanted(log, 120, facts=facts).owed
        assert (owed.name, owed.instant) == (IN, at(120))


def test_a_run_needs_no_more_than_its_firing_entry_and_profile():
    entry = log_of(scale_out("a", 60, 120)).entries.by_key[f"infra/pa/{DATE}"]
    firing = Firing(
        instant=at(60),
        action=RequestAction.SCALE_OUT,
        entry=entry.key,
        by=entry.scale_out,
        since=at(0),
        why="",
    )
    run = Run(name="n", firing=firing, entry=entry, profile=profile())
    assert run.way is run.profile.scale_out
    assert run.workflow == f"n-{int(at(60).timestamp())}"
