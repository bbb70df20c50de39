"""The schema registry is away while requests arrive: they wait for it, and nothing is lost or put aside."""

import time
from urllib.parse import urlsplit

import httpx
import pytest
from confluent_kafka import Producer
from support.engines.process import free_port
from support.gate import Gate
from support.registering import newer, post, written
from support.site import eventually, request, site

from schemas.records import VerdictKind

REQUESTS = 200
SOON = 20.0


@pytest.fixture
def gate(schema_registry):
    with Gate(urlsplit(schema_registry.url).port) as opened:
        yield opened


@pytest.fixture
def world(kafka, schema_registry, topic_prefix, tmp_path):
    with site(kafka.bootstrap, topic_prefix, tmp_path, schema_registry_url=schema_registry.url) as opened:
        opened.ensure_topics()
        opened.raw = Producer({"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2_random"})
        yield opened


def start(world, gate):
    """A worker that reaches the registry through the gate, and what it says of itself over HTTP."""
    port = free_port()
    worker = world.start(
        "worker", "--only", "fold", "--only", "announce", schema_registry_url=gate.url, metrics_port=port
    )

    def ask(path):
        try:
            return httpx.get(f"http://127.0.0.1:{port}/{path}", timeout=5)
        except httpx.TransportError:
            return None

    return worker, ask


def metric(ask, name):
    lines = [line for line in ask("metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(lines[0].split()[1])


def ready(ask):
    return (answer := ask("readyz")) is not None and answer.status_code == 200


def put(world, values):
    for wanted, value in values:
        world.raw.produce(world.catalogue.requests.name, key=wanted.target, value=value)
    assert world.raw.flush(30) == 0


@pytest.mark.slow
def test_nothing_is_lost_or_put_aside_while_the_registry_is_away(world, gate, schema_registry):
    worker, ask = start(world, gate)
    eventually("the worker to be ready", lambda: ready(ask))
    # Known to the worker: today's schema. Not seen before: the one of a release that the worker is older than.
    schema = newer("ScaleRequest", "campaign")
    new_id = post(schema_registry.url, world.catalogue.requests.subject, schema)
    wanted = [
        request(target=f"target-{number % 40}", event_date=f"2027-01-{1 + number // 40:02d}")
        for number in range(REQUESTS)
    ]
    gate.shut()
    put(
        world,
        [
            (
                one,
                written(schema, new_id, one, campaign="봄")
                if number % 2
                else world.codec.encode(one, world.catalogue.requests.name),
            )
            for number, one in enumerate(wanted)
        ],
    )
    eventually("it to wait", lambda: metric(ask, "peaktime_schema_waiting") > 0)
    assert ask("readyz").status_code == 503
    assert "waiting for the schema registry" in ask("readyz").text
    assert ask("livez").status_code == 200
    waits = metric(ask, "peaktime_schema_waits_total")
    eventually("it to try again", lambda: metric(ask, "peaktime_schema_waits_total") > waits)
    assert "waiting for the schema registry" in worker.said()
    assert len(world.read(world.catalogue.dead_letters)) == 0

    gate.open()
    back = time.monotonic()
    eventually("all to be folded", lambda: len(world.read(world.catalogue.entries)) == REQUESTS, SOON)
    took = time.monotonic() - back
    entries = world.records(world.catalogue.entries)
    assert {e.verdict.request.request_id for e in entries} == {one.request_id for one in wanted}
    assert {e.verdict.kind for e in entries} == {VerdictKind.ACCEPTED}
    assert world.read(world.catalogue.dead_letters) == []
    eventually("the worker to be ready again", lambda: ready(ask))
    assert metric(ask, "peaktime_schema_waiting") == 0
    assert "the schema registry answers again" in worker.said()
    assert worker.running
    print(f"caught up {took:.1f} s after the registry was back")  # noqa: T201 - a figure for the report


@pytest.mark.slow
def test_a_worker_that_starts_meanwhile_lives_waits_and_catches_up(world, gate):
    wanted = request()
    world.publish(wanted)
    gate.shut()
    worker, ask = start(world, gate)
    eventually(
        "it to wait", lambda: ask("readyz") is not None and "waiting for the schema registry" in ask("readyz").text
    )
    assert ask("readyz").status_code == 503
    assert ask("livez").status_code == 200
    gate.open()
    (entry,) = eventually("the entry", lambda: world.records(world.catalogue.entries))
    assert entry.verdict.request.request_id == wanted.request_id
    assert worker.running


@pytest.mark.slow
def test_a_worker_that_waits_can_be_stopped_and_the_next_one_goes_on(world, gate, schema_registry):
    worker, ask = start(world, gate)
    eventually("the worker to be ready", lambda: ready(ask))
    schema = newer("ScaleRequest", "campaign")
    new_id = post(schema_registry.url, world.catalogue.requests.subject, schema)
    gate.shut()
    wanted = request()
    put(world, [(wanted, written(schema, new_id, wanted, campaign="봄"))])
    eventually("it to wait", lambda: metric(ask, "peaktime_schema_waiting") > 0)
    assert worker.terminate() == 0
    gate.open()
    start(world, gate)
    (entry,) = eventually("the entry", lambda: world.records(world.catalogue.entries))
    assert entry.verdict.request.request_id == wanted.request_id
    assert world.read(world.catalogue.dead_letters) == []
