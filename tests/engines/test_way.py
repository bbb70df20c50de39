"""The whole way of an event on a real Kafka and a real API server: the worker is an unprivileged user there."""

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import timedelta

import hera.workflows.models as hera
import pytest
from confluent_kafka import Producer
from support.rights import grant
from support.site import eventually, minute, request, site

from peaktime.core.outcomes import is_run
from peaktime.sandbox.argo import StandIn
from peaktime.sandbox.argo_clusters import KubernetesCluster
from peaktime.sandbox.argo_rules import Running
from peaktime.sandbox.clock import SandboxClock
from schemas.records import FactState, NotificationKind, RequestAction, VerdictKind

CRONS = "/apis/argoproj.io/v1alpha1/namespaces/{}/cronworkflows"
WORKFLOWS = "/apis/argoproj.io/v1alpha1/namespaces/{}/workflows"


@pytest.fixture
def world(kafka, kubernetes_api, namespace, topic_prefix, tmp_path):
    grant(kubernetes_api, namespace)
    with site(
        kafka.bootstrap,
        topic_prefix,
        tmp_path,
        namespace=namespace,
        kubeconfig=kubernetes_api.kubeconfig("peaktime"),
        clock_file=tmp_path / "clock.json",
    ) as opened:
        opened.ensure_topics()
        opened.api, opened.namespace = kubernetes_api, namespace
        opened.clock = SandboxClock(tmp_path / "clock.json")
        opened.crons = lambda: items(kubernetes_api, CRONS.format(namespace))
        opened.workflows = lambda: items(kubernetes_api, WORKFLOWS.format(namespace))
        yield opened


def items(api, path):
    return {obj["metadata"]["name"]: obj for obj in api.call("GET", path)["items"]}


def kinds(world):
    """The kinds of all messages; one that is on the topic twice under one id is one message."""
    return [n.kind for n in {n.notification_id: n for n in world.records(world.catalogue.notifications)}.values()]


def pa_body(tmp_path, **message):
    path = tmp_path / "body.json"
    path.write_text(json.dumps({"message": message}), encoding="utf-8")
    return str(path)


async def test_a_pa_body_becomes_a_cron_workflow_that_runs_and_is_gone_afterwards(world, tmp_path):
    world.start("worker")
    starts = minute(timedelta(days=2))
    local = (starts + timedelta(hours=9)).strftime("%Y-%m-%dT%H:%M")
    body = pa_body(
        tmp_path,
        title="봄 맞이 행사",
        eventDate=local,
        endsAt=(starts + timedelta(hours=33)).strftime("%Y-%m-%dT%H:%M"),
    )
    told = world.run("request", "--from-pa", body, "--endpoint", "create-infra-common-common")
    assert told.returncode == 0, told.stderr
    (name, cron), *rest = eventually("a CronWorkflow", lambda: list(world.crons().items()))
    assert not rest
    assert name.startswith("peaktime-create-infra-common-common-")
    hera.CronWorkflow.model_validate(cron)
    async with argo(world):
        world.clock.advance_to(starts - timedelta(seconds=2))
        (workflow,) = await wait_async("its Workflow", lambda: list(world.workflows()))
        assert workflow == f"{name}-{int(starts.timestamp())}"
        await wait_async("the CronWorkflow to be gone", lambda: not world.crons())
    assert list(world.workflows()) == [workflow]
    eventually(
        "the messages",
        lambda: (
            {
                NotificationKind.ACCEPTED,
                NotificationKind.SCHEDULED,
                NotificationKind.STARTED,
                NotificationKind.SUCCEEDED,
            }
            <= set(kinds(world))
        ),
    )
    assert len(kinds(world)) == 4


@asynccontextmanager
async def argo(world):
    """The stand-in for Argo's controller, on the world's clock, which a test may put forward."""
    cluster = KubernetesCluster(world.api.kubeconfig(), space=world.namespace)
    async with cluster, StandIn(cluster, world.clock, Running(run_seconds=0.2)):
        yield


async def wait_async(what, condition, seconds=60):
    return await asyncio.to_thread(eventually, what, condition, seconds)


def test_the_same_request_three_times_gives_one_cron_workflow_and_one_message(world):
    world.start("worker")
    first = request()
    again = request(starts_at=first.starts_at)
    world.publish(first, first, again)
    other_client_publishes(world, request(starts_at=first.starts_at))
    eventually("four verdicts", lambda: len(world.read(world.catalogue.entries)) >= 4)
    eventually("the CronWorkflow", world.crons)
    eventually("the messages", lambda: len(kinds(world)) == 2)
    assert sorted(kinds(world)) == [NotificationKind.ACCEPTED, NotificationKind.SCHEDULED]
    assert len(world.crons()) == 1
    verdicts = [e.verdict.kind for e in world.records(world.catalogue.entries)]
    assert verdicts == [VerdictKind.ACCEPTED, *[VerdictKind.DUPLICATE] * 3]


def other_client_publishes(world, wanted):
    """A producer of another make: librdkafka with its own default partitioner, so perhaps in another partition."""
    producer = Producer({"bootstrap.servers": world.bootstrap})
    producer.produce(world.catalogue.requests.name, key=wanted.target, value=world.codec.encode(wanted, ""))
    assert producer.flush(30) == 0


