"""`peaktime republish` on a real broker: moved to a topic with other partitions, killed on the way."""

import json
import signal
from collections import Counter

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from support.site import eventually, request, site

from peaktime.errors import BrokerError
from processors.replay.log import copied_from, partition_of
from processors.replay.reader import LogReader
from schemas.headers import REPUBLISHED_FROM

COUNT = 400
PARTITIONS = 5


@pytest.fixture
def world(kafka, topic_prefix, tmp_path):
    with site(kafka.bootstrap, topic_prefix, tmp_path) as opened:
        opened.ensure_topics()
        opened.copies = f"{topic_prefix}copies.v2"
        opened.admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        yield opened


def raws(world, topic):
    """Every record of a topic, by partition and offset."""
    with LogReader({"bootstrap.servers": world.bootstrap}) as log:
        return sorted(log.read(log.spans([topic])), key=lambda raw: raw.place)


def there(world, topic):
    """Whether every client finds the topic, which takes a moment."""
    with LogReader({"bootstrap.servers": world.bootstrap}) as log:
        try:
            return log.partitions(topic) == PARTITIONS
        except BrokerError:
            return False


@pytest.mark.slow
def test_killed_and_run_again_each_record_is_there_once_and_in_order(world):
    missing = world.run("republish", "requests", world.copies, "--all")
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert "is not there. Create it first" in missing.stderr
    made = NewTopic(world.copies, PARTITIONS, 1, config={"message.timestamp.type": "LogAppendTime"})
    world.admin.create_topics([made])[world.copies].result(15)
    world.publish(*(request(target=f"t{number % 9}", title=str(number)) for number in range(COUNT)))
    eventually("the topic", lambda: there(world, world.copies))
    command = ("republish", "requests", world.copies, "--all")
    for least in (30, 120):
        program = world.start(*command, "--rate", "150")
        eventually("some copies", lambda least=least: len(raws(world, world.copies)) > least)
        program.kill()
        assert program.process.returncode == -signal.SIGKILL
        assert len(raws(world, world.copies)) < COUNT
    done = world.run(*command, "--rate", "2000", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["selected"] == COUNT == summary["sent"] + summary["alreadyThere"]
    assert 0 < summary["sent"] < COUNT
    assert json.loads(world.run(*command, "--json").stdout)["sent"] == 0

    originals = {(raw.partition, raw.offset): raw for raw in raws(world, world.catalogue.requests.name)}
    copies = raws(world, world.copies)
    assert Counter(copied_from(copy)[1:] for copy in copies) == Counter(list(originals))
    by_key = {}
    for copy in copies:
        original = originals[copied_from(copy)[1:]]
        assert (copy.key, copy.value) == (original.key, original.value)
        assert copy.headers[: len(original.headers)] == original.headers
        assert copy.partition == partition_of(copy.key, PARTITIONS)
        by_key.setdefault(copy.key, []).append(copied_from(copy)[1:])
    assert all(places == sorted(places) for places in by_key.values())

    # Back again they come only if somebody means it, and a copy of a copy names the copy.
    assert world.run("republish", world.copies, "requests", "--key", "t3").returncode == 1
    back = world.run("republish", world.copies, "requests", "--key", "t3", "--i-mean-it", "--json")
    assert back.returncode == 0, back.stderr
    count = len(by_key[b"t3"])
    assert json.loads(back.stdout)["sent"] == count
    again = [raw for raw in raws(world, world.catalogue.requests.name) if raw.header(REPUBLISHED_FROM)]
    assert len(again) == count
    assert {copied_from(raw)[1:] for raw in again} == {
        (copy.partition, copy.offset) for copy in copies if copy.key == b"t3"
    }
