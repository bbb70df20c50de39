"""Replay and audit of a log to which everything happened, on a real broker with a real registry, while a worker runs."""

from __future__ import annotations

import json
import struct
import time
import uuid
from datetime import datetime, timedelta
from io import BytesIO

import fastavro
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from support.registering import newer, post, written
from support.site import eventually, minute, request, site
from support.watching import watched

from processors.replay.log import copied_from, partition_of
from processors.replay.reader import LogReader
from schemas.definitions import crc64, released, schema_json, todays_fingerprint
from schemas.headers import REPUBLISHED_FROM
from schemas.records import RequestAction, to_avro

OLD = released()["0.1.0"]
NONSENSE = b"\x7fnot avro at all"
START = minute(timedelta(days=3))
DATE = START.strftime("%Y-%m-%dT%H:%M")
EVENT = f"infra/pa/{DATE}"
NO_CLUSTER = ("--no-cluster",)
#: What changes anything outside, or could: none of it may even be imported by what only reads.
EFFECTS = (
    "faust", "mode", "kubernetes", "slack_sdk", "aiohttp.web", "producers", "processors.driver", "processors.app",
    "processors.fold", "processors.announce", "processors.reconcile", "processors.slack", "peaktime.sandbox.argo",
)  # fmt: skip


def event(number, **fields):
    """A request for an event of its own, by number."""
    return request(starts_at=START + timedelta(hours=number), **fields)


def single(schema, record):
    """Bytes in single-object encoding, as a program with another version of the schema writes them."""
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), to_avro(record))
    return b"\xc3\x01" + struct.pack("<Q", crc64(schema)) + out.getvalue()


@pytest.fixture(scope="module")
def odd(kafka, schema_registry, tmp_path_factory):
    """The log: each thing that can happen to a record, with a worker that was killed and started again on the way."""
    prefix, folder = f"t{uuid.uuid4().hex[:8]}.", tmp_path_factory.mktemp("odd")
    with site(
        kafka.bootstrap, prefix, folder, schema_registry_url=schema_registry.url, cluster=f"directory:{folder}"
    ) as world:
        world.ensure_topics()
        assert world.run("schemas", "register").returncode == 0
        world.requests = world.catalogue.requests
        world.admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        world.raw = Producer({"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2_random"})
        world.places = {}
        worker = start(world)
        fill(world, schema_registry.url)
        settle(world)
        redriven = world.run("dead-letters", "redrive", "--all", "--who", "lee", "--why", "registered now")
        assert redriven.returncode == 0, redriven.stderr
        settle(world)
        worker.kill()
        # Whoever folds next finds a row that an older version of the worker wrote, and copies of what it knows.
        age(world)
        copied = world.run("republish", "requests", "requests", "--event", EVENT, "--i-mean-it", "--json")
        assert copied.returncode == 0, copied.stderr
        world.copied = json.loads(copied.stdout)
        start(world)
        settle(world)
        yield world


def start(world):
    worker = world.start("worker", "--only", "fold", "--only", "announce")
    eventually("the worker to take over", lambda: worker.said().count("partitions taken over") >= 2)
    return worker


def put(world, key, value, *, headers=None, name=None):
    """Write bytes; remembers where, and waits until the clock of the log has gone on."""
    reports = []
    world.raw.produce(
        world.requests.name,
        key=key,
        value=value,
        headers=headers,
        on_delivery=lambda error, message: reports.append((error, message)),
    )
    assert world.raw.flush(30) == 0
    ((error, message),) = reports
    assert error is None
    place = world.places[name or value] = message.partition(), message.offset()
    written_at = time.time()
    eventually("the next millisecond", lambda: time.time() > written_at + 0.002)
    return place


def send(world, record, name):
    put(world, record.target, world.codec.encode(record, world.requests.name), name=name)


