"""The log, read once from a place to where it ends now, with a plain consumer.

For: replay and audit. It joins no group, commits nothing and writes nothing. Must not: understand what it reads.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from peaktime.errors import BrokerError
from peaktime.kafka import RIGHTS, Trouble, unauthorized
from processors.replay.log import Raw, Span
from schemas.records import EPOCH

R = TypeVar("R")

BATCH = 2_000
_POLL = 0.1
_AGAIN = 0.2
#: Seconds without any progress after which Kafka counts as away.
PATIENCE = 30.0
_REMEDY = "Check that Kafka is up and reachable"
#: What brokers answer while leaders and coordinators move.
_PASSING = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
        KafkaError._WAIT_COORD,  # noqa: SLF001 its only name
    }
)
#: What librdkafka says of itself: a line for each failed attempt to connect.
_client_log = logging.getLogger("peaktime.kafka")
_client_log.addHandler(logging.NullHandler())


class LogReader:
    """Reads topics. Use it as a context manager, or close it.

    Args:
        options: connection of the client (``Settings.confluent_options()``).
        timeout: seconds without any progress after which Kafka counts as away; PATIENCE if None.
    """

    def __init__(self, options: Mapping[str, Any], *, timeout: float | None = None) -> None:
        self._options = dict(options)
        self._timeout = PATIENCE if timeout is None else timeout
        self._trouble = Trouble()
        self._consumer = self._client("peaktime-replay-unused")

    def _client(self, group: str) -> Consumer:
        return Consumer(
            {
                **self._options,
                "client.id": "peaktime-replay",
                # No group is joined; without an id there is no consumer, and `committed` asks about the group.
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
                # Records that retention takes away meanwhile must not be missed silently.
                "auto.offset.reset": "error",
                # The folds read uncommitted too.
                "isolation.level": "read_uncommitted",
                "fetch.wait.max.ms": 50,
                # What waits to be folded is the larger part of the memory that a replay takes.
                "queued.max.messages.kbytes": 8 * 1024,
                "error_cb": self._trouble,
            },
            logger=_client_log,
        )

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has.

        Raises:
            BrokerError: Kafka does not answer, or there is no such topic.
        """
        try:
            found = self._consumer.list_topics(topic, timeout=self._timeout).topics[topic]
        except KafkaException as error:
            raise BrokerError(f"topic {topic}", *self._trouble.explain(error, _REMEDY, self._consumer)) from error
        if unauthorized(found.error):
            raise BrokerError(f"topic {topic}", found.error.str(), RIGHTS)
        if found.error is not None or not found.partitions:
            raise BrokerError(f"topic {topic}", "is not there", "Create the topics with `peaktime topics ensure`")
        return len(found.partitions)

    def spans(
        self,
        topics: Iterable[str],
        *,
        partitions: Iterable[int] | None = None,
        since: datetime | None = None,
    ) -> list[Span]:
        """What there is to read, up to where each partition ends now.

        Args:
            topics: full names.
            partitions: only these; all if None.
            since: begin with the first record of that log time or later; at the beginning if None.

        Raises:
            BrokerError: Kafka does not answer, cannot look offsets up by time, or a topic is not there.
        """
        chosen = None if partitions is None else set(partitions)
        places = [
            TopicPartition(topic, number)
            for topic in topics
            for number in range(self.partitions(topic))
            if chosen is None or number in chosen
        ]
        try:
            bounds = [self._patiently(partial(self._bounds, place)) for place in places]
            starts = [low for low, _ in bounds] if since is None else self._first_at(places, bounds, since)
        except KafkaException as error:
            raise BrokerError("the log", *self._trouble.explain(error, _REMEDY, self._consumer)) from error
        return [
            Span(topic=place.topic, partition=place.partition, start=min(max(start, low), high), end=high, low=low)
            for place, (low, high), start in zip(places, bounds, starts, strict=True)
        ]

    def _bounds(self, place: TopicPartition) -> tuple[int, int]:
        low, high = self._consumer.get_watermark_offsets(place, timeout=self._timeout)
        return low, high

    def _patiently(self, ask: Callable[[], R]) -> R:
        """Ask again while leaders and coordinators move, which passes."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return ask()
            except KafkaException as error:
                if time.monotonic() > deadline or not _passes(error):
                    raise
            time.sleep(_AGAIN)

    def _first_at(self, places: list[TopicPartition], bounds: list[tuple[int, int]], since: datetime) -> list[int]:
        # Negative times have a meaning of their own: the end, the beginning.
        millis = max(0, -((EPOCH - since) // timedelta(milliseconds=1)))
        asked = [TopicPartition(place.topic, place.partition, millis) for place in places]
        try:
            found = self._patiently(lambda: self._consumer.offsets_for_times(asked, timeout=self._timeout))
        except KafkaException as error:
            raise BrokerError("--from", _words(error), "Leave it out: this broker finds no offsets by time") from error
        at = {(place.topic, place.partition): place.offset for place in found if place.error is None}
        return [
            at[place.topic, place.partition]
            if at.get((place.topic, place.partition), -1) >= 0
            else self._found_by_reading(place, low, high, millis)
            for place, (low, high) in zip(places, bounds, strict=True)
        ]

    def _found_by_reading(self, place: TopicPartition, low: int, high: int, millis: int) -> int:
        """Where a time begins in a partition of which the broker says that it ends before that.

        The last record shows whether that is so: the embedded broker says it of every time.
        """
        whole = Span(topic=place.topic, partition=place.partition, start=low, end=high)
        last = replace(whole, start=max(low, high - 1))
        if not any(raw.timestamp >= millis for raw in self.read([last])):
            return high
        return next((raw.offset for raw in self.read([whole]) if raw.timestamp >= millis), high)

    def committed(self, group: str, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        """How far a group has read, by topic and partition; what it never committed, or may not be asked, is left out.

        Args:
            group: consumer group id; it is asked about, not joined.
            topics: full names.

        Raises:
            BrokerError: Kafka does not answer.
        """
        places = [TopicPartition(topic, number) for topic in topics for number in range(self.partitions(topic))]
        client = self._client(group)
        try:
            found = self._patiently(lambda: client.committed(places, timeout=self._timeout))
        except KafkaException as error:
            if error.args and _refused(error.args[0]):
                return {}
            raise BrokerError(f"consumer group {group}", *self._trouble.explain(error, _REMEDY, client)) from error
        finally:
            client.close()
        return {(p.topic, p.partition): p.offset for p in found if p.error is None and p.offset >= 0}

    def read(self, spans: Iterable[Span], progress: Callable[[int], None] | None = None) -> Iterator[Raw]:
        """Every record of the spans: of one partition by offset, the partitions as they come.

        Offsets may have holes (compaction, transaction markers); a span is over when the consumer is at its end.

        Args:
            spans: what to read, each partition once.
            progress: told how many offsets of the spans each batch covered.

        Raises:
            BrokerError: Kafka does not answer any more, or the log's beginning went away while it was read.
        """
        wanted = [span for span in spans if span.start < span.end]
        pending = {(span.topic, span.partition): span.start for span in wanted}
        ends = {(span.topic, span.partition): span.end for span in wanted}
        if not pending:
            return
        self._consumer.assign([TopicPartition(topic, number, start) for (topic, number), start in pending.items()])
        deadline = time.monotonic() + self._timeout
        try:
            while pending:
                left = sum(ends[place] - at for place, at in pending.items())
                batch = self._consumer.consume(max(1, min(BATCH, left)), timeout=_POLL)
                if batch:
                    deadline = time.monotonic() + self._timeout
                elif time.monotonic() > deadline:
                    where = ", ".join(f"{topic}/{number}" for topic, number in list(pending)[:3])
                    raise BrokerError("the log", f"nothing came for {self._timeout:.0f} s from {where}", _REMEDY)
                yield from self._taken(batch, pending, ends)
                if progress is not None:
                    progress(left - sum(ends[place] - at for place, at in pending.items()))
        finally:
            # The client remembers a pause beyond the assignment.
            self._consumer.resume([TopicPartition(*place) for place in ends if place not in pending])
            self._consumer.unassign()

    def _taken(
        self,
        batch: list[Message],
        pending: dict[tuple[str, int], int],
        ends: Mapping[tuple[str, int], int],
    ) -> Iterator[Raw]:
        """The records of a batch that belong to the spans; moves ``pending`` on, and drops what is over."""
        for message in batch:
            topic, number, offset = message.topic(), message.partition(), message.offset()
            place = topic, number
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 its only name
                _judge(error, place)
                continue
            if place not in pending:
                continue
            end = ends[place]
            if error is None and offset < end:
                stamp, key, value = message.timestamp()[1], message.key(), message.value()
                yield Raw(topic, number, offset, stamp, key, value, message.headers())
                offset += 1
            if offset < end:
                pending[place] = offset
                continue
            del pending[place]
            if pending:
                self._consumer.pause([TopicPartition(*place)])

    def close(self) -> None:
        """Close the client."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _judge(error: KafkaError, place: tuple[str | None, int | None]) -> None:
    """Raise for an error that reading again does not mend."""
    where = f"topic {place[0]}, partition {place[1]}"
    if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 its only name
        raise BrokerError(where, "its beginning was deleted while it was read", "Start again")
    if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
        return  # No group is joined, so that is no matter.
    if error.fatal() or not (error.code() < 0 or error.code() in _PASSING):
        raise BrokerError(where, error.str(), RIGHTS if unauthorized(error) else _REMEDY)


def _refused(error: object) -> bool:
    return isinstance(error, KafkaError) and error.code() in (
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.GROUP_ID_NOT_FOUND,
    )


def _passes(error: KafkaException) -> bool:
    first = error.args[0] if error.args else None
    return isinstance(first, KafkaError) and first.code() in _PASSING


def _words(error: Exception) -> str:
    first = error.args[0] if error.args else error
    return first.str() if isinstance(first, KafkaError) else str(first)
