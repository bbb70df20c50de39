"""What doctor says of what it finds: a line each, with what to do."""

import asyncio
import json
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from support.rights import role

from peaktime.core.runs import ENTRY, FIRES_AT, HANDS_OFF, MANAGED_BY, OWNER, POSITION, TARGET, TITLE
from peaktime.errors import BrokerError
from peaktime.profiles import parse_profiles
from processors.doctor import judge_cluster, judge_kafka, judge_log, judge_settings
from processors.doctor.checks import Check, in_thread, run
from processors.doctor.judge_cluster import RIGHTS, Template
from processors.doctor.judge_kafka import GroupSeen, SubjectSeen, TopicsSeen
from processors.doctor.judge_settings import FileSeen
from processors.doctor.lines import Line, Status, as_json, hidden, ok, summary, warning, wrong
from processors.doctor.unexplained import objects_lines, refusal, removal_of, told, why_unexplained
from producers.acls import Acl, AclsPlan, missing
from producers.topics import Difference
from schemas.records import Fact, FactState, Outcome

NOW = datetime(2026, 5, 4, tzinfo=UTC)
PROFILES = """
zone: Asia/Seoul
bands:
  common: {from: "09:00", to: "18:00"}
defaults:
  serviceAccount: runner
profiles:
  - target: infra
    days: [common, mon]
    bands: [common]
    level: 1
    scaleOut: {stages: [[{service: app, workflowTemplate: app-start, template: scale}]]}
    scaleIn: {stages: [[{service: app, workflowTemplate: app-stop, template: scale}]]}
  - target: shop
    days: [common]
    bands: [common]
    level: 1
    namespace: shop
    scaleOut: {stages: [[{service: app, workflowTemplate: app-start, template: grow}]]}
    scaleIn: {stages: [[{service: app, workflowTemplate: app-start, template: shrink}]]}
"""


def statuses(lines):
    return [line.status for line in lines]


def only(lines):
    (line,) = lines
    return line


class TestLines:
    def test_a_line_is_one_line_and_obeys_nobody(self):
        line = wrong("topic\n x", "is \x1b[31m red.", "Do this")
        assert str(line) == "wrong    topic x: is \\x1b[31m red. Do this"

    def test_a_secret_is_nowhere(self):
        lines = hidden([warning("Kafka", "user x, password hunter2!", "Not hunter2!")], ["hunter2!", "x"])
        assert "hunter2" not in str(lines[0])
        assert "user x" in str(lines[0])

    def test_as_json(self):
        document = as_json([Line(Status.WRONG, "a", "b", "c", check="d"), ok("e", "f")])
        assert json.loads(json.dumps(document)) == {
            "counts": {"ok": 1, "warning": 0, "wrong": 1},
            "lines": [
                {"check": "d", "status": "wrong", "about": "a", "found": "b", "next": "c"},
                {"check": "", "status": "ok", "about": "e", "found": "f", "next": ""},
            ],
        }

    def test_the_summary(self):
        assert summary([wrong("a", "b", "c"), warning("a", "b", "c"), ok("a", "b")]) == "1 wrong, 1 warning, 1 ok"


class TestChecks:
    async def test_one_that_fails_or_hangs_hides_no_other(self):
        async def fails():
            raise BrokerError("Kafka", "is away", "Start it")

        async def breaks():
            raise KeyError("x")

        async def hangs():
            await asyncio.Event().wait()

        async def says():
            return [ok("fine", "it is")]

        began = time.monotonic()
        lines = await run(
            [
                Check(name="hangs", look=hangs, seconds=0.05),
                Check(name="fails", look=fails),
                Check(name="breaks", look=breaks),
                Check(name="says", look=says),
            ],
        )
        assert time.monotonic() - began < 4
        assert [(line.check, line.status) for line in lines] == [
            ("hangs", Status.WRONG),
            ("fails", Status.WRONG),
            ("breaks", Status.WRONG),
            ("says", Status.OK),
        ]
        assert lines[1].next == "Start it"
        assert "KeyError" in lines[2].said

    async def test_what_can_find_nothing_says_why_and_is_not_asked(self):
        async def away():
            return [wrong("Kafka at x", "is away", "Start it")]

        async def never():
            raise AssertionError

        lines = await run([Check(name="Kafka", look=away), Check(name="topics", look=never, after="Kafka")])
        assert statuses(lines) == [Status.WRONG, Status.WARNING]
        assert lines[1].said == "not checked, because of Kafka at x"

    async def test_a_thread_that_never_ends_keeps_nothing_waiting(self):
        forever = threading.Event()

        async def look():
            return await in_thread(forever.wait)

        line = only(await run([Check(name="stuck", look=look, seconds=0.05)]))
        assert "no answer within" in line.said
        forever.set()

    async def test_what_a_thread_raises_is_told(self):
        def ask():
            raise BrokerError("Kafka", "is away", "Start it")

        async def look():
            return await in_thread(ask)

        assert only(await run([Check(name="x", look=look)])).about == "Kafka"


