"""PA's calls over HTTP on the real engines, with the broker stopped in the middle."""

import json
import shutil
import subprocess
from datetime import timedelta

import pytest
from support.rights import grant
from support.site import eventually, minute, site

CRONS = "/apis/argoproj.io/v1alpha1/namespaces/{}/cronworkflows"


@pytest.fixture
def world(own_kafka, kubernetes_api, namespace, topic_prefix, tmp_path):
    grant(kubernetes_api, namespace)
    with site(
        own_kafka.bootstrap,
        topic_prefix,
        tmp_path,
        namespace=namespace,
        kubeconfig=kubernetes_api.kubeconfig("peaktime"),
        publish_timeout=3,
        gateway_port=0,
    ) as opened:
        opened.ensure_topics()
        opened.crons = lambda: kubernetes_api.call("GET", CRONS.format(namespace))["items"]
        opened.start("worker")
        gateway = opened.start("gateway")
        opened.url = eventually(
            "the gateway", lambda: next((w for w in gateway.said().split() if w.startswith("http://")), None)
        )
        yield opened


def curl(world, endpoint, **message):
    """What curl gets: the status and the answer, as PA would call it."""
    program = shutil.which("curl")
    assert program, "curl is not installed"
    done = subprocess.run(
        [
            program,
            "-s",
            "-m",
            "30",
            "-w",
            "\n%{http_code}",
            "-X",
            "POST",
            f"{world.url}/{endpoint}",
            "-d",
            json.dumps({"message": message}),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


def local(instant):
    return (instant + timedelta(hours=9)).strftime("%Y-%m-%dT%H:%M")


def test_pas_three_calls_end_in_cron_workflows_and_their_removal(world):
    starts = minute(timedelta(days=3))
    event = local(starts)
    assert curl(world, "create-infra-common-common", title="봄 맞이 행사", eventDate=event)[0] == 200
    status, answer = curl(
        world,
        "delete-infra-common-common",
        title="봄 맞이 행사",
        eventDate=event,
        endsAt=local(starts + timedelta(hours=2)),
    )
    assert (status, answer["target"]) == (200, "infra")
    names = eventually(
        "both CronWorkflows", lambda: len(world.crons()) == 2 and sorted(c["metadata"]["name"] for c in world.crons())
    )
    digits = "".join(c for c in event if c.isdigit())
    assert names == [f"peaktime-create-infra-common-common-{digits}", f"peaktime-delete-infra-common-common-{digits}"]
    assert curl(world, "event-delete-infra", title="봄 맞이 행사", eventDate=event)[0] == 200
    eventually("their removal", lambda: not world.crons())


def test_without_the_broker_the_answer_is_503_and_what_was_answered_with_success_is_there(world, own_kafka):
    starts = minute(timedelta(days=3))
    acknowledged, refused = [], []
    for number in range(30):
        if number == 10:
            own_kafka.kill()
        if number == 16:
            own_kafka.restart()
            eventually("the gateway to be ready again", lambda: ready(world))
        event = local(starts + timedelta(hours=number))
        status, answer = curl(world, "create-infra-common-common", title=f"행사 {number}", eventDate=event)
        (acknowledged if status == 200 else refused).append(event)
        assert status in (200, 503), answer
        if status == 503:
            assert answer["requestId"], "a sender retries with the same id"
    assert len(refused) >= 6
    assert len(acknowledged) >= 20
    entries = eventually(
        "all that was acknowledged",
        lambda: (
            {e.event_date for e in world.latest(world.catalogue.entries).values()} >= set(acknowledged)
            and world.latest(world.catalogue.entries)
        ),
        120,
    )
    eventually("its CronWorkflows", lambda: len(world.crons()) == len(entries), 120)


def ready(world):
    done = subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"{world.url}/readyz"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout == "200"