def fill(world, registry_url):
    """One of everything. The event of the story is accepted, replaced and deleted, by writers of three versions."""
    subject = world.requests.subject
    older = json.loads(schema_json("ScaleRequest"))
    older["fields"] = [field for field in older["fields"] if field["name"] not in ("run", "group")]
    later = newer("ScaleRequest", "campaign")
    asked = request(starts_at=START, ends_at=START + timedelta(hours=1), owner="kim", title="Sale")
    outdated = {name: value for name, value in to_avro(asked).items() if name not in ("run", "group")}
    put(world, "infra", framed_body(older, post(registry_url, subject, older), outdated), name="accepted")
    changed = request(starts_at=START, ends_at=START + timedelta(hours=2), owner="lee", title="Sale")
    put(world, "infra", written(later, post(registry_url, subject, later), changed, campaign="봄"), name="replaced")
    send(world, event(1), "other")
    deletion = request(action=RequestAction.DELETE, event_date=DATE, owner="park")
    put(world, "infra", single(OLD["ScaleRequest"], deletion), name="deleted")
    # Nobody has registered this one yet.
    unknown = newer("ScaleRequest", f"x{uuid.uuid4().hex}")
    first = post(registry_url, f"other-{uuid.uuid4()}", newer("ScaleRequest", f"y{uuid.uuid4().hex}"))
    late = event(2, owner="choi")
    put(world, "infra", written(unknown, first + 1, late), headers={"ce_id": late.request_id}, name="late")
    put(world, "infra", NONSENSE, name="nonsense")
    misplaced = event(3, owner="mina")
    put(world, "somebody-else", world.codec.encode(misplaced, world.requests.name), name="misplaced")
    send(world, event(4, target="app"), "app")
    settle(world)
    assert post(registry_url, subject, unknown) == first + 1


def framed_body(schema, schema_id, value):
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return struct.pack(">bI", 0, schema_id) + out.getvalue()


def age(world):
    """Write a row of the entries once more as the first release would have."""
    spec = world.catalogue.entries
    assert crc64(OLD["Entry"]) != todays_fingerprint("Entry")
    (key, entry, message), *_ = [row for row in world.read(spec) if row[1] and row[1].target == "app"]
    plain = to_avro(entry)
    known = {field["name"] for field in OLD["Entry"]["fields"]}
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(OLD["Entry"]), {n: v for n, v in plain.items() if n in known})
    value = b"\xc3\x01" + struct.pack("<Q", crc64(OLD["Entry"])) + out.getvalue()
    world.raw.produce(spec.name, key=key, value=value, partition=message.partition())
    assert world.raw.flush(30) == 0


def settle(world):
    """Until the worker has read everything and replay agrees."""

    def settled():
        done = world.run("replay", "--json", "--quiet")
        if done.returncode != 0:
            return None
        report = json.loads(done.stdout)
        return report["requests"]["not_yet_read"] == 0 and report["equal"]

    eventually("the worker to have read everything, and replay to agree", settled)


def told(world, *arguments, code=0):
    done = world.run(*arguments)
    assert done.returncode == code, done.stderr
    return done


def shown(world, *arguments, code=0):
    return json.loads(told(world, *arguments, "--json", code=code).stdout)


def raws(world):
    """Every record of the requests, by partition and offset."""
    with LogReader({"bootstrap.servers": world.bootstrap}) as log:
        return {(raw.partition, raw.offset): raw for raw in log.read(log.spans([world.requests.name]))}


def log_times(world):
    found = raws(world)
    return {name: found[place].timestamp for name, place in world.places.items()}


def moment(millis):
    return datetime.fromtimestamp(millis / 1000).astimezone().isoformat(timespec="milliseconds")