class TestSettings:
    def test_all_is_well(self):
        assert statuses(judge_settings.settings_lines("Asia/Seoul", [], {}, slack="web", has_token=True)) == [Status.OK]

    def test_what_is_for_tests_and_a_missing_token(self):
        lines = judge_settings.settings_lines("Asia/Seoul", ["PEAKTIME_FAILPOINTS"], {}, slack="web", has_token=False)
        assert statuses(lines) == [Status.OK, Status.WARNING, Status.WARNING]
        assert "PEAKTIME_SLACK_TOKEN" in lines[1].said
        assert "PEAKTIME_FAILPOINTS" in lines[2].said

    def test_a_variable_that_was_mistyped(self):
        mistaken = {"PEAKTIME_BOOTSTRAP": "PEAKTIME_KAFKA_BOOTSTRAP"}
        _, line = judge_settings.settings_lines("Asia/Seoul", [], mistaken, slack="console", has_token=False)
        assert line.status is Status.WARNING
        assert "PEAKTIME_BOOTSTRAP is not a setting" in line.said
        assert "PEAKTIME_KAFKA_BOOTSTRAP" in line.next

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"path": "/x.yaml", "count": 3, "zone": "Asia/Seoul"}, [Status.OK]),
            ({"path": "/x.yaml", "count": 3, "zone": "UTC"}, [Status.OK, Status.WARNING]),
            ({"path": None}, [Status.WARNING]),
            ({"path": "/x.yaml", "problem": "is not YAML", "remedy": "Correct it"}, [Status.WRONG]),
        ],
    )
    def test_files(self, fields, expected):
        seen = FileSeen(what="profiles", variable="PEAKTIME_PROFILES", **fields)
        assert statuses(judge_settings.file_lines(seen, "Asia/Seoul")) == expected


