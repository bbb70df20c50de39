"""What doctor asks of Kafka, beside topics and rights, which the producers' modules ask for.

Probes only: each gathers, and hands what it found to ``judge_kafka``. Must not: decide, join a group, commit, or write.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from peaktime.errors import BrokerError
from peaktime.kafka import Trouble, unauthorized
from processors.doctor.checks import PATIENCE
from processors.doctor.judge_kafka import GroupSeen
from processors.doctor.lines import Line, ok
from processors.replay.log import Span
from processors.replay.reader import LogReader

_REMEDY = "Check PEAKTIME_KAFKA_BOOTSTRAP and PEAKTIME_KAFKA_SECURITY_PROTOCOL, and that Kafka is up"
_THING = "Kafka"
#: How long one watches whether a group that is behind reads on (s).
_WATCHED = 2.0
#: So many unread offsets are counted one by one: a transaction's marker takes one, and is no record.
_COUNTED = 1000
#: How often, and how long (s) each time, a client is asked for what it has not told yet.
_COMPLAINTS, _LOOK = 5, 0.1
#: What librdkafka says of itself: a line for each failed attempt to connect. The callback is told, too.
_client_log = logging.getLogger("peaktime.kafka")


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group of ours: its short name, its id, and the full names of what it reads."""

    name: str
    group: str
    topics: tuple[str, ...]


class BrokerProbes:
    """The checks of one Kafka.

    Args:
        options: ``Settings.confluent_options()``; it holds the password.
        patience: seconds that one question may take.
    """

    def __init__(self, options: Mapping[str, Any], patience: float = PATIENCE) -> None:
        self._options = dict(options)
        self._patience = patience

    def reach(self) -> list[Line]:
        """Whether one can log in, and how many brokers there are.

        Raises:
            BrokerError: Kafka does not answer, or refuses.
        """
        trouble = Trouble()
        client = AdminClient({**self._options, "log_level": 0, "client.id": "peaktime-doctor", "error_cb": trouble})
        began = time.monotonic()
        try:
            brokers = client.list_topics(timeout=self._patience).brokers
        except KafkaException as error:
            where = f"{_THING} at {self._options['bootstrap.servers']}"
            raise BrokerError(where, *trouble.explain(error, _REMEDY, client)) from error
        took = time.monotonic() - began
        user = self._options.get("sasl.username")
        how = f"as {user}" if user else "without a login"
        said = f"{len(brokers)} broker{'' if len(brokers) == 1 else 's'}, {how}, answered within {took + 0.05:.1f} s"
        return [ok(f"{_THING} at {self._options['bootstrap.servers']}", said)]

    def unseen(self, topics: Iterable[str]) -> list[str]:
        """Those of these topics that may be there, but that this user is not shown.

        Raises:
            BrokerError: Kafka does not answer.
        """
        consumer, trouble = self._consumer("peaktime-doctor-unused")
        try:
            return [
                name
                for name in topics
                if unauthorized(consumer.list_topics(name, timeout=self._patience).topics[name].error)
            ]
        except KafkaException as error:
            raise BrokerError(_THING, *trouble.explain(error, _REMEDY, consumer)) from error
        finally:
            consumer.close()

    def states(self) -> dict[str, str]:
        """What the brokers say of each group that this user is shown: its id → e.g. ``STABLE``.

        Raises:
            BrokerError: Kafka does not answer, or does not tell.
        """
        # Groups are listed, not described: where a coordinator has to be waited for, describing ends the process.
        trouble = Trouble()
        client = AdminClient({**self._options, "log_level": 0, "client.id": "peaktime-doctor", "error_cb": trouble})
        try:
            found = client.list_consumer_groups(request_timeout=self._patience).result(2 * self._patience)
        except KafkaException as error:
            raise BrokerError("consumer groups", *trouble.explain(error, _REMEDY, client)) from error
        if found.errors and not found.valid:
            raise BrokerError("consumer groups", *trouble.explain(found.errors[0], _REMEDY, client))
        return {one.group_id: one.state.name for one in found.valid}

    def group(self, group: Group, states: Callable[[], Mapping[str, str]]) -> GroupSeen:
        """A group: alive, and how far it has read.

        Raises:
            BrokerError: Kafka does not answer.
        """
        consumer, trouble = self._consumer(group.group)
        try:
            places = [place for topic in group.topics for place in self._partitions(consumer, topic)]
            ends = {self._key(place): consumer.get_watermark_offsets(place, self._patience) for place in places}
            first = self._committed(consumer, places)
            if first is None:
                return GroupSeen(name=group.name, group=group.group, refused=True)
            behind = _behind(ends, first)
            moving = False
            if behind:
                time.sleep(_WATCHED)
                then = self._committed(consumer, places) or first
                moving, behind = then != first, _behind(ends, then)
            return GroupSeen(
                name=group.name,
                group=group.group,
                state=states().get(group.group, ""),
                committed=bool(first),
                behind=self._records(behind),
                moving=moving,
            )
        except KafkaException as error:
            thing = f"consumer group {group.group}"
            raise BrokerError(thing, *trouble.explain(error, _REMEDY, consumer)) from error
        finally:
            consumer.close()

    def _committed(self, consumer: Consumer, places: Sequence[TopicPartition]) -> dict[tuple[str, int], int] | None:
        """How far the consumer's group has read; None if this user may not ask."""
        if not places:
            return {}
        try:
            found = consumer.committed(list(places), timeout=self._patience)
        except KafkaException as error:
            if unauthorized(error.args[0]) or self._refused(consumer):
                return None
            raise
        if any(unauthorized(place.error) for place in found):
            return None
        return {self._key(place): place.offset for place in found if place.error is None and place.offset >= 0}

    @staticmethod
    def _refused(consumer: Consumer) -> bool:
        """Whether a question about the group timed out because one may not ask: that is told among the records."""
        for _ in range(_COMPLAINTS):
            message = consumer.poll(_LOOK)
            if message is not None and unauthorized(message.error()):
                return True
        return False

    def _partitions(self, consumer: Consumer, topic: str) -> list[TopicPartition]:
        """Those of a topic; none if it is not there or not shown, which the check of the topics tells."""
        found = consumer.list_topics(topic, timeout=self._patience).topics[topic]
        return [] if found.error is not None else [TopicPartition(topic, number) for number in found.partitions]

    def _records(self, behind: Mapping[tuple[str, int], tuple[int, int]]) -> int:
        """How many records these stretches hold; many are not counted, but taken for as many as offsets."""
        offsets = sum(end - start for start, end in behind.values())
        if not 0 < offsets <= _COUNTED:
            return offsets
        spans = [Span(topic=t, partition=n, start=start, end=end) for (t, n), (start, end) in behind.items()]
        with LogReader(self._options, timeout=self._patience) as log:
            try:
                return sum(1 for _ in log.read(spans))
            except BrokerError:
                # Who may watch a group need not be one who may read its topics.
                return offsets

    def _consumer(self, group: str) -> tuple[Consumer, Trouble]:
        trouble = Trouble()
        options = {
            **self._options,
            "client.id": "peaktime-doctor",
            "group.id": group,  # asked about, never joined
            "enable.auto.commit": False,
            "allow.auto.create.topics": False,
            "error_cb": trouble,
        }
        return Consumer(options, logger=_client_log), trouble

    @staticmethod
    def _key(place: TopicPartition) -> tuple[str, int]:
        return place.topic, place.partition


