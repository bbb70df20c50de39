"""Replay's reader on a real broker: holes, a beginning that is gone, time, and no trace of a group."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from support.site import eventually
from support.whole_way import asked

from peaktime import cli
from peaktime.errors import BrokerError
from processors.replay.log import Span
from processors.replay.reader import LogReader
from producers.publish import Publisher
from schemas.catalogue import load_catalogue
from schemas.codec import Codec


@pytest.fixture
def admin(kafka):
    return AdminClient({"bootstrap.servers": kafka.bootstrap})


@pytest.fixture
def topic(admin, topic_prefix):
    name = f"{topic_prefix}holes.v1"
    made = NewTopic(name, 2, 1, config={"message.timestamp.type": "LogAppendTime"})
    admin.create_topics([made])[name].result(15)
    return name


@pytest.fixture
def log(kafka):
    with LogReader({"bootstrap.servers": kafka.bootstrap}, timeout=20) as reader:
        yield reader


def write(kafka, topic, *values, transaction=None, abort=False):
    options = {"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2_random"}
    producer = Producer(options | ({"transactional.id": transaction} if transaction else {}))
    if transaction:
        producer.init_transactions(15)
        producer.begin_transaction()
    for value in values:
        producer.produce(topic, value=value, partition=0)
    assert producer.flush(15) == 0
    if transaction:
        (producer.abort_transaction if abort else producer.commit_transaction)(15)


def test_markers_of_transactions_at_the_end_do_not_hang_it_and_all_that_the_folds_see_is_read(kafka, topic, log):
    write(kafka, topic, b"1", b"2")
    write(kafka, topic, b"3", transaction=f"{topic}-a")
    write(kafka, topic, b"4", transaction=f"{topic}-b", abort=True)
    # The broker may write a transaction's marker after it has answered.
    spans = eventually("both markers", lambda: (found := log.spans([topic]))[0].end == 6 and found)
    assert [(span.start, span.end) for span in spans] == [(0, 6), (0, 0)]
    moved = []
    assert [raw.value for raw in log.read(spans, moved.append)] == [b"1", b"2", b"3", b"4"]
    assert sum(moved) == 6
    assert [raw.offset for raw in log.read(spans)] == [0, 1, 2, 4]


def test_it_begins_at_a_log_time_or_where_the_log_begins_now(kafka, topic, log, admin):
    write(kafka, topic, b"1", b"2")
    write(kafka, topic, b"3")
    times = [raw.log_time for raw in log.read(log.spans([topic]))]
    later = log.spans([topic], since=times[1] + timedelta(milliseconds=1))
    assert [(span.start, span.trimmed) for span in later] == [(2, True), (0, False)]
    assert [raw.value for raw in log.read(later)] == [b"3"]
    whole = Span(topic=topic, partition=0, start=0, end=3)
    admin.delete_records([TopicPartition(topic, 0, 1)])
    deleted = admin.delete_records([TopicPartition(topic, 0, 1)])
    next(iter(deleted.values())).result(15)
    (span, _) = log.spans([topic])
    assert (span.start, span.low, span.trimmed) == (1, 1, True)
    with pytest.raises(BrokerError, match="deleted while it was read"):
        list(log.read([whole]))
    assert [raw.value for raw in log.read([span])] == [b"2", b"3"]


def test_a_group_is_asked_about_and_not_made(topic, log, admin):
    group = f"{topic}-group"
    assert log.committed(group, [topic]) == {}
    list(log.read(log.spans([topic])))
    groups = {listed.group_id for listed in admin.list_consumer_groups().result().valid}
    assert not groups & {group, "peaktime-replay-unused"}


def test_replay_before_any_worker_says_that_nothing_was_read_yet(kafka, topic_prefix, monkeypatch, capsys):
    monkeypatch.setenv("PEAKTIME_KAFKA_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("PEAKTIME_TOPIC_PREFIX", topic_prefix)
    monkeypatch.setenv("PEAKTIME_GROUP_PREFIX", topic_prefix)
    assert cli.run(["topics", "ensure"]) == 0
    catalogue = load_catalogue(topic_prefix)
    publisher = Publisher({"bootstrap.servers": kafka.bootstrap}, Codec(), catalogue, timeout=15)
    for number in range(3):
        request = asked(f"r{number}", number)
        publisher.publish(catalogue.requests, request.target, request)
    publisher.close()
    capsys.readouterr()
    assert cli.run(["replay", "--json", "--quiet"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["equal"]
    assert (report["requests"]["in"], report["requests"]["not_yet_read"]) == (3, 3)
    assert report["tables"]["entries"]["not_yet_read"] >= 1
