"""Durable publishing, on the embedded broker and without any."""

import threading
import time

import pytest
from confluent_kafka import Consumer, TopicPartition
from support.write_golden import GOLDEN, REQUEST

from peaktime.errors import PublishError
from peaktime.sandbox.broker import EmbeddedBroker
from producers.publish import Publication, Publisher
from schemas.catalogue import load_catalogue
from schemas.codec import Codec
from schemas.records import ScaleRequest

CATALOGUE = load_catalogue()


@pytest.fixture(scope="module")
def broker():
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def publisher(broker):
    with Publisher({"bootstrap.servers": broker.bootstrap}, Codec(), CATALOGUE, 10, source="test") as publisher:
        yield publisher


def read(broker, position):
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "test", "fetch.wait.max.ms": 10})
    try:
        consumer.assign([TopicPartition(position.topic, position.partition, position.offset)])
        message = consumer.poll(10)
        assert message is not None
        assert message.error() is None
        return message
    finally:
        consumer.close()


def test_it_returns_where_the_record_stands(broker, publisher):
    first = publisher.publish(CATALOGUE.requests, "infra", REQUEST)
    second = publisher.publish(CATALOGUE.requests, "infra", REQUEST, {"trace": "t"})
    assert (second.partition, second.offset) == (first.partition, first.offset + 1)
    message = read(broker, second)
    assert message.key() == b"infra"
    assert Codec().decode(ScaleRequest, message.value()) == REQUEST
    headers = dict(message.headers())
    assert headers["trace"] == b"t"
    assert headers["ce_id"] == REQUEST.request_id.encode()
    assert headers["ce_type"] == b"peaktime.v1.ScaleRequest"
    assert headers["ce_source"] == b"peaktime/test"
    assert headers["content-type"] == b"application/avro"
    assert headers["peaktime-producer"].startswith(b"peaktime/")


def test_many_at_once_keep_their_order(publisher):
    positions = publisher.publish_many(Publication(CATALOGUE.requests, "one-target", REQUEST) for _ in range(200))
    assert len({position.partition for position in positions}) == 1
    offsets = [position.offset for position in positions]
    assert offsets == list(range(offsets[0], offsets[0] + 200))


def test_every_kind_of_record_can_be_published(publisher):
    for record in GOLDEN:
        spec = next(spec for spec in CATALOGUE if spec.record is type(record))
        assert publisher.publish(spec, "k", record).topic == spec.name


def test_raw_bytes_tombstones_and_any_key(broker, publisher):
    letter = publisher.publish(CATALOGUE.dead_letters, b"\xff\x00", b"not avro", {"reason": b"\x00"})
    message = read(broker, letter)
    assert (message.key(), message.value()) == (b"\xff\x00", b"not avro")
    assert dict(message.headers())["reason"] == b"\x00"
    tombstone = read(broker, publisher.publish(CATALOGUE.deliveries, "gone", None))
    assert tombstone.value() is None
    assert read(broker, publisher.publish(CATALOGUE.dead_letters, None, b"x")).key() is None


def test_a_record_of_another_topic_is_refused(publisher):
    with pytest.raises(TypeError, match="holds Outcome"):
        publisher.publish(CATALOGUE.outcomes, "infra", REQUEST)


def test_a_record_that_is_too_large_is_said_so(publisher):
    with pytest.raises(PublishError) as caught:
        publisher.publish(CATALOGUE.dead_letters, "k", b"x" * 4_000_000)
    assert "Keep it under" in caught.value.remedy


def test_many_threads_share_one_publisher(publisher):
    positions = []

    def work(number):
        positions.extend(publisher.publish(CATALOGUE.requests, f"target-{number}", REQUEST) for _ in range(20))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(positions)) == 160


def test_the_partition_is_murmur2s(broker, publisher):
    # Of Kafka's own test: murmur2("21") is -973932308; every client must agree on what follows from it.
    partitions = len(
        Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "t"})
        .list_topics(CATALOGUE.requests.name)
        .topics[CATALOGUE.requests.name]
        .partitions,
    )
    expected = (-973932308 & 0x7FFFFFFF) % partitions
    assert publisher.publish(CATALOGUE.requests, "21", REQUEST).partition == expected


def test_without_a_broker_it_says_so_in_time():
    publisher = Publisher({"bootstrap.servers": "127.0.0.1:1"}, Codec(), CATALOGUE, 0.5)
    started = time.monotonic()
    try:
        with pytest.raises(PublishError) as caught:
            publisher.publish(CATALOGUE.requests, "infra", REQUEST)
    finally:
        publisher.close()
    assert time.monotonic() - started < 5
    assert "127.0.0.1:1" in caught.value.thing
    assert "same id" in caught.value.remedy


def test_a_closed_publisher_says_so(broker):
    publisher = Publisher({"bootstrap.servers": broker.bootstrap}, Codec(), CATALOGUE, 5)
    publisher.close()
    with pytest.raises(PublishError, match="closed"):
        publisher.publish(CATALOGUE.requests, "infra", REQUEST)
