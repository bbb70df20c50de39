"""Nothing lost and nothing double, however the worker ends: killed, asked to stop, or failing at a chosen place."""

import random
import signal
from datetime import timedelta

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient
from support.rights import grant
from support.site import eventually, minute, request, site

from processors.driver import EXIT_UNSAFE
from schemas.records import NotificationKind, VerdictKind

CRONS = "/apis/argoproj.io/v1alpha1/namespaces/{}/cronworkflows"
REQUESTS = 500


@pytest.fixture
def world(kafka, kubernetes_api, namespace, topic_prefix, tmp_path):
    grant(kubernetes_api, namespace)
    profiles = tmp_path / "profiles.yaml"
    profiles.write_text(PROFILES, encoding="utf-8")
    with site(
        kafka.bootstrap,
        topic_prefix,
        tmp_path,
        namespace=namespace,
        kubeconfig=kubernetes_api.kubeconfig("peaktime"),
        session_timeout=3,
        profiles=profiles,
        log_level="warning",
    ) as opened:
        opened.ensure_topics()
        opened.api, opened.namespace = kubernetes_api, namespace
        yield opened


TARGETS = [f"svc{number}" for number in range(50)]
PROFILES = "zone: Asia/Seoul\nbands: {common: {from: '09:00', to: '18:00'}}\nprofiles:\n" + "".join(
    f"""  - target: {target}
    days: [common]
    bands: [common]
    level: 1
    scaleOut: {{stages: [[{{service: app, workflowTemplate: app-start, template: scale}}]]}}
    scaleIn: {{stages: [[{{service: app, workflowTemplate: app-stop, template: scale}}]]}}
"""
    for target in TARGETS
)


class Supervised:
    """A worker that is started again when it ends itself, as a Deployment does: under load it may, to be safe."""

    def __init__(self, world, **settings):
        self._world, self._settings = world, settings
        self.program = world.start("worker", **settings)

    def looked_after(self):
        if not self.program.running:
            self.program = self._world.start("worker", **self._settings)
        return True


def crons(world):
    return world.api.call("GET", CRONS.format(world.namespace))["items"]


def wanted(targets):
    """500 scale-outs, windows apart."""
    first = minute(timedelta(days=2))
    return [
        request(
            target=targets[number % len(targets)], starts_at=first + timedelta(hours=number), title=f"event {number}"
        )
        for number in range(REQUESTS)
    ]


def assert_whole(world, requests):
    """With a worker that is let alone, all that was asked for is in the cluster once, decided once, and told."""
    last = Supervised(world)

    def soon(what, condition):
        eventually(what, lambda: last.looked_after() and condition(), 180)

    soon("all entries", lambda: len(world.latest(world.catalogue.entries)) == len(requests))
    soon("all CronWorkflows", lambda: len(crons(world)) == len(requests))
    names = {obj["metadata"]["annotations"]["peaktime.io/entry"] for obj in crons(world)}
    assert len(names) == len(requests)
    entries = world.latest(world.catalogue.entries)
    assert {e.scale_out.request_id for e in entries.values()} == {r.request_id for r in requests}
    assert all(e.verdict.kind in (VerdictKind.ACCEPTED, VerdictKind.DUPLICATE) for e in entries.values())

    def told():
        found = world.records(world.catalogue.notifications)
        ids = {kind: {n.notification_id for n in found if n.kind is kind} for kind in NotificationKind}
        return len(ids[NotificationKind.ACCEPTED]) == len(requests) and len(ids[NotificationKind.SCHEDULED]) == len(
            requests
        )

    soon("all notifications", told)
    accepted = {n.entry for n in world.records(world.catalogue.notifications) if n.kind is NotificationKind.ACCEPTED}
    assert len(accepted) == len(requests)


@pytest.mark.slow
@pytest.mark.parametrize("targets", [TARGETS, TARGETS[:1]], ids=["50 targets", "one target"])
@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM"])
def test_a_worker_that_ends_twenty_times_while_it_has_lag_loses_and_doubles_nothing(world, targets, end):
    requests = wanted(targets)
    dice = random.Random(7)
    kills = 20
    step = REQUESTS // kills
    second = None
    for round_ in range(kills):
        world.publish(*requests[round_ * step : (round_ + 1) * step])
        worker = Supervised(world)
        folded = round_ * step + dice.randrange(step)
        eventually(
            "some of it folded",
            lambda w=worker, f=folded: w.looked_after() and len(world.read(world.catalogue.entries)) > f,
            90,
        )
        if round_ == kills // 2:
            second = world.start("worker")
        if round_ == kills // 2 + 3:
            second.kill()
        if end == "SIGKILL":
            worker.program.kill()
        else:
            assert worker.program.terminate(12) in (0, EXIT_UNSAFE, -signal.SIGTERM)  # the last: it was still starting
    assert_whole(world, requests)
    told = world.run("replay", "--json", "--quiet")
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("place", ["table-write", "send", "flush", "commit"])
def test_a_worker_that_dies_at_any_place_loses_and_doubles_nothing(world, place):
    requests = wanted(TARGETS)[:60]
    world.publish(*requests)
    for times in (1, 2, 7, 30):
        worker = world.start("worker", failpoints=f"{place}:{times}")
        eventually("it to die there", lambda w=worker: not w.running or quiet(world, requests), 60)
        worker.close()
    assert_whole(world, requests)


def quiet(world, requests):
    return len(crons(world)) == len(requests)


@pytest.mark.parametrize("barrier", [True, False], ids=["with the barrier", "without it"])
def test_the_barrier_is_what_keeps_a_commit_from_running_ahead(world, barrier):
    """Table records that leave 6 s late, as to a slow broker, and a kill before they do.

    With the barrier the commit has waited for them, so the requests are delivered again. Without it the commit has run
    ahead and the requests are lost: that this half sees the loss is what proves that the other half can fail.
    """
    requests = wanted(TARGETS)[:20]
    text = "stall:6" if barrier else "stall:6,no-barrier"
    worker = world.start("worker", failpoints=text, session_timeout=20, commit_interval=0.2, log_level="info")
    eventually("the worker", lambda: worker.said().count("taken over") == 2)
    world.publish(*requests)
    eventually("it to act on them", lambda: len(crons(world)) == len(requests))
    if not barrier:
        eventually("a commit that has run ahead", lambda: committed(world) == len(requests), 5)
    worker.kill()
    assert world.read(world.catalogue.entries) == []
    assert committed(world) == (0 if barrier else len(requests))
    if barrier:
        assert_whole(world, requests)
    else:
        world.start("worker", session_timeout=20)
        eventually("objects that nothing explains", lambda: NotificationKind.PROBLEM_OPENED in kinds(world))
        assert world.read(world.catalogue.entries) == []


def kinds(world):
    return [n.kind for n in world.records(world.catalogue.notifications)]


def committed(world):
    """How many requests the fold has committed."""
    client = AdminClient({"bootstrap.servers": world.bootstrap})
    group = world.env()["PEAKTIME_GROUP_PREFIX"] + "fold"
    (found,) = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
    name = world.catalogue.requests.name
    return sum(tp.offset for tp in found.result().topic_partitions if tp.topic == name and tp.offset > 0)