def read_keys(options: Mapping[str, Any], topic: str, patience: float = PATIENCE) -> set[str]:
    """The keys that a compacted topic holds now: those whose last record has a value. Raises as below."""
    return set(read_rows(options, topic, patience, values=False))


def read_rows(
    options: Mapping[str, Any],
    topic: str,
    patience: float = PATIENCE,
    *,
    prefix: str = "",
    values: bool = True,
) -> dict[str, bytes]:
    """What a compacted topic holds now: the last value of each key.

    Args:
        options: ``Settings.confluent_options()``.
        topic: full name.
        patience: seconds without any progress after which Kafka counts as away.
        prefix: only keys that begin so.
        values: whether values are kept, which takes memory; without, they are empty.

    Raises:
        BrokerError: Kafka does not answer, or the topic is not there or may not be read.
    """
    rows: dict[str, bytes] = {}
    with LogReader(options, timeout=patience) as log:
        for raw in log.read(log.spans([topic])):
            key = (raw.key or b"").decode(errors="replace")
            if raw.value is None:
                rows.pop(key, None)
            elif key.startswith(prefix):
                rows[key] = raw.value if values else b""
    return rows


def refused_rights(error: BrokerError) -> bool:
    """Whether a failure is that this user may not."""
    cause = error.__cause__
    return isinstance(cause, KafkaException) and unauthorized(cause.args[0])


def _behind(
    ends: Mapping[tuple[str, int], tuple[int, int]],
    done: Mapping[tuple[str, int], int],
) -> dict[tuple[str, int], tuple[int, int]]:
    """What is unread of each partition: from where, and up to where."""
    stretches = {place: (max(done.get(place, low), low), high) for place, (low, high) in ends.items()}
    return {place: (start, end) for place, (start, end) in stretches.items() if start < end}