def test_withdrawn_and_asked_again_gives_it_back(world):
    world.start("worker")
    first = request()
    world.publish(first)
    (name,) = eventually("the CronWorkflow", world.crons)
    world.publish(request(action=RequestAction.DELETE, starts_at=first.starts_at))
    eventually("it to be gone", lambda: not world.crons())
    eventually("REMOVED", lambda: NotificationKind.REMOVED in kinds(world))
    world.publish(request(starts_at=first.starts_at))
    eventually("it to be back", lambda: list(world.crons()) == [name])
    eventually("SCHEDULED again", lambda: kinds(world).count(NotificationKind.SCHEDULED) == 2)
    assert kinds(world).count(NotificationKind.WITHDRAWN) == 1


def test_what_cannot_be_understood_is_kept_and_the_worker_goes_on(world):
    worker = world.start("worker")
    spec = world.catalogue.requests
    producer = Producer({"bootstrap.servers": world.bootstrap, "partitioner": "murmur2_random"})
    good = world.codec.encode(request(target="moved"), spec.name)
    producer.produce(spec.name, key="infra", value=b"not avro at all")
    producer.produce(spec.name, key="infra", value=b"\x00\x00\x0f\x42\x40rest")
    producer.produce(spec.name, key="a-wrong-key", value=good)
    assert producer.flush(30) == 0
    world.publish(request(title="{{workflow.name}}"), request(starts_at=minute(timedelta(days=5))))
    letters = eventually(
        "two dead letters",
        lambda: len(world.read(world.catalogue.dead_letters)) == 2 and world.read(world.catalogue.dead_letters),
    )
    reasons = sorted(dict(m.headers())["peaktime-reason"] for _, _, m in letters)
    assert reasons == [b"magic", b"unknown-schema"]
    assert {m.value() for _, _, m in letters} == {b"not avro at all", b"\x00\x00\x0f\x42\x40rest"}
    entries = eventually(
        "three entries",
        lambda: len(world.latest(world.catalogue.entries)) == 3 and world.latest(world.catalogue.entries),
    )
    verdicts = {e.verdict.request.title: e.verdict for e in entries.values()}
    assert verdicts["{{workflow.name}}"].kind is VerdictKind.REJECTED
    assert "Argo would evaluate" in verdicts["{{workflow.name}}"].reason
    assert [e.verdict.kind for e in entries.values() if e.target == "moved"] == [VerdictKind.ACCEPTED]
    eventually("the good one's CronWorkflow", world.crons)
    assert worker.running


def test_an_object_of_ours_is_restored_and_a_strangers_is_left_alone(world):
    worker = world.start("worker")
    world.publish(request())
    ((name, cron),) = eventually("the CronWorkflow", lambda: list(world.crons().items()))
    path = CRONS.format(world.namespace) + f"/{name}"
    world.api.call(
        "PATCH",
        path,
        {"spec": {"schedules": ["0 0 1 1 *"], "timezone": "UTC"}, "metadata": {"labels": {"team": "ops"}}},
        content_type="application/merge-patch+json",
    )
    restored = eventually(
        "the schedule to be back",
        lambda: (c := world.crons()[name])["spec"]["schedules"] == cron["spec"]["schedules"] and c,
    )
    assert restored["spec"] == cron["spec"]
    assert restored["metadata"]["labels"]["team"] == "ops"
    world.api.call("DELETE", path)
    eventually(
        "it to be made again",
        lambda: name in world.crons() and world.crons()[name]["metadata"]["uid"] != cron["metadata"]["uid"],
    )
    later = request(starts_at=minute(timedelta(days=9)))
    stranger = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "CronWorkflow",
        "metadata": {
            "name": f"peaktime-create-infra-common-common-{later.starts_at:%Y%m%d%H%M}",
            "namespace": world.namespace,
        },
        "spec": {
            "schedules": ["1 1 1 1 *"],
            "workflowSpec": {"entrypoint": "x", "templates": [{"name": "x", "suspend": {}}]},
        },
    }
    made = world.api.call("POST", CRONS.format(world.namespace), stranger)
    world.publish(later)
    eventually("the problem to be told", lambda: NotificationKind.PROBLEM_OPENED in kinds(world))
    assert world.crons()[made["metadata"]["name"]] == made
    assert worker.running
    world.api.call("DELETE", CRONS.format(world.namespace) + f"/{made['metadata']['name']}")
    eventually("ours once the name is free", lambda: len(world.crons()) == 2)
    eventually("the problem to be closed", lambda: NotificationKind.PROBLEM_CLOSED in kinds(world))


async def test_what_was_scheduled_runs_with_all_of_ours_stopped_and_the_log_catches_up(world):
    worker = world.start("worker")
    starts = minute(timedelta(days=2))
    world.publish(request(starts_at=starts, ends_at=starts + timedelta(days=1)))
    eventually("the CronWorkflow", world.crons)
    assert worker.terminate() == 0
    async with argo(world):
        world.clock.advance_to(starts - timedelta(seconds=2))
        await wait_async(
            "its run, without us",
            lambda: [w for w in world.workflows().values() if (w.get("status") or {}).get("phase") == "Succeeded"],
        )
    world.start("worker")
    eventually(
        "the log to catch up",
        lambda: [f.state for f in world.latest(world.catalogue.facts).values() if is_run(f)] == [FactState.SUCCEEDED],
    )
    eventually("the CronWorkflow to be gone", lambda: not world.crons())
    assert len(world.workflows()) == 1