@pytest.mark.slow
def test_everything_is_accounted_for_without_a_manual_step(odd):
    report = shown(odd, "replay")
    assert report["equal"]
    counted = report["requests"]
    copies = odd.copied["sent"]
    assert copies == odd.copied["selected"] == 3
    # Eight were sent; two letters came back; one was forwarded; three were copied.
    assert counted["in"] == 8 + 2 + 1 + copies
    assert (counted["accepted"], counted["replaced"], counted["withdrawn"]) == (5, 1, 1)
    assert (counted["forwarded"], counted["dead_lettered"], counted["duplicate"]) == (1, 3, copies)
    assert counted["balanced"]
    assert (report["lettersMissing"], report["forwardsMissing"], report["trimmed"]) == ([], [], {})
    kinds = sorted(line["fate"] for line in report["aside"])
    assert kinds == ["dead-lettered"] * 3 + ["forwarded"]
    assert "Equal." in told(odd, "replay").stdout
    told(odd, "audit", "verify", *NO_CLUSTER)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("replay", "--json"),
        ("audit", "verify", *NO_CLUSTER, "--json"),
        ("audit", "event", EVENT, "--json"),
        ("audit", "requests", "--json"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_no_connection_but_kafkas_and_the_registrys_is_opened(odd, schema_registry, tmp_path, arguments):
    """What this sees, and what not, is told in support.watching: it would miss a short call that C code makes to an
    address that is neither Slack's nor the cluster's."""
    kafka, registry = odd.bootstrap, schema_registry.url.removeprefix("http://")
    seen = watched(arguments, odd.env(), tmp_path)
    assert seen.code == 0, seen.err
    assert json.loads(seen.out)
    assert seen.called == []
    # The broker may be named by another word than where it listens.
    assert seen.peers <= {loopback(kafka), loopback(registry)}
    assert loopback(kafka) in seen.peers
    assert {event for event, _ in seen.python} <= {"socket.connect", "socket.getaddrinfo"}
    port = registry.rpartition(":")[2]
    assert seen.python
    assert all(port in what for _, what in seen.python), seen.python
    loaded = {name for name in seen.modules if any(name == one or name.startswith(f"{one}.") for one in EFFECTS)}
    assert loaded == set()


def test_a_command_with_effects_is_seen_to_have_them(odd, tmp_path):
    """So that the test above can fail: the sink talks to Slack, and imports what does."""
    seen = watched(("slack-sink",), odd.env(publish_timeout=3), tmp_path, until_called=True)
    assert seen.called == ["slack"]
    assert "processors.slack.sink" in seen.modules


def loopback(address):
    return address.replace("localhost", "127.0.0.1")


@pytest.mark.slow
def test_the_copies_name_their_records_and_the_fold_recognises_them(odd):
    found = raws(odd)
    copies = [raw for raw in found.values() if raw.header(REPUBLISHED_FROM) is not None]
    wanted = {odd.places[name] for name in ("accepted", "replaced", "deleted")}
    assert {copied_from(copy)[1:] for copy in copies} == wanted
    for copy in copies:
        original = found[copied_from(copy)[1:]]
        assert (copy.key, copy.value, copy.partition) == (original.key, original.value, original.partition)
    rows = {row["place"]: row["verdict"] for row in shown(odd, "audit", "requests")}
    assert {rows[str(copy.place)] for copy in copies} == {"duplicate"}
    again = shown(odd, "republish", "requests", "requests", "--event", EVENT, "--i-mean-it")
    assert (again["selected"], again["alreadyThere"], again["sent"]) == (3, 3, 0)


@pytest.mark.slow
def test_until_in_the_middle_of_a_replaced_and_deleted_event_shows_each_state(odd):
    times = log_times(odd)
    assert times["accepted"] < times["replaced"] < times["other"] < times["deleted"] < times["late"]
    ends = {
        hours: (START + timedelta(hours=hours)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for hours in (1, 2)
    }
    expected = {
        times["accepted"] - 1: None,
        times["accepted"]: ("asked for", "kim", ends[1]),
        times["replaced"] - 1: ("asked for", "kim", ends[1]),
        times["replaced"]: ("asked for", "lee", ends[2]),
        times["deleted"] - 1: ("asked for", "lee", ends[2]),
        times["deleted"]: ("withdrawn", "park", ""),
    }
    for millis, state in expected.items():
        rows = {row["key"]: row for row in shown(odd, "audit", "at", moment(millis))}
        row = rows.get(EVENT)
        assert (row and (row["state"], row["owner"], row["ends_at"])) == state, millis
    fates = ["accepted", "replaced", "withdrawn"]
    for number, name in enumerate(("accepted", "replaced", "deleted"), 1):
        until = ("--until", moment(times[name]))
        (story,) = shown(odd, "audit", "event", EVENT, *until)
        for kind in ("request", "notification"):
            assert [line["what"] for line in story["lines"] if line["kind"] == kind] == fates[:number]
        report = shown(odd, "replay", "--event", EVENT, *until)
        assert report["equal"]
        (story,) = report["events"]
        for kind in ("request", "notification"):
            assert [line["what"] for line in story["lines"] if line["kind"] == kind] == fates[:number]
    told(odd, "audit", "event", EVENT, "--until", moment(times["accepted"] - 1), code=1)
    (row,) = shown(odd, "audit", "diff", moment(times["accepted"]), moment(times["deleted"]))[:1]
    assert (row["key"], row["by"]) == (EVENT, "lee: replaced; park: withdrawn")


@pytest.mark.slow
def test_an_export_is_the_same_from_a_real_log(odd, tmp_path):
    for what in ("requests", "topic:requests", "dead-letters", "entries"):
        manifests = []
        for name in ("one", "two"):
            folder = tmp_path / what.replace(":", "-") / name
            manifest = told(odd, "audit", "export", what, str(folder), "--format", "csv", "--json").stdout
            manifests.append((manifest, {f.name: f.read_bytes() for f in folder.iterdir()}))
        assert manifests[0] == manifests[1]
        schemas = json.loads(manifests[0][0])["schemas"]
        if what in ("requests", "topic:requests"):
            assert len([one for one in schemas if one.startswith("id/")]) >= 4
        if what != "dead-letters":
            assert any(one.startswith("fingerprint/") for one in schemas)


@pytest.mark.slow
def test_a_trimmed_beginning_is_replayed_and_says_from_when_on_it_can_answer(odd):
    """The last test of this log: it deletes its first records, as retention does."""
    times = log_times(odd)
    home = partition_of(b"infra", odd.requests.partitions)
    partition, offset = odd.places["other"]
    assert partition == home
    place = TopicPartition(odd.requests.name, home, offset)
    next(iter(odd.admin.delete_records([place]).values())).result(15)

    report = shown(odd, "replay")
    assert report["equal"]
    trimmed = {topic: datetime.fromisoformat(first) for topic, first in report["trimmed"].items()}
    assert {topic: round(first.timestamp() * 1000) for topic, first in trimmed.items()} == {
        odd.requests.name: times["other"]
    }
    assert report["tables"]["entries"]["differences"] == []
    answer = told(odd, "replay", "--quiet")
    assert f"{odd.requests.name} has lost its beginning: it can answer from " in answer.stdout
    told(odd, "audit", "verify", *NO_CLUSTER)

    for arguments in (("requests",), ("event", EVENT), ("at", moment(times["deleted"]))):
        noted = told(odd, "audit", *arguments, "--json")
        assert f"{odd.requests.name} has lost its beginning: it can answer from " in noted.stderr
        assert json.loads(noted.stdout)
    rows = {row["key"]: row for row in shown(odd, "audit", "at", moment(times["deleted"]))}
    assert rows[EVENT]["state"] == "withdrawn"
    for arguments in (
        ("at", moment(times["other"] - 1)),
        ("diff", moment(times["accepted"]), moment(times["deleted"])),
    ):
        refused = told(odd, "audit", *arguments, code=1)
        assert refused.stdout == ""
        last = refused.stderr.splitlines()[-1]
        assert last.startswith(f"peaktime: {odd.requests.name}: it goes back to ")
        assert "is before that" in last