class TestKafka:
    def test_topics_as_the_catalogue_says(self):
        line = only(judge_kafka.topics_lines(TopicsSeen(partitions={"a": 12, "b": 12})))
        assert str(line) == "ok       topics: 2, each with 12 partitions, as the catalogue says"

    def test_a_missing_topic(self):
        line = only(judge_kafka.topics_lines(TopicsSeen(partitions={"a": 12}, missing=["b"])))
        assert (line.status, line.about, line.next) == (Status.WRONG, "topic b", "Run `peaktime topics ensure`")

    @pytest.mark.parametrize(
        ("partitions", "status"),
        [({"a": 12, "b": 3}, Status.WRONG), ({"a": 3, "b": 3}, Status.WARNING)],
    )
    def test_other_partition_counts_matter_if_they_differ_from_each_other(self, partitions, status):
        odd = Difference("b", "partitions", "12", "3", "Grow by a v2 topic")
        assert statuses(judge_kafka.topics_lines(TopicsSeen(partitions=partitions, differences=[odd]))) == [status]

    def test_another_configuration_is_wrong(self):
        odd = Difference("b", "message.timestamp.type", "LogAppendTime", "CreateTime", "Set it")
        line = only(judge_kafka.topics_lines(TopicsSeen(partitions={"b": 12}, differences=[odd])))
        assert line.status is Status.WRONG
        assert line.said == "message.timestamp.type is CreateTime, the catalogue says LogAppendTime"

    def test_what_this_user_may_not_see_is_a_warning(self):
        lines = judge_kafka.topics_lines(TopicsSeen(partitions={"a": 12}, unseen=["b"], unread=["a"]))
        assert statuses(lines) == [Status.WARNING, Status.WARNING]

    def test_rights(self):
        assert statuses(judge_kafka.acls_lines([], [], 40)) == [Status.OK]
        lines = judge_kafka.acls_lines(["one"], ["other"], 39)
        assert statuses(lines) == [Status.WRONG, Status.WARNING]
        assert "peaktime topics ensure --acls" in lines[0].next
        assert statuses(judge_kafka.acls_unseen("no")) == [Status.WARNING]
        assert statuses(judge_kafka.acls_none()) == [Status.WARNING]

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({}, []),
            ({"name": "pre", "pattern": "PREFIXED"}, []),
            ({"principal": "User:*"}, []),
            ({"operation": "ALL"}, []),
            ({"operation": "WRITE"}, ["READ"]),
            ({"permission": "DENY"}, ["READ"]),
            ({"host": "10.0.0.1"}, ["READ"]),
            ({"principal": "User:b"}, ["READ"]),
            ({"kind": "group"}, ["READ"]),
        ],
    )
    def test_a_broader_right_is_not_missing(self, given, expected):
        fields = {"principal": "User:a", "kind": "topic", "name": "pre.x", "operation": "READ"}
        plan = AclsPlan(create=(Acl(**fields),), same=(), unknown=(Acl(**{**fields, **given}),))
        assert [acl.operation for acl in missing(plan)] == expected

    def test_reading_gives_describing(self):
        fields = {"principal": "User:a", "kind": "group", "name": "g"}
        plan = AclsPlan((Acl(**fields, operation="DESCRIBE"),), (Acl(**fields, operation="READ"),), ())
        assert missing(plan) == []

    @pytest.mark.parametrize(
        ("fields", "status", "words"),
        [
            ({"state": "STABLE"}, Status.OK, "alive, 0 records behind"),
            ({"state": "STABLE", "behind": 1, "moving": True}, Status.OK, "1 record behind"),
            ({"state": "STABLE", "behind": 7}, Status.WARNING, "reads none"),
            ({"state": "PREPARING_REBALANCING", "behind": 7}, Status.OK, "shares its work"),
            ({"state": "EMPTY", "committed": True, "behind": 2}, Status.WRONG, "nobody is in it; 2 records behind"),
            ({}, Status.WRONG, "nobody is in it"),
            ({"refused": True}, Status.WARNING, "may not look"),
        ],
    )
    def test_a_group(self, fields, status, words):
        line = judge_kafka.group_line(GroupSeen(name="fold", group="peaktime-fold", **fields))
        assert (line.status, line.about) == (status, "consumer group peaktime-fold")
        assert words in line.said

    def test_a_sink_that_never_was(self):
        assert judge_kafka.group_line(GroupSeen(name="slack-sink", group="g")).status is Status.WARNING
        gone = judge_kafka.group_line(GroupSeen(name="slack-sink", group="g", committed=True))
        assert gone.status is Status.WRONG
        assert "peaktime slack-sink" in gone.next

    def test_subjects(self):
        fine = SubjectSeen(subject="a", registered=True, compatibility="FULL_TRANSITIVE")
        assert statuses(judge_kafka.registry_lines("http://r", [fine], "FULL_TRANSITIVE")) == [Status.OK]
        odd = [
            SubjectSeen(subject="b", registered=False),
            SubjectSeen(subject="c", registered=False, refusals=["because"]),
            SubjectSeen(subject="d", registered=True),
        ]
        lines = judge_kafka.registry_lines("http://r", [fine, *odd], "FULL_TRANSITIVE")
        assert statuses(lines) == [Status.WRONG] * 3
        assert [line.about for line in lines] == ["subject b", "subject c", "subject d"]
        assert "because" in lines[1].said


