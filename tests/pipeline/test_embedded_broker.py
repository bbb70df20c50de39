"""The embedded broker: librdkafka's mock cluster, as other clients see it."""

import pytest
from confluent_kafka import Consumer, Producer

from peaktime.sandbox.broker import PARTITIONS, EmbeddedBroker


class TestEmbeddedBroker:
    def test_what_is_produced_is_consumed_by_other_clients(self):
        with EmbeddedBroker() as broker:
            broker.create(["peaktime.requests.v1", "peaktime.outcomes.v1"])
            broker.create(["peaktime.requests.v1"])
            producer = Producer({"bootstrap.servers": broker.bootstrap})
            topics = producer.list_topics(timeout=10).topics
            assert {name: len(topic.partitions) for name, topic in topics.items()} == {
                "peaktime.requests.v1": PARTITIONS,
                "peaktime.outcomes.v1": PARTITIONS,
            }
            producer.produce("peaktime.requests.v1", b"value", key=b"infra", headers={"reason": b"none"})
            assert producer.flush(10) == 0
            producer.close()

            consumer = Consumer(
                {"bootstrap.servers": broker.bootstrap, "group.id": "g", "auto.offset.reset": "earliest"},
            )
            consumer.subscribe(["peaktime.requests.v1"])
            [message] = consumer.consume(1, timeout=20)
            consumer.close()
        assert (message.key(), message.value(), message.headers()) == (b"infra", b"value", [("reason", b"none")])

    def test_it_says_that_it_is_not_running(self):
        broker = EmbeddedBroker()
        with pytest.raises(RuntimeError, match="not running"):
            _ = broker.bootstrap
        with broker:
            assert broker.bootstrap.startswith("127.0.0.1:")
        with pytest.raises(RuntimeError, match="not running"):
            broker.create(["topic"])
