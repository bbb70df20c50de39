"""A durable publish: it returns once Kafka has the record on enough brokers.

For: everything outside the workers that writes to a topic. Must not: retry by itself beyond the client's own retries,
nor decide what is written. Sending a record again under the same id is always safe.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from peaktime.errors import PublishError
from peaktime.kafka import Trouble
from schemas.catalogue import Catalogue, TopicSpec
from schemas.codec import Codec
from schemas.headers import producer_name, record_headers

#: Kafka's other clients use murmur2; librdkafka's own default differs.
PARTITIONER = "murmur2_random"
_log = logging.getLogger(__name__)
#: What librdkafka says of itself: a line for each failed attempt to connect. Shown only at log level debug.
_client_log = logging.getLogger("peaktime.kafka")
_client_log.addHandler(logging.NullHandler())
_SPARE_SECONDS = 2.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a record stands on the log."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class Publication:
    """One record to publish; ``record`` is bytes for a topic of raw bytes, None for a tombstone.

    Headers are pairs where one name may come more than once, as it may on the log.
    """

    spec: TopicSpec
    key: str | bytes | None
    record: Any
    headers: Mapping[str, str | bytes | None] | Sequence[tuple[str, str | bytes | None]] | None = None


class Publisher:
    """Writes records durably: acks=all, idempotent, answered after the delivery report. Thread-safe.

    Args:
        settings_options: ``Settings.confluent_options()``.
        codec: turns records into bytes.
        catalogue: the topics; kept for the callers that only hold a publisher.
        timeout: seconds that a sender waits for Kafka.
        source: which part writes, for the headers.
        options: further librdkafka options; they win.
    """

    def __init__(
        self,
        settings_options: Mapping[str, Any],
        codec: Codec,
        catalogue: Catalogue,
        timeout: float,
        *,
        source: str = "cli",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.catalogue = catalogue
        self._codec = codec
        self._timeout = timeout
        self._source = source
        self._broker = str(settings_options.get("bootstrap.servers", "?"))
        self._options = {
            **settings_options,
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": PARTITIONER,
            "linger.ms": 0,
            "message.timeout.ms": max(1, int(timeout * 1000)),
            "message.max.bytes": max(spec.max_message_bytes for spec in catalogue) + 64 * 1024,
            "reconnect.backoff.max.ms": 1000,
            "client.id": f"peaktime-{source}",
            **(options or {}),
        }
        self._lock = threading.Lock()
        self._trouble = Trouble(self._say_refused, self._say_down)
        self._closed = threading.Event()
        self._client = self._new_client()
        self._poller = threading.Thread(target=self._poll, name="publisher", daemon=True)
        self._poller.start()

    def publish(
        self,
        spec: TopicSpec,
        key: str | bytes | None,
        record: Any,
        headers: Mapping[str, str | bytes | None] | None = None,
    ) -> Position:
        """Write one record, and return where it stands once it is durable.

        Args:
            spec: the topic.
            key: the record's key.
            record: what the catalogue says for this topic; bytes where it says none, None for a tombstone.
            headers: further headers; they win over the usual ones.

        Raises:
            PublishError: it is not known to be on the log. It may be there: send it again under the same id.
            SchemaUnavailableError: the registry is away.
        """
        return self.publish_many([Publication(spec, key, record, headers)])[0]

    def publish_many(self, publications: Iterable[Publication]) -> list[Position]:
        """Write several records at once, in order for each key; returns when all are durable.

        Raises:
            PublishError: at least one is not known to be on the log; others may be.
            SchemaUnavailableError: the registry is away; nothing was sent.
        """
        encoded = [(item, self._value(item), self._headers(item)) for item in publications]
        deadline = monotonic() + self._timeout + _SPARE_SECONDS
        futures: list[Future[Position]] = [self._send(*parts, deadline) for parts in encoded]
        positions = []
        for (item, _, _), future in zip(encoded, futures, strict=True):
            try:
                positions.append(future.result(max(0.0, deadline - monotonic())))
            except FutureTimeoutError:
                raise self._error(item.spec, RuntimeError("no delivery report came in time")) from None
        return positions

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything that was sent is answered. Raises PublishError after ``timeout`` seconds."""
        try:
            left = self._producer().flush(self._timeout if timeout is None else timeout)
        except KafkaException as error:
            reason, remedy = self._trouble.explain(error, "Send it again under the same id")
            raise PublishError(f"publishing at {self._broker}", reason, remedy) from error
        if left:
            reason = f"{left} records are not acknowledged by {self._broker}"
            raise PublishError("publishing", reason, "Check that Kafka is up, and send them again under the same ids")

    def close(self) -> None:
        """Flush and stop. Raises PublishError if something stays unacknowledged."""
        try:
            self.flush()
        finally:
            self._closed.set()
            self._poller.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _value(self, item: Publication) -> bytes | None:
        if item.record is None or isinstance(item.record, bytes):
            return item.record
        if item.spec.record is not type(item.record):
            wanted = item.spec.record.__name__ if item.spec.record else "bytes"
            raise TypeError(f"{item.spec.name} holds {wanted}, not {type(item.record).__name__}")
        return self._codec.encode(item.record, item.spec.name)

    def _headers(self, item: Publication) -> list[tuple[str, str | bytes | None]]:
        usual: dict[str, str | bytes | None] = {"peaktime-producer": producer_name()}
        if item.spec.record is not None and isinstance(item.record, item.spec.record):
            usual.update(
                record_headers(item.record, source=self._source, at=datetime.now(UTC), producer=producer_name()),
            )
        given = item.headers.items() if isinstance(item.headers, Mapping) else item.headers or ()
        own = list(given)
        said = {name for name, _ in own}
        return [*((name, text) for name, text in usual.items() if name not in said), *own]

    def _send(
        self,
        item: Publication,
        value: bytes | None,
        headers: list[tuple[str, str | bytes | None]],
        deadline: float,
    ) -> Future[Position]:
        future: Future[Position] = Future()

        def report(error: KafkaError | None, message: Message) -> None:
            if error is None:
                future.set_result(Position(message.topic(), message.partition(), message.offset()))
            else:
                future.set_exception(self._error(item.spec, error, client))

        client = self._producer()
        while True:
            try:
                client.produce(item.spec.name, value=value, key=item.key, headers=headers, on_delivery=report)
            except BufferError:
                if monotonic() > deadline:
                    raise self._error(item.spec, RuntimeError("the queue of unsent records is full")) from None
                client.poll(_POLL_SECONDS)
            except KafkaException as error:
                raise self._error(item.spec, error.args[0], client) from error
            else:
                return future

    def _producer(self) -> Producer:
        with self._lock:
            if self._closed.is_set():
                raise PublishError("publisher", "is closed", "Open another one")
            return self._client

    def _new_client(self) -> Producer:
        return Producer({**self._options, "error_cb": self._trouble}, logger=_client_log)

    def _say_refused(self, reason: str, remedy: str) -> None:
        _log.warning("Kafka at %s: %s. %s", self._broker, reason, remedy)

    def _say_down(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN or error.fatal():  # noqa: SLF001  (the library offers no public way)
            _log.warning("Kafka at %s: %s", self._broker, error.str())

    def _poll(self) -> None:
        while not self._closed.is_set():
            client = self._client
            try:
                client.poll(_POLL_SECONDS)
            except KafkaException as error:
                # Raised once, by whoever polls: the client is done for, and what waits for it is told by its reports.
                self._trouble(error.args[0])
                self._replace(client)
                client.poll(0)

    def _replace(self, client: Producer) -> None:
        """An idempotent client never recovers from a fatal error; the next publish gets a fresh one."""
        with self._lock:
            if self._client is client:
                self._client = self._new_client()

    def _error(
        self,
        spec: TopicSpec,
        error: Exception | KafkaError,
        client: Producer | None = None,
    ) -> PublishError:
        remedy = "Check that Kafka is up and reachable, and send it again under the same id"
        reason, remedy = self._trouble.explain(error, remedy)
        if isinstance(error, KafkaError):
            if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):  # noqa: SLF001  (the library offers no public way)
                remedy = "Create the topics with `peaktime topics ensure`"
            elif error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                remedy = f"Keep it under {spec.max_message_bytes} bytes"
            elif client is not None and (error.fatal() or error.code() == KafkaError._FATAL):  # noqa: SLF001  (the library offers no public way)
                self._replace(client)
        return PublishError(f"topic {spec.name} at {self._broker}", reason, remedy)