class TestCluster:
    profiles = parse_profiles(PROFILES, "here")

    def test_the_rights_asked_for_are_those_that_are_given(self):
        given = {
            (resource, verb) for rule in role()["rules"] for resource in rule["resources"] for verb in rule["verbs"]
        }
        assert {(resource, verb) for resource, verbs in RIGHTS.items() for verb in verbs} == given

    def test_kinds(self):
        assert statuses(judge_cluster.kinds_lines("v", judge_cluster.KINDS)) == [Status.OK]
        line = only(judge_cluster.kinds_lines("v", ["cronworkflows", "workflows"]))
        assert (line.status, line.about) == (Status.WRONG, "kind workflowtemplates")

    @pytest.mark.parametrize(
        ("denied", "there", "status", "words"),
        [
            ([], True, Status.OK, "all that a worker does"),
            ([], None, Status.OK, "all that a worker does"),
            ([], False, Status.WRONG, "is not there"),
            ([("delete", "cronworkflows"), ("patch", "cronworkflows")], None, Status.WRONG, "delete, patch cron"),
            ([("update", "cronworkflows/finalizers")], None, Status.WARNING, "update cronworkflows/finalizers"),
        ],
    )
    def test_rights(self, denied, there, status, words):
        line = judge_cluster.rights_line("kim", "peaktime", denied, there=there)
        assert (line.status, line.about) == (status, "namespace peaktime")
        assert words in line.said

    def test_the_namespaces_that_profiles_name(self):
        assert judge_cluster.namespaces_of(self.profiles, "peaktime") == ["peaktime", "shop"]
        assert judge_cluster.namespaces_of(None, "peaktime") == ["peaktime"]

    def test_the_templates_that_profiles_name(self):
        wanted = judge_cluster.templates_of(self.profiles, "peaktime")
        assert {(key.namespace, key.workflow_template, key.template): names for key, names in wanted.items()} == {
            ("peaktime", "app-start", "scale"): ["infra-common-common", "infra-mon-common"],
            ("peaktime", "app-stop", "scale"): ["infra-common-common", "infra-mon-common"],
            ("shop", "app-start", "grow"): ["shop-common-common"],
            ("shop", "app-start", "shrink"): ["shop-common-common"],
        }

    def test_templates(self):
        wanted = {
            Template("a", "start", "scale"): ["infra-mon-night"],
            Template("a", "stop", "scale"): ["infra-mon-night"],
            Template("a", "gone", "scale"): ["infra-mon-night"],
            Template("a", "hid", "scale"): ["infra-mon-night"],
        }
        held = {
            ("a", "start"): frozenset({"scale"}),
            ("a", "stop"): frozenset({"main"}),
            ("a", "gone"): None,
            ("a", "hid"): "403 forbidden",
        }
        lines = judge_cluster.templates_lines(wanted, held)
        assert [(line.status, line.about) for line in lines] == [
            (Status.WRONG, "WorkflowTemplate a/gone"),
            (Status.WARNING, "WorkflowTemplate a/hid"),
            (Status.WRONG, "WorkflowTemplate a/stop"),
        ]
        assert "has no template scale" in lines[2].said
        assert "it has main" in lines[2].said
        assert "infra-mon-night" in lines[0].said
        fine = judge_cluster.templates_lines(wanted, dict.fromkeys(held, frozenset({"scale"})))
        assert statuses(fine) == [Status.OK]

    def test_accounts(self):
        wanted = judge_cluster.accounts_of(self.profiles, "peaktime")
        assert set(wanted) == {("peaktime", "runner"), ("shop", "runner")}
        assert statuses(judge_cluster.accounts_lines(wanted, dict.fromkeys(wanted, 200))) == [Status.OK]
        lines = judge_cluster.accounts_lines(wanted, {("peaktime", "runner"): 404, ("shop", "runner"): 403})
        assert [(line.status, line.about) for line in lines] == [
            (Status.WRONG, "service account peaktime/runner"),
            (Status.WARNING, "service accounts"),
        ]
        assert statuses(judge_cluster.accounts_lines({}, {})) == [Status.OK]

    @pytest.mark.parametrize(
        ("there", "status", "words"),
        [
            (NOW, Status.OK, "agrees"),
            (NOW + timedelta(seconds=4), Status.OK, "within 4 s"),
            (NOW + timedelta(seconds=30), Status.WARNING, "30 s ahead of"),
            (NOW - timedelta(hours=1), Status.WARNING, "3600 s behind"),
            (None, Status.WARNING, "does not tell"),
        ],
    )
    def test_clocks(self, there, status, words):
        line = judge_cluster.clock_line("the API server", NOW, there)
        assert line.status is status
        assert words in line.said


def fact(subject, state, hours=0):
    at = NOW + timedelta(hours=hours)
    outcome = Outcome(outcome_id="", subject=subject, target="infra", at=at, message="it is taken")
    return Fact(subject=subject, target="infra", position=1, log_time=at, state=state, outcome=outcome)


class TestProblems:
    def test_those_that_are_open_are_told_oldest_first(self):
        facts = [
            fact("problem/name-taken/b", FactState.OPEN, hours=1),
            fact("problem/name-taken/a", FactState.OPEN),
            fact("problem/name-taken/c", FactState.CLOSED),
            fact("run/x", FactState.STARTED),
        ]
        lines = judge_log.problems_lines(facts)
        assert [(line.status, line.about) for line in lines] == [
            (Status.WARNING, "name-taken/a"),
            (Status.WARNING, "name-taken/b"),
        ]
        assert lines[0].said == "open since 2026-05-04 00:00 UTC: it is taken"

    def test_none_is_well(self):
        assert statuses(judge_log.problems_lines([fact("problem/x/y", FactState.CLOSED)])) == [Status.OK]


