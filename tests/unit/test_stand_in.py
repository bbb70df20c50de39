"""The stand-in for Argo: what it decides, and what it does with a folder of manifests."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from peaktime.sandbox import argo_rules as rules
from peaktime.sandbox.argo import FastForward, StandIn
from peaktime.sandbox.argo_clusters import AlreadyExistsError, DirectoryCluster, RefusedError
from peaktime.sandbox.argo_rules import Create, Patch, Refuse, Running, Skip, View, advance, decide, merged
from peaktime.sandbox.clock import SandboxClock

NAME = "peaktime-create-infra-common-common-20260504"
FIRING = datetime(2026, 5, 4, 0, 0, tzinfo=UTC)
CHILD = f"{NAME}-{int(FIRING.timestamp())}"
SECOND = timedelta(seconds=1)
STOP_ONCE = {"expression": "cronworkflow.succeeded + cronworkflow.failed >= 1"}


def cron(status=None, labels=None, annotations=None, called=NAME, **spec):
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "CronWorkflow",
        "metadata": {
            "name": called,
            "namespace": "peaktime",
            "uid": f"uid-{called}",
            "resourceVersion": "1",
            "labels": {"app.kubernetes.io/managed-by": "peaktime"} | (labels or {}),
            "annotations": annotations or {},
        },
        "spec": {
            "schedules": ["0 9 4 5 *"],
            "timezone": "Asia/Seoul",
            "concurrencyPolicy": "Forbid",
            "stopStrategy": STOP_ONCE,
            "workflowMetadata": {"labels": {"app.kubernetes.io/part-of": "peaktime"}},
            "workflowSpec": {
                "entrypoint": "main",
                "arguments": {"parameters": [{"name": "title", "value": "May"}]},
                "templates": [
                    {
                        "name": "main",
                        "steps": [[{"name": "a", "templateRef": {"name": "dd-app", "template": "start"}}]],
                    },
                ],
            },
        }
        | spec,
        **({"status": status} if status else {}),
    }


def child(owner, phase="", at=FIRING, **metadata):
    made = rules.child_of(owner, at)
    made["metadata"] |= {"uid": f"uid-{at.timestamp()}", "resourceVersion": "7"} | metadata
    return made | ({"status": {"phase": phase}} if phase else {})


def template(called="dd-app", *inner):
    return {
        "kind": "WorkflowTemplate",
        "metadata": {"name": called, "namespace": "peaktime"},
        "spec": {"templates": [{"name": one} for one in inner]},
    }


def statuses(actions):
    return [action.body.get("status") for action in actions if isinstance(action, Patch)]


class TestFiring:
    def test_it_fires_what_came_between_two_looks(self):
        [action] = decide(cron(), [], FIRING, FIRING - SECOND)
        assert isinstance(action, Create)
        assert action.at == FIRING
        assert action.workflow == {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {
                "name": CHILD,
                "namespace": "peaktime",
                # The CronWorkflow's own labels are not copied.
                "labels": {rules.CRON_LABEL: NAME, "app.kubernetes.io/part-of": "peaktime"},
                "annotations": {rules.SCHEDULED_TIME: "2026-05-04T00:00:00Z", rules.STAND_IN: "true"},
                "ownerReferences": [
                    {
                        "apiVersion": "argoproj.io/v1alpha1",
                        "kind": "CronWorkflow",
                        "name": NAME,
                        "uid": f"uid-{NAME}",
                        "controller": True,
                        "blockOwnerDeletion": True,
                    },
                ],
            },
            "spec": cron()["spec"]["workflowSpec"],
        }

    @pytest.mark.parametrize(
        ("now", "looked"),
        [
            (FIRING - SECOND, FIRING - 2 * SECOND),
            (FIRING + SECOND, FIRING),
            (FIRING + SECOND, None),  # a missed first run is never caught up
            (FIRING, None),
        ],
    )
    def test_it_fires_nothing_else(self, now, looked):
        assert decide(cron(), [], now, looked) == []

    def test_a_long_gap_between_two_looks_is_one_late_firing(self):
        late = decide(cron(schedules=["* * * * *"]), [], FIRING + timedelta(minutes=9), FIRING)
        assert [action.at for action in late] == [FIRING + timedelta(minutes=1)]

    def test_each_schedule_fires_and_the_same_instant_once(self):
        both = cron(schedules=["0 9 4 5 *", "0 9 * * *", "1 9 * * *"], concurrencyPolicy="Allow")
        actions = decide(both, [], FIRING + timedelta(minutes=1), FIRING - SECOND)
        assert [action.at for action in actions] == [FIRING, FIRING + timedelta(minutes=1)]

    @pytest.mark.parametrize(
        "quiet",
        [cron(suspend=True), cron(status={"phase": "Stopped"})],
        ids=["suspended", "stopped"],
    )
    def test_it_does_not_fire_when_suspended_or_stopped(self, quiet):
        assert decide(quiet, [], FIRING, FIRING - SECOND) == []
        assert rules.next_firing(quiet, FIRING - SECOND) is None

    def test_a_stop_strategy_that_is_fulfilled_already_stops(self):
        [patch] = decide(cron(status={"failed": 1}), [], FIRING, FIRING - SECOND)
        assert patch.body["status"] == {"phase": "Stopped"}
        assert patch.body["metadata"]["labels"] == {
            "app.kubernetes.io/managed-by": "peaktime",
            rules.CRON_COMPLETED_LABEL: "true",
        }

    def test_a_firing_can_be_told_to_be_refused(self):
        told = cron(workflowMetadata={"annotations": {rules.OUTCOME: "SubmissionError"}})
        [action] = decide(told, [], FIRING, FIRING - SECOND)
        assert isinstance(action, Refuse)


class TestConcurrency:
    def active(self, policy):
        owner = cron(schedules=["* * * * *"], concurrencyPolicy=policy)
        running = child(owner, "Running")
        return merged(owner, rules.created(owner, running, FIRING).body), [running]

    def test_forbid_leaves_the_firing_out(self):
        owner, children = self.active("Forbid")
        [action] = decide(owner, children, FIRING + timedelta(minutes=1), FIRING)
        assert isinstance(action, Skip)

    def test_forbid_allows_one_of_two_at_once(self):
        owner = cron(schedules=["0 9 * * *", "1 9 * * *"])
        first, second = decide(owner, [], FIRING + timedelta(minutes=1), FIRING - SECOND)
        assert isinstance(first, Create)
        assert isinstance(second, Skip)

    def test_allow_runs_beside_it(self):
        owner, children = self.active("Allow")
        [action] = decide(owner, children, FIRING + timedelta(minutes=1), FIRING)
        assert isinstance(action, Create)

    def test_replace_terminates_it(self):
        owner, children = self.active("Replace")
        terminate, create = decide(owner, children, FIRING + timedelta(minutes=1), FIRING)
        assert (terminate.kind, terminate.name, terminate.body) == (
            "Workflow",
            CHILD,
            {"spec": {"shutdown": "Terminate"}},
        )
        assert isinstance(create, Create)
        ended = advance(merged(children[0], terminate.body), [], FIRING, Running())
        assert ended.body["status"]["phase"] == "Failed"


class TestCatchingUp:
    def behind(self, **spec):
        owner = cron(
            schedules=["*/10 * * * *"],
            startingDeadlineSeconds=120,
            stopStrategy={"expression": "cronworkflow.failed >= 9"},
            status={"lastScheduledTime": "2026-05-04T00:00:00Z"},
            **spec,
        )
        return merged(owner, {"metadata": {"annotations": {rules.LAST_SCHEDULE: rules.schedule_text(owner)}}})

    def test_the_latest_missed_firing_within_the_deadline_is_caught_up(self):
        [action] = decide(self.behind(), [], FIRING + timedelta(minutes=31))
        assert action.at == FIRING + timedelta(minutes=30)

    def test_not_after_the_deadline(self):
        assert decide(self.behind(), [], FIRING + timedelta(minutes=33)) == []

    def test_not_without_a_deadline(self):
        owner = self.behind()
        del owner["spec"]["startingDeadlineSeconds"]
        assert decide(owner, [], FIRING + timedelta(minutes=31)) == []

    def test_not_for_another_schedule_than_the_last_one_used(self):
        owner = merged(self.behind(), {"spec": {"schedules": ["*/15 * * * *"]}})
        assert decide(owner, [], FIRING + timedelta(minutes=31)) == []

    def test_not_if_its_workflow_is_there(self):
        owner = self.behind()
        there = child(owner, "Succeeded", FIRING + timedelta(minutes=30))
        assert decide(owner, [there], FIRING + timedelta(minutes=31)) == []


class TestStatus:
    def test_a_created_workflow_is_active(self):
        owner = cron(labels={"by": "hand"}, status={"conditions": [{"type": "SubmissionError", "status": "True"}]})
        after = merged(owner, rules.created(owner, child(owner), FIRING).body)
        assert after["status"] == {
            "active": [
                {
                    "apiVersion": "argoproj.io/v1alpha1",
                    "kind": "Workflow",
                    "name": CHILD,
                    "namespace": "peaktime",
                    "uid": f"uid-{FIRING.timestamp()}",
                    "resourceVersion": "7",
                },
            ],
            "lastScheduledTime": "2026-05-04T00:00:00Z",
            "phase": "Active",
        }
        assert after["metadata"]["annotations"] == {
            rules.STAND_IN: "true",
            rules.LAST_SCHEDULE: "CRON_TZ=Asia/Seoul 0 9 4 5 *",
        }

    def test_labels_and_annotations_are_written_whole_as_argo_does(self):
        owner = cron(labels={"by": "hand"}, annotations={"peaktime.io/position": "7"})
        metadata = rules.created(owner, child(owner), FIRING).body["metadata"]
        assert metadata["labels"] == owner["metadata"]["labels"]
        assert metadata["annotations"]["peaktime.io/position"] == "7"

    @pytest.mark.parametrize(
        ("phase", "counters"),
        [("Succeeded", {"succeeded": 1}), ("Failed", {"failed": 1}), ("Error", {"failed": 1})],
    )
    def test_a_finished_one_is_counted_once_and_stops_the_schedule(self, phase, counters):
        owner = cron()
        running = merged(owner, rules.created(owner, child(owner), FIRING).body)
        [patch] = decide(running, [child(owner, phase)], FIRING + SECOND, FIRING)
        assert patch.body["status"] == {"active": [], "phase": "Stopped"} | counters
        assert decide(merged(running, patch.body), [child(owner, phase)], FIRING + 2 * SECOND, FIRING + SECOND) == []

    def test_one_that_was_deleted_is_active_no_more_and_not_counted(self):
        running = merged(cron(), rules.created(cron(), child(cron()), FIRING).body)
        assert statuses(decide(running, [], FIRING + SECOND, FIRING)) == [{"active": []}]

    def test_a_child_found_running_becomes_active(self):
        [status] = statuses(decide(cron(), [child(cron(), "Running")], FIRING + SECOND, FIRING))
        assert [run["name"] for run in status["active"]] == [CHILD]

    def test_somebody_elses_workflow_with_the_label_is_not_active(self):
        theirs = child(cron(), "Running", ownerReferences=[])
        assert decide(cron(), [theirs], FIRING + SECOND, FIRING) == []

    def test_a_refused_submission_counts_as_failed(self):
        after = merged(cron(), rules.refused(cron(), "no").body)
        assert after["status"] == {
            "failed": 1,
            "conditions": [{"type": "SubmissionError", "status": "True", "message": "no"}],
        }

    @pytest.mark.parametrize(
        ("expression", "stops"),
        [
            ("cronworkflow.succeeded + cronworkflow.failed >= 1", True),
            ("cronworkflow.succeeded+cronworkflow.failed>3", False),
            ("cronworkflow.failed == 1", True),
            ("cronworkflow.succeeded < 2", False),
            ("cronworkflow.succeeded <= 2", True),
            ("cronworkflow.failed != 1", False),
        ],
    )
    def test_stop_expressions(self, expression, stops):
        status = {"succeeded": 2, "failed": 1}
        assert rules.stops(cron(status=status, stopStrategy={"expression": expression})) is stops


class TestSpecError:
    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ({"schedules": ["0 9 4 13 *"]}, "malformed"),
            ({"schedules": []}, "at least one schedule"),
            ({"schedule": "0 9 4 5 *", "schedules": None}, "at least one schedule"),
            ({"timezone": "Asia/Nowhere"}, "unknown time zone"),
            ({"concurrencyPolicy": "Never"}, "concurrencyPolicy"),
            ({"startingDeadlineSeconds": -1}, "startingDeadlineSeconds"),
            ({"stopStrategy": {"expression": "now() > 1"}}, "stop expression"),
            ({"when": "1 == 1"}, "when"),
            ({"called": "x" * 53}, "52 characters"),
            ({"workflowSpec": {"entrypoint": "main", "templates": []}}, "undefined"),
        ],
    )
    def test_it_is_a_condition_and_nothing_fires(self, spec, message):
        bad = cron(**spec)
        [patch] = decide(bad, [], FIRING, FIRING - SECOND)
        [condition] = patch.body["status"]["conditions"]
        assert (condition["type"], condition["status"]) == ("SpecError", "True")
        assert message in condition["message"]
        assert decide(merged(bad, patch.body), [], FIRING, FIRING - SECOND) == []

    def test_it_goes_when_the_spec_is_mended(self):
        conditions = [{"type": "SpecError", "status": "True", "message": "bad"}]
        [patch] = decide(cron(status={"conditions": conditions}), [], FIRING - SECOND)
        assert patch.body["status"] == {"conditions": None}


class TestWorkflow:
    def walk(self, workflow, templates=(), running=None):
        """The phases a Workflow goes through, with the patches that do it."""
        running = running or Running(run_seconds=10)
        now, patches = FIRING, []
        while patch := advance(workflow, templates, now, running):
            workflow = merged(workflow, patch.body)
            patches.append(patch)
            if not rules.finished(workflow):
                assert advance(workflow, templates, rules.ends_at(workflow, running) - SECOND / 2, running) is None
                now = rules.ends_at(workflow, running)
        return workflow, [patch.event for patch in patches]

    def test_it_runs_and_succeeds(self):
        workflow, events = self.walk(child(cron()))
        assert events == ["running", "succeeded"]
        status = workflow["status"]
        assert (status["phase"], status["startedAt"], status["finishedAt"]) == (
            "Succeeded",
            "2026-05-04T00:00:00Z",
            "2026-05-04T00:00:10Z",
        )
        assert status["nodes"][CHILD]["phase"] == "Succeeded"
        assert workflow["metadata"]["labels"] == child(cron())["metadata"]["labels"] | {
            rules.COMPLETED_LABEL: "true",
            rules.PHASE_LABEL: "Succeeded",
        }
        assert workflow["metadata"]["annotations"][rules.STAND_IN] == "true"

    def test_anybodys_workflow_runs(self):
        theirs = {"kind": "Workflow", "metadata": {"name": "theirs", "namespace": "other"}, "spec": {"entrypoint": "x"}}
        assert self.walk(theirs)[1] == ["running", "succeeded"]

    @pytest.mark.parametrize(
        "told",
        [
            {"workflowMetadata": {"annotations": {rules.OUTCOME: "Failed", rules.RUN_SECONDS: "3"}}},
            {"workflowMetadata": {"labels": {rules.OUTCOME: "Failed", rules.RUN_SECONDS: "3"}}},
            {
                "workflowSpec": {
                    "arguments": {
                        "parameters": [
                            {"name": "sandbox-outcome", "value": "Failed"},
                            {"name": "sandbox-run-seconds", "value": "3"},
                        ],
                    },
                },
            },
        ],
        ids=["annotation", "label", "argument"],
    )
    def test_how_it_ends_can_be_told(self, told):
        workflow, events = self.walk(child(cron(**told)))
        assert events == ["running", "failed"]
        assert workflow["status"]["finishedAt"] == "2026-05-04T00:00:03Z"
        assert "told" in workflow["status"]["message"]

    def test_which_ones_fail_can_be_told_by_name(self):
        assert self.walk(child(cron()), running=Running(fail=["*-night-*"]))[1][-1] == "succeeded"
        assert self.walk(child(cron()), running=Running(fail=["*-night-*", "*-common-*"]))[1][-1] == "failed"

    @pytest.mark.parametrize(
        ("templates", "end"),
        [
            ([], "succeeded"),
            ([template("dd-app", "start")], "succeeded"),
            ([template("dd-app", "other")], "error"),
            ([template("dd-other", "start")], "error"),
        ],
    )
    def test_a_missing_template_is_an_error_where_there_are_any(self, templates, end):
        workflow, events = self.walk(child(cron()), templates)
        assert events[-1] == end
        assert ("dd-app" in workflow["status"].get("message", "")) == (end == "error")


class TestView:
    def test_children_are_found_by_label_and_namespace(self):
        ours, theirs = child(cron()), child(cron(), namespace="other")
        assert View(workflows=[ours, theirs]).children() == {("peaktime", NAME): [ours], ("other", NAME): [theirs]}


# -- a folder --


def put(folder, thing):
    metadata = thing["metadata"]
    (folder / f"{thing['kind'].lower()}.{metadata['namespace']}.{metadata['name']}.yaml").write_text(
        yaml.safe_dump(thing),
    )


def get(folder, kind="workflow", called=CHILD):
    return yaml.safe_load((folder / f"{kind}.peaktime.{called}.yaml").read_text())


async def eventually(condition, seconds=10):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is in files
            await asyncio.sleep(0.01)


@pytest.fixture
def clock(tmp_path):
    clock = SandboxClock(tmp_path / "clock.json")
    clock.advance_to(datetime(2099, 5, 3, 23, 0, tzinfo=UTC))
    return clock


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "cluster").mkdir()
    return tmp_path / "cluster"


LATER = datetime(2099, 5, 4, 0, 0, tzinfo=UTC)
LATER_CHILD = f"{NAME}-{int(LATER.timestamp())}"


class TestDirectoryCluster:
    async def test_an_object_is_created_once(self, folder, clock):
        async with DirectoryCluster(folder, clock=clock) as cluster:
            made = await cluster.create(child(cron()))
            with pytest.raises(AlreadyExistsError):
                await cluster.create(child(cron()))
            assert (await cluster.view()).workflows == [made]
        assert made["metadata"]["uid"]
        assert made["metadata"]["resourceVersion"].isdigit()
        assert made["metadata"]["creationTimestamp"].startswith("2099-05-03T23:")
        assert {file.name for file in folder.iterdir()} == {f"workflow.peaktime.{CHILD}.yaml", ".lock"}

    async def test_a_patch_merges_into_what_is_there_now(self, folder):
        put(folder, cron())
        async with DirectoryCluster(folder) as cluster:
            await cluster.view()
            put(folder, cron(annotations={"peaktime.io/position": "7"}))
            after = await cluster.patch("CronWorkflow", "peaktime", NAME, {"status": {"phase": "Active"}})
        assert after == get(folder, "cronworkflow", NAME)
        assert after["metadata"]["annotations"] == {"peaktime.io/position": "7"}
        assert after["status"] == {"phase": "Active"}
        assert int(after["metadata"]["resourceVersion"]) > 1

    async def test_what_is_gone_stays_gone(self, folder):
        async with DirectoryCluster(folder) as cluster:
            assert await cluster.patch("CronWorkflow", "peaktime", NAME, {"status": {}}) is None
        assert [file.name for file in folder.iterdir()] == [".lock"]

    async def test_what_cannot_be_read_is_told_and_left_out(self, folder, caplog):
        (folder / "cronworkflow.peaktime.broken.yaml").write_text("{")
        (folder / "cronworkflow.peaktime.text.yaml").write_text("text")
        (folder / ".stand-in-half-written").write_text("{")
        (folder / "notes.txt").write_text("")
        put(folder, cron())
        async with DirectoryCluster(folder) as cluster:
            for _ in range(2):
                assert [rules.name(one) for one in (await cluster.view()).crons] == [NAME]
            with pytest.raises(RefusedError):
                await cluster.patch("CronWorkflow", "peaktime", "broken", {})
        assert len(caplog.records) == 2

    async def test_times_are_texts_and_the_file_name_is_the_identity(self, folder):
        (folder / f"cronworkflow.peaktime.{NAME}.yaml").write_text(
            "status: {lastScheduledTime: 2026-05-04T00:00:00Z}\nmetadata: {name: other}\n",
        )
        async with DirectoryCluster(folder) as cluster:
            [one] = (await cluster.view()).crons
        assert one["status"]["lastScheduledTime"] == "2026-05-04T00:00:00Z"
        assert (rules.namespace(one), rules.name(one)) == ("peaktime", NAME)

    async def test_one_namespace_only(self, folder):
        put(folder, cron())
        async with DirectoryCluster(folder, space="other") as cluster:
            assert await cluster.view() == View([], [], [])

    async def test_a_change_is_noticed(self, folder):
        async with DirectoryCluster(folder) as cluster:
            await cluster.view()
            waiting = asyncio.create_task(cluster.changed(60))
            put(folder, cron())
            async with asyncio.timeout(10):
                await waiting


class TestLoop:
    async def test_a_cron_workflow_is_fired_run_and_stopped(self, folder, clock):
        put(folder, cron())
        steps = []
        async with DirectoryCluster(folder, clock=clock) as cluster:
            stand_in = StandIn(cluster, clock, Running(run_seconds=0.05), steps.append)
            assert await stand_in.look() == []
            async with stand_in:
                clock.advance_to(LATER)
                await eventually(lambda: get(folder, "cronworkflow", NAME).get("status", {}).get("phase") == "Stopped")
        assert [(step.event, step.cron_workflow, step.workflow) for step in steps] == [
            ("fired", NAME, LATER_CHILD),
            ("running", NAME, LATER_CHILD),
            ("succeeded", NAME, LATER_CHILD),
        ]
        assert all(step.at >= LATER for step in steps)
        after = get(folder, "cronworkflow", NAME)
        assert (after["status"]["succeeded"], after["status"]["active"]) == (1, [])
        assert after["metadata"]["annotations"][rules.STAND_IN] == "true"
        assert get(folder, called=LATER_CHILD)["status"]["phase"] == "Succeeded"

    async def test_all_state_is_in_the_objects(self, folder, clock):
        put(folder, cron())
        async with DirectoryCluster(folder, clock=clock) as cluster:
            first = StandIn(cluster, clock, Running(run_seconds=600))
            await first.look()
            clock.advance_to(LATER)
            assert [step.event for step in await first.look()] == ["fired"]
            second = StandIn(cluster, clock, Running(run_seconds=600))
            assert [step.event for step in await second.look()] == ["running"]
            third = StandIn(cluster, clock, Running(run_seconds=600))
            assert await third.look() == []
            clock.advance_to(LATER + timedelta(seconds=700))
            assert [step.event for step in await third.look()] == ["succeeded"]
            await StandIn(cluster, clock).look()
        assert get(folder, "cronworkflow", NAME)["status"]["phase"] == "Stopped"

    async def test_a_first_run_missed_while_it_was_away_is_not_caught_up(self, folder, clock):
        put(folder, cron(startingDeadlineSeconds=3600))
        clock.advance_to(LATER + SECOND)
        async with DirectoryCluster(folder, clock=clock) as cluster:
            stand_in = StandIn(cluster, clock)
            for _ in range(3):
                assert await stand_in.look() == []

    async def test_a_workflow_that_is_there_already_is_success(self, folder, clock):
        put(folder, cron())
        put(folder, child(cron(), at=LATER, ownerReferences=[]))
        async with DirectoryCluster(folder, clock=clock) as cluster:
            stand_in = StandIn(cluster, clock, Running(run_seconds=0))
            await stand_in.look()
            clock.advance_to(LATER)
            for _ in range(3):
                await stand_in.look()
        assert stand_in.summary.errors == 0
        assert stand_in.summary.fired == 0
        assert "status" not in get(folder, "cronworkflow", NAME)
        assert get(folder, called=LATER_CHILD)["status"]["phase"] == "Succeeded"

    async def test_a_refused_workflow_is_a_submission_error(self, folder, clock):
        class Refusing(DirectoryCluster):
            async def create(self, workflow):
                raise RefusedError(f"403 Forbidden: {workflow['metadata']['name']}")

        put(folder, cron())
        async with Refusing(folder, clock=clock) as cluster:
            stand_in = StandIn(cluster, clock)
            await stand_in.look()
            clock.advance_to(LATER)
            [step] = await stand_in.look()
            assert await stand_in.look() == []
        assert (step.event, step.workflow) == ("error", LATER_CHILD)
        status = get(folder, "cronworkflow", NAME)["status"]
        assert status["failed"] == 1
        assert status["conditions"][0]["type"] == "SubmissionError"
        assert "403 Forbidden" in status["conditions"][0]["message"]

    async def test_a_cluster_that_does_not_answer_is_asked_again(self, folder, clock):
        class Absent(DirectoryCluster):
            failures = 2

            async def view(self):
                if self.failures:
                    self.failures -= 1
                    raise ConnectionError("gone")
                return await super().view()

        put(folder, child(cron()))
        steps = []
        async with Absent(folder, clock=clock) as cluster, StandIn(cluster, clock, Running(0), steps.append):
            await eventually(lambda: steps and steps[-1].event == "succeeded")
        assert [step.event for step in steps] == ["error", "error", "running", "succeeded"]

    async def test_one_malformed_object_does_not_hold_up_the_others(self, folder, clock):
        put(folder, cron(called="a-malformed", workflowSpec={"entrypoint": "main", "templates": ["text"]}))
        put(folder, cron())
        async with DirectoryCluster(folder, clock=clock) as cluster:
            stand_in = StandIn(cluster, clock)
            assert [(step.event, step.cron_workflow) for step in await stand_in.look()] == [("error", "a-malformed")]
            clock.advance_to(LATER)
            assert [(step.event, step.cron_workflow) for step in await stand_in.look()] == [("fired", NAME)]


class TestFastForward:
    async def test_it_goes_from_firing_to_firing_until_nothing_is_left(self, folder, clock):
        names = {"later": "0 9 6 5 *", "sooner": "0 9 4 5 *", "never": "0 9 5 5 *"}
        for called, schedule in names.items():
            put(folder, cron(called=called, schedules=[schedule], suspend=called == "never"))
        steps = []
        async with DirectoryCluster(folder, clock=clock) as cluster:
            stand_in = StandIn(cluster, clock, Running(run_seconds=7200, fail=["later-*"]), steps.append)
            async with asyncio.timeout(20):
                summary = await stand_in.fast_forward(FastForward(settle=0.02, idle=0.02))
        assert [(step.event, step.cron_workflow) for step in steps] == [
            ("advanced", ""),
            ("fired", "sooner"),
            ("running", "sooner"),
            ("advanced", ""),
            ("succeeded", "sooner"),
            ("advanced", ""),
            ("fired", "later"),
            ("running", "later"),
            ("advanced", ""),
            ("failed", "later"),
        ]
        fired = [step.at for step in steps if step.event == "fired"]
        assert [at - at.replace(second=0, microsecond=0) < timedelta(seconds=10) for at in fired] == [True, True]
        assert [(at.day, at.hour, at.minute) for at in fired] == [(4, 0, 0), (6, 0, 0)]
        assert (summary.fired, summary.succeeded, summary.failed, summary.ended) == (2, 1, 1, "nothing is left to fire")

    async def test_it_waits_for_the_deletion_of_what_fired(self, folder, clock):
        put(folder, cron(called="first"))
        put(folder, cron(called="second", schedules=["0 9 5 5 *"]))
        steps = []
        how = FastForward(settle=0.02, idle=0.02, patience=60, await_deletion=True, for_seconds=30)
        async with DirectoryCluster(folder, clock=clock) as cluster:
            stand_in = StandIn(cluster, clock, Running(0), steps.append)
            going = asyncio.create_task(stand_in.fast_forward(how))
            stopped = folder / "cronworkflow.peaktime.first.yaml"
            await eventually(lambda: "Stopped" in stopped.read_text())
            seen = len(steps)
            # What it does with time: it looks, many times, and does not go on.
            looks = iter(range(20))
            original = cluster.view
            enough = asyncio.Event()

            async def counted():
                if next(looks, None) is None:
                    enough.set()
                return await original()

            cluster.view = counted
            async with asyncio.timeout(10):
                await enough.wait()
            assert len(steps) == seen
            stopped.unlink()
            await eventually(lambda: "Stopped" in (folder / "cronworkflow.peaktime.second.yaml").read_text())
            (folder / "cronworkflow.peaktime.second.yaml").unlink()
            async with asyncio.timeout(10):
                summary = await going
        assert (summary.fired, summary.ended) == (2, "nothing is left to fire")

    async def test_patience_ends(self, folder, clock):
        put(folder, cron())
        how = FastForward(settle=0.02, idle=0.02, patience=0.05, await_deletion=True)
        async with DirectoryCluster(folder, clock=clock) as cluster, asyncio.timeout(10):
            summary = await StandIn(cluster, clock, Running(0)).fast_forward(how)
        assert (summary.fired, summary.ended) == (1, "nothing is left to fire")

    async def test_a_limit_of_firings(self, folder, clock):
        put(folder, cron(schedules=["0 9 * * *"], stopStrategy=None))
        how = FastForward(settle=0.02, limit=3)
        async with DirectoryCluster(folder, clock=clock) as cluster, asyncio.timeout(20):
            summary = await StandIn(cluster, clock, Running(60)).fast_forward(how)
        assert (summary.fired, summary.succeeded, summary.ended) == (3, 3, "the limit is reached")

    async def test_only_a_sandbox_clock_can_be_put_forward(self, folder):
        async with DirectoryCluster(folder) as cluster:
            with pytest.raises(TypeError, match="sandbox clock"):
                await StandIn(cluster).fast_forward()
