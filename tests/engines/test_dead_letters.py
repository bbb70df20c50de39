"""`peaktime dead-letters` with a real worker, a real Kafka and a real registry: seen, sent again, and never deleted."""

import json
import uuid

import pytest
from confluent_kafka import Producer
from support.registering import newer, post, written
from support.site import eventually, request, site

from schemas.records import NotificationKind, VerdictKind

NONSENSE = b"\x1b[31mnot avro at all"


@pytest.fixture
def world(kafka, schema_registry, topic_prefix, tmp_path):
    with site(kafka.bootstrap, topic_prefix, tmp_path, schema_registry_url=schema_registry.url) as opened:
        opened.ensure_topics()
        opened.subject = opened.catalogue.requests.subject
        opened.raw = Producer({"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2_random"})
        worker = opened.start("worker", "--only", "fold", "--only", "announce")
        # Both apps: what comes after that is delivered once, as nothing changes hands.
        eventually("the worker to take over", lambda: worker.said().count("partitions taken over") >= 2)
        yield opened


def put(world, *records):
    for key, value, headers in records:
        world.raw.produce(world.catalogue.requests.name, key=key, value=value, headers=headers)
    assert world.raw.flush(30) == 0


def listed(world):
    done = world.run("dead-letters", "list", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def letters(world, count):
    return eventually(f"{count} letters", lambda: len(found := listed(world)["letters"]) == count and found)


def told(world):
    """Notifications of dead letters."""
    return [n for n in world.records(world.catalogue.notifications) if n.kind is NotificationKind.DEAD_LETTER]


@pytest.mark.slow
def test_a_letter_whose_schema_was_registered_late_is_folded_when_it_is_sent_again(world, schema_registry):
    before = post(schema_registry.url, f"other-{uuid.uuid4()}", newer("ScaleRequest", f"x{uuid.uuid4().hex}"))
    # A registry gives a schema that it knows its old id again: this one must be new to it.
    added = f"campaign_{uuid.uuid4().hex}"
    schema = newer("ScaleRequest", added)
    wanted = [request(target=target) for target in ("infra", "app", "db")]
    put(world, *((r.target, written(schema, before + 1, r, **{added: "봄"}), {"ce_id": r.request_id}) for r in wanted))
    found = letters(world, 3)
    assert {(one["code"], one["state"], one["round"]) for one in found} == {("unknown-schema", "open", 0)}
    assert post(schema_registry.url, world.subject, schema) == before + 1

    done = world.run(
        "dead-letters", "redrive", "--all", "--reason", "unknown-schema", "--who", "lee", "--why", "registered"
    )
    assert done.returncode == 0, done.stderr
    entries = eventually("three entries", lambda: len(rows := world.records(world.catalogue.entries)) == 3 and rows)
    assert {(e.target, e.verdict.kind, e.verdict.request.request_id) for e in entries} == {
        (r.target, VerdictKind.ACCEPTED, r.request_id) for r in wanted
    }
    after = listed(world)
    assert after["counts"] == {"unknown-schema": {"open": 0, "redriven": 3, "discarded": 0}}
    assert {(one["fate"]["who"], one["fate"]["why"], one["fate"]["round"]) for one in after["letters"]} == {
        ("lee", "registered", 1)
    }
    # The log time of the fold is that of the sending, and the sender's headers are still there.
    places = {f"{m.topic()}/{m.partition()}/{m.offset()}": m for _, _, m in world.read(world.catalogue.requests)}
    again = [places[one["fate"]["to"]] for one in after["letters"]]
    assert {dict(m.headers())["ce_id"].decode() for m in again} == {r.request_id for r in wanted}
    assert {dict(m.headers())["peaktime-redrive-round"] for m in again} == {b"1"}
    eventually("replay to agree", lambda: world.run("audit", "verify").returncode == 0)


@pytest.mark.slow
def test_one_that_is_still_broken_comes_back_three_times_and_nothing_is_ever_deleted(world):
    put(world, ("infra", NONSENSE, {"ce_id": "봄"}))
    for number in range(3):
        found = letters(world, number + 1)
        (still_open,) = (one for one in found if one["state"] == "open")
        assert still_open["round"] == number
        done = world.run("dead-letters", "redrive", still_open["id"])
        assert done.returncode == 0, done.stderr
        assert f"round {number + 1} of 3" in done.stdout
        assert world.run("dead-letters", "redrive", still_open["id"]).returncode == 1
    found = letters(world, 4)
    (last,) = (one for one in found if one["state"] == "open")
    assert last["round"] == 3
    refused = world.run("dead-letters", "redrive", "--all")
    assert refused.returncode == 1
    assert f"{last['id']} is not sent again: it was sent again 3 times" in refused.stderr

    shown = world.run("dead-letters", "show", last["id"])
    assert shown.returncode == 0, shown.stderr
    assert "1b 5b 33 31 6d 6e 6f 74" in shown.stdout
    assert "magic" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "header ce_id: 봄" in shown.stdout

    assert world.run("dead-letters", "discard", last["id"], "--who", "kim", "--why", " ").returncode == 2
    assert world.run("dead-letters", "discard", last["id"], "--who", "kim", "--why", "a typing error").returncode == 0
    after = listed(world)
    assert after["counts"] == {"magic": {"open": 0, "redriven": 3, "discarded": 1}}
    chain = {one["id"]: one["redrivenFrom"] for one in after["letters"]}
    assert chain[last["id"]] in chain
    kept = world.read(world.catalogue.dead_letters)
    assert len(kept) == 4 + 3 + 1
    assert sum(value == NONSENSE for _, value, _ in kept) == 4
    # What became of a letter is not told as a letter.
    eventually("four messages", lambda: len(told(world)) == 4)
    eventually("replay to agree", lambda: world.run("audit", "verify").returncode == 0)


def test_what_is_not_there_is_said_in_one_line(world):
    for command in (("show", "x/0/0"), ("redrive", "x/0/0"), ("discard", "x/0/0", "--who", "a", "--why", "b")):
        done = world.run("dead-letters", *command)
        assert done.returncode == 1
        assert "dead letter x/0/0: is not there" in done.stderr
    assert world.run("dead-letters", "redrive").returncode == 2
    assert world.run("dead-letters", "list").stdout == "there are no dead letters\n"
