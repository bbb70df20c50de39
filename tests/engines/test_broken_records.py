"""Hundreds of broken records on a real broker: a dead letter for each place, in bounded memory, by one worker."""

import json
import re
from collections import Counter

import psutil
import pytest
from confluent_kafka import Producer
from support.broken import bomb_schema, bombs, by_hand, is_broken, mutated, truncated
from support.registering import post
from support.site import eventually, request, site
from support.wire import framed

from schemas.definitions import schema_json
from schemas.records import NotificationKind

MIB = 1024 * 1024
ALLOWED_GROWTH = 50 * MIB
DEPTH = 8


@pytest.fixture
def world(kafka, schema_registry, topic_prefix, tmp_path):
    with site(kafka.bootstrap, topic_prefix, tmp_path, schema_registry_url=schema_registry.url) as opened:
        opened.ensure_topics()
        opened.positions = []
        opened.raw = Producer(
            {"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2_random", "message.max.bytes": 2 * MIB},
        )
        yield opened


KEYS = ("infra", "봄", None, b"\xff\x00", "")


def put(world, spec, values, keys=KEYS, headers=None):
    """Write values as some sender would; remembers where they stand."""

    def report(error, message):
        assert error is None, error
        world.positions.append(f"{message.topic()}/{message.partition()}/{message.offset()}")

    for number, value in enumerate(values):
        odd = [("traceparent", b"\xff\xfe"), ("nothing", None)] if number % 3 else None
        world.raw.produce(
            spec.name, key=keys[number % len(keys)], value=value, headers=headers or odd, on_delivery=report
        )
        world.raw.poll(0)
    assert world.raw.flush(60) == 0


def largest(spec):
    """As many bytes as the broker takes of one record, which overhead of its batch included."""
    return b"\xc3\x01" + b"\x07" * (spec.max_message_bytes - 120)


def letters(world):
    """How often each place was put aside: once, or more often where it was delivered more often."""
    found = Counter()
    for _, value, message in world.read(world.catalogue.dead_letters):
        headers = dict(message.headers())
        place = "/".join(headers[f"__connect.errors.{part}"].decode() for part in ("topic", "partition", "offset"))
        found[place] += 1
        assert value is None or len(value) <= world.catalogue.requests.max_message_bytes
    return found


@pytest.mark.slow
def test_hundreds_of_broken_records_are_a_letter_each_and_cost_little_memory(world, schema_registry):
    catalogue = world.catalogue
    specs = {"ScaleRequest": catalogue.requests, "Outcome": catalogue.outcomes, "CalendarSnapshot": catalogue.calendars}
    worker = world.start("worker", "--only", "fold", "--only", "announce")
    eventually("the worker", lambda: "worker started" in worker.said())
    # Warm: it has read, folded, told and put aside.
    world.publish(*(request(target=f"warm-{number}") for number in range(12)))
    for spec in specs.values():
        put(world, spec, [b"warm"] * 10)
        # With each key, and so one without key and value.
        put(world, spec, [None] * 5)
    # What the broker takes, and whose row would be twice as large.
    put(world, catalogue.requests, [world.codec.encode(request(target="x" * 1_000_000), catalogue.requests.name)])
    # A key as long as a record may be, of which three times as many bytes would be told.
    put(world, catalogue.requests, [b"warm"], keys=[b"\xff" * 900_000])
    # In a wrong place, with headers so long that one more would be too many.
    misplaced, long = world.codec.encode(request(), catalogue.requests.name), {"trace": b"x" * 1_040_000}
    put(world, catalogue.requests, [misplaced], keys=["elsewhere"], headers=long)
    eventually("it to be warm", lambda: len(letters(world)) == 48 and len(world.read(catalogue.entries)) == 12)
    process = psutil.Process(worker.process.pid)
    before = peak = process.memory_info().rss

    kinds = Counter()
    for name, spec in specs.items():
        schema = bomb_schema(json.loads(schema_json(name)), DEPTH)
        bomb_id = post(schema_registry.url, spec.subject, schema)
        broken = {
            "truncated": truncated(name),
            "by hand": by_hand(name),
            "by hypothesis": mutated(name, spec.record, world.codec, 150),
            "bombs": [framed(bomb_id, body) for size in (60_000, 900_000) for body in bombs(DEPTH, size)],
            "largest": [largest(spec)] * 2,
        }
        for kind, values in broken.items():
            assert all(is_broken(spec.record, value, world.codec) for value in values), kind
            kinds[kind] += len(values)
            put(world, spec, values)
    wanted = set(world.positions)
    assert len(wanted) == 48 + sum(kinds.values())
    assert min(kinds["truncated"], kinds["by hypothesis"]) >= 200, kinds

    def all_there():
        nonlocal peak
        peak = max(peak, process.memory_info().rss)
        return len(letters(world)) >= len(wanted)

    eventually("all the letters", all_there, 180)
    assert set(letters(world)) == wanted
    good = request(target="after")
    world.publish(good)
    eventually("a good one to be folded", lambda: len(world.read(catalogue.entries)) == 13)
    eventually("all to be told", lambda: len(told(world)) == len(wanted), 120)
    after = process.memory_info().rss
    peak = max(peak, after)
    print(f"{dict(kinds)}; memory {before / MIB:.0f} MiB, at most {peak / MIB:.0f}, in the end {after / MIB:.0f}")  # noqa: T201 - figures for the report
    assert peak - before < ALLOWED_GROWTH
    assert worker.running
    assert len(re.findall("worker started", worker.said())) == 1
    reasons = Counter(dict(m.headers())["peaktime-reason"].decode() for _, _, m in world.read(catalogue.dead_letters))
    assert set(reasons) <= {"empty", "magic", "unknown-schema", "truncated", "invalid", "too-large", "misplaced"}, (
        reasons
    )
    assert min(count for reason, count in reasons.items() if reason != "misplaced") >= 3
    assert reasons["misplaced"] == 1
    listed = json.loads(world.run("dead-letters", "list", "--json").stdout)
    assert {letter["id"] for letter in listed["letters"]} == wanted
    assert len(listed["letters"]) == len(wanted)


def told(world):
    return {n.source for n in world.records(world.catalogue.notifications) if n.kind is NotificationKind.DEAD_LETTER}
