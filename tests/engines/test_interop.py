"""Other clients keep the contract: Java's own Kafka client with Avro's own encoders, and the example for PA's team."""

import os
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.engines import build
from support.site import eventually, minute, request, site

import schemas
from peaktime.core.requests import Entries
from processors.guard import partition_of
from schemas.records import VerdictKind

ROOT = Path(__file__).parents[2]
SCHEMA = Path(schemas.__file__).parent / "avsc" / "ScaleRequest.avsc"
KEYS = 1200
_SYLLABLES = [chr(code) for code in range(0xAC00, 0xD7A4)]
_OTHERS = "abcdefghijklmnopqrstuvwxyz0123456789-_./ éßжλ中あ한글😀\u200b"


@pytest.fixture
def world(kafka, schema_registry, topic_prefix, tmp_path):
    with site(kafka.bootstrap, topic_prefix, tmp_path, schema_registry_url=schema_registry.url) as opened:
        opened.ensure_topics()
        assert opened.run("schemas", "register").returncode == 0
        opened.start("worker", "--only", "fold", "--only", "announce")
        yield opened


@pytest.fixture(scope="session")
def java(had):
    """The libraries that the Java producer needs."""
    return had(lambda say: build.build(build.INTEROP, say), "Java producer")


def random_keys(count):
    """Targets as people make them, Korean ones and such as nobody should make; all different, from a fixed seed."""
    chance = random.Random(4)
    keys = {"infra", "한글", "봄 행사", "a", " "}
    while len(keys) < count:
        letters = chance.choice([_SYLLABLES, _OTHERS])
        keys.add("".join(chance.choices(letters, k=chance.randint(1, 30))))
    return sorted(keys)


def millis(instant):
    return str(round(instant.timestamp() * 1000))


def from_java(world, java, wanted, schema_id):
    """Let the Java program write requests, every other one in the registry's framing; where they stand."""
    lines = []
    for number, one in enumerate(wanted):
        framing = "registry" if number % 2 else "single"
        times = (millis(one.starts_at), millis(one.ends_at))
        lines.append(
            "\t".join(
                (
                    framing,
                    one.target,
                    one.request_id,
                    one.event_date,
                    *times,
                    one.title,
                    one.owner,
                    millis(one.requested_at),
                )
            )
        )
    done = subprocess.run(
        [
            "java", "-Dfile.encoding=UTF-8", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{java}/*",
            build.RECIPES / "interop" / "JavaProducer.java", world.bootstrap, world.catalogue.requests.name, SCHEMA, str(schema_id),
        ],
        input="\n".join(lines), capture_output=True, text=True, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [tuple(map(int, line.split("\t"))) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_what_java_writes_lands_in_the_same_partition_and_folds_into_the_same_entry(world, java):
    spec = world.catalogue.requests
    asked_at = datetime.now(UTC).replace(microsecond=0)
    wanted = [request(target=key, title=f"행사 {key}", requested_at=asked_at) for key in random_keys(KEYS)]
    wanted += [request(target=f"target-{number}", requested_at=asked_at) for number in range(20)]
    schema_id = int.from_bytes(world.codec.encode(wanted[0], spec.name)[1:5], "big")
    places = from_java(world, java, wanted, schema_id)
    assert len(places) == len(wanted)
    assert [partition for partition, _ in places] == [
        partition_of(one.target.encode(), spec.partitions) for one in wanted
    ]
    assert {partition for partition, _ in places} == set(range(spec.partitions))

    # And our own producer puts the same keys where Java does.
    again = [request(target=one.target, title="from Python", starts_at=minute(timedelta(days=9))) for one in wanted]
    world.publish(*again)
    rows = eventually(
        "all to be folded", lambda: len(found := world.read(world.catalogue.entries)) >= 2 * len(wanted) and found
    )
    log = {(m.partition(), m.offset()): (record, m) for _, record, m in world.read(spec)}
    assert len(log) == 2 * len(wanted)
    assert len({(record.target, partition) for (partition, _), (record, _) in log.items()}) == len(wanted)

    by_place = {(m.partition(), entry.position): entry for _, entry, m in rows}
    kinds = []
    for one, place in zip(wanted, places, strict=True):
        assert log[place][0] == one
        log_time = datetime.fromtimestamp(log[place][1].timestamp()[1] / 1000, UTC)
        (expected,) = Entries().fold(one, place[1], log_time).values()
        assert by_place[place] == expected
        kinds.append(expected.verdict.kind)
    # Most of these keys are no valid targets, and are refused whoever writes them.
    assert kinds[-20:] == [VerdictKind.ACCEPTED] * 20
    assert world.read(world.catalogue.dead_letters) == []


@pytest.mark.slow
@pytest.mark.parametrize("with_registry", [False, True])
def test_the_example_for_pa_keeps_the_contract(world, schema_registry, with_registry):
    starts = minute(timedelta(days=3))
    command = [
        sys.executable, ROOT / "docs" / "examples" / "pa_producer.py", "--bootstrap", world.bootstrap, "--schema", SCHEMA,
        "--topic", world.catalogue.requests.name, "--target", "infra", "--event-date", starts.strftime("%Y-%m-%dT%H:%M"),
        "--starts-at", starts.isoformat(), "--ends-at", (starts + timedelta(hours=1)).isoformat(), "--title", "봄 행사", "--owner", "김",
        "--request-id", "r-1", *(["--registry", schema_registry.url] if with_registry else []),
    ]  # fmt: skip
    # From elsewhere and without our folder on the path: it needs nothing of ours.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PEAKTIME_")}
    for _ in range(2):
        done = subprocess.run([*command], cwd="/", env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("r-1 ")
    entries = eventually(
        "both to be folded", lambda: len(found := world.records(world.catalogue.entries)) == 2 and found
    )
    assert [e.verdict.kind for e in entries] == [VerdictKind.ACCEPTED, VerdictKind.DUPLICATE]
    accepted = entries[0].verdict.request
    assert (accepted.title, accepted.owner, accepted.starts_at, accepted.origin) == ("봄 행사", "김", starts, "pa")
    (_, _, message), _ = world.read(world.catalogue.requests)
    assert message.partition() == partition_of(b"infra", world.catalogue.requests.partitions)
    assert message.value()[:1] == (b"\x00" if with_registry else b"\xc3")
    headers = dict(message.headers())
    assert headers["ce_id"] == b"r-1"
    assert headers["peaktime-producer"] == b"pa-example/1.0"


def test_the_example_says_what_to_do_when_kafka_is_away(tmp_path):
    (tmp_path / "options.json").write_text('{"message.timeout.ms": 500}')
    command = [
        sys.executable, ROOT / "docs" / "examples" / "pa_producer.py", "--bootstrap", "127.0.0.1:1", "--schema", SCHEMA,
        "--target", "infra", "--event-date", "2026-05-04", "--options", tmp_path / "options.json", "--request-id", "r-1",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Send it again with --request-id r-1" in done.stderr
