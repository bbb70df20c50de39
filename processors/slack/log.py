"""The sink's side of Kafka besides the notifications: deliveries read and written, dead letters written.

For: durable records of the sink's effects. Must not: decide anything, or retry beyond the client's own retries.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from peaktime.errors import BrokerError, DecodeError, PeaktimeError, SchemaUnavailableError
from peaktime.kafka import RIGHTS, Trouble, unauthorized
from processors.slack.known import Known
from schemas.catalogue import Catalogue, TopicSpec
from schemas.codec import Codec
from schemas.headers import record_headers
from schemas.records import Delivery

STAGE = "slack-sink"
_BATCH = 1000
_CONNECT = "__connect.errors."
#: What librdkafka says of itself: a line for each failed attempt to connect.
client_log = logging.getLogger("peaktime.kafka")
client_log.addHandler(logging.NullHandler())


def client_trouble() -> Trouble:
    """Says once in a while that Kafka is away, or refuses us; the clients themselves keep trying."""
    return Trouble(_say_refused, _say_away)


def _say_refused(reason: str, remedy: str) -> None:
    structlog.get_logger(__name__).warning("Kafka refuses the sink; it is tried again", error=reason, next=remedy)


def _say_away(error: KafkaError) -> None:
    if error.code() == KafkaError._ALL_BROKERS_DOWN or error.fatal():  # noqa: SLF001  (the library offers no public way)
        structlog.get_logger(__name__).warning("Kafka does not answer; it is tried again", error=error.str())


class SinkLog:
    """Deliveries and dead letters.

    Args:
        options: connection of every client (``Settings.confluent_options()``).
        codec: encodes and decodes deliveries.
        catalogue: the topics.
        timeout: seconds to wait for Kafka before saying that it does not answer.
        embedded: whether topics come into being by being touched.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        codec: Codec,
        catalogue: Catalogue,
        *,
        timeout: float = 10.0,
        embedded: bool = False,
    ) -> None:
        self._codec = codec
        self._deliveries = catalogue.deliveries
        self._dead_letters = catalogue.dead_letters
        self._timeout = timeout
        self._log = structlog.get_logger(__name__)
        self._next: dict[int, int] = {}
        self._name = _program()
        self._trouble = client_trouble()
        self._producer_options = {
            **options,
            "client.id": f"peaktime-{STAGE}",
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "message.timeout.ms": int(timeout * 1000),
            "message.max.bytes": catalogue.dead_letters.max_message_bytes + 64 * 1024,
            "linger.ms": 0,
            "error_cb": self._trouble,
        }
        self._producer = self._new_producer()
        self._reader = Consumer(
            {
                **options,
                "client.id": f"peaktime-{STAGE}-deliveries",
                # No group is joined: every sink reads all of it. The id only has to be there.
                "group.id": f"peaktime-{STAGE}-unused",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "allow.auto.create.topics": embedded,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 100,
                "error_cb": self._trouble,
            },
            logger=client_log,
        )

    def _new_producer(self) -> Producer:
        return Producer(self._producer_options, logger=client_log)

    def catch_up(self, known: Known) -> int:
        """Read the deliveries to where they end now, and return how many there were.

        Raises:
            BrokerError: Kafka does not answer, or the topic is not there.
            SchemaUnavailableError: the registry is away.
        """
        topic = self._deliveries.name
        ends = self._ends(topic)
        deadline = time.monotonic() + self._timeout
        count = 0
        while any(self._next.get(partition, 0) < end for partition, end in ends.items()):
            messages = self._reader.consume(_BATCH, timeout=0.5)
            try:
                count += sum([self._take(message, known) for message in messages])
            except SchemaUnavailableError:
                # The rest of the batch is gone from the client: the next try begins anew.
                self._next.clear()
                raise
            if messages:
                deadline = time.monotonic() + self._timeout
            elif time.monotonic() > deadline:
                raise BrokerError(f"topic {topic}", "could not be read to its end", "Check that Kafka is up")
        return count

    def _ends(self, topic: str) -> dict[int, int]:
        try:
            found = self._reader.list_topics(topic, timeout=self._timeout).topics[topic]
            if unauthorized(found.error):
                raise BrokerError(f"topic {topic}", found.error.str(), RIGHTS)
            if found.error is not None or not found.partitions:
                raise BrokerError(f"topic {topic}", "is not there", "Create the topics with `peaktime topics ensure`")
            if not self._next:
                self._reader.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in found.partitions])
            ends = {}
            for partition in found.partitions:
                low, high = self._reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=self._timeout)
                self._next[partition] = max(low, self._next.get(partition, 0))
                ends[partition] = high
        except KafkaException as error:
            reason, remedy = self._trouble.explain(error, "Check that Kafka is up and reachable", self._reader)
            raise BrokerError(f"topic {topic}", reason, remedy) from error
        return ends

    def _take(self, message: Message, known: Known) -> int:
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  (the library offers no public way)
                self._next[message.partition()] = message.offset()
                return 0
            if error.fatal():
                raise BrokerError(f"topic {self._deliveries.name}", error.str(), "Start the sink again")
            if error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:  # which is no matter: no group is joined
                self._log.warning("reading deliveries", error=error.str())
            return 0
        self._next[message.partition()] = message.offset() + 1
        if message.value() is None:
            return 0
        try:
            known.add(self._codec.decode(Delivery, message.value()))
        except DecodeError as broken:
            # Its notification may be told twice; that is better than telling nobody anything.
            self._log.exception("a delivery cannot be read", offset=message.offset(), error=str(broken))
            return 0
        return 1

    def write(self, delivery: Delivery) -> None:
        """Record a delivery durably. Raises BrokerError if it is not known to be on the log."""
        headers = record_headers(delivery, source=STAGE, at=delivery.delivered_at, producer=self._name)
        value = self._codec.encode(delivery, self._deliveries.name)
        self._send(self._deliveries, delivery.notification_id.encode(), value, list(headers.items()))

    def put_aside(self, message: Message, error: PeaktimeError, *, code: str) -> None:
        """Keep a message as a dead letter, byte for byte, with Kafka Connect's error headers and ours.

        Args:
            message: as it was read.
            error: why it cannot be told.
            code: a short word for that, for programs.

        Raises:
            BrokerError: it is not known to be on the log.
        """
        found = [(name, value) for name, value in (message.headers() or []) if not name.startswith(_CONNECT)]
        found += [
            (f"{_CONNECT}topic", message.topic()),
            (f"{_CONNECT}partition", str(message.partition())),
            (f"{_CONNECT}offset", str(message.offset())),
            (f"{_CONNECT}exception.class.name", f"{type(error).__module__}.{type(error).__qualname__}"),
            (f"{_CONNECT}exception.message", str(error)[:1000]),
            ("peaktime-stage", STAGE),
            ("peaktime-reason", code),
            ("peaktime-producer", self._name),
        ]
        self._send(self._dead_letters, message.key(), message.value(), found)

    def _send(
        self,
        spec: TopicSpec,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, str | bytes]],
    ) -> None:
        reports: list[KafkaError | None] = []
        try:
            self._producer.produce(
                spec.name,
                key=key,
                value=value,
                headers=list(headers),
                on_delivery=lambda e, _: reports.append(e),
            )
            self._producer.flush(self._timeout + 1)
        except (BufferError, KafkaException) as error:
            # A client that failed fatally, for want of rights, never recovers; rights may be given.
            self._producer = self._new_producer()
            reason, remedy = self._trouble.explain(error, "Check that Kafka is up and reachable")
            raise BrokerError(f"topic {spec.name}", reason, remedy) from error
        if not reports or reports[0] is not None:
            refused = reports[0] if reports else RuntimeError("no acknowledgement")
            reason, remedy = self._trouble.explain(refused, "Check that Kafka is up, with enough brokers in sync")
            raise BrokerError(f"topic {spec.name}", reason, remedy)

    def close(self) -> None:
        """Close both clients; everything that was written is acknowledged already."""
        self._reader.close()
        self._producer.flush(0)


def _program() -> str:
    try:
        return f"peaktime/{version('peaktime')}"
    except PackageNotFoundError:
        return "peaktime/unknown"