KEY = "infra/pa/2026-05-04"


def cron(name="peaktime-create-x", key=KEY, target="infra", **metadata):
    return {
        "metadata": {
            "name": name,
            "namespace": "peaktime",
            "uid": "u",
            "resourceVersion": "7",
            "creationTimestamp": "2026-05-01T00:00:00Z",
            "labels": {MANAGED_BY: "peaktime", TARGET: target},
            "annotations": {
                **({ENTRY: key} if key else {}),
                TITLE: "봄 \x1b행사",
                OWNER: "kim",
                POSITION: "12",
                FIRES_AT: "2026-05-04T00:00:00Z",
            },
            **metadata,
        },
        "spec": {"schedules": ["0 9 4 5 *"], "timezone": "Asia/Seoul", "suspend": True},
    }


class TestUnexplained:
    @pytest.mark.parametrize(
        ("obj", "entries", "why"),
        [
            (cron(), {KEY}, None),
            (cron(), set(), "the log has no entry"),
            (cron(key=None), {KEY}, "names no entry"),
            (cron(target="other"), {KEY}, "its label says target other"),
        ],
    )
    def test_why(self, obj, entries, why):
        found = why_unexplained(obj, entries)
        assert found is None if why is None else why in found

    def test_each_is_listed_with_what_to_type(self):
        gone = cron("peaktime-create-gone", key="infra/pa/2020-01-01")
        leaving = cron("peaktime-create-leaving", key=None, deletionTimestamp="2026-05-01T00:00:00Z")
        line = only(objects_lines([cron(), gone, leaving], {KEY}))
        assert (line.status, line.about) == (Status.WRONG, "CronWorkflow peaktime/peaktime-create-gone")
        assert "`peaktime prune peaktime-create-gone --namespace peaktime`" in line.next
        assert "2026-05-04T00:00:00Z" in line.said

    def test_an_empty_log_may_be_the_wrong_one(self):
        lines = objects_lines([cron()], set())
        assert statuses(lines) == [Status.WRONG, Status.WARNING]
        assert "PEAKTIME_TOPIC_PREFIX" in lines[1].next
        assert statuses(objects_lines([], set())) == [Status.OK]
        assert statuses(objects_lines([cron()], {KEY})) == [Status.OK]

    @pytest.mark.parametrize(
        ("obj", "entries", "words"),
        [
            (None, set(), "no CronWorkflow x"),
            (cron(labels={}), set(), "somebody else's"),
            (cron(deletionTimestamp="2026-05-01T00:00:00Z"), set(), "being deleted"),
            (cron(), {KEY}, "the log explains it"),
            (cron(annotations={HANDS_OFF: "true"}), set(), "hands-off"),
        ],
    )
    def test_what_is_refused(self, obj, entries, words):
        reason, remedy = refusal("x", obj, entries)
        assert words in reason
        assert remedy

    def test_what_the_log_explains_is_deleted_by_its_event(self):
        _, remedy = refusal("x", cron(), {KEY})
        assert "peaktime request delete --target infra --event-date 2026-05-04 --origin pa" in remedy

    def test_what_nothing_explains_may_go_just_as_it_was_seen(self):
        obj = cron()
        assert refusal("x", obj, set()) is None
        assert removal_of(obj).body == {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Orphan",
            "preconditions": {"uid": "u", "resourceVersion": "7"},
        }

    def test_what_is_told_of_one(self):
        obj = cron()
        runs = [{"metadata": {"name": "peaktime-create-x-1"}, "status": {"phase": "Succeeded"}}]
        facts = dict(told(obj, runs, set()))
        assert facts["CronWorkflow"] == "peaktime/peaktime-create-x"
        assert facts["entry"] == KEY
        assert facts["owner"] == "kim"
        assert facts["position"] == "12"
        assert facts["fires"] == "2026-05-04T00:00:00Z"
        assert facts["schedule"] == "0 9 4 5 * Asia/Seoul, suspended"
        assert facts["created"] == "2026-05-01T00:00:00Z"
        assert facts["runs"] == "peaktime-create-x-1 (Succeeded); they stay"
        assert dict(told(obj, [], set()))["runs"] == "none"
        obj["status"] = {"lastScheduledTime": "2026-05-04T00:00:00Z"}
        assert dict(told(obj, [], set()))["runs"] == "fired at 2026-05-04T00:00:00Z; its Workflows are gone"
