"""Nothing lost and nothing double, however the worker ends: killed, asked to stop, or failing at a chosen place."""

import random
from datetime import timedelta

import pytest
from support.rights import grant
from support.site import eventually, minute, request, site

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
        session_timeout=1.5,
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


def crons(world):
    return world.api.call("GET", CRONS.format(world.namespace))["items"]


def wanted(targets):
    """500 scale-outs, windows apart."""
    first = minute(timedelta(days=2))
    return [
        request(target=targets[number % len(targets)], starts_at=first + timedelta(hours=number), title=f"event {number}")
        for number in range(REQUESTS)
    ]


def assert_whole(world, requests):
    """All that was asked for is in the cluster once, decided once, and told."""
    eventually("all entries", lambda: len(world.latest(world.catalogue.entries)) == len(requests), 120)
    eventually("all CronWorkflows", lambda: len(crons(world)) == len(requests), 120)
    names = {obj["metadata"]["annotations"]["peaktime.io/entry"] for obj in crons(world)}
    assert len(names) == len(requests)
    entries = world.latest(world.catalogue.entries)
    assert {e.scale_out.request_id for e in entries.values()} == {r.request_id for r in requests}
    assert all(e.verdict.kind in (VerdictKind.ACCEPTED, VerdictKind.DUPLICATE) for e in entries.values())

    def told():
        found = world.records(world.catalogue.notifications)
        ids = {kind: {n.notification_id for n in found if n.kind is kind} for kind in NotificationKind}
        return len(ids[NotificationKind.ACCEPTED]) == len(requests) and len(ids[NotificationKind.SCHEDULED]) == len(requests)

    eventually("all notifications", told, 120)
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
        worker = world.start("worker")
        folded = round_ * step + dice.randrange(step)
        eventually("some of it folded", lambda: len(world.read(world.catalogue.entries)) > folded, 60)
        if round_ == kills // 2:
            second = world.start("worker")
        if round_ == kills // 2 + 3:
            second.kill()
        if end == "SIGKILL":
            worker.kill()
        else:
            assert worker.terminate(12) == 0
    world.start("worker")
    assert_whole(world, requests)


@pytest.mark.parametrize("place", ["table-write", "send", "flush", "commit"])
def test_a_worker_that_dies_at_any_place_loses_and_doubles_nothing(world, place):
    requests = wanted(TARGETS)[:60]
    world.publish(*requests)
    for times in (1, 2, 7, 30):
        worker = world.start("worker", failpoints=f"{place}:{times}", session_timeout=1.5)
        eventually("it to die there", lambda: not worker.running or quiet(world, requests), 60)
        worker.close()
    world.start("worker")
    assert_whole(world, requests)


def quiet(world, requests):
    return len(crons(world)) == len(requests)


@pytest.mark.parametrize("barrier", [True, False], ids=["with the barrier", "without it"])
def test_the_barrier_is_what_keeps_a_commit_from_running_ahead(world, barrier):
    """A slow broker: table records leave 3 s late. Killed before they do, only a commit that waited has lost nothing."""
    requests = wanted(TARGETS)[:20]
    stall = 3
    text = f"stall:{stall}" + ("" if barrier else ",no-barrier")
    worker = world.start("worker", failpoints=text, session_timeout=9, commit_interval=0.2)
    eventually("the worker", lambda: "taken over" in worker.said() or worker.running, 30)
    world.publish(*requests)
    eventually("it to act on them", lambda: len(crons(world)) == len(requests), 60)
    eventually("a commit, or none", lambda: True)
    worker.kill()
    assert len(world.read(world.catalogue.entries)) == 0
    world.start("worker", session_timeout=1.5)
    if barrier:
        assert_whole(world, requests)
    else:
        eventually("the second worker to settle", lambda: len(world.records(world.catalogue.notifications)) > 0, 60)
        assert len(world.latest(world.catalogue.entries)) < len(requests)
