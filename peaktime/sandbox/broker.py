"""The embedded broker: a Kafka that lives inside this process.

It is the mock cluster of librdkafka, which speaks the real protocol on a loopback port, so that any client can use it:
produce, fetch, groups, commits, headers and tombstones work. Its limits:

- a topic is made by being touched and has 4 partitions; CreateTopics and DeleteTopics are not there;
- a partition holds 5 MiB, then its oldest records silently go; there is no compaction and no retention;
- no look-up of offsets by time, and no ``read_committed``;
- all data dies with the process.

It must not know topics of ours, nor be used where records matter.
"""

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaException, Producer

PARTITIONS: Final = 4
"""How many partitions each topic of an embedded broker has."""

_PATIENCE: Final = 10.0


class EmbeddedBroker:
    """A broker of one node for as long as the context lasts.

    >>> with EmbeddedBroker() as broker:
    ...     broker.create(["peaktime.requests.v1"])
    ...     connect(broker.bootstrap)
    """

    def __init__(self) -> None:
        self._producer: Producer | None = None
        self._bootstrap = ""

    @property
    def bootstrap(self) -> str:
        """The address for clients, as ``127.0.0.1:port``."""
        if self._producer is None:
            raise RuntimeError("The embedded broker is not running: use it as a context manager, or call start().")
        return self._bootstrap

    def start(self) -> None:
        """Start the broker; it answers when this returns."""
        if self._producer is not None:
            return
        # The address is ignored: librdkafka replaces it by that of the mock cluster.
        self._producer = Producer({"bootstrap.servers": "127.0.0.1:1", "test.mock.num.brokers": 1, "log_level": 0})
        try:
            [node] = self._producer.list_topics(timeout=_PATIENCE).brokers.values()
        except BaseException:
            self.close()
            raise
        self._bootstrap = f"127.0.0.1:{node.port}"

    def create(self, topics: Iterable[str]) -> None:
        """Let these topics exist, with 4 partitions each; those that exist stay as they are."""
        if self._producer is None:
            raise RuntimeError("The embedded broker is not running.")
        for topic in topics:
            deadline = time.monotonic() + _PATIENCE
            while True:
                found = self._producer.list_topics(topic=topic, timeout=_PATIENCE).topics[topic]
                if found.error is None and found.partitions:
                    break
                if time.monotonic() > deadline:
                    raise KafkaException(found.error)

    def close(self) -> None:
        """Stop the broker and forget all its data."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close(_PATIENCE)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
